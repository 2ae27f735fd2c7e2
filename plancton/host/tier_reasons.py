"""Why the slice yields as it does (its tier), and what would make it yield better, in words."""

import errno
import os
import pwd
from pathlib import Path

from plancton.host.cgroup_mounts import PROC, enabled_controllers
from plancton.host.realtime import realtime_outside_root
from plancton.units import quoted

KERNEL_REASON = "the slice is idle class: the kernel gives every CPU to the owner at once"
WEIGHT_REASON = "the slice has the least weight"
NO_IDLE_CLASS = f"this kernel has no idle class for cgroups (Linux 5.15 has): {WEIGHT_REASON}"
NOT_THE_KERNELS = (
    "the scheduler {} (sched_ext) need not heed what the slice is, so the workers' CPU is limited through"
    " Docker, within seconds: stop it to have the kernel yield at once"
)


def not_ours(knob: Path) -> str:
    remedy = f"`sudo plancton prepare --user {quoted(user_name())}` fixes that"
    return f", but {knob} is not ours to change, so leavers get no CPU: {remedy}"


def quota_only(error: OSError, cpu: Path, v2: Path | None, privileged: bool) -> str:
    """Where the slice's files in ``cpu`` could not be written; ``v2`` is the tree, unless v1 has them."""
    remedy = _remedy(error, cpu, v2, privileged)
    return (
        f"{error.filename or cpu} can't be written ({error.strerror}), so the workers' CPU is"
        f" limited through Docker, within seconds: {remedy} to have the kernel yield at once"
    )


def _remedy(error: OSError, cpu: Path, v2: Path | None, privileged: bool) -> str:
    if not privileged:
        return f"`sudo plancton prepare --user {quoted(user_name())}`"
    if error.errno == errno.EROFS:
        directory = cpu.parent
        command = f"mount -o remount,rw {quoted(directory)}"
        return f"mount {directory} so that it can be written ({command})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "run on the host itself: this root may not write its cgroups (a container, a sandbox)"
    if error.errno == errno.ENOENT and v2 and "cpu" not in enabled_controllers(v2):
        return no_cpu_controller(v2)
    return "see whether something else on this host removes or replaces the slice"


def no_cpu_controller(tree: Path, proc: Path = PROC) -> str:
    """What to do where the kernel gives the groups no cpu controller."""
    if found := realtime_outside_root(proc):
        move = f"`echo {found.pid} >{quoted(tree)}/cgroup.procs`"
        return (
            f"end {found.name} (pid {found.pid}), a realtime process in /{found.group} (with one outside the"
            f" root group this kernel has no cpu controller), or {move},"
        )
    return f"enable the cpu controller (echo +cpu >{quoted(tree)}/cgroup.subtree_control)"


def user_name() -> str:
    """Who we are; the number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
