"""Addresses for the networks of one dockerd, which no other dockerd on this machine uses."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LANES = [str(each) for each in ipaddress.ip_network("172.16.0.0/12").subnets(new_prefix=20)]
"""Each has room for sixteen networks."""


@contextmanager
def claim_addresses() -> Iterator[str]:
    """The first lane that nobody has claimed and that this host has no route to.

    A claim is an abstract unix socket. Such names belong to the network namespace, as bridges do,
    and go with the process, however it ends.
    """
    routes = [ipaddress.ip_network(route) for route in _routes()]
    for lane in LANES:
        with socket.socket(socket.AF_UNIX) as claim:
            taken = any(ipaddress.ip_network(lane).overlaps(route) for route in routes)
            with suppress(OSError):
                if not taken:
                    claim.bind(f"\0plancton-test-{lane}")
                    yield lane
                    return
    raise RuntimeError("no private addresses in 172.16.0.0/12 are free for the tests' networks")


def _routes() -> Iterator[str]:
    """Networks that this host has a route to, the default aside (proc_pid_net(5))."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        _, target, _, _, _, _, _, mask, *_ = line.split()
        if mask != "00000000":
            yield "/".join(socket.inet_ntoa(bytes.fromhex(word)[::-1]) for word in (target, mask))
