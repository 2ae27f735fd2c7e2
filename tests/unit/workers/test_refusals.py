"""What Docker would refuse at each start is found before the first one."""

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply

from plancton.config.load import parse
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerRefused
from plancton.docker.replies import AddressPool, Info
from plancton.workers.addresses import DEFAULT_POOLS, free_subnet, has_addresses, prefix_for
from plancton.workers.docker_calls import start_worker
from plancton.workers.network import Wanted
from plancton.workers.refusals import refusal_of, require_room_for_network

XFS, EXT4 = [["Backing Filesystem", "xfs"]], [["Backing Filesystem", "extfs"], ["odd"]]
CONTAINERD = [["driver-type", "io.containerd.snapshotter.v1"]]
ALL_172 = [IPv4Network("172.16.0.0/12")]
ALL_192 = [IPv4Network("192.168.0.0/16")]


@pytest.mark.parametrize(
    ("worker", "info", "words"),
    [
        ("{privileged: true}", Info(security_options=["name=userns"]), "userns-remap"),
        ("{privileged: true}", Info(), ""),
        ("{}", Info(security_options=["name=userns"]), ""),
        ("{runtime: runsc}", Info(runtimes={"runc": {}}), "no runsc (runc)"),
        ("{runtime: runc}", Info(runtimes={"runc": {}}), ""),
        ("{disk: 1GB}", Info(driver="overlay2", driver_status=XFS), ""),
        ("{disk: 1GB}", Info(driver="btrfs"), ""),
        ("{disk: 1GB}", Info(driver="overlay2", driver_status=EXT4), "overlay2 on extfs"),
        ("{disk: 1GB}", Info(driver="vfs"), "driver vfs"),
        ("{disk: 1GB}", Info(driver="overlayfs", driver_status=CONTAINERD), "containerd's image store"),
        ("{}", Info(driver="vfs"), ""),
        ("{runtime: io.containerd.kata.v2}", Info(runtimes={"runc": {}}), ""),
    ],
)
def test_refusal(worker: str, info: Info, words: str) -> None:
    """Privileges next to mapped users, a runtime that Docker does not have, and a quota where it has
    none."""
    refused = refusal_of(parse(f"worker: {worker}", "FILE"), info)
    assert words in refused and bool(refused) is bool(words)


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ([], True),
        (ALL_172, True),
        ([*ALL_172, *ALL_192], False),
        ([*ALL_172, IPv4Network("192.168.0.0/17")], True),
        ([*ALL_172, *(IPv4Network(f"192.168.{third}.7/32") for third in range(0, 256, 16))], False),
        ([IPv4Network("0.0.0.0/1"), IPv4Network("128.0.0.0/1")], False),
    ],
)
def test_addresses(taken: list[IPv4Network], left: bool) -> None:
    """All of Docker's own pools may be taken, by networks or by a VPN's routes."""
    assert has_addresses(DEFAULT_POOLS, taken) is left


def test_all_31_networks() -> None:
    """Docker's own pools are 31 networks; one that is free is found."""
    every = [each for pool in DEFAULT_POOLS for each in IPv4Network(pool.base).subnets(new_prefix=pool.size)]
    assert len(every) == 31 and not has_addresses(DEFAULT_POOLS, every)
    assert all(has_addresses(DEFAULT_POOLS, every[:at] + every[at + 1 :]) for at in range(31))


def test_large_pool() -> None:
    """A large pool of small networks is no long search."""
    taken = [IPv4Network(f"10.{second}.0.0/16") for second in range(255)]
    assert has_addresses([AddressPool("10.0.0.0/8", 30)], taken)


@pytest.mark.parametrize(
    ("pools", "taken", "subnet"),
    [
        (DEFAULT_POOLS, [], "172.17.0.0/24"),
        (DEFAULT_POOLS, [IPv4Network("172.17.0.0/16")], "172.18.0.0/24"),
        (DEFAULT_POOLS, [IPv4Network("172.17.0.0/24")], "172.17.1.0/24"),
        (DEFAULT_POOLS, [*ALL_172, *ALL_192], ""),
        ([AddressPool("10.0.0.0/16", 26)], [IPv4Network("10.0.0.0/26")], "10.0.0.64/26"),
        ([AddressPool("fd00::/48", 64), AddressPool("10.0.0.0/8", 8)], [], "10.0.0.0/24"),
        ([], [], ""),
    ],
)
def test_subnet(pools: list[AddressPool], taken: list[IPv4Network], subnet: str) -> None:
    """The workers' network gets no more addresses than it needs, of Docker's, that nobody has."""
    assert free_subnet(pools, taken, 24) == subnet


@pytest.mark.parametrize(
    ("cpus", "each", "prefix"), [(1, 1.0, 24), (64, 1.0, 24), (128, 1.0, 23), (32, 0.1, 22), (4096, 0.01, 12)]
)
def test_prefix(cpus: int, each: float, prefix: int) -> None:
    """There is an address for each worker that may fit, and once more."""
    assert prefix_for(cpus, each) == prefix


MISSING = reply(b'{"message":"network plancton not found"}', "404 Not Found")
ROUTES = (
    "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    "eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n"
    "tun0 000010AC 00000000 0001 0 0 0 0000F0FF 0 0 0\n"
)


@pytest.mark.parametrize(("subnet", "full"), [("192.168.0.0/16", True), ("192.168.0.0/20", False)])
def test_network_that_can_not_be_made(tmp_path: Path, subnet: str, full: bool) -> None:
    """A VPN over 172.16/12 and a network over the rest leave nothing: the remedy is named. What is
    there already needs no addresses."""
    (tmp_path / "net").mkdir()
    (tmp_path / "net/route").write_text(ROUTES)
    networks = json.dumps(
        [{"Name": "lan", "IPAM": {"Config": [{"Subnet": subnet}, {"Subnet": "fd00::/64"}]}}]
    )
    script: Script = {"GET /networks/plancton": MISSING, "GET /networks": reply(networks.encode())}
    with ScriptedDocker(tmp_path / "d.sock", script), Docker(tmp_path / "d.sock") as docker:
        if full:
            with pytest.raises(DockerError, match="default-address-pools"):
                require_room_for_network(docker, "plancton", Info(), tmp_path)
        else:
            require_room_for_network(docker, "plancton", Info(), tmp_path)
        require_room_for_network(
            docker, "plancton", Info(default_address_pools=[AddressPool("10.0.0.0/8", 24)])
        )


@pytest.mark.parametrize(
    "message",
    [
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign",
        "all predefined address pools have been fully subnetted",
    ],
)
def test_start_without_addresses(tmp_path: Path, message: str) -> None:
    """If the network can't be made at a start, one line has the remedy, whichever Docker says so."""
    refused = reply(json.dumps({"message": message}).encode(), "400 Bad Request")
    script: Script = {
        "GET /networks/plancton": MISSING,
        "POST /networks/create": refused,
        "POST /containers/create": reply(b'{"Id":"c1"}', "201 Created"),
        "POST /containers/c1/start": MISSING,
        "DELETE /containers/c1": reply(b"", "204 No Content"),
    }
    body: dict[str, Any] = {"HostConfig": {"Binds": []}}
    with ScriptedDocker(tmp_path / "d.sock", script), Docker(tmp_path / "d.sock") as docker:
        try:
            error: object = start_worker(docker, "w", body, None, Wanted("plancton", "i"))
        except DockerRefused as raised:
            error = raised
    assert "default-address-pools" in str(getattr(error, "error", error))
