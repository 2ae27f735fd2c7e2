"""What this Docker would refuse at each start, found before the first one."""

from pathlib import Path

from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerRefused
from plancton.docker.replies import Info
from plancton.host.route import PROC
from plancton.workers.addresses import DEFAULT_POOLS, FREE_ADDRESSES, has_addresses, taken_addresses
from plancton.workers.network import require_network

ON_DEMAND = "io.containerd."
"""How a runtime's name begins that Docker finds without being told of it."""
WITH_QUOTAS = frozenset({"overlay2", "btrfs", "zfs", "devicemapper"})
"""Storage drivers that know `StorageOpt` (https://docs.docker.com/reference/cli/docker/container/run);
overlay2 only on xfs, and Docker itself refuses it there without pquota."""


def refusal_of(config: Config, info: Info) -> str:
    """Why this Docker would refuse such a worker; empty if nothing is known."""
    worker = config.worker
    if worker.privileged and any(option.startswith("name=userns") for option in info.security_options):
        return (
            "worker.privileged is true, which Docker refuses while it maps users (userns-remap): set it to"
            " false and name what is needed in worker.capabilities, or take userns-remap out of daemon.json"
        )
    runtime = worker.runtime
    if runtime and info.runtimes and runtime not in info.runtimes and not runtime.startswith(ON_DEMAND):
        known = ", ".join(sorted(info.runtimes))
        return (
            f"worker.runtime: Docker has no {runtime} ({known}): name one of these, or add it to daemon.json"
        )
    return no_quota(config, info)


def no_quota(config: Config, info: Info) -> str:
    """Why `worker.disk` would not hold on this Docker; empty if it does, or is not asked for."""
    if config.worker.disk is None:
        return ""
    backing = dict(pair for pair in info.driver_status if len(pair) == 2).get("Backing Filesystem", "")
    if info.has_containerd_store:
        where = "with containerd's image store"
    elif info.driver == "overlay2" and backing != "xfs":
        where = f"with overlay2 on {backing or 'an unknown file system'}"
    elif info.driver not in WITH_QUOTAS:
        where = f"with the storage driver {info.driver}"
    else:
        return ""
    return (
        f"worker.disk: Docker has no quotas {where}: nothing is started; keep its data on xfs that is mounted"
        " with pquota, on btrfs or on zfs, or take worker.disk out (owner.reserve_disk holds all the same)"
    )


def require_room_for_network(docker: Docker, name: str, info: Info, proc: Path = PROC) -> None:
    """DockerError if the workers' network can't be used, or can't be made."""
    if require_network(docker, name) is not None:
        return
    try:
        networks = docker.networks()
    except DockerRefused:
        return  # a proxy in front of Docker may not let everything pass
    if not has_addresses(info.default_address_pools or DEFAULT_POOLS, taken_addresses(networks, proc)):
        raise DockerError(f"Docker has no addresses left for the network {name}: {FREE_ADDRESSES}")
