"""What the user asks of the running supervisor, and waiting until it has done it."""

import time
from collections.abc import Callable

from plancton.errors import PlanctonError
from plancton.rundir import (
    KEEP_WORKERS,
    Paths,
    RunDirError,
    is_locked,
    paths_in_use,
    request,
    running,
    withdraw,
)

REACTS = 10.0
"""Seconds within which a supervisor that runs takes up a request."""


class NotRunning(PlanctonError):
    """There is nobody to ask."""

    def __init__(self) -> None:
        super().__init__("Plancton is not running; start its service, or `plancton run` where there is none.")


def running_paths() -> Paths:
    """The running supervisor's; NotRunning if none runs."""
    paths = paths_in_use()
    if running(paths) is None:
        raise NotRunning
    return paths


def drain(paths: Paths, stop: bool = False) -> str:
    """Start nothing new, and let the workers finish; ``stop``: end with the last one."""
    if stop:
        _ask(paths, "finish")
        return "Draining: Plancton stops when the last worker has finished."
    request(paths.run, "drain", "finish")
    return "Draining: workers finish, nothing new is started until `plancton resume`."


def wait_until_drained(paths: Paths, stop: bool) -> None:
    """Return when no worker is left, and with ``stop`` no supervisor."""

    def drained() -> bool:
        status = running(paths)
        return status is None or not (status.workers or stop)

    _wait_until(drained, paths)


def resume(paths: Paths) -> str:
    """End draining."""
    return "Donating again." if withdraw(paths.run, "drain") else "Plancton was not draining."


def stop(paths: Paths, keep_workers: bool, force: bool, wait: bool) -> str:
    """End the supervisor; ``force`` removes the workers at once, and waits, too."""
    status = running(paths)
    if status is None:
        raise NotRunning
    _ask(paths, "force-stop" if force else "stop", KEEP_WORKERS if keep_workers else "")
    if wait or force:
        _wait_until(lambda: not is_locked(paths.state, status.pid), paths)
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
        if running(paths) is None:
            return
        if deadline is not None and time.monotonic() > deadline:
            raise RunDirError(f"{paths.run}: the supervisor does not react; its log says more")
        time.sleep(0.2)
