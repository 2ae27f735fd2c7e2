"""What the configuration says of the workers' network, as rules and rates that the kernel keeps.

It takes root, and what waits for a name server or a program: it runs beside the loop.
"""

import contextlib
import os
import socket
from pathlib import Path

import msgspec

from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, NotFound
from plancton.host import bandwidth, firewall
from plancton.host.bandwidth import Rates
from plancton.host.firewall import Reach, table_of
from plancton.host.resolvers import name_servers
from plancton.host.route import is_device
from plancton.host.system_tools import ProgramError
from plancton.workers.network import bridge_name, bridge_of

Servers = tuple[tuple[str, int], ...]
LAST_FOUND = dict[tuple[str, int], set[tuple[str, int]]]()
"""What names were found to be: while name servers don't answer, workers must not lose their pool."""


def wanted_reach(config: Config, bridges: tuple[str, ...], servers: Servers, root: Path = Path("/")) -> Reach:
    """What workers on these bridges are to reach; ``servers`` are the pool's."""
    network = config.worker.network
    return Reach(
        bridges,
        internet_only=network.reach == "internet",
        allowed=tuple(network.allow),
        servers=servers,
        resolvers=tuple(sorted(name_servers(root))),
        lower_effort=network.lower_effort,
    )


def wanted_rates(config: Config) -> Rates:
    return Rates(config.worker.network.rate_down, config.worker.network.rate_up)


def find_servers(config: Config) -> tuple[Servers, str]:
    """The central managers' addresses and ports, and which of them have none now, nor had before."""
    found, unknown = set[tuple[str, int]](), list[str]()
    for host, port in config.htcondor.places if config.htcondor else []:
        with contextlib.suppress(OSError, UnicodeError):
            places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = {str(place[0]) for *_, place in places}
            # nft takes none of an interface (fe80::1%eth0).
            LAST_FOUND[host, port] = {(address, port) for address in addresses if "%" not in address}
        if (host, port) not in LAST_FOUND:
            unknown.append(host)
        found |= LAST_FOUND.get((host, port), set())
    wrong = f"central manager {', '.join(unknown)}: its address can't be found now" if unknown else ""
    return tuple(sorted(found)), wrong


def bridges_of(docker: Docker | None, workers_slice: str) -> tuple[str, ...]:
    """The bridge that the network has or will have; and the one it has, where that is another."""
    found = [bridge_name(workers_slice)]
    with contextlib.suppress(DockerError, NotFound):
        if docker is not None:
            found.append(bridge_of(docker.network(workers_slice)))
    return tuple(dict.fromkeys(found))


def enforce(config: Config, docker: Docker | None) -> tuple[str, ...]:
    """Have it hold; what does not, and why, in a line each."""
    bridges, table = bridges_of(docker, config.docker.slice), table_of(config.docker.slice)
    if config.worker.network.host:
        undo(config.docker.slice, bridges)
        return ()
    problems = list[str]()
    servers, unknown = find_servers(config)
    if unknown:
        problems.append(f"{unknown}, so workers may not reach it")
    reach = wanted_reach(config, bridges, servers)
    try:
        if not firewall.holds(table, reach):
            firewall.put(table, reach)
    except ProgramError as error:
        problems.append(f"nothing keeps workers from this host's own services and its metadata: {error}")
    try:
        for bridge in bridges:
            bandwidth.bound(bridge, wanted_rates(config))
    except ProgramError as error:
        if wanted_rates(config) != Rates():
            problems.append(f"the workers' rate is not bounded: {error}")
    return tuple(problems)


class NetworkSeen(msgspec.Struct, frozen=True):
    """The rules and rates as they are found. ``holds``: whether the rules are what is configured;
    None: only root sees that. ``problem``: why they can't hold here. ``there``: the bridge is."""

    holds: bool | None = None
    problem: str = ""
    there: bool = False
    rates: Rates = Rates()


def look_at_network(config: Config, docker: Docker | None = None) -> NetworkSeen:
    """Look at what `enforce` makes; changes nothing."""
    name = config.docker.slice
    bridges = bridges_of(docker, name)
    holds, problem, rates = None, "", Rates()
    with contextlib.suppress(ProgramError):
        rates = bandwidth.read_rates(bridges[-1])
    if os.geteuid() == 0:
        try:
            holds = firewall.holds(table_of(name), wanted_reach(config, bridges, ()), any_servers=True)
        except ProgramError as error:
            problem = str(error)
    return NetworkSeen(holds, problem, is_device(bridges[-1]), rates)


def undo(workers_slice: str, bridges: tuple[str, ...]) -> None:
    """Remove all that `enforce` has made, as far as root."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(ProgramError):
        firewall.remove(table_of(workers_slice))
    with contextlib.suppress(ProgramError):
        for bridge in bridges:
            bandwidth.remove(bridge)
