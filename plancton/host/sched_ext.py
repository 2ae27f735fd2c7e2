"""Whether a scheduler of somebody's own schedules this host's processes instead of the kernel's.

See Documentation/scheduler/sched-ext.rst (Linux 6.12). Such a scheduler need not heed a cgroup's
class or weight (ops.cgroup_set_weight may be missing), nor its CPU limit, which kernel/sched/fair.c
keeps for its own class only.
"""

from pathlib import Path

from plancton.files import read_knob
from plancton.units import printable

SYS = Path("/sys")
ALL = "1"
NAMELESS = "of sched_ext"


def other_scheduler(sys: Path = SYS) -> str:
    """Its name, while it has all processes; empty: the kernel's own schedules, or those that did
    not ask for the other one."""
    directory = sys / "kernel/sched_ext"
    if read_knob(directory / "state") not in ("enabled", "enabling"):
        return ""
    if (read_knob(directory / "switch_all") or ALL) != ALL:
        return ""
    return printable((read_knob(directory / "root/ops") or NAMELESS)[:64])
