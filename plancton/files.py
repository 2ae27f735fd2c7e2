"""Small files: users' files read safely, our own replaced atomically, the kernel's read and set."""

import contextlib
import errno
import os
import re
import resource
import stat
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SHARE = Path(__file__).with_name("share")
"""Files in the package other than code."""
LONGEST_REASON = 200
"""Characters of what is said of a file that is wrong."""
PIECE = 1 << 16
"""Bytes asked for in one read(2). The kernel writes long texts (mountinfo) a page at a time."""
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors of open(2) and its like: neither this file's fault nor a lasting one."""


def raise_descriptors() -> None:
    """Allow this process as many descriptors as it may have: 1024 are few where workers are many."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(OSError, ValueError):  # forbidden here, or more than the kernel takes
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_kept_open() -> int:
    """How many descriptors may be kept for one kind of the workers' files. There are four kinds, and
    half of the limit is left for all else."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (1 << 20 if limit == resource.RLIM_INFINITY else limit) // 8


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


def to_json(value: object) -> bytes:
    """As JSON, whatever is in it: what is no character (half of a path that is not UTF-8) becomes a
    question mark, and a number that is none becomes null."""
    import msgspec  # `install --uninstall` runs without: all that it needs is above

    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, enc_hook=msgspec.json.decode)  # which is called for Raw only
        return msgspec.json.encode(_with_characters_only(plain))


def from_json(data: bytes, kind: type[T]) -> T:
    """JSON as a value of this kind. Raises ValueError if it is not that, or is nested too deeply for
    a program to read."""
    import msgspec

    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except msgspec.DecodeError as error:  # it may quote a value of any length
        raise ValueError(str(error)[:LONGEST_REASON]) from None


def _with_characters_only(value: object) -> object:
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_with_characters_only(key): _with_characters_only(each) for key, each in value.items()}
    return [_with_characters_only(each) for each in value] if isinstance(value, list | tuple) else value


def replace_file(path: Path, data: bytes, mode: int, group: int = -1) -> None:
    """Write a file so that readers see either the old content or the new, never a part.

    A link of either name is replaced, never followed: root writes in users' directories, too.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)  # what a crash has left, perhaps
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o700)
        with open(descriptor, "wb") as file:
            if group >= 0:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)  # whatever the umask is: somebody else is to read it
            file.write(data)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def replace_named_file(path: Path, data: bytes, mode: int) -> None:
    """The same for a name that somebody has typed: only a file is replaced, not a device, a pipe or
    a link. Root's `/dev/stdout` would be gone for all."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Unsuitable(0, "is not a regular file")
    replace_file(path, data, mode)


def set_mode(path: Path, mode: int) -> None:
    """chmod(2) of a regular file, never of what a link leads to: root writes in users' directories,
    too. Raises OSError.

    The descriptor is none of the file's content: to close such a one would drop all locks that this
    process has on the file (fcntl(2)), and SQLite has some.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unsuitable(0, "is not a regular file")
        os.chmod(f"/proc/self/fd/{descriptor}", mode)
    finally:
        os.close(descriptor)


def read_knob(path: str | os.PathLike[str]) -> str | None:
    """The stripped content of a small kernel file; None if it can't be read. Raises OSError if it is
    only that there is no descriptor: that must not look like a file that is not there.

    Not by `open`, which makes twice as many system calls: the supervisor reads many of them.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return b"".join(iter(lambda: os.read(descriptor, PIECE), b"")).decode(errors="replace").strip()
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise
    except ValueError:  # a name that holds a null byte
        pass
    return None


def read_number(path: str | os.PathLike[str]) -> int | None:
    """The whole number in such a file; None if that is not what it holds."""
    text = read_knob(path) or ""
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None


def write_knob(path: Path, text: str) -> None:
    """Raises OSError if the kernel refuses."""
    with path.open("w") as file:
        file.write(text)
