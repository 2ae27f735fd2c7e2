"""`owner.hours`: when to donate, for people who don't write expressions."""

import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from plancton.host.signals.day_times import DAY, WEEKDAYS, minutes_of
from plancton.units import shown

DAYS = tuple(name[:3].lower() for name in WEEKDAYS)
WEEK = len(DAYS) * DAY
MOST = 200
"""Characters."""
_ITEM = re.compile(r"(?:(?P<days>[a-z]+(?:-[a-z]+)?)\s*)?(?P<times>[\d:]+\s*-\s*[\d:]+)?", re.ASCII)


class Span(NamedTuple):
    """From one minute of the week to before another; it may go over Sunday's midnight."""

    begin: int
    end: int


class Hours(str):
    """Times of the week: ``22:00-07:00, sat, sun`` or ``mon-fri 18:00-08:00``."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def parse(cls, value: object) -> "Hours":
        """A list of days, of times of day, or of both. Raises ValueError."""
        text = " ".join(value.split()) if isinstance(value, str) and len(value) <= MOST else ""
        found = cls(text)
        found.spans = tuple(span for item in text.lower().split(",") for span in _spans(item.strip(), value))
        return found

    def contains(self, when: time.struct_time) -> bool:
        """Whether this local time is one of them."""
        minute = when.tm_wday * DAY + when.tm_hour * 60 + when.tm_min
        return any((minute - begin) % WEEK < end - begin for begin, end in self.spans)

    def next_change(
        self, now: float, local: Callable[[float], time.struct_time] = time.localtime
    ) -> float | None:
        """The Unix time at which they begin or end next; None: never. By the clock on the wall, so
        that a night in which it is put forward or back has its true length."""
        inside = self.contains(local(now))
        first = now - now % 60 + 60
        for minute in range(WEEK + DAY):
            if self.contains(local(first + 60 * minute)) != inside:
                return first + 60 * minute
        return None


def _spans(item: str, value: object) -> Iterator[Span]:
    found = _ITEM.fullmatch(item)
    if not item or found is None:
        raise ValueError(f"{shown(value)} is not a list of hours and days: write 22:00-07:00, sat, sun")
    begin, end = 0, DAY
    if found["times"]:
        begin, end = (minutes_of(part) for part in found["times"].split("-"))
        if begin in (end, DAY):
            raise ValueError(f"{found['times']} is no time at all")
        end = end if end > begin else end + DAY
    days = _days(found["days"]) if found["days"] else range(len(DAYS))
    for day in days:
        yield Span(day * DAY + begin, day * DAY + end)


def _days(text: str) -> Iterator[int]:
    """The numbers of ``sat`` or ``mon-fri``."""
    first, _, last = text.partition("-")
    begin, end = _day(first), _day(last or first)
    return iter([(begin + i) % len(DAYS) for i in range((end - begin) % len(DAYS) + 1)])


def _day(word: str) -> int:
    if word[:3] in DAYS and (len(word) == 3 or WEEKDAYS[DAYS.index(word[:3])].lower() == word):
        return DAYS.index(word[:3])
    raise ValueError(f"{word[:40]!r} is not a day: write {', '.join(DAYS)}")
