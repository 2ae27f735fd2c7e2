"""What the selftest measures, and the figures that follow from it. Pure."""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from plancton.host.bandwidth import Rates
from plancton.model import Tier

FULL_SPEED, WINDOW = 0.95, 0.005
"""The CPU is back when for that many seconds the load gets this part of what it gets alone. An idle
slice still gets a turn of about 4 ms now and then: a longer window would often include one."""


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
