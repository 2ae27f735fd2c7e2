"""The selftest's own two workers: shells that do nothing, as fast as they can, for a minute at the most.

A host that is just being provisioned may have no image yet and no way to a registry, and a worker's own
image need not have a shell. But each host has /bin/sh: so these workers have an image of empty directories
(a few hundred bytes, made and removed each time) with the host's own /usr in it, read-only.
"""

import contextlib
import io
import math
import tarfile
import time
from pathlib import Path
from typing import Any

from plancton.config.schema import Config, Worker
from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, NotFound
from plancton.docker.replies import Container
from plancton.errors import PlanctonError
from plancton.host.slice import PROC, Slice, group_of
from plancton.units import Size
from plancton.workers.container import INSTANCE, create_body

PREFIX = "plancton-selftest-"
REPOSITORY, TAG = "localhost/plancton-selftest", "latest"
IMAGE = f"{REPOSITORY}:{TAG}"
COUNT = 2
LIFETIME = 60
"""Seconds after which they end by themselves, and Docker removes them, should nobody do it before."""
PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Where programs and their libraries are; on most hosts all but the first are links into it."""
REMOVAL = 10.0
"""Seconds that Docker is given to remove them."""
GENEROUS = Size(64 << 20)


class BurnerError(PlanctonError):
    """The selftest's workers don't do their part, in one line."""


def start(docker: Docker, instance: str, workers_slice: Slice, cpus: int) -> list[str]:
    """Fill so many CPUs with them; the containers' ids."""
    _remove_image(docker)  # one that a selftest left when Docker was gone
    docker.import_image(_image(Path("/")), REPOSITORY, TAG)
    body = _body(instance, workers_slice.parent, cpus, Path("/"))
    return [_start(docker, f"{PREFIX}{instance}-{number}", body, workers_slice) for number in range(COUNT)]


def _start(docker: Docker, name: str, body: dict[str, Any], workers_slice: Slice) -> str:
    container = docker.create(name, {**body, "Hostname": name})
    docker.start(container)
    pid = docker.inspect(container).state.pid
    group = group_of(PROC, pid) if pid else None
    if pid and (group is None or not group.startswith(f"{workers_slice.path}/")):
        where = "where this host's cgroups don't show it" if group is None else f"into /{group}"
        raise BurnerError(
            f"Docker put {name} {where}, not into {workers_slice.parent}: Plancton needs a Docker Engine"
            " that runs as root, on this host itself"
        )
    return container


def verify(docker: Docker, ids: list[str]) -> None:
    """BurnerError if one of them runs no more."""
    for container in ids:
        try:
            found = docker.inspect(container)
        except NotFound:
            raise BurnerError(
                "the selftest's workers were gone before its end: run it again; if it stays like that,"
                " journalctl -u docker may say more"
            ) from None
        if not found.state.running:
            raise BurnerError(
                f"{found.name} ended before time, exit code {found.state.exit_code}{_last(docker, found)}"
            )


def _last(docker: Docker, container: Container) -> str:
    """What it said at last, if anything."""
    with contextlib.suppress(NotFound, Conflict):
        said = docker.logs(container.id, 1)
        return f": {said}" if said else ""
    return ""


def remove(docker: Docker, instance: str) -> None:
    """Remove them and their image, whichever of them there are."""
    label, deadline = f"{INSTANCE}={instance}", time.monotonic() + REMOVAL
    while (found := docker.containers(label)) and time.monotonic() < deadline:
        for summary in found:
            with contextlib.suppress(NotFound, Conflict):  # Docker does it already
                docker.remove(summary.id, force=True)
        time.sleep(0.05)
    _remove_image(docker)


def _remove_image(docker: Docker) -> None:
    with contextlib.suppress(NotFound, Conflict):  # a container may not have quite gone
        docker.remove_image(IMAGE)


def _body(instance: str, parent: str, cpus: int, root: Path) -> dict[str, Any]:
    """A worker like any other, but for what it is made of."""
    each = math.ceil(cpus / COUNT)
    worker = Worker(
        command=["/bin/sh", "-c", _command(each)],
        cpus=each,
        memory=Size(GENEROUS + (each << 20)),
        mounts=[f"/{name}:/{name}" for name in PROGRAMS if _is_directory(root / name)],
        read_only_root=True,
    )
    body = create_body("", Config(worker=worker), IMAGE, "selftest", instance, parent, "none")
    # docker-init would be mounted below /sbin, which is the host's here. The shell needs no reaper.
    body["HostConfig"] |= {"Init": False, "AutoRemove": True}
    return body


def _command(loops: int) -> str:
    """When the first process ends, the kernel ends all others of the container."""
    loop = "while :; do :; done &"
    return f"i=0; while [ $i -lt {loops} ]; do i=$((i + 1)); {loop} done; exec sleep {LIFETIME}"


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


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
