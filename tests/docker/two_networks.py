"""A host with a network of its own and a world beyond it, where a dockerd's and our firewall rules
are in force and nowhere else on this machine."""

import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
from docker.harness import Engine, Plancton, WithoutRoot
from helpers.dictated_host import DictatedHost

from plancton.host.resolvers import name_servers

OWN, NEIGHBOUR, FAR, METADATA = "10.9.0.1", "10.9.0.2", "192.0.2.1", "169.254.169.254"
EVERYWHERE, LOCALLY, DNS = 8000, 8001, 53
LISTEN = """
import socket, sys, time
open = [socket.create_server((host, int(port))) for host, port in zip(sys.argv[1::2], sys.argv[2::2])]
print("ready", flush=True)
time.sleep(600)
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"


class Networks(msgspec.Struct, frozen=True):
    """Two network namespaces with a cable between them: the host's, with a dockerd, and the
    world's. ``servers``: the name servers of this machine, which are in that world as well."""

    host: Path
    world: Path
    engine: Engine
    servers: tuple[str, ...]

    def run(self, *command: str) -> str:
        """On the host."""
        return run(*inside(self.host, *command))

    def has_table(self, plancton: Plancton) -> bool:
        """Whether our rules are in force there."""
        return f"table inet plancton-{plancton.name}\n" in self.run("nft", "list", "tables") + "\n"


class Inside(Plancton):
    """A supervisor in a host's network namespace."""

    def __init__(self, directory: Path, networks: Networks, host: DictatedHost) -> None:
        self.network = networks.host
        super().__init__(directory, networks.engine, host)

    def command(self, *arguments: str) -> list[str]:
        return inside(self.network, *super().command(*arguments))


class InsideWithoutRoot(WithoutRoot):
    """The same, without root."""

    def __init__(self, directory: Path, networks: Networks, host: DictatedHost) -> None:
        super().__init__(directory, networks.engine, host)
        self.network = networks.host

    def command(self, *arguments: str) -> list[str]:
        return inside(self.network, *super().command(*arguments))

    def as_root(self, *arguments: str) -> list[str]:
        return inside(self.network, *Plancton.command(self, *arguments))


def inside(network: Path, *command: str) -> list[str]:
    return ["nsenter", f"--net={network}", *command]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


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


@contextmanager
def two_networks() -> Iterator[Networks]:
    """To be used where there is a private engine, whose cgroups it shares."""
    tag = secrets.token_hex(3)
    names = [f"plancton-host-{tag}", f"plancton-world-{tag}"]
    host, world = (Path("/run/netns") / name for name in names)
    servers = tuple(sorted(name_servers()))
    with ExitStack() as stack:
        for name in names:
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
        cable = f"ip link add near netns {names[0]} type veth peer name far netns {names[1]}"
        run(*cable.split())
        for name, link, addresses in (
            (names[0], "near", [f"{OWN}/24"]),
            (names[1], "far", [*(f"{each}/24" for each in (NEIGHBOUR, FAR, METADATA)), *servers]),
        ):
            for each in ("lo", link):
                run("ip", "-n", name, "link", "set", each, "up")
            for address in addresses:
                run("ip", "-n", name, "addr", "add", address, "dev", link)
        run("ip", "-n", names[0], "route", "add", "default", "via", NEIGHBOUR)
        listen(stack, host, "0.0.0.0", EVERYWHERE, "127.0.0.1", LOCALLY)
        listen(stack, world, "0.0.0.0", EVERYWHERE, "0.0.0.0", DNS)
        engine = Engine(Path(tempfile.mkdtemp(prefix="plancton-test-")))
        engine.prefix = (*inside(host), *engine.prefix)
        stack.callback(engine.close)
        engine.start("--iptables=true", "--ip-forward=true", "--ip-masq=true")
        engine.import_image()
        yield Networks(host, world, engine, servers)
