"""Histories: how much of a host its owner used, read from CSV. Pure but for reading the file.

A line is `time,owner` or `time,owner,cpus`: seconds (since whenever), CPUs that the owner used from then
until the next line, and CPUs that the host has. A first line of names is skipped, as are empty lines and
those that begin with `#`. The last line lasts as long as the one before it.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.model import Observation
from plancton.units import shown

COLUMNS = "time,owner or time,owner,cpus"
LONGEST_ROW = 86_400.0
"""Seconds that a line may last. A longer time is in other units, or nobody looked at the host meanwhile."""
NOISE = 0.02
"""The part of its CPUs by which a host may seem to be used more than it can be: clocks are read one after
the other."""
MOST_CPUS = 4096


class HistoryError(PlanctonError):
    """A file that is no history, in one line."""


class History(msgspec.Struct, frozen=True):
    """What the owner used of ``cpus`` CPUs: ``owner[n]`` from ``starts[n]`` on (seconds, the first is 0)."""

    name: str
    cpus: float
    starts: tuple[float, ...]
    owner: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return 2 * self.starts[-1] - self.starts[-2]

    def means(self, step: float) -> Iterator[float]:
        """The owner's mean use in each step, one after the other; a rest at the end is left out."""
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
    """What a supervisor would see, once a second, beside the workers. Memory is not known."""
    for second, owner in enumerate(history.means(1.0), 1):
        yield Observation(
            float(second), float(second), history.cpus, interval=1.0, owner=owner, image="history"
        )


# ---------------------------------------------------------------- reading


def is_history(path: Path) -> bool:
    """Whether a file's name says that it is a history, and no recording."""
    return path.suffix.lower() == ".csv"


def read_history(path: Path, cpus: float | None = None) -> History:
    """The history in a file; ``cpus`` are the host's where the file does not say it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise HistoryError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise HistoryError(f"{path}: can't be read: is not UTF-8 text") from None
    rows, first = _Rows(path, cpus), True
    for number, line in enumerate(text.splitlines(), 1):
        fields = [field.strip(' \t"') for field in line.split(",")]
        if not any(fields) or line.startswith("#"):
            continue
        if not (first and _are_names(fields)):
            rows.add(number, fields)
        first = False
    return rows.history()


def _are_names(fields: list[str]) -> bool:
    return len(fields) > 1 and all(_number(field) is None for field in fields)


def _number(field: str) -> float | None:
    try:
        number = float(field)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


class _Rows:
    """The lines so far, each checked against the one before."""

    def __init__(self, path: Path, cpus: float | None) -> None:
        self.path, self.cpus = path, cpus
        self.starts, self.owner = list[float](), list[float]()

    @property
    def empty(self) -> bool:
        return not self.starts

    def add(self, number: int, fields: list[str]) -> None:
        time, owner, *cpus = self._numbers(number, fields)
        if self.empty:
            self.cpus = cpus[0] if cpus else self.cpus
            self.first = time
        most = self._check_cpus(number, cpus)
        start = time - self.first
        if self.starts and start <= self.starts[-1]:
            raise self._error(number, "is not later than the one before: sort the lines by time")
        if self.starts and start - self.starts[-1] > LONGEST_ROW:
            raise self._error(
                number, "is more than a day after the one before: write seconds, and two files for two times"
            )
        if not 0 <= owner <= most * (1 + NOISE):
            raise self._error(number, f"owner is {owner:g}, but must be 0 to {most:g}, the host's CPUs")
        self.starts.append(start)
        self.owner.append(min(owner, most))

    def _numbers(self, number: int, fields: list[str]) -> list[float]:
        if len(fields) not in (2, 3):
            raise self._error(number, f"has {len(fields)} columns: write {COLUMNS}")
        numbers = [_number(field) for field in fields]
        for field, value in zip(fields, numbers, strict=True):
            if value is None:
                raise self._error(number, f"{shown(field)} is not a number: write {COLUMNS}")
        return [value for value in numbers if value is not None]

    def _check_cpus(self, number: int, cpus: list[float]) -> float:
        if self.cpus is None:
            raise self._error(number, "how many CPUs has this host? Add --cpus N, or a third column")
        if not 0 < self.cpus <= MOST_CPUS:
            raise self._error(number, f"a host can't have {self.cpus:g} CPUs: write 1 to {MOST_CPUS}")
        if cpus and cpus[0] != self.cpus:
            raise self._error(number, f"the host has {cpus[0]:g} CPUs, and had {self.cpus:g}: split the file")
        return self.cpus

    def history(self) -> History:
        if self.cpus is None or len(self.starts) < 2:
            raise HistoryError(f"{self.path}: has fewer than two lines of {COLUMNS}: that is no history")
        return History(self.path.stem, self.cpus, tuple(self.starts), tuple(self.owner))

    def _error(self, number: int, text: str) -> HistoryError:
        return HistoryError(f"{self.path}: line {number}: {text}")
