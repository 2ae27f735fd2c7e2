"""A socket in front of a real dockerd that changes what single calls ask and answer (docker_proxy
refuses and delays them)."""

import json
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, Self

Change = Callable[[Any], Any]


class ChangedDocker:
    """``answers`` maps a pattern of "METHOD /path" (without the version and the query) to a
    function of the answer's JSON, ``requests`` to one of the request's."""

    def __init__(
        self,
        path: Path,
        upstream: Path,
        answers: dict[str, Change],
        requests: dict[str, Change] | None = None,
    ) -> None:
        self.path, self._upstream = path, str(upstream)
        self._answers, self._requests = answers, requests or {}
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._thread(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink()

    @staticmethod
    def _thread(target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._thread(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        """One connection: requests one after the other; a stream lasts until either side ends."""
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError, ValueError):
            server.connect(self._upstream)
            reader = client.makefile("rb")
            while line := reader.readline():
                head = [line, *iter(reader.readline, b"\r\n")]
                method, target, _ = line.decode().split()
                asked = f"{method} {re.sub(r'^/v[0-9.]+(?=/)', '', target.partition('?')[0])}"
                sent = reader.read(int(_header(head, b"content-length") or 0))
                if change := _change(self._requests, asked):
                    sent = json.dumps(change(json.loads(sent))).encode()
                    head = [h for h in head if not h.lower().startswith(b"content-length:")]
                    head.append(f"Content-Length: {len(sent)}\r\n".encode())
                server.sendall(b"".join(head) + b"\r\n" + sent)
                change = _change(self._answers, asked)
                if "/events" in asked:
                    self._thread(_pour, client, server)
                    _pour(server, client)
                    return
                answer = HTTPResponse(server, method=method)
                answer.begin()
                body = answer.read()
                if change and answer.status == 200:
                    body = json.dumps(change(json.loads(body))).encode()
                client.sendall(_whole(answer, body))


def _change(changes: dict[str, Change], asked: str) -> Change | None:
    return next((change for pattern, change in changes.items() if re.fullmatch(pattern, asked)), None)


def _header(head: list[bytes], name: bytes) -> bytes:
    return next((h.split(b":", 1)[1].strip() for h in head if h.lower().startswith(name + b":")), b"")


def _whole(answer: HTTPResponse, body: bytes) -> bytes:
    """The same answer, with its length known."""
    left_out = ("content-length", "transfer-encoding")
    lines = [f"{k}: {v}" for k, v in answer.getheaders() if k.lower() not in left_out]
    if answer.status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"HTTP/1.1 {answer.status} {answer.reason}", *lines, "", ""]).encode() + body


def _pour(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
