"""What doctor says of the kernel: how it can yield, and what it tells. Pure."""

import re

from plancton.commands.doctor.facts import Cgroups, Disks
from plancton.commands.doctor.levels import Finding, better, broken, names_of, ok
from plancton.host.topology import Cpus, format_cpus
from plancton.units import quoted

IDLE_CLASS_KERNEL = (5, 15)


def has_idle_class(release: str, found: Cgroups) -> bool:
    """By what the cgroups show, else by the version."""
    if found.idle_class is not None:
        return found.idle_class
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= IDLE_CLASS_KERNEL


def kernel(release: str, found: Cgroups) -> Finding:
    if has_idle_class(release, found):
        return ok("kernel", f"{release}, with an idle class for cgroups")
    text = f"{release} has no idle class for cgroups: workers get the least weight instead"
    return better("kernel", text, "Linux 5.15 or newer gives every CPU back at once")


def scheduler(name: str) -> Finding:
    """``name``: of another one than the kernel's."""
    if not name:
        return ok("scheduler", "is the kernel's own")
    text = f"{name} (sched_ext) need not heed a cgroup's class, so Docker limits the workers, within seconds"
    return better("scheduler", text, "stop it, and the kernel yields at once")


def cgroups(found: Cgroups) -> Finding:
    subject, v2 = "cgroups", found.layout.v2
    if v2 is None:
        remedy = "boot with systemd.unified_cgroup_hierarchy=1, or mount one"
        remedy += " (mount -t cgroup2 none /sys/fs/cgroup/unified)"
        return broken(subject, "no cgroup v2 tree is mounted", remedy)
    if "cpu" not in found.controllers:
        text = "there is no cpu controller, so nothing protects the owner"
        return broken(subject, text, "use a kernel that has one (CONFIG_FAIR_GROUP_SCHED)")
    if "memory" not in found.controllers:
        text = "there is no memory controller, so nothing bounds a worker's memory"
        return broken(subject, text, "boot with cgroup_enable=memory")
    if "cpu" not in found.enabled and (process := found.realtime):
        text = f"no group has the cpu controller, and a realtime process in /{process.group} may be why"
        move = f"echo {process.pid} >{quoted(v2)}/cgroup.procs"
        remedy = f"end {process.name} (pid {process.pid}), or move it to the root group ({move})"
        return better(subject, text, remedy)
    of_v1 = sorted({"cpu", "memory"} & set(found.layout.v1))
    text = f"hybrid: v2 at {v2}, v1 for {' and '.join(of_v1)}" if of_v1 else f"v2 at {v2}"
    if missing := sorted({"cpu", "memory"} - found.enabled):
        text += f"; no group has {' and '.join(missing)} yet: the first start enables that"
    return ok(subject, text)


def psi(readable: bool, tells: tuple[str, ...], wanted: bool) -> Finding:
    """``tells``: the owner's groups whose waiting for CPU is known, if that is ``wanted``."""
    if readable:
        text = "the kernel reports pressure of CPU and memory"
        if wanted and tells:
            text += f"; whether the owner waits for CPU is known by {names_of(tells)}"
        elif wanted:
            text += "; the owner has no cgroup that tells of theirs, so yield.cap: auto does nothing"
        return ok("psi", text)
    return better("psi", "this kernel reports no pressure (/proc/pressure)", "boot with psi=1")


def cpus(found: Cpus, small_only: bool) -> Finding:
    """Which of them count; ``small_only``: by the configuration workers are kept to small cores."""
    subject = "cpus"
    if small_only and found.most is None:
        text = "no cores of this host are smaller than the others, as far as the kernel tells"
        return better(subject, text, "worker.cores: efficiency does nothing: take it out")
    if found.most is not None:
        return ok(subject, f"workers keep to those of the small cores, {found.for_workers}")
    if found.counted is None:
        return ok(subject, f"all {found.number} count, none is isolated")
    which = f"{found.number} count ({format_cpus(found.counted)})"
    return ok(subject, f"{which}; workers keep off the others, which are isolated or outside of the cpuset")


def processes(hidden: bool) -> Finding:
    """``hidden``: others' can't be seen."""
    subject = "processes"
    if not hidden:
        return ok(subject, "those of other users can be seen")
    text = (
        "those of other users are hidden in /proc: what Docker itself uses may count as the owner's, it is"
        " not known which HTCondor workers run a job, and doctor does not see who else takes idle CPU"
    )
    remedy = "mount /proc without hidepid, or with gid= of a group that Plancton's user is in"
    return better(subject, text, remedy)


def smt(active: bool | None, cpuset: str, found: Cgroups) -> Finding:
    """``cpuset``: the CPUs that workers keep to by the configuration."""
    subject = "smt"
    if not active:
        text = "no core is shared by two threads" if active is False else "this kernel does not tell"
        return ok(subject, text)
    whole_cores = "cpu" not in found.layout.v1 or "cpuset" in found.layout.v1
    if cpuset and whole_cores:
        return ok(subject, f"is on; workers keep to CPUs {cpuset}, so the other cores are the owner's alone")
    text = "is on: a worker on a core's other thread slows what the owner has there, and no priority helps"
    remedy = "if that matters, boot with nosmt"
    if whole_cores:
        remedy += ", or set owner.reserve_cpus to all threads of some cores: workers keep off whole cores"
    return better(subject, text, remedy)


def disk_priority(found: Disks) -> Finding:
    weights = found.iocost or _all(found, "bfq")
    priorities = _all(found, "bfq", "mq-deadline")
    own = found.of_slice
    low_weight = any(_is_low(own.get(name)) for name in ("bfq.weight", "weight"))
    if (low_weight and weights) or (own.get("prio.class") == "idle" and priorities):
        return ok("disk priority", "the slice has a low one, and the disks' schedulers respect it")
    seen = ", ".join(f"{name}: {scheduler}" for name, scheduler in found.schedulers.items()) or "no disk seen"
    why = "the slice has no low priority" if weights or priorities else "no scheduler here respects weights"
    text = f"nothing protects the owner's disk access from the workers': {why} ({seen})"
    return better(
        "disk priority", text, "if that matters, keep Docker's data on a disk that the owner does not use"
    )


def _all(found: Disks, *schedulers: str) -> bool:
    return bool(found.schedulers) and set(found.schedulers.values()) <= set(schedulers)


def _is_low(weight: str | None) -> bool:
    number = re.fullmatch(r"(?:default )?(\d+)", (weight or "").partition("\n")[0])
    return number is not None and int(number[1]) < 100
