"""What a finding is."""

from enum import StrEnum

import msgspec

from plancton.units import printable

MOST_NAMES = 3


class Level(StrEnum):
    """From best to worst."""

    OK = "ok"
    BETTER = "could be better"
    BROKEN = "broken"


class Finding(msgspec.Struct, frozen=True):
    """One line. ``remedy`` is empty where all is well, or where the text, an error's, has it."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Level.OK, printable(text))


def better(subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(subject, Level.BETTER, printable(text), printable(remedy))


def broken(subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(subject, Level.BROKEN, printable(text), printable(remedy))


def names_of(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
