"""What the user asks of the running supervisor, and waiting until it has done it."""

import os
import time
from collections.abc import Callable

from plancton.paths import Paths, RunDirError
from plancton.request_files import DRAIN, KEEP_WORKERS, PAUSE, request, withdraw
from plancton.running_supervisors import NotRunning, holder, holders, paths_in_use, read_locks
from plancton.status_reading import no_status, running
from plancton.units import Duration, day_and_time, next_time

REACTS = 10.0
"""Seconds within which a supervisor that runs takes up a request."""
USUAL_PAUSE, LONGEST = 3600.0, 31 * 86_400.0
"""Seconds: a pause ends by itself, or it would be forgotten."""


def running_paths() -> Paths:
    """The running supervisor's; NotRunning if none runs."""
    paths = paths_in_use()
    if holder(paths) is None:
        raise NotRunning
    return paths


def drain(paths: Paths, stop: bool = False, until: float | None = None) -> str:
    """Start nothing new, and let the workers finish; ``stop``: end with the last one; ``until``: a
    Unix time."""
    if stop:
        _ask(paths, "finish")
        return "Draining: Plancton stops when the last worker has finished."
    request(paths.run, DRAIN, "finish" if until is None else f"finish {until:.0f}")
    end = "`plancton resume`" if until is None else day_and_time(until, time.time())
    return f"Draining: workers finish, nothing new is started until {end}."


def pause(paths: Paths, until: float | None = None) -> str:
    """Freeze all workers until then (Unix time; None: for an hour)."""
    now = time.time()
    until = now + USUAL_PAUSE if until is None else until
    _ask(paths, "pause", f"{until:.0f}")
    return f"Paused until {day_and_time(until, now)}: `plancton resume` ends it before."


def end_of(seconds: str | None, clock: str | None) -> float | None:
    """The Unix time that ``--for`` or ``--until`` means; None: neither was given."""
    now = time.time()
    if seconds is not None and clock is not None:
        raise RunDirError("--for and --until both say when it ends: give one of the two")
    try:
        if clock is not None:
            return next_time(clock, now)
        length = None if seconds is None else Duration.parse(seconds)
    except ValueError as error:
        raise RunDirError(f"{'--for' if clock is None else '--until'}: {error}") from None
    if length is not None and not 1 <= length <= LONGEST:
        raise RunDirError("--for: give 1s to 31d; `plancton stop` is for longer")
    return None if length is None else now + length


def wait_until_drained(paths: Paths, stop: bool) -> None:
    """Return when no worker is left, and with ``stop`` no supervisor."""

    def drained() -> bool:
        status, pid = running(paths), holder(paths)
        if status is None and pid is not None and not stop:
            raise RunDirError(f"{no_status(paths, pid)} Whether it has drained can't be seen")
        return pid is None or (status is not None and not (status.workers or stop))

    _wait_until(drained, paths)


def resume(paths: Paths) -> str:
    drained, status = withdraw(paths.run, DRAIN), running(paths)
    paused = os.path.lexists(paths.state / PAUSE)  # what the status says may be old
    if paused or (status and status.pause and status.pause.by == "owner"):
        _ask(paths, "resume")
        paused = True
    return "Donating again." if drained or paused else "Plancton was neither paused nor draining."


def stop(paths: Paths, keep_workers: bool, force: bool, wait: bool) -> str:
    """End the supervisor; ``force`` removes the workers at once, and waits where it can, too."""
    if wait:
        require_to_outlive_it()
    waits = wait or (force and not _is_inside())
    pid = holder(paths)
    place = next((lock for lock in read_locks(paths.state) if lock.holder == pid), None)
    if pid is None or place is None:
        raise NotRunning
    _ask(paths, "force-stop" if force else "stop", KEEP_WORKERS if keep_workers else "")
    if waits:
        _wait_until(lambda: pid not in holders(paths.state), paths)
        if not keep_workers and place.workers_slice:
            from plancton.commands.force_stop import verify_none_left

            return verify_none_left(paths, place)
        return "Stopped."
    return "Stopping, the workers stay." if keep_workers else "Stopping: all workers leave."


BUTTONS: dict[str, Callable[[Paths], str]] = {
    "drain": drain,
    "pause": pause,
    "resume": resume,
    "stop": lambda paths: stop(paths, keep_workers=False, force=False, wait=False),
}
"""What the page's buttons and the keys of `plancton top` ask for."""


def require_to_outlive_it() -> None:
    """In Plancton's own container a command ends with it."""
    if _is_inside():
        raise RunDirError(
            "this command would end with its container: leave out --wait, and say `docker wait` on the host"
        )


def _is_inside() -> bool:
    from plancton.host.own_container import is_inside  # other requests do without the kernel's modules

    return is_inside()


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
