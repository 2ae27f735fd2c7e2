"""The terminal while `plancton top` has it: its screen, its keys, its signals.

    with Terminal(0, 1) as terminal:
        terminal.write("...")
        for event in terminal.wait(1.0):    # a key, or QUIT, or REDRAW
            ...

However it ends (return, exception, Ctrl-C, SIGTERM, Ctrl-Z), the shell gets its terminal back as it
was.
"""

import contextlib
import os
import re
import select
import signal
import termios
import tty
from types import FrameType, TracebackType
from typing import Any

QUIT = "quit"
REDRAW = "redraw"

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"  # alternate screen, no cursor, no wrapping
RESTORE = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
_DEADLY = (signal.SIGTERM, signal.SIGQUIT)
_CAUGHT = (*_DEADLY, signal.SIGHUP, signal.SIGINT, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


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
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    def wait(self, seconds: float) -> list[str]:
        """What happened within the given time: keys as they are, QUIT, REDRAW."""
        ready, _, _ = select.select([self._stdin, self._woken], [], [], max(seconds, 0.0))
        events: list[str] = []
        if self._woken in ready:
            events += [event for number in os.read(self._woken, 512) for event in self._on_signal(number)]
        if self._stdin in ready:
            events += self._keys()
        return events

    def _keys(self) -> list[str]:
        try:
            data = os.read(self._stdin, 512)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return list(_ESCAPES.sub("", data.decode("utf-8", "replace")))

    def _on_signal(self, number: int) -> list[str]:
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
        self.write(ENTER)

    def _give_back(self) -> None:
        with contextlib.suppress(Gone):
            self.write(RESTORE)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._stdin, termios.TCSADRAIN, self._modes)


def _noted(number: int, frame: FrameType | None) -> None:
    """The wakeup pipe has it."""
