"""Everything that can go wrong between us and Docker.

The text is one line, without environment values or credentials, that names the thing and, where
there is one, the remedy:

    DockerError
     ├ DockerUnreachable      no socket, nobody listens, connection cut
     │  ├ DockerPermission    the socket may not be opened by this user
     │  └ DockerTimeout       no answer in time
     ├ NotDocker              something answers, but it is not a Docker Engine
     └ DockerRefused          Docker says no: .status and .message
        ├ NotFound            404
        └ Conflict            409
"""

import os
import re
from pathlib import Path

from plancton.errors import PlanctonError

NOT_DOCKER = "set docker.socket to the socket of a Docker Engine"


class DockerError(PlanctonError):
    """Anything that went wrong between us and Docker."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class DockerUnreachable(DockerError):
    """No socket, nobody listens, or the connection was cut."""


class DockerPermission(DockerUnreachable):
    """This user may not open the socket."""


class DockerTimeout(DockerUnreachable):
    """No answer in time; whether Docker did what was asked is unknown."""


class NotDocker(DockerError):
    """Something answers at the socket, but not as a Docker Engine does."""


class DockerRefused(DockerError):
    """Docker says no: ``status`` is HTTP's, ``message`` Docker's own words."""

    def __init__(self, what: str, status: int, message: str) -> None:
        self.status = status
        self.message = one_line(message)
        hint = " (its log may say more: journalctl -u docker)" if status >= 500 else ""
        super().__init__(f"Docker refused to {what}: {self.message or f'HTTP {status}'}{hint}")


class NotFound(DockerRefused):
    """404: no such container, image or network."""


class Conflict(DockerRefused):
    """409: the name is taken, or the state does not allow it."""


def one_line(text: str) -> str:
    """The text without line breaks and without the passwords of URLs."""
    return re.sub(r"//[^/@\s]+@", "//…@", " ".join(text.split()))


def refusal(what: str, status: int, message: str) -> DockerRefused:
    kind = {404: NotFound, 409: Conflict}.get(status, DockerRefused)
    return kind(what, status, message)


def connect_error(path: str, error: OSError) -> DockerUnreachable:
    """Why no connection to the socket can be had."""
    match error:
        case PermissionError():
            remedy = "add this user to the docker group (usermod -aG docker USER) or run as root"
            if os.geteuid() == 0:
                remedy = "a sandbox or a security module (AppArmor, SELinux) keeps root from it: see its log"
            return DockerPermission(f"permission denied on {path}: {remedy}")
        case FileNotFoundError() | NotADirectoryError():
            remedy = "start Docker (systemctl start docker) or set docker.socket"
            return DockerUnreachable(f"there is no Docker socket at {path}: {remedy}")
        case ConnectionRefusedError() if not Path(path).is_socket():
            return DockerUnreachable(f"{path} is not a socket: {NOT_DOCKER}")
        case ConnectionRefusedError():
            return DockerUnreachable(f"nobody listens on {path}: start Docker (systemctl start docker)")
        case BlockingIOError() | TimeoutError():  # the queue of a unix socket is full: EAGAIN
            return DockerTimeout(f"Docker on {path} accepts no connections: see systemctl status docker")
    return DockerUnreachable(f"can't connect to {path}: {error.strerror or error}")
