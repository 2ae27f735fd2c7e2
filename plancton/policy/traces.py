"""Histories: how much of a host its owner used, read from CSV. Pure, except that it reads the file.

A line is `time,owner` or `time,owner,cpus`: seconds (since whenever), CPUs that the owner used from
then until the next line, and CPUs that the host has. A first line of names is skipped, as are empty
lines and those that begin with `#`. The last line lasts as long as the one before it.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.errors import PlanctonError
from plancton.model import Observation
from plancton.units import shown

COLUMNS = "time,owner or time,owner,cpus"
LONGEST_ROW = 86_400.0
"""Seconds that a line may last. More means other units, or that nobody looked at the host meanwhile."""
NOISE = 0.02
"""How much more of its CPUs than there are a host may seem to use: clocks are not read all at once."""
MOST_CPUS = 4096
LARGEST = 64 << 20
"""Characters of a file: years of a line each minute."""


class HistoryError(PlanctonError):
    """A file that is not a history, in one line."""


class History(msgspec.Struct, frozen=True):
    """What the owner used of ``cpus`` CPUs: ``owner[n]`` from ``starts[n]`` on (seconds, the first is 0)."""

    name: str
    cpus: float
    starts: tuple[float, ...]
    owner: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return 2 * self.starts[-1] - self.starts[-2]

    def means(self, step: float) -> Iterator[float]:
        """The owner's mean use in each step, one after the other, without an incomplete one at the end."""
        ends, row, now = (*self.starts[1:], self.seconds), 0, 0.0
        for number in range(1, int(self.seconds / step) + 1):
            used, until = 0.0, min(number * step, self.seconds)
            while ends[row] < until:
                used += (ends[row] - now) * self.owner[row]
                now, row = ends[row], row + 1
            used += (until - now) * self.owner[row]
            now = until
            yield used / step


def observations(history: History) -> Iterator[Observation]:
    """What a supervisor would see, once a second, apart from workers. Memory is not known."""
    for number, owner in enumerate(history.means(1.0), 1):
        time = float(number)
        yield Observation(time, time, history.cpus, interval=1.0, owner=owner, image="history")


# ---------------------------------------------------------------- reading


class Row(NamedTuple):
    """What is on a line; ``cpus`` is None without a third column."""

    line: int
    time: float
    owner: float
    cpus: float | None


def is_history(path: Path) -> bool:
    """Whether a file's name says that it is a history rather than a recording."""
    return path.suffix.lower() == ".csv"


def read_history(path: Path, cpus: float | None = None) -> History:
    """The history in a file; ``cpus`` is how many the host has, where the file does not say it."""
    starts, used = list[float](), list[float]()
    try:
        rows = list(_rows(_read(path)))
        if rows and rows[0].cpus is not None:
            cpus = rows[0].cpus
        for row in rows:
            start, most = row.time - rows[0].time, _cpus(row, cpus)
            if starts and start <= starts[-1]:
                raise _error(row.line, "is not later than the one before: sort the lines by time")
            if starts and start - starts[-1] > LONGEST_ROW:
                raise _error(
                    row.line, "is more than a day after the one before: write seconds, or split the file"
                )
            if not 0 <= row.owner <= most * (1 + NOISE):
                raise _error(row.line, f"owner is {row.owner:g}, but must be 0 to {most:g}, the host's CPUs")
            starts.append(start)
            used.append(min(row.owner, most))
    except OSError as error:
        raise HistoryError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise HistoryError(f"{path}: can't be read: is not UTF-8 text") from None
    except (ValueError, csv.Error) as error:
        raise HistoryError(f"{path}: {error}") from None
    if cpus is None or len(starts) < 2:
        raise HistoryError(f"{path}: has fewer than two lines of {COLUMNS}, so it is not a history")
    return History(path.stem, cpus, tuple(starts), tuple(used))


def _read(path: Path) -> str:
    with path.open(encoding="utf-8-sig") as file:
        text = file.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise ValueError(f"is longer than {LARGEST >> 20} MiB: split the file")
    return text


def _rows(text: str) -> Iterator[Row]:
    reader = csv.reader("" if line.startswith("#") else line for line in text.splitlines())
    first = True
    for fields in reader:
        if not "".join(fields).strip():
            continue
        numbers = [_number(field) for field in fields]
        are_names, first = first and len(fields) > 1 and not any(map(math.isfinite, numbers)), False
        if are_names:
            continue
        if len(fields) not in (2, 3):
            raise _error(reader.line_num, f"has {len(fields)} columns: write {COLUMNS}")
        for field, number in zip(fields, numbers, strict=True):
            if not math.isfinite(number):
                raise _error(reader.line_num, f"{shown(field.strip())} is not a number: write {COLUMNS}")
        time, owner, *cpus = numbers
        yield Row(reader.line_num, time, owner, cpus[0] if cpus else None)


def _number(field: str) -> float:
    try:
        return float(field)
    except ValueError:
        return math.nan


def _cpus(row: Row, cpus: float | None) -> float:
    """The host's CPUs, which are the same on all lines."""
    if cpus is None:
        raise _error(row.line, "how many CPUs does this host have? Add --cpus N, or a third column")
    if not 0 < cpus <= MOST_CPUS:
        raise _error(row.line, f"a host can't have {cpus:g} CPUs: write 1 to {MOST_CPUS}")
    if row.cpus not in (None, cpus):
        raise _error(row.line, f"the host has {row.cpus:g} CPUs, and had {cpus:g}: split the file")
    return cpus


def _error(line: int, text: str) -> ValueError:
    return ValueError(f"line {line}: {text}")
