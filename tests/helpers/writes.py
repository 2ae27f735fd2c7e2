"""Sees every write to files, also one that changes nothing or is taken back (inotify(7))."""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

MODIFY, ATTRIB, MOVED, CREATE, DELETE = 0x2, 0x4, 0xC0, 0x100, 0x200
ANY = MODIFY | ATTRIB | MOVED | CREATE | DELETE
HEAD = struct.Struct("iIII")


class Writes:
    """Of files right in these directories, from now on."""

    def __init__(self, directories: Iterable[Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._directories = {
            libc.inotify_add_watch(self._descriptor, os.fsencode(path), ANY): path for path in directories
        }
        assert self._descriptor >= 0 and min(self._directories) > 0, os.strerror(ctypes.get_errno())

    def take(self) -> set[Path]:
        """The files that were written since the last call."""
        found = set[Path]()
        try:
            while data := os.read(self._descriptor, 65_536):
                while data:
                    watch, _, _, length = HEAD.unpack_from(data)
                    name = data[HEAD.size : HEAD.size + length].rstrip(b"\0")
                    found.add(self._directories[watch] / os.fsdecode(name))
                    data = data[HEAD.size + length :]
        except BlockingIOError:
            return found
        return found

    def close(self) -> None:
        os.close(self._descriptor)
