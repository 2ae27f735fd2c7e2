"""Realtime processes outside the root cgroup: while there is one, a kernel with
CONFIG_RT_GROUP_SCHED gives no group the cpu controller (Documentation/admin-guide/cgroup-v2.rst,
"CPU": all must be in the root cgroup; it answers EINVAL)."""

import os
from pathlib import Path

import msgspec

from plancton.files import read_knob
from plancton.host.process_cgroup import group_of

POLICIES = frozenset({os.SCHED_FIFO, os.SCHED_RR})


class Realtime(msgspec.Struct, frozen=True):
    pid: int
    name: str
    group: str


def realtime_outside_root(proc: Path) -> Realtime | None:
    """The first of them; None where none is seen."""
    for entry in sorted(proc.glob("[0-9]*")):
        pid = int(entry.name) if entry.name.isdigit() else 0
        if pid and (group := group_of(proc, pid)) and _is_realtime(entry):
            return Realtime(pid, read_knob(entry / "comm") or "a process", group)
    return None


def _is_realtime(process: Path) -> bool:
    for thread in process.glob("task/[0-9]*"):
        try:
            if os.sched_getscheduler(int(thread.name)) & ~os.SCHED_RESET_ON_FORK in POLICIES:
                return True
        except OSError:  # it has ended meanwhile
            continue
    return False
