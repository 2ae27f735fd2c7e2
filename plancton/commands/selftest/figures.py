"""What the selftest's measurements say: figures, and one sentence for the host's owner. Pure."""

import math
from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from plancton.host.bandwidth import Rates
from plancton.model import Tier
from plancton.units import Rate, human_bytes

ENOUGH = 0.90
"""The part of its CPU time that an owner must keep. The idle class keeps 99 %; hosts are noisy."""
FULL_SPEED, WINDOW = 0.95, 0.005
"""The CPU is back when for that many seconds the load gets this part of what it gets alone. An idle
slice still gets a turn of about 4 ms now and then: a longer window would often include one."""
HARDLY, MUCH = 1.5, 4.0
"""Times as long: up to here a disk is hardly slower, and from here on much."""
WITHIN = 1.2
"""A rate holds up to this part of it: a short transfer has its first packets at once."""
LEAST_DONATED, MOST_IDLE = 0.10, 0.50
"""Of all CPUs: workers that used less while so many were idle had nothing to give back."""


class Load(msgspec.Struct, frozen=True):
    """What all the owner's threads got together; ``cpu[i]``: CPU seconds by the end of step i."""

    threads: int
    step: float
    cpu: tuple[float, ...]
    work: int
    waited: float | None
    """Ready to run, but without a CPU; None where the kernel doesn't count that."""

    @property
    def wall(self) -> float:
        return self.threads * self.step * len(self.cpu)


class Round(msgspec.Struct, frozen=True):
    """A load, then a sleeper on a host that is idle apart from the workers: by how many seconds it
    woke ``late`` each time. Meanwhile workers used ``donated`` CPUs; ``idle`` were free."""

    load: Load
    late: tuple[float, ...]
    donated: float
    idle: float


class Pair(msgspec.Struct, frozen=True):
    """The same twice, one right after the other: a host's speed changes over minutes."""

    alone: Round
    donating: Round


class Latency(msgspec.Struct, frozen=True):
    """Seconds from the moment at which a sleeper should run until they run."""

    p50: float
    p99: float


class Figures(msgspec.Struct, frozen=True):
    """Medians over the pairs. What is kept is a part of what the owner has alone; times are in seconds.

    ``cpu_time_kept`` leaves out what was lost without waiting: a hypervisor took that, not the
    workers. ``cpu_back_within`` is None when the load never reached its full speed.
    """

    throughput_kept: float
    cpu_time_kept: float
    wake_up_alone: Latency
    wake_up_donating: Latency
    cpu_back_within: float | None
    cpus_donated: float
    cpus_idle: float


class Disk(msgspec.Struct, frozen=True):
    """How long half of the owner's small writes (each with fsync) and reads took at most, in seconds;
    None where they can't be read around the page cache."""

    write_alone: float
    write_donating: float
    read_alone: float | None
    read_donating: float | None


class Network(msgspec.Struct, frozen=True):
    """Bits per second that a worker received and sent where `worker.network` has a rate, and whether
    it reached a service of this host's."""

    received: float | None
    sent: float | None
    reaches_host: bool


class Report(msgspec.Struct, frozen=True):
    """All that `plancton selftest` says. ``figures`` is None where measuring had no point. ``rates``:
    what `worker.network` allows."""

    yields: bool
    verdict: str
    cpus: int
    tier: Tier
    memory_ceiling: int | None
    figures: Figures | None
    disk: Disk | str = ""
    network: Network | str = ""
    """Where a text stands for either, it says why it was not measured."""
    rates: Rates = Rates()


def summarize(pairs: list[Pair]) -> Figures:
    full = median(pair.alone.load.cpu[-1] / pair.alone.load.wall for pair in pairs)
    back = median(_back_within(pair.donating.load, full) for pair in pairs)
    return Figures(
        throughput_kept=median(_part(p.donating.load.work, p.alone.load.work) for p in pairs),
        cpu_time_kept=median(_cpu_time_kept(pair.alone.load, pair.donating.load) for pair in pairs),
        wake_up_alone=_latency([pair.alone for pair in pairs]),
        wake_up_donating=_latency([pair.donating for pair in pairs]),
        cpu_back_within=back if math.isfinite(back) else None,
        cpus_donated=median(pair.donating.donated for pair in pairs),
        cpus_idle=median(pair.donating.idle for pair in pairs),
    )


def _part(donating: float, alone: float) -> float:
    return donating / alone if alone else 0.0


def _cpu_time_kept(alone: Load, donating: Load) -> float:
    kept = _part(donating.cpu[-1], alone.cpu[-1])
    if alone.waited is None or donating.waited is None:
        return kept
    waited = donating.waited / donating.wall - alone.waited / alone.wall
    return max(kept, 1 - max(0.0, waited))


def _back_within(load: Load, full: float) -> float:
    """Seconds until the load has its full speed, in CPUs per thread; infinite when it never has."""
    had, window = (0.0, *load.cpu), round(WINDOW / load.step)
    wanted = FULL_SPEED * full * load.threads * window * load.step
    for i in range(len(had) - window):
        if had[i + window] - had[i] >= wanted:
            return (i + 1) * load.step
    return math.inf


def _latency(rounds: list[Round]) -> Latency:
    """A hypervisor's pause makes many wake-ups in a row late, but in one round only."""
    return Latency(*(median(percentile(each.late, part) for each in rounds) for part in (50, 99)))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that this percentage of all values does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


# ---------------------------------------------------------------- the verdict


def judge(found: Figures, tier: Tier, knobs: str, cpus: int) -> tuple[bool, str]:
    """Whether the host yields, and the same in a sentence. ``knobs`` is how the slice is set."""
    part = min(found.cpu_time_kept, 1.0)  # on a noisy host it may be more
    kept = f"with every CPU donated, its owner keeps {part:.1%} of the CPU time they have alone"
    if tier == "none":
        return False, (
            f"This host does not yield: the slice's {knobs}, so nothing protects the owner ({kept}):"
            " restart Plancton as root to set up the slice again."
        )
    if found.cpus_donated < LEAST_DONATED * cpus and found.cpus_idle > MOST_IDLE * cpus:
        return False, (
            f"This proves nothing: workers used {found.cpus_donated:.2f} CPUs and left {found.cpus_idle:.2f}"
            " idle, so they had none to give back: look for a CPU limit on the slice, then run it again."
        )
    if found.cpu_time_kept < ENOUGH:
        remedy = "Linux 5.15 or newer gives every CPU back at once (tier kernel)"
        if tier == "kernel":
            remedy = "when the host is quiet, run it again as the owner works: not niced, under no CPU limit"
        return False, f"This host does not yield: {kept}: {remedy}."
    return True, f"This host yields: {kept}."


# ---------------------------------------------------------------- as text


def report_lines(report: Report) -> Iterator[str]:
    """The report for people; the verdict comes last."""
    found = report.figures
    if found is not None:
        back = found.cpu_back_within
        alone, donating = found.wake_up_alone, found.wake_up_donating
        yield f"Throughput kept    {found.throughput_kept:.1%} (CPU time: {found.cpu_time_kept:.1%})"
        yield f"Wake-up, alone     p50 {_time(alone.p50)}, p99 {_time(alone.p99)}"
        yield f"Wake-up, donating  p50 {_time(donating.p50)}, p99 {_time(donating.p99)}"
        yield f"CPU came back      {'not within 0.6 s' if back is None else f'within {_time(back)}'}"
        yield f"Donated meanwhile  {found.cpus_donated:.2f} of {report.cpus} CPUs"
    if report.disk:
        yield from disk_lines(report.disk)
    if report.network:
        yield f"Network            {network_words(report.network, report.rates)}"
    yield f"Tier               {report.tier}"
    ceiling = "none" if report.memory_ceiling is None else human_bytes(report.memory_ceiling)
    yield f"Memory ceiling     {ceiling}"
    yield report.verdict


def disk_lines(found: Disk | str) -> Iterator[str]:
    """What the owner's disk notices of a worker that writes."""
    if isinstance(found, str):
        yield f"Disk               {found}"
        return
    yield f"Disk, writes       {_compared(found.write_alone, found.write_donating)}"
    if found.read_alone is not None and found.read_donating is not None:
        yield f"Disk, reads        {_compared(found.read_alone, found.read_donating)}"


def _compared(alone: float, donating: float) -> str:
    times = f"p50 {_time(alone)} alone, {_time(donating)} beside a worker that writes"
    slower = donating / alone if alone else 1.0
    if slower <= HARDLY:
        return f"{times}: hardly slower"
    text = f"{times}: {slower:.1f} times as long"
    return text if slower <= MUCH else f"{text}; if that matters, give Docker's data a disk of its own"


def network_words(found: Network | str, rates: Rates) -> str:
    """Whether rates hold, and what is closed, is so."""
    if isinstance(found, str):
        return found
    words, broken = list[str](), found.reaches_host
    for what, got, rate in (("received", found.received, rates.down), ("sent", found.sent, rates.up)):
        if got is not None and rate is not None:
            broken |= got > WITHIN * rate
            words.append(f"a worker {what} {Rate(float(f'{got:.2g}'))}/s of {Rate(rate)}/s")
    words.append(f"this host's services are {'open' if found.reaches_host else 'closed'} to it")
    return ", ".join(words) + ("; that must not be: `plancton doctor` says more" if broken else "")


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"
