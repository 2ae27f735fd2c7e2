"""Which cgroup is a worker's: the one place that decides it.

A pid that Docker tells may be somebody else's here: it was reused, or Docker runs in a machine or
a pid namespace of its own. So a group counts only if it is below the slice and named after the
container, and nothing else is ever read, frozen, limited or killed as a worker's.
"""

from datetime import datetime
from pathlib import Path, PurePosixPath

import msgspec

from plancton.host.process_cgroup import group_of
from plancton.host.sampler import read_process
from plancton.host.slice import Slice


class Place(msgspec.Struct, frozen=True):
    """Where a worker is. ``group`` is its cgroup in the v2 tree; empty: it is not below the slice.

    ``started`` (CLOCK_BOOTTIME) and ``shim`` are of its first process, as far as that can be seen;
    ``elsewhere`` says in words what was found in place of a group.
    """

    group: str = ""
    started: float | None = None
    shim: int = 0
    elsewhere: str = ""


def find_worker(workers_slice: Slice, container: str, pid: int, proc: Path) -> Place:
    """Where a container is whose first process Docker says is ``pid`` (0 once it has ended)."""
    before = read_process(pid, proc)
    there = group_of(proc, pid)
    after = read_process(pid, proc)
    if before is None or after is None or before.started != after.started:
        elsewhere = f"its process {pid} can't be seen from here"
    elif group := worker_group(there or "", workers_slice.path, container):
        return Place(group, before.started, before.ppid)
    else:
        elsewhere = f"process {pid} here is in /{there or ''}"
    # Its pid is another process's, or hidden. A directory of its own proves as much.
    if container.isalnum():
        for path in workers_slice.directory.glob(f"*{container}*/"):
            return Place(f"{workers_slice.path}/{path.name}")
    return Place(elsewhere=elsewhere)


def worker_group(group: str, workers_slice: str, container: str) -> str:
    """The part of a process's cgroup that is this container's below this slice; empty: it is not
    there. Deeper ones are the container's own: what runs in it may make some."""
    parts = PurePosixPath(group).parts
    if not container.isalnum() or ".." in parts or parts[:1] != (workers_slice,):
        return ""
    for depth, part in enumerate(parts[1:], start=2):
        if container in part:
            return "/".join(parts[:depth])
    return ""


def to_boottime(timestamp: str, wall: float, boottime: float) -> float | None:
    """When that was by CLOCK_BOOTTIME, from what both clocks say now; ``timestamp`` as RFC 3339 has
    it. None: never (Docker writes year 1), or no such time."""
    try:
        then = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    if then.tzinfo is None or then.year < 1970:
        return None
    return max(0.0, min(boottime, boottime - (wall - then.timestamp())))
