"""How this host reaches others: its routes and network devices."""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import NamedTuple

from plancton.files import read_knob

PROC = Path("/proc")


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
