"""The Docker Engine: raw JSON over its unix socket, typed replies, one tree of errors.

https://docs.docker.com/reference/api/engine/ describes the API. Units are the Engine's: bytes,
10^-9 CPUs (NanoCpus), microseconds (CpuQuota); times of events are seconds since the epoch.

Everything that can go wrong is one of these, and its text is one line, without environment values
or credentials, that names the thing and, where there is one, the remedy:

    DockerError
     ├ DockerUnreachable      no socket, nobody listens, connection cut
     │  ├ DockerPermission    the socket may not be opened by this user
     │  └ DockerTimeout       no answer in time
     ├ NotDocker              something answers, but it is no Docker Engine
     └ DockerRefused          the Engine says no: .status and .message
        ├ NotFound            404
        └ Conflict            409

No version of the API is fixed: each new connection first asks what the Engine speaks (GET /_ping),
so that dockerd may be upgraded while Plancton runs.
"""

import io
import re
import socket as sockets
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Self, TypeVar
from urllib.parse import quote
from weakref import WeakSet

import msgspec
import requests_unixsocket  # type: ignore[import-untyped,unused-ignore]
from msgspec import field
from requests import RequestException, Response, Session
from requests_unixsocket.adapters import (  # type: ignore[import-untyped,unused-ignore]
    UnixAdapter,
    UnixHTTPConnection,
    UnixHTTPConnectionPool,
)
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as Urllib3Timeout

from plancton.errors import PlanctonError

T = TypeVar("T")

PULL_TIMEOUT = 120.0
"""Seconds between two pieces of a pull: registries pause, and a big layer takes long to extract."""

EVENT_TIMEOUT = 300.0
"""Seconds without any event after which a stream is taken for dead: the peer may have vanished silently."""

_MAX_LINE = 1 << 20  # bytes; the Engine's documents have a few kB: more is no Engine
_TAR_HEADERS = 4 * 1024  # bytes before a file's content
_MAX_LOG = 64 * 1024  # bytes read of a log's end, for a message that shows a few lines
_FLOOD = 1000
_NOT_DOCKER = "set docker.socket to the socket of a Docker Engine"


class DockerError(PlanctonError):
    """Anything that went wrong between us and the Engine; ``str()`` is one line for a person."""

    def __init__(self, message: str) -> None:
        super().__init__(_one_line(message))


class DockerUnreachable(DockerError):
    """No socket, nobody listens, or the connection was cut."""


class DockerPermission(DockerUnreachable):
    """This user may not open the socket."""


class DockerTimeout(DockerUnreachable):
    """The Engine gave no answer in time; whether it did what was asked is unknown."""


class NotDocker(DockerError):
    """Something answers at the socket, but not as a Docker Engine does."""


class DockerRefused(DockerError):
    """The Engine says no: ``status`` is HTTP's, ``message`` the Engine's own words."""

    def __init__(self, what: str, status: int, message: str) -> None:
        self.status = status
        self.message = _one_line(message)
        hint = " (its log may say more: journalctl -u docker)" if status >= 500 else ""
        super().__init__(f"Docker refused to {what}: {self.message or f'HTTP {status}'}{hint}")


class NotFound(DockerRefused):
    """404: no such container, image or network."""


class Conflict(DockerRefused):
    """409: the name is taken, or the state does not allow it."""


# Replies. Only what is used; fields that Docker adds are ignored, null or absent ones get the default.


class _Reply(msgspec.Struct, frozen=True, rename="pascal"):
    pass


class _Nothing(_Reply, frozen=True):
    pass


class _Created(_Reply, frozen=True):
    id: str


class Info(_Reply, frozen=True):
    """The Engine and its host: GET /info."""

    server_version: str = ""
    cgroup_driver: str = ""
    cgroup_version: str = ""
    docker_root_dir: str = ""
    ncpu: int = field(name="NCPU", default=0)
    mem_total: int = 0
    operating_system: str = ""
    driver: str = ""
    security_options: list[str] = []
    buildah_version: str = ""

    @property
    def is_podman(self) -> bool:
        """Podman's service tells of the Buildah it has in it; Docker has none."""
        return bool(self.buildah_version)


class Summary(_Reply, frozen=True):
    """A container as the list has it. ``names`` are without Docker's leading slash."""

    id: str
    names: list[str] = []
    labels: dict[str, str] = {}
    state: str = ""
    image: str = ""
    image_id: str = field(name="ImageID", default="")

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "names", [name.removeprefix("/") for name in self.names])


class ContainerState(_Reply, frozen=True):
    """``pid`` is 0 unless running; ``started_at`` and ``finished_at`` are RFC 3339 in dockerd's clock."""

    status: str = ""
    running: bool = False
    pid: int = 0
    exit_code: int = 0
    oom_killed: bool = field(name="OOMKilled", default=False)
    error: str = ""
    started_at: str = ""
    finished_at: str = ""


class ContainerConfig(_Reply, frozen=True):
    """What the container was made with."""

    labels: dict[str, str] = {}
    image: str = ""


class HostConfig(_Reply, frozen=True):
    """Its resources: shares, 10^-9 CPUs, microseconds, bytes."""

    cgroup_parent: str = ""
    cpu_shares: int = 0
    nano_cpus: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    memory: int = 0


class Container(_Reply, frozen=True):
    """A container in full. ``name`` is without Docker's leading slash, ``image`` is the image's id."""

    id: str
    name: str = ""
    created: str = ""
    image: str = ""
    state: ContainerState = ContainerState()
    config: ContainerConfig = ContainerConfig()
    host_config: HostConfig = HostConfig()

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", self.name.removeprefix("/"))


class Image(_Reply, frozen=True):
    """An image; ``size`` in bytes, ``created`` RFC 3339."""

    id: str
    repo_tags: list[str] = []
    repo_digests: list[str] = []
    size: int = 0
    created: str = ""


class _Listed(_Reply, frozen=True):
    id: str


class Network(_Reply, frozen=True):
    """A network of the Engine."""

    id: str
    name: str = ""
    driver: str = ""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True):
    """A pull so far: ``done`` of ``layers`` layers, ``current`` of ``total`` bytes, and one line.

    The total grows as the Engine learns of layers.
    """

    layers: int
    done: int
    current: int
    total: int
    text: str


class Event(msgspec.Struct, frozen=True):
    """Something that happened; ``time`` is seconds since the epoch by dockerd's clock."""

    action: str
    id: str
    name: str
    time: float
    attributes: dict[str, str]
    type: str = "container"


class _Actor(_Reply, frozen=True):
    id: str = field(name="ID", default="")
    attributes: dict[str, str] = {}


class _RawEvent(_Reply, frozen=True):
    action: str
    type: str = ""
    actor: _Actor = _Actor()
    time: int = field(name="time", default=0)
    time_nano: int = field(name="timeNano", default=0)


class _Bytes(msgspec.Struct, frozen=True):
    current: int = 0
    total: int = 0


class _ErrorDetail(msgspec.Struct, frozen=True):
    code: int = 0


class _PullLine(msgspec.Struct, frozen=True, rename="camel"):
    id: str = ""
    status: str = ""
    progress_detail: _Bytes = _Bytes()
    error: str = ""
    error_detail: _ErrorDetail = _ErrorDetail()


class Docker:
    """The calls that Plancton needs. ``timeout`` is in seconds, for the connect and for each silence.

    One object is used by one thread at a time and keeps one connection; threads make their own.
    Only `close` may be called from another thread: what waits then ends with DockerUnreachable.
    ``container`` is an id or a name everywhere.
    """

    def __init__(self, socket: Path | str, timeout: float = 30.0) -> None:
        self.socket = str(socket)
        self.timeout = timeout
        self._wire = _Wire(self.socket, timeout)
        self._streams: WeakSet[EventStream] = WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and the event streams; the object can be used again."""
        for stream in list(self._streams):
            stream.close()
        self._wire.shutdown()
        self._wire.close()

    # The Engine

    def ping(self) -> str:
        """Ask anew which API version the Engine speaks ("1.41")."""
        return self._wire.negotiate()

    def info(self) -> Info:
        """Tell about the Engine and its host: GET /info."""
        return self._call("tell about itself", "GET", "/info", Info)

    # Containers

    def containers_named(self, part: str) -> list[Summary]:
        """List the containers with this in their names, stopped ones too: GET /containers/json."""
        query = {"all": "1", "filters": _filters({"name": [part]})}
        return self._call("list containers", "GET", "/containers/json", list[Summary], query=query)

    def containers(self, label: str) -> list[Summary]:
        """List the containers with a label ("key" or "key=value"), stopped ones too: GET /containers/json."""
        query = {"all": "1", "filters": _filters({"label": [label]})}
        return self._call("list containers", "GET", "/containers/json", list[Summary], query=query)

    def inspect(self, container: str) -> Container:
        """GET /containers/{id}/json."""
        return self._container("inspect", container, "GET", "/json", Container)

    def create(self, name: str, body: dict[str, Any]) -> str:
        """Create a container and return its id; Conflict when the name is taken: POST /containers/create."""
        query = {"name": name}
        return self._call(
            f"create container {name}", "POST", "/containers/create", _Created, query=query, body=body
        ).id

    def start(self, container: str) -> None:
        """Start it; starting a running one is no error: POST /containers/{id}/start."""
        self._container("start", container, "POST", "/start", _Nothing)

    def signal(self, container: str, signal: str) -> None:
        """Send a signal ("SIGQUIT"); Conflict when it does not run: POST /containers/{id}/kill."""
        self._container(f"send {signal} to", container, "POST", "/kill", _Nothing, query={"signal": signal})

    def remove(self, container: str, force: bool = False, volumes: bool = True) -> None:
        """Remove it with its anonymous volumes; ``force`` kills first: DELETE /containers/{id}."""
        query = {"force": str(int(force)), "v": str(int(volumes))}
        self._container("remove", container, "DELETE", "", _Nothing, query=query)

    def set_shares(self, container: str, shares: int) -> None:
        """Set CpuShares; 0 would change nothing, 2 is the least."""
        self.update(container, {"CpuShares": shares})

    def set_quota(self, container: str, quota: int, period: int) -> None:
        """Set CpuQuota and CpuPeriod (microseconds)."""
        self.update(container, {"CpuQuota": quota, "CpuPeriod": period})

    def update(self, container: str, body: dict[str, Any]) -> None:
        """Change its resources: POST /containers/{id}/update."""
        self._container("update", container, "POST", "/update", _Nothing, body=body)

    def logs(self, container: str, lines: int = 5) -> str:
        """Return the last lines it wrote, at most 64 kB, fit for a terminal: GET /containers/{id}/logs."""
        data = self._log(container, {"tail": str(lines)})
        text = _demultiplex(data).decode(errors="replace").splitlines()[-lines:]
        return "\n".join("".join(char if char.isprintable() else " " for char in line) for line in text)

    def floods(self, container: str, since: float) -> bool:
        """Whether it has written 1000 lines, or 64 kB in fewer, since then (Unix time)."""
        data = self._log(container, {"tail": str(_FLOOD), "since": f"{since:.6f}"})
        return len(data) >= _MAX_LOG or _demultiplex(data).count(b"\n") >= _FLOOD

    def _log(self, container: str, query: dict[str, str]) -> bytes:
        what = f"show the log of container {container}"
        query = {"stdout": "1", "stderr": "1", **query}
        with self._wire.stream(what, "GET", f"/containers/{_quote(container)}/logs", query=query) as response:
            data = b""
            while len(data) < _MAX_LOG and (piece := response.raw.read1(_MAX_LOG, decode_content=False)):
                data += piece
        return data

    def put_archive(self, container: str, path: str, tar: bytes) -> None:
        """Unpack a tar below ``path`` of a container, running or not: PUT /containers/{id}/archive."""
        what = f"put files into container {container}"
        url = f"/containers/{_quote(container)}/archive"
        with self._wire.stream(what, "PUT", url, query={"path": path}, data=tar) as response:
            response.content  # noqa: B018 (only then is the connection kept)

    def read_file(self, container: str, path: str, most: int) -> bytes:
        """Return the first ``most`` bytes of a container's file, or none if it is something else (a link, a
        directory): GET /containers/{id}/archive."""
        what = f"read {path} of container {container}"
        url = f"/containers/{_quote(container)}/archive"
        data, enough = b"", most + _TAR_HEADERS
        with self._wire.stream(what, "GET", url, query={"path": path}) as response:
            while len(data) < enough and (piece := response.raw.read1(enough, decode_content=False)):
                data += piece
        return _first_file(data)[:most]

    # Images

    def image(self, name: str) -> Image:
        """GET /images/{name}/json; NotFound when this host does not have it."""
        return self._call(f"find image {name}", "GET", f"/images/{quote(name, safe='/:@')}/json", Image)

    def image_ids(self) -> set[str]:
        """The ids of all images with a name, a digest or nothing made of them: GET /images/json."""
        found = self._call("list the images", "GET", "/images/json", list[_Listed])
        return {image.id for image in found}

    def pull(
        self, name: str, on_progress: Callable[[Progress], None], registry_auth: str | None = None
    ) -> None:
        """Fetch an image, telling of every step: POST /images/create?fromImage=…

        ``registry_auth`` is the X-Registry-Auth header, with the registry's credentials.
        """
        image, tag = parse_reference(name)
        query = {"fromImage": image, "tag": tag}
        headers = {"X-Registry-Auth": registry_auth} if registry_auth else {}
        layers = _Layers()
        for line in self._create_image(f"pull {name}", query, None, headers):
            on_progress(layers.after(line))

    def import_image(self, tar: BinaryIO | bytes, repo: str, tag: str) -> str:
        """Make an image of a tar of its files and return its id: POST /images/create?fromSrc=-"""
        query = {"fromSrc": "-", "repo": repo, "tag": tag}
        status = ""
        for line in self._create_image(f"import {repo}:{tag}", query, tar):
            status = line.status
        return status

    def remove_image(self, name: str, force: bool = True) -> None:
        """Remove it unless a container runs from it (without force: is made of it): DELETE /images/{name}."""
        path = f"/images/{quote(name, safe='/:@')}"
        query = {"force": "1"} if force else {}
        self._call(f"remove image {name}", "DELETE", path, list[_Nothing], query=query)

    def _create_image(
        self,
        what: str,
        query: dict[str, str],
        data: BinaryIO | bytes | None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[_PullLine]:
        """Yield what POST /images/create reports; its HTTP status is 200 even when it fails later."""
        with self._wire.stream(
            what, "POST", "/images/create", query=query, data=data, headers=headers, timeout=PULL_TIMEOUT
        ) as response:
            for line in _documents(response, _PullLine, what):
                if line.error:
                    _refuse(what, line.error_detail.code or 500, line.error)
                yield line

    # Networks

    def network(self, name: str) -> Network:
        """GET /networks/{id}; NotFound when there is none."""
        return self._call(f"find network {name}", "GET", f"/networks/{_quote(name)}", Network)

    def create_network(self, name: str, body: dict[str, Any]) -> str:
        """Create a network and return its id; Conflict when the name is taken: POST /networks/create."""
        # CheckDuplicate: before API 1.44 two networks may otherwise get one name.
        whole = {"CheckDuplicate": True, **body, "Name": name}
        return self._call(f"create network {name}", "POST", "/networks/create", _Created, body=whole).id

    def remove_network(self, name: str) -> None:
        """DELETE /networks/{id}."""
        self._call(f"remove network {name}", "DELETE", f"/networks/{_quote(name)}", _Nothing)

    # Events

    def events(
        self, filters: dict[str, list[str]], since: float | None, timeout: float = EVENT_TIMEOUT
    ) -> "EventStream":
        """Follow what happens, over a connection of its own: GET /events.

        ``since`` (seconds since the epoch, an event's time) repeats what was missed. A float can't hold
        nanoseconds, so it asks from a microsecond earlier: expect the last event once more.
        """
        query = {"filters": _filters(filters)}
        if since is not None:
            query["since"] = f"{since - 1e-6:.6f}"
        wire = _Wire(self.socket, self.timeout)
        try:
            response = wire.ask("send events", "GET", "/events", query=query)
            wire.set_timeout(timeout)
        except BaseException:
            wire.close()
            raise
        stream = EventStream(wire, response)
        self._streams.add(stream)
        return stream

    def _container(self, verb: str, container: str, method: str, path: str, reply: type[T], **more: Any) -> T:
        what = f"{verb} container {container}"
        return self._call(what, method, f"/containers/{_quote(container)}{path}", reply, **more)

    def _call(
        self,
        what: str,
        method: str,
        path: str,
        reply: type[T],
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> T:
        with self._wire.stream(what, method, path, query=query, body=body) as response:
            content = response.content  # also an empty one: only then is the connection kept
            return _decode(b"{}" if response.status_code in (204, 304) else content, reply, what)


class EventStream:
    """Iterate over events as they arrive.

    A stream that ends by itself raises: DockerTimeout after ``timeout`` seconds of silence, else
    DockerUnreachable. `close`, from any thread (but not from a signal handler), ends it without an error.
    """

    def __init__(self, wire: "_Wire", response: Response) -> None:
        self._wire = wire
        self._response = response
        self._events = _documents(response, _RawEvent, "send events")
        self._closed = False
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._reading:
            if self._closed:
                raise StopIteration
            try:
                with self._wire.faults("send events"):
                    raw = next(self._events, None)
                if raw is None:
                    raise DockerUnreachable(f"Docker on {self._wire.socket} ended the event stream")
            except DockerError:
                was_closed, self._closed = self._closed, True
                self._release()
                if was_closed:
                    raise StopIteration from None
                raise
            return _event(raw)

    def close(self) -> None:
        """End the iteration, also one that waits in another thread."""
        self._closed = True
        self._wire.shutdown()  # closing what another thread reads would wait for it, perhaps for ever
        with self._reading:
            self._release()

    def _release(self) -> None:
        self._response.close()
        self._wire.close()


class _Wire:
    """One kept connection to one socket, and the API version that its peer speaks."""

    def __init__(self, socket: str, timeout: float) -> None:
        self.socket = socket
        self.timeout = timeout
        self._version = ""
        self._adapter = _Adapter(socket)
        self._session: Session = requests_unixsocket.Session()
        self._session.trust_env = False  # no proxy and no .netrc for a local socket
        self._session.headers.clear()
        self._session.headers["User-Agent"] = "plancton"
        self._session.mount("http+unix://", self._adapter)

    def negotiate(self) -> str:
        """Take the API version from GET /_ping, which is the same in all versions."""
        self._version = ""
        with self.faults("say its API version"):
            response = self._send("GET", "/_ping", {}, None, None, self.timeout)
            with response:
                response.content  # noqa: B018 (an answer read to its end leaves the connection usable)
        version = response.headers.get("Api-Version", "")
        if not re.fullmatch(r"\d+\.\d+", version):
            raise NotDocker(f"{self.socket} is no Docker Engine (no Api-Version): {_NOT_DOCKER}")
        if response.status_code != 200:
            _refuse("say its API version", response.status_code, _message(response.content))
        self._version = version
        return version

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        data: BinaryIO | bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Return the answer with its body still to be read (under `faults`); refusals are raised."""
        if not (self._version and self._adapter.connected()):
            self.negotiate()
        headers = dict(headers or {})
        if data is not None:
            headers["Content-Type"] = "application/x-tar"
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), "application/json"
        seconds = self.timeout if timeout is None else timeout
        with self.faults(what, seconds):
            response = self._send(method, f"/v{self._version}{path}", query or {}, data, headers, seconds)
            if response.status_code < 300 or response.status_code == 304:
                return response
            with response:
                message = _message(response.content)
        if response.status_code < 400:
            raise NotDocker(f"{self.socket} answered with a redirection: {_NOT_DOCKER}")
        _refuse(what, response.status_code, _without_environment(message, body))

    @contextmanager
    def stream(self, what: str, method: str, path: str, **more: Any) -> Iterator[Response]:
        """Like `ask`, and whatever goes wrong while the body is read is one of our errors too."""
        response = self.ask(what, method, path, **more)
        with self.faults(what, more.get("timeout")), response:
            # http.client takes a head that was cut for a whole one, whose body ends with the connection.
            known_end = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
            if not known_end and response.status_code not in (204, 304):
                raise self._cut(what)
            yield response

    @contextmanager
    def faults(self, what: str, seconds: float | None = None) -> Iterator[None]:
        """Turn whatever requests, urllib3, http.client and the socket raise into our errors."""
        try:
            yield
        except (RequestException, HTTPError, HTTPException, OSError) as error:
            raise self._fault(error, what, seconds) from error

    def _fault(self, error: BaseException, what: str, seconds: float | None) -> DockerError:
        chain = list(_chain(error))
        if any(isinstance(each, TimeoutError | Urllib3Timeout) for each in chain):
            waited = "in time" if seconds is None else f"within {seconds:g} s"
            return DockerTimeout(
                f"Docker on {self.socket} gave no answer {waited} when asked to {what}:"
                " see systemctl status docker"
            )
        # These two are how http.client says "cut"; its other errors mean that the peer doesn't speak HTTP.
        cut = (RemoteDisconnected, IncompleteRead)
        if any(isinstance(each, HTTPException) and not isinstance(each, cut) for each in chain):
            return NotDocker(f"{self.socket} does not speak HTTP: {_NOT_DOCKER}")
        return self._cut(what)

    def _cut(self, what: str) -> DockerUnreachable:
        return DockerUnreachable(
            f"Docker on {self.socket} cut the connection when asked to {what}: has it been stopped?"
        )

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str],
        data: BinaryIO | bytes | None,
        headers: dict[str, str] | None,
        seconds: float,
    ) -> Response:
        return self._session.request(
            method,
            f"http+unix://docker{path}",
            params=query,
            data=data,
            headers=headers,
            timeout=(self.timeout, seconds),
            allow_redirects=False,
            stream=True,
        )

    def set_timeout(self, seconds: float) -> None:
        """Set how long the answer under way may stay silent from now on."""
        if self._adapter.connection and self._adapter.connection.wire:
            self._adapter.connection.wire.settimeout(seconds)

    def shutdown(self) -> None:
        """Make whoever reads here, in any thread, see the end of the stream."""
        connection = self._adapter.connection
        if connection and connection.wire:
            with suppress(OSError):  # not connected any more
                connection.wire.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        self._version = ""
        self._session.close()


class _Adapter(UnixAdapter):  # type: ignore[misc,unused-ignore]
    """requests-unixsocket's adapter with one pool, of one connection: its own makes one for every URL."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.connection: _Connection | None = None

    def get_connection(self, url: str, proxies: object = None) -> "_Pool":
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(self.path)
            if pool is None:
                pool = self.pools[self.path] = _Pool(self)
            return pool

    def connected(self) -> bool:
        return self.connection is not None and bool(self.connection.is_connected)


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc,unused-ignore]
    def __init__(self, adapter: _Adapter) -> None:
        super().__init__(f"http+unix://{quote(adapter.path, safe='')}")
        self.adapter = adapter

    def _new_conn(self) -> "_Connection":
        self.adapter.connection = _Connection(self.adapter.path)
        return self.adapter.connection


class _Connection(UnixHTTPConnection):  # type: ignore[misc,unused-ignore]
    """A connection that says why it fails, and whose socket stays known while an answer is read from it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path
        self.wire: sockets.socket | None = None

    def connect(self) -> None:
        wire = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
        try:
            wire.settimeout(self.timeout)
            wire.connect(self.path)
        except OSError as error:
            wire.close()
            raise _cannot_connect(self.path, error) from error
        self.sock = self.wire = wire


class _Layers:
    """Sums up a pull, of which Docker tells layer by layer."""

    def __init__(self) -> None:
        self._bytes: dict[str, _Bytes] = {}
        self._done: set[str] = set()

    def after(self, line: _PullLine) -> Progress:
        # "Pulling from library/busybox" carries the tag as its id: that is no layer.
        if line.id and not line.status.startswith("Pulling from"):
            self._count(line)
        return Progress(
            layers=len(self._bytes),
            done=len(self._done),
            current=sum(layer.current for layer in self._bytes.values()),
            total=sum(layer.total for layer in self._bytes.values()),
            text=_one_line(f"{line.id}: {line.status}" if line.id else line.status),
        )

    def _count(self, line: _PullLine) -> None:
        so_far = self._bytes.setdefault(line.id, _Bytes())
        # Extracting counts the same bytes once more.
        if line.status == "Downloading":
            total = max(line.progress_detail.total, so_far.total)
            self._bytes[line.id] = _Bytes(line.progress_detail.current, total)
        elif line.status in ("Download complete", "Pull complete"):
            self._bytes[line.id] = _Bytes(so_far.total, so_far.total)
        if line.status in ("Pull complete", "Already exists"):
            self._done.add(line.id)


def parse_reference(name: str) -> tuple[str, str]:
    """Split an image's name into the image and its tag or digest; the digest counts where both are given.

    >>> parse_reference("registry:5000/some/image")
    ('registry:5000/some/image', 'latest')
    """
    rest, at, digest = name.partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9+._-]+:[0-9A-Fa-f]{32,}", digest):
        # The name isn't shown: what stands before an @ may be a password.
        raise DockerError("this is no image's name: after the @ comes a digest such as sha256:…")
    # A colon before the last slash belongs to the registry's port.
    head, slash, last = rest.rpartition("/")
    base, _, tag = last.partition(":")
    if not base:
        raise DockerError(f"{name!r} is no image's name: write it like busybox:1.36 or registry:5000/image")
    return head + slash + base, digest or tag or "latest"


def engine_pid(socket_path: Path | str) -> int | None:
    """Return the pid of the process that listens, or None when that can't be known.

    The kernel remembers who called listen(): that is init where systemd opened the socket for dockerd,
    and 0 for a process of another pid namespace. Both mean unknown.
    """
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as wire:
        wire.settimeout(1.0)
        try:
            wire.connect(str(socket_path))
            credentials = wire.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid: int = struct.unpack("3i", credentials)[0]
    return pid if pid > 1 else None


def _cannot_connect(path: str, error: OSError) -> DockerUnreachable:
    if isinstance(error, PermissionError):
        return DockerPermission(
            f"permission denied on {path}: add this user to the docker group"
            " (usermod -aG docker USER) or run as root"
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return DockerUnreachable(
            f"there is no Docker socket at {path}: start Docker (systemctl start docker) or set docker.socket"
        )
    if isinstance(error, ConnectionRefusedError) and not Path(path).is_socket():
        return DockerUnreachable(f"{path} is no socket: {_NOT_DOCKER}")
    if isinstance(error, ConnectionRefusedError):
        return DockerUnreachable(f"nobody listens on {path}: start Docker (systemctl start docker)")
    if isinstance(error, BlockingIOError | TimeoutError):  # the queue of a unix socket is full: EAGAIN
        return DockerTimeout(f"Docker on {path} accepts no connections: see systemctl status docker")
    return DockerUnreachable(f"can't connect to {path}: {error.strerror or error}")


def _refuse(what: str, status: int, message: str) -> NoReturn:
    kind = {404: NotFound, 409: Conflict}.get(status, DockerRefused)
    raise kind(what, status, message)


def _message(body: bytes) -> str:
    """Return the Engine's own words, or the start of what stands in their place."""
    with suppress(msgspec.DecodeError):
        said = msgspec.json.decode(body, type=dict[str, Any]).get("message")
        if isinstance(said, str):
            return said
    return body[:200].decode(errors="replace")


def _without_environment(message: str, body: dict[str, Any] | None) -> str:
    """Mask what the Engine quotes of the environment that was sent ("invalid environment variable: …")."""
    entries = (body or {}).get("Env") or []
    values = [entry.partition("=")[2] for entry in entries]
    # Masking a value of a letter or two would only spoil other words.
    for secret in sorted([*entries, *(value for value in values if len(value) > 3)], key=len, reverse=True):
        message = message.replace(secret, "…") if secret else message
    return message


def _one_line(text: str) -> str:
    return re.sub(r"//[^/@\s]+@", "//…@", " ".join(text.split()))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it wraps; not __context__: that may be what the caller is handling."""
    yield error
    for each in (*error.args, error.__cause__):
        if isinstance(each, BaseException):
            yield from _chain(each)


def _quote(name: str) -> str:
    return quote(name, safe="")


def _filters(filters: dict[str, list[str]]) -> str:
    return msgspec.json.encode(filters).decode()


def _no_nulls(value: Any) -> Any:
    """Docker and Podman write null for an empty list or map: leave it out, and the default holds."""
    if isinstance(value, dict):
        return {key: _no_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_no_nulls(each) for each in value]
    return value


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(_no_nulls(msgspec.json.decode(data)), kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotDocker(f"not a Docker Engine's answer when asked to {what}: {error}") from error


def _documents(response: Response, kind: type[T], what: str) -> Iterator[T]:
    """Yield the JSON documents of a stream, one a line, each as soon as it is whole.

    read1 returns what is there; requests' iter_content would wait for a full chunk of its own size
    where the peer doesn't send HTTP chunks.
    """
    rest = b""
    while piece := response.raw.read1(65536, decode_content=False):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise NotDocker(f"not a Docker Engine's answer when asked to {what}: an endless line")
        for line in lines:
            if line.strip():
                yield _decode(line, kind, what)
    if rest.strip():
        raise DockerUnreachable(f"Docker stopped in mid-word when asked to {what}")


def _event(raw: _RawEvent) -> Event:
    attributes = raw.actor.attributes
    return Event(
        action="die" if raw.action == "died" else raw.action,  # Podman's word
        id=raw.actor.id,
        name=attributes.get("name", ""),
        time=raw.time_nano / 1e9 if raw.time_nano else float(raw.time),
        attributes=attributes,
        type=raw.type,
    )


def _first_file(tar: bytes) -> bytes:
    """The content of the file that a tar begins with, as far as it is there."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as files:
            entry = files.next()
    except tarfile.TarError:
        return b""
    if entry is None or not entry.isfile():
        return b""
    return tar[entry.offset_data : entry.offset_data + entry.size]


def _demultiplex(data: bytes) -> bytes:
    """Join the frames of a log (stream, 0, 0, 0, size in 4 bytes, big endian); a terminal's log has none."""
    text, at = b"", 0
    while at < len(data):
        if data[at] > 2 or data[at + 1 : at + 4].strip(b"\0"):
            return text + data[at:]
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        text += data[at + 8 : end]
        at = end
    return text
