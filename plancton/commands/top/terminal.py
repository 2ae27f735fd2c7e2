"""The terminal while `plancton top` has it: its screen, its keys, its signals.

    with Terminal(0, 1) as terminal:
        terminal.write("...")
        for event in terminal.wait(1.0):    # a key, a Click, QUIT, or REDRAW
            ...

However it ends (return, exception, Ctrl-C, SIGTERM, Ctrl-Z), the shell gets its terminal back as it was.
"""

import contextlib
import os
import re
import select
import signal
import termios
import tty
from types import FrameType
from typing import Any, NamedTuple

QUIT = "quit"
REDRAW = "redraw"
UP, DOWN, PAGE_UP, PAGE_DOWN = "up", "down", "page up", "page down"
ENTER, ESCAPE, BACKSPACE = "enter", "escape", "backspace"

TAKE = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?1000h\x1b[?1006h\x1b[2J"
"""Alternate screen, no cursor, no wrapping; clicks are told, in the form that knows wide screens
(SGR, of xterm's ctlseqs)."""
RESTORE = "\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?7h\x1b[?25h\x1b[?1049l"
_KEY = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?|.", re.DOTALL)
_CLICK = re.compile(r"\x1b\[<(\d{1,4});(\d{1,5});(\d{1,5})M")
_NAMED = {
    "\x1b": ESCAPE,
    "\x1b[A": UP,
    "\x1bOA": UP,
    "\x1b[B": DOWN,
    "\x1bOB": DOWN,
    "\x1b[5~": PAGE_UP,
    "\x1b[6~": PAGE_DOWN,
    "\r": ENTER,
    "\n": ENTER,
    "\x7f": BACKSPACE,
    "\b": BACKSPACE,
}
LEFT_BUTTON, WHEEL = 0, {64: UP, 65: DOWN}
_DEADLY = (signal.SIGTERM, signal.SIGQUIT)
_CAUGHT = (*_DEADLY, signal.SIGHUP, signal.SIGINT, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


class Click(NamedTuple):
    """Of the left button, from 0 at the top and the left."""

    line: int
    column: int


Event = str | Click


class Gone(Exception):
    """The terminal isn't there any more."""


class Terminal:
    """Owns the terminal from enter to exit; use it from the main thread only (it takes signals)."""

    def __init__(self, stdin: int, stdout: int) -> None:
        self._stdin, self._stdout = stdin, stdout
        self._modes: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._killed_by: int | None = None

    def __enter__(self) -> "Terminal":
        self._modes = termios.tcgetattr(self._stdin)
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        # A signal becomes a byte in a pipe: no handler interrupts a half-written frame.
        self._wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _noted) for number in _CAUGHT}
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._woken)
        os.close(self._wake)
        if self._killed_by is not None:  # whoever sent it shall see that it worked
            signal.raise_signal(self._killed_by)

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            size = os.get_terminal_size(self._stdout)
        except OSError as error:
            raise Gone from error
        return size.columns or 80, size.lines or 24

    def write(self, text: str, encoding: str = "utf-8") -> None:
        data = text.encode(encoding, "replace")
        try:
            while data:
                data = data[os.write(self._stdout, data) :]
        except OSError as error:
            raise Gone from error

    def wait(self, seconds: float) -> list[Event]:
        """What happened within the given time: letters as they are, other keys by name, a Click,
        QUIT, REDRAW."""
        ready, _, _ = select.select([self._stdin, self._woken], [], [], max(seconds, 0.0))
        events: list[Event] = []
        if self._woken in ready:
            events += [event for number in os.read(self._woken, 512) for event in self._on_signal(number)]
        if self._stdin in ready:
            events += self._keys()
        return events

    def _keys(self) -> list[Event]:
        try:
            data = os.read(self._stdin, 512)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return keys_in(data.decode("utf-8", "replace"))

    def _on_signal(self, number: int) -> list[Event]:
        if number in _DEADLY:
            self._killed_by = number
        if number == signal.SIGTSTP:
            self._stop()
        if number == signal.SIGCONT:
            self._take()
        redraws = (signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)
        return [REDRAW if number in redraws else QUIT]

    def _stop(self) -> None:
        """Ctrl-Z: the shell gets the terminal until it says "continue"."""
        self._give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._take()

    def _take(self) -> None:
        try:
            tty.setcbreak(self._stdin, termios.TCSADRAIN)
        except termios.error as error:
            raise Gone from error
        self.write(TAKE)

    def _give_back(self) -> None:
        with contextlib.suppress(Gone):
            self.write(RESTORE)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._modes)


def keys_in(text: str) -> list[Event]:
    """What a terminal sent; sequences of keys that nothing here uses are left out."""
    events: list[Event] = []
    for key in _KEY.findall(text):
        if click := _CLICK.fullmatch(key):
            button, column, line = map(int, click.groups())
            if button == LEFT_BUTTON:
                events.append(Click(line - 1, column - 1))
            elif button in WHEEL:
                events.append(WHEEL[button])
        elif key in _NAMED:
            events.append(_NAMED[key])
        elif len(key) == 1:
            events.append(key)
    return events


def _noted(number: int, frame: FrameType | None) -> None:
    """The wakeup pipe has it."""
