"""Which supervisors run, and where: those that hold a lock in a state directory.

The lock alone says whether a supervisor runs. Only its owner may open it, or anybody could hold it;
others see in /proc/locks that it is held. daemon/lock.py takes it.
"""

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.errors import PlanctonError
from plancton.paths import LARGEST_FILE, Paths, default_paths

LOCKS = Path("/proc/locks")


class NotRunning(PlanctonError):
    """There is nobody to ask."""

    exit_code = 3
    begins = ""

    def __init__(self) -> None:
        super().__init__("Plancton is not running; start its service, or `plancton run` where there is none.")


class Lock(NamedTuple):
    """What a supervisor has written into its lock: where to find it and, once it has ended, its
    workers. ``holder`` is its pid while it runs; of root's, others learn no more than that."""

    holder: int | None
    socket: str = ""
    workers_slice: str = ""
    run: Path | None = None


def paths_in_use() -> Paths:
    """The running supervisor's: this user's own, else root's; this user's own if none runs. Directories
    that were named on purpose are not left for others: nobody who names one means to stop root's."""
    own, roots = default_paths(), default_paths({}, uid=0)
    run, state = (os.environ.get(f"PLANCTON_{name}_DIR") for name in ("RUN", "STATE"))
    found = _with_its_run(own, any_run=not run)
    if found is None and not (run and own.run != roots.run) and not (state and own.state != roots.state):
        found = _with_its_run(roots, any_run=True)
    return found or own


def _with_its_run(paths: Paths, any_run: bool) -> Paths | None:
    """With the run directory of the supervisor that holds a lock there: another shell's may be
    another one (XDG_RUNTIME_DIR)."""
    if holder(paths) is not None:
        return paths
    runs = [lock.run for lock in read_locks(paths.state) if lock.holder is not None and lock.run]
    return msgspec.structs.replace(paths, run=runs[0]) if runs and any_run else None


def holder(paths: Paths) -> int | None:
    """The pid of the supervisor that runs with these directories."""
    return next(iter(holders_with(paths)), None)


def holders_with(paths: Paths) -> list[int]:
    """One that may not be read, of root's, does not say where its run directory is."""
    held = [lock for lock in read_locks(paths.state) if lock.run in (None, Path(os.path.realpath(paths.run)))]
    return [lock.holder for lock in held if lock.holder is not None]


def holders(state: Path) -> list[int]:
    """The pids of all supervisors that run with this state directory, whatever they publish."""
    return [lock.holder for lock in read_locks(state) if lock.holder is not None]


def last_places(state: Path) -> list[Lock]:
    """Where supervisors that used this state directory and have ended had their workers."""
    return [lock for lock in read_locks(state) if lock.holder is None and lock.workers_slice]


def read_locks(state: Path) -> list[Lock]:
    """None of a directory that may not be read."""
    names = list[str]()
    with contextlib.suppress(OSError):
        names = sorted(name for name in os.listdir(state) if name.endswith(".lock"))
    return [lock for name in names if (lock := _read_lock(state / name)) is not None]


def _read_lock(file: Path) -> Lock | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        pids, _ = lockers(file)
        return Lock(pids[0]) if pids else None
    except OSError:
        return None
    try:
        held = not try_flock(descriptor, fcntl.LOCK_SH)
        text = os.read(descriptor, LARGEST_FILE).decode(errors="surrogateescape")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    pid, socket, workers_slice, run = [*text.splitlines(), "", "", "", ""][:4]
    if not (pid.isascii() and pid.isdecimal()):
        return None
    return Lock(int(pid) if held else None, socket, workers_slice, Path(run) if run else None)


def try_flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lockers(file: Path) -> tuple[list[int], list[int]]:
    """Who holds a lock on this file, which need not be ours to open: processes of its owner or root, and
    those of strangers (proc_locks(5)). The device is not compared: Btrfs and overlayfs have two."""
    trusted, strangers = list[int](), list[int]()
    with contextlib.suppress(OSError):
        found = file.stat(follow_symlinks=False)
        with LOCKS.open(errors="replace") as lines:  # a job may hold a million: never all at once
            for line in lines:
                words = line.split()
                if len(words) < 6 or not words[4].isdecimal():
                    continue
                if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(found.st_ino):
                    pid = int(words[4])
                    (trusted if user_of(pid) in (None, 0, found.st_uid) else strangers).append(pid)
    return trusted, strangers


def user_of(pid: int) -> int | None:
    """By its credentials: /proc/PID belongs to root for all that may not be dumped. None where
    others' processes are hidden.

    In the name, which is anybody's to choose, the kernel escapes \\n only: read as text, a \\r would
    begin a line as well.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_bytes().decode(errors="replace")
    except OSError:
        return None
    found = re.search(r"^Uid:\s+([0-9]{1,10})\s", text, re.MULTILINE)
    return int(found[1]) if found else None
