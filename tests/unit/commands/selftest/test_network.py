"""The selftest's look at the workers' network, with this host in the worker's place."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply

from plancton.commands.selftest import network
from plancton.commands.selftest.figures import Network
from plancton.config.schema import Config, Worker, WorkersNetwork
from plancton.docker.client import Docker
from plancton.units import Rate
from plancton.workers.container import INSTANCE
from plancton.workers.network import OPTIONS

HERE = "127.0.0.1"


def config(**settings: Any) -> Config:
    return Config(worker=Worker(network=WorkersNetwork(**settings)))


@contextmanager
def worker(program: str = network.PROGRAM) -> Iterator[None]:
    """What the worker runs, here instead of in a container."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", program]) as process:
        try:
            yield
        finally:
            process.kill()


def test_rates_are_measured() -> None:
    """What goes each way is timed where there is a rate, and only there; that a service of this host
    answers is seen."""
    with worker():
        found = network.measure(config(rate_down=Rate(100_000_000), rate_up=Rate(1_000_000)), HERE)
    assert isinstance(found, Network) and found.received and found.sent and found.reaches_host, found
    with worker():
        assert network.measure(config(), HERE) == Network(None, None, reaches_host=True)


def test_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that does not listen, or ends in between, is one line."""
    monkeypatch.setattr(network, "PATIENCE", 0.1)
    assert network.measure(config(), "") == "not measured: the worker has no address"
    found = network.measure(config(), HERE)
    assert isinstance(found, str) and "does not reach its own worker" in found
    monkeypatch.setattr(network, "PATIENCE", 8.0)
    with worker(network.PROGRAM.replace("peer.sendall(bytes(int(up)))", "raise SystemExit")):
        found = network.measure(config(rate_up=Rate(1_000_000)), HERE)
    assert isinstance(found, str) and found.startswith("not measured"), found


@pytest.mark.parametrize(
    ("made", "settings", "why"),
    [
        ({}, {}, ""),
        (None, {}, "when the first of them starts"),
        ({"Labels": {}}, {}, "is not the workers'"),
        ({}, {"host": True}, "this host's own"),
    ],
    ids=["there", "not there", "somebody else's", "the host's"],
)
def test_why_not(tmp_path: Path, made: dict[str, Any] | None, settings: dict[str, Any], why: str) -> None:
    """Only a network of the workers' own is looked at; else it is said why not."""
    found = {"Id": "n", "Driver": "bridge", "Labels": {INSTANCE: "i"}, "Options": OPTIONS}
    script: Script = {}
    if made is not None:
        script = {"GET /networks/plancton": reply(json.dumps(found | made).encode())}
    with ScriptedDocker(tmp_path / "s", script) as server, Docker(server.path) as docker:
        said = network.why_not(docker, config(**settings))
    assert why in said if why or not network.python() else said == "", said


@pytest.mark.parametrize(
    ("containers", "address"),
    [({"c1": {"IPv4Address": "172.20.0.2/24"}}, "172.20.0.2"), ({"c1": {}}, ""), ({"c1": 7}, ""), ({}, "")],
)
def test_its_address(tmp_path: Path, containers: dict[str, Any], address: str) -> None:
    """It is the network that tells it; one that is not there has none."""
    found = json.dumps({"Id": "n", "Containers": containers}).encode()
    with (
        ScriptedDocker(tmp_path / "s", {"GET /networks/plancton": reply(found)}) as server,
        Docker(server.path) as docker,
    ):
        assert network.address_of(docker, "plancton", "c1") == address
