"""The selftest's arithmetic, on made-up measurements."""

import pytest
from unit.commands.selftest.measurements import STEP, load, pair

from plancton.commands.selftest.figures import Figures, Latency, percentile, summarize


def test_all_kept() -> None:
    """An owner who notices nothing keeps everything."""
    found = summarize([pair()] * 3)
    assert found == Figures(
        throughput_kept=1.0,
        cpu_time_kept=1.0,
        wake_up_alone=Latency(0.000_05, 0.000_05),
        wake_up_donating=Latency(0.000_05, 0.000_05),
        cpu_back_within=STEP,
        cpus_donated=4.0,
        cpus_idle=0.0,
    )


def test_half_lost() -> None:
    """Half the CPU time and a third of the work are counted as such."""
    found = summarize([pair(load(work=900), load(0.5, waited=0.5, work=600))] * 3)
    assert found.cpu_time_kept == pytest.approx(0.5)
    assert found.throughput_kept == pytest.approx(2 / 3)
    assert found.cpu_back_within is None


def test_medians() -> None:
    """One pair that other load spoiled does not count."""
    spoiled = pair(load(1.0), load(0.2, waited=0.8, work=1), donated=0.0)
    found = summarize([pair(), spoiled, pair()])
    assert (found.cpu_time_kept, found.throughput_kept, found.cpus_donated) == (1.0, 1.0, 4.0)


@pytest.mark.parametrize(("late", "within"), [(0, 0.001), (1, 0.002), (7, 0.008), (300, 0.301)])
def test_cpu_back(late: int, within: float) -> None:
    """CPU is back in the first step of 5 ms at the load's speed, within 5 %."""
    found = summarize([pair(donating=load(late=late, waited=None))])
    assert found.cpu_back_within == pytest.approx(within)


def test_cpu_back_at_the_owners_own_speed() -> None:
    """If the load alone gets half of each CPU, half is its full speed."""
    assert summarize([pair(load(0.5), load(0.5))]).cpu_back_within == STEP


def test_lost_without_waiting() -> None:
    """What a hypervisor takes from a running load is not blamed on the workers."""
    found = summarize([pair(load(1.0), load(0.7, waited=0.02))])
    assert found.cpu_time_kept == pytest.approx(0.98)


def test_unknown_waiting() -> None:
    """If the kernel doesn't count waiting, CPU time alone decides."""
    assert summarize([pair(load(waited=None), load(0.7, waited=None))]).cpu_time_kept == pytest.approx(0.7)


def test_one_pause() -> None:
    """A pause in one round does not stand for the usual wake-up."""
    found = summarize([pair(), pair(late=0.035), pair()])
    assert found.wake_up_donating == Latency(0.000_05, 0.000_05)


def test_no_cpu_alone() -> None:
    """A load that got nothing even alone keeps nothing, without dividing by zero."""
    found = summarize([pair(load(0.0, waited=None, work=0), load(0.0, waited=None, work=0))])
    assert (found.cpu_time_kept, found.throughput_kept) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [
        ([3.0], 50, 3.0),
        ([3.0], 99, 3.0),
        ([2.0, 1.0], 50, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        ([float(i) for i in range(1, 101)], 99, 99.0),
        ([float(i) for i in range(1, 101)], 100, 100.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_percentile(values: list[float], percent: float, wanted: float) -> None:
    """The nearest rank: always one of the values."""
    assert percentile(values, percent) == wanted
