"""What the log looks like, and the file that it is in the background, which bounds itself, as nobody
else may rotate it."""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from plancton.paths import RunDirError
from plancton.units import printable

LARGEST = 4 * 1024 * 1024
"""Bytes: months, at a few lines per worker."""


def log_to_stderr(file: str | None, verbose: bool) -> None:
    """``file`` is where stderr goes, if it is a file of the supervisor's own."""
    journal = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    layout = "%(levelname)s %(message)s" if journal else "%(asctime)s %(levelname)s %(message)s"
    handler = LogFile(Path(file), LARGEST) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(layout))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("urllib3").setLevel(logging.WARNING)


class Formatter(logging.Formatter):
    """Each message is one line, whoever's words are in it; a traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class LogFile(logging.StreamHandler[TextIO]):
    """Logs to stderr, which is this file (as is stdout), and begins a new one when it is full.

    stderr itself moves to the new file, so Python's last messages, and a program that replaces this
    process, continue in it. The previous file is kept as FILE.1.
    """

    def __init__(self, path: Path, largest: int) -> None:
        super().__init__(sys.stderr)
        self.path, self.largest = path, largest

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        try:
            if os.fstat(2).st_size >= self.largest:
                self._begin_new()
        except (OSError, RunDirError):  # in somebody else's directory, for example
            with contextlib.suppress(OSError):
                os.ftruncate(2, 0)

    def _begin_new(self) -> None:
        if self._is_there():
            self.path.replace(f"{self.path}.1")
        descriptor = open_log(self.path)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)

    def _is_there(self) -> bool:
        """Whether the path is still this log; if not, somebody has moved the file away."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(2))
        except FileNotFoundError:
            return False


def open_log(path: Path) -> int:
    """Follow no symbolic link, and wait for no reader of a FIFO: root may log to a directory that
    was handed over to a user."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}; the log goes there") from None
