"""What `plancton doctor` says of the facts: what is ok, could be better, or is broken. Pure.

Broken is what keeps Plancton from donating here, or the owner from being protected; what merely
costs something could be better.
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
from plancton.commands.owner_report import OwnerReport
from plancton.config.owner_rules import Rules
from plancton.config.resolve import Host, never_starts
from plancton.config.schema import Config, Worker, WorkersNetwork
from plancton.docker.escapes import Ways, find_ways
from plancton.docker.replies import Info
from plancton.docker.supported import REMEDY, objection
from plancton.host.signals.catalog import show_value, written
from plancton.host.slice import Seen
from plancton.host.topology import Cpus, format_cpus
from plancton.host.traffic import Rates
from plancton.model import Status, Tier
from plancton.rundir import STALE
from plancton.units import Rate, human_bytes, human_seconds, printable, quoted
from plancton.workers.container import INSTANCE
from plancton.workers.disks import Disk, not_kept
from plancton.workers.network_rules import NetworkSeen
from plancton.workers.refusals import refusal_of
from plancton.workers.same_host import Here, doubts, elsewhere
from plancton.workers.surroundings import MAPS_USERS
from plancton.workers.users import user_of

IDLE_CLASS_KERNEL = (5, 15)
IDLE_CLASS_SYSTEMD = 252
OLDEST_API = (1, 41)
"""Of Docker Engine 20.10."""
MOST_NAMES = 3
UNKNOWN = Here()


class Level(StrEnum):
    """From best to worst."""

    OK = "ok"
    BETTER = "could be better"
    BROKEN = "broken"


EXIT_CODES = {Level.OK: 0, Level.BETTER: 1, Level.BROKEN: 4}


class Finding(msgspec.Struct, frozen=True):
    """One line. ``remedy`` is empty where all is well, or where the text, an error's, has it."""

    subject: str
    level: Level
    text: str
    remedy: str = ""


class Report(msgspec.Struct, frozen=True):
    worst: Level
    sentence: str
    findings: tuple[Finding, ...]


def ok(subject: str, text: str) -> Finding:
    return Finding(subject, Level.OK, printable(text))


def better(subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(subject, Level.BETTER, printable(text), printable(remedy))


def broken(subject: str, text: str, remedy: str = "") -> Finding:
    return Finding(subject, Level.BROKEN, printable(text), printable(remedy))


def diagnose(facts: Facts) -> Report:
    findings = tuple(_findings(facts))
    levels = [each.level for each in findings]
    problems = []
    if count := levels.count(Level.BROKEN):
        problems.append(f"{count} thing{' is' if count == 1 else 's are'} broken")
    if count := levels.count(Level.BETTER):
        problems.append(f"{count} thing{'' if count == 1 else 's'} could be better")
    worst = max(levels, key=list(Level).index)
    return Report(worst, f"{_how_it_yields(facts)}; {', '.join(problems) or 'nothing to fix'}.", findings)


def lines(report: Report) -> Iterator[str]:
    """What is printed: level, subject, text and remedy, then the sentence."""
    for each in report.findings:
        text = f"{each.text}; {each.remedy}" if each.remedy else each.text
        yield f"{each.level:<17} {each.subject:<14} {text}"
    yield report.sentence


def _how_it_yields(facts: Facts) -> str:
    seen = facts.slice
    if seen is None or not isinstance(facts.engine, Engine):
        return "How this host would yield is not known yet"
    tier = expected_tier(facts)
    verb = "yields" if seen.exists and seen.tier == tier != "none" else "would yield"
    return f"This host {verb} in tier {tier}"


def expected_tier(facts: Facts) -> Tier:
    """The tier that `plancton run` has here, or would have."""
    seen = facts.slice
    if seen is None or not isinstance(facts.engine, Engine):
        return "none"
    status = facts.supervisors.status
    info = facts.engine.info
    if objection(info) or elsewhere(info, facts.here) or (status is not None and status.unprotected):
        return "none"
    if status is not None and status.slice:  # else it has not found Docker yet
        return status.tier
    asked = facts.config.docker.tier
    if asked == "quota" or facts.scheduler:
        return "quota"
    if not seen.writable:
        return "quota" if seen.tier == "none" else seen.tier
    return "kernel" if asked == "kernel" and has_idle_class(facts.kernel, facts.cgroups) else "weight"


def _findings(facts: Facts) -> Iterator[Finding]:
    yield from configuration(facts)
    yield kernel(facts.kernel, facts.cgroups)
    yield scheduler(facts.scheduler)
    yield cgroups(facts.cgroups)
    yield psi(facts.psi, facts.tells, facts.config.yielding.cap == "auto")
    yield processes(facts.hidden)
    yield engine_state(facts.engine, facts.here)
    if isinstance(facts.engine, Engine):
        yield known_escapes(find_ways(facts.engine.version, facts.engine.info))
        yield workers_users(facts.config.worker, facts.engine.info, facts.shared_users)
        yield systemd(facts.systemd, facts.engine.info.cgroup_driver)
    if facts.slice is not None:
        yield slice_state(facts.slice, facts.supervisors, facts.user, facts.config.docker.tier)
    yield memory(facts.config, facts.host, facts.memory_available, facts.supervisors, facts.arc)
    yield disk_space(facts.config, facts.disk, facts.unseen_disks)
    yield cpus(facts.cpus, facts.config.worker.cores == "efficiency")
    yield smt(facts.smt, facts.cpus.for_workers, facts.cgroups)
    yield disk_priority(facts.disks)
    yield network_state(
        facts.network, facts.config.worker.network, facts.rules, facts.supervisors.pid is not None
    )
    yield page_cache(facts.config, facts.cgroups)
    signals = facts.owner.signals
    yield heat_state(facts.config, signals.get("temperature"))
    yield battery_state(facts.config, signals.get("battery"), signals.get("on_battery"))
    yield noise(facts.config)
    yield from signals_and_rules(facts.owner)
    yield ok("clock", "needs no time sync: ages and deadlines come from the monotonic clock")
    yield from supervisors(facts.supervisors, facts.processes, facts.slice, facts.now)
    if isinstance(facts.engine, Engine):
        yield from left_workers(facts.left, facts.supervisors)


# ---------------------------------------------------------------- our own files


def configuration(facts: Facts) -> Iterator[Finding]:
    config, subject = facts.config, "configuration"
    never = never_starts(config, facts.host) if isinstance(facts.host, Host) else None
    if facts.config_error:
        yield broken(subject, f"{facts.config_error}; the checks below use the defaults")
    elif refused := refusal_of(config, facts.engine.info) if isinstance(facts.engine, Engine) else "":
        yield broken(subject, f"no worker can start here: {refused}")
    elif never:
        yield broken(subject, f"no worker can ever start here: {never}")
    elif facts.missing_mounts:
        yield broken(subject, facts.missing_mounts)
    elif config.image.name is None:
        yield broken(subject, "no image is configured, so nothing will be started", "set image.name")
    else:
        yield ok(subject, f"workers of {config.image.name}")
    if config.htcondor is not None:
        yield token_state(config.htcondor.token_file, facts.token_expires, facts.now)


def token_state(path: str, expires: float | str | None, now: float) -> Finding:
    if isinstance(expires, str):
        return broken("token", expires)
    if expires is None:
        return ok("token", f"{path} does not expire")
    text = f"{path} expires in {human_seconds(expires - now)}"
    if expires - now < SOON:
        return better("token", text, "ask the pool's administrator for a new one")
    return ok("token", text)


# ---------------------------------------------------------------- the kernel


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
    if "cpu" not in found.enabled and found.realtime:
        process = f"{found.realtime.name} (pid {found.realtime.pid})"
        text = (
            f"no group has the cpu controller, and a realtime process in /{found.realtime.group} may be why"
        )
        move = f"echo {found.realtime.pid} >{quoted(v2)}/cgroup.procs"
        remedy = f"end {process}, or move it to the root group ({move})"
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
            text += f"; whether the owner waits for CPU is known by {_names(tells)}"
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


# ---------------------------------------------------------------- Docker and its slice


def engine_state(engine: Engine | str, here: Here = UNKNOWN) -> Finding:
    subject = "docker"
    if isinstance(engine, str):
        return broken(subject, engine)
    info = engine.info
    text = f"{info.server_version}, API {engine.api}, {info.cgroup_driver} driver, {info.driver} storage"
    if problem := objection(info) or elsewhere(info, here):
        return broken(subject, problem, REMEDY)
    if doubtful := doubts(info, here):
        return better(subject, "; ".join(doubtful), REMEDY)
    if tuple(map(int, engine.api.split("."))) < OLDEST_API:
        return broken(subject, text, "update to Docker Engine 20.10 or newer")
    if info.driver == "vfs":
        text += ", which copies the whole image for each worker"
        return better(subject, text, "configure overlay2 in Docker (storage-driver)")
    return ok(subject, text)


def known_escapes(found: list[Ways]) -> Finding:
    """Ways out of a container that the versions here are known to have."""
    subject = "escapes"
    if problems := [each.problem for each in found if each.problem]:
        return better(subject, "; ".join(problems))
    if doubtful := [each.doubt for each in found if each.doubt]:
        return ok(subject, f"{'; '.join(doubtful)}: keep its security updates installed")
    names = ", ".join(each.name for each in found)
    return ok(subject, f"none is known of {names}" if names else "this Docker does not tell its parts")


def workers_users(worker: Worker, info: Info, shared: str) -> Finding:
    """What a worker's user is on this host, with Docker's userns-remap or without."""
    subject = "users"
    if shared:
        return better(subject, shared)
    user = user_of(worker)
    if any(option.startswith(MAPS_USERS) for option in info.security_options):
        text = "userns-remap is on: no container's root is the host's, and all workers are one user"
        return ok(subject, f"{text}, who share what the kernel gives to each user (inotify, pipes, signals)")
    if worker.privileged:
        text = "workers are privileged, so a job may become root of this host"
        return better(subject, text, "name what is needed in worker.capabilities, without worker.privileged")
    uid = user.partition(":")[0]
    if not uid.isdecimal() or not uid.strip("0"):
        text = f"userns-remap is off, and workers are {user}, who is or may be root of this host as well"
        return better(subject, text, "set worker.user to another number, or userns-remap in daemon.json")
    text = "userns-remap is off: a worker's user is the host's of the same number"
    return ok(subject, f"{text} ({worker.user or f'65534, or one of {worker.user_range}'}), never root")


def systemd(version: int | None, driver: str) -> Finding:
    subject = "systemd"
    if driver != "systemd":
        has = "does not run here" if version is None else f"{version}"
        return ok(subject, f"{has}; not needed: Docker does not use it for cgroups")
    if version is None:
        text = "its version is unknown, and Docker uses it for cgroups"
        return better(subject, text, "check `systemctl --version`: 252 or newer is needed")
    if version < IDLE_CLASS_SYSTEMD:
        text = f"{version} has no idle class: it undoes the slice's, which is restored within seconds"
        return better(subject, text, "update to systemd 252 or newer")
    return ok(subject, f"{version}")


def slice_state(seen: Seen, running: Supervisors, user: str = "", asked: Tier = "kernel") -> Finding:
    """``user``: who runs doctor, and would run Plancton; empty: root. ``asked``: docker.tier."""
    subject, status = "slice", running.status
    by_docker = "so Docker limits the workers one by one, within seconds"
    prepare = f"`sudo plancton prepare --user {quoted(user)}`"
    by_root = f"{prepare if user else 'run `plancton run` as root'}, and the kernel yields at once"
    if status is not None and status.slice not in ("", seen.path):
        text = f"the supervisor's slice is {status.slice}, the configuration's is {seen.path}"
        return better(subject, text, "give doctor the supervisor's configuration (--config)")
    if status is not None and status.unprotected:
        return broken(subject, status.unprotected)
    if status and (status.tier == "quota" or status.tier_reason in status.problems):
        return better(subject, f"tier {status.tier}: {status.tier_reason}")
    if asked == "quota":
        text = "tier quota, and docker.tier asks for no more: Docker limits the workers, within seconds"
        return better(subject, text, "set docker.tier to kernel, and the kernel yields at once")
    if not seen.exists and running.pid is not None:
        return better(subject, f"{seen.path} is gone", "the supervisor makes it again within seconds")
    if not seen.exists and seen.writable:
        return ok(subject, f"{seen.path} is not there yet: the first start makes it")
    if not seen.exists:
        return better(subject, f"{seen.path} can't be made by this user, {by_docker}", by_root)
    within = f", within your own limits ({seen.limits})" if seen.limits else ""
    found = f"{seen.path}{within}: {seen.knob}"
    if running.pid is not None:
        return _of_running(seen, found, status)
    if not seen.writable and seen.tier == "none":
        return better(subject, f"{found}, which this user can't set, {by_docker}", by_root)
    if seen.populated and seen.tier == "none":
        remedy = "`plancton run` fixes that, `plancton stop --force` ends the workers"
        return broken(subject, f"{found} and workers are in it: nothing protects the owner", remedy)
    if seen.lifted or seen.frozen:
        text = f"{found}, and a supervisor that was killed left {seen.frozen} workers frozen"
        return better(subject, text, "`plancton run` undoes it")
    if seen.tier == "none":
        return ok(subject, f"{found}, but it is empty: the next start fixes that")
    if user and not seen.writable:
        text = f"{found}: tier {seen.tier}, but {user} can't set it, so workers that leave get no extra CPU"
        return better(subject, text, prepare)
    return ok(subject, f"{found}: tier {seen.tier}" + (f", prepared for {user}" if user else ""))


def _of_running(seen: Seen, found: str, status: Status | None) -> Finding:
    """The supervisor repairs its slice at each calm tick, and lifts it for at most 5 s."""
    if seen.frozen and status is not None and status.pause:
        return ok("slice", f"{found}, its workers are frozen: {status.pause.reason}")
    if seen.lifted or seen.frozen:
        return ok("slice", f"{found}, now in favour of workers that must go")
    if seen.tier == "none":
        text = f"{found}: it does not yield now"
        return better("slice", text, "run doctor again: the supervisor fixes that within seconds")
    return ok("slice", f"{found}: tier {seen.tier}")


# ---------------------------------------------------------------- reserves


def network_state(problem: str, wanted: WorkersNetwork, seen: NetworkSeen, runs: bool) -> Finding:
    """``runs``: a supervisor does, whose rules should be there."""
    subject, rates = "network", Rates(wanted.rate_down, wanted.rate_up)
    if problem:
        return broken(subject, problem)
    if wanted.host:
        text = "workers have the host's own network: nothing of it is closed to them, and no rate holds"
        return better(subject, text, "take worker.network.host out if you don't know why")
    closed = "this host's own services and its cloud's metadata"
    closed += " and private networks" if wanted.reach == "internet" else ""
    by_root = "as root, `plancton prepare` and `plancton run` see to it"
    if seen.problem:
        return better(subject, f"workers reach {closed}: {seen.problem}")
    if seen.holds is False and (runs or seen.there):
        text = f"the rules that close {closed} to workers are not in force, or are others"
        return better(subject, text, by_root)
    if seen.there and seen.rates != rates:
        text = f"all workers together may {_rates(seen.rates)}, and by the configuration {_rates(rates)}"
        return better(subject, text, by_root)
    speed = f"all workers together may {_rates(rates)}"
    if seen.holds is None:
        return ok(subject, f"{speed}; only root sees whether {closed} are closed (sudo plancton doctor)")
    if not seen.holds:
        return ok(subject, f"the first start closes {closed} to workers; {speed}")
    return ok(subject, f"{closed} are closed to workers; {speed}")


def _rates(rates: Rates) -> str:
    limits = ["without limit" if each is None else f"{Rate(each)}/s" for each in rates]
    return f"receive {limits[0]} and send {limits[1]}"


def memory(
    config: Config, host: Host | str, available: int | None, running: Supervisors, arc: int = 0
) -> Finding:
    """``arc``: bytes of ``available`` that are in ZFS's cache."""
    subject = "memory"
    if isinstance(host, str):
        return broken(subject, f"can't be read: {host}", "mount /proc")
    if available is None:
        text = "this kernel does not tell how much is available, so nothing is started"
        return broken(subject, text, "use Linux 3.14 or newer")
    reserve = config.owner.reserve_memory.of(host.ram)
    text = f"{human_bytes(available)} of {human_bytes(host.ram)} available, {human_bytes(reserve)} reserved"
    if arc:
        text += f" (ZFS's cache gives back {human_bytes(arc)} of it)"
    if available < reserve:
        remedy = "free some, or lower owner.reserve_memory: workers leave until there is enough"
        return better(subject, text, remedy)
    if available - reserve < config.worker.memory and not (running.status and running.status.workers):
        text += f": too little now for a worker of {config.worker.memory}"
        return better(subject, text, "wait, or lower worker.memory or owner.reserve_memory")
    return ok(subject, text)


def disk_space(config: Config, disk: Disk | None, unseen: tuple[str, ...] = ()) -> Finding:
    """``disk``: the one with the least beyond the reserve; ``unseen``: others, which nobody looks at."""
    subject, portion = "disk space", config.owner.reserve_disk
    if disk is not None and disk.margin(portion) < 0:
        reserve = portion.of(disk.total)
        text = f"{human_bytes(disk.free)} of {human_bytes(disk.total)} free, {human_bytes(reserve)} reserved"
        if disk.free >= reserve:
            text = f"{disk.inodes or 0:.1%} of the inodes free, {reserve / disk.total:.1%} reserved"
        remedy = "nothing is started until there is more: free some, or lower owner.reserve_disk"
        return broken(subject, f"{text} on the disk with {disk.path}", remedy)
    if problem := not_kept(unseen, portion):
        remedy = "let Plancton see it (ProtectHome=, the directory's permissions), or set it to 0%"
        return better(subject, problem, remedy)
    if disk is None:
        return ok(subject, "not checked: Docker's data can't be seen from here")
    text = f"{human_bytes(disk.free)} of {human_bytes(disk.total)} free"
    return ok(subject, f"{text}, {human_bytes(portion.of(disk.total))} reserved")


# ---------------------------------------------------------------- what else an owner notices


def page_cache(config: Config, found: Cgroups) -> Finding:
    """Whether files that workers read push out the owner's."""
    subject = "page cache"
    if "memory" not in found.controllers:
        text = "files that workers read may push the owner's out of memory, as nothing bounds theirs"
        return better(subject, text, "boot with cgroup_enable=memory")
    text = f"files that a worker reads count as its memory: beyond {config.worker.memory} they push out"
    return ok(subject, f"{text} its own, not the owner's")


def heat_state(config: Config, celsius: float | None) -> Finding:
    now = "the CPU's temperature is unknown here" if celsius is None else f"the CPU has {celsius:.0f} °C"
    limit = config.owner.max_temperature
    if limit is None:
        return ok("heat", f"{now}; owner.max_temperature is not set, so workers may use all that is idle")
    if celsius is None:
        return better("heat", f"{now}, so owner.max_temperature can't hold", "set owner.cpu_cap instead")
    return ok("heat", f"{now}; workers get less before it has {limit:g} °C")


def battery_state(config: Config, charge: float | None, in_use: float | None) -> Finding:
    if charge is None and not in_use:
        return ok("battery", "none is seen")
    known = "a battery" if charge is None else f"a battery with {charge:.0f} %"
    text = f"{known}, {'in use' if in_use else 'on mains power'}"
    if {("on_battery",), ("battery",)} & set(Rules(config).references):
        return ok("battery", f"{text}; the owner's rules go by it")
    text += "; workers go on when it is in use"
    return better("battery", text, "if that matters, set owner.pause_when: on_battery")


def noise(config: Config) -> Finding:
    owner, subject = config.owner, "noise"
    found = {"hours": owner.hours, "cpu_cap": owner.cpu_cap, "max_temperature": owner.max_temperature}
    if keys := [f"owner.{key}" for key, value in found.items() if value is not None]:
        return ok(
            subject, f"less of the fan by {' and '.join(keys)}; `plancton pause` silences it for a while"
        )
    text = "the fan may run at any hour: owner.hours, owner.cpu_cap or owner.max_temperature change that"
    return ok(subject, f"{text}, and `plancton pause` for a while")


# ---------------------------------------------------------------- the owner's rules


def signals_and_rules(found: OwnerReport) -> Iterator[Finding]:
    known = [show_value(reference, value) for reference, value in found.values if value is not None]
    unknown = [written(reference) for reference, value in found.values if value is None]
    text = ", ".join(known)
    if unknown:
        text += f"; unknown here: {', '.join(unknown)}"
    yield ok("signals", text)
    for problem in found.warnings:
        yield better("rules", problem)
    if not found.warnings:
        yield ok("rules", "; ".join(found.rules) or "none holds now")


# ---------------------------------------------------------------- others, and what is left


def supervisors(
    found: Supervisors, processes: tuple[Process, ...], workers_slice: Seen | None, now: float
) -> Iterator[Finding]:
    subject = "supervisors"
    silent = now - found.status.time if found.status else 0.0
    if found.pid is None:
        yield ok(subject, "Plancton is not running")
    elif found.status is None:
        text = f"pid {found.pid} runs, but its status can't be read"
        yield better(subject, text, "run doctor again in 5 s; its log says what keeps it from writing")
    elif silent > STALE:
        text = f"pid {found.pid} runs, but has said nothing for {human_seconds(silent)}"
        yield broken(subject, text, f"its log says more; `kill -9 {found.pid}` keeps the workers")
    else:
        yield ok(subject, f"Plancton is running (pid {found.pid})")
    for pid in found.others:
        text = f"another Plancton (pid {pid}) uses the same idle CPU, and each is an owner to the other"
        yield better(subject, text, "keep one of them")
    ours = {found.status.slice if found.status else "", workers_slice.path if workers_slice else ""}
    for process in processes:
        if process.name == OLD_PLANCTON:
            text = f"Plancton 0.6 is running (pid {process.pid}) and kills our workers as its own"
            yield broken(subject, text, f"kill {process.pid}")
        elif process.group.partition("/")[0] not in ours - {""}:
            text = f"{process.name} (pid {process.pid}) uses what it takes for idle CPU, too"
            yield better(subject, text, "stop it, or leave the host to it")


def left_workers(left: Left | str, running: Supervisors) -> Iterator[Finding]:
    """Containers that no supervisor looks after, or can end."""
    subject = "workers"
    if isinstance(left, str):
        yield broken(subject, f"can't be listed: {left}")
        return
    orphans = left.own if running.pid is None else ()
    if orphans:
        remedy = "`plancton run` adopts them, `plancton stop --force` removes them"
        yield better(subject, f"no supervisor looks after {_names(orphans)}", remedy)
    for instance, names in left.others.items():
        text = f"{_names(names)}: of another installation (instance {instance})"
        label = quoted(f"label={INSTANCE}={instance}")
        remove = f"docker rm -f $(docker ps -aq --filter {label})"
        yield better(subject, text, f"if it no longer runs: {remove}")
    if left.old:
        remedy = "`plancton migrate --end-old-workers` removes them"
        yield better(subject, f"{_names(left.old)}: left by Plancton 0.6", remedy)
    stuck = tuple(w.name for w in running.status.workers if w.stuck) if running.status else ()
    if stuck:
        remedy = "see what their processes wait for (ps -eo pid,stat,wchan,args): often a disk or a mount"
        yield broken(subject, f"{_names(stuck)}: killed, and still running", remedy)
    if not (orphans or left.others or left.old or stuck):
        yield ok(subject, "none is left over")


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
