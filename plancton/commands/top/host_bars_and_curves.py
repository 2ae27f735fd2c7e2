"""The host in `plancton top`: a bar for each figure, and curves of the last two minutes. Pure."""

import math
from collections.abc import Iterator

from rich.segment import Segment

from plancton.commands.top.drawing import (
    DONATED,
    GAP,
    IDLE_FROM,
    LOUD,
    NOTHING,
    OWNER,
    QUIET,
    SPARKS,
    Line,
    Screen,
    bar,
    columns,
    fill,
    sides,
)
from plancton.commands.top.meter import Figures
from plancton.units import human_bytes

HISTORY = 120
"""Samples that the sparkline shows: two minutes of them."""

LABEL = len("donated") + len(GAP)
FIGURE = len(" 999.9 CPUs")
SPARK_WIDTHS = (120, 60, 40, 30, 24, 20)
"""They divide the history evenly."""
LEAST_BAR, LONGEST_BAR = 16, 80


def bars_and_curves(screen: Screen) -> Iterator[Line]:
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
