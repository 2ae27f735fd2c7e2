"""`plancton top`: what the host's owner looks at to see that their computer is theirs.

The meter makes figures of two samples, the view makes a frame of them; here is the loop around
both, with the keys and the screen.
"""

import contextlib
import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment

from plancton import model
from plancton.commands.top.drawing import Line, Page, Screen
from plancton.commands.top.help_and_footer import going_on
from plancton.commands.top.host_bars_and_curves import HISTORY
from plancton.commands.top.meter import Meter
from plancton.commands.top.pages import events_in
from plancton.commands.top.past import STEPS, Past, read_past
from plancton.commands.top.terminal import (
    BACKSPACE,
    DOWN,
    ENTER,
    ESCAPE,
    PAGE_DOWN,
    PAGE_UP,
    QUIT,
    REDRAW,
    UP,
    Click,
    Event,
    Gone,
    Terminal,
)
from plancton.commands.top.view import picked_by_click, render, sorted_by_click
from plancton.commands.top.workers import SORTS, in_order
from plancton.errors import PlanctonError
from plancton.history.read import open_history
from plancton.history.tables import HistoryError
from plancton.model import Status
from plancton.paths import Paths
from plancton.status_reading import running

ONCE_INTERVAL = 0.5
"""Seconds between the two samples of a screen that is printed once."""
WIDEST = 10_000
MESSAGE_SECONDS = 5.0
READ_AGAIN = 30.0
"""Seconds after which the history is read again: its file is copied for that."""
MOST_EVENTS = 1000
LONGEST_FILTER = 60
ASKS = {"d": "drain", "p": "pause"}
"""What these keys ask for."""
_PAGES = {"?": Page.HELP, "e": Page.EVENTS}
_STEPS = {UP: -1, DOWN: 1, PAGE_UP: -10, PAGE_DOWN: 10}


class Sources(NamedTuple):
    """Where the figures come from, besides the kernel. The last two raise HistoryError."""

    status: Callable[[], Status | None]
    past: Callable[[int], Past]
    events: Callable[[], tuple[model.Event, ...]]


def sources_of(paths: Paths) -> Sources:
    """Those of the supervisor that uses these paths."""

    def said() -> tuple[model.Event, ...]:
        with open_history(paths.state) as history:
            return tuple(model.Event(each.time, each.text) for each in history.events(last=MOST_EVENTS))

    return Sources(lambda: running(paths), lambda days: read_past(paths.state, days, time.time()), said)


class Top:
    """The live screen: what it shows now, and what keys and time do to it."""

    def __init__(
        self, sources: Sources, meter: Meter, ask: Callable[[str], str], console: Console, interval: float
    ) -> None:
        self._sources, self._meter, self._ask = sources, meter, ask
        self._console, self._interval = console, interval
        self._history: deque[tuple[float, float]] = deque(maxlen=HISTORY)
        self._painted: list[Line] = []
        self._message_until = 0.0
        self._read_again = math.inf
        self._days = min(STEPS)
        speaks_utf8 = console.encoding.lower().replace("-", "").startswith("utf8")
        self.screen = Screen(0, 0, 0.0, host=socket.gethostname(), ascii=not speaks_utf8)

    def run(self, terminal: Terminal) -> None:
        due = time.monotonic()
        events: list[Event] = []
        while QUIT not in events:
            if time.monotonic() >= due:
                self.sample()
                due = max(due + self._interval, time.monotonic())
            self._paint(terminal)
            events = terminal.wait(due - time.monotonic())
            for event in events:
                if event == REDRAW:
                    self._painted = []
                elif event in ("\x03", "\x04") or (event in ("q", "Q") and not self.screen.typing):
                    return
                elif isinstance(event, Click):
                    self.click(event)
                else:
                    self.key(event)

    def sample(self) -> None:
        status = self._sources.status()
        figures = self._meter.read(status)
        if figures.owner is not None:
            self._history.append((figures.owner, figures.donated or 0.0))
            self._set(history=tuple(self._history), seen=self.screen.seen + 1)
        if time.monotonic() >= self._message_until:
            self._set(message="")
        if time.monotonic() >= self._read_again:
            self._read_history()
        self._set(status=status, figures=figures, now=time.time())

    # ------------------------------------------------------------ keys

    def key(self, key: str) -> None:
        """What a key does; unknown ones do nothing."""
        if self.screen.typing:
            self._type(key)
        elif key in _PAGES:
            self._toggle(_PAGES[key])
        elif key == ESCAPE:
            self._back()
        elif key == "h":
            self._show_past()
        elif key in ASKS:
            self._set(message=self._asked(ASKS[key]))
            self._message_until = time.monotonic() + MESSAGE_SECONDS
        elif self.screen.page is Page.EVENTS:
            self._key_among_events(key)
        elif self.screen.page is Page.WORKERS:
            self._key_among_workers(key)

    def _key_among_workers(self, key: str) -> None:
        screen = self.screen
        if key == "s":
            self._set(sort=SORTS[(SORTS.index(screen.sort) + 1) % len(SORTS)], reverse=False)
        elif key == "r":
            self._set(reverse=not screen.reverse)
        elif key == "/":
            self._set(typing=True)
        elif key in _STEPS:
            self._pick(_STEPS[key])
        elif key == ENTER and screen.picked:
            self._set(page=Page.WORKER)
            self._read_history()

    def _key_among_events(self, key: str) -> None:
        if key == "/":
            self._set(typing=True)
        elif key in _STEPS:
            most = max(len(events_in(self.screen)) - 1, 0)
            self._set(scrolled=min(max(self.screen.scrolled + _STEPS[key], 0), most))

    def _type(self, key: str) -> None:
        text = self.screen.filter
        if key == ENTER:
            self._set(typing=False)
        elif key == ESCAPE:
            self._set(typing=False, filter="")
        elif key == BACKSPACE:
            self._set(filter=text[:-1], scrolled=0)
        elif len(key) == 1 and key.isprintable():
            self._set(filter=(text + key)[:LONGEST_FILTER], scrolled=0)

    def click(self, where: Click) -> None:
        """On a worker: pick it, and the second time show it; on a heading: sort by it."""
        screen = self.screen
        if name := picked_by_click(screen, where.line):
            if name == screen.picked:
                self.key(ENTER)
            self._set(picked=name)
        elif column := sorted_by_click(screen, *where):
            self._set(sort=column, reverse=column == screen.sort and not screen.reverse)

    def _pick(self, step: int) -> None:
        names = [worker.name for worker in in_order(self.screen)]
        if names and self.screen.picked in names:
            place = names.index(self.screen.picked) + step
            self._set(picked=names[min(max(place, 0), len(names) - 1)])
        elif names:
            self._set(picked=names[0])

    # ------------------------------------------------------------ pages

    def _toggle(self, page: Page) -> None:
        self._set(page=Page.WORKERS if self.screen.page is page else page, scrolled=0, filter="")
        self._read_history()

    def _back(self) -> None:
        picked = "" if self.screen.page is Page.WORKERS and not self.screen.filter else self.screen.picked
        self._set(page=Page.WORKERS, filter="", scrolled=0, picked=picked)
        self._read_history()

    def _show_past(self) -> None:
        """The shortest time first, then the next longer one."""
        spans = sorted(STEPS)
        shown = self.screen.page is Page.PAST
        self._days = spans[(spans.index(self._days) + 1) % len(spans)] if shown else spans[0]
        self._set(page=Page.PAST)
        self._read_history()

    def _read_history(self) -> None:
        """For the page that shows it; and again in a while, for as long as that page is shown."""
        page = self.screen.page
        if page not in (Page.PAST, Page.EVENTS, Page.WORKER):
            self._read_again = math.inf
            self._set(past=None, said=(), no_history="")
            return
        self._read_again = time.monotonic() + READ_AGAIN
        try:
            if page is Page.PAST:
                self._set(past=self._sources.past(self._days), no_history="")
            else:
                self._set(said=self._sources.events(), no_history="")
        except HistoryError as error:
            self._set(no_history=str(error))

    def _asked(self, what: str) -> str:
        """Ask for it, or to end it if it goes on."""
        status = self.screen.status
        if status is None:
            return f"no supervisor runs here: there is nothing to {what}"
        try:
            return self._ask("resume" if what in going_on(status) else what)
        except PlanctonError as error:
            return str(error)

    def _set(self, **changes: object) -> None:
        self.screen = msgspec.structs.replace(self.screen, **changes)

    def _paint(self, terminal: Terminal) -> None:
        width, height = terminal.size()
        if (width, height) != (self.screen.width, self.screen.height):
            self._set(width=width, height=height)
            self._painted = []
        lines = render(self.screen)
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
    """Text with colours as the console has them (none with NO_COLOR).

    Not by the console itself: it writes to its file even what it only captures, and a terminal may
    have vanished.
    """
    system = COLOR_SYSTEMS[console.color_system] if console.color_system else None

    def styled(segment: Segment) -> str:
        if segment.style is None:
            return segment.text
        style = segment.style.without_color if console.no_color else segment.style
        return style.render(segment.text, color_system=system)

    return ["".join(styled(segment) for segment in line) for line in lines]


def run_top(
    sources: Sources,
    cgroup_root: Path | None,
    ask: Callable[[str], str],
    console: Console,
    interval: float = 1.0,
    screens: int = 0,
    proc: Path = Path("/proc"),
) -> None:
    """Until `q`, or so many screens: when asked for; and one in a pipe, and on a terminal that can't do more.

    ``ask`` asks the supervisor for "drain", "pause" or "resume"; it returns one line to show.
    """
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        top = Top(sources, meter, ask, console, interval)
        if screens or not _is_live(console):
            _print_screens(top, console, screens or 1, interval)
            return
        with contextlib.suppress(Gone), Terminal(0, console.file.fileno()) as terminal:
            top.run(terminal)


def _is_live(console: Console) -> bool:
    if not console.is_terminal or console.is_dumb_terminal:
        return False
    return os.isatty(0) and os.isatty(console.file.fileno())


def _print_screens(top: Top, console: Console, screens: int, interval: float) -> None:
    """A terminal gets what fits on it, a pipe all workers."""
    top.sample()
    for wait in _waits(interval, screens):
        time.sleep(wait)
        top.sample()
        height = max(console.height - 1, 1) if console.is_terminal else 0
        width = min(console.width, WIDEST) or 80  # the environment may say anything
        screen = msgspec.structs.replace(top.screen, width=width, height=height, live=False)
        console.file.write("\n".join(styled_lines(console, render(screen))) + "\n")
        console.file.flush()


def _waits(interval: float, screens: int) -> Iterator[float]:
    """Seconds before each screen; 0 screens: without end."""
    later = repeat(interval, screens - 1) if screens else repeat(interval)
    return chain((ONCE_INTERVAL,), later)


def top_json(
    read_status: Callable[[], Status | None],
    cgroup_root: Path | None,
    proc: Path = Path("/proc"),
    interval: float = 1.0,
    screens: int = 1,
) -> Iterator[bytes]:
    """A JSON object for each screen (0: without end): Unix time, figures since the one before, and
    the status (null without a supervisor)."""
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        meter.read(read_status())
        for wait in _waits(interval, screens):
            time.sleep(wait)
            status = read_status()
            figures = meter.read(status)
            yield msgspec.json.encode({"time": time.time(), "figures": figures, "status": status})
