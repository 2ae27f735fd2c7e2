"""Freezes all that is in the slice, with one write, and thaws it (cgroup.freeze, Linux 5.2).

Those that a lift freezes one by one are leaver_boost.py's.
"""

import contextlib
import errno
import logging
import os
from pathlib import Path

from plancton.files import read_knob, write_knob

log = logging.getLogger(__name__)


class CgroupFreezer:
    """That of one slice. ``is_frozen``: all that is in it is, by `freeze`; ``is_stuck``: a thaw has
    failed, and is to be tried again."""

    is_frozen = is_stuck = False

    def __init__(self, directory: Path) -> None:
        self._directory, self.file = directory, directory / "cgroup.freeze"

    @property
    def can_freeze(self) -> bool:
        """Whether this process may freeze it, as far as it is there."""
        return os.access(self.file, os.W_OK) or not self._directory.exists()

    def freeze(self) -> bool:
        """Let nothing in the slice run, with one write; whether that could be done. What is frozen
        can be killed. `Slice.take` thaws what a crash has left frozen."""
        return self._write("1")

    def thaw(self) -> bool:
        """Let it run again. Those that a lift has frozen one by one stay so until it ends."""
        return self._write("0")

    def repair(self) -> str | None:
        """Try again to thaw, or freeze again what somebody else has thawed; says the latter."""
        if self.is_stuck:
            self.thaw()
        if self.is_frozen and read_knob(self.file) == "0" and self.freeze():
            return "the workers were thawed by somebody: frozen again"
        return None

    def undo_others(self) -> None:
        """Undo what a process before this one, or the selftest, has left; ours holds again where
        others have made the slice again."""
        if read_knob(self.file) == ("0" if self.is_frozen else "1"):
            with contextlib.suppress(OSError):
                write_knob(self.file, "1" if self.is_frozen else "0")

    def _write(self, wanted: str) -> bool:
        self.is_stuck = False
        try:
            write_knob(self.file, wanted)
        except OSError as error:
            gone = error.errno in (errno.ENOENT, errno.ENODEV)
            self.is_stuck = wanted == "0" and not gone
            self.is_frozen = False
            if self.is_stuck:
                log.warning("%s can't be thawed, which is tried again: %s", self._directory, error.strerror)
            return False
        self.is_frozen = wanted == "1"
        return True
