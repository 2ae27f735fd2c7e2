"""What the page shows of the past: the history as lines of a chart, sums, and events."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from plancton.files import to_json
from plancton.history.read import Said, changed, open_history
from plancton.history.retention import KEPT
from plancton.history.summary import Pause, average, in_steps, longest_pauses, minutes_from, week
from plancton.history.tables import DAY, HOUR, MINUTE, HistoryError, Row

POINTS = 800
"""At most so many in a chart, about as many as a screen has dots for."""
STEPS = (60, 120, 300, 600, 900, 1800, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY)
EVENTS = 200
WEEKS = 28 * DAY
"""Fewer days say little of a week."""
LONGEST = KEPT["hours"]
KEPT_RESULTS = 16
PATIENCE = 5.0
"""Seconds that a request waits for the one before it."""
CPUS = ("owner", "donated", "engine", "idle", "stolen", "capacity")
"""Lines of CPUs, averages over each step."""
SUMS = ("seconds", "jobs_done", "jobs_evicted", "cpu_lost")
HANGS = "the history can't be read: its disk is slow or hangs"


class Chart(msgspec.Struct, frozen=True):
    """``lines`` has a list for each of CPUS and SUMS, with a value for each ``step`` seconds from
    ``begin`` on, a Unix time; null: Plancton did not run."""

    begin: int
    step: int
    lines: dict[str, list[float | None]]


class Past(msgspec.Struct, frozen=True):
    """``pauses`` as in `history.summary.Summary`, and so is ``week``, of four weeks at least; events are
    the last ones in this time, the oldest first. ``problem``: why nothing is known."""

    since: float
    until: float
    chart: Chart | None = None
    week: tuple[tuple[float | None, ...], ...] = ()
    pauses: tuple[Pause, ...] = ()
    events: tuple[Said, ...] = ()
    problem: str = ""


def step_for(seconds: float, since: float, now: float) -> int:
    """The finest step that leaves few enough points; minutes are not kept for ever."""
    finest = MINUTE if since >= minutes_from(0.0, now) else HOUR
    fits = (step for step in STEPS if step >= finest and seconds <= step * POINTS)
    return next(fits, STEPS[-1])


def make_chart(rows: Sequence[Row], since: float, until: float, step: int) -> Chart:
    """Of rows that are not longer than a step."""
    begin = int(since) // step * step
    count = max(int(-(-(until - begin) // step)), 1)
    sums = in_steps(rows, begin, step, count, (*CPUS, *SUMS))
    lines: dict[str, list[float | None]] = {name: [_average(each, name) for each in sums] for name in CPUS}
    for name in SUMS:
        lines[name] = [round(getattr(each, name), 1) if each.seconds > 0 else None for each in sums]
    return Chart(begin, step, lines)


def _average(row: Row, name: str) -> float | None:
    value = average(row, name)
    return None if value is None else round(value, 3)


def read_past(state: Path, since: float, until: float, now: float, step: int | None = None) -> Past:
    step = step or step_for(until - since, since, now)
    border = min(minutes_from(since, now), until)
    with open_history(state) as history:
        weeks = history.rows("hours", min(since, until - WEEKS), until)
        hours, minutes = history.rows("hours", since, border), history.rows("minutes", border, until)
        events = history.events(since, until=until, last=EVENTS)
    chart = make_chart([*hours, *minutes], since, until, step)
    longest = longest_pauses(hours, minutes, until)
    return Past(since, until, chart, week(weeks), longest, tuple(events))


class PastReader:
    """Reads the history when there is something new, for one request after the other."""

    def __init__(self, find_state: Callable[[], Path], patience: float = PATIENCE) -> None:
        self._find_state, self._patience = find_state, patience
        self._lock = threading.Lock()
        self._known: object = None
        self._read = dict[tuple[float, float], bytes]()

    def read(self, since: float, until: float, now: float) -> bytes:
        """A `Past`, as JSON. Where the disk hangs, so does one request, and the others say so."""
        if not self._lock.acquire(timeout=self._patience):
            return to_json(Past(since, until, problem=HANGS))
        try:
            return self._read_once(since, until, now)
        finally:
            self._lock.release()

    def _read_once(self, since: float, until: float, now: float) -> bytes:
        state = self._find_state()
        known = (state, changed(state))
        if known != self._known or len(self._read) >= KEPT_RESULTS:
            self._known, self._read = known, {}
        if (since, until) not in self._read:
            self._read[since, until] = to_json(past_or_problem(state, since, until, now))
        return self._read[since, until]


def past_or_problem(state: Path, since: float, until: float, now: float) -> Past:
    try:
        return read_past(state, since, until, now)
    except HistoryError as error:
        return Past(since, until, problem=str(error))
