"""Calls to the Engine that belong together, for the request queue and for commands."""

import contextlib
import logging
from typing import NamedTuple

from plancton.config.htcondor import REPORT, VOLUME
from plancton.docker.client import Docker
from plancton.docker.errors import DockerRefused, NotFound
from plancton.docker.replies import Container, Summary
from plancton.workers.container import INSTANCE, network_body

log = logging.getLogger(__name__)

MOST_SHARES = 262_144
"""Docker takes no more; beside it a worker of ordinary shares gets next to nothing."""
LARGEST_REPORT = 256 * 1024
"""Bytes of a worker's report: a line for each of 20,000 jobs."""
WORDS, LONGEST_WORDS = "plancton: ", 200
"""So begins a line that a worker means for the host's owner."""
LAST_LINES = 20
"""Of what a worker wrote before it ended, so much is looked at for what it says of itself."""


class Remains(NamedTuple):
    """What an ended worker leaves: what it said of its end, and the report on its jobs, if it makes any."""

    words: str
    report: bytes | None


def examine(docker: Docker, container: str, reports: bool) -> Remains:
    """Look at a container that has ended."""
    lines = docker.logs(container, LAST_LINES).splitlines()
    for line in lines:
        log.debug("%s wrote: %s", container[:12], line)
    words = [line.removeprefix(WORDS) for line in lines if line.startswith(WORDS)]
    return Remains(
        words[-1][:LONGEST_WORDS] if words else "", read_report(docker, container) if reports else None
    )


def read_report(docker: Docker, container: str) -> bytes:
    """A worker's report on its jobs; empty as long as none has ended."""
    try:
        return docker.read_file(container, REPORT, LARGEST_REPORT)
    except NotFound:
        return b""


def start_worker(
    docker: Docker, name: str, body: dict[str, object], files: bytes | None, network: str, instance: str
) -> Container:
    """Create and start one container; what was created is removed when it can't be started."""
    container = docker.create(name, body)
    try:
        if files is not None:
            docker.put_archive(container, VOLUME, files)
        try:
            docker.start(container)
        except NotFound as error:
            if f"network {network}" not in str(error):
                raise
            docker.create_network(network, network_body(instance))
            docker.start(container)
        return docker.inspect(container)
    except DockerRefused:
        docker.remove(container, force=True)
        raise


def flooding(docker: Docker, containers: list[str], since: float) -> list[str]:
    """Those that have written more than any job does since then (Unix time)."""
    found = []
    for container in containers:
        try:
            if docker.floods(container, since):
                found.append(container)
        except DockerRefused:  # it has ended meanwhile
            pass
    return found


def prefer(docker: Docker, containers: list[str]) -> None:
    """Put these first in line for the CPU that the slice gets; the others can't be frozen without root."""
    for container in containers:
        with contextlib.suppress(DockerRefused):  # it has ended meanwhile
            docker.set_shares(container, MOST_SHARES)


def remove_network(docker: Docker, name: str, instance: str) -> None:
    """Remove the workers' network if it is ours."""
    if docker.network(name).labels.get(INSTANCE) == instance:
        docker.remove_network(name)


def list_workers(docker: Docker, instance: str) -> list[Container]:
    """All containers with our label, in full; those that vanish meanwhile are left out."""
    found = list[Container]()
    for summary in docker.containers(f"{INSTANCE}={instance}"):
        container = _inspect(docker, summary)
        if container is not None:
            found.append(container)
    return found


def _inspect(docker: Docker, summary: Summary) -> Container | None:
    try:
        return docker.inspect(summary.id)
    except NotFound:
        return None


def how_it_ended(container: Container) -> str:
    state = container.state
    killed = ", out of memory" if state.oom_killed else ""
    return f"exit code {state.exit_code}{killed}" + (f" ({state.error})" if state.error else "")
