"""What others read of a supervisor: its status.json, and what it could not remove (left.json)."""

from pathlib import Path

from plancton.files import from_json, read_regular
from plancton.model import Status
from plancton.paths import Paths
from plancton.running_supervisors import holders_with

STALE = 40.0
"""Seconds after which a status that is not replaced says that the supervisor hangs: its ticks are up
to 15 s apart."""
LARGEST_STATUS = 16 << 20


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
    return status if status and status.pid in holders_with(paths) else None


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
