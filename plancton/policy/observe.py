"""Turns two samples into rates, within what is physically possible. Pure."""

from typing import TypeVar

import msgspec

from plancton.model import Observation, Sample

N = TypeVar("N", int, float)

MOST, LEAST = 2.0, 0.1
"""Between these parts of all CPUs' time is what /proc/stat says they did: busy, idle or stolen. Beyond, its
figures are not true. The bounds are wide because on good hosts the sum is off as well: a CPU without ticks
(nohz_full) is counted up to a second late, one that goes offline takes another way of counting idle time, and
a virtual machine whose hypervisor tells of no stolen time loses the ticks that it had no CPU for."""
JITTER, JITTER_PER_CPU = 0.1, 0.02
"""CPU seconds that a sum may be off however short the interval: eight figures are rounded down to
1/100 s, and each CPU's time is counted in ticks of up to that."""


def observe(previous: Sample | None, current: Sample, shims: float = 0.0) -> Observation:
    """The host's rates between two samples; what can't be known stays None.

    ``shims`` are the CPUs that the engine's shims use, as last read: there is one for each worker,
    so they are not in the sample.

    ``owner`` = busy − slice − engine: everything on the host that is neither donated nor the
    engine's own work. It is None when a counter it is made of went backwards (a slice that was
    rebuilt) or can't be true: better one tick without a figure than a wrong one.
    """
    seen = Observation(
        time=current.monotonic,
        boottime=current.boottime,
        capacity=float(current.cpus),
        memory_total=current.memory_total,
        memory_available=_at_most(current.memory_available, current.memory_total),
        slice_anon=current.slice_anon,
        swap_total=current.swap_total,
    )
    unknown = current.unreadable or (previous.unreadable if previous else "")
    if previous is None or unknown or current.monotonic <= previous.monotonic:
        return msgspec.structs.replace(seen, unknown=unknown)
    seconds = current.monotonic - previous.monotonic
    if impossible := _impossible(previous, current, seconds):
        return msgspec.structs.replace(seen, unknown=impossible)
    busy = (current.busy - previous.busy) / seconds
    idle = _at_most(_rate(previous.idle, current.idle, seconds), seen.capacity)
    spare = max(0.0, seen.capacity - busy - (idle or 0.0))
    donated = _slice_rate(previous, current, seconds)
    engine = _engine_rate(previous, current, shims, seconds)
    owner = None if donated is None else max(0.0, busy - donated - (engine or 0.0))
    return msgspec.structs.replace(
        seen,
        interval=seconds,
        owner=_at_most(owner, seen.capacity),
        donated=donated,
        engine=engine,
        stolen=_at_most(_rate(previous.stolen, current.stolen, seconds), spare),
        idle=idle,
        softirq=_at_most(_rate(previous.softirq, current.softirq, seconds), seen.capacity),
    )


def _at_most(value: N | None, most: N) -> N | None:
    return None if value is None else min(value, most)


def _impossible(previous: Sample, current: Sample, seconds: float) -> str:
    """Why /proc/stat can't be true; empty if it can."""
    fewest, most = sorted((previous.cpus, current.cpus))  # a CPU may have come or gone in between
    if current.busy < previous.busy:
        return "/proc/stat: the time that CPUs were busy has become less"
    used = current.busy - previous.busy + current.idle - previous.idle
    stolen = min(max(0.0, current.stolen - previous.stolen), most * seconds)  # it alone may be nonsense
    too_much = used > MOST * most * seconds + JITTER + JITTER_PER_CPU * most
    too_little = used + stolen < LEAST * fewest * seconds - JITTER / 2
    if too_much or too_little:
        return f"/proc/stat: its figures add up to {used / seconds:.1f} of {current.cpus} CPUs"
    return ""


def _rate(before: float | None, now: float | None, seconds: float) -> float | None:
    if before is None or now is None or now < before:
        return None
    return (now - before) / seconds


def _slice_rate(previous: Sample, current: Sample, seconds: float) -> float | None:
    """CPUs that the workers use: none without a slice; all it has used when it is new."""
    if current.slice is None:
        return 0.0
    rate = _rate(previous.slice or 0.0, current.slice, seconds)
    return None if rate is not None and rate > 2 * current.cpus else rate  # not new: unseen until now


def _engine_rate(previous: Sample, current: Sample, shims: float, seconds: float) -> float | None:
    """CPUs that the engine uses, as far as known: what is not is the owner's."""
    rate: float | None = None
    if previous.engine_epoch == current.engine_epoch:
        rate = _rate(previous.engine, current.engine, seconds)
    if rate is None and not shims:
        return None
    sum_of_all = (rate or 0.0) + shims
    return None if sum_of_all > MOST * current.cpus else sum_of_all
