"""The supervisor's own run directory: it takes requests there (request_files.py), and publishes its
status.json, its pid for init scripts (plancton.pid), and what it could not remove (left.json)."""

import contextlib
import errno
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from plancton.files import Unsuitable, read_regular, replace_file, to_json
from plancton.model import Status
from plancton.paths import LARGEST_FILE, RunDirError, not_writable
from plancton.request_files import DRAIN, REQUESTS

log = logging.getLogger(__name__)


class RunDir:
    """The supervisor's own directory; created with mode 0755 if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._drain: str | None = ""  # until it is known
        self._unread = False
        try:
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise RunDirError(not_writable(path, error, "PLANCTON_RUN_DIR")) from None

    def begin(self, began: float) -> None:
        """Write down this process's pid, and drop requests to an earlier one: those from before
        this process ``began`` (Unix time), which it did not do when it executed itself again."""
        for name in REQUESTS:
            with contextlib.suppress(OSError):
                if (self.path / name).lstat().st_mtime < began:
                    (self.path / name).unlink()
        with contextlib.suppress(OSError):
            (self.path / "left.json").unlink()
        with contextlib.suppress(OSError):  # a full disk is no reason not to run
            replace_file(self.path / "plancton.pid", f"{os.getpid()}\n".encode(), 0o644)

    def take_request(self, name: str) -> str | None:
        """Take a request: its content, or None if there is none."""
        try:
            content = self._read(name)
            (self.path / name).unlink()
        except OSError:
            return None
        return content

    def drain(self) -> str | None:
        """Content of the drain file (`finish`: workers are asked to finish); None if there is none.
        A file that can't be read changes nothing."""
        try:
            self._drain = self._read(DRAIN)
        except FileNotFoundError:
            self._drain = None
        except Unsuitable:
            self._drain = ""
        except OSError as error:
            if not self._unread:
                log.warning("%s/drain can't be read: %s", self.path, error.strerror)
            self._unread = True
            return self._drain
        self._unread = False
        return self._drain

    def _read(self, name: str) -> str:
        data, _ = read_regular(self.path / name, LARGEST_FILE, follow=False)
        return data.decode(errors="replace").strip()

    def publish(self, status: Status) -> None:
        """Replace status.json; raises OSError, for example on a full disk."""
        replace_file(self.path / "status.json", to_json(status), 0o644)

    def leave(self, left: Mapping[str, str]) -> None:
        """Say what could not be removed and why, for the `plancton stop` that waits."""
        with contextlib.suppress(OSError):  # then it only says what is left
            replace_file(self.path / "left.json", msgspec.json.encode(left), 0o644)

    def retract(self) -> None:
        for name in ("status.json", "plancton.pid"):
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)
