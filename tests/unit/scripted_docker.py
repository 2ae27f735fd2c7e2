"""A Docker on a unix socket that answers with the very bytes a test wants: faults a real dockerd
can't show.

A script maps "METHOD /path" (without the version and the query) to the steps of an answer: bytes
are sent as they are, HANG waits until the test is over, CUT closes the connection. Steps may be a
function of the request's body. Without a step of its own, GET /_ping gets what dockerd says, and
HEAD that there is something, of which nothing is known.
"""

import re
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HANG: Final = "hang"
CUT: Final = "cut"
Step = bytes | str
Script = dict[str, Iterable[Step] | Callable[[bytes], Iterable[Step]]]


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> list[Step]:
    """A complete answer of known length."""
    return [f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body]


def chunked(*pieces: bytes, end: bool = True) -> list[Step]:
    """A streamed answer, each piece sent as an HTTP chunk; without an end it is cut there."""
    head: list[Step] = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
    body = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [*head, *body, b"0\r\n\r\n" if end else CUT]


class ScriptedDocker:
    """The server; ``accepts`` counts connections, ``requests`` are "METHOD /path?query" as they
    came."""

    def __init__(self, path: Path, script: Script | None = None, version: str = "1.41") -> None:
        self.path = path
        self.script: Script = script or {}
        self.version = version
        self.accepts = 0
        self.requests: list[str] = []
        self.reached = threading.Event()  # set when a HANG begins
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._run(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(10)  # no connection comes after this
        self._over.set()
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
        self.path.unlink()

    def connections(self) -> int:
        """Count those that are still open here."""
        return sum(connection.fileno() >= 0 for connection in self._open)

    def hang_up(self) -> None:
        """Cut every connection, as a restarting dockerd does."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepts += 1
                self._open.append(connection)
                self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader, suppress(OSError):
            while line := reader.readline():
                method, target, _ = line.decode().split()
                headers = dict(self._header(h) for h in iter(reader.readline, b"\r\n"))
                body = reader.read(int(headers.get("content-length", 0)))
                self.requests.append(f"{method} {target}")
                if not self._answer(connection, f"{method} {self._bare(target)}", body):
                    return

    def _answer(self, connection: socket.socket, request: str, body: bytes) -> bool:
        steps = self.script.get(request)
        if callable(steps):
            steps = steps(body)
        if steps is None:
            steps = self._unscripted(request)
        for step in steps:
            if step == HANG:
                self.reached.set()
                self._over.wait(60)
                return False
            if step == CUT:
                return False
            assert isinstance(step, bytes)
            connection.sendall(step)
        return True

    def _unscripted(self, request: str) -> list[Step]:
        if request == "GET /_ping":
            return reply(b"OK", headers=f"Api-Version: {self.version}\r\n")
        if request.startswith("HEAD "):
            return [b"HTTP/1.1 200 OK\r\n\r\n"]
        return reply(b'{"message":"no"}', "404 Not Found")

    @staticmethod
    def _header(line: bytes) -> tuple[str, str]:
        name, _, value = line.decode().partition(":")
        return name.lower(), value.strip()

    @staticmethod
    def _bare(target: str) -> str:
        return re.sub(r"^/v\d+\.\d+(?=/)", "", target.partition("?")[0])
