"""How this host reaches the world: what a worker's packets must fit through."""

from pathlib import Path

from plancton.files import read_knob

USUAL_MTU = 1500
"""Bytes: Ethernet's, and what Docker gives a network that is not told otherwise."""


def smallest_default_mtu(proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> int:
    """The MTU of the default routes' interfaces, the least of them and USUAL_MTU.

    /proc/net/route (net/ipv4/fib_trie.c) has an interface, destination and more in each line after
    the first. Behind a tunnel the MTU is less than Docker's 1500: there, connections of workers
    hang as soon as a packet is full.
    """
    mtus = [USUAL_MTU]
    for line in (read_knob(proc / "net/route") or "").splitlines()[1:]:
        interface, destination, *_ = [*line.split(), "", ""]
        mtu = read_knob(sys / "class/net" / interface / "mtu") if destination == "00000000" else None
        if mtu and mtu.isdecimal() and len(mtu) < 6:
            mtus.append(max(576, int(mtu)))  # what every IPv4 host takes (RFC 791)
    return min(mtus)
