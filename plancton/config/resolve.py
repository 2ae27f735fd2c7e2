"""What a configuration means on one host, in base units. Pure, except for `missing_mounts` and
`read_cpus`."""

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import PurePath

import msgspec

from plancton.config.condor_environment import JOB_LEASE
from plancton.config.expression import SAMPLE, Expression, compiled
from plancton.config.schema import LEAST_MEMORY, Config
from plancton.host.own_container import is_inside
from plancton.host.signals.catalog import CHECKS, SIGNALS, Reference
from plancton.host.slice_bounds import NO_LIMITS, Bounds, Limits, least
from plancton.host.topology import Cpus, Topology
from plancton.model import Settings
from plancton.policy.tick_interval import stretched
from plancton.units import human_bytes, shown

TREATMENT = (
    "network",
    "cores",
    "lifetime",
    "leave_signal",
    "leave_timeout",
    "finish_signal",
    "finish_timeout",
)
"""Keys of `worker` that say how workers are treated, not what they are made of: any worker will
do. Nor is the network made for each of them."""
MOST_WORKERS = 1_000_000
KILL_SECONDS = 2.0
"""How long the killing takes that follows `htcondor.vacate`, with a fifth of a CPU."""
MISSED = 3
"""A tick that is later than the longest by this many times `docker.tick` has missed something."""


class Host(msgspec.Struct, frozen=True):
    """What has to be known of a host: CPUs, bytes. ``small``: the CPUs of its small cores, where
    workers are kept to these."""

    cpus: int
    ram: int
    swap: int = 0
    disk: int = 0
    small: int | None = None


def read_cpus(config: Config, topology: Topology, allowed: str | None) -> Cpus:
    """Which CPUs count here and which are for workers; ``allowed``: those that the slice may have at
    most, as the kernel lists them."""
    return topology.read(config.owner.reserve_cpus, allowed, config.worker.cores == "efficiency")


def policy_settings(config: Config, host: Host, limits: Limits = NO_LIMITS) -> Settings:
    """What the policy goes by; ``limits`` are the administrator's own for the slice."""
    return Settings(
        worker_cpus=config.worker.cpus,
        worker_memory=int(config.worker.memory),
        worker_disk=int(config.htcondor.disk) if config.htcondor and config.htcondor.disk else None,
        lifetime=float(config.worker.lifetime),
        leave_timeout=float(config.worker.leave_timeout),
        finish_timeout=float(config.worker.finish_timeout),
        lift=_longest_lift(config),
        spawn_per_tick=config.pool.spawn_per_tick,
        reserve_cpus=config.owner.reserve_cpus,
        reserve_memory=config.owner.reserve_memory.of(host.ram),
        reserve_disk=config.owner.reserve_disk.of(host.disk),
        worthwhile=config.yielding.worthwhile,
        grace_kill=float(config.yielding.grace_kill),
        grace_spawn=float(config.yielding.grace_spawn),
        stake=config.yielding.stake,
        longest_wait=float(config.yielding.longest_wait),
        gap=stretched(config.docker.tick) + MISSED * float(config.docker.tick),
        uses_quota=config.yielding.cap == "room",
        caps_waiting=config.yielding.cap == "auto",
        most_cpus=least(limits.cpus, host.small),
        most_memory=limits.memory,
        pause_hold=float(config.owner.pause_hold),
        max_temperature=config.owner.max_temperature,
        lease=JOB_LEASE if config.htcondor else None,
    )


def _longest_lift(config: Config) -> float:
    """A job that takes all of `vacate` is killed after it, which takes CPU as well."""
    usual = Settings().lift
    return max(usual, float(config.htcondor.vacate) + KILL_SECONDS) if config.htcondor else usual


def bounds(config: Config, host: Host, cpuset: str = "") -> Bounds:
    """What all workers together may take at most; as much of the swap as workers fit into the memory.

    ``cpuset`` is the CPUs that the owner does not keep (plancton.host.topology).
    """
    memory = max(LEAST_MEMORY, host.ram - config.owner.reserve_memory.of(host.ram))
    reserve = config.owner.reserve_cpus
    return Bounds(
        memory=memory,
        swap=memory // config.worker.memory * int(config.worker.swap),
        cpus=max(0.0, host.cpus - reserve) if reserve else None,
        cpuset=cpuset,
    )


def digest(config: Config) -> str:
    """Stands for what a worker is made of; changes when new workers differ from running ones."""
    made_of = {
        key: value for key, value in msgspec.structs.asdict(config.worker).items() if key not in TREATMENT
    }
    if config.worker.network.host:
        made_of["network"] = "host"
    return hashlib.sha256(msgspec.json.encode(made_of, enc_hook=str, order="deterministic")).hexdigest()[:12]


def never_starts(config: Config, host: Host, limits: Limits = NO_LIMITS) -> str | None:
    """Why this configuration can never start a worker on this host; None when it can."""
    worker, reserve = config.worker, config.owner.reserve_cpus
    room = host.cpus - reserve
    memory = host.ram - config.owner.reserve_memory.of(host.ram)
    if worker.cpus > room:
        kept = f" and {reserve:g} are reserved for the owner" if reserve else ""
        return f"worker.cpus is {worker.cpus:g}, but this host has {host.cpus} CPUs{kept}: make it smaller"
    if host.small is not None and worker.cpus > host.small:
        return (
            f"worker.cpus is {worker.cpus:g}, but worker.cores keeps workers to the small cores, which have"
            f" {host.small} CPUs: change one of them"
        )
    if worker.cpus > room * 0.98 and config.yielding.worthwhile > 0.8:
        return "yield.worthwhile asks for a CPU that is never quite idle: set it to 0.8 or less"
    if worker.memory > memory:
        return (
            f"worker.memory is {worker.memory}, but owner.reserve_memory leaves {human_bytes(memory)}"
            " of this host's: make one of them smaller"
        )
    if limits.memory is not None and worker.memory > limits.memory:
        return (
            f"worker.memory is {worker.memory}, but your own limit of the slice is"
            f" {human_bytes(limits.memory)}: change one of them"
        )
    return _promises_too_much(config, host)


def _promises_too_much(config: Config, host: Host) -> str | None:
    promised = config.htcondor and config.htcondor.disk
    disk = host.disk - config.owner.reserve_disk.of(host.disk)
    if not promised or not host.disk or promised <= disk:
        return None
    return (
        f"htcondor.disk is {promised}, but owner.reserve_disk leaves {human_bytes(disk)} of this host's:"
        " make one of them smaller"
    )


def missing_mounts(config: Config, unseen: tuple[str, ...] = ()) -> str | None:
    """What `worker.mounts` names and is not on this host, as far as this user can see. ``unseen``:
    directories in which this process does not see what the host has. In a container of its own it
    sees nothing of that: Docker refuses a worker whose mount is missing."""
    if is_inside():
        return None
    paths = [PurePath(mount.partition(":")[0]) for mount in config.worker.mounts]
    seen = [path for path in paths if not any(path.is_relative_to(directory) for directory in unseen)]
    missing = [str(path) for path in seen if _is_missing(path)]
    if not missing:
        return None
    return (
        f"worker.mounts: {', '.join(missing)}: no such file or directory on this host: make it or correct it"
    )


def _is_missing(path: PurePath) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # it may be there: Docker knows
        pass
    return False


# ---------------------------------------------------------------- pool.max_workers

ORDINARY = Host(cpus=2, ram=8_000_000_000, swap=1_000_000_000)
"""Where an expression is tried when it is read."""


class MaxWorkers:
    """pool.max_workers, checked. Raises ValueError."""

    def __init__(self, config: Config) -> None:
        self._config, self._setting = config, config.pool.max_workers
        self._rule: Expression | None = None
        if self._setting is not None:
            names = [*_names(config, ORDINARY), *SIGNALS]
            self._rule = compiled(str(self._setting), names, CHECKS)
            self.on(ORDINARY, lambda _: SAMPLE)

    @property
    def references(self) -> tuple[Reference, ...]:
        """The signals that it depends on."""
        names = _names(self._config, ORDINARY)
        found = self._rule.references if self._rule else ()
        return tuple(reference for reference in found if reference[0] not in names)

    def on(self, host: Host, read: Callable[[Reference], float | None] = lambda _: None) -> int | None:
        """How many on this host, with the signals as they are; None: no maximum. Raises ValueError,
        also where a signal is unknown."""
        if self._rule is None:
            return None
        names = _names(self._config, host)
        value = self._rule.compute(lambda ref: names[ref[0]] if ref[0] in names else read(ref))
        if value is None:
            unknown = " and ".join(ref[0] for ref in self.references if read(ref) is None)
            raise ValueError(f"{shown(self._setting)}: {unknown} is unknown")
        if isinstance(value, bool | str) or not -math.inf < value < math.inf:
            raise ValueError(f"{shown(self._setting)} gives {shown(value)}, which is not a number of workers")
        return math.floor(max(0, min(value, MOST_WORKERS)))


def _names(config: Config, host: Host) -> dict[str, float]:
    return {
        "ncpus": host.cpus,
        "ram_bytes": host.ram,
        "swap_bytes": host.swap,
        "worker_cpus": config.worker.cpus,
        "worker_memory": int(config.worker.memory),
    }
