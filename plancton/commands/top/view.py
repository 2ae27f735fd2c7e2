"""One frame of `plancton top`: figures and a status become lines of text. Pure.

A line is rich Segments, so that only the lines that changed are styled and written: rich's Live
costs ten times as much.
"""

import math
from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Any, NamedTuple

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from plancton.commands.top.meter import Figures
from plancton.model import Phase, Status, WorkerStatus
from plancton.rundir import STALE
from plancton.units import human_bytes, human_seconds, local_time

HISTORY = 120
"""Samples that the sparkline shows: two minutes of them."""

# Okabe and Ito's colours, which colour-blind people can tell apart; words and shapes say the same.
OWNER = Style(color="#e69f00")
DONATED = Style(color="#56b4e9")
ALARM = Style(color="#d55e00", bold=True)
LOUD = Style(bold=True)
QUIET = Style(dim=True)
BADGE = Style(bold=True, reverse=True)

SPARKS = " ▁▂▃▄▅▆▇█"
ASCII = str.maketrans("▁▂▃▄▅▆▇█━╸┅·─–…▼▲", ".:-=+*%###=.--~v^")
NOTHING = "–"
GAP = "  "
NO_JOB, WAITS = "no job", "waits for CPU"
QUIET_STATES = frozenset({NO_JOB, *Phase}) - {Phase.RUNNING}

# Lines of a terminal from which on there is room for …
IDLE_FROM = 12  # … the bar of the idle CPUs
ROOMY_FROM = 16  # … rules, empty lines, reasons and events
AIRY_FROM = 24  # … an empty line below the title
TALL_FROM = 30  # … a longer decision, and events even when the workers fill the screen

HELP = (
    ("owner", "everything on this computer except the workers and Docker's own processes"),
    ("donated", "what the workers use: only what the owner leaves"),
    ("idle", "what nobody uses"),
    ("tier", "how workers yield: kernel (at once, always), weight (least share) or none"),
    ("CPU %", "100 % = one CPU kept busy; a worker of two CPUs can use 200 %"),
    ("share", "the part of the CPU it asked for that a worker gets"),
    (WAITS, "the owner leaves too little for this worker: it goes if that lasts"),
    ("job 12m 03s", "has run a job for that long; no job: it waits for one"),
    ("leaving", "drops its job now; the pool runs it elsewhere"),
    ("finishing", "finishes its job, then goes"),
    ("", ""),
    ("q", "quit"),
    ("s", "sort by the next column: age, CPU, share, memory, name, state"),
    ("r", "reverse the order"),
    ("d", "drain: start no more workers; again: resume"),
    ("?", "this help, and back"),
)

HELP_WORD = max(len(word) for word, _ in HELP) + len(GAP)
CPU_NOTE = "CPU: 100 % = one CPU"

Line = list[Segment]


class Screen(msgspec.Struct, frozen=True):
    """All that one frame shows. ``height`` 0: as long as it takes. ``seen`` counts all samples
    ever, so that the sparkline moves by whole columns. ``live``: keys work and the history
    grows."""

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
        """Columns between the margins, one at each side: terminals differ in when they wrap after
        the last column."""
        return max(self.width - 2, 1)

    def has(self, lines: int) -> bool:
        """Whether it is this high."""
        return self.height == 0 or self.height >= lines

    @property
    def roomy(self) -> bool:
        return self.has(ROOMY_FROM)


def render(screen: Screen) -> list[Line]:
    """One frame: never wider than the width, never longer than the height."""
    blank: list[Line] = [[]] if screen.roomy else []
    lines = [_title(screen)]
    if not (screen.help and screen.height):  # the help needs the room
        airy: list[Line] = [[]] if screen.has(AIRY_FROM) else []
        lines += [*airy, *_headline(screen), *_notices(screen), *blank, *_host(screen)]
    lines += blank
    foot = [_footer(screen)] if screen.live else []
    height = screen.height - len(foot) if screen.height else None
    if screen.help:
        lines += _help(screen)
    elif screen.status is not None:
        lines += _workers_and_events(screen, screen.status, None if height is None else height - len(lines))
    if height is not None:
        padding: list[Line] = [[]] * height if screen.live else []
        lines = [*lines, *padding][:height]
    return [_bounded(line, screen) for line in [*lines, *foot]]


def _bounded(line: Line, screen: Screen) -> Line:
    """Nothing but printable text, a margin, and not beyond the width."""
    while line and not line[-1].text.strip(" "):
        line = line[:-1]
    out, left = [Segment(" " if line and screen.width > 2 else "")], screen.room
    for n, (text, style, _) in enumerate(line, 1):
        text = cut(clean(text.rstrip(" ") if n == len(line) else text), left)
        if screen.ascii and not text.isascii():
            text = text.translate(ASCII).encode("ascii", "replace").decode()
        out.append(Segment(text, style))
        left -= cell_len(text)
    return out


def clean(text: str) -> str:
    """Without control characters, which could rule the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def cut(text: str, width: int) -> str:
    """The beginning, with an ellipsis where something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…" * (width > 0)


def _cut_left(text: str, width: int) -> str:
    """The end, which is what tells the workers' names apart."""
    if cell_len(text) <= width:
        return text
    while text and cell_len(text) > width - 1:
        text = text[1:]
    return "…" * (width > 0) + text


def _fill(text: str, width: int, right: bool = False) -> str:
    pad = " " * max(width - cell_len(text), 0)
    return pad + text if right else text + pad


def _width(segments: Iterable[Segment]) -> int:
    return sum(cell_len(segment.text) for segment in segments)


def _sides(screen: Screen, left: Line, right: Line, between: str = " ") -> Line:
    """Left and right of one line; the right side goes when there is no room for it."""
    gap = screen.room - _width(left) - _width(right)
    if gap < 1:
        right, gap = [], max(screen.room - _width(left), 0)
    return [*left, Segment(between * gap, QUIET), *right]


def _rule(screen: Screen, title: str, right: str = "") -> Line:
    left = [Segment("── ", QUIET), Segment(cut(title, screen.room - 4), LOUD), Segment(" ")]
    return _sides(screen, left, [Segment(f" {right} ──", QUIET)] if right else [], "─")


def _wrapped(screen: Screen, text: str, most: int, style: Style) -> Iterator[Line]:
    """At most ``most`` lines, the last one with an ellipsis if something is missing."""
    lines = wrap(clean(text), screen.room)
    for n, line in enumerate(lines[:most], 1):
        more = " …" if n == most < len(lines) else ""
        yield [Segment(cut(line + more, screen.room), style)]


def _clock(unix: float) -> str:
    return local_time(unix, "%H:%M:%S")


# -- what Plancton does


def _title(screen: Screen) -> Line:
    left = [Segment("plancton", LOUD + DONATED), Segment(" top", LOUD)]
    right = [Segment(_clock(screen.now), QUIET)]
    if screen.status is not None:
        mode, tier = screen.status.mode, screen.status.tier
        state = [Segment(f" {mode} ", BADGE) if mode != "donating" else Segment(mode, LOUD + DONATED)]
        right = [*state, Segment("  tier ", QUIET), Segment(tier, LOUD), Segment(GAP), *right]
        if screen.room < _width([*left, *right]) + len(GAP):
            right = state
    space = screen.room - _width([*left, *right]) - 2 * len(GAP)
    if screen.host and space >= 8:
        left.append(Segment(GAP + cut(clean(screen.host), space), QUIET))
    return _sides(screen, left, right)


def _headline(screen: Screen) -> Iterator[Line]:
    status = screen.status
    if status is None:
        text = "No supervisor's status is found here: these are the host's own figures."
        yield from _wrapped(screen, text, 2, LOUD)
        return
    yield from _wrapped(screen, status.sentence, 2 if screen.roomy else 1, LOUD)
    if screen.roomy and status.decision and status.decision != status.sentence:
        most = 2 if screen.has(TALL_FROM) else 1
        yield from _wrapped(screen, f"last decision: {status.decision}", most, QUIET)
    if screen.roomy and status.tier_reason and status.tier != "kernel":
        yield [Segment(f"tier {status.tier}: {status.tier_reason}", QUIET)]


def _notices(screen: Screen) -> Iterator[Line]:
    """What is wrong, a line each."""
    if screen.status is None:
        return
    silent = screen.now - screen.status.time
    silence = [f"the supervisor has said nothing for {human_seconds(silent)}"] if silent > STALE else []
    for text in (*silence, *screen.status.problems[: 3 if screen.roomy else 1]):
        yield [Segment(f"! {text}", ALARM)]


# -- the host

LABEL = len("donated") + len(GAP)
FIGURE = len(" 999.9 CPUs")
SPARK_WIDTHS = (120, 60, 40, 30, 24, 20)
"""They divide the history evenly."""
LEAST_BAR, LONGEST_BAR = 16, 80


def _host(screen: Screen) -> Iterator[Line]:
    figures, spark = screen.figures, _spark_width(screen)
    legend = _memory_legend(screen)
    bar = min(max(screen.room - LABEL - FIGURE - (len(GAP) + spark if spark else 0), 0), LONGEST_BAR)
    beside = screen.room - LABEL - _width(legend)
    if beside >= LEAST_BAR:
        bar = min(bar, beside)  # all bars end in one column
    if screen.roomy:
        cpus = f"host: {figures.cpus} CPU{'s' if figures.cpus != 1 else ''}"
        dashes = "─" * (LABEL + bar + FIGURE - len(f"── {cpus}"))
        rest = [Segment(f" {dashes} last 2 min ", QUIET)] if spark else [Segment(" ")]
        yield _sides(screen, [Segment("── ", QUIET), Segment(cpus, LOUD), *rest], [], "─")
    owners, donated = zip(*screen.history, strict=True) if screen.history else ((), ())
    shown = [
        ("owner", figures.owner, OWNER, Segment(_sparkline(owners, spark, screen), OWNER)),
        ("donated", figures.donated, DONATED, Segment(_sparkline(donated, spark, screen), DONATED)),
        ("idle", figures.idle, QUIET, Segment(_engine(figures), QUIET)),
    ]
    for name, value, style, tail in shown if screen.has(IDLE_FROM) else shown[:2]:
        cells = _bar(value, figures.cpus, bar)
        bars = [Segment(cells, style), Segment("·" * (bar - len(cells)), QUIET)]
        figure = f"{value:.1f} CPUs" if value is not None else NOTHING
        line = [Segment(_fill(name, LABEL)), *bars, Segment(_fill(figure, FIGURE, right=True), LOUD)]
        yield [*line, Segment(GAP), tail] if spark else line
    yield [Segment(_fill("memory", LABEL)), *_memory_bar(figures, max(min(bar, beside), 0)), *legend]


def _engine(figures: Figures) -> str:
    busy = figures.engine is not None and figures.engine >= 0.05
    return f"Docker itself {figures.engine:.1f}" if busy else ""


def _spark_width(screen: Screen) -> int:
    """As many columns as divide the history evenly and leave the bars a third of the room."""
    room = screen.room - LABEL - FIGURE - len(GAP)
    least = max(LEAST_BAR, 0.3 * room)
    return next((n for n in SPARK_WIDTHS if room - n >= least), 0) if screen.live else 0


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
    ends = range(len(values) - newest, 0, -step)
    columns = [values[len(values) - newest :], *(values[max(end - step, 0) : end] for end in ends)]
    levels = [sum(column) / len(column) / screen.figures.cpus * 8 for column in columns[:width] if column]
    # 1 to 8: the line is there even when nothing runs.
    return "".join(SPARKS[min(max(round(level), 1), 8)] for level in reversed(levels)).rjust(width)


def _owners_memory(figures: Figures) -> int | None:
    if not figures.memory_total or figures.memory_available is None:
        return None
    return max(figures.memory_total - figures.memory_available - (figures.memory_donated or 0), 0)


def _memory_legend(screen: Screen) -> Line:
    figures = screen.figures
    owner, donated = human_bytes(_owners_memory(figures)), human_bytes(figures.memory_donated)
    mine, theirs = [Segment("  ━ ", OWNER), Segment(f"owner {owner}", LOUD)], Segment("  ┅ ", DONATED)
    whole = [*mine, theirs, Segment(f"donated {donated}", LOUD)]
    whole.append(Segment(f"  of {human_bytes(figures.memory_total or None)}", QUIET))
    short = [*mine, theirs, Segment(f"lent {donated}", LOUD)]
    return whole if LABEL + _width(whole) <= screen.room else short


def _memory_bar(figures: Figures, width: int) -> Line:
    columns = width / (figures.memory_total or math.inf)
    mine = round((_owners_memory(figures) or 0) * columns)
    theirs = min(round((figures.memory_donated or 0) * columns), width - mine)
    rest = "·" * (width - mine - theirs)
    return [Segment("━" * mine, OWNER), Segment("┅" * theirs, DONATED), Segment(rest, QUIET)]


# -- the workers


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
    """As asked for: numbers from the top, words from A; unknown ones always last."""
    workers = [_measured(worker, screen.figures) for worker in screen.status.workers] if screen.status else []
    known = [worker for worker in workers if _value(worker, screen.sort) is not None]
    unknown = [worker for worker in workers if _value(worker, screen.sort) is None]
    known.sort(key=lambda worker: _value(worker, screen.sort), reverse=_downwards(screen))
    return known + unknown


def _downwards(screen: Screen) -> bool:
    return (screen.sort in WORDS) == screen.reverse


def _measured(worker: WorkerStatus, figures: Figures) -> WorkerStatus:
    """With what was measured here, which is newer than what the supervisor says."""
    if (cpu := figures.workers.get(worker.name)) is None:
        return worker
    return msgspec.structs.replace(worker, cpu=cpu, share=cpu / worker.cpus if worker.cpus > 0 else None)


def _value(worker: WorkerStatus, column: str) -> Any:
    return _state(worker) if column == "state" else getattr(worker, column)


def _state(worker: WorkerStatus) -> str:
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


def _workers_and_events(screen: Screen, status: Status, left: int | None) -> list[Line]:
    """Workers and, as room allows, what happened of late."""
    if left is None:
        return [*_table(screen, status, None), *_events(screen, status, len(status.events))]
    rule_and_two = 2 + min(len(status.events), 2)
    reserved = rule_and_two if status.events and screen.has(TALL_FROM) else 0
    table = _table(screen, status, left - reserved)
    return [*table, *_events(screen, status, left - len(table) - 2)]


def _events(screen: Screen, status: Status, most: int) -> Iterator[Line]:
    if most < 1 or not status.events or not screen.roomy:
        return
    yield []
    yield _rule(screen, "recent")
    for event in sorted(status.events, key=lambda event: -event.time)[:most]:
        yield [Segment(_clock(event.time) + GAP, QUIET), Segment(event.text)]


def _table(screen: Screen, status: Status, left: int | None) -> list[Line]:
    workers = in_order(screen)
    lines = [_workers_rule(screen, status)] if screen.roomy else []
    if not workers:
        return [*lines, [Segment("no workers", QUIET)]]
    layout = _layout(screen.room, workers)
    lines.append(_headings(screen, layout))
    many = len(workers)
    if left is not None and many > left - len(lines):
        many = max(left - len(lines) - 1, 0)
    lines += [_cells(worker, layout) for worker in workers[:many]]
    if many < len(workers):
        more = f"… and {len(workers) - many} more" if many else f"{len(workers)} workers"
        lines.append([Segment(more, QUIET)])
    return lines


def _workers_rule(screen: Screen, status: Status) -> Line:
    left = f"workers: {len(status.workers)}"
    if status.workers:
        left += f", {status.fit} fit"
    if status.work and (status.work.jobs_done or status.work.jobs_evicted):
        left += f"; jobs: {status.work.jobs_done} done, {status.work.jobs_evicted} evicted"
    long = f"{CPU_NOTE}, share: of what it asked for"
    room = screen.room - len(f"── {left} ─  ──")
    return _rule(screen, left, long if len(long) <= room else CPU_NOTE)


def _headings(screen: Screen, layout: Layout) -> Line:
    cells = []
    for column, width in layout.widths.items():
        if column == "share" and layout.bar:
            width += layout.bar + 1
        sorting = column == screen.sort
        mark = "" if not sorting else "▼" if _downwards(screen) else "▲"
        heading = _fill(cut(HEADINGS[column] + mark, width), width, right=column not in WORDS)
        cells.append(Segment(heading + GAP, LOUD if sorting else QUIET))
    return cells


def _cells(worker: WorkerStatus, layout: Layout) -> Line:
    state = _state(worker)
    texts = {
        "name": _cut_left(clean(worker.name), layout.widths["name"]),
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
            cells = _bar(worker.share, 1.0, layout.bar)
            track = "·" if worker.share is not None else " "
            line += [Segment(cells, DONATED), Segment(track * (layout.bar - len(cells)) + " ", QUIET)]
        text = _fill(texts[column], width, right=column not in WORDS)
        line.append(Segment(text + GAP, styles.get(column)))
    return line


# -- help and keys


def _help(screen: Screen) -> Iterator[Line]:
    if screen.roomy:
        yield _rule(screen, "help")
    reason = screen.status.tier_reason if screen.status else ""
    if reason:
        yield [Segment(_fill("this host", HELP_WORD), LOUD), Segment(reason)]
    for word, text in HELP:
        for n, part in enumerate(wrap(text, max(screen.room - HELP_WORD, 20)) or [""]):
            yield [Segment(_fill("" if n else word, HELP_WORD), LOUD), Segment(part)]


def _footer(screen: Screen) -> Line:
    if screen.message:
        return [Segment(screen.message, LOUD)]
    keys = {"q": "quit", "?": "back" if screen.help else "help"}
    if screen.status is not None:  # else there are no workers to sort, and nobody to drain
        sort = "CPU" if screen.sort == "cpu" else screen.sort
        drain = "resume" if screen.status.mode == "draining" else "drain"
        keys = {"q": "quit", "s": f"sort: {sort}", "r": "reverse", "d": drain, "?": keys["?"]}
    wide = sum(len(f"{key} {text}   ") for key, text in keys.items())
    gap = "   " if wide <= screen.room else " "
    shown = [(Segment(key, LOUD + DONATED), Segment(f" {text}{gap}", QUIET)) for key, text in keys.items()]
    left = [segment for pair in shown for segment in pair]
    return _sides(screen, left, [] if screen.roomy else [Segment(CPU_NOTE, QUIET)])
