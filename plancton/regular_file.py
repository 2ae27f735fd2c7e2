"""Reads a small file of the user's: never waits for a pipe's writer, never takes a part for the whole."""

import os
import stat


class Unsuitable(OSError):
    """Something is there, but nothing to read; ``strerror`` is what it is, as the end of a sentence."""


def read_regular(
    path: str | os.PathLike[str], largest: int, follow: bool = True
) -> tuple[bytes, os.stat_result]:
    """The content, of so many bytes at the most, and what fstat(2) says of it. Raises OSError.

    Without ``follow`` a symbolic link is no file.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unsuitable(0, "is not a regular file")
        data = os.read(descriptor, largest + 1)
    finally:
        os.close(descriptor)
    if len(data) > largest:
        raise Unsuitable(0, f"is longer than {largest // 1024} KiB")
    return data, found
