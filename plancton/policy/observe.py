"""Turns two samples into rates. Pure."""

from plancton.model import Observation, Sample


def observe(previous: Sample | None, current: Sample, shims: float = 0.0) -> Observation:
    """The host's rates between two samples; what can't be known stays None.

    ``shims`` are the CPUs that the engine's shims use, as last read: there is one for each worker,
    so they are not in the sample.

    ``owner`` = busy − slice − engine: everything on the host that is neither donated nor the
    engine's own work. It is None when a counter it is made of went backwards (a slice that was
    rebuilt, a CPU taken offline): better one tick without a figure than a wrong one.
    """
    seen = Observation(
        time=current.monotonic,
        boottime=current.boottime,
        capacity=float(current.cpus),
        memory_total=current.memory_total,
        memory_available=current.memory_available,
        slice_anon=current.slice_anon,
        swap_total=current.swap_total,
    )
    if previous is None or current.monotonic <= previous.monotonic:
        return seen
    seconds = current.monotonic - previous.monotonic
    busy = _rate(previous.busy, current.busy, seconds)
    donated = _slice_rate(previous, current, seconds)
    engine: float | None = None
    if previous.engine_epoch == current.engine_epoch:
        engine = _rate(previous.engine, current.engine, seconds)
    engine = (engine or 0.0) + shims if engine is not None or shims else None
    owner = None if busy is None or donated is None else max(0.0, busy - donated - (engine or 0.0))
    return Observation(
        time=seen.time,
        boottime=seen.boottime,
        capacity=seen.capacity,
        interval=seconds,
        owner=owner,
        donated=donated,
        engine=engine,
        stolen=_rate(previous.stolen, current.stolen, seconds),
        idle=_rate(previous.idle, current.idle, seconds),
        memory_total=seen.memory_total,
        memory_available=seen.memory_available,
        slice_anon=seen.slice_anon,
        swap_total=seen.swap_total,
        cpu_pressure=_pressure(
            (previous.cpu_pressure, current.cpu_pressure),
            (previous.slice_cpu_pressure, current.slice_cpu_pressure),
            seconds,
        ),
        memory_pressure=_pressure(
            (previous.memory_pressure, current.memory_pressure),
            (previous.slice_memory_pressure, current.slice_memory_pressure),
            seconds,
        ),
    )


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


def _pressure(
    host: tuple[float | None, float | None], workers: tuple[float | None, float | None], seconds: float
) -> float | None:
    """The part of the time in which someone outside the slice stalled.

    System-wide pressure rises from our own workers as well, so theirs is taken away.
    """
    whole = _rate(*host, seconds)
    if whole is None:
        return None
    return min(1.0, max(0.0, whole - (_rate(*workers, seconds) or 0.0)))
