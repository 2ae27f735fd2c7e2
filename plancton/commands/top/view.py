"""`plancton top`: what the host's owner looks at to see that their computer is theirs.

sample -> view: `Meter` makes figures of two samples, `render(screen)` makes a frame of them and is pure
(the time is a field). `run_top` is the loop around both. A frame is a list of lines of rich Segments,
so that only the lines that changed are styled and written: rich's Live costs ten times as much.
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import wrap

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

from plancton.commands.top.keys import QUIT, REDRAW, Gone, Terminal
from plancton.host.sampler import Group, Sampler
from plancton.model import Phase, Sample, Status, WorkerStatus
from plancton.units import human_seconds

HISTORY = 120
STALE = 15.0
ONCE_INTERVAL = 0.5
MESSAGE_SECONDS = 5.0
SLICES = ("plancton.slice", "plancton")
"""Where workers may be when no supervisor says so."""


# ---------------------------------------------------------------- figures


class Figures(msgspec.Struct, frozen=True):
    """CPUs in use over the last interval (1.0 is one CPU) and bytes; None is unknown."""

    cpus: int = 0
    owner: float | None = None
    donated: float | None = None
    engine: float | None = None
    idle: float | None = None
    memory_total: int = 0
    memory_available: int | None = None
    memory_donated: int | None = None
    workers: dict[str, float] = {}


class Meter:
    """Figures from one call to the next; keeps open what it reads."""

    def __init__(self, proc: Path, cgroup_root: Path | None) -> None:
        self._proc, self._root = proc, cgroup_root
        self._slice: Path | None = None
        self._sampler: Sampler | None = None
        self._group: Group[str] = Group()
        self._before: Sample | None = None
        self._used: dict[str, float] = {}

    def read(self, status: Status | None) -> Figures:
        """What was used since the last call; where there is none, what the status says."""
        sample = self._sample(self._find_slice(status))
        before, self._before = self._before, sample
        used = self._read_workers(status)
        used_before, self._used = self._used, used
        seconds = sample.monotonic - before.monotonic if before else 0.0
        if before is None or seconds <= 0:
            return _reported(sample, status)
        known = used.keys() & used_before.keys()
        workers = {name: max(used[name] - used_before[name], 0.0) / seconds for name in known}
        return _rates(before, sample, status, workers)

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        self._group.close()

    def _find_slice(self, status: Status | None) -> Path | None:
        if self._root is None:
            return None
        if status is not None:
            return self._below(status.slice) if status.slice.strip("/") else None
        guesses = (self._root / name for name in SLICES)
        return next((path for path in guesses if (path / "cpu.stat").exists()), None)

    def _below(self, path: str) -> Path:
        assert self._root is not None
        return self._root / path.strip("/")

    def _sample(self, slice_v2: Path | None) -> Sample:
        if self._sampler is None or slice_v2 != self._slice:
            if self._sampler is not None:
                self._sampler.close()
            self._sampler, self._slice, self._before = Sampler(self._proc, slice_v2), slice_v2, None
        return self._sampler.sample()

    def _read_workers(self, status: Status | None) -> dict[str, float]:
        """CPU seconds that each worker has used in its life."""
        workers = [w for w in status.workers if w.cgroup] if status and self._root else []
        self._group.watch({w.name: self._below(w.cgroup) / "cpu.stat" for w in workers})
        return {name: seconds for name, seconds in self._group.read().items() if seconds is not None}


def _reported(sample: Sample, status: Status | None) -> Figures:
    figures = Figures(
        cpus=sample.cpus, memory_total=sample.memory_total, memory_available=sample.memory_available
    )
    if status is None:
        return msgspec.structs.replace(figures, memory_donated=sample.slice_anon)
    return msgspec.structs.replace(
        figures,
        owner=status.owner,
        donated=status.donated,
        engine=status.engine,
        idle=status.idle,
        memory_donated=_first(sample.slice_anon, status.memory_donated),
    )


def _rates(a: Sample, b: Sample, status: Status | None, workers: dict[str, float]) -> Figures:
    seconds = b.monotonic - a.monotonic
    engine = status.engine if status else None
    donated: float | None = None
    if a.slice is not None and b.slice is not None:
        donated = max((b.slice - a.slice) / seconds, 0.0)
    elif status is not None:  # no slice: Docker's own parent (tier none), or no worker yet
        donated = sum(workers.values())
    busy = (b.busy - a.busy) / seconds
    return Figures(
        cpus=b.cpus,
        owner=max(busy - (donated or 0.0) - (engine or 0.0), 0.0),
        donated=donated,
        engine=engine,
        idle=max((b.idle - a.idle) / seconds, 0.0),
        memory_total=b.memory_total,
        memory_available=b.memory_available,
        memory_donated=_first(b.slice_anon, status.memory_donated if status else None),
        workers=workers,
    )


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


# ---------------------------------------------------------------- view

# Okabe and Ito's colours, which colour-blind people can tell apart; words and shapes say the same.
OWNER = Style(color="#e69f00")
DONATED = Style(color="#56b4e9")
ALARM = Style(color="#d55e00", bold=True)
PLAIN = Style()
LOUD = Style(bold=True)
QUIET = Style(dim=True)
BADGE = Style(bold=True, reverse=True)

SPARKS = " ▁▂▃▄▅▆▇█"
ASCII = str.maketrans("▁▂▃▄▅▆▇█━╸┅·─–…▼▲", ".:-=+*%###=.--~v^")
NOTHING = "–"

SORTS = ("age", "cpu", "share", "memory", "name", "state")
SPARK_WIDTHS = (120, 60, 40, 30, 24, 20)
LABEL, FIGURE, MEMORY = 9, 11, 44

NO_JOB, WAITS = "no job", "waits for CPU"
QUIET_STATES = frozenset({NO_JOB, *Phase}) - {Phase.RUNNING}

HELP = (
    ("owner", "everything on this computer but the workers and Docker's own processes"),
    ("donated", "what the workers use: only what the owner leaves"),
    ("idle", "what nobody uses"),
    ("tier", "how workers yield: kernel (at once, always), weight (least share) or none"),
    ("CPU %", "100 % = one CPU kept busy; a worker of two CPUs can use 200 %"),
    ("share", "the part of the CPU it asked for that a worker gets"),
    ("waits for CPU", "the owner leaves too little for this worker: it goes if that lasts"),
    ("job 12m 03s", "runs a job for so long; no job: it waits for one"),
    ("leaving", "drops its job now, the pool runs it elsewhere"),
    ("finishing", "ends its job first, then goes"),
    ("", ""),
    ("q", "quit"),
    ("s", "sort by the next column: age, CPU, share, memory, name, state"),
    ("r", "reverse the order"),
    ("d", "drain: start no more workers; again: resume"),
    ("?", "this help, and back"),
)


class Screen(msgspec.Struct, frozen=True):
    """All that one frame shows. ``height`` 0: as long as it takes. ``seen`` counts samples ever taken,
    so that the sparkline moves by whole columns. ``live``: keys work and the history grows."""

    width: int
    height: int
    now: float
    figures: Figures = Figures()
    status: Status | None = None
    history: tuple[tuple[float, float], ...] = ()
    seen: int = 0
    sort: str = "age"
    reverse: bool = False
    help: bool = False
    live: bool = True
    host: str = ""
    message: str = ""
    ascii: bool = False

    @property
    def room(self) -> int:
        """Columns between the margins, one at each side: nothing is ever written to the last column,
        where terminals differ in when they wrap."""
        return max(self.width - 2, 1)

    @property
    def roomy(self) -> bool:
        return self.height == 0 or self.height >= 16


Line = tuple[Segment, ...]


class Frame:
    """A rich renderable: lines of segments."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = tuple(lines)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for line in self.lines:
            yield from line
            yield Segment.line()


def render(screen: Screen) -> Frame:
    """One frame: never wider than the width, never longer than the height."""
    airy = [()] if screen.height == 0 or screen.height >= 24 else []
    head: list[Line] = [_title(screen), *airy, *_says(screen), *_notices(screen)]
    host = _host(screen)
    if screen.help and screen.height:  # the words need the room, and the figures are a key away
        head, host = [_title(screen)], []
    foot = [_footer(screen)] if screen.live else []
    if screen.roomy:
        head.append(())
    top = [*head, *host, *([()] if screen.roomy and host else [])]
    left = max(screen.height - len(top) - len(foot), 0) if screen.height else None
    body = _help(screen) if screen.help else _body(screen, left)
    lines = [*top, *body]
    if screen.height:
        lines = lines[: screen.height - len(foot)]
        if screen.live:
            lines += [()] * (screen.height - len(foot) - len(lines))
    return Frame(_bounded(line, screen) for line in [*lines, *foot])


def _bounded(line: Line, screen: Screen) -> Line:
    """Nothing but printable text, a margin, and not beyond the width."""
    if not line:
        return line
    out, left = [Segment(" " if screen.width > 2 else "", PLAIN)], screen.room
    for text, style, _ in line:
        text = clean(text)
        if screen.ascii and not text.isascii():
            text = text.translate(ASCII).encode("ascii", "replace").decode()
        width = cell_len(text)
        if width > left:
            text, width = set_cell_size(text, left), left
        if text:
            out.append(Segment(text, style))
        left -= width
    while out and out[-1].text.endswith(" "):
        last = out.pop()
        if stripped := last.text.rstrip(" "):
            out.append(Segment(stripped, last.style))
    return tuple(out)


def clean(text: str) -> str:
    """Without control characters, which could rule the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def cut(text: str, width: int) -> str:
    """The beginning, with an ellipsis where something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…" * (width > 0)


def cut_left(text: str, width: int) -> str:
    """The end, which is what tells the workers' names apart."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return "…" * (width > 0) + text


def _fill(text: str, width: int, right: bool = False) -> str:
    pad = " " * max(width - cell_len(text), 0)
    return pad + text if right else text + pad


def _sides(screen: Screen, left: list[Segment], right: list[Segment], between: str = " ") -> Line:
    """Left and right of one line; the right side goes when there is no room for it."""
    width = sum(cell_len(s.text) for s in left)
    gap = screen.room - width - sum(cell_len(s.text) for s in right)
    if gap < 1:
        right, gap = [], max(screen.room - width, 0)
    return (*left, Segment(between * gap, QUIET), *right)


def _title(screen: Screen) -> Line:
    left = [Segment("plancton", LOUD + DONATED), Segment(" top", LOUD)]
    if screen.host and screen.width >= 60:
        left.append(Segment(f"  {cut(clean(screen.host), screen.width - 52)}", QUIET))
    clock = [Segment(_clock(screen.now), QUIET)]
    if screen.status is None:
        return _sides(screen, left, clock)
    mode, tier = screen.status.mode, screen.status.tier
    right = [Segment(f" {mode} ", BADGE) if mode != "donating" else Segment(mode, LOUD + DONATED)]
    if screen.width >= 50:
        right += [Segment("  tier ", QUIET), Segment(tier, LOUD), Segment("  ", PLAIN), *clock]
    return _sides(screen, left, right)


def _clock(unix: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(unix))


def _says(screen: Screen) -> list[Line]:
    status = screen.status
    if status is None:
        text = "No supervisor runs here: these are the host's own figures."
        return [(Segment(line, LOUD),) for line in _wrapped(screen, text, 2)]
    lines: list[Line] = [
        (Segment(text, LOUD),) for text in _wrapped(screen, status.sentence, 1 + screen.roomy)
    ]
    if screen.roomy and status.decision and status.decision != status.sentence:
        most = 2 if screen.height == 0 or screen.height >= 30 else 1
        decision = f"last decision: {status.decision}"
        lines += [(Segment(text, QUIET),) for text in _wrapped(screen, decision, most)]
    if screen.roomy and status.tier_reason and status.tier != "kernel":
        tier = f"tier {status.tier}: {status.tier_reason}"
        lines.append((Segment(cut(clean(tier), screen.room), QUIET),))
    return lines


def _notices(screen: Screen) -> list[Line]:
    """What is wrong, a line each."""
    status = screen.status
    if status is None:
        return []
    texts = [cut(clean(text), screen.room - 2) for text in status.problems[: 3 if screen.roomy else 1]]
    silent = screen.now - status.time
    if silent > STALE:
        texts.insert(0, f"the supervisor has said nothing for {human_seconds(silent)}")
    return [(Segment("! ", ALARM), Segment(text, ALARM)) for text in texts]


def _wrapped(screen: Screen, text: str, most: int) -> list[str]:
    lines = wrap(clean(text), screen.room)
    shown = [cut(line, screen.room) for line in lines[:most]]
    if len(lines) > most:
        shown[-1] = cut(f"{shown[-1]} …", screen.room)
    return shown


def _rule(screen: Screen, left: str, right: str = "") -> Line:
    middle = [Segment("── ", QUIET), Segment(cut(left, screen.room - 4), LOUD), Segment(" ", PLAIN)]
    end = [Segment(f" {right} ", QUIET), Segment("──", QUIET)] if right else []
    return _sides(screen, middle, end, "─")


# -- the host


def _host(screen: Screen) -> list[Line]:
    figures, spark = screen.figures, _spark_width(screen)
    gaps = LABEL + FIGURE + (2 if spark else 0)
    bar = min(max(screen.room - gaps - spark, 0), 80)
    if screen.room - LABEL - MEMORY >= 16:
        bar = min(bar, screen.room - LABEL - MEMORY)
    lines: list[Line] = []
    if screen.roomy:
        cpus = f"host: {figures.cpus} CPU{'s' if figures.cpus != 1 else ''}"
        left = [Segment("── ", QUIET), Segment(cpus, LOUD), Segment(" ", PLAIN)]
        dashes = max(LABEL + FIGURE + bar + 2 - len(cpus) - 4, 0)
        rest = [Segment("─" * (dashes - 1) + " last 2 min ", QUIET)] if spark else []
        lines.append(_sides(screen, [*left, *rest], [], "─"))
    owners, donated = zip(*screen.history, strict=True) if screen.history else ((), ())
    tail = {
        "owner": [Segment(_sparkline(owners, spark, screen), OWNER)],
        "donated": [Segment(_sparkline(donated, spark, screen), DONATED)],
        "idle": [Segment(_engine(figures, spark), QUIET)],
    }
    shown = [("owner", figures.owner, OWNER), ("donated", figures.donated, DONATED)]
    if screen.height == 0 or screen.height >= 12:
        shown.append(("idle", figures.idle, QUIET))
    for name, value, style in shown:
        cells = _bar(value, figures.cpus, bar)
        figure = f"{value:.1f} CPUs" if value is not None else NOTHING
        lines.append(
            (
                Segment(_fill(name, LABEL), PLAIN),
                Segment(cells, style),
                Segment("·" * (bar - len(cells)), QUIET),
                Segment(_fill(figure, FIGURE, right=True), LOUD),
                *([Segment("  ", PLAIN), *tail[name]] if spark else []),
            )
        )
    lines.append(_memory(figures, bar, screen.room - LABEL))
    return lines


def _engine(figures: Figures, width: int) -> str:
    if figures.engine is None or figures.engine < 0.05 or width < 20:
        return ""
    return f"Docker itself {figures.engine:.1f}"


def _spark_width(screen: Screen) -> int:
    """As many columns as divide two minutes evenly and leave the bars a third of the room."""
    room = screen.room - LABEL - FIGURE - 2
    return next((n for n in SPARK_WIDTHS if room - n >= max(16, 0.3 * room)), 0) if screen.live else 0


def _bar(value: float | None, whole: float, width: int) -> str:
    """In halves of a column; half a percent and more shows."""
    if value is None or whole <= 0:
        return ""
    halves = min(max(round(value / whole * width * 2), int(value / whole >= 0.005)), width * 2)
    return "━" * (halves // 2) + "╸" * (halves % 2)


def _sparkline(values: tuple[float, ...], width: int, screen: Screen) -> str:
    """Newest at the right; one column is the mean of its seconds."""
    if width == 0 or not values or screen.figures.cpus <= 0:
        return ""
    step = HISTORY // width
    newest = (screen.seen - 1) % step + 1
    ends = range(len(values) - newest, -1, -step)
    columns = [values[len(values) - newest :]]
    columns += [values[max(end - step, 0) : end] for end in ends if end > 0]
    shown = [SPARKS[_level(sum(c) / len(c), screen.figures.cpus)] for c in columns[:width] if c]
    return "".join(reversed(shown)).rjust(width)


def _level(value: float, whole: float) -> int:
    """1 to 8: the line is there even when nothing runs."""
    return min(max(round(value / whole * 8), 1), 8)


def _memory(figures: Figures, width: int, room: int) -> Line:
    total, free = figures.memory_total, figures.memory_available
    used = total - free if total and free is not None else None
    lent = figures.memory_donated
    own = max(used - (lent or 0), 0) if used is not None else None
    words = [
        Segment("  ━ ", OWNER),
        Segment(f"owner {size(own)}", LOUD),
        Segment("  ┅ ", DONATED),
        Segment(f"donated {size(lent)}", LOUD),
        Segment(f"  of {size(total or None)}", QUIET),
    ]
    if room < 40:
        words = [Segment("━ ", OWNER), words[1], Segment(" ┅ ", DONATED), Segment(f"lent {size(lent)}", LOUD)]
    width = max(min(width, room - sum(len(word.text) for word in words)), 0)
    mine = round(own / total * width) if own is not None else 0
    theirs = min(round((lent or 0) / total * width) if total else 0, width - mine)
    return (
        Segment(_fill("memory", LABEL), PLAIN),
        Segment("━" * mine, OWNER),
        Segment("┅" * theirs, DONATED),
        Segment("·" * (width - mine - theirs), QUIET),
        *words,
    )


def size(count: int | None) -> str:
    """``512 MB``, ``1.6 GB``, ``2 GB``."""
    if count is None:
        return NOTHING
    value, unit = count / 1e6, "MB"
    for larger in ("GB", "TB"):
        if round(value) >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}" if unit != "MB" else f"{value:.0f} MB"


# -- the workers


def _body(screen: Screen, left: int | None) -> list[Line]:
    """Workers and, as room allows, what happened of late."""
    if screen.status is None:
        return []
    events = screen.status.events
    reserved = min(len(events), 2) + 2 if events and screen.height >= 30 else 0
    table = _table(screen, screen.status, left - reserved if left is not None else None)
    rest = left - len(table) if left is not None else len(events) + 2
    return [*table, *_events(screen, rest)]


def _events(screen: Screen, left: int) -> list[Line]:
    events = screen.status.events if screen.status else ()
    if not events or left < 3 or not screen.roomy:
        return []
    newest = sorted(events, key=lambda event: -event.time)[: left - 2]
    lines: list[Line] = [(), _rule(screen, "recent")]
    for event in newest:
        clock = _clock(event.time)
        lines.append(
            (
                Segment(f"{clock}  ", QUIET),
                Segment(cut(clean(event.text), screen.room - len(clock) - 2), PLAIN),
            )
        )
    return lines


class Row(msgspec.Struct, frozen=True):
    """One worker as the table shows it."""

    name: str
    age: float | None
    cpu: float | None
    share: float | None
    memory: int | None
    limit: int
    state: str


def rows(screen: Screen) -> list[Row]:
    """In the order asked for: numbers from the top, words from A; unknown ones always last."""
    workers = screen.status.workers if screen.status else ()
    all_rows = [_row(worker, screen.figures.workers.get(worker.name)) for worker in workers]
    known = [row for row in all_rows if getattr(row, screen.sort) is not None]
    unknown = [row for row in all_rows if getattr(row, screen.sort) is None]
    down = screen.sort not in ("name", "state")
    known.sort(key=lambda row: getattr(row, screen.sort), reverse=down != screen.reverse)
    return known + unknown


def _row(worker: WorkerStatus, measured: float | None) -> Row:
    cpu, share = worker.cpu, worker.share
    if measured is not None:
        cpu, share = measured, measured / worker.cpus if worker.cpus > 0 else None
    waits = not worker.fits and worker.phase is Phase.RUNNING
    return Row(
        name=clean(worker.name),
        age=worker.age,
        cpu=cpu,
        share=share,
        memory=worker.memory,
        limit=worker.memory_limit,
        state=WAITS if waits else _doing(worker),
    )


def _doing(worker: WorkerStatus) -> str:
    """What a worker is about; of one that runs, its job, if its pool lets us know."""
    if worker.phase is not Phase.RUNNING or worker.jobs is None:
        return str(worker.phase)
    if worker.jobs > 1:
        return f"{worker.jobs} jobs"
    return f"job {human_seconds(worker.job_age)}" if worker.jobs else NO_JOB


class Columns(msgspec.Struct, frozen=True):
    """Widths; 0 is a column that there is no room for. ``bar`` is part of the share's column."""

    name: int
    age: int
    cpu: int
    share: int
    bar: int
    memory: int
    state: int
    limit: bool


def _columns(room: int, shown: list[Row]) -> Columns:
    longest = max((cell_len(row.name) for row in shown), default=4)
    wide = max([7, *(len(_memory_cell(row, True)) for row in shown)])
    share, memory = 6 if room >= 56 else 0, wide if room >= 72 else 8 if room >= 48 else 0
    age = 7 if room >= 40 else 0
    fixed = sum(width + 2 for width in (age, 6, share, memory, 13) if width)
    name = min(max(room - fixed, 4), max(longest, 5))
    spare = min(room - fixed - name - 1, 40)
    bar = spare if share and spare >= 8 else 0
    return Columns(name, age, 6, share + (bar + 1 if bar else 0), bar, memory, 13, room >= 72)


def _table(screen: Screen, status: Status, left: int | None) -> list[Line]:
    ordered = rows(screen)
    lines: list[Line] = []
    if screen.roomy:
        lines.append(_workers_rule(screen, status))
    if not ordered:
        return [*lines, (Segment("no workers", QUIET),)]
    columns = _columns(screen.room, ordered)
    lines.append(_headings(screen, columns))
    many = len(ordered) if left is None else max(left - len(lines), 0)
    if len(ordered) > many:
        many = max(many - 1, 0)
    lines += [_cells(row, columns) for row in ordered[:many]]
    if len(ordered) > many:
        more = f"… and {len(ordered) - many} more" if many else f"{len(ordered)} workers"
        lines.append((Segment(more, QUIET),))
    return lines


def _workers_rule(screen: Screen, status: Status) -> Line:
    left = f"workers: {len(status.workers)}"
    if status.workers:
        left += f", {status.fit} fit"
    if status.work and (status.work.jobs_done or status.work.jobs_evicted):
        left += f"; jobs: {status.work.jobs_done} done, {status.work.jobs_evicted} evicted"
    notes = ("CPU: 100 % = one CPU, share: of what it asked for", "CPU: 100 % = one CPU")
    fitting = [note for note in notes if len(left) + len(note) + 10 <= screen.room]
    return _rule(screen, left, fitting[0] if fitting else "")


def _headings(screen: Screen, columns: Columns) -> Line:
    down = (screen.sort in ("name", "state")) == screen.reverse
    cells = []
    for key, text, width, right in (
        ("name", "NAME", columns.name, False),
        ("age", "AGE", columns.age, True),
        ("cpu", "CPU %", columns.cpu, True),
        ("share", "SHARE", columns.share, True),
        ("memory", "MEMORY", columns.memory, True),
        ("state", "STATE", columns.state, False),
    ):
        if width:
            sorting = key == screen.sort
            mark = ("▼" if down else "▲") if sorting else ""
            heading = _fill(cut(text + mark, width), width, right) + "  "
            cells.append(Segment(heading, LOUD if sorting else QUIET))
    return tuple(cells)


def _cells(row: Row, columns: Columns) -> Line:
    cpu = f"{row.cpu * 100:.0f}" if row.cpu is not None else NOTHING
    share = f"{row.share * 100:.0f} %" if row.share is not None else NOTHING
    out = [Segment(_fill(cut_left(row.name, columns.name), columns.name) + "  ", PLAIN)]
    if columns.age:
        out.append(Segment(_fill(human_seconds(row.age), columns.age, right=True) + "  ", PLAIN))
    out.append(Segment(_fill(cpu, columns.cpu, right=True) + "  ", LOUD))
    if columns.bar:
        cells = _bar(row.share, 1.0, columns.bar)
        track = "·" if row.share is not None else " "
        out += [Segment(cells, DONATED), Segment(track * (columns.bar - len(cells)) + " ", QUIET)]
    if columns.share:
        out.append(Segment(_fill(share, 6, right=True) + "  ", PLAIN))
    if columns.memory:
        out.append(Segment(_fill(_memory_cell(row, columns.limit), columns.memory, right=True) + "  ", PLAIN))
    style = QUIET if row.state in QUIET_STATES else OWNER + LOUD if row.state == WAITS else PLAIN
    out.append(Segment(row.state, style))
    return tuple(out)


def _memory_cell(row: Row, with_limit: bool) -> str:
    return f"{size(row.memory)} of {size(row.limit)}" if with_limit else size(row.memory)


# -- help and keys


def _help(screen: Screen) -> list[Line]:
    lines: list[Line] = [_rule(screen, "help")] if screen.roomy else []
    if screen.status is not None and screen.status.tier_reason:
        reason = cut(clean(screen.status.tier_reason), max(screen.room - 15, 20))
        lines.append((Segment(_fill("this host", 15), LOUD), Segment(reason, PLAIN)))
    for word, text in HELP:
        first = True
        for part in wrap(text, max(screen.room - 15, 20)) or [""]:
            lines.append((Segment(_fill(word if first else "", 15), LOUD), Segment(part, PLAIN)))
            first = False
    return lines


def _footer(screen: Screen) -> Line:
    draining = screen.status is not None and screen.status.mode == "draining"
    if screen.message:
        return (Segment(cut(clean(screen.message), screen.room), LOUD),)
    keys = [
        ("q", "quit"),
        ("s", f"sort: {'CPU' if screen.sort == 'cpu' else screen.sort}"),
        ("r", "reverse"),
        ("d", "resume" if draining else "drain"),
        ("?", "back" if screen.help else "help"),
    ]
    if screen.status is None:
        del keys[1:4]  # no workers to sort, nobody to drain
    gap = "   " if screen.room >= 52 else " "
    pairs = ((Segment(key, LOUD + DONATED), Segment(f" {text}{gap}", QUIET)) for key, text in keys)
    note = [] if screen.roomy else [Segment("CPU: 100 % = one CPU", QUIET)]
    return _sides(screen, [segment for pair in pairs for segment in pair], note)


# ---------------------------------------------------------------- the loop


class Top:
    """The live screen: what it shows now, and what keys and time do to it."""

    def __init__(
        self,
        read_status: Callable[[], Status | None],
        meter: Meter,
        drain: Callable[[bool], str],
        console: Console,
        interval: float,
    ) -> None:
        self._read_status, self._meter, self._drain = read_status, meter, drain
        self._console, self._interval = console, interval
        self._history: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._painted: tuple[Line, ...] = ()
        self._message_until = 0.0
        self.screen = Screen(0, 0, 0.0, host=socket.gethostname(), ascii=not _utf8(console))

    def run(self, terminal: Terminal) -> None:
        due = time.monotonic()
        events: list[str] = []
        while QUIT not in events:
            if time.monotonic() >= due:
                self.sample()
                due = max(due + self._interval, time.monotonic())
            self._paint(terminal)
            events = terminal.wait(due - time.monotonic())
            for event in events:
                if event == REDRAW:
                    self._painted = ()
                elif event in ("q", "Q", "\x03", "\x04"):
                    return
                else:
                    self.key(event)

    def sample(self) -> None:
        status = self._read_status()
        figures = self._meter.read(status)
        seen = self.screen.seen
        if figures.owner is not None:
            self._history.append((figures.owner, figures.donated or 0.0))
            seen += 1
        message = self.screen.message if time.monotonic() < self._message_until else ""
        self._set(
            status=status,
            figures=figures,
            history=tuple(self._history),
            seen=seen,
            now=time.time(),
            message=message,
        )

    def key(self, key: str) -> None:
        """What a key does; unknown ones do nothing."""
        screen = self.screen
        if key == "s":
            self._set(sort=SORTS[(SORTS.index(screen.sort) + 1) % len(SORTS)], reverse=False)
        elif key == "r":
            self._set(reverse=not screen.reverse)
        elif key in ("?", "h"):
            self._set(help=not screen.help)
        elif key == "d":
            self._set(message=self._drained())
            self._message_until = time.monotonic() + MESSAGE_SECONDS

    def _drained(self) -> str:
        status = self.screen.status
        if status is None:
            return "no supervisor runs here: there is nothing to drain"
        return self._drain(status.mode != "draining")

    def _set(self, **changes: object) -> None:
        self.screen = msgspec.structs.replace(self.screen, **changes)

    def _paint(self, terminal: Terminal) -> None:
        """Write the lines that changed."""
        width, height = terminal.size()
        if (width, height) != (self.screen.width, self.screen.height):
            self._set(width=width, height=height)
            self._painted = ()
        lines = render(self.screen).lines
        before = self._painted
        changed = [n for n, line in enumerate(lines) if n >= len(before) or before[n] != line]
        styled = styled_lines(self._console, [lines[n] for n in changed])
        out = [f"\x1b[{n + 1};1H{text}\x1b[K" for n, text in zip(changed, styled, strict=True)]
        if not before:
            out.insert(0, "\x1b[2J")
        if out:
            terminal.write("".join(out), self._console.encoding)
        self._painted = lines


def styled_lines(console: Console, lines: list[Line]) -> list[str]:
    """Text with colours as the console has them (none with NO_COLOR)."""
    if not lines:
        return []
    with console.capture() as capture:
        console.print(Frame(lines), soft_wrap=True, end="")
    return capture.get().split("\n")[: len(lines)]


def _utf8(console: Console) -> bool:
    return console.encoding.lower().replace("-", "").startswith("utf8")


def run_top(
    read_status: Callable[[], Status | None],
    cgroup_root: Path | None,
    drain: Callable[[bool], str],
    console: Console,
    interval: float = 1.0,
    once: bool = False,
    proc: Path = Path("/proc"),
) -> None:
    """Until `q`, or one screen: when asked for, in a pipe, and on a terminal that can't do more.

    ``drain(True)`` asks the supervisor to start no more workers, ``drain(False)`` to go on; it returns
    one line to show.
    """
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        if once or not _is_live(console):
            _print_once(read_status, meter, console)
            return
        with contextlib.suppress(Gone), Terminal(0, console.file.fileno()) as terminal:
            Top(read_status, meter, drain, console, interval).run(terminal)


def top_json(
    read_status: Callable[[], Status | None], cgroup_root: Path | None, proc: Path = Path("/proc")
) -> bytes:
    """One JSON object: Unix time, figures over half a second, and the status (null without a supervisor)."""
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        status, figures = _two_samples(read_status, meter)
    return msgspec.json.encode({"time": time.time(), "figures": figures, "status": status})


def _two_samples(read_status: Callable[[], Status | None], meter: Meter) -> tuple[Status | None, Figures]:
    meter.read(read_status())
    time.sleep(ONCE_INTERVAL)
    status = read_status()
    return status, meter.read(status)


def _is_live(console: Console) -> bool:
    try:
        ttys = os.isatty(0) and os.isatty(console.file.fileno())
    except (OSError, ValueError, AttributeError):  # a file without a descriptor
        return False
    return ttys and console.is_terminal and not console.is_dumb_terminal


def _print_once(read_status: Callable[[], Status | None], meter: Meter, console: Console) -> None:
    """A terminal gets what fits on it, a pipe all workers."""
    status, figures = _two_samples(read_status, meter)
    screen = Screen(
        width=console.width,
        height=max(console.height - 1, 1) if console.is_terminal else 0,
        now=time.time(),
        figures=figures,
        status=status,
        live=False,
        host=socket.gethostname(),
        ascii=not _utf8(console),
    )
    text = "\n".join(styled_lines(console, list(render(screen).lines))) + "\n"
    console.file.write(text)
    console.file.flush()
