"""The owner's clock: times of day as people write them."""

import re

DAY = 24 * 60
"""Minutes."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def minutes_of(text: str) -> int:
    """Minutes since midnight, from ``22:00``; ``24:00`` is the end of a day. Raises ValueError."""
    found = _TIME.fullmatch(text.strip())
    if text.strip() == "24:00":
        return DAY
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a time of day: write 22:00")
    return int(found[1]) * 60 + int(found[2])


def check_between(texts: tuple[str, ...]) -> None:
    """Whether it is ``between`` two times of day; raises ValueError."""
    if len(texts) != 2:
        raise ValueError('takes two times of day, such as between("22:00", "07:00")')
    begin, end = map(minutes_of, texts)
    if begin % DAY == end % DAY:
        raise ValueError(f"{texts[0]} to {texts[1]} is no time at all, or all of it")


def is_between(minute: int, begin: str, end: str) -> bool:
    """Whether this minute of the day is within; from 22:00 to 07:00 is over midnight."""
    first, last = minutes_of(begin) % DAY, minutes_of(end)
    return first <= minute < last if first < last else minute >= first or minute < last % DAY
