"""Small files: those of users read safely, our own replaced atomically, the kernel's as they come."""

import contextlib
import os
import stat
from pathlib import Path

SHARE = Path(__file__).with_name("share")
"""What comes with the package beside its code."""


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


def replace_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
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
    """What a small file of the kernel's says, without white space around it; None where it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def write_knob(path: Path, text: str) -> None:
    """Raises OSError where the kernel refuses."""
    with path.open("w") as file:
        file.write(text)
