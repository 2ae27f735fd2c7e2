"""`plancton top`: what the host's owner looks at to see that their computer is theirs.

The meter makes figures of two samples, the view makes a frame of them; here is the loop around
both, with the keys and the screen.
"""

import contextlib
import os
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import COLOR_SYSTEMS, Console
from rich.segment import Segment

from plancton.commands.top.keys import QUIT, REDRAW, Gone, Terminal
from plancton.commands.top.meter import Meter
from plancton.commands.top.view import HISTORY, SORTS, Line, Screen, render
from plancton.errors import PlanctonError
from plancton.model import Status

ONCE_INTERVAL = 0.5
"""Seconds between the two samples of a screen that is printed once."""
MESSAGE_SECONDS = 5.0


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
        self._painted: list[Line] = []
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
                    self._painted = []
                elif event in ("q", "Q", "\x03", "\x04"):
                    return
                else:
                    self.key(event)

    def sample(self) -> None:
        status = self._read_status()
        figures = self._meter.read(status)
        if figures.owner is not None:
            self._history.append((figures.owner, figures.donated or 0.0))
            self._set(history=tuple(self._history), seen=self.screen.seen + 1)
        if time.monotonic() >= self._message_until:
            self._set(message="")
        self._set(status=status, figures=figures, now=time.time())

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
        try:
            return self._drain(status.mode != "draining")
        except PlanctonError as error:
            return str(error)

    def _set(self, **changes: object) -> None:
        self.screen = msgspec.structs.replace(self.screen, **changes)

    def _paint(self, terminal: Terminal) -> None:
        """Write the lines that changed."""
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

    ``drain(True)`` asks the supervisor to start no more workers, ``drain(False)`` to go on; it
    returns one line to show.
    """
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        top = Top(read_status, meter, drain, console, interval)
        if once or not _is_live(console):
            _print_once(top, console)
            return
        with contextlib.suppress(Gone), Terminal(0, console.file.fileno()) as terminal:
            top.run(terminal)


def _is_live(console: Console) -> bool:
    try:
        ttys = os.isatty(0) and os.isatty(console.file.fileno())
    except (OSError, ValueError, AttributeError):  # a file without a descriptor
        return False
    return ttys and console.is_terminal and not console.is_dumb_terminal


def _print_once(top: Top, console: Console) -> None:
    """A terminal gets what fits on it, a pipe all workers."""
    top.sample()
    time.sleep(ONCE_INTERVAL)
    top.sample()
    height = max(console.height - 1, 1) if console.is_terminal else 0
    screen = msgspec.structs.replace(top.screen, width=console.width, height=height, live=False)
    console.file.write("\n".join(styled_lines(console, render(screen))) + "\n")
    console.file.flush()


def top_json(
    read_status: Callable[[], Status | None], cgroup_root: Path | None, proc: Path = Path("/proc")
) -> bytes:
    """One JSON object: Unix time, figures, and the status (null without a supervisor)."""
    with contextlib.closing(Meter(proc, cgroup_root)) as meter:
        meter.read(read_status())
        time.sleep(ONCE_INTERVAL)
        status = read_status()
        figures = meter.read(status)
    return msgspec.json.encode({"time": time.time(), "figures": figures, "status": status})
