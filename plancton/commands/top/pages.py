"""The pages of `plancton top` about one worker, the past, and what happened. Pure."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain

from rich.segment import Segment
from rich.style import Style

from plancton.commands.top.drawing import (
    DONATED,
    GAP,
    LOUD,
    NOTHING,
    OWNER,
    QUIET,
    SPARKS,
    Line,
    Screen,
    cut,
    fill,
    rule,
    wrapped,
)
from plancton.commands.top.past import Past
from plancton.commands.top.workers import measured, state_of
from plancton.model import Event, Status, WorkerStatus
from plancton.units import human_bytes, human_seconds, local_time

LABEL = len("donated") + len(GAP)
WHEN = "%m-%d %H:%M:%S"
LONGEST_EVENT = 3
"""Lines."""
HIGHEST = 12
"""Lines of a curve: more tell no more."""


# -- one worker


def worker_page(screen: Screen, height: int | None) -> list[Line]:
    """What is known of the picked worker, and what was said of it."""
    status = screen.status
    worker = (
        next((worker for worker in status.workers if worker.name == screen.picked), None) if status else None
    )
    facts = [("state", "has ended")]
    if status and worker:
        facts = list(_facts(status, measured(worker, screen.figures)))
    lines = [rule(screen, screen.picked)]
    for word, text in facts:
        lines.append([Segment(fill(word, LABEL), QUIET), Segment(cut(text, max(screen.room - LABEL, 0)))])
    said = [event for event in _events_of(screen) if screen.picked in event.text]
    left = None if height is None else height - len(lines) - 2
    if said and (left is None or left > 0):
        lines += [[], rule(screen, "what was said of it"), *_event_lines(screen, said, left)]
    return lines


def _facts(status: Status, worker: WorkerStatus) -> Iterator[tuple[str, str]]:
    share = f", {100 * worker.share:.0f} % of what it asked for" if worker.share is not None else ""
    cpu = f"{worker.cpu:.2f}" if worker.cpu is not None else NOTHING
    yield "state", state_of(worker)
    yield "age", human_seconds(worker.age)
    yield "CPU", f"{cpu} of {worker.cpus:g} CPU{'s' if worker.cpus != 1 else ''}{share}"
    yield "memory", f"{human_bytes(worker.memory)} of {human_bytes(worker.memory_limit)}"
    yield "jobs", _jobs(worker)
    old = " (not the newest)" if worker.image not in ("", status.image_id) else ""
    yield "image", f"{status.image}  {worker.image}{old}"
    if worker.restarts:
        yield "restarts", f"{worker.restarts}, by somebody else"
    yield "id", worker.id
    yield "cgroup", worker.cgroup or NOTHING


def _jobs(worker: WorkerStatus) -> str:
    if worker.jobs is None:
        return "its pool does not tell"
    if not worker.jobs:
        return "none now"
    return f"{worker.jobs} running, for {human_seconds(worker.job_age)} at most"


# -- what happened


def events_page(screen: Screen, height: int | None) -> list[Line]:
    """The newest first."""
    said = events_in(screen)
    title = f"events: {len(said)}" + (f' with "{screen.filter}"' if screen.filter else "")
    lines = [rule(screen, title, "newest first")]
    if screen.no_history:
        lines += wrapped(screen, screen.no_history, 2, QUIET)
    return [*lines, *_event_lines(screen, said[screen.scrolled :], None if height is None else height - 1)]


def events_in(screen: Screen) -> Sequence[Event]:
    """Those that the filter lets through, the newest first."""
    return [event for event in _events_of(screen) if screen.matches(event.text)]


def _events_of(screen: Screen) -> Sequence[Event]:
    """The history has more of them; without one there are those that the status has."""
    known = screen.said or (screen.status.events if screen.status else ())
    return sorted(known, key=lambda event: -event.time)


def _event_lines(screen: Screen, events: Sequence[Event], most: int | None) -> list[Line]:
    return list(chain.from_iterable(_event(screen, event) for event in events[:most]))[:most]


def _event(screen: Screen, event: Event) -> Iterator[Line]:
    when = local_time(event.time, WHEN) + GAP
    narrow = max(screen.room - len(when), 1)
    for n, line in enumerate(wrapped(screen, event.text, LONGEST_EVENT, Style(), narrow)):
        yield [Segment(" " * len(when) if n else when, QUIET), *line]


# -- the past


def past_page(screen: Screen, height: int | None) -> list[Line]:
    """Two curves above each other, and the sums."""
    past = screen.past
    if past is None:
        return [rule(screen, "history"), *wrapped(screen, screen.no_history or "reading it …", 2, QUIET)]
    span = "24 hours" if past.days == 1 else f"{past.days} days"
    cpus = f"{past.cpus:.0f} CPU{'s' if round(past.cpus) != 1 else ''} high"
    lines = [rule(screen, f"the last {span}", cpus)]
    high = HIGHEST // 2 if height is None else min(HIGHEST, (height - 4) // 2)
    width = max(screen.room - LABEL, 1)
    if high >= 1:
        for name, values, style in (("owner", past.owner, OWNER), ("donated", past.donated, DONATED)):
            lines += _curve(name, _stretched(values, width), past.cpus, high, style)
        lines.append([Segment(" " * LABEL + _axis(past, width), QUIET)])
    return [*lines, *wrapped(screen, _sums(past), 2, LOUD)]


def _curve(name: str, values: Sequence[float | None], cpus: float, high: int, style: Style) -> Iterator[Line]:
    """In eighths of a line. What is known shows, even if it is nothing."""
    whole = 8 * high
    levels = [None if v is None or cpus <= 0 else max(round(min(v / cpus, 1.0) * whole), 1) for v in values]
    for line in reversed(range(high)):
        cells = (" " if level is None else SPARKS[min(max(level - line * 8, 0), 8)] for level in levels)
        label = fill(name if line == high - 1 else "", LABEL)
        yield [Segment(label, LOUD), Segment("".join(cells), style)]


def _stretched(values: Sequence[float | None], width: int) -> list[float | None]:
    """One value for each column: the mean of the known ones that fall into it."""
    out = list[float | None]()
    for column in range(width):
        first = column * len(values) // width
        last = max((column + 1) * len(values) // width, first + 1)
        known = [value for value in values[first:last] if value is not None]
        out.append(sum(known) / len(known) if known else None)
    return out


def _axis(past: Past, width: int) -> str:
    """The hours, or the days, where they begin."""
    seconds = len(past.owner) * past.step / width
    text, before = "", ""
    for column in range(width):
        here = time.localtime(past.begin + (column + 1) * seconds - 1)
        mark = time.strftime("%a %d", here) if past.days > 1 else f"{here.tm_hour // 3 * 3:02}:00"
        if before and mark != before and len(text) <= column and column + len(mark) <= width:
            text = text.ljust(column) + mark + " "
        before = mark
    return text.rstrip()


def _sums(past: Past) -> str:
    sums = past.sums
    part = "" if sums.part_of_idle is None else f", {100 * sums.part_of_idle:.0f} % of what was idle"
    jobs = f"{sums.jobs_done} job{'' if sums.jobs_done == 1 else 's'} done, {sums.jobs_evicted} evicted"
    known = f"known for {human_seconds(sums.seconds)}"
    return f"donated {human_seconds(sums.donated)} of CPU time{part}; {jobs}; {known}"
