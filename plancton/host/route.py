"""How this host reaches others: what a worker's packets must fit through, and which addresses are taken."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from plancton.files import read_knob, read_number

PROC, SYS = Path("/proc"), Path("/sys")
USUAL_MTU = 1500
"""Bytes: Ethernet's, and what Docker gives a network that is not told otherwise."""
LEAST_MTU = 576
"""What every IPv4 host takes (RFC 791)."""


class Route(NamedTuple):
    """One route: to which addresses, through which interface."""

    interface: str
    network: IPv4Network

    @property
    def is_default(self) -> bool:
        """Whether it leads to the world. VPNs divide that in two halves, 0.0.0.0/1 is one."""
        return int(self.network.network_address) == 0


def read_routes(proc: Path = PROC) -> Iterator[Route]:
    """Those of IPv4: /proc/net/route (net/ipv4/fib_trie.c)."""
    for line in (read_knob(proc / "net/route") or "").splitlines()[1:]:
        with suppress(ValueError, IndexError, struct.error):
            words = line.split()
            to, mask = (socket.inet_ntoa(struct.pack("=L", int(words[at], 16))) for at in (1, 7))
            yield Route(words[0], IPv4Network(f"{to}/{mask}", strict=False))


def is_device(name: str) -> bool:
    """Whether this host has a network device of that name."""
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def smallest_default_mtu(proc: Path = PROC, sys: Path = SYS) -> int:
    """The MTU of the default routes' interfaces, the least of them and USUAL_MTU.

    Behind a tunnel it is less than Docker's 1500: there, connections of workers hang as soon as a
    packet is full.
    """
    mtus = [USUAL_MTU]
    for route in read_routes(proc):
        mtu = read_number(sys / "class/net" / route.interface / "mtu") if route.is_default else None
        if mtu is not None and mtu >= 0:
            mtus.append(max(LEAST_MTU, mtu))
    return min(mtus)
