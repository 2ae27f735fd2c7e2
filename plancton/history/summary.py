"""What a host did over days or years, from the rows of its history. Pure."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from plancton.history.retention import KEPT
from plancton.history.tables import HOUR, MINUTE, Row

NOT_RUNNING = "not running"
"""Besides the kinds of reason that a `Row` has."""
ALL = 0.95
"""Of a row's seconds without a worker: from here on nothing was donated in it."""
MISSED = 1.5
"""Rows that begin further apart than this many of their lengths have a gap between them."""
PAUSES = 10


class Pause(msgspec.Struct, frozen=True):
    """A time in which there was no worker: since when (Unix time), for how many seconds, the kind
    of reason that held for most of it (`tables.Row.held`, or NOT_RUNNING), and its last sentence."""

    begin: float
    seconds: float
    reason: str
    why: str


class Summary(msgspec.Struct, frozen=True):
    """Times are Unix times; ``seconds`` is for how long the figures between them are known.
    ``capacity`` to ``stolen`` are CPU seconds; ``jobs_*`` and ``cpu_*`` as in `tables.Row`. ``week``
    is the part (0 to 1) of all CPU time that was donated in each hour of the week here, Monday
    first; None: not known. ``pauses`` are the longest ones, the longest first."""

    since: float
    until: float
    seconds: float
    capacity: float
    owner: float
    donated: float
    engine: float
    idle: float
    stolen: float
    jobs_done: int
    jobs_evicted: int
    cpu_done: float
    cpu_lost: float
    week: tuple[tuple[float | None, ...], ...]
    pauses: tuple[Pause, ...]

    @property
    def part_of_idle(self) -> float | None:
        """The part (0 to 1) donated of what was there to donate; None if nothing was."""
        there = self.donated + self.idle
        return self.donated / there if there > 0 else None


def minutes_from(since: float, until: float) -> float:
    """From when on minutes tell what happened: before, they are not kept, and hours tell it."""
    kept = math.ceil((until - KEPT["minutes"]) / HOUR + 1) * HOUR
    return max(since, kept)


def summarize(hours: Sequence[Row], minutes: Sequence[Row], since: float, until: float) -> Summary:
    """Both oldest first; the minutes begin where the hours end (`minutes_from`)."""
    rows = [*hours, *minutes]

    def total(name: str) -> float:
        return float(sum(getattr(row, name) for row in rows))

    names = ("seconds", "capacity", "owner", "donated", "engine", "idle", "stolen", "cpu_done", "cpu_lost")
    return Summary(
        since,
        until,
        jobs_done=sum(row.jobs_done for row in rows),
        jobs_evicted=sum(row.jobs_evicted for row in rows),
        week=week(rows),
        pauses=longest_pauses(hours, minutes, until),
        **{name: total(name) for name in names},
    )


def in_steps(rows: Sequence[Row], begin: int, step: int, count: int, names: Sequence[str]) -> list[Row]:
    """The sums of these columns in ``count`` steps of ``step`` seconds, the first of which begins at
    ``begin``. No row is longer than a step; those outside are left out."""
    sums = [Row(begin + n * step) for n in range(count)]
    for row in rows:
        place = (row.time - begin) // step
        if 0 <= place < count:
            for name in names:
                setattr(sums[place], name, getattr(sums[place], name) + getattr(row, name))
    return sums


def average(row: Row, name: str) -> float | None:
    """None if nothing is known of its time."""
    return getattr(row, name) / row.seconds if row.seconds > 0 else None


def week(rows: Sequence[Row]) -> tuple[tuple[float | None, ...], ...]:
    """See Summary; by the clock here."""
    donated, capacity = defaultdict[tuple[int, int], float](float), defaultdict[tuple[int, int], float](float)
    for row in rows:
        here = time.localtime(row.time)
        donated[here.tm_wday, here.tm_hour] += row.donated
        capacity[here.tm_wday, here.tm_hour] += row.capacity

    def part(day: int, hour: int) -> float | None:
        there = capacity[day, hour]
        return donated[day, hour] / there if there else None

    return tuple(tuple(part(day, hour) for hour in range(24)) for day in range(7))


def longest_pauses(hours: Sequence[Row], minutes: Sequence[Row], until: float) -> tuple[Pause, ...]:
    """See Summary."""
    found = pauses([*hours, *minutes], [HOUR] * len(hours) + [MINUTE] * len(minutes), until)
    return tuple(sorted(found, key=lambda pause: -pause.seconds)[:PAUSES])


def pauses(rows: Sequence[Row], steps: Sequence[int], until: float) -> Iterator[Pause]:
    """All times without a worker, oldest first."""
    pause = list[tuple[Row, int]]()
    ended: float | None = None
    for row, step in zip(rows, steps, strict=True):
        gap = ended is not None and row.time - ended > (MISSED - 1) * step
        if pause and (gap or not _is_pause(row)):
            yield _pause(pause)
            pause = []
        if ended is not None and gap:
            yield Pause(ended, row.time - ended, NOT_RUNNING, "Plancton did not run")
        if _is_pause(row):
            pause.append((row, step))
        ended = row.time + step
    if pause:
        yield _pause(pause)
    if ended is not None and until - ended > 2 * MINUTE:
        yield Pause(ended, until - ended, NOT_RUNNING, "Plancton did not run")


def _is_pause(row: Row) -> bool:
    return row.without >= ALL * row.seconds


def _pause(rows: Sequence[tuple[Row, int]]) -> Pause:
    seconds = Counter[str]()
    for row, step in rows:
        seconds[row.held] += step
    reason = seconds.most_common(1)[0][0]
    why = next(row.why for row, _ in reversed(rows) if row.held == reason)
    return Pause(rows[0][0].time, float(sum(seconds.values())), reason, why)
