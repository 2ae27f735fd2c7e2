"""Small files: users' files read safely, our own replaced atomically, the kernel's read and set."""

import contextlib
import os
import stat
from pathlib import Path

SHARE = Path(__file__).with_name("share")
"""Files in the package other than code."""


class Unsuitable(OSError):
    """The file exists but can't be used; ``strerror`` says why, as the end of a sentence."""


def read_regular(
    path: str | os.PathLike[str], largest: int, follow: bool = True
) -> tuple[bytes, os.stat_result]:
    """The content, at most this many bytes, and the result of fstat(2). Raises OSError.

    Without ``follow``, a symbolic link is refused.
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


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that readers see either the old content or the new, never a part."""
    part = path.with_name(f".{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            file.write(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def read_knob(path: Path) -> str | None:
    """The stripped content of a small kernel file; None if it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def write_knob(path: Path, text: str) -> None:
    """Raises OSError if the kernel refuses."""
    with path.open("w") as file:
        file.write(text)
