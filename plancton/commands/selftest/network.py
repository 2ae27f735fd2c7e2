"""The selftest's look at the workers' network: a worker of its own and this host exchange a few
megabytes over the workers' bridge, and the worker tries to reach a service of this host's.

No packet leaves this host.
"""

import contextlib
import shutil
import socket
import time
from collections.abc import Iterator

from plancton.commands.selftest.figures import Network
from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import NotFound
from plancton.workers.network import is_workers_network

PORT = 7733
MOST, LEAST, SECONDS = 2_000_000, 64_000, 1.5
"""Bytes that are sent each way at most and at least, and how long that is to take at its rate."""
PATIENCE = 8.0
"""Seconds for any one step."""
PROGRAM = f"""
import signal, socket
signal.alarm(60)
server = socket.create_server(("0.0.0.0", {PORT}))
peer, _ = server.accept()
peer.settimeout({PATIENCE})
stream = peer.makefile("rwb")
down, up, host, port = stream.readline().split()
assert len(stream.read(int(down))) == int(down)
stream.write(b"received\\n")
stream.flush()
stream.readline()
peer.sendall(bytes(int(up)))
stream.readline()
try:
    socket.create_connection((host.decode(), int(port)), 2)
    answer = b"open\\n"
except OSError:
    answer = b"closed\\n"
peer.sendall(answer)
"""


def why_not(docker: Docker, config: Config) -> str:
    """Why nothing is measured; empty if it can be."""
    if config.worker.network.host:
        return "not measured: workers have this host's own, where no rate holds and nothing is closed"
    try:
        if not is_workers_network(docker.network(config.docker.slice)):
            return f"not measured: {config.docker.slice} is not the workers' network"
    except NotFound:
        return "not measured: the workers' network is made when the first of them starts"
    return "" if python() else "not measured: there is no python3 in /usr/bin, which the worker needs"


def python() -> str | None:
    """A Python that is below /usr, which the worker has."""
    return shutil.which("python3", path="/usr/bin")


def command() -> list[str]:
    return [python() or "python3", "-I", "-S", "-c", PROGRAM]


def address_of(docker: Docker, name: str, container: str) -> str:
    """The worker's in the network of that name; empty: it has none."""
    found = docker.network(name).containers.get(container)
    text = found.get("IPv4Address") if isinstance(found, dict) else ""
    return str(text or "").partition("/")[0]


def measure(config: Config, address: str) -> Network | str:
    if not address:
        return "not measured: the worker has no address"
    rates = config.worker.network.rate_down, config.worker.network.rate_up
    down, up = (0 if rate is None else _amount(rate) for rate in rates)
    try:
        with _connected(address) as peer, socket.create_server((peer.getsockname()[0], 0)) as service:
            host, port = service.getsockname()
            stream = peer.makefile("rwb")
            stream.write(f"{down} {up} {host} {port}\n".encode())
            stream.flush()
            start = time.perf_counter()
            peer.sendall(bytes(down))
            stream.readline()
            received = time.perf_counter()
            peer.sendall(b"\n")
            if len(stream.read(up)) < up:
                return "not measured: the worker has ended"
            sent = time.perf_counter()
            peer.sendall(b"\n")
            answer = stream.readline().strip()
    except OSError as error:
        return f"not measured: this host does not reach its own worker ({error.strerror or error})"
    if not answer:
        return "not measured: the worker has ended"
    return Network(
        received=down * 8 / (received - start) if down else None,
        sent=up * 8 / (sent - received) if up else None,
        reaches_host=answer == b"open",
    )


def _amount(rate: int) -> int:
    return round(min(MOST, max(LEAST, rate / 8 * SECONDS)))


@contextlib.contextmanager
def _connected(address: str) -> Iterator[socket.socket]:
    """To the worker, which takes a moment until it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            peer = socket.create_connection((address, PORT), PATIENCE)
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with peer:
        yield peer
