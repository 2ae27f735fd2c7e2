"""How Docker is asked for the workers' network, and what its rules are made of."""

import json
import socket
from pathlib import Path

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply

from plancton.config.load import parse
from plancton.config.schema import WorkersNetwork
from plancton.docker.client import Docker
from plancton.docker.replies import Ipam, Network, Subnet
from plancton.host.bandwidth import Rates, helper_device
from plancton.units import Rate
from plancton.workers import network
from plancton.workers.network import (
    BRIDGE,
    LONGEST,
    OPTIONS,
    Wanted,
    bridge_name,
    bridge_of,
    is_as_wanted,
    make_network,
    network_body,
    renew_network,
    unique_local,
)
from plancton.workers.reach_and_rates import bridges_of, find_servers, wanted_rates, wanted_reach

MADE = {"com.docker.network.driver.mtu": "1450", BRIDGE: "br-plancton", **OPTIONS}
USUAL = Network(id="n", name="plancton", driver="bridge", labels={"plancton.instance": "i"}, options=MADE)


def wanted(**settings: object) -> Wanted:
    return Wanted("plancton", "i", WorkersNetwork(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plancton", "x" * LONGEST, "plancton_test_0123456789abcdef"])
def test_bridge_name(name: str) -> None:
    """It is known before the network is there, fits into a device's name with the helper's prefix,
    and is another for each slice."""
    assert 4 < len(helper_device(bridge_name(name))) <= 15
    assert bridge_name(name) != bridge_name(f"{name}x")
    assert bridge_name("plancton") == "br-plancton"


def test_body() -> None:
    """Workers can't reach each other on their network, it carries our label, and its packets fit
    through the host's way out unless the configuration says another size."""
    made = network_body(wanted(), 1450)
    assert made["Options"] == MADE and made["Labels"] == {"plancton.instance": "i"}
    assert network_body(wanted(mtu=1280), 1450)["Options"]["com.docker.network.driver.mtu"] == "1280"
    assert "EnableIPv6" not in made and network_body(wanted(ipv6=True), 1450)["EnableIPv6"] is True


def test_a_name_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of the bridge's name is somebody else's, and Docker would take it over: it chooses
    another name."""
    monkeypatch.setattr(network, "is_device", lambda name: name == "br-plancton")
    assert BRIDGE not in network_body(wanted(), 1450)["Options"]


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({}, True), ({"mtu": 1450}, True), ({"mtu": 1280}, False), ({"ipv6": True}, False),
        ({"subnet": "192.168.77.0/24"}, True), ({"subnet": "192.168.78.0/24"}, False),
        ({"rate_up": Rate(10**6), "reach": "internet", "allow": ["10.0.0.1"]}, True),
    ],
)  # fmt: skip
def test_as_wanted(settings: dict[str, object], same: bool) -> None:
    """Only what Docker makes of it counts: rates and rules are changed in place."""
    made = Network(options=MADE, ipam=Ipam([Subnet("192.168.77.0/24")]))
    assert is_as_wanted(made, wanted(**settings), 1450) is same


@pytest.mark.parametrize(
    ("used", "mtu", "removed"), [(False, 1280, True), (True, 1280, False), (False, None, False)]
)
def test_renewed(tmp_path: Path, used: bool, mtu: int | None, removed: bool) -> None:
    """A network that would be made otherwise now is removed once nobody uses it."""
    found = {
        "Id": "n", "Name": "plancton", "Driver": "bridge", "Labels": {"plancton.instance": "i"},
        "Options": {**OPTIONS, "com.docker.network.driver.mtu": "1500"},
        "Containers": {"c": {}} if used else {},
    }  # fmt: skip
    script: Script = {
        "GET /networks/plancton": reply(json.dumps(found).encode()),
        "DELETE /networks/plancton": [b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"],
    }
    with ScriptedDocker(tmp_path / "d.sock", script) as server, Docker(tmp_path / "d.sock") as docker:
        renew_network(docker, wanted(mtu=mtu or 1500))
        assert any(call.startswith("DELETE") for call in server.requests) is removed


def test_made_as_asked(tmp_path: Path) -> None:
    """Its addresses are those of the configuration; with IPv6 it has some that are its own."""
    bodies = list[dict[str, object]]()

    def create(body: bytes) -> list[bytes | str]:
        bodies.append(json.loads(body))
        return reply(b'{"Id":"n"}', "201 Created")

    script: Script = {
        "GET /info": reply(b"{}"), "GET /networks": reply(b"[]"), "POST /networks/create": create,
    }  # fmt: skip
    called = list[bool]()
    with ScriptedDocker(tmp_path / "d.sock", script), Docker(tmp_path / "d.sock") as docker:
        make_network(docker, wanted(subnet="192.168.77.0/24", ipv6=True), lambda: called.append(True))
    subnets = [{"Subnet": "192.168.77.0/24"}, {"Subnet": unique_local("plancton")}]
    assert [body["IPAM"] for body in bodies] == [{"Config": subnets}] and called == [True]
    assert unique_local("plancton").startswith("fd") and unique_local("plancton").endswith("/64")


# ---------------------------------------------------------------- its rules


def test_from_the_configuration(tmp_path: Path) -> None:
    """What it says becomes rules and rates, with the host's own name servers open."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("nameserver 10.0.0.53\nnameserver 127.0.0.53\n")
    config = parse(
        "worker: {network: {reach: internet, allow: [10.9.0.0/16], rate_up: 8Mbit, lower_effort: false}}",
        "FILE",
    )
    reach = wanted_reach(config, ("br-plancton",), (), tmp_path)
    assert reach.internet_only and reach.allowed == ("10.9.0.0/16",) and not reach.lower_effort
    assert reach.resolvers == ("10.0.0.53",)
    assert wanted_rates(config) == Rates(None, 8_000_000)


@pytest.mark.parametrize(
    ("manager", "places"),
    [
        ("192.0.2.1", (("192.0.2.1", 9618),)),
        ("192.0.2.1:9620", (("192.0.2.1", 9620),)),
        ("[2001:db8::1]:9620?sock=collector", (("2001:db8::1", 9620),)),
        ("192.0.2.1,192.0.2.2", (("192.0.2.1", 9618), ("192.0.2.2", 9618))),
    ],
)
def test_servers(manager: str, places: tuple[tuple[str, int], ...]) -> None:
    """The pool's central managers are found by their addresses and ports."""
    text = f"htcondor: {{central_manager: '{manager}', token_file: /t}}"
    assert find_servers(parse(text, "FILE")) == (places, "")


def test_a_server_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that can't be resolved is said, and the others are found, without an interface's address."""

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host == "cm.example.org":
            raise OSError("no such name")
        return [(0, 0, 0, "", ("192.0.2.1", port)), (0, 0, 0, "", ("fe80::1%eth0", port, 0, 2))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    config = parse("htcondor: {central_manager: [cm.example.org, other], token_file: /t}", "FILE")
    found, wrong = find_servers(config)
    assert found == (("192.0.2.1", 9618),) and "cm.example.org" in wrong


def test_name_servers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager whose address was known keeps it while its name can't be resolved, as after a suspend:
    workers must not lose their pool for that."""
    config = parse("htcondor: {central_manager: cm.example.net, token_file: /t}", "FILE")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("192.0.2.7", 1))])
    before = find_servers(config)

    def fail(*_: object, **__: object) -> None:
        raise OSError("no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert find_servers(config) == before == ((("192.0.2.7", 9618),), "")


def test_bridges(tmp_path: Path) -> None:
    """A network that has another bridge than we would call it is closed as well; without Docker
    there is the name alone."""
    script: Script = {"GET /networks/plancton": reply(b'{"Id":"0123456789abcdef","Name":"plancton"}')}
    assert bridges_of(None, "plancton") == ("br-plancton",)
    assert bridge_of(USUAL) == "br-plancton"
    with ScriptedDocker(tmp_path / "d.sock", script), Docker(tmp_path / "d.sock") as docker:
        assert bridges_of(docker, "plancton") == ("br-plancton", "br-0123456789ab")
