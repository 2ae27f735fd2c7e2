"""Standard output that is full or that nobody reads: end in one line or in silence."""

import io
import os
import signal
import sys

import msgspec

from plancton.errors import PlanctonError
from plancton.files import to_json
from plancton.units import escaped, printable


class OutputError(PlanctonError):
    """What a command had to say can't be written."""


class NoReader(Exception):
    """Whoever read our output has gone. No OSError, of which typer would make exit code 1."""


class _Stdout(io.FileIO):
    """Tells its own errors from those of any other file or socket."""

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override]
        try:
            return super().write(data)
        except OSError as error:
            _to_nowhere(self.fileno())
            if isinstance(error, BrokenPipeError):
                raise NoReader from None
            text = f"standard output: can't be written: {error.strerror}; make room, or send it elsewhere"
            raise OutputError(text) from None


def guard() -> None:
    """From here on a failing standard output raises OutputError or NoReader, and what its encoding
    does not have becomes a question mark."""
    before = sys.stdout
    if isinstance(before, io.TextIOWrapper):  # else it is closed, and nothing is written
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout(before.fileno(), "w", closefd=False)),
            before.encoding,
            "replace",
            line_buffering=before.line_buffering,
        )


def say(text: str, err: bool = False) -> None:
    """Lines for people. Others' words may be in any of them, so none of them rules the terminal."""
    lines = "\n".join(map(printable, text.split("\n")))
    if err:
        complain(lines)
    else:
        print(lines, flush=True)


def say_json(data: object) -> None:
    print(escaped(msgspec.json.format(to_json(data), indent=2).decode()), flush=True)


def complain(text: str) -> None:
    """One line on stderr; where that can't be written either, the exit code must say it."""
    if sys.stderr is None:  # closed
        return
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:
        _to_nowhere(sys.stderr.fileno())


def end_without_reader() -> None:
    """As any other program ends whose reader has gone: of SIGPIPE."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)


def _to_nowhere(descriptor: int) -> None:
    """What is still buffered must not fail again at the interpreter's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
