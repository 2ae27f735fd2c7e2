"""What a worker reaches by network, beside the table in docs/security.md and with the rules
there."""

import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest
from docker.harness import Engine, Plancton
from helpers.dictated_host import DictatedHost

pytestmark = pytest.mark.docker

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
REACH = PAGE.partition("## What a worker can reach")[2]
ROWS = dict(re.findall(r"^\| (.+?) \| \**(yes|no)\b.* \|$", REACH, re.MULTILINE))
RULES = re.findall(r"^    (iptables .*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
OWN, NEIGHBOUR, FAR, METADATA = "10.9.0.1", "10.9.0.2", "192.0.2.1", "169.254.169.254"
EVERYWHERE, LOCALLY = 8000, 8001
LISTEN = """
import socket, sys, time
open = [socket.create_server((host, int(port))) for host, port in zip(sys.argv[1::2], sys.argv[2::2])]
print("ready", flush=True)
time.sleep(600)
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


class Networks(msgspec.Struct, frozen=True):
    """Two network namespaces with a cable between them: the host's, with a dockerd, and the
    world's."""

    host: Path
    engine: Engine


def inside(network: Path, *command: str) -> list[str]:
    return ["nsenter", f"--net={network}", *command]


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def listen(stack: ExitStack, network: Path, *addresses: str | int) -> None:
    """Have somebody listen there, HOST and PORT in turn, as long as the stack is open."""
    words = map(str, addresses)
    command = inside(network, sys.executable, "-c", LISTEN, *words)
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stdout and process.stdout.readline() == "ready\n"


def reaches(network: Path, host: str, port: int) -> bool:
    command = inside(network, sys.executable, "-c", CONNECT, host, str(port))
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


@pytest.fixture
def networks(private_engine: Engine) -> Iterator[Networks]:
    """Docker's firewall rules are in force there, and nowhere else on this machine."""
    tag = secrets.token_hex(3)
    names = [f"plancton-host-{tag}", f"plancton-world-{tag}"]
    host, world = (Path("/run/netns") / name for name in names)
    with ExitStack() as stack:
        for name in names:
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
        cable = f"ip link add near netns {names[0]} type veth peer name far netns {names[1]}"
        run(*cable.split())
        for name, link, addresses in (
            (names[0], "near", [OWN]),
            (names[1], "far", [NEIGHBOUR, FAR, METADATA]),
        ):
            for each in ("lo", link):
                run("ip", "-n", name, "link", "set", each, "up")
            for address in addresses:
                run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", link)
        run("ip", "-n", names[0], "route", "add", "default", "via", NEIGHBOUR)
        listen(stack, host, "0.0.0.0", EVERYWHERE, "127.0.0.1", LOCALLY)
        listen(stack, world, "0.0.0.0", EVERYWHERE)
        engine = Engine(Path(tempfile.mkdtemp(prefix="plancton-test-")))
        engine.prefix = (*inside(host), *engine.prefix)
        stack.callback(engine.close)
        engine.start("--iptables=true", "--ip-forward=true", "--ip-masq=true")
        engine.import_image()
        yield Networks(host, engine)


def test_what_a_worker_reaches(networks: Networks, host: DictatedHost, tmp_path: Path) -> None:
    """A worker reaches what the page says, and with the page's rules nothing of the host and its
    network."""
    plancton = Plancton(tmp_path, networks.engine, host)
    with ExitStack() as stack:
        stack.callback(plancton.close)
        plancton.calm()
        plancton.start()
        one, other = (networks.engine.inspect(worker) for worker in sorted(plancton.full(2)))
        worker, beside = (Path(f"/proc/{each['State']['Pid']}/ns/net") for each in (one, other))
        network = other["NetworkSettings"]["Networks"][plancton.name]
        listen(stack, beside, "0.0.0.0", EVERYWHERE)
        assert reaches(beside, network["IPAddress"], EVERYWHERE)

        def reached() -> dict[str, bool]:
            return {
                "another worker": reaches(worker, network["IPAddress"], EVERYWHERE),
                "a host service that listens on 127.0.0.1 only": reaches(worker, network["Gateway"], LOCALLY),
                "Docker's socket": (worker.parents[1] / "root/run/docker.sock").exists(),
                "a host service on all addresses, through the bridge's": reaches(
                    worker, network["Gateway"], EVERYWHERE
                ),
                "a host service on all addresses, through the host's own": reaches(worker, OWN, EVERYWHERE),
                "other machines on the host's network": reaches(worker, NEIGHBOUR, EVERYWHERE),
                "a cloud's metadata service, 169.254.169.254": reaches(worker, METADATA, EVERYWHERE),
                "the internet": reaches(worker, FAR, EVERYWHERE),
            }

        assert {row: "yes" if each else "no" for row, each in reached().items()} == ROWS
        assert len(RULES) == 4
        for rule in RULES:
            run(*inside(networks.host, *rule.split()))
        assert {row for row, each in reached().items() if each} == {"the internet"}
