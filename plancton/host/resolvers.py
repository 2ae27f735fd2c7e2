"""The host's name servers, for workers to ask themselves: what they ask Docker's is answered by
dockerd, outside the slice and at the owner's cost."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import AddressValueError, IPv4Address, ip_address
from pathlib import Path

from plancton.files import read_knob, read_regular

FILES = ("etc/resolv.conf", "run/systemd/resolve/resolv.conf")
"""resolv.conf(5). Where the first names only systemd-resolved's stub, on a loopback address, the
second has what that asks."""
DAEMON = "etc/docker/daemon.json"
DOCKERS = "127.0.0.11"
MOST = 3
"""resolv.conf(5): MAXNS. The C library ignores all after these."""
LARGEST = 64 * 1024


def resolver_file(root: Path = Path("/")) -> str:
    """A resolv.conf for workers; empty where only Docker can resolve names for them.

    Its last name server is Docker's: it is asked where a firewall lets none of the others through.
    """
    chosen = _of_docker(root)
    for name in FILES:
        lines = (read_knob(root / name) or "").splitlines()
        servers = [*filter(_reachable, chosen or _servers(lines))][: MOST - 1]
        if servers:
            kept = [line for line in lines if line.split()[:1] in (["search"], ["domain"], ["options"])]
            return "".join(f"{line}\n" for line in (*kept, *map("nameserver {}".format, (*servers, DOCKERS))))
    return ""


def name_servers(root: Path = Path("/")) -> set[str]:
    """All that a worker or Docker on its behalf may ask through the workers' network: this host
    itself, too, but not what listens on its loopback alone."""
    named = [*_of_docker(root)]
    for name in FILES:
        named += _servers((read_knob(root / name) or "").splitlines())
    found = set[str]()
    for server in named:
        with suppress(ValueError):
            address = ip_address(server)
            if not (address.is_loopback or address.is_unspecified or "%" in server):
                found.add(server)
    return found


def _of_docker(root: Path) -> list[str]:
    """Those that Docker's administrator has chosen for all containers."""
    try:
        found = json.loads(read_regular(root / DAEMON, LARGEST)[0])["dns"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _servers(lines: list[str]) -> Iterator[str]:
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            yield words[1]


def _reachable(server: str) -> bool:
    """Whether a worker's packets get there: its network has IPv4 only, and what the host itself
    listens on is behind the host's firewall, if not on loopback."""
    try:
        address = IPv4Address(server)
    except AddressValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or _is_own(server))


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.bind((address, 0))
        except OSError:
            return False
    return True
