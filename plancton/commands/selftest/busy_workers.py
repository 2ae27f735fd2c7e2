"""The selftest's own two workers: shells that keep their CPUs busy, for a minute at most.

A new host may have no image yet and no way to a registry, and a worker's own image need not have a
shell. But every host has /bin/sh: so these workers have an image of empty directories (a few
hundred bytes, made and removed each time) with the host's own /usr mounted in it, read-only. Where
Plancton is in a container, they have that one's image.
"""

import contextlib
import io
import math
import secrets
import tarfile
import time
from pathlib import Path
from typing import Any

import msgspec

from plancton.config.schema import Config, Worker
from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, NotFound
from plancton.errors import PlanctonError
from plancton.host.cgroup_mounts import PROC
from plancton.host.slice import Slice
from plancton.host.worker_cgroup import find_worker
from plancton.units import Size
from plancton.workers.as_container import own_image
from plancton.workers.container import INSTANCE, create_body
from plancton.workers.same_host import NOT_HERE

PREFIX = "plancton-selftest-"
REPOSITORY, TAG = "localhost/plancton-selftest", "latest"
IMAGE = f"{REPOSITORY}:{TAG}"
COUNT = 2
LIFETIME = 75
"""Seconds after which they end by themselves, should nobody remove them before."""
PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Where programs and their libraries are; on most hosts all but the first are links into it."""
REMOVAL = 10.0
"""Seconds that Docker has to remove them."""
GENEROUS = Size(64 << 20)


class BusyWorkerError(PlanctonError):
    """The selftest's workers don't do their part, in one line."""


def start(
    docker: Docker, instance: str, workers_slice: Slice, cpus: int, root: Path = Path("/")
) -> list[str]:
    """Fill this many CPUs, with programs below ``root``; the containers' ids."""
    _remove_image(docker)  # left by a selftest that could not reach Docker at its end
    own = own_image(docker)
    if not own:
        docker.import_image(_image(root), REPOSITORY, TAG)
    body = _body(instance, workers_slice.parent, _spinner(cpus), root, own)
    return [_start(docker, f"{PREFIX}{instance}-{number}", body, workers_slice) for number in range(COUNT)]


def start_other(
    docker: Docker, instance: str, workers_slice: Slice, worker: Worker, network: str = "none"
) -> str:
    """One more, which does something else; its id. ``worker``: its command, and what it has besides
    the programs."""
    body = _body(instance, workers_slice.parent, worker, Path("/"), own_image(docker), network)
    return _start(docker, f"{PREFIX}{instance}-{secrets.token_hex(2)}", body, workers_slice)


def _start(docker: Docker, name: str, body: dict[str, Any], workers_slice: Slice) -> str:
    container = docker.create(name, {**body, "Hostname": name})
    docker.start(container)
    pid = docker.inspect(container).state.pid
    place = find_worker(workers_slice, container, pid, PROC)
    if pid and not place.group:
        where = f"{workers_slice.parent} ({place.elsewhere})"
        raise BusyWorkerError(f"Docker did not put {name} into {where}: {NOT_HERE}")
    return container


def verify(docker: Docker, ids: list[str]) -> None:
    """BusyWorkerError unless all of them still run."""
    for container in ids:
        try:
            found = docker.inspect(container)
        except NotFound:
            raise BusyWorkerError(
                "the selftest's workers were removed before its end: run it again; if that does not help,"
                " journalctl -u docker may say more"
            ) from None
        if not found.state.running:
            said = ""
            with contextlib.suppress(NotFound, Conflict):
                said = docker.logs(container, 1)
            reason = f"exit code {found.state.exit_code}" + (f": {said}" if said else "")
            raise BusyWorkerError(f"{found.name} ended too early, {reason}")


def remove(docker: Docker, instance: str) -> None:
    """Remove whatever is left of them and their image."""
    label, deadline = f"{INSTANCE}={instance}", time.monotonic() + REMOVAL
    while (found := docker.containers(label)) and time.monotonic() < deadline:
        for summary in found:
            with contextlib.suppress(NotFound, Conflict):  # Docker is removing it already
                docker.remove(summary.id, force=True)
        time.sleep(0.05)
    _remove_image(docker)


def _remove_image(docker: Docker) -> None:
    with contextlib.suppress(NotFound, Conflict):  # a container may still be using it
        docker.remove_image(IMAGE)


def _spinner(cpus: int) -> Worker:
    """Of which ``COUNT`` fill that many CPUs."""
    each = math.ceil(cpus / COUNT)
    # When the first process ends, the kernel ends all others of the container.
    spin = f"i=0; while [ $i -lt {each} ]; do i=$((i + 1)); while :; do :; done & done; exec sleep {LIFETIME}"
    return Worker(command=["/bin/sh", "-c", spin], cpus=each, memory=Size(GENEROUS + (each << 20)))


def _body(
    instance: str, parent: str, worker: Worker, root: Path, own: str, network: str = "none"
) -> dict[str, Any]:
    """Like any other worker's, except for what runs in it."""
    folders = [] if own else [root / name for name in PROGRAMS]
    programs = [f"/{it.name}:/{it.name}" for it in folders if it.is_dir() and not it.is_symlink()]
    worker = msgspec.structs.replace(worker, mounts=[*programs, *worker.mounts], read_only_root=True)
    body = create_body("", Config(worker=worker), own or IMAGE, "selftest", instance, parent, network)
    if own:
        body["Entrypoint"] = body.pop("Cmd")
    # docker-init would be mounted below /sbin, which is the host's here. The shell needs no reaper.
    body["HostConfig"] |= {"Init": False, "AutoRemove": True}
    return body


def _image(root: Path) -> bytes:
    """A tar of empty directories, and of links as the host has them."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in PROGRAMS:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if (root / name).is_symlink():
                entry.type, entry.linkname = tarfile.SYMTYPE, str((root / name).readlink())
            elif (root / name).is_dir():
                entry.type = tarfile.DIRTYPE
            else:
                continue
            tar.addfile(entry)
    return data.getvalue()
