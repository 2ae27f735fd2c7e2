"""Whether the host passes the selftest, in one sentence for its owner, and the report. Pure."""

from collections.abc import Iterator

from plancton.commands.selftest.figures import Disk, Figures, Network, Report
from plancton.host.bandwidth import Rates
from plancton.model import Tier
from plancton.units import Rate, human_bytes

ENOUGH = 0.90
"""The part of its CPU time that an owner must keep. The idle class keeps 99 %; hosts are noisy."""
HARDLY, MUCH = 1.5, 4.0
"""Times as long: up to here a disk is hardly slower, and from here on much."""
WITHIN = 1.2
"""A rate holds up to this part of it: a short transfer has its first packets at once."""
LEAST_DONATED, MOST_IDLE = 0.10, 0.50
"""Of all CPUs: workers that used less while so many were idle had nothing to give back."""


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
