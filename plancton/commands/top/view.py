"""One frame of `plancton top`: figures and a status become lines of text. Pure."""

import math
from collections.abc import Collection, Iterator
from textwrap import wrap

from rich.cells import cell_len
from rich.segment import Segment

from plancton.commands.top.drawing import (
    AIRY_FROM,
    ALARM,
    BADGE,
    DONATED,
    GAP,
    IDLE_FROM,
    LOUD,
    NOTHING,
    OWNER,
    QUIET,
    SPARKS,
    TALL_FROM,
    Line,
    Page,
    Screen,
    bar,
    clean,
    clock,
    columns,
    cut,
    fill,
    rule,
    sides,
    wrapped,
)
from plancton.commands.top.meter import Figures
from plancton.commands.top.pages import events_page, past_page, worker_page
from plancton.commands.top.workers import CPU_NOTE, WAITS, column_at, first_line, in_order, page_of, table
from plancton.model import Status
from plancton.status_reading import STALE
from plancton.units import human_bytes, human_seconds

HISTORY = 120
"""Samples that the sparkline shows: two minutes of them."""

ASCII = str.maketrans("▁▂▃▄▅▆▇█━╸┅·─–…▼▲", ".:-=+*%###=.--~v^")

HELP = (
    ("owner", "everything here but the workers and Docker's own processes"),
    ("donated, idle", "what workers use, of what the owner leaves; what nobody uses"),
    ("tier", "how workers yield: kernel (at once), weight (least share), none"),
    ("CPU %, share", "100 % = one CPU; share: what it gets of what it asked for"),
    (WAITS, "too little is left for this worker: it goes if that lasts"),
    ("job 12m 03s", "has run a job for that long; no job: it waits for one"),
    ("leaving", "drops its job now; the pool runs it elsewhere"),
    ("finishing", "finishes its job, then goes"),
    ("", ""),
    ("q", "quit"),
    ("s, r", "sort by the next column; reverse the order"),
    ("up, down", "pick a worker, or click on it; Enter: what is known of it"),
    ("/", "only workers, or events, with this in them; Esc: all again"),
    ("h", "history: the last 24 hours; again: the last 8 days"),
    ("e", "events: what Plancton did and why"),
    ("p", "pause: freeze the workers for an hour; again: resume"),
    ("d", "drain: start no more workers; again: resume"),
    ("Esc, ?", "back to the workers; this help, and back"),
)

GO_FIRST = ("r", "d", "e", "/", "h", "p")
"""Keys that the last line does without where there is no room: the help has them all."""

HELP_WORD = max(len(word) for word, _ in HELP) + len(GAP)


def render(screen: Screen) -> list[Line]:
    """One frame: never wider than the width, never longer than the height."""
    lines = _head(screen)
    foot = [_footer(screen)] if screen.live else []
    height = screen.height - len(foot) if screen.height else None
    lines += _page(screen, None if height is None else height - len(lines))
    if height is not None:
        padding: list[Line] = [[]] * height if screen.live else []
        lines = [*lines, *padding][:height]
    return [_bounded(line, screen) for line in [*lines, *foot]]


def picked_by_click(screen: Screen, line: int) -> str | None:
    """The name of the worker that is shown there."""
    status = screen.status
    if status is None or screen.page is not Page.WORKERS:
        return None
    top = len(_head(screen))
    room = _room_for_workers(screen, status, screen.height - 1 - top)
    workers = page_of(screen, in_order(screen), room)
    place = line - top - first_line(screen)
    return workers[place].name if 0 <= place < len(workers) else None


def sorted_by_click(screen: Screen, line: int, column: int) -> str | None:
    """The column of the table whose heading is there."""
    if screen.page is not Page.WORKERS or line != len(_head(screen)) + first_line(screen) - 1:
        return None
    return column_at(screen, column)


def _head(screen: Screen) -> list[Line]:
    blank: list[Line] = [[]] if screen.roomy else []
    lines = [_title(screen)]
    airy: list[Line] = [[]] if screen.has(AIRY_FROM) else []
    if screen.page is Page.WORKERS or not screen.height:
        lines += [*airy, *_headline(screen), *_notices(screen), *blank, *_host(screen)]
    elif screen.page is not Page.HELP:  # which needs the room
        lines += [*airy, *_headline(screen), *_notices(screen)]
    return [*lines, *blank]


def _page(screen: Screen, left: int | None) -> list[Line]:
    match screen.page:
        case Page.HELP:
            return list(_help(screen))
        case Page.PAST:
            return past_page(screen, left)
        case Page.EVENTS:
            return events_page(screen, left)
        case Page.WORKER:
            return worker_page(screen, left)
        case Page.WORKERS:
            return _workers_and_events(screen, left)


def _workers_and_events(screen: Screen, left: int | None) -> list[Line]:
    """Workers and, as room allows, what happened of late."""
    status = screen.status
    if status is None:
        return []
    shown = table(screen, status, _room_for_workers(screen, status, left))
    return [*shown, *_events(screen, status, len(status.events) if left is None else left - len(shown) - 2)]


def _room_for_workers(screen: Screen, status: Status, left: int | None) -> int | None:
    """So many lines: on a high screen some events are shown in any case."""
    if left is None or not status.events or not screen.has(TALL_FROM):
        return left
    rule_and_two = 2 + min(len(status.events), 2)
    return left - rule_and_two


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


# -- what Plancton does


def _title(screen: Screen) -> Line:
    left = [Segment("plancton", LOUD + DONATED), Segment(" top", LOUD)]
    right = [Segment(clock(screen.now), QUIET)]
    if screen.status is not None:
        mode, tier = screen.status.mode, screen.status.tier
        state = [Segment(f" {mode} ", BADGE) if mode != "donating" else Segment(mode, LOUD + DONATED)]
        right = [*state, Segment("  tier ", QUIET), Segment(tier, LOUD), Segment(GAP), *right]
        if screen.room < columns([*left, *right]) + len(GAP):
            right = state
    space = screen.room - columns([*left, *right]) - 2 * len(GAP)
    if screen.host and space >= 8:
        left.append(Segment(GAP + cut(clean(screen.host), space), QUIET))
    return sides(screen, left, right)


def _headline(screen: Screen) -> Iterator[Line]:
    status = screen.status
    if status is None:
        text = "No supervisor's status is found here: these are the host's own figures."
        yield from wrapped(screen, text, 2, LOUD)
        return
    yield from wrapped(screen, status.sentence, 2 if screen.roomy else 1, LOUD)
    if screen.roomy and status.decision and status.decision != status.sentence:
        most = 2 if screen.has(TALL_FROM) else 1
        yield from wrapped(screen, f"last decision: {status.decision}", most, QUIET)
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
    long = min(max(screen.room - LABEL - FIGURE - (len(GAP) + spark if spark else 0), 0), LONGEST_BAR)
    beside = screen.room - LABEL - columns(legend)
    if beside >= LEAST_BAR:
        long = min(long, beside)  # all bars end in one column
    if screen.roomy:
        cpus = f"host: {figures.cpus} CPU{'s' if figures.cpus != 1 else ''}"
        dashes = "─" * (LABEL + long + FIGURE - len(f"── {cpus}"))
        rest = [Segment(f" {dashes} last 2 min ", QUIET)] if spark else [Segment(" ")]
        yield sides(screen, [Segment("── ", QUIET), Segment(cpus, LOUD), *rest], [], "─")
    owners, donated = zip(*screen.history, strict=True) if screen.history else ((), ())
    shown = [
        ("owner", figures.owner, OWNER, Segment(_sparkline(owners, spark, screen), OWNER)),
        ("donated", figures.donated, DONATED, Segment(_sparkline(donated, spark, screen), DONATED)),
        ("idle", figures.idle, QUIET, Segment(_engine(figures), QUIET)),
    ]
    for name, value, style, tail in shown if screen.has(IDLE_FROM) else shown[:2]:
        cells = bar(value, figures.cpus, long)
        bars = [Segment(cells, style), Segment("·" * (long - len(cells)), QUIET)]
        figure = f"{value:.1f} CPUs" if value is not None else NOTHING
        line = [Segment(fill(name, LABEL)), *bars, Segment(fill(figure, FIGURE, right=True), LOUD)]
        yield [*line, Segment(GAP), tail] if spark else line
    yield [Segment(fill("memory", LABEL)), *_memory_bar(figures, max(min(long, beside), 0)), *legend]


def _engine(figures: Figures) -> str:
    busy = figures.engine is not None and figures.engine >= 0.05
    return f"Docker itself {figures.engine:.1f}" if busy else ""


def _spark_width(screen: Screen) -> int:
    """As many columns as divide the history evenly and leave the bars a third of the room."""
    room = screen.room - LABEL - FIGURE - len(GAP)
    least = max(LEAST_BAR, 0.3 * room)
    return next((n for n in SPARK_WIDTHS if room - n >= least), 0) if screen.live else 0


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
    return whole if LABEL + columns(whole) <= screen.room else short


def _memory_bar(figures: Figures, width: int) -> Line:
    columns = width / (figures.memory_total or math.inf)
    mine = round((_owners_memory(figures) or 0) * columns)
    theirs = min(round((figures.memory_donated or 0) * columns), width - mine)
    rest = "·" * (width - mine - theirs)
    return [Segment("━" * mine, OWNER), Segment("┅" * theirs, DONATED), Segment(rest, QUIET)]


# -- what happened of late


def _events(screen: Screen, status: Status, most: int) -> Iterator[Line]:
    if most < 1 or not status.events or not screen.roomy:
        return
    yield []
    yield rule(screen, "recent")
    for event in sorted(status.events, key=lambda event: -event.time)[:most]:
        yield [Segment(clock(event.time) + GAP, QUIET), Segment(event.text)]


# -- help and keys


def _help(screen: Screen) -> Iterator[Line]:
    if screen.roomy:
        yield rule(screen, "help")
    reason = screen.status.tier_reason if screen.status else ""
    if reason:
        yield [Segment(fill("this host", HELP_WORD), LOUD), Segment(reason)]
    for word, text in HELP:
        for n, part in enumerate(wrap(text, max(screen.room - HELP_WORD, 20)) or [""]):
            yield [Segment(fill("" if n else word, HELP_WORD), LOUD), Segment(part)]


def _footer(screen: Screen) -> Line:
    if screen.typing:
        return [Segment(f"show only those with: {screen.filter}", LOUD), Segment(" ", BADGE)]
    if screen.message:
        return [Segment(screen.message, LOUD)]
    note = [] if screen.roomy else [Segment(CPU_NOTE, QUIET)]
    keys = _keys(screen)
    for key in GO_FIRST:
        if _width(keys, " ") + columns(note) > screen.room:
            keys.pop(key, None)
    gap = "   " if _width(keys, "   ") + columns(note) <= screen.room else " "
    shown = [(Segment(key, LOUD + DONATED), Segment(f" {text}{gap}", QUIET)) for key, text in keys.items()]
    return sides(screen, [segment for pair in shown for segment in pair], note)


def going_on(status: Status) -> Collection[str]:
    """Which of `pause` and `drain` the owner has asked for; a pause by a rule is none."""
    paused = status.pause is not None and status.pause.by == "owner"
    return [*(["pause"] if paused else []), *(["drain"] if status.mode == "draining" else [])]


def _width(keys: dict[str, str], gap: str) -> int:
    return sum(len(f"{key} {text}{gap}") for key, text in keys.items())


def _keys(screen: Screen) -> dict[str, str]:
    """Those that do something here."""
    page = screen.page
    if page is Page.HELP or (page is Page.WORKERS and screen.status is None):
        return {"q": "quit", "?": "back" if page is Page.HELP else "help", "h": "history", "e": "events"}
    if page is Page.PAST:
        days = "24 hours" if screen.past and screen.past.days > 1 else "8 days"
        return {"q": "quit", "Esc": "back", "h": days, "e": "events", "?": "help"}
    if page is not Page.WORKERS:
        search = {"/": "search"} if page is Page.EVENTS else {}
        return {"q": "quit", "Esc": "back", **search, "h": "history", "?": "help"}
    sort = "CPU" if screen.sort == "cpu" else screen.sort
    there = going_on(screen.status) if screen.status else ()
    asks = {key: "resume" if what in there else what for key, what in (("p", "pause"), ("d", "drain"))}
    keys = {"q": "quit", "s": f"sort: {sort}", "r": "reverse", "/": "filter", "h": "history", "e": "events"}
    return {**keys, **asks, "?": "help"}
