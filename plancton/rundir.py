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
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.errors import PlanctonError
from plancton.files import Unsuitable, from_json, read_regular, replace_file, to_json
from plancton.model import Status

log = logging.getLogger(__name__)

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


class AlreadyRunning(PlanctonError):
    """Another supervisor holds the lock, in one line."""


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
        pids, _ = _lockers(file)
        return Lock(pids[0]) if pids else None
    except OSError:
        return None
    try:
        held = not _take(descriptor, fcntl.LOCK_SH)
        text = os.read(descriptor, LARGEST_REQUEST).decode(errors="surrogateescape")
    except OSError:
        return None
    finally:
        os.close(descriptor)
    pid, socket, workers_slice, run = [*text.splitlines(), "", "", "", ""][:4]
    if not (pid.isascii() and pid.isdecimal()):
        return None
    return Lock(int(pid) if held else None, socket, workers_slice, Path(run) if run else None)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lockers(file: Path) -> tuple[list[int], list[int]]:
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


# ---------------------------------------------------------------- the supervisor's side


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
            raise RunDirError(_not_writable(path, error, "PLANCTON_RUN_DIR")) from None

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
        data, _ = read_regular(self.path / name, LARGEST_REQUEST, follow=False)
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


def take_lock(state: Path, socket: str, instance: str, workers_slice: str = "", run: Path = Path("/")) -> int:
    """Keep out a second supervisor on this socket and instance while the returned descriptor is open.

    The lock is next to the instance's id, where anyone who knows the id looks. It holds our pid,
    the socket, the slice's name and the run directory, one per line: that is where to find us and,
    after we have ended, our workers. It stays held while this process executes itself again.
    """
    name = hashlib.sha256(f"{os.path.realpath(socket)} {instance}".encode()).hexdigest()[:12]
    file = state / f"{name}.lock"
    try:
        descriptor = _inherited(file) or _open_lock(file)
        while not _locked(descriptor, file):
            os.close(descriptor)
            descriptor = _open_lock(file)
        os.set_inheritable(descriptor, True)  # by execv(3); programs that we start get no descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(
            descriptor, os.fsencode(f"{os.getpid()}\n{socket}\n{workers_slice}\n{os.path.realpath(run)}\n"), 0
        )
    except OSError as error:
        raise RunDirError(_not_writable(state, error, "PLANCTON_STATE_DIR")) from None
    return descriptor


def _inherited(file: Path) -> int | None:
    """The descriptor that holds this lock since before the process executed itself again. One of
    another lock, of the configuration before, is closed."""
    found = None
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = Path(os.readlink(f"/proc/self/fd/{name}"))
            ours = target.suffix == ".lock" and target.parent == Path(os.path.realpath(file.parent))
            if not ours or not os.get_inheritable(int(name)):
                continue
            if target.name == file.name and os.path.samestat(os.fstat(int(name)), file.lstat()):
                found = int(name)
            else:
                os.close(int(name))
    return found


def _open_lock(file: Path) -> int:
    if file.is_symlink():  # not by us, and root must not follow it
        file.unlink()
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)  # an earlier version's was open to all
    return descriptor


def _locked(descriptor: int, file: Path) -> bool:
    """Try for a moment, as another process's `read_locks` holds the lock briefly, too. False: the
    file is to be opened again, because it is another one now."""
    deadline = time.monotonic() + 0.2
    while not _take(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            _require_strangers(descriptor, file)
            file.unlink()
            return False
        time.sleep(0.01)
    try:
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    except FileNotFoundError:
        return False


def _require_strangers(descriptor: int, file: Path) -> None:
    """A lock that strangers hold is none: they opened the file when it was open to all."""
    trusted, strangers = _lockers(file)
    if strangers and not trusted:
        log.warning("%s was held by a stranger, pid %d: replaced", file, strangers[0])
        return
    other = os.pread(descriptor, 32, 0).decode(errors="replace").partition("\n")[0] or "unknown"
    os.close(descriptor)
    raise AlreadyRunning(
        f"Plancton already runs here (pid {other}); see `plancton status`, or end it with `plancton stop`"
    )


def _not_writable(path: Path, error: OSError, variable: str) -> str:
    remedy = "run as root" if os.geteuid() else "make it writable"
    return f"{path}: can't be written: {error.strerror}; {remedy} or set {variable}"


def peek_instance(state: Path) -> str:
    try:
        return _read_instance(state) or "none"
    except OSError:
        return "none"


def instance_id(state: Path) -> str:
    """This installation's random id, created at first use."""
    path = state / "instance"
    try:
        found = _read_instance(state)
        if found and re.fullmatch(r"[\w.-]{1,64}", found, re.ASCII) is None:
            raise RunDirError(
                f"{path}: does not hold an instance id: restore it, or delete the file to get a new one"
            )
        if found:
            return found
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunDirError(f"{path}: {error.strerror}; it holds this installation's id") from None
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, os.urandom(6).hex().encode(), 0o644)
    except OSError as error:
        raise RunDirError(_not_writable(state, error, "PLANCTON_STATE_DIR")) from None
    return _read_instance(state)


def _read_instance(state: Path) -> str:
    data, _ = read_regular(state / "instance", LARGEST_REQUEST, follow=False)
    return data.decode(errors="replace").strip()
