"""Calls to the Engine that belong together, for the request queue and for commands."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plancton.config.condor_environment import REPORT, VOLUME
from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, DockerRefused, NotFound
from plancton.docker.replies import Container
from plancton.host.sampler import read_process
from plancton.workers.container import INSTANCE, without_labels, without_resolvers
from plancton.workers.last_output import LAST_LINES, last_words
from plancton.workers.network import Wanted, make_network, renew_network

log = logging.getLogger(__name__)

MOST_SHARES = 262_144
"""Docker's maximum; next to it a worker with ordinary shares gets almost nothing."""
LARGEST_REPORT = 256 * 1024
"""Bytes of a worker's report: a line for each of 20,000 jobs."""
BETWEEN_SIGNALS = 0.2
"""Seconds between two of the same: one that comes while the first waits would be lost."""


class Remains(NamedTuple):
    """What an ended worker leaves: what it said about its end, and its report on jobs, if any."""

    words: str
    report: bytes | None


class Unstarted(NamedTuple):
    """A container that was created and could not be started: it is to be removed."""

    container: str
    error: DockerRefused


class Known(NamedTuple):
    """A running worker, and its first process: ``started`` by CLOCK_BOOTTIME."""

    name: str
    pid: int
    started: float


class Listing(NamedTuple):
    """The workers that Docker has: those that may have changed in full, the ids of the others."""

    changed: list[Container]
    as_before: set[str]


def examine(docker: Docker, container: str, reports: bool) -> Remains:
    lines = docker.logs(container, LAST_LINES).splitlines()
    for line in lines:
        log.debug("%s wrote: %s", container[:12], line)
    return Remains(last_words(lines), read_report(docker, container) if reports else None)


def read_report(docker: Docker, container: str) -> bytes:
    """A worker's report on its jobs; empty until one has ended."""
    try:
        return docker.read_file(container, REPORT, LARGEST_REPORT)
    except NotFound:
        return b""


def start_worker(
    docker: Docker,
    name: str,
    body: dict[str, Any],
    files: bytes | None,
    network: Wanted,
    network_made: Callable[[], None] = lambda: None,
) -> Container | Unstarted:
    """Create and start a container; ``network_made`` is called if its network was not there."""
    renew_network(docker, network)
    trial = without_labels(body)
    if trial is not None:  # for those with a label Docker would make directories on the owner's host
        docker.remove(docker.create(name, trial))
    container = _create(docker, name, body)
    try:
        if files is not None:
            docker.put_archive(container, VOLUME, files)
        try:
            docker.start(container)
        except NotFound as error:
            if f"network {network.name}" not in str(error):
                raise
            make_network(docker, network, network_made)
            docker.start(container)
        return docker.inspect(container)
    except DockerRefused as error:
        return Unstarted(container, error)


def _create(docker: Docker, name: str, body: dict[str, object]) -> str:
    try:
        return docker.create(name, body)
    except DockerRefused as error:
        # Docker may not see our run directory: a snap's does not see all, root not all on NFS.
        if "source path" not in error.message or "resolv.conf" not in error.message:
            raise
        return docker.create(name, without_resolvers(body))


def send_signal(docker: Docker, container: str, signal_name: str, paused: bool, again: bool = False) -> None:
    """``paused``: it is unpaused, because it could not act on the signal. ``again``: it gets it
    twice, which means at once."""
    if paused:
        _unpause(docker, container)
    try:
        docker.signal(container, signal_name)
    except Conflict:  # it does not run, or somebody has paused it just now
        if not _unpause(docker, container):
            raise
        docker.signal(container, signal_name)
    if again:
        time.sleep(BETWEEN_SIGNALS)
        with contextlib.suppress(NotFound, Conflict):  # once was enough
            docker.signal(container, signal_name)


def _unpause(docker: Docker, container: str) -> bool:
    try:
        docker.unpause(container)
    except DockerRefused:
        return False
    return True


def flooding(docker: Docker, containers: list[str], since: float) -> list[str]:
    """Those that have written more than any job does since then (Unix time)."""
    found = list[str]()
    for container in containers:
        with contextlib.suppress(DockerRefused):  # it has ended meanwhile
            if docker.floods(container, since):
                found.append(container)
    return found


def prefer(docker: Docker, containers: list[str]) -> None:
    """Give these first call on the slice's CPU; without root the others can't be frozen."""
    for container in containers:
        with contextlib.suppress(DockerRefused):  # it has ended meanwhile
            docker.set_shares(container, MOST_SHARES)


def list_workers(docker: Docker, instance: str) -> list[Container]:
    return list_changed(docker, instance, {}).changed


def list_changed(
    docker: Docker, instance: str, known: Mapping[str, Known], proc: Path = Path("/proc")
) -> Listing:
    """All containers with our label; those that run as they are ``known`` to (by id) are not
    inspected, which takes a millisecond each in dockerd and in us."""
    listing = Listing([], set())
    for summary in docker.containers(f"{INSTANCE}={instance}"):
        before = known.get(summary.id)
        if before and summary.state == "running" and summary.names == [before.name] and _runs(before, proc):
            listing.as_before.add(summary.id)
            continue
        with contextlib.suppress(NotFound):  # it has gone meanwhile
            listing.changed.append(docker.inspect(summary.id))
    return listing


def _runs(known: Known, proc: Path) -> bool:
    process = read_process(known.pid, proc)
    return process is not None and process.started == known.started


def how_it_ended(container: Container) -> str:
    state = container.state
    killed = ", out of memory" if state.oom_killed else ""
    return f"exit code {state.exit_code}{killed}" + (f" ({state.error})" if state.error else "")
