"""What a worker's packets must fit through on their way out of this host."""

from pathlib import Path

from plancton.files import read_number
from plancton.host.route import PROC, read_routes

SYS = Path("/sys")
USUAL_MTU = 1500
"""Bytes: Ethernet's, and what Docker gives a network that is not told otherwise."""
LEAST_MTU = 576
"""What every IPv4 host takes (RFC 791)."""


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
