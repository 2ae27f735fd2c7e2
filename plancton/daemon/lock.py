"""What keeps out a second supervisor on one socket; running_supervisors.py tells who has it."""

import contextlib
import fcntl
import hashlib
import logging
import os
import time
from pathlib import Path

from plancton.errors import PlanctonError
from plancton.paths import RunDirError, not_writable
from plancton.running_supervisors import lockers, try_flock

log = logging.getLogger(__name__)


class AlreadyRunning(PlanctonError):
    """Another supervisor holds the lock, in one line."""


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
        lines = f"{os.getpid()}\n{socket}\n{workers_slice}\n{os.path.realpath(run)}\n"
        os.pwrite(descriptor, os.fsencode(lines), 0)
    except OSError as error:
        raise RunDirError(not_writable(state, error, "PLANCTON_STATE_DIR")) from None
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
    while not try_flock(descriptor, fcntl.LOCK_EX):
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
    trusted, strangers = lockers(file)
    if strangers and not trusted:
        log.warning("%s was held by a stranger, pid %d: replaced", file, strangers[0])
        return
    other = os.pread(descriptor, 32, 0).decode(errors="replace").partition("\n")[0] or "unknown"
    os.close(descriptor)
    raise AlreadyRunning(
        f"Plancton already runs here (pid {other}); see `plancton status`, or end it with `plancton stop`"
    )
