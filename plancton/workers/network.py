"""The workers' own network: how Docker is asked for it, and whether one that is there is it."""

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable
from ipaddress import IPv6Network
from typing import Any

import msgspec

from plancton.config.schema import Config, WorkersNetwork
from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, DockerError, DockerRefused, NotFound
from plancton.docker.replies import Network
from plancton.host.mtu import smallest_default_mtu
from plancton.host.route import is_device
from plancton.workers.addresses import DEFAULT_POOLS, FREE_ADDRESSES, free_subnet, prefix_for, taken_addresses
from plancton.workers.container import INSTANCE

log = logging.getLogger(__name__)

OPTIONS = {"com.docker.network.bridge.enable_icc": "false"}
BRIDGE, MTU = "com.docker.network.bridge.name", "com.docker.network.driver.mtu"
LONGEST = 11
"""Characters of a slice's name that fit into a device's, 15 at most, with `ifb-` before them."""
PREPARED = "prepared"
"""The instance of a network that root has made for a supervisor without root: it stays."""


class Wanted(msgspec.Struct, frozen=True):
    """The network ``name`` (the slice's) for workers of ``instance``, each with so many CPUs."""

    name: str
    instance: str
    settings: WorkersNetwork = WorkersNetwork()
    worker_cpus: float = 1.0

    @property
    def mode(self) -> str:
        return "host" if self.settings.host else self.name


def wanted_network(config: Config, instance: str) -> Wanted:
    return Wanted(config.docker.slice, instance, config.worker.network, config.worker.cpus)


def bridge_name(workers_slice: str) -> str:
    """What the network's bridge is called on the host: known before it is there."""
    if len(workers_slice) > LONGEST:
        return f"br-{hashlib.sha256(workers_slice.encode()).hexdigest()[:LONGEST]}"
    return f"br-{workers_slice}"


def bridge_of(network: Network) -> str:
    return network.options.get(BRIDGE) or f"br-{network.id[:12]}"


def network_body(wanted: Wanted, mtu: int) -> dict[str, Any]:
    """They can reach the world, but not each other (ICC off). A device of the bridge's name that is
    there already is somebody else's: then Docker chooses another."""
    settings, bridge = wanted.settings, bridge_name(wanted.name)
    named = {} if is_device(bridge) else {BRIDGE: bridge}
    body: dict[str, Any] = {
        "Driver": "bridge",
        "Labels": {INSTANCE: wanted.instance},
        "Options": {**OPTIONS, **named, MTU: str(settings.mtu or mtu)},
    }
    return {**body, "EnableIPv6": True} if settings.ipv6 else body


def unique_local(name: str) -> str:
    """A network of IPv6 addresses that nobody else is likely to have (RFC 4193)."""
    digest = hashlib.sha256(f"{os.uname().nodename} {name}".encode()).digest()
    return str(IPv6Network((b"\xfd" + digest[:5] + bytes(10), 64)))


def is_workers_network(network: Network) -> bool:
    """Whether Plancton has made it, this instance or another, as it makes them."""
    same = OPTIONS.items() <= network.options.items()
    return INSTANCE in network.labels and network.driver == "bridge" and same


def is_as_wanted(network: Network, wanted: Wanted, mtu: int) -> bool:
    """Whether it would be made like this again."""
    settings, subnets = wanted.settings, [each.subnet for each in network.ipam.config]
    return (
        network.options.get(MTU) == str(settings.mtu or mtu)
        and network.enable_ipv6 == settings.ipv6
        and (settings.subnet is None or settings.subnet in subnets)
    )


def require_network(docker: Docker, name: str) -> Network | None:
    """DockerError if there is a network of this name that is not made for workers."""
    try:
        network = docker.network(name)
    except NotFound:
        return None  # it is made when the first worker needs it
    if not is_workers_network(network):
        raise DockerError(
            f"the network {name} is not Plancton's, and workers on it would reach what is there: rename or"
            f" remove it (docker network rm {name}), or set docker.slice to another name"
        )
    return network


def renew_network(docker: Docker, wanted: Wanted) -> None:
    """See that it can be used. One that would be made in another way now is removed unless somebody
    uses it; then it is made again."""
    if wanted.settings.host:
        return
    found = require_network(docker, wanted.name)
    if found is None or found.containers or is_as_wanted(found, wanted, smallest_default_mtu()):
        return
    with contextlib.suppress(DockerRefused):  # somebody uses it by now
        docker.remove_network(wanted.name)


def make_network(docker: Docker, wanted: Wanted, made: Callable[[], None] = lambda: None) -> None:
    """``made`` is called once it is there."""
    body, given = network_body(wanted, smallest_default_mtu()), wanted.settings.subnet
    of_v6 = [{"Subnet": unique_local(wanted.name)}] if wanted.settings.ipv6 else []
    prefix = prefix_for(os.cpu_count() or 1, wanted.worker_cpus)
    try:
        pools = docker.info().default_address_pools or DEFAULT_POOLS
        subnet = given or free_subnet(pools, taken_addresses(docker.networks()), prefix)
        config = [*([{"Subnet": subnet}] if subnet else []), *of_v6]
        docker.create_network(wanted.name, {**body, "IPAM": {"Config": config}} if config else body)
        made()
        return
    except Conflict:
        raise
    except DockerRefused as error:  # somebody has taken the same ones; a proxy in front of Docker
        if given or of_v6:
            raise
        log.debug("network %s: %s", wanted.name, error)
    try:
        docker.create_network(wanted.name, body)
    except DockerRefused as error:
        if not re.search("address pool|subnetted", error.message):
            raise
        raise DockerRefused(
            f"create network {wanted.name}", 400, f"{error.message}; {FREE_ADDRESSES}"
        ) from error
    made()


def remove_network(docker: Docker, name: str, *instances: str) -> None:
    """Remove the workers' network if it is of one of these instances."""
    if docker.network(name).labels.get(INSTANCE) in instances:
        docker.remove_network(name)
