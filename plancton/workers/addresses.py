"""Which addresses the workers' network gets, and whether Docker has any left for it."""

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path

from plancton.docker.replies import AddressPool, Network
from plancton.host.route import PROC, read_routes

DEFAULT_POOLS = (
    *(AddressPool(f"172.{second}.0.0/16", 16) for second in (17, 18, 19)),
    *(AddressPool(f"172.{second}.0.0/14", 16) for second in (20, 24, 28)),
    AddressPool("192.168.0.0/16", 20),
)
"""Docker's own: 31 networks."""
FREE_ADDRESSES = (
    "remove networks that nobody uses (docker network prune), or give Docker more addresses"
    " (default-address-pools in /etc/docker/daemon.json)"
)
USUAL = 24
"""Bits of the prefix. The kernel has one table of neighbours for all networks, 1024 in it: next to a
prefix of 16 bits, as in Docker's own pools, one job that looks for neighbours fills it."""


def taken_addresses(networks: Iterable[Network], proc: Path = PROC) -> list[IPv4Network]:
    """What Docker's networks have and this host has routes to."""
    routes = [route.network for route in read_routes(proc) if route.network.prefixlen]
    return [*_subnets(networks), *routes]


def prefix_for(cpus: int, worker_cpus: float) -> int:
    """Bits of the prefix of a network for twice the workers that fit these CPUs."""
    addresses = 2 * math.ceil(cpus / worker_cpus) + 3
    return min(USUAL, 32 - addresses.bit_length())


def free_subnet(pools: Iterable[AddressPool], taken: list[IPv4Network], prefix: int) -> str:
    """A network of this size that overlaps with none that is taken; empty: there is none. Those of
    a pool may be smaller."""
    for pool in pools:
        with suppress(ValueError):  # of IPv6
            size = max(pool.size, prefix)
            if found := _free(IPv4Network(pool.base, strict=False), size, taken):
                return str(next(found.subnets(new_prefix=size)))
    return ""


def has_addresses(pools: Iterable[AddressPool], taken: list[IPv4Network]) -> bool:
    """Whether one of the pools has a network that overlaps with none that is taken."""
    return any(":" in pool.base or free_subnet([pool], taken, pool.size) for pool in pools)  # IPv6: unknown


def _free(base: IPv4Network, size: int, taken: list[IPv4Network]) -> IPv4Network | None:
    """The first part of the base, of this size or larger, that overlaps with none of them."""
    inside = [each for each in taken if each.overlaps(base)]
    if not inside:
        return base
    if base.prefixlen >= size or any(base.subnet_of(each) for each in inside):
        return None
    found = (_free(half, size, inside) for half in base.subnets())
    return next((each for each in found if each), None)


def _subnets(networks: Iterable[Network]) -> Iterator[IPv4Network]:
    for network in networks:
        for each in network.ipam.config:
            with suppress(ValueError):
                yield IPv4Network(each.subnet, strict=False)
