"""`owner.hours`: times of the week as people write them."""

import time
from collections.abc import Iterator

import pytest

from plancton.config.hours import Hours

MONDAY = 1_700_438_400  # 2023-11-20 00:00 UTC
HOUR, DAY = 3600, 86_400


def at(day: int, hour: float) -> float:
    """A Unix time in that week, in UTC."""
    return MONDAY + day * DAY + hour * HOUR


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("22:00-07:00", [(0, 22), (0, 0), (3, 6.9), (6, 23.9)], [(0, 7), (3, 21.9)]),
        ("22:00-07:00, sat, sun", [(5, 12), (6, 0), (6, 23.9), (0, 6)], [(0, 12), (4, 21)]),
        ("sat 10:00-18:00", [(5, 10), (5, 17.9)], [(5, 18), (4, 12), (6, 12)]),
        ("mon-fri 22:00-07:00", [(0, 22), (5, 6)], [(0, 6), (5, 22), (6, 6)]),
        ("fri-mon", [(4, 0), (6, 12), (0, 23.9)], [(1, 0), (3, 23.9)]),
        ("sun 22:00-07:00", [(6, 22), (0, 6.9)], [(0, 7), (0, 22)]),
        ("Saturday,Sunday", [(5, 0), (6, 0)], [(4, 12)]),
        ("0:00-24:00", [(0, 0), (6, 23.9)], []),
        ("18:00 - 24:00", [(2, 18), (2, 23.9)], [(2, 0)]),
        ("mon-sun", [(0, 0), (6, 23.9)], []),
    ],
)
def test_hours(text: str, inside: list[tuple[int, float]], outside: list[tuple[int, float]]) -> None:
    """Days and times of day, over midnight and over the week's end."""
    hours = Hours.parse(text)
    for when in inside:
        assert hours.contains(time.gmtime(at(*when))), f"{when} is not in {text}"
    for when in outside:
        assert not hours.contains(time.gmtime(at(*when))), f"{when} is in {text}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is not a list of hours and days"),
        ("22:00", "is not a list of hours and days"),
        ("22-7", "is not a time of day"),
        ("25:00-07:00", "'25:00' is not a time of day"),
        ("08:00-08:00", "no time at all"),
        ("caturday", "is not a day"),
        ("sat, sunn", "is not a day"),
        ("sat,,sun", "is not a list of hours and days"),
        ("10:00-12:00 sat", "is not a list of hours and days"),
        (7, "is not a list of hours and days"),
        (["sat"], "is not a list of hours and days"),
        ("sat, " * 100, "is not a list of hours and days"),
    ],
)
def test_bad_hours(value: object, said: str) -> None:
    """What is wrong is said in one short line."""
    with pytest.raises(ValueError, match=said) as caught:
        Hours.parse(value)
    assert len(str(caught.value)) < 200 and "\n" not in str(caught.value)


def test_next_change() -> None:
    """It tells when they begin or end next, if they ever do."""
    hours = Hours.parse("22:00-07:00, sat, sun")
    assert hours.next_change(at(0, 12.5), time.gmtime) == at(0, 22)
    assert hours.next_change(at(0, 22), time.gmtime) == at(1, 7)
    assert hours.next_change(at(4, 23), time.gmtime) == at(7, 7), "the weekend is between two nights"
    assert Hours.parse("mon-sun").next_change(at(3, 3), time.gmtime) is None


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.usefixtures("in_berlin")
def test_summer_time() -> None:
    """A night in which the clock is put forward is an hour shorter."""
    hours = Hours.parse("22:00-07:00")
    begin = time.mktime((2024, 3, 30, 22, 0, 0, 0, 0, -1))
    assert hours.next_change(begin) == begin + 8 * HOUR
    begin = time.mktime((2024, 10, 26, 22, 0, 0, 0, 0, -1))
    assert hours.next_change(begin) == begin + 10 * HOUR
