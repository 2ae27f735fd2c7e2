"""What `plancton doctor` says: what of this host serves well, could be better, is broken. Pure.

It is made of facts.py's. Broken is what keeps Plancton from donating here, or the owner from being
protected; what only costs something could be better.
"""

import re
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from plancton.commands.check import SOON
from plancton.commands.doctor.facts import (
    OLD_PLANCTON,
    Cgroups,
    Disks,
    Engine,
    Facts,
    Left,
    Process,
    Supervisors,
)
from plancton.config.resolve import Host, never_starts
from plancton.config.schema import Config
from plancton.docker.supported import REMEDY, objection
from plancton.host.slice import Seen
from plancton.model import Tier
from plancton.units import human_bytes, human_seconds

IDLE_CLASS_KERNEL = (5, 15)
IDLE_CLASS_SYSTEMD = 252
OLDEST_API = (1, 41)
"""Of Docker Engine 20.10."""
STALE = 15.0
"""Seconds; a supervisor publishes at least every 5."""
MOST_NAMES = 3


class Level(StrEnum):
    """How good it is; from best to worst."""

    OK = "ok"
    BETTER = "could be better"
    BROKEN = "broken"


EXIT_CODES = {Level.OK: 0, Level.BETTER: 1, Level.BROKEN: 4}


class Finding(msgspec.Struct, frozen=True):
    """One line. ``remedy`` is empty where all is well, and where the text, an error's, holds it."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


class Report(msgspec.Struct, frozen=True):
    """All findings, the worst level of them, and one sentence."""

    worst: Level
    sentence: str
    findings: tuple[Finding, ...]


def diagnose(facts: Facts) -> Report:
    findings = tuple(map(_printable, _findings(facts)))
    counts = {level: sum(each.level is level for each in findings) for level in Level}
    worst = max(Level, key=lambda level: (counts[level] > 0, list(Level).index(level)))
    problems = []
    if counts[Level.BROKEN]:
        problems.append(f"{_things(counts[Level.BROKEN], 'is', 'are')} broken")
    if counts[Level.BETTER]:
        problems.append(f"{_things(counts[Level.BETTER], 'could', 'could')} be better")
    end = ", ".join(problems) or "nothing to mend"
    return Report(worst, f"{_how_it_yields(facts)}; {end}.", findings)


def lines(report: Report) -> Iterator[str]:
    """What is printed: level, subject, text and remedy, then the sentence."""
    for each in report.findings:
        text = f"{each.text}; {each.remedy}" if each.remedy else each.text
        yield f"{each.level:<17} {each.subject:<14} {text}"
    yield report.sentence


def _printable(found: Finding) -> Finding:
    """Some of it comes from Docker and from files: no escape sequence, and nothing that is no text."""

    def clean(text: str) -> str:
        return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).encode(errors="replace").decode()

    return msgspec.structs.replace(found, text=clean(found.text), remedy=clean(found.remedy))


def _things(count: int, one: str, many: str) -> str:
    return f"1 thing {one}" if count == 1 else f"{count} things {many}"


def _how_it_yields(facts: Facts) -> str:
    seen = facts.slice
    if seen is None or not isinstance(facts.engine, Engine):
        return "How this host would yield can't be known yet"
    tier = expected_tier(facts)
    verb = "yields" if seen.exists and seen.tier == tier != "none" else "would yield"
    return f"This host {verb} in tier {tier}"


def expected_tier(facts: Facts) -> Tier:
    """The tier that `plancton run` has here, or would have."""
    seen = facts.slice
    if seen is None or not isinstance(facts.engine, Engine) or objection(facts.engine.info):
        return "none"
    status = facts.supervisors.status
    if status is not None and status.slice:  # else it has not found Docker yet
        return status.tier
    if not seen.writable:
        return "quota" if seen.tier == "none" else seen.tier
    return "kernel" if has_idle_class(facts.kernel, facts.cgroups) else "weight"


def _findings(facts: Facts) -> Iterator[Finding]:
    yield from configuration(facts)
    yield kernel(facts.kernel, facts.cgroups)
    yield cgroups(facts.cgroups)
    yield psi(facts.psi)
    yield engine_state(facts.engine)
    if isinstance(facts.engine, Engine):
        yield systemd(facts.systemd, facts.engine.info.cgroup_driver)
    if facts.slice is not None:
        yield slice_state(facts.slice, facts.supervisors, facts.user)
    yield memory(facts.config, facts.host, facts.memory_available, facts.supervisors)
    yield disk_space(facts.config, facts.host, facts.disk_free)
    yield smt(facts.smt, facts.cpuset, facts.cgroups)
    yield disk_priority(facts.disks)
    yield Finding("network", Level.OK, "bandwidth is not protected, here or on any host: workers share it")
    yield Finding("clock", Level.OK, "needs no time sync: all ages come from the monotonic clock")
    yield from supervisors(facts.supervisors, facts.processes, facts.slice, facts.now)
    if isinstance(facts.engine, Engine):
        yield from left_workers(facts.left, facts.supervisors)


# ---------------------------------------------------------------- our own files


def configuration(facts: Facts) -> Iterator[Finding]:
    config, subject = facts.config, "configuration"
    never = never_starts(config, facts.host) if isinstance(facts.host, Host) else None
    if facts.config_error:
        text = f"{facts.config_error}; the checks below take the defaults"
        yield Finding(subject, Level.BROKEN, text)
    elif never:
        yield Finding(subject, Level.BROKEN, f"no worker can ever start here: {never}")
    elif config.image.name is None:
        text = "no image is configured, so nothing will be started"
        yield Finding(subject, Level.BROKEN, text, "set image.name")
    else:
        yield Finding(subject, Level.OK, f"workers of {config.image.name}")
    if config.htcondor is not None:
        yield token_state(config.htcondor.token_file, facts.token_expires, facts.now)


def token_state(path: str, expires: float | str | None, now: float) -> Finding:
    if isinstance(expires, str):
        return Finding("token", Level.BROKEN, expires)
    if expires is None:
        return Finding("token", Level.OK, f"{path} does not expire")
    text = f"{path} expires in {human_seconds(expires - now)}"
    if expires - now < SOON:
        return Finding("token", Level.BETTER, text, "ask the pool's administrator for a new one")
    return Finding("token", Level.OK, text)


# ---------------------------------------------------------------- the kernel


def has_idle_class(release: str, found: Cgroups) -> bool:
    """By what can be seen of the cgroups, else by the version."""
    if found.idle_class is not None:
        return found.idle_class
    version = re.match(r"(\d+)\.(\d+)", release)
    return version is not None and (int(version[1]), int(version[2])) >= IDLE_CLASS_KERNEL


def kernel(release: str, found: Cgroups) -> Finding:
    if has_idle_class(release, found):
        return Finding("kernel", Level.OK, f"{release}, with an idle class for cgroups")
    text = f"{release} has no idle class for cgroups: workers get the least weight instead"
    return Finding("kernel", Level.BETTER, text, "Linux 5.15 or newer gives every CPU back at once")


def cgroups(found: Cgroups) -> Finding:
    layout = found.layout
    if layout.v2 is None:
        remedy = (
            "boot with systemd.unified_cgroup_hierarchy=1, or mount one"
            " (mount -t cgroup2 none /sys/fs/cgroup/unified)"
        )
        return Finding("cgroups", Level.BROKEN, "no cgroup v2 tree is mounted", remedy)
    if "cpu" not in found.controllers:
        text = "there is no cpu controller, so nothing protects the owner"
        return Finding("cgroups", Level.BROKEN, text, "use a kernel that has one (CONFIG_FAIR_GROUP_SCHED)")
    if "memory" not in found.controllers:
        text = "there is no memory controller, so nothing bounds a worker's memory"
        return Finding("cgroups", Level.BROKEN, text, "boot with cgroup_enable=memory")
    of_v1 = {"cpu", "memory"} & set(layout.v1)
    kind = (
        f"hybrid: v2 at {layout.v2}, v1 for {' and '.join(sorted(of_v1))}" if of_v1 else f"v2 at {layout.v2}"
    )
    return Finding("cgroups", Level.OK, kind)


def psi(readable: bool) -> Finding:
    if readable:
        return Finding("psi", Level.OK, "pressure of CPU and memory is known")
    text = "this kernel tells no pressure (/proc/pressure)"
    return Finding("psi", Level.BETTER, text, "boot with psi=1")


def smt(active: bool | None, cpuset: str, found: Cgroups) -> Finding:
    """``cpuset``: the CPUs that workers keep to by the configuration."""
    subject = "smt"
    if not active:
        text = "no core is shared by two threads" if active is False else "unknown to this kernel"
        return Finding(subject, Level.OK, text)
    whole_cores = "cpu" not in found.layout.v1
    if cpuset and whole_cores:
        text = f"is on; workers keep to CPUs {cpuset}, so the other cores are the owner's alone"
        return Finding(subject, Level.OK, text)
    text = "is on: a worker on a core's other thread slows what the owner has there, and no priority helps"
    remedy = "where that matters, boot with nosmt"
    if whole_cores:
        remedy += ", or set owner.reserve_cpus to all threads of some cores: workers keep off whole cores"
    return Finding(subject, Level.BETTER, text, remedy)


def disk_priority(found: Disks) -> Finding:
    weights = found.iocost or _all(found, "bfq")
    priorities = _all(found, "bfq", "mq-deadline")
    own = found.of_slice
    low_weight = any(_is_low(own.get(name)) for name in ("bfq.weight", "weight"))
    if (low_weight and weights) or (own.get("prio.class") == "idle" and priorities):
        return Finding("disk priority", Level.OK, "the slice's is low, and the disks' schedulers heed it")
    seen = ", ".join(f"{name}: {scheduler}" for name, scheduler in found.schedulers.items()) or "no disk seen"
    why = "the slice has no low priority" if weights or priorities else "no scheduler here heeds weights"
    return Finding(
        "disk priority",
        Level.BETTER,
        f"nothing protects the owner's disk access from the workers': {why} ({seen})",
        "where that matters, keep Docker's data on a disk that the owner does not use",
    )


def _all(found: Disks, *schedulers: str) -> bool:
    return bool(found.schedulers) and set(found.schedulers.values()) <= set(schedulers)


def _is_low(weight: str | None) -> bool:
    number = re.fullmatch(r"(?:default )?(\d+)", (weight or "").partition("\n")[0])
    return number is not None and int(number[1]) < 100


# ---------------------------------------------------------------- Docker and its slice


def engine_state(engine: Engine | str) -> Finding:
    if isinstance(engine, str):
        return Finding("docker", Level.BROKEN, engine)
    info = engine.info
    text = f"{info.server_version}, API {engine.api}, {info.cgroup_driver} driver, {info.driver} storage"
    if problem := objection(info):
        return Finding("docker", Level.BROKEN, problem, REMEDY)
    if tuple(map(int, engine.api.split("."))) < OLDEST_API:
        return Finding("docker", Level.BROKEN, text, "update to Docker Engine 20.10 or newer")
    if info.driver == "vfs":
        text += ", which copies the whole image for each worker"
        return Finding("docker", Level.BETTER, text, "configure overlay2 in Docker (storage-driver)")
    return Finding("docker", Level.OK, text)


def systemd(version: int | None, driver: str) -> Finding:
    subject = "systemd"
    if driver != "systemd":
        has = "does not run here" if version is None else f"{version}"
        return Finding(subject, Level.OK, f"{has}; not needed: Docker does not use it for cgroups")
    if version is None:
        text = "its version can't be known, and Docker uses it for cgroups"
        return Finding(subject, Level.BETTER, text, "look at `systemctl --version`: 252 or newer is needed")
    if version < IDLE_CLASS_SYSTEMD:
        text = f"{version} knows no idle class: it undoes the slice's, which is put back within 5 s"
        return Finding(subject, Level.BETTER, text, "update to systemd 252 or newer")
    return Finding(subject, Level.OK, f"{version}")


def slice_state(seen: Seen, running: Supervisors, user: str = "") -> Finding:
    """``user``: who looks, and would run Plancton; empty: root."""
    subject = "slice"
    by_root = f"`sudo plancton prepare --user {user}`" if user else "run `plancton run` as root"
    by_root += ", and the kernel yields at once"
    by_docker = "so Docker limits the workers one by one, within seconds"
    status = running.status
    if status is not None and status.slice not in ("", seen.path):
        text = f"the supervisor's slice is {status.slice}, the configuration's is {seen.path}"
        return Finding(subject, Level.BETTER, text, "give doctor the supervisor's configuration (--config)")
    if status and (status.tier == "quota" or status.tier_reason in status.problems):
        return Finding(subject, Level.BETTER, f"tier {status.tier}: {status.tier_reason}")
    if not seen.exists and running.pid is not None:
        return Finding(subject, Level.BETTER, f"{seen.path} is gone", "the supervisor makes it within 5 s")
    if not seen.exists:
        if not seen.writable:
            text = f"{seen.path} can't be made by this user, {by_docker}"
            return Finding(subject, Level.BETTER, text, by_root)
        return Finding(subject, Level.OK, f"{seen.path} is not there yet: the first start makes it")
    found = f"{seen.path}: {seen.knob}"
    if running.pid is not None:
        return _of_running(seen, found)
    if not seen.writable and seen.tier == "none":
        text = f"{found}, which this user can't set, {by_docker}"
        return Finding(subject, Level.BETTER, text, by_root)
    if seen.populated and seen.tier == "none":
        remedy = "`plancton run` puts that right, `plancton stop --force` ends the workers"
        text = f"{found} and workers are in it: nothing protects the owner"
        return Finding(subject, Level.BROKEN, text, remedy)
    if seen.lifted or seen.frozen:
        text = f"{found}, and a lift that was cut short left {seen.frozen} workers frozen"
        return Finding(subject, Level.BETTER, text, "`plancton run` undoes it")
    if seen.tier == "none":
        return Finding(subject, Level.OK, f"{found}, but it is empty: the next start puts that right")
    if user and not seen.writable:
        text = f"{found}: tier {seen.tier}, but {user} can't set it, so leavers get no CPU"
        return Finding(subject, Level.BETTER, text, f"`sudo plancton prepare --user {user}`")
    prepared = f", prepared for {user}" if user else ""
    return Finding(subject, Level.OK, f"{found}: tier {seen.tier}{prepared}")


def _of_running(seen: Seen, found: str) -> Finding:
    """The supervisor repairs its slice every 5 s and lifts it for 5 s at the most."""
    if seen.lifted or seen.frozen:
        return Finding("slice", Level.OK, f"{found}, lifted for workers that leave now")
    if seen.tier == "none":
        text = f"{found}: it does not yield now"
        return Finding("slice", Level.BETTER, text, "look again: the supervisor puts that right within 5 s")
    return Finding("slice", Level.OK, f"{found}: tier {seen.tier}")


# ---------------------------------------------------------------- reserves


def memory(config: Config, host: Host | str, available: int | None, running: Supervisors) -> Finding:
    subject = "memory"
    if isinstance(host, str):
        return Finding(subject, Level.BROKEN, f"can't be known: {host}", "mount /proc")
    if available is None:
        text = "what is available is unknown to this kernel, so nothing is started"
        return Finding(subject, Level.BROKEN, text, "use Linux 3.14 or newer")
    reserve = config.owner.reserve_memory.of(host.ram)
    text = f"{human_bytes(available)} of {human_bytes(host.ram)} available, {human_bytes(reserve)} reserved"
    if available < reserve:
        return Finding(
            subject,
            Level.BETTER,
            text,
            "free some, or lower owner.reserve_memory: workers leave until there is enough",
        )
    if available - reserve < config.worker.memory and not (running.status and running.status.workers):
        text += f": too little now for a worker of {config.worker.memory}"
        return Finding(subject, Level.BETTER, text, "wait, or lower worker.memory or owner.reserve_memory")
    return Finding(subject, Level.OK, text)


def disk_space(config: Config, host: Host | str, free: int | None) -> Finding:
    subject = "disk space"
    if free is None or isinstance(host, str):
        return Finding(subject, Level.OK, "not looked at: Docker's data can't be seen from here")
    reserve = config.owner.reserve_disk.of(host.disk)
    text = f"{human_bytes(free)} of {human_bytes(host.disk)} free, {human_bytes(reserve)} reserved"
    if free < reserve:
        remedy = "nothing is started before there is more: free some, or lower owner.reserve_disk"
        return Finding(subject, Level.BROKEN, text, remedy)
    return Finding(subject, Level.OK, text)


# ---------------------------------------------------------------- others, and what is left


def supervisors(
    found: Supervisors, processes: tuple[Process, ...], workers_slice: Seen | None, now: float
) -> Iterator[Finding]:
    subject = "supervisors"
    silent = now - found.status.time if found.status else 0.0
    if found.pid is None:
        yield Finding(subject, Level.OK, "Plancton does not run")
    elif found.status is None:
        text = f"pid {found.pid} runs, but its status can't be read"
        yield Finding(
            subject, Level.BETTER, text, "look again in 5 s; its log says what keeps it from writing"
        )
    elif silent > STALE:
        text = f"pid {found.pid} runs, but has said nothing for {human_seconds(silent)}"
        yield Finding(
            subject, Level.BROKEN, text, f"its log says more; `kill -9 {found.pid}` keeps the workers"
        )
    else:
        yield Finding(subject, Level.OK, f"Plancton runs (pid {found.pid})")
    for pid in found.others:
        text = f"another Plancton (pid {pid}) takes the same idle CPU, and each is a load to the other"
        yield Finding(subject, Level.BETTER, text, "keep one of them")
    ours = {found.status.slice if found.status else "", workers_slice.path if workers_slice else ""}
    for process in processes:
        if process.name == OLD_PLANCTON:
            text = f"Plancton 0.6 runs (pid {process.pid}) and kills our workers as its own"
            yield Finding(subject, Level.BROKEN, text, f"kill {process.pid}")
        elif process.group.partition("/")[0] not in ours - {""}:
            text = f"{process.name} (pid {process.pid}) takes what it thinks is idle CPU, too"
            yield Finding(subject, Level.BETTER, text, "stop it, or leave the host to it")


def left_workers(left: Left | str, running: Supervisors) -> Iterator[Finding]:
    """Containers that no supervisor looks after."""
    subject = "workers"
    if isinstance(left, str):
        yield Finding(subject, Level.BROKEN, f"can't be listed: {left}")
        return
    orphans = left.own if running.pid is None else ()
    if orphans:
        remedy = "`plancton run` adopts them, `plancton stop --force` removes them"
        yield Finding(subject, Level.BETTER, f"no supervisor looks after {_names(orphans)}", remedy)
    for instance, names in left.others.items():
        text = f"{_names(names)}: of another installation (instance {instance})"
        remedy = (
            f"if it runs no more: docker rm -f $(docker ps -aq --filter label=plancton.instance={instance})"
        )
        yield Finding(subject, Level.BETTER, text, remedy)
    if left.old:
        text = f"{_names(left.old)}: left by Plancton 0.6"
        yield Finding(subject, Level.BETTER, text, "`plancton migrate --end-old-workers` removes them")
    if not (orphans or left.others or left.old):
        yield Finding(subject, Level.OK, "none is left over")


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
