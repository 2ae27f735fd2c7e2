"""scripts/cost/long_run.py: what a soak says of what it has read."""

from collections.abc import Callable

import pytest
from cost.figure import Figure
from cost.long_run import DueTicks, Late, Reading, growth, judge, slope

from plancton.model import Decision, Header, Observation, Settings, Tick

HOUR = 3600.0
FINE = [Late(100.0, 0.4, 0.0)]
Series = Callable[[float], float]


def readings(
    seconds: float, rss: Series = lambda t: 30.0, kept: Series = lambda t: 20, log: Series = lambda t: 1000
) -> list[Reading]:
    """One each five seconds; descriptors and threads rise and fall with up to six workers."""
    times = [5.0 * number for number in range(int(seconds / 5))]
    return [
        Reading(t, rss(t), rss(t) - 3, int(kept(t)) + int(t / 5) % 7, int(kept(t)) // 4, int(log(t)))
        for t in times
    ]


def over(found: list[Figure]) -> list[str]:
    return [figure.name.split()[0] for figure in found if not figure.fits]


def test_nothing_leaks() -> None:
    """Memory that grows for ten minutes and then stays, and descriptors that come and go with the
    workers, are within the budgets."""
    grows_at_first = readings(HOUR, rss=lambda t: 28 + min(t, 600) / 100 + t % 7 / 50)
    assert not over(list(judge(grows_at_first, FINE, HOUR)))


@pytest.mark.parametrize(
    ("leak", "named"),
    [
        (readings(HOUR, rss=lambda t: 30 + 0.7 * t / HOUR), ["RSS", "anonymous"]),
        (readings(HOUR, rss=lambda t: 30 - 0.7 * t / HOUR), ["RSS", "anonymous"]),
        (readings(HOUR, kept=lambda t: 20 + t / 900), ["descriptors"]),
        (readings(HOUR, kept=lambda t: 20 + t / 450), ["descriptors", "threads"]),
        (readings(HOUR, log=lambda t: 4000 * t), ["its"]),
    ],
)
def test_a_leak(leak: list[Reading], named: list[str]) -> None:
    """What grows is over its budget, and nothing else is."""
    assert over(list(judge(leak, FINE, HOUR))) == named


def test_a_short_run_says_so() -> None:
    """A slope that is less certain is called that."""
    short, long = (list(judge(readings(s), FINE, s)) for s in (600.0, HOUR))
    assert "less certain" in short[0].name and "less certain" not in long[0].name


def test_late_ticks() -> None:
    """The latest tick counts by what the machine did not keep it from."""
    found = list(judge(readings(HOUR), [*FINE, Late(5.0, 9.0, 8.5), Late(7.0, 2.5, 0.5)], HOUR))
    assert found[-1].value == 2.0 and not found[-1].fits
    assert list(judge(readings(HOUR), [Late(5.0, 9.0, 8.5)], HOUR))[-1].fits


def test_due() -> None:
    """Without workers and with a known owner the next tick is due after a calm pause, and without
    figures after a second; a supervisor that starts again was not late."""
    due, settings = DueTicks(5.0), Settings(grace_spawn=60.0)
    times = [(0.0, None), (1.0, 2.0), (6.0, 2.0), (13.0, None), (16.0, 2.0)]
    ticks = [
        Tick(Observation(t, t, 2.0, interval=1.0, owner=owner, image="i"), Decision(0, ""))
        for t, owner in times
    ]
    assert due.late(Header("1", settings)) is None
    assert [due.late(tick) for tick in ticks] == [None, 0.0, 0.0, 2.0, 2.0]
    assert due.late(Header("1", settings)) is None and due.late(ticks[0]) is None


def test_slope() -> None:
    """One odd reading in a hundred changes nothing."""
    straight = [(float(t), 0.25 * t) for t in range(100)]
    straight[50] = (50.0, 1e9)
    assert slope(straight) == pytest.approx(0.25)
    assert slope([(0.0, 1.0)]) == 0.0


def test_growth() -> None:
    """Only what there is without workers counts, at the beginning and at the end, and not what is
    missing while a dockerd restarts."""
    without = [22] * 5 + [25, 28] * 10
    assert growth([*without, 21, *without, *without, 22]) == 0
    assert growth([*without, 21, *without, *(each + 1 for each in without), 23]) == 1
    assert growth([5, 9, 7, 5, 8, 9, 9, 5, 9]) == 0
    assert growth([5, 9, 7, 5, 8, 9, 9, 7, 9]) == 2
