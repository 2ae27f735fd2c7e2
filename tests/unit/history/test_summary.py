"""What rows add up to, worked out by hand."""

import time
from collections.abc import Iterator

import pytest

from plancton.history.summary import NOT_RUNNING, Pause, minutes_from, pauses, summarize, week
from plancton.history.tables import DAY, HOUR, MINUTE, Row

MONDAY = 1_763_942_400
"""2025-11-24 00:00 UTC."""


@pytest.fixture(autouse=True)
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def minute(number: int, workers: bool, held: str = "", why: str = "") -> Row:
    without = 0.0 if workers else 60.0
    return Row(MONDAY + number * MINUTE, 60.0, 240.0, without=without, held=held, why=why)


def found(*rows: Row, until: float) -> list[Pause]:
    return list(pauses(rows, [MINUTE] * len(rows), until))


def test_sums() -> None:
    """Hours and minutes are added up, and what was donated is told as a part of what was idle."""
    hour = Row(MONDAY, 3600.0, 14400.0, owner=3600.0, donated=7200.0, idle=3600.0, jobs_done=3, cpu_done=9.0)
    last = Row(MONDAY + HOUR, 60.0, 240.0, donated=30.0, idle=210.0, jobs_done=1, jobs_evicted=1)
    summary = summarize([hour], [last], MONDAY, MONDAY + HOUR + MINUTE)
    assert (summary.seconds, summary.donated, summary.idle) == (3660.0, 7230.0, 3810.0)
    assert (summary.jobs_done, summary.jobs_evicted, summary.cpu_done) == (4, 1, 9.0)
    assert summary.part_of_idle == pytest.approx(7230 / 11040)
    assert summarize([], [], 0.0, 1.0).part_of_idle is None


def test_week() -> None:
    """Each hour of the week has the part of its CPU time that was donated, Monday first."""
    rows = [Row(MONDAY, 3600.0, 400.0, donated=100.0), Row(MONDAY + 7 * DAY, 3600.0, 400.0, donated=300.0)]
    parts = week([*rows, Row(MONDAY + DAY + 23 * HOUR, 3600.0, 100.0)])
    assert parts[0][0] == 0.5 and parts[1][23] == 0.0, parts
    known = [(day, hour) for day in range(7) for hour in range(24) if parts[day][hour] is not None]
    assert known == [(0, 0), (1, 23)]


def test_week_is_that_of_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hour is that of the clock on the wall."""
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    assert week([Row(MONDAY, 3600.0, 1.0, donated=1.0)])[0][5] == 1.0, "5:45 there"


def test_pauses() -> None:
    """A pause is as long as there was no worker; its reason is the one that held for longest."""
    rows = (
        minute(0, True),
        minute(1, False, "no room", "the owner uses 3.9 of 4 CPUs"),
        minute(2, False, "flaps", "backing off"),
        minute(3, False, "no room", "the owner uses 4.0 of 4 CPUs"),
        minute(4, True),
    )
    expected = Pause(MONDAY + 60, 180.0, "no room", "the owner uses 4.0 of 4 CPUs")
    assert found(*rows, until=MONDAY + 300) == [expected]


def test_times_without_plancton() -> None:
    """Where rows are missing, and after the last one, Plancton did not run."""
    seen = found(minute(0, False, "disk", "full"), minute(10, True), until=MONDAY + 3600)
    assert [(p.begin - MONDAY, p.seconds, p.reason) for p in seen] == [
        (0, 60, "disk"),
        (60, 540, NOT_RUNNING),
        (660, 2940, NOT_RUNNING),
    ]


def test_a_minute_that_is_not_written_yet_is_no_pause() -> None:
    """Right now the last minute is still being counted."""
    assert not found(minute(0, True), until=MONDAY + 170)


def test_the_longest_are_told() -> None:
    """Ten of them, the longest first."""
    rows = [minute(n, workers=n % 4 == 0, held="disk") for n in range(81)]
    summary = summarize([], rows, MONDAY, MONDAY + 81 * MINUTE)
    assert [pause.seconds for pause in summary.pauses] == [180.0] * 10


def test_minutes_where_they_are_kept() -> None:
    """Minutes tell of the last week and hours of the time before: nothing is counted twice."""
    until = MONDAY + 1234.0
    border = minutes_from(until - 30 * DAY, until)
    assert border % HOUR == 0 and until - 8 * DAY < border <= until - 8 * DAY + 2 * HOUR
    assert minutes_from(until - HOUR, until) == until - HOUR
