"""What `plancton run` does before the supervisor takes over: find what would keep it from starting."""

import os
import sys
from contextlib import closing
from pathlib import Path

import msgspec

from plancton.config.load import load_config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerPermission, DockerUnreachable
from plancton.host.layout import PROC, read_layout
from plancton.host.own_container import is_inside, why_not_the_host
from plancton.host.sampler import Sampler
from plancton.rundir import RunDirError, default_paths
from plancton.workers.as_container import ContainerError
from plancton.workers.as_container import require_network as require_own_network
from plancton.workers.network import require_network
from plancton.workers.same_host import require


def check_start(config: Path | None, record: Path | None) -> None:
    """Raise what is wrong with the configuration, the host, Docker or the recording's file."""
    paths = default_paths()
    loaded = load_config(config or paths.config, missing_ok=config is None)
    if is_inside() and (lacks := why_not_the_host(paths.run, paths.state, loaded.docker.socket)):
        raise ContainerError(lacks)
    read_layout()
    with closing(Sampler(PROC)) as sampler:
        sampler.sample()
    try:
        with Docker(loaded.docker.socket, timeout=5.0) as docker:
            require(docker)
            require_own_network(docker)
            require_network(docker, loaded.docker.slice)
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


def supervisor_command(
    config: Path | None, dry_run: bool, now: bool, record: Path | None, verbose: bool, log: Path | None
) -> list[str]:
    """The process that stays: without the command line, nor (-P) code of the current directory."""
    options = {
        "config": str(config.absolute()) if config else None,
        "dry_run": dry_run,
        "now": now,
        "record": str(record.absolute()) if record else None,
        "verbose": verbose,
        "log": str(log) if log else None,
    }
    return [sys.executable, "-P", "-m", "plancton.daemon", msgspec.json.encode(options).decode()]
