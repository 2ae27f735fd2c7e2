"""Requests to the supervisor, as files in its run directory: whoever asks writes one, and it takes them."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from plancton.files import replace_file
from plancton.paths import RunDirError

REQUESTS = ("stop", "force-stop", "finish", "pause", "resume")
DRAIN = "drain"
"""While it exists, nothing is started."""
PAUSE = "pause"
"""The file in the state directory, which outlives the host's restart, that holds the Unix time at
which the owner's pause ends."""
KEEP_WORKERS = "keep-workers"
"""Content of a stop request that leaves the workers running."""


def request(run: Path, name: str, content: str = "") -> None:
    """Leave a request (or the drain state) for the supervisor, which sees all of it or nothing."""
    with _told(run / name):
        replace_file(run / name, content.encode(), 0o644)


def withdraw(run: Path, name: str) -> bool:
    """Withdraw a request or the drain state; whether there was one."""
    with _told(run / name):
        try:
            (run / name).unlink()
        except FileNotFoundError:
            return False
    return True


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunDirError(f"{path}: {error.strerror}; {_remedy(error)}") from None


def _remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return "make room there, or send the supervisor a signal: SIGTERM is `stop`, a second one `--force`"
    return "run this as the user that runs Plancton (root, or with sudo)"
