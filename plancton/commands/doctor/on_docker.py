"""What doctor says of Docker, the slice and the workers' network. Pure."""

from plancton.commands.doctor.facts import Engine
from plancton.commands.doctor.levels import Finding, better, broken, ok
from plancton.commands.doctor.rival_programs import Supervisors
from plancton.config.schema import Worker, WorkersNetwork
from plancton.docker.escapes import Ways
from plancton.docker.replies import Info
from plancton.docker.supported import OLDEST_API, REMEDY, objection
from plancton.host.bandwidth import Rates
from plancton.host.slice_inspection import Seen
from plancton.model import Status, Tier
from plancton.units import Rate, quoted
from plancton.workers.reach_and_rates import NetworkSeen
from plancton.workers.same_host import Here, doubts, elsewhere
from plancton.workers.surroundings import MAPS_USERS
from plancton.workers.users import user_of

IDLE_CLASS_SYSTEMD = 252
UNKNOWN = Here()


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
