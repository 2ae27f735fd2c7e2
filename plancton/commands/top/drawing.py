"""What all pages of `plancton top` are drawn with: the screen's state, styles, and lines. Pure.

A line is rich Segments, so that only the lines that changed are styled and written: rich's Live
costs ten times as much.
"""

from collections.abc import Iterator
from enum import Enum, auto
from textwrap import wrap

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from plancton.commands.top.meter import Figures
from plancton.commands.top.past import Past
from plancton.model import Event, Status
from plancton.units import local_time

# Okabe and Ito's colours, which colour-blind people can tell apart; words and shapes say the same.
OWNER = Style(color="#e69f00")
DONATED = Style(color="#56b4e9")
ALARM = Style(color="#d55e00", bold=True)
LOUD = Style(bold=True)
QUIET = Style(dim=True)
BADGE = Style(bold=True, reverse=True)

NOTHING = "–"
GAP = "  "
SPARKS = " ▁▂▃▄▅▆▇█"

# Lines of a terminal from which on there is room for …
IDLE_FROM = 12  # … the bar of the idle CPUs
ROOMY_FROM = 16  # … rules, empty lines, reasons and events
AIRY_FROM = 24  # … an empty line below the title
TALL_FROM = 30  # … a longer decision, and events even when the workers fill the screen

Line = list[Segment]
columns = Segment.get_line_length
"""That a line takes."""


class Page(Enum):
    """What the lower part of the screen shows."""

    WORKERS = auto()
    WORKER = auto()
    PAST = auto()
    EVENTS = auto()
    HELP = auto()


class Screen(msgspec.Struct, frozen=True):
    """All that one frame shows. ``height`` 0: as long as it takes. ``seen`` counts all samples ever, so that
    the sparkline moves by whole columns. ``live``: keys work and the history grows.

    ``filter`` is what workers, or events, must have in them to be shown, ``typing``: it is being typed.
    ``picked`` is the name of the worker that Enter shows, ``scrolled`` how many events above are not shown.
    ``said`` are the history's events, oldest first; ``no_history`` says why there is none.
    """

    width: int
    height: int
    now: float
    figures: Figures = Figures()
    status: Status | None = None
    history: tuple[tuple[float, float], ...] = ()
    seen: int = 0
    sort: str = "age"
    reverse: bool = False
    page: Page = Page.WORKERS
    filter: str = ""
    typing: bool = False
    picked: str = ""
    scrolled: int = 0
    said: tuple[Event, ...] = ()
    past: Past | None = None
    no_history: str = ""
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
        return self.height == 0 or self.height >= lines

    @property
    def roomy(self) -> bool:
        return self.has(ROOMY_FROM)

    def matches(self, text: str) -> bool:
        return self.filter.lower() in text.lower()


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


def fill(text: str, width: int, right: bool = False) -> str:
    pad = " " * max(width - cell_len(text), 0)
    return pad + text if right else text + pad


def sides(screen: Screen, left: Line, right: Line, between: str = " ") -> Line:
    """Left and right of one line; the right side goes when there is no room for it."""
    gap = screen.room - columns(left) - columns(right)
    if gap < 1:
        right, gap = [], max(screen.room - columns(left), 0)
    return [*left, Segment(between * gap, QUIET), *right]


def rule(screen: Screen, title: str, right: str = "") -> Line:
    left = [Segment("── ", QUIET), Segment(cut(title, screen.room - 4), LOUD), Segment(" ")]
    return sides(screen, left, [Segment(f" {right} ──", QUIET)] if right else [], "─")


def wrapped(screen: Screen, text: str, most: int, style: Style, width: int = 0) -> Iterator[Line]:
    """At most ``most`` lines, the last one with an ellipsis if something is missing. ``width`` 0:
    the screen's."""
    width = width or screen.room
    lines = wrap(clean(text), width)
    for n, line in enumerate(lines[:most], 1):
        more = " …" if n == most < len(lines) else ""
        yield [Segment(cut(line + more, width), style)]


def clock(unix: float) -> str:
    return local_time(unix, "%H:%M:%S")


def bar(value: float | None, whole: float, width: int) -> str:
    """In halves of a column; half a percent and more shows."""
    if value is None or whole <= 0:
        return ""
    halves = min(max(round(value / whole * width * 2), int(value / whole >= 0.005)), width * 2)
    return "━" * (halves // 2) + "╸" * (halves % 2)
