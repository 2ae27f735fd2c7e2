"""The connection to Docker: HTTP over its unix socket, timeouts, streams, and our own errors."""

import re
import socket as sockets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlencode

import msgspec

from plancton.docker.errors import (
    NOT_DOCKER,
    DockerError,
    DockerTimeout,
    DockerUnreachable,
    NotDocker,
    connect_error,
    refusal,
)
from plancton.docker.replies import Event, decode
from plancton.files import from_json
from plancton.lean_imports import without_unused

with without_unused():
    import requests_unixsocket  # type: ignore[import-untyped,unused-ignore]
    from requests import RequestException, Response, Session
    from requests_unixsocket.adapters import (  # type: ignore[import-untyped,unused-ignore]
        UnixAdapter,
        UnixHTTPConnection,
        UnixHTTPConnectionPool,
    )
    from urllib3.exceptions import HTTPError
    from urllib3.exceptions import TimeoutError as Urllib3Timeout

T = TypeVar("T")

SCHEME = "unix://"
"""Not http+unix://, so that requests takes the URL as it is (requests/models.py, prepare_url)."""

MAX_LINE = 1 << 20
"""Bytes; Docker's documents have a few kB: more is not Docker."""
MAX_BODY = 64 << 20
"""Of a whole answer; a list of a thousand workers has 3 MB."""


class Connection:
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
        self._session.mount(SCHEME, self._adapter)

    def negotiate(self) -> str:
        """Take the API version from GET /_ping, which is the same in all versions."""
        self._version = ""
        with self.faults("say its API version"), self._send("GET", "/_ping", self.timeout) as response:
            content = read_all(response, "say its API version")
        version = response.headers.get("Api-Version", "")
        if not re.fullmatch(r"\d+\.\d+", version):
            raise NotDocker(f"{self.socket} is not a Docker Engine (no Api-Version): {NOT_DOCKER}")
        if response.status_code != 200:
            raise refusal("say its API version", response.status_code, _message(content))
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
        """The answer, with its body still to be read (under `faults`); raises refusals."""
        if not (self._version and self._adapter.connected()):
            self.negotiate()
        headers = dict(headers or {})
        if data is not None:
            headers["Content-Type"] = "application/x-tar"
        if body is not None:
            data, headers["Content-Type"] = msgspec.json.encode(body), "application/json"
        seconds = self.timeout if timeout is None else timeout
        with self.faults(what, seconds):
            url = f"/v{self._version}{path}" + (f"?{urlencode(query)}" if query else "")
            response = self._send(method, url, seconds, data=data, headers=headers)
            if response.status_code < 300 or response.status_code == 304:
                return response
            with response:
                message = _message(read_all(response, what))
        if response.status_code < 400:
            raise NotDocker(f"{self.socket} answered with a redirection: {NOT_DOCKER}")
        raise refusal(what, response.status_code, _without_environment(message, body))

    @contextmanager
    def stream(self, what: str, method: str, path: str, **more: Any) -> Iterator[Response]:
        """Like `ask`, and whatever goes wrong while the body is read is one of our errors too."""
        response = self.ask(what, method, path, **more)
        with self.faults(what, more.get("timeout")), response:
            # http.client takes a head that was cut for one whose body ends with the connection.
            known_end = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
            if not known_end and method != "HEAD" and response.status_code not in (204, 304):
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
        # So http.client says "cut"; its other errors mean that the peer doesn't speak HTTP.
        cut = (RemoteDisconnected, IncompleteRead)
        if any(isinstance(each, HTTPException) and not isinstance(each, cut) for each in chain):
            return NotDocker(f"{self.socket} does not speak HTTP: {NOT_DOCKER}")
        return self._cut(what)

    def _cut(self, what: str) -> DockerUnreachable:
        return DockerUnreachable(
            f"Docker on {self.socket} cut the connection when asked to {what}: has it been stopped?"
        )

    def _send(self, method: str, path: str, seconds: float, **more: Any) -> Response:
        return self._session.request(
            method,
            f"{SCHEME}docker{path}",
            timeout=(self.timeout, seconds),
            allow_redirects=False,
            stream=True,
            **more,
        )

    def set_timeout(self, seconds: float) -> None:
        if wire := self._adapter.wire():
            wire.settimeout(seconds)

    def shutdown(self) -> None:
        """Make whoever reads here, in any thread, see the end of the stream."""
        if wire := self._adapter.wire():
            with suppress(OSError):  # not connected any more
                wire.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection up; the next question makes a new one."""
        self._version = ""
        self._session.close()


class EventStream:
    """Iterate over events as they arrive.

    A stream that ends by itself raises: DockerTimeout after ``timeout`` seconds of silence, else
    DockerUnreachable. `close`, from any thread (but not from a signal handler), ends it without an error.
    """

    def __init__(self, connection: Connection, response: Response) -> None:
        self._connection = connection
        self._response = response
        self._events = documents(response, Event, "send events")
        self._closed = False
        self._reading = threading.Lock()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        with self._reading:
            if self._closed:
                raise StopIteration
            try:
                with self._connection.faults("send events"):
                    event = next(self._events, None)
                if event is None:
                    raise DockerUnreachable(f"Docker on {self._connection.socket} ended the event stream")
            except DockerError:
                was_closed, self._closed = self._closed, True
                self._release()
                if was_closed:
                    raise StopIteration from None
                raise
            return event

    def close(self) -> None:
        """End the iteration, also one that waits in another thread."""
        self._closed = True
        self._connection.shutdown()  # close() would wait for who reads, perhaps forever
        with self._reading:
            self._release()

    def _release(self) -> None:
        self._response.close()
        self._connection.close()


def documents(response: Response, kind: type[T], what: str) -> Iterator[T]:
    """Yield the JSON documents of a stream, one a line, each as soon as it is whole.

    read1 returns what is there; requests' iter_content would wait for a full chunk of its own size
    where the peer doesn't send HTTP chunks.
    """
    rest = b""
    while piece := response.raw.read1(65536, decode_content=False):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > MAX_LINE:
            raise NotDocker(f"not a Docker Engine's answer when asked to {what}: an endless line")
        for line in lines:
            if line.strip():
                yield decode(line, kind, what)
    if rest.strip():
        raise DockerUnreachable(f"Docker stopped in mid-word when asked to {what}")


def read_all(response: Response, what: str) -> bytes:
    """A whole body; only after that is the connection kept."""
    data = bytearray()
    for piece in response.iter_content(65536):
        data += piece
        if len(data) > MAX_BODY:
            raise NotDocker(f"not a Docker Engine's answer when asked to {what}: it has no end")
    return bytes(data)


def read_most(response: Response, most: int) -> bytes:
    """The beginning of a body that may have no end: ``most`` bytes, and what came with them."""
    data = b""
    while len(data) < most and (piece := response.raw.read1(most, decode_content=False)):
        data += piece
    return data


def _message(body: bytes) -> str:
    """Docker's own words, or the start of what stands in their place."""
    with suppress(ValueError):
        said = from_json(body, dict[str, Any]).get("message")
        if isinstance(said, str):
            return said
    return body[:200].decode(errors="replace")


def _without_environment(message: str, body: dict[str, Any] | None) -> str:
    """Mask what Docker quotes of the environment ("invalid environment variable: …")."""
    entries = (body or {}).get("Env") or []
    values = [entry.partition("=")[2] for entry in entries]
    # Masking a value of a letter or two would only spoil other words.
    for secret in sorted([*entries, *(value for value in values if len(value) > 3)], key=len, reverse=True):
        message = message.replace(secret, "…") if secret else message
    return message


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it wraps; not __context__: the caller may be handling that one."""
    yield error
    for each in (*error.args, error.__cause__):
        if isinstance(each, BaseException):
            yield from _chain(each)


class _Adapter(UnixAdapter):  # type: ignore[misc,unused-ignore]
    """With one pool, of one connection; requests-unixsocket's own makes one for every URL."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.connection: _HttpConnection | None = None

    def get_connection(self, url: str, proxies: object = None) -> "_Pool":
        with self.pools.lock:
            pool: _Pool | None = self.pools.get(self.path)
            if pool is None:
                pool = self.pools[self.path] = _Pool(self)
            return pool

    def connected(self) -> bool:
        return self.connection is not None and bool(self.connection.is_connected)

    def wire(self) -> sockets.socket | None:
        return self.connection.wire if self.connection else None


class _Pool(UnixHTTPConnectionPool):  # type: ignore[misc,unused-ignore]
    def __init__(self, adapter: _Adapter) -> None:
        super().__init__(adapter.path)
        self.adapter = adapter

    def _new_conn(self) -> "_HttpConnection":
        self.adapter.connection = _HttpConnection(self.adapter.path)
        return self.adapter.connection


class _HttpConnection(UnixHTTPConnection):  # type: ignore[misc,unused-ignore]
    """Says why it fails, and its socket stays known while an answer is read from it."""

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
            raise connect_error(self.path, error) from error
        self.sock = self.wire = wire
