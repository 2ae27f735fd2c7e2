"""The last day or the last eight, as `plancton top` shows them, from the history."""

from pathlib import Path

import msgspec

from plancton.history.read import open_history
from plancton.history.summary import Summary, average, in_steps, summarize
from plancton.history.tables import DAY, HOUR

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
    steps = in_steps(rows, begin, step, days * DAY // step, ("seconds", "owner", "donated"))
    return Past(
        days,
        begin,
        step,
        owner=tuple(average(each, "owner") for each in steps),
        donated=tuple(average(each, "donated") for each in steps),
        sums=summarize([], rows, begin, now),
    )
