"""Ends workers that a supervisor which no longer runs has left behind."""

import contextlib

from plancton.docker.client import Docker
from plancton.docker.errors import NotFound
from plancton.host.slice import Slice, read_layout
from plancton.rundir import Paths, last_places, peek_instance
from plancton.workers.container import is_ours
from plancton.workers.docker_calls import list_workers, remove_network


def remove_leftovers(paths: Paths) -> str:
    """Remove all containers of this instance, its network and its slice; one sentence about it."""
    instance = peek_instance(paths.state)
    count = sum(
        _remove(socket, workers_slice, instance) for socket, workers_slice in last_places(paths.state)
    )
    left = f"{count} worker that was" if count == 1 else f"{count} workers that were"
    return f"Plancton is not running; {left} left: removed."


def _remove(socket: str, name: str, instance: str) -> int:
    with Docker(socket) as docker:
        workers_slice = Slice(read_layout(), name, docker.info().cgroup_driver)
        ours = [c for c in list_workers(docker, instance) if is_ours(c, instance, workers_slice.parent)]
        for container in ours:
            with contextlib.suppress(NotFound):
                docker.remove(container.id, force=True)
        with contextlib.suppress(NotFound):
            remove_network(docker, name, instance)
    workers_slice.remove()
    return len(ours)
