"""What Plancton asks Docker about the container that Plancton itself is in, if it is in one."""

import contextlib
import time

from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.errors import PlanctonError
from plancton.host.own_container import own_id

HOST = "host"
STOP_SIGNAL = "SIGUSR1"
"""Our image's."""
ANSWER = 5.0
LINGER = 3.0
"""Seconds that the command that has asked for our end has for its own: it is in our container, and
`docker exec` hangs (Engine 20.10) when that ends before it."""


class ContainerError(PlanctonError):
    """What the container was not given, in one line with the flag."""


def require_network(docker: Docker) -> None:
    """ContainerError unless it has the host's network: rules for the workers' bridge would be made
    where no bridge is."""
    if (own := own_id()) and docker.inspect(own).host_config.network_mode != HOST:
        raise ContainerError(
            "this container has a network of its own, where no rule holds for the workers' network: start it"
            " with --network host (docs/install.md, As a container)"
        )


def own_image(docker: Docker) -> str:
    """The id of the image that we are in; empty: in none."""
    own = own_id()
    return docker.inspect(own).image if own else ""


def stay_stopped(socket: str) -> None:
    """Have Docker not start our container again when we end now: for Docker it is as if somebody had
    said `docker stop`."""
    if own := own_id():
        with contextlib.suppress(DockerError), Docker(socket, timeout=ANSWER) as docker:
            docker.signal(own, STOP_SIGNAL)
        time.sleep(LINGER)
