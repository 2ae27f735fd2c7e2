"""What keeps a supervisor from starting at all, and is told before it does anything."""

import os
from contextlib import closing
from pathlib import Path

from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerPermission, DockerUnreachable
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.own_container import is_inside, why_not_the_host
from plancton.host.sampler import Sampler
from plancton.paths import Paths, RunDirError
from plancton.workers.as_container import ContainerError
from plancton.workers.as_container import require_network as require_own_network
from plancton.workers.network import require_network
from plancton.workers.same_host import require


def check_start(config: Config, paths: Paths, record: Path | None) -> None:
    """Raise what is wrong with the host, Docker or the recording's file."""
    if is_inside() and (lacks := why_not_the_host(paths.run, paths.state, config.docker.socket)):
        raise ContainerError(lacks)
    read_layout()
    with closing(Sampler(PROC)) as sampler:
        sampler.sample()
    try:
        with Docker(config.docker.socket, timeout=5.0) as docker:
            require(docker)
            require_own_network(docker)
            require_network(docker, config.docker.slice)
    except DockerPermission:
        raise
    except DockerUnreachable:
        pass  # it may come later: the supervisor says so and waits
    if record is not None:
        _require_writable(record)


def _require_writable(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o644))
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}; name another file") from None
