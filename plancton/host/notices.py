"""What the kernel tells without being asked: files that have changed, and memory that runs short.

See inotify(7), and Documentation/accounting/psi.rst for the triggers.
"""

import contextlib
import os
import struct
from collections.abc import Collection
from pathlib import Path

from plancton.host._sampler import ffi, lib

EVENT = struct.Struct("iIII")
"""struct inotify_event without the name: descriptor, mask, cookie, length of the name."""
LONGEST_READ = 1 << 16
MEMORY_WAITS = 150_000
"""Microseconds within a second for which somebody waited for memory."""


class FileNotices:
    """Tells when a file of one of these names is made, replaced or removed in its directory. What
    the kernel does not tell (no watches are left, a file system of another host's) has to be looked
    for: ``complete`` says whether all directories are watched."""

    def __init__(self, files: Collection[Path]) -> None:
        self._names = {os.fsencode(file.name) for file in files}
        self._descriptor = lib.inotify_init1(lib.IN_NONBLOCK | lib.IN_CLOEXEC) if files else -1
        mask = lib.IN_CREATE | lib.IN_CLOSE_WRITE | lib.IN_MOVED_TO | lib.IN_DELETE
        directories = {file.parent for file in files}
        added = [self._descriptor >= 0 and self._add(directory, mask) for directory in directories]
        self.complete = all(added)

    def _add(self, directory: Path, mask: int) -> bool:
        watch = lib.inotify_add_watch(self._descriptor, ffi.new("char[]", os.fsencode(directory)), mask)
        return int(watch) >= 0

    def fileno(self) -> int:
        """-1 when the kernel has no descriptor for this."""
        return int(self._descriptor)

    def take(self) -> bool:
        """Whether one of the names was among what has happened since the last call. Never waits."""
        found = False
        with contextlib.suppress(OSError):  # EAGAIN: that was all
            while data := os.read(self._descriptor, LONGEST_READ):
                found |= self._concerns_us(data)
        return found

    def _concerns_us(self, data: bytes) -> bool:
        at = 0
        while at < len(data):
            _, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size
            if mask & lib.IN_IGNORED:  # the directory is gone, and another one of its name is not watched
                self.complete = False
                return True
            if data[at : at + length].rstrip(b"\0") in self._names or mask & lib.IN_Q_OVERFLOW:
                return True
            at += length
        return False

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def pressure_trigger(file: Path, waits: int) -> int | None:
    """A descriptor that poll(2) finds to have POLLPRI when somebody waited, by this file of pressure, for
    so many microseconds within a second; None where the kernel does not offer that. Without
    CAP_SYS_RESOURCE it takes only windows of whole two seconds."""
    for seconds in (1, 2):
        with contextlib.suppress(OSError):
            descriptor = os.open(file, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, f"some {waits * seconds} {seconds * 1_000_000}\0".encode())
            except OSError:
                os.close(descriptor)
                continue
            return descriptor
    return None
