"""The table of workers on the first page of `plancton top`. Pure."""

from typing import Any, NamedTuple

import msgspec
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from plancton.commands.top.drawing import (
    DONATED,
    GAP,
    LOUD,
    NOTHING,
    OWNER,
    QUIET,
    Line,
    Screen,
    bar,
    clean,
    cut,
    cut_left,
    fill,
    rule,
)
from plancton.commands.top.meter import Figures
from plancton.model import Phase, Status, WorkerStatus
from plancton.units import human_bytes, human_seconds

NO_JOB, WAITS = "no job", "waits for CPU"
QUIET_STATES = frozenset({NO_JOB, *Phase}) - {Phase.RUNNING}
PICKED = Style(reverse=True)
CPU_NOTE = "CPU: 100 % = one CPU"

HEADINGS = {
    "name": "NAME",
    "age": "AGE",
    "cpu": "CPU %",
    "share": "SHARE",
    "memory": "MEMORY",
    "state": "STATE",
}
SORTS = ("age", "cpu", "share", "memory", "name", "state")
WORDS = ("name", "state")
"""The columns of words: to the left, and from A."""
WIDTHS = {
    "age": len("23h 59m"),
    "cpu": len("CPU %▼"),
    "share": len("SHARE▼"),
    "memory": len("999.9 GB"),
    "state": len(WAITS),
}
LEAST_NAME, LEAST_SHARE_BAR, LONGEST_SHARE_BAR = 6, 8, 40


def in_order(screen: Screen) -> list[WorkerStatus]:
    """Those that the filter lets through, as asked for: numbers from the top, words from A; unknown
    ones always last."""
    all_of_them = screen.status.workers if screen.status else ()
    workers = [measured(worker, screen.figures) for worker in all_of_them if screen.matches(worker.name)]
    known = [worker for worker in workers if _value(worker, screen.sort) is not None]
    unknown = [worker for worker in workers if _value(worker, screen.sort) is None]
    known.sort(key=lambda worker: _value(worker, screen.sort), reverse=_downwards(screen))
    return known + unknown


def _downwards(screen: Screen) -> bool:
    return (screen.sort in WORDS) == screen.reverse


def measured(worker: WorkerStatus, figures: Figures) -> WorkerStatus:
    """With what was measured here, which is newer than what the supervisor says."""
    if (cpu := figures.workers.get(worker.name)) is None:
        return worker
    return msgspec.structs.replace(worker, cpu=cpu, share=cpu / worker.cpus if worker.cpus > 0 else None)


def _value(worker: WorkerStatus, column: str) -> Any:
    return state_of(worker) if column == "state" else getattr(worker, column)


def state_of(worker: WorkerStatus) -> str:
    """What a worker is about; of one that runs, its job, if its pool lets us know."""
    if worker.stuck:
        return "stuck"
    if worker.paused:
        return "paused"
    if worker.phase is not Phase.RUNNING:
        return str(worker.phase)
    if not worker.fits:
        return WAITS
    if worker.jobs is None:
        return str(worker.phase)
    if worker.jobs > 1:
        return f"{worker.jobs} jobs"
    return f"job {human_seconds(worker.job_age)}" if worker.jobs else NO_JOB


def _memory(worker: WorkerStatus, with_limit: bool) -> str:
    memory = human_bytes(worker.memory)
    return f"{memory} of {human_bytes(worker.memory_limit)}" if with_limit else memory


class Layout(NamedTuple):
    """Widths of the columns and of the share's bar (0: none); whether memory has its limit."""

    widths: dict[str, int]
    bar: int
    limits: bool


def _layout(room: int, workers: list[WorkerStatus]) -> Layout:
    """Columns that there is no room for are left out, the least telling first."""

    def left() -> int:
        return room - sum(width + len(GAP) for width in widths.values())

    longest = max(len("NAME▼"), *(cell_len(clean(worker.name)) for worker in workers))
    widths = WIDTHS | {"memory": max(len(_memory(worker, with_limit=True)) for worker in workers)}
    limits = left() >= longest
    if not limits:
        widths = WIDTHS.copy()
    for column in ("share", "memory", "age"):
        if left() < LEAST_NAME:
            del widths[column]
    name = min(max(left(), LEAST_NAME), longest)
    bar = min(left() - name - 1, LONGEST_SHARE_BAR)
    if "share" not in widths or bar < LEAST_SHARE_BAR:
        bar = 0
    return Layout({"name": name} | widths, bar, limits)


def table(screen: Screen, status: Status, left: int | None) -> list[Line]:
    """At most ``left`` lines."""
    workers = in_order(screen)
    lines = [_workers_rule(screen, status, len(workers))] if screen.roomy else []
    if not workers:
        none = "none of the workers has that in its name" if status.workers else "no workers"
        return [*lines, [Segment(none, QUIET)]]
    layout = _layout(screen.room, workers)
    lines.append(_headings(screen, layout))
    shown = page_of(screen, workers, left)
    lines += [_picked(_cells(worker, layout), screen, worker) for worker in shown]
    if len(shown) < len(workers):
        more = f"… and {len(workers) - len(shown)} more" if shown else f"{len(workers)} workers"
        lines.append([Segment(more, QUIET)])
    return lines


def page_of(screen: Screen, workers: list[WorkerStatus], left: int | None) -> list[WorkerStatus]:
    """Those that ``left`` lines show: of many, the page with the picked one."""
    if left is None or len(workers) <= (room := left - first_line(screen)):
        return workers
    many = max(room - 1, 0)
    place = next((n for n, worker in enumerate(workers) if worker.name == screen.picked), 0)
    first = place // many * many if many else 0
    return workers[first : first + many]


def first_line(screen: Screen) -> int:
    """Where the first worker is, below the table's beginning."""
    return 1 + screen.roomy


def column_at(screen: Screen, column: int) -> str | None:
    """The heading in this column of the screen."""
    workers = in_order(screen)
    if not workers:
        return None
    end = 1
    layout = _layout(screen.room, workers)
    for name in layout.widths:
        end += _column_width(layout, name) + len(GAP)
        if column < end:
            return name
    return None


def _picked(line: Line, screen: Screen, worker: WorkerStatus) -> Line:
    if not screen.live or worker.name != screen.picked:
        return line
    return [Segment(text, PICKED if style is None else style + PICKED) for text, style, _ in line]


def _workers_rule(screen: Screen, status: Status, found: int) -> Line:
    left = f"workers: {len(status.workers)}"
    if screen.filter:
        left = f'workers with "{screen.filter}": {found} of {len(status.workers)}'
    elif status.workers:
        left += f", {status.fit} fit"
    if status.work and (status.work.jobs_done or status.work.jobs_evicted):
        left += f"; jobs: {status.work.jobs_done} done, {status.work.jobs_evicted} evicted"
    long = f"{CPU_NOTE}, share: of what it asked for"
    room = screen.room - len(f"── {left} ─  ──")
    return rule(screen, left, long if len(long) <= room else CPU_NOTE)


def _headings(screen: Screen, layout: Layout) -> Line:
    cells = []
    for column in layout.widths:
        width = _column_width(layout, column)
        sorting = column == screen.sort
        mark = "" if not sorting else "▼" if _downwards(screen) else "▲"
        heading = fill(cut(HEADINGS[column] + mark, width), width, right=column not in WORDS)
        cells.append(Segment(heading + GAP, LOUD if sorting else QUIET))
    return cells


def _column_width(layout: Layout, column: str) -> int:
    bar = layout.bar + 1 if column == "share" and layout.bar else 0
    return layout.widths[column] + bar


def _cells(worker: WorkerStatus, layout: Layout) -> Line:
    state = state_of(worker)
    texts = {
        "name": cut_left(clean(worker.name), layout.widths["name"]),
        "age": human_seconds(worker.age),
        "cpu": f"{worker.cpu * 100:.0f}" if worker.cpu is not None else NOTHING,
        "share": f"{worker.share * 100:.0f} %" if worker.share is not None else NOTHING,
        "memory": _memory(worker, layout.limits),
        "state": state,
    }
    styles = {
        "cpu": LOUD,
        "state": QUIET if state in QUIET_STATES else OWNER + LOUD if state == WAITS else None,
    }
    line: Line = []
    for column, width in layout.widths.items():
        if column == "share" and layout.bar:
            cells = bar(worker.share, 1.0, layout.bar)
            track = "·" if worker.share is not None else " "
            line += [Segment(cells, DONATED), Segment(track * (layout.bar - len(cells)) + " ", QUIET)]
        text = fill(texts[column], width, right=column not in WORDS)
        line.append(Segment(text + GAP, styles.get(column)))
    return line
