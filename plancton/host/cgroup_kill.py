"""Ends workers' processes without Docker, by cgroup.kill (Linux 5.14): when it hangs, refuses, or is
too slow."""

from plancton.files import read_knob, write_knob
from plancton.host.slice import Slice
from plancton.host.worker_cgroup import worker_group


def kill_worker(workers_slice: Slice, group: str, container: str) -> bool:
    """End a worker's processes without Docker; True when that was done.

    Only below the slice, and only where the last part of the path holds the container's id: a
    reused pid must not lead to a cgroup of the owner's.
    """
    if not group or worker_group(group, workers_slice.path, container) != group:
        return False
    if is_empty(workers_slice, group):
        return False
    try:
        write_knob(workers_slice.tree / group / "cgroup.kill", "1")
    except OSError:
        return kill_all(workers_slice, {container})
    return True


def is_empty(workers_slice: Slice, group: str) -> bool:
    """Whether nothing runs in this cgroup any more, as far as that can be seen."""
    if not group:
        return False
    gone = not (workers_slice.tree / group).exists()
    return gone or "populated 0" in (read_knob(workers_slice.tree / group / "cgroup.events") or "")


def kill_all(workers_slice: Slice, containers: set[str]) -> bool:
    """End these where their own files can't be written; not while anybody else is in the slice."""
    inside = [path.name for path in workers_slice.directory.glob("*/")]
    if workers_slice.privileged or not all(any(each in name for each in containers) for name in inside):
        return False
    try:
        write_knob(workers_slice.directory / "cgroup.kill", "1")
    except OSError:
        return False
    return True
