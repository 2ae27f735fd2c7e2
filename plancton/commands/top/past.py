"""The last day or the last eight, as `plancton top` shows them, from the history."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from plancton.history.read import open_history
from plancton.history.summary import Summary, summarize
from plancton.history.tables import DAY, HOUR, Row

STEPS = {1: 300, 8: HOUR}
"""Seconds that are one step of the curves, by the days that are shown: 8 is as long as the history
keeps minutes."""


class Past(msgspec.Struct, frozen=True):
    """``owner`` and ``donated`` are CPUs on average in each step of ``step`` seconds, the first of
    which begins at ``begin`` (Unix time); None: not known."""

    days: int
    begin: int
    step: int
    owner: tuple[float | None, ...]
    donated: tuple[float | None, ...]
    sums: Summary

    @property
    def cpus(self) -> float:
        """The host's, on average."""
        return self.sums.capacity / self.sums.seconds if self.sums.seconds else 0.0


def read_past(state: Path, days: int, now: float) -> Past:
    """The last ``days``, one of STEPS. Raises HistoryError."""
    step = STEPS[days]
    begin = int((now - days * DAY) // step + 1) * step
    with open_history(state) as history:
        rows = history.rows("minutes", begin, now)
    steps = list[list[Row]]([] for _ in range(days * DAY // step))
    for row in rows:
        steps[min((row.time - begin) // step, len(steps) - 1)].append(row)
    return Past(
        days,
        begin,
        step,
        owner=tuple(_average(each, "owner") for each in steps),
        donated=tuple(_average(each, "donated") for each in steps),
        sums=summarize([], rows, begin, now),
    )


def _average(rows: Sequence[Row], name: str) -> float | None:
    seconds = sum(row.seconds for row in rows)
    return float(sum(getattr(row, name) for row in rows)) / seconds if seconds else None
