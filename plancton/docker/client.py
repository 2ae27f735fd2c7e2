"""The calls of the Docker Engine's API (docs.docker.com/reference/api/engine) that are needed here.

No version of the API is fixed: each new connection first asks which one Docker speaks, so that
dockerd may be upgraded meanwhile. What can go wrong is in `errors`.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import msgspec

from plancton.docker.errors import DockerError, one_line, refusal
from plancton.docker.replies import (
    Container,
    Identity,
    Image,
    Info,
    Network,
    PullLine,
    Reply,
    Summary,
    Version,
    decode,
    first_file,
    log_text,
    may_be_file,
)
from plancton.docker.transport import Connection, EventStream, documents, read_all, read_most
from plancton.units import printable

T = TypeVar("T")

PULL_TIMEOUT = 120.0
"""Seconds between two pieces of a pull: registries pause, and a big layer takes long to extract."""
EVENT_TIMEOUT = 300.0
"""Seconds without any event after which a stream is taken for dead: its peer may have vanished."""
MAX_LOG = 64 * 1024
"""Bytes read of a log's end, for a message that shows a few lines."""
FLOOD = 1000
"""Lines of a log that are as bad as ``MAX_LOG`` bytes."""
PATH_STAT = "X-Docker-Container-Path-Stat"
TAR_HEADERS = 4 * 1024
"""Bytes before a file's content."""


class Docker:
    """The calls. ``timeout`` is in seconds, for the connect and for each silence.

    One object is used by one thread at a time and keeps one connection; threads make their own.
    Only `close` may be called from another thread: what waits then ends with DockerUnreachable.
    ``container`` is an id or a name everywhere.
    """

    def __init__(self, socket: Path | str, timeout: float = 30.0) -> None:
        self.socket = str(socket)
        self.timeout = timeout
        self._connection = Connection(self.socket, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the object can be used again. Event streams have their own."""
        self._connection.shutdown()
        self._connection.close()

    def ping(self) -> str:
        """Ask again which API version Docker speaks ("1.41"): GET /_ping."""
        return self._connection.negotiate()

    def info(self) -> Info:
        """Tell about Docker and its host: GET /info."""
        return self._call("tell about itself", "GET", "/info", Info)

    def version(self) -> Version:
        """Tell which programs it is made of: GET /version."""
        return self._call("tell its version", "GET", "/version", Version)

    # Containers

    def containers_named(self, part: str) -> list[Summary]:
        """List the containers with this in their names, stopped ones too: GET /containers/json."""
        return self._list_containers("name", part)

    def containers(self, label: str) -> list[Summary]:
        """List those with a label ("key" or "key=value"), stopped ones too."""
        return self._list_containers("label", label)

    def sizes(self, label: str) -> dict[str, int]:
        """What those with a label have written to their root, in bytes by id. Docker goes through
        their files for that; volumes don't count: GET /containers/json?size=1."""
        return {found.id: found.size_rw for found in self._list_containers("label", label, size="1")}

    def _list_containers(self, key: str, value: str, **more: str) -> list[Summary]:
        query = {"all": "1", "filters": _filters({key: [value]}), **more}
        return self._call("list containers", "GET", "/containers/json", list[Summary], query=query)

    def inspect(self, container: str) -> Container:
        """GET /containers/{id}/json."""
        return self._container("inspect", container, "GET", "/json", Container)

    def create(self, name: str, body: dict[str, Any]) -> str:
        """POST /containers/create, and return its id; Conflict if the name is taken."""
        what, query = f"create container {name}", {"name": name}
        return self._call(what, "POST", "/containers/create", Identity, query=query, body=body).id

    def start(self, container: str) -> None:
        """Start it; starting a running one is no error: POST /containers/{id}/start."""
        self._container("start", container, "POST", "/start", Reply)

    def signal(self, container: str, signal_name: str) -> None:
        """Send a signal ("SIGQUIT"); Conflict when it does not run: POST /containers/{id}/kill."""
        query = {"signal": signal_name}
        self._container(f"send {signal_name} to", container, "POST", "/kill", Reply, query=query)

    def unpause(self, container: str) -> None:
        """Let its processes go on: POST /containers/{id}/unpause."""
        self._container("unpause", container, "POST", "/unpause", Reply)

    def remove(self, container: str, force: bool = False) -> None:
        """Remove it with its anonymous volumes; ``force`` kills first: DELETE /containers/{id}."""
        query = {"force": str(int(force)), "v": "1"}
        self._container("remove", container, "DELETE", "", Reply, query=query)

    def set_shares(self, container: str, shares: int) -> None:
        """Set CpuShares; 0 would change nothing, 2 is the least: POST /containers/{id}/update."""
        self._container("update", container, "POST", "/update", Reply, body={"CpuShares": shares})

    def set_quota(self, container: str, quota: int, period: int) -> None:
        """Set CpuQuota and CpuPeriod (microseconds): POST /containers/{id}/update."""
        body = {"CpuQuota": quota, "CpuPeriod": period}
        self._container("update", container, "POST", "/update", Reply, body=body)

    def logs(self, container: str, lines: int = 5) -> str:
        """The last lines it wrote, at most 64 kB, fit for a terminal: GET /containers/{id}/logs."""
        data = self._log(container, {"tail": str(lines)})
        text = log_text(data).decode(errors="replace").splitlines()[-lines:]
        return "\n".join(printable(line) for line in text)

    def floods(self, container: str, since: float) -> bool:
        """Whether it has written 1000 lines, or 64 kB in fewer, since then (Unix time)."""
        data = self._log(container, {"tail": str(FLOOD), "since": f"{since:.6f}"})
        return len(data) >= MAX_LOG or log_text(data).count(b"\n") >= FLOOD

    def _log(self, container: str, query: dict[str, str]) -> bytes:
        what, path = f"show the log of container {container}", f"/containers/{_quote(container)}/logs"
        query = {"stdout": "1", "stderr": "1", **query}
        with self._connection.stream(what, "GET", path, query=query) as response:
            return read_most(response, MAX_LOG)

    def put_archive(self, container: str, path: str, tar: bytes) -> None:
        """Unpack a tar below ``path``, running or not: PUT /containers/{id}/archive."""
        what, url = f"put files into container {container}", f"/containers/{_quote(container)}/archive"
        with self._connection.stream(what, "PUT", url, query={"path": path}, data=tar) as response:
            read_all(response, what)

    def read_file(self, container: str, path: str, most: int) -> bytes:
        """The first ``most`` bytes of a file; of a link, a directory or a pipe, nothing.

        HEAD and GET /containers/{id}/archive. An old Docker starts itself again to pack even what is no
        file, and is asked before what is there; it may be another thing by then."""
        what, url = f"read {path} of container {container}", f"/containers/{_quote(container)}/archive"
        with self._connection.stream(what, "HEAD", url, query={"path": path}) as response:
            read_all(response, what)
            if not may_be_file(response.headers.get(PATH_STAT, "")):
                return b""
        with self._connection.stream(what, "GET", url, query={"path": path}) as response:
            return first_file(read_most(response, most + TAR_HEADERS))[:most]

    # Images

    def image(self, name: str) -> Image:
        """GET /images/{name}/json; NotFound when this host does not have it."""
        return self._call(f"find image {name}", "GET", f"/images/{_quote_image(name)}/json", Image)

    def image_ids(self) -> set[str]:
        """The ids of all images with a name, a digest or nothing made of them: GET /images/json."""
        found = self._call("list the images", "GET", "/images/json", list[Identity])
        return {image.id for image in found}

    def pull(self, name: str, on_progress: Callable[[str], None], registry_auth: str | None = None) -> None:
        """Fetch an image, telling of every step in a line: POST /images/create?fromImage=…

        ``registry_auth`` is the X-Registry-Auth header, with the registry's credentials.
        """
        image, tag = parse_reference(name)
        query = {"fromImage": image, "tag": tag}
        headers = {"X-Registry-Auth": registry_auth} if registry_auth else {}
        for line in self._create_image(f"pull {name}", query=query, headers=headers):
            on_progress(one_line(f"{line.id}: {line.status}" if line.id else line.status))

    def import_image(self, tar: BinaryIO | bytes, repo: str, tag: str) -> str:
        """Make an image of a tar of its files and return its id: POST /images/create?fromSrc=-"""
        query = {"fromSrc": "-", "repo": repo, "tag": tag}
        status = ""
        for line in self._create_image(f"import {repo}:{tag}", query=query, data=tar):
            status = line.status
        return status

    def _create_image(self, what: str, **more: Any) -> Iterator[PullLine]:
        """What POST /images/create reports; its status is 200 even when it fails later."""
        with self._connection.stream(what, "POST", "/images/create", timeout=PULL_TIMEOUT, **more) as answer:
            for line in documents(answer, PullLine, what):
                if line.error:
                    raise refusal(what, line.error_detail.code or 500, line.error)
                yield line

    def remove_image(self, name: str, force: bool = True) -> None:
        """DELETE /images/{name}; Conflict if a container runs from it (without force: is made of it)."""
        path, query = f"/images/{_quote_image(name)}", {"force": "1"} if force else {}
        self._call(f"remove image {name}", "DELETE", path, list[Reply], query=query)

    # Networks

    def network(self, name: str) -> Network:
        """GET /networks/{id}; NotFound if it does not exist."""
        return self._call(f"find network {name}", "GET", f"/networks/{_quote(name)}", Network)

    def networks(self) -> list[Network]:
        """All of them: GET /networks."""
        return self._call("list the networks", "GET", "/networks", list[Network])

    def create_network(self, name: str, body: dict[str, Any]) -> str:
        """POST /networks/create, and return its id; Conflict if the name is taken."""
        # CheckDuplicate: before API 1.44 two networks may otherwise get one name.
        whole = {"CheckDuplicate": True, **body, "Name": name}
        return self._call(f"create network {name}", "POST", "/networks/create", Identity, body=whole).id

    def remove_network(self, name: str) -> None:
        """DELETE /networks/{id}."""
        self._call(f"remove network {name}", "DELETE", f"/networks/{_quote(name)}", Reply)

    # Events

    def events(
        self, filters: dict[str, list[str]], since: float | None, timeout: float = EVENT_TIMEOUT
    ) -> EventStream:
        """Follow what happens, over a connection of its own: GET /events.

        ``since`` (seconds since the epoch) repeats what was missed. A float can't hold nanoseconds,
        so it asks from a microsecond earlier.
        """
        query = {"filters": _filters(filters)}
        if since is not None:
            query["since"] = f"{since - 1e-6:.6f}"
        connection = Connection(self.socket, self.timeout)
        try:
            response = connection.ask("send events", "GET", "/events", query=query)
            connection.set_timeout(timeout)
        except BaseException:
            connection.close()
            raise
        return EventStream(connection, response)

    def _container(self, verb: str, container: str, method: str, path: str, reply: type[T], **more: Any) -> T:
        what = f"{verb} container {container}"
        return self._call(what, method, f"/containers/{_quote(container)}{path}", reply, **more)

    def _call(self, what: str, method: str, path: str, reply: type[T], **more: Any) -> T:
        with self._connection.stream(what, method, path, **more) as response:
            content = read_all(response, what)
            return decode(b"{}" if response.status_code in (204, 304) else content, reply, what)


def parse_reference(name: str) -> tuple[str, str]:
    """Split an image's name into the image and its tag or digest; the digest wins over the tag.

    >>> parse_reference("registry:5000/some/image")
    ('registry:5000/some/image', 'latest')
    """
    rest, at, digest = name.partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,}", digest):
        # The name isn't shown: what stands before an @ may be a password.
        raise DockerError("this is not an image's name: a digest such as sha256:… must follow the @")
    # A colon before the last slash belongs to the registry's port.
    head, slash, last = rest.rpartition("/")
    base, _, tag = last.partition(":")
    if not base:
        raise DockerError(f"{name!r} is not an image's name: write busybox:1.36 or registry:5000/image")
    return head + slash + base, digest or tag or "latest"


def _quote(name: str) -> str:
    return quote(name, safe="")


def _quote_image(name: str) -> str:
    return quote(name, safe="/:@")


def _filters(filters: dict[str, list[str]]) -> str:
    return msgspec.json.encode(filters).decode()
