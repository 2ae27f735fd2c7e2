"""Files are the interface: status.json, requests, the drain state, the lock, the instance's id.

| file                                  | what                                                       |
|---------------------------------------|------------------------------------------------------------|
| status.json                           | the state, replaced atomically, readable by all            |
| drain                                 | while it exists, nothing is started                        |
| stop, force-stop, finish, pause,      | requests: consumed by the supervisor                       |
| resume                                |                                                            |
| plancton.pid                          | the supervisor's pid, for init scripts; the lock knows it  |
| left.json                             | what the last supervisor could not remove, and why         |

The lock alone says whether a supervisor runs. Only its owner may open it, or anybody could hold it;
others see in /proc/locks that it is held.
"""

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.errors import PlanctonError
from plancton.files import from_json, read_regular, replace_file
from plancton.model import Status

REQUESTS = ("stop", "force-stop", "finish", "pause", "resume")
DRAIN = "drain"
PAUSE = "pause"
"""The file in the state directory, which outlives the host's restart, that holds the Unix time at
which the owner's pause ends."""
KEEP_WORKERS = "keep-workers"
"""Content of a stop request that leaves the workers running."""
STALE = 40.0
"""Seconds after which a status that is not replaced says that the supervisor hangs: its ticks are up
to 15 s apart."""
LARGEST_REQUEST, LARGEST_STATUS = 64 << 10, 16 << 20
LOCKS = Path("/proc/locks")


class RunDirError(PlanctonError):
    """The run directory can't be used, in one line."""


class Paths(msgspec.Struct, frozen=True):
    """Where things are: the host's paths, or those of the user's session (XDG Base Directory)."""

    config: Path
    run: Path
    state: Path


ROOTS = Paths(Path("/etc/plancton/config.yaml"), Path("/run/plancton"), Path("/var/lib/plancton"))


def default_paths(
    environ: dict[str, str] | None = None, uid: int | None = None, roots: Paths = ROOTS
) -> Paths:
    """The standard paths for this user: root's, or those of them that `plancton prepare` handed over to the
    user, or the user's own. PLANCTON_RUN_DIR and PLANCTON_STATE_DIR move two of them."""
    environ = dict(os.environ) if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    paths = roots if uid == 0 else _users_paths(environ, uid, roots)
    return Paths(
        paths.config,
        Path(environ.get("PLANCTON_RUN_DIR") or paths.run),
        Path(environ.get("PLANCTON_STATE_DIR") or paths.state),
    )


def _users_paths(environ: dict[str, str], uid: int, roots: Paths) -> Paths:
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "plancton/config.yaml"
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "plancton"
    if _is_of(uid, roots.state):
        state = roots.state
        config = config if os.path.exists(config) else roots.config
    run = Path(environ["XDG_RUNTIME_DIR"]) / "plancton" if environ.get("XDG_RUNTIME_DIR") else state
    return Paths(config, roots.run if _is_of(uid, roots.run) else run, state)


def _is_of(uid: int, directory: Path) -> bool:
    try:
        return directory.stat().st_uid == uid
    except OSError:
        return False


def hand_over(paths: Paths, uid: int) -> None:
    """Give this user the run and state directories, with what root's supervisor left in them."""
    for directory in (paths.run, paths.state):
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            for path in (directory, *directory.iterdir()):
                # They may be the user's already: no link leads root to a file elsewhere.
                if path == directory or path.lstat().st_nlink == 1:
                    os.chown(path, uid, -1, follow_symlinks=False)
        except OSError as error:
            raise RunDirError(f"{directory}: can't be handed over: {error.strerror}") from None


def paths_in_use() -> Paths:
    """The running supervisor's: this user's own, else root's; this user's own if none runs."""
    own = default_paths()
    found = _with_its_run(own, any_run="PLANCTON_RUN_DIR" not in os.environ)
    return found or _with_its_run(default_paths({}, uid=0), any_run=True) or own


def _with_its_run(paths: Paths, any_run: bool) -> Paths | None:
    """With the run directory of the supervisor that holds a lock there: another shell's may be
    another one (XDG_RUNTIME_DIR)."""
    if holder(paths) is not None:
        return paths
    runs = [lock.run for lock in read_locks(paths.state) if lock.holder is not None and lock.run]
    return msgspec.structs.replace(paths, run=runs[0]) if runs and any_run else None


# ---------------------------------------------------------------- the reader's side


def read_status(run: Path) -> Status | None:
    """The supervisor's last status, whether it runs or not; None if none can be read."""
    found = _status_or_reason(run)
    return found if isinstance(found, Status) else None


def _status_or_reason(run: Path) -> Status | str:
    try:
        data, _ = read_regular(run / "status.json", LARGEST_STATUS, follow=False)
        return from_json(data, Status)
    except OSError as error:
        return f"can't be read ({error.strerror})"
    except ValueError:
        return "is damaged or of another version of Plancton"


def running(paths: Paths) -> Status | None:
    """The status of the running supervisor; None if none runs, or its status can't be read."""
    status = read_status(paths.run)
    return status if status and status.pid in _held_with(paths) else None


def no_status(paths: Paths, pid: int) -> str:
    """Why there is no status although that supervisor runs, in one sentence."""
    found = _status_or_reason(paths.run)
    reason = found if isinstance(found, str) else "is an earlier supervisor's"
    return f"Plancton runs (pid {pid}), but {paths.run}/status.json {reason}."


def read_left(run: Path) -> dict[str, str]:
    """What the supervisor that ended last could not remove, and why: by a worker's name."""
    try:
        data, _ = read_regular(run / "left.json", LARGEST_STATUS, follow=False)
        return from_json(data, dict[str, str])
    except (OSError, ValueError):
        return {}


class Lock(NamedTuple):
    """What a supervisor has written into its lock: where to find it and, once it has ended, its
    workers. ``holder`` is its pid while it runs; of root's, others learn no more than that."""

    holder: int | None
    socket: str = ""
    workers_slice: str = ""
    run: Path | None = None


def holder(paths: Paths) -> int | None:
    """The pid of the supervisor that runs with these directories."""
    return next(iter(_held_with(paths)), None)


def _held_with(paths: Paths) -> list[int]:
    """An older version's lock does not say where its run directory is."""
    held = [lock for lock in read_locks(paths.state) if lock.run in (None, Path(os.path.realpath(paths.run)))]
    return [lock.holder for lock in held if lock.holder is not None]


def is_locked(state: Path, pid: int) -> bool:
    """Whether that process holds a lock in this state directory."""
    return pid in holders(state)


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
        text = os.read(descriptor, LARGEST_REQUEST).decode(errors="surrogateescape")
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
    others' processes are hidden."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"^Uid:\s+([0-9]{1,10})\s", text, re.MULTILINE)
    return int(found[1]) if found else None


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


def peek_instance(state: Path) -> str:
    try:
        return read_instance(state) or "none"
    except OSError:
        return "none"


def read_instance(state: Path) -> str:
    data, _ = read_regular(state / "instance", LARGEST_REQUEST, follow=False)
    return data.decode(errors="replace").strip()
