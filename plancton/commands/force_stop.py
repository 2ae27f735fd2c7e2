"""What `stop` does without a supervisor: sees that no worker is left, and with --force ends them."""

import contextlib
import time
from collections.abc import Iterator

from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerRefused, NotFound
from plancton.docker.replies import Container
from plancton.errors import PlanctonError
from plancton.host.cgroup_kill import kill_worker
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.slice import Slice
from plancton.host.slice_inspection import look_at
from plancton.host.worker_cgroup import find_worker
from plancton.instance import peek_instance
from plancton.paths import Paths
from plancton.running_supervisors import Lock, last_places
from plancton.status_reading import read_left
from plancton.workers.container import is_ours
from plancton.workers.docker_calls import list_workers
from plancton.workers.network import PREPARED, remove_network
from plancton.workers.reach_and_rates import bridges_of, undo

UNDER_WAY = 5.0
"""Seconds for removals that Docker still works on when the supervisor has given up."""


class WorkersLeft(PlanctonError):
    """The supervisor has ended, but some of its workers are left, or may be."""

    exit_code = 4


def verify_none_left(paths: Paths, place: Lock) -> str:
    """After the supervisor's end: one sentence, or raise what it has left behind, and why."""
    deadline = time.monotonic() + UNDER_WAY
    try:
        with _workers_of(place) as (docker, workers_slice):
            while left := our_workers(docker, workers_slice, peek_instance(paths.state)):
                if time.monotonic() > deadline:
                    raise _told(left, read_left(paths.run))
                time.sleep(0.2)
    except DockerError as error:
        if _anything_runs(place.workers_slice):
            raise WorkersLeft(f"Plancton has stopped, but workers still run: {error}") from None
        return "Stopped. Docker does not answer, but nothing runs in the workers' slice."
    return "Stopped."


def _anything_runs(name: str) -> bool:
    """Whether there is a process in this slice, whichever cgroup driver Docker has."""
    layout = read_layout()
    return any(look_at(Slice(layout, name, driver)).populated for driver in ("cgroupfs", "systemd"))


def remove_leftovers(paths: Paths) -> str:
    """Remove all containers of this instance, its network and its slice; one sentence about it."""
    instance = peek_instance(paths.state)
    try:
        count = sum(_remove(place, instance) for place in last_places(paths.state))
    except DockerError as error:
        raise WorkersLeft(
            f"Plancton is not running; whether it has left workers can't be seen: {error}"
        ) from None
    left = f"{count} worker that was" if count == 1 else f"{count} workers that were"
    return f"Plancton is not running; {left} left: removed."


@contextlib.contextmanager
def _workers_of(place: Lock) -> Iterator[tuple[Docker, Slice]]:
    with Docker(place.socket) as docker:
        yield docker, Slice(read_layout(), place.workers_slice, docker.info().cgroup_driver)


def our_workers(docker: Docker, workers_slice: Slice, instance: str) -> list[Container]:
    return [c for c in list_workers(docker, instance) if is_ours(c, instance, workers_slice.parent)]


def _told(left: list[Container], reasons: dict[str, str]) -> WorkersLeft:
    lines = [
        f"{each.name} {'runs' if each.state.running else 'has ended, but is not removed'}: "
        + reasons.get(each.name, "Plancton's log may say why")
        for each in left
    ]
    count = "1 worker is" if len(left) == 1 else f"{len(left)} workers are"
    whole = f"Plancton has stopped, but {count} left; `plancton stop --force` tries again to remove them"
    return WorkersLeft(whole, (whole, *lines))


def _remove(place: Lock, instance: str) -> int:
    """How many workers there were."""
    reasons = dict[str, str]()
    with _workers_of(place) as (docker, workers_slice):
        ours = our_workers(docker, workers_slice, instance)
        for container in ours:
            try:
                _end(docker, container, workers_slice)
            except DockerRefused as error:
                reasons[container.name] = str(error)
        if left := our_workers(docker, workers_slice, instance):
            raise _told(left, reasons)
        bridges = bridges_of(docker, place.workers_slice)
        with contextlib.suppress(NotFound):
            remove_network(docker, place.workers_slice, instance, PREPARED)
    workers_slice.remove()
    undo(place.workers_slice, bridges)
    return len(ours)


def _end(docker: Docker, container: Container, workers_slice: Slice) -> None:
    """Docker kills and removes it; if it refuses, the kernel kills it first."""
    with contextlib.suppress(NotFound):
        try:
            docker.remove(container.id, force=True)
        except DockerRefused:
            place = find_worker(workers_slice, container.id, container.state.pid, PROC)
            if not kill_worker(workers_slice, place.group, container.id):
                raise
            docker.remove(container.id, force=True)
