"""Ends workers that a supervisor which no longer runs has left behind."""

import contextlib
from pathlib import Path

from plancton.actuator import list_workers, remove_network
from plancton.config import load
from plancton.containers import is_ours
from plancton.docker import Docker, NotFound
from plancton.rundir import Paths, peek_instance
from plancton.slice import Slice, read_layout


def remove_leftovers(paths: Paths) -> str:
    """Remove all containers of this instance, its network and its slice; one sentence about it."""
    config = load(Path(paths.config), missing_ok=True)
    instance = peek_instance(paths.state)
    with Docker(config.docker.socket) as docker:
        slice = Slice(read_layout(), config.docker.slice, docker.info().cgroup_driver)
        ours = [c for c in list_workers(docker, instance) if is_ours(c, instance, slice.parent)]
        for container in ours:
            with contextlib.suppress(NotFound):
                docker.remove(container.id, force=True)
        with contextlib.suppress(NotFound):
            remove_network(docker, config.docker.slice, instance)
    slice.remove()
    count = f"{len(ours)} worker that was" if len(ours) == 1 else f"{len(ours)} workers that were"
    return f"Plancton is not running; {count} left: removed."
