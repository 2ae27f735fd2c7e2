"""What workers may reach: rules of our own in the kernel (nftables), which hold while Plancton is dead.

A table of its own, with a chain of its own before Docker's and firewalld's: none of them looks at
others' tables, so a restart of Docker or a reload of firewalld leaves it alone. The chain comes
before the destination is translated, so what is judged is the address that the worker has asked
for. Only packets from the workers' bridges are looked at. See nft(8).
"""

import hashlib
from collections.abc import Iterable, Iterator
from ipaddress import collapse_addresses, ip_network
from typing import NamedTuple

from plancton.host.closed_networks import METADATA, PRIVATE
from plancton.host.system_tools import ProgramError, nft, nft_table, removal

LOWER_EFFORT = 1
"""The code point of RFC 8622: networks may send such packets last."""
PRIORITY = -155
"""Of our chain: after connections are tracked (-200), before Docker translates addresses (-100)."""
CLOSED = "reject with icmpx type admin-prohibited"


class Reach(NamedTuple):
    """What workers on these bridges reach. ``servers`` are their pool's, and ``resolvers`` their
    name servers: open at that port, whatever else is closed."""

    bridges: tuple[str, ...]
    internet_only: bool = False
    allowed: tuple[str, ...] = ()
    servers: tuple[tuple[str, int], ...] = ()
    resolvers: tuple[str, ...] = ()
    lower_effort: bool = True


def table_of(workers_slice: str) -> str:
    """Its name, in the family inet."""
    return f"plancton-{workers_slice}"


def rules(table: str, reach: Reach, closed: str = CLOSED) -> str:
    """The text for nft that puts the table in place of what it was, in one transaction."""
    inside = "\n".join(f"    {line}" for line in _worker_chain(reach, closed))
    bridges = ", ".join(f'"{bridge}"' for bridge in reach.bridges)
    return f"""{removal("inet", table)}table inet {table} {{
  chain worker {{
{inside}
  }}
  chain from_workers {{
    type filter hook prerouting priority {PRIORITY}; policy accept;
    iifname {{ {bridges} }} jump worker comment "{mark_of(reach)}"
  }}
}}
"""


def mark_of(reach: Reach) -> str:
    """Stands for these rules, as a comment in the table: others have another one. The second part
    is for the pool's servers, whose addresses may change."""
    of_config = (str(PRIORITY), *reach.bridges, *_worker_chain(reach._replace(servers=()), CLOSED))
    return f"plancton {_digest(of_config)} {_digest(map(str, reach.servers))}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _worker_chain(reach: Reach, closed: str) -> Iterator[str]:
    if reach.lower_effort:
        yield f"ip dscp set {LOWER_EFFORT}"
        yield f"ip6 dscp set {LOWER_EFFORT}"
    yield "ct state established,related ct direction reply accept"
    yield "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept"
    yield from _to(reach.allowed, "accept")
    yield from _to(reach.resolvers, "meta l4proto { tcp, udp } th dport 53 accept")
    yield from _to(METADATA, closed)
    for server, port in reach.servers:
        yield from _to([server], f"meta l4proto {{ tcp, udp }} th dport {port} accept")
    yield f"fib daddr type {{ local, broadcast, anycast, multicast }} {closed}"
    if reach.internet_only:
        yield from _to(PRIVATE, closed)


def _to(networks: Iterable[str], verdict: str) -> Iterator[str]:
    """Rules for packets to these, without overlaps: nft refuses them."""
    found = [ip_network(network) for network in networks]
    for version, family in ((4, "ip"), (6, "ip6")):
        those = collapse_addresses(each for each in found if each.version == version)  # type: ignore[type-var]
        if texts := [str(each) for each in those]:
            yield f"{family} daddr {{ {', '.join(texts)} }} {verdict}"


# ---------------------------------------------------------------- nft


def put(table: str, reach: Reach) -> None:
    """Have these rules hold from now on, and no others of ours. ProgramError says why not."""
    try:
        nft("-f", "-", text=rules(table, reach))
    except ProgramError:
        nft("-f", "-", text=rules(table, reach, "drop"))  # no reject here before Linux 5.9


def holds(table: str, reach: Reach, any_servers: bool = False) -> bool:
    """Whether they do; with ``any_servers`` whatever the addresses of the pool's were found to be.
    ProgramError: it can't be seen, which takes root."""
    mark = mark_of(reach)
    wanted = f'"{mark.rpartition(" ")[0]} ' if any_servers else f'"{mark}"'
    return wanted in nft_table("inet", table)


def remove(table: str) -> None:
    """Remove it, if it is there."""
    nft("-f", "-", text=removal("inet", table))
