"""Files are the interface: status.json, requests, the drain state, the lock, the instance's id.

| file                                  | what                                                       |
|---------------------------------------|------------------------------------------------------------|
| status.json                           | the state, replaced atomically, readable by all            |
| drain                                 | while it exists, nothing is started                        |
| stop, force-stop, finish              | requests: consumed by the supervisor                       |
| plancton.pid                          | the supervisor's pid, for init scripts; the lock knows it  |
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.files import replace_file, to_json
from plancton.model import Status

REQUESTS = ("stop", "force-stop", "finish")
KEEP_WORKERS = "keep-workers"
"""Content of a stop request that leaves the workers running."""


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
    """The standard paths for this user: root's, or those of them that `plancton prepare` handed
    over to the user, or the user's own. PLANCTON_RUN_DIR and PLANCTON_STATE_DIR move two of
    them."""
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
                os.chown(path, uid, -1, follow_symlinks=False)
        except OSError as error:
            raise RunDirError(f"{directory}: can't be handed over: {error.strerror}") from None


def paths_in_use() -> Paths:
    """The running supervisor's: this user's own, else root's; this user's own if none runs."""
    own = default_paths()
    everybodys = default_paths({}, uid=0)
    return everybodys if running(own) is None and running(everybodys) is not None else own


# ---------------------------------------------------------------- the reader's side


def read_status(run: Path) -> Status | None:
    """The supervisor's last status, whether it runs or not; None if none can be read."""
    try:
        return msgspec.json.decode((run / "status.json").read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def running(paths: Paths) -> Status | None:
    """The status of the running supervisor; None if none runs."""
    status = read_status(paths.run)
    return status if status and is_locked(paths.state, status.pid) else None


def is_locked(state: Path, pid: int) -> bool:
    """Whether that process runs and holds a lock in this state directory (the lock has its pid)."""
    for lock in state.glob("*.lock"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int(lock.read_text().split()[0]) == pid and Path(f"/proc/{pid}").exists() and not _free(lock):
                return True
    return False


def holders(state: Path) -> list[int]:
    """The pids of all supervisors that run with this state directory, whatever they publish."""
    pids = list[int]()
    for lock in sorted(state.glob("*.lock")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if lock.is_file() and not _free(lock):
                pids.append(int(lock.read_text().split()[0]))
    return pids


def last_places(state: Path) -> list[tuple[str, str]]:
    """The sockets and slice names of supervisors that used this state directory and have ended."""
    places = list[tuple[str, str]]()
    for lock in sorted(state.glob("*.lock")):
        with contextlib.suppress(OSError, ValueError):
            _, socket, workers_slice = lock.read_text().splitlines()[:3]
            if _free(lock):
                places.append((socket, workers_slice))
    return places


def _free(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def request(run: Path, name: str, content: str = "") -> None:
    """Leave a request (or the drain state) for the supervisor."""
    with _told(run / name), (run / name).open("w") as file:
        file.write(content)


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
        raise RunDirError(
            f"{path}: {error.strerror}; run this as the user that runs Plancton (root, or with sudo)"
        ) from None


# ---------------------------------------------------------------- the supervisor's side


class RunDir:
    """The supervisor's own directory; created with mode 0755 if it is missing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise RunDirError(_not_writable(path, error, "PLANCTON_RUN_DIR")) from None

    def begin(self) -> None:
        """Drop requests to an earlier supervisor, and write down this process's pid."""
        for name in REQUESTS:
            (self.path / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk is no reason not to run
            replace_file(self.path / "plancton.pid", f"{os.getpid()}\n".encode(), 0o644)

    def take_request(self, name: str) -> str | None:
        """Take a request: its content, or None if there is none."""
        path = self.path / name
        try:
            content = path.read_text(errors="replace").strip()
            path.unlink()
        except OSError:
            return None
        return content

    def drain(self) -> str | None:
        """Content of the drain file (`finish`: workers are asked to finish); None if there is
        none."""
        try:
            return (self.path / "drain").read_text(errors="replace").strip()
        except OSError:
            return None

    def publish(self, status: Status) -> None:
        """Replace status.json; raises OSError, for example on a full disk."""
        replace_file(self.path / "status.json", to_json(status), 0o644)

    def retract(self) -> None:
        for name in ("status.json", "plancton.pid"):
            with contextlib.suppress(OSError):
                (self.path / name).unlink(missing_ok=True)


def take_lock(state: Path, socket: str, instance: str, workers_slice: str = "") -> int:
    """Keep out a second supervisor on this socket and instance while the returned descriptor is
    open.

    The lock is next to the instance's id, where anyone who knows the id looks. It holds our pid,
    the socket and the slice's name, one per line: that is where to find our workers after we have
    ended.
    """
    name = hashlib.sha256(f"{os.path.realpath(socket)} {instance}".encode()).hexdigest()[:12]
    try:
        descriptor = os.open(state / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunDirError(_not_writable(state, error, "PLANCTON_STATE_DIR")) from None
    if not _locked(descriptor):
        other = os.read(descriptor, 32).decode(errors="replace").partition("\n")[0] or "unknown"
        os.close(descriptor)
        raise AlreadyRunning(
            f"Plancton already runs here (pid {other}); see `plancton status`, or end it with `plancton stop`"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n{socket}\n{workers_slice}\n".encode(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    """Try for a moment: another process's `is_locked` holds the lock briefly, too."""
    deadline = time.monotonic() + 0.2
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)


def _not_writable(path: Path, error: OSError, variable: str) -> str:
    return f"{path}: can't be written: {error.strerror}; run as root or set {variable}"


def peek_instance(state: Path) -> str:
    """The id, or "none" if there is none; writes nothing."""
    try:
        return (state / "instance").read_text(errors="replace").strip() or "none"
    except OSError:
        return "none"


def instance_id(state: Path) -> str:
    """This installation's random id, created at first use."""
    path = state / "instance"
    try:
        found = path.read_text(errors="replace").strip()
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
        replace_file(path, secrets.token_hex(6).encode(), 0o644)
    except OSError as error:
        raise RunDirError(_not_writable(state, error, "PLANCTON_STATE_DIR")) from None
    return path.read_text().strip()
