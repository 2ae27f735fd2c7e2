"""The selftest's verdicts and report, on made-up measurements."""

import msgspec
import pytest
from unit.commands.selftest.measurements import THREADS, load, pair

from plancton.commands.selftest.figures import Disk, Network, Pair, Report, summarize
from plancton.commands.selftest.verdict import disk_lines, judge, network_words, report_lines
from plancton.host.bandwidth import Rates
from plancton.model import Tier


def verdict(*pairs: Pair, tier: Tier = "kernel", knobs: str = "cpu.idle 1") -> tuple[bool, str]:
    return judge(summarize(list(pairs)), tier, knobs, THREADS)


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("tier", ["kernel", "weight"])
def test_yields(tier: Tier) -> None:
    """A slice that yields, and an owner who keeps nearly everything."""
    yields, said = verdict(pair(donating=load(0.98, waited=0.02)), tier=tier)
    assert yields and said.startswith("This host yields") and "98.0%" in said, said


def test_more_than_alone() -> None:
    """Nobody gains by donating: more than alone is shown as no more than alone."""
    assert "100.0%" in verdict(pair(load(0.5), load(0.6)))[1]


@pytest.mark.parametrize(("share", "wanted"), [(0.91, True), (0.89, False)])
def test_threshold(share: float, wanted: bool) -> None:
    """Nine tenths are enough: hosts are noisy."""
    assert verdict(pair(donating=load(share, waited=1 - share)))[0] is wanted


def test_tier_none_never_yields() -> None:
    """With nothing that protects the owner, good figures are chance."""
    yields, said = verdict(pair(), tier="none", knobs="cpu.idle is 0 and cpu.weight is 100")
    assert not yields
    assert (
        "the slice's cpu.idle is 0 and cpu.weight is 100" in said and "as root" in said and "100.0%" in said
    )


def test_lost_in_tier_kernel() -> None:
    """If the slice is idle class and the owner still loses, reason and remedy are given."""
    yields, said = verdict(pair(donating=load(0.5, waited=0.5)))
    assert not yields
    assert said.startswith("This host does not yield") and "50.0%" in said, said
    assert "not niced" in said


def test_lost_in_tier_weight() -> None:
    """The remedy for an old kernel is a newer one."""
    yields, said = verdict(pair(donating=load(0.8, waited=0.2)), tier="weight", knobs="cpu.shares 2")
    assert not yields and "5.15" in said


def test_nothing_donated() -> None:
    """Workers that leave CPUs idle prove nothing, however much the owner keeps."""
    yields, said = verdict(pair(donated=0.1, idle=3.9))
    assert not yields
    assert "0.10 CPUs" in said and "3.90 idle" in said and "limit" in said, said


def test_busy_owner() -> None:
    """Workers that get almost nothing because the owner uses every CPU do yield."""
    assert verdict(pair(donated=0.1, idle=0.0))[0]


# ---------------------------------------------------------------- as text


def test_lines() -> None:
    """Every figure has a line, and the verdict is last."""
    found = summarize([pair(late=0.002_5)])
    lines = list(report_lines(Report(True, "It does.", THREADS, "kernel", 4_000_000_000, found)))
    assert lines == [
        "Throughput kept    100.0% (CPU time: 100.0%)",
        "Wake-up, alone     p50 50 µs, p99 50 µs",
        "Wake-up, donating  p50 2.5 ms, p99 2.5 ms",
        "CPU came back      within 1.0 ms",
        "Donated meanwhile  4.00 of 4 CPUs",
        "Tier               kernel",
        "Memory ceiling     4 GB",
        "It does.",
    ]


def test_lines_of_the_unlucky() -> None:
    """A load that never got up to speed is reported; without figures there is still a verdict."""
    found = summarize([pair(donating=load(0.5))])
    assert "CPU came back      not within 0.6 s" in report_lines(Report(False, "No.", 4, "none", None, found))
    assert list(report_lines(Report(False, "No.", 4, "none", None, None))) == [
        "Tier               none",
        "Memory ceiling     none",
        "No.",
    ]


def test_json() -> None:
    """The report can be written as JSON, whatever is unknown."""
    report = Report(False, "No.", 4, "none", None, summarize([pair(donating=load(0.5))]))
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


# ---------------------------------------------------------------- disk and network


@pytest.mark.parametrize(
    ("disk", "wanted"),
    [
        ("not measured: no disk", ["Disk               not measured: no disk"]),
        (
            Disk(0.001, 0.0012, None, None),
            ["1.0 ms alone, 1.2 ms beside a worker that writes: hardly slower"],
        ),
        (Disk(0.001, 0.002, 0.0001, 0.0001), ["2.0 times as long", "100 µs alone, 100 µs beside"]),
        (Disk(0.001, 0.01, None, None), ["10.0 times as long; if that matters, give Docker's data a disk"]),
    ],
)
def test_disk_lines(disk: Disk | str, wanted: list[str]) -> None:
    """A line for writes and one for reads, with a verdict in words, or why there is none."""
    lines = list(disk_lines(disk))
    assert len(lines) == len(wanted), lines
    for line, words in zip(lines, wanted, strict=True):
        assert words in line, lines


@pytest.mark.parametrize(
    ("network", "rates", "wanted"),
    [
        ("not measured: why", Rates(), "not measured: why"),
        (Network(None, None, False), Rates(), "this host's services are closed to it"),
        (
            Network(9.6e6, None, False),
            Rates(10_000_000),
            "a worker received 9.6Mbit/s of 10Mbit/s, this host's",
        ),
        (Network(None, 9.6e6, False), Rates(None, 1_000_000), "sent 9.6Mbit/s of 1Mbit/s"),
        (Network(None, None, True), Rates(), "open to it; that must not be"),
    ],
)
def test_network_words(network: Network | str, rates: Rates, wanted: str) -> None:
    """Rates with what came of them, and what a worker reaches; it is said what must not be."""
    words = network_words(network, rates)
    assert wanted in words
    broken = isinstance(network, Network) and (network.reaches_host or (network.sent or 0) > 2e6)
    assert ("must not be" in words) == broken, words
