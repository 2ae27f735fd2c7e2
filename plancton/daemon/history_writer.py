"""Adds what happens up to a row a minute, and has it written to history.sqlite beside the loop.

The loop only adds numbers that it has. A thread, which lives for the milliseconds that a write takes, opens
the file and writes: a disk that hangs holds up nothing. What can't be written waits here for the next try.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from plancton.history.tables import MINUTE, NAME, NO_ROOM, SUMS, HistoryError, Row
from plancton.history.totals import merged, take_over
from plancton.history.write import Batch, Damaged, Replaced, Store, move_aside, open_store
from plancton.inbox import Inbox, guarded
from plancton.model import Decision, Event, Kept, Observation, Work
from plancton.units import printable
from plancton.workers.job_accounting import Accounting

log = logging.getLogger("plancton")

EVENTS_EVERY = 5.0
"""Seconds between two writes of what was said; a minute's row is written with the next tick after
it, and a job that has ended at once."""
RETRY = 60.0
NO_ANSWER = 30.0
"""A write that takes longer than this is a problem."""
LAST_WRITE = 5.0
"""How long the supervisor's end waits for the disk."""
ROWS, EVENTS = 600, 2_000
"""What waits for a disk that takes nothing: ten hours, a few hundred KiB."""
NOTICE = 86_400.0
"""Seconds for which the status says that a damaged file was moved aside."""


class Outcome(NamedTuple):
    """What came of a thread's work: what is wrong, the store to go on with, what an earlier
    supervisor had kept in it, and whether the batch is written."""

    problem: str = ""
    store: Store | None = None
    kept: Kept | None = None
    written: bool = False
    notice: str = ""


class HistoryWriter:
    """Only the loop calls it. ``state`` None: nothing is kept."""

    def __init__(
        self, state: Path | None, inbox: Inbox, now: float, wall: Callable[[], float] = time.time
    ) -> None:
        self._state, self._inbox, self._wall = state, inbox, wall
        self._begun = Kept(Work(round(wall(), 3)))
        self.accounting = Accounting(self._begun, self.save)
        self._work = self._begun.work
        self._row = Row(self._minute())
        self._rows = deque[Row](maxlen=ROWS)
        self._events = deque[Event](maxlen=EVENTS)
        self._store: Store | None = None
        self._opened = False
        self._thread: threading.Thread | None = None
        self._batch: Batch | None = None
        self._outcome: Outcome | None = None
        self._since = self._next = self._now = now
        self._due = False
        self._problem, self._notice, self._notice_until = "", "", 0.0
        if state is not None:  # before anything is counted
            self._outcome = open_history(state)
            self._settle()

    # ------------------------------------------------------------ what the loop tells

    def say(self, event: Event) -> None:
        self._events.append(event)
        self._due = True

    def save(self) -> None:
        """Write now if that is possible: a job that is forgotten is lost."""
        self._due = True
        if not self._problem:
            self._begin()

    def tick(self, seen: Observation, decision: Decision, tier: str, mode: str, now: float) -> None:
        """Add what was seen since the tick before, and have it written if there is a reason to."""
        self._now = now
        self.accounting.donated((seen.donated or 0.0) * (seen.interval or 0.0))
        if self._state is None:
            return
        minute = self._minute()
        if minute != self._row.time:
            self._close_row(minute)
        row = self._row
        if seen.owner is not None and seen.interval is not None:
            _add_figures(row, seen, seen.interval, decision.fit)
        row.tier, row.mode = tier, mode
        row.held, row.why = _why_nothing_is_started(seen, decision)
        self._settle()
        if self._thread is not None and now > self._since + NO_ANSWER:
            self._is_now(f"{self._state / NAME}: the disk has not answered for a while")
        if self._due and now >= self._next:
            self._begin()

    def _minute(self) -> int:
        return int(self._wall()) // MINUTE * MINUTE

    def close(self) -> None:
        """Write the last of it, if the disk takes it soon."""
        self._wait()
        if self._store is not None and self._thread is None and not self._problem:
            self._begin()
            self._wait()
        if self._store is not None and self._thread is None:
            self._thread = threading.Thread(target=self._store.close, name="history", daemon=True)
            self._thread.start()  # a checkpoint waits for the disk
            self._thread.join(LAST_WRITE)

    def problems(self, now: float) -> tuple[str, ...]:
        """What is wrong with the file, and what was done about it."""
        if self._notice and now > self._notice_until:
            self._notice = ""
        return self._problem, self._notice

    # ------------------------------------------------------------ having it written

    def _begin(self) -> None:
        """In a thread: open the file if it is not yet, else write all that has come together."""
        if self._state is None or self._thread is not None:
            return
        self._since, self._next = self._now, self._now + EVENTS_EVERY
        work: Callable[[], Outcome] = partial(open_history, self._state)
        if self._store is not None:
            self._close_row(self._row.time)
            self._batch = Batch(tuple(self._rows), tuple(self._events), self.accounting.kept)
            self._rows.clear()
            self._events.clear()
            work = partial(write_batch, self._store, self._batch, self._wall())
        self._due = False  # the row that was closed for this is in it

        def whole() -> None:
            self._outcome = work()

        self._thread = threading.Thread(
            target=guarded, args=(self._inbox, whole), name="history", daemon=True
        )
        self._thread.start()

    def _close_row(self, minute: int) -> None:
        row, work = self._row, self.accounting.work
        if work is not self._work:
            _add_work(row, self._work, work)
            self._work = work
        if any(getattr(row, name) for name in SUMS):
            row.why = printable(row.why)
            self._rows.append(row)
            self._due = True
        self._row = Row(minute, tier=row.tier, mode=row.mode, held=row.held, why=row.why)

    def _settle(self) -> None:
        """Take in what came of the last write, if it has ended."""
        if self._outcome is None:
            return
        outcome, self._outcome, self._thread = self._outcome, None, None
        if self._batch is not None and not outcome.written:
            self._rows = deque((*self._batch.rows, *self._rows), maxlen=ROWS)
            self._events = deque((*self._batch.events, *self._events), maxlen=EVENTS)
        self._batch, self._store = None, outcome.store
        if outcome.store is not None and not self._opened:
            self._opened = True
            self._go_on(outcome.kept)
        if outcome.notice:
            log.warning("%s", outcome.notice)
            self._notice, self._notice_until = outcome.notice, self._now + NOTICE
        if not outcome.written:
            self._due, self._next = True, self._now + (RETRY if outcome.problem else 0.0)
        self._is_now(outcome.problem)

    def _go_on(self, kept: Kept | None) -> None:
        """Add what was counted until now to what an earlier supervisor had counted."""
        before = self.accounting.work
        if kept is not None:
            self.accounting.resume(merged(kept, self.accounting.kept, self._begun))
        _add_work(self._row, self._work, before)
        self._work = self.accounting.work

    def _wait(self) -> None:
        if self._thread is not None:
            self._thread.join(LAST_WRITE)
        self._settle()

    def _is_now(self, problem: str) -> None:
        if problem and not self._problem:
            log.warning("%s", problem)
        elif self._problem and not problem:
            log.info("%s: can be written again", NAME)
        self._problem = problem


# ---------------------------------------------------------------- in the thread


def open_history(state: Path) -> Outcome:
    """Open the file in this directory; one that is damaged is moved aside."""
    path = state / NAME
    try:
        try:
            return _opened(state)
        except Damaged as damage:
            notice = _moved(path, damage)
            return _opened(state)._replace(notice=notice)
    except HistoryError as error:
        return Outcome(str(error))


def _opened(state: Path) -> Outcome:
    store = open_store(state / NAME)
    try:
        kept, problem = take_over(store, state / "work.json")
    except HistoryError:
        store.close()
        raise
    return Outcome("", store, kept, notice=problem)


def write_batch(store: Store, batch: Batch, wall: float) -> Outcome:
    """Write a batch; a file that turns out to be damaged is moved aside, and another one begun."""
    try:
        store.write(batch, wall)
    except Damaged as damage:
        store.close()
        try:
            notice = _moved(store.path, damage)
            return Outcome("", open_store(store.path), notice=notice)
        except HistoryError as error:
            return Outcome(str(error))
    except Replaced as error:
        store.close()
        return Outcome(str(error))
    except HistoryError as error:
        return Outcome(str(error), store)
    return Outcome("", store, written=True)


def _moved(path: Path, damage: Damaged) -> str:
    return f"{damage}: it is {move_aside(path).name} now, and a new one is begun"


# ---------------------------------------------------------------- figures


def _add_figures(row: Row, seen: Observation, seconds: float, fit: int) -> None:
    """What the host did in these seconds."""
    workers = len(seen.fleet.line)
    row.seconds += seconds
    row.capacity += seen.capacity * seconds
    row.owner += (seen.owner or 0.0) * seconds
    row.donated += (seen.donated or 0.0) * seconds
    row.engine += (seen.engine or 0.0) * seconds
    row.idle += (seen.idle or 0.0) * seconds
    row.stolen += (seen.stolen or 0.0) * seconds
    row.memory_total += seen.memory_total * seconds
    row.memory_available += (seen.memory_available or 0) * seconds
    row.memory_donated += (seen.slice_anon or 0) * seconds
    row.workers += workers * seconds
    row.fit += fit * seconds
    if not workers:
        row.without += seconds


def _add_work(row: Row, before: Work, now: Work) -> None:
    """What became of jobs meanwhile."""
    row.jobs_done += now.jobs_done - before.jobs_done
    row.jobs_evicted += now.jobs_evicted - before.jobs_evicted
    row.cpu_done += now.cpu_done - before.cpu_done
    row.cpu_lost += now.cpu_lost - before.cpu_lost


def _why_nothing_is_started(seen: Observation, decision: Decision) -> tuple[str, str]:
    if decision.held is not None:
        return decision.held.reason, decision.held.sentence
    if decision.fit <= len(seen.fleet.line):
        return NO_ROOM, decision.sentence
    return "", ""
