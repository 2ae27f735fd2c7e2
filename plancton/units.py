"""Durations, sizes and rates as people write them: ``90s``, ``2GB``, ``512MiB``, ``10%``, ``20Mbit``."""

import math
import re
import time
from collections.abc import Collection
from functools import cached_property
from typing import TypeVar

SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
BYTES = {
    "b": 1,
    **{f"{p}b": 1000**n for n, p in enumerate("kmgt", 1)},
    **{f"{p}ib": 1024**n for n, p in enumerate("kmgt", 1)},
}
BITS = {"kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_SHOWN_BITS = (("Gbit", 10**9), ("Mbit", 10**6))
N = TypeVar("N", int, float)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_LONGEST = 64
"""Characters of any duration or size that makes sense."""


class Duration(float):
    """Seconds."""

    @classmethod
    def parse(cls, value: object) -> "Duration":
        """From ``90s``, ``1h30m`` or a plain number of seconds; ValueError says what is wrong."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls(round(_sane(value, value), 3))
        text = _text(value)
        parts = _PART.findall(text)
        units = [unit.lower() for _, unit in parts]
        if not parts or _PART.sub("", text).strip() or any(unit not in SECONDS for unit in units):
            raise ValueError(f"{shown(value)} is not a duration: write 90s, 15m, 12h, 2d or 1h30m")
        seconds = sum(float(n) * SECONDS[u] for (n, _), u in zip(parts, units, strict=True))
        return cls(round(_sane(seconds, value), 3))

    def __str__(self) -> str:
        for unit in ("d", "h", "m"):
            if self >= SECONDS[unit] and self % SECONDS[unit] == 0:
                return f"{int(self) // SECONDS[unit]}{unit}"
        return f"{self:.3f}".rstrip("0").rstrip(".") + "s"


class Size(int):
    """Bytes."""

    @classmethod
    def parse(cls, value: object) -> "Size":
        """From ``2GB`` (powers of 1000), ``512MiB`` (powers of 1024) or a plain number of bytes."""
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(_sane(value, value))
        match = _PART.fullmatch(_text(value))
        if match is None or match[2].lower() not in BYTES:
            raise ValueError(f"{shown(value)} is not a size: write 2GB, 512MiB or a number of bytes")
        return cls(round(_sane(float(match[1]) * BYTES[match[2].lower()], value)))

    def __str__(self) -> str:
        for unit, power in (("TB", 4), ("GB", 3), ("MB", 2)):
            if self >= 1000**power and self % 1000 ** (power - 1) == 0 and self < 1000 ** (power + 1):
                return f"{self / 1000**power:g}{unit}"
        for unit, power in (("TiB", 4), ("GiB", 3), ("MiB", 2)):
            if self and self % 1024**power == 0:
                return f"{self // 1024**power}{unit}"
        return f"{int(self)}B"


class Portion(str):
    """A size, or a percentage of something that is known only on the host (its RAM, its disk)."""

    @classmethod
    def parse(cls, value: object) -> "Portion":
        text = _text(value)
        if not text.endswith("%"):
            size = Size.parse(value)
            if type(value) is int and 0 < value <= 100:
                raise ValueError(f"{value} has no unit: write {value}%, or a size like 2GB")
            return cls(size)
        try:
            percent = float(text[:-1])
        except ValueError:
            percent = math.nan
        if not 0 <= percent <= 100:
            raise ValueError(f"{shown(value)} is not a percentage: write 0% to 100%, or a size like 2GB")
        return cls(text)

    def of(self, whole: int) -> int:
        """Bytes, where ``whole`` bytes are 100 %."""
        return int(whole * float(self[:-1]) / 100) if self.endswith("%") else self._bytes

    @cached_property
    def _bytes(self) -> int:
        """Once: it is asked for each tick."""
        return int(Size.parse(self))


class Rate(int):
    """Bits per second."""

    @classmethod
    def parse(cls, value: object) -> "Rate":
        """From ``20Mbit`` or ``20Mbit/s``. A number alone may be bits or bytes: it is refused."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]bit)(?:/s)?", _text(value), re.IGNORECASE)
        if match is None:
            plain = isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal())
            wrong = "has no unit" if plain and not isinstance(value, bool) else "is not a rate"
            raise ValueError(f"{shown(value)} {wrong}: write 500kbit, 20Mbit or 1Gbit (per second)")
        return cls(round(_sane(float(match[1]) * BITS[match[2].lower()], value)))

    def __str__(self) -> str:
        return next(
            (f"{self / size:.12g}{unit}" for unit, size in _SHOWN_BITS if self >= size),
            f"{self / 1e3:.12g}kbit",
        )


class Number(str):
    """A number as it is written, where any other value would do as well: 3.10 is not 3.1."""


def _sane(number: N, value: object) -> N:
    if not 0 <= number < 1e18:
        raise ValueError(f"{shown(value)} is out of range")
    return number


def _text(value: object) -> str:
    """A scalar as text; empty for what can't be a duration or size: a list, pages of digits."""
    text = str(value).strip() if isinstance(value, str | float) else ""
    return text if len(text) <= _LONGEST else ""


_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[ -/]*[0-~])")
"""What a terminal obeys instead of showing it: colours, cursor moves, titles."""


def printable(text: str) -> str:
    """Somebody else's words on one line: without escape sequences, and with a space for whatever is
    not shown, among it what changes the order of the text."""
    if text.isprintable():  # nearly always
        return text
    return "".join(char if char.isprintable() else " " for char in _ESCAPES.sub("", text))


def escaped(text: str) -> str:
    """JSON text, whose strings have escapes for whatever is not shown."""
    import json  # seldom needed: every command would pay for it at its start

    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text)


def quoted(word: object) -> str:
    """A word of a command that people may copy, as the shell takes it."""
    import shlex  # as above

    return shlex.quote(printable(str(word)))


def local_time(unix: float, form: str) -> str:
    """A Unix time here, as strftime(3) has it; an en dash where there is no such day."""
    try:
        return time.strftime(form, time.localtime(unix))
    except (OSError, OverflowError, ValueError):
        return "–"


def day_and_time(unix: float, now: float) -> str:
    """``18:00`` today, ``Sat 18:00`` within six days, else with the date; ``now`` is Unix time."""
    if local_time(unix, "%F") == local_time(now, "%F"):
        return local_time(unix, "%H:%M")
    return local_time(unix, "%a %H:%M" if abs(unix - now) < 6 * SECONDS["d"] else "%Y-%m-%d %H:%M")


def next_time(text: str, now: float) -> float:
    """The Unix time at which clocks here will next show that time of day, as ``18:00``; ValueError
    says what is wrong."""
    match = _CLOCK.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{shown(text)} is not a time of day: write 18:00")
    today = time.localtime(now)

    def on(day: int) -> float:
        moment = (today.tm_year, today.tm_mon, today.tm_mday + day, int(match[1]), int(match[2]), 0, 0, 0, -1)
        return time.mktime(moment)

    return on(0) if on(0) > now else on(1)


def shown(value: object) -> str:
    """A value that somebody gave us, for a message: short, however long or deep it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a section"
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a number that long"
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """What to say to somebody who has written a word that is none of the known ones."""
    import difflib  # as above

    near = difflib.get_close_matches(word, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def human_bytes(size: float | None) -> str:
    """``512 MB``, ``1.6 GB``, ``2 GB``; an en dash when unknown."""
    if size is None:
        return "–"
    value, unit, digits = size / 1000, "kB", 0
    for larger, decimals in (("MB", 0), ("GB", 1), ("TB", 1)):
        if round(value, digits) >= 1000:
            value, unit, digits = value / 1000, larger, decimals
    return f"{value:.{digits}f}".removesuffix(".0") + f" {unit}"


def human_seconds(seconds: float | None) -> str:
    """``3h 12m``, ``45s``; an en dash when unknown."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"
