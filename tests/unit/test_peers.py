"""scripts/bench_yield/peers.py: other projects' rules, second by second."""

import math

import pytest
from bench_yield.peers import LOADS, boinc, htcondor_desktop, simulate, table

ALWAYS, BURSTS = LOADS.values()


def test_boinc() -> None:
    """A steady load is noticed at the next check, five seconds later on average; work resumes in 20
    s."""
    found = simulate(boinc, ALWAYS, 0.5)
    assert found.back == 5.0
    assert found.kept == pytest.approx((5 * 0.5 + 595) / 600)
    runs = list(boinc([*ALWAYS, *[0.0] * 60]))
    assert runs.index(True, 6) == 625, (
        "the first look that sees less than a quarter, 20 s after the last that did not"
    )


def test_boinc_and_bursts() -> None:
    """A load of a quarter on average is above the threshold at times, and below at others."""
    found = simulate(boinc, BURSTS, 0.5)
    assert 0.5 < found.kept < 1.0 and found.harvest < 1.0


def test_htcondor() -> None:
    """It suspends when the load average has been 0.5 for two minutes; reaching 0.5 of 2 takes 17
    s."""
    found = simulate(htcondor_desktop, ALWAYS, 0.5)
    assert found.back == 140.0
    assert found.kept == pytest.approx((140 * 0.5 + 460) / 600)
    assert 0.8 < found.harvest < 1.0, "it comes back when the load average has gone down"


def test_htcondor_and_bursts() -> None:
    """Bursts whose average is below its threshold are never seen."""
    found = simulate(htcondor_desktop, [1.0] + [0.0] * 5, 0.5)
    assert found.back == math.inf and found.kept == 0.5


def test_table() -> None:
    """The table has a line for each rule and load."""
    lines = list(table(0.4))
    assert sum(line.startswith("| BOINC") for line in lines) == 2
    assert "| HTCondor's POLICY:Desktop | every CPU for ten minutes | 86 % | 140 s | 90 % |" in lines
