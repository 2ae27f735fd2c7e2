"""What `plancton doctor` says of the facts: what is ok, could be better, or is broken. Pure.

Broken is what keeps Plancton from donating here, or the owner from being protected; what merely
costs something could be better.
"""

from collections.abc import Iterator

import msgspec

from plancton.commands.doctor import on_docker, on_kernel
from plancton.commands.doctor.facts import Cgroups, Engine, Facts, Left
from plancton.commands.doctor.levels import Finding, Level, better, broken, names_of, ok
from plancton.commands.doctor.rival_programs import OLD_PLANCTON, Process, Supervisors
from plancton.commands.owner_report import OwnerReport
from plancton.config.owner_rules import Rules
from plancton.config.resolve import Host, never_starts
from plancton.config.schema import Config
from plancton.docker.escapes import find_ways
from plancton.docker.supported import objection
from plancton.host.signals.catalog import show_value, written
from plancton.host.slice_inspection import Seen
from plancton.model import Tier
from plancton.status_reading import STALE
from plancton.units import human_bytes, human_seconds, quoted
from plancton.workers.container import INSTANCE
from plancton.workers.disks import Disk, not_kept
from plancton.workers.refusals import refusal_of
from plancton.workers.same_host import elsewhere
from plancton.workers.token import EXPIRES_SOON

EXIT_CODES = {Level.OK: 0, Level.BETTER: 1, Level.BROKEN: 4}


class Report(msgspec.Struct, frozen=True):
    worst: Level
    sentence: str
    findings: tuple[Finding, ...]


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
    idle_class = asked == "kernel" and on_kernel.has_idle_class(facts.kernel, facts.cgroups)
    return "kernel" if idle_class else "weight"


def _findings(facts: Facts) -> Iterator[Finding]:
    yield from configuration(facts)
    yield on_kernel.kernel(facts.kernel, facts.cgroups)
    yield on_kernel.scheduler(facts.scheduler)
    yield on_kernel.cgroups(facts.cgroups)
    yield on_kernel.psi(facts.psi, facts.tells, facts.config.yielding.cap == "auto")
    yield on_kernel.processes(facts.hidden)
    yield on_docker.engine_state(facts.engine, facts.here)
    if isinstance(facts.engine, Engine):
        yield on_docker.known_escapes(find_ways(facts.engine.version, facts.engine.info))
        yield on_docker.workers_users(facts.config.worker, facts.engine.info, facts.shared_users)
        yield on_docker.systemd(facts.systemd, facts.engine.info.cgroup_driver)
    if facts.slice is not None:
        yield on_docker.slice_state(facts.slice, facts.supervisors, facts.user, facts.config.docker.tier)
    yield memory(facts.config, facts.host, facts.memory_available, facts.supervisors, facts.arc)
    yield disk_space(facts.config, facts.disk, facts.unseen_disks)
    yield on_kernel.cpus(facts.cpus, facts.config.worker.cores == "efficiency")
    yield on_kernel.smt(facts.smt, facts.cpus.for_workers, facts.cgroups)
    yield on_kernel.disk_priority(facts.disks)
    yield on_docker.network_state(
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
        text = "no image is configured, so nothing will be started"
        yield broken(subject, text, "set image.name or htcondor")
    elif isinstance(facts.engine, Engine) and facts.engine.missing_image:
        yield broken(subject, facts.engine.missing_image)
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
    if expires - now < EXPIRES_SOON:
        return better("token", text, "ask the pool's administrator for a new one")
    return ok("token", text)


# ---------------------------------------------------------------- reserves


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
        yield better(subject, f"no supervisor looks after {names_of(orphans)}", remedy)
    for instance, names in left.others.items():
        text = f"{names_of(names)}: of another installation (instance {instance})"
        label = quoted(f"label={INSTANCE}={instance}")
        remove = f"docker rm -f $(docker ps -aq --filter {label})"
        yield better(subject, text, f"if it no longer runs: {remove}")
    if left.old:
        remedy = "`plancton migrate --end-old-workers` removes them"
        yield better(subject, f"{names_of(left.old)}: left by Plancton 0.6", remedy)
    stuck = tuple(w.name for w in running.status.workers if w.stuck) if running.status else ()
    if stuck:
        remedy = "see what their processes wait for (ps -eo pid,stat,wchan,args): often a disk or a mount"
        yield broken(subject, f"{names_of(stuck)}: killed, and still running", remedy)
    if not (orphans or left.others or left.old or stuck):
        yield ok(subject, "none is left over")
