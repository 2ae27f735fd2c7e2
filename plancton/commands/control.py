"""What the user asks of the running supervisor, and waiting until it has done it."""

import time
from collections.abc import Callable

from plancton.errors import PlanctonError
from plancton.rundir import (
    DRAIN,
    KEEP_WORKERS,
    Paths,
    RunDirError,
    holder,
    is_locked,
    no_status,
    paths_in_use,
    read_locks,
    request,
    running,
    withdraw,
)

REACTS = 10.0
"""Seconds within which a supervisor that runs takes up a request."""


class NotRunning(PlanctonError):
    """There is nobody to ask."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__("Plancton is not running; start its service, or `plancton run` where there is none.")


def running_paths() -> Paths:
    """The running supervisor's; NotRunning if none runs."""
    paths = paths_in_use()
    if holder(paths) is None:
        raise NotRunning
    return paths


def drain(paths: Paths, stop: bool = False) -> str:
    """Start nothing new, and let the workers finish; ``stop``: end with the last one."""
    if stop:
        _ask(paths, "finish")
        return "Draining: Plancton stops when the last worker has finished."
    request(paths.run, DRAIN, "finish")
    return "Draining: workers finish, nothing new is started until `plancton resume`."


def wait_until_drained(paths: Paths, stop: bool) -> None:
    """Return when no worker is left, and with ``stop`` no supervisor."""

    def drained() -> bool:
        status, pid = running(paths), holder(paths)
        if status is None and pid is not None and not stop:
            raise RunDirError(f"{no_status(paths, pid)} Whether it has drained can't be seen")
        return pid is None or (status is not None and not (status.workers or stop))

    _wait_until(drained, paths)


def resume(paths: Paths) -> str:
    """End draining."""
    return "Donating again." if withdraw(paths.run, DRAIN) else "Plancton was not draining."


def stop(paths: Paths, keep_workers: bool, force: bool, wait: bool) -> str:
    """End the supervisor; ``force`` removes the workers at once, and waits, too."""
    pid = holder(paths)
    place = next((lock for lock in read_locks(paths.state) if lock.holder == pid), None)
    if pid is None or place is None:
        raise NotRunning
    _ask(paths, "force-stop" if force else "stop", KEEP_WORKERS if keep_workers else "")
    if wait or force:
        _wait_until(lambda: not is_locked(paths.state, pid), paths)
        if not keep_workers and place.workers_slice:
            from plancton.commands.force_stop import verify_none_left

            return verify_none_left(paths, place)
        return "Stopped."
    return "Stopping, the workers stay." if keep_workers else "Stopping: all workers leave."


def _ask(paths: Paths, name: str, content: str = "") -> None:
    """Leave a request, and see it taken up."""
    request(paths.run, name, content)
    _wait_until(lambda: not (paths.run / name).exists(), paths, REACTS)


def _wait_until(holds: Callable[[], bool], paths: Paths, seconds: float | None = None) -> None:
    """Look a few times a second; a supervisor that ends meanwhile ends the wait."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not holds():
        if holder(paths) is None:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise RunDirError(f"{paths.run}: the supervisor does not react; its log says more")
        time.sleep(0.2)
