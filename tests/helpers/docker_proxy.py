"""A socket in front of a real dockerd that refuses, delays or changes single calls."""

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self


class Refusal(NamedTuple):
    """What the proxy does with a call instead of passing it on at once.

    ``status`` None: it is passed on after ``seconds``; else it is answered then, by the proxy.
    ``lost``: it is passed on, but the connection is cut instead of the answer.
    """

    status: int | None = 500
    message: str = "permission denied"
    seconds: float = 0.0
    lost: bool = False


Rule = Callable[[str, str], Refusal | None]
"""Takes the method and the path, without the version and the query."""


Changes = Mapping[str, Callable[[Any], Any]]
"""What becomes of the JSON of calls whose "METHOD /path" matches the regular expression."""


def refuse(method: str, path: str, refusal: Refusal | None = None) -> Rule:
    """Refuse calls of this method whose path matches the regular expression."""
    instead = refusal or Refusal()
    return lambda m, p: instead if m == method and re.fullmatch(path, p) else None


class DockerProxy:
    """``rule`` says what happens to each call, and may be replaced at any time; None passes all on.
    ``asked`` and ``answered`` change what calls that are passed on ask, and what Docker answers.

    ``requests`` are "METHOD /path?query" as they came. One request per connection: the answer says
    that the connection closes.
    """

    def __init__(
        self,
        path: Path,
        docker: Path,
        rule: Rule | None = None,
        asked: Changes | None = None,
        answered: Changes | None = None,
    ) -> None:
        self.path, self.rule = path, rule
        self.requests: list[str] = []
        self._docker, self._asked, self._answered = docker, asked or {}, answered or {}
        self._closed = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut_all()
        self._listener.close()
        self.path.unlink()

    def cut_all(self) -> None:
        """Cut every connection there is, event streams too."""
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def count(self, method: str, path: str) -> int:
        """How many calls of this method came for a path that matches the regular expression."""
        calls = [re.sub(r"/v\d+\.\d+(?=/)", "", call.partition("?")[0]) for call in list(self.requests)]
        return sum(re.fullmatch(f"{method} {path}", call) is not None for call in calls)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError, ValueError):
            self._open.append(client)
            head, rest = _read_head(client)
            method, target, _ = head.split("\r\n")[0].split()
            self.requests.append(f"{method} {target}")
            rule = self.rule
            path = re.sub(r"^/v\d+\.\d+(?=/)", "", target.partition("?")[0])
            refusal = rule(method, path) if rule else None
            if refusal and self._closed.wait(refusal.seconds):
                return
            if change := _change(self._asked, f"{method} {path}"):
                rest = json.dumps(change(json.loads(_read_body(client, head, rest)))).encode()
                head = re.sub(r"(?im)^(content-length:)[^\r\n]*", rf"\1 {len(rest)}", head)
            if refusal and refusal.lost:
                self._pass_on(client, head, rest, heard=False)
            elif refusal and refusal.status is not None:
                _read_body(client, head, rest)
                client.sendall(_answer(refusal.status, "No", b'{"message":"%b"}' % refusal.message.encode()))
            else:
                self._pass_on(client, head, rest, change=_change(self._answered, f"{method} {path}"))

    def _pass_on(
        self,
        client: socket.socket,
        head: str,
        rest: bytes,
        heard: bool = True,
        change: Callable[[Any], Any] | None = None,
    ) -> None:
        lines = [line for line in head.split("\r\n") if not line.lower().startswith("connection:")]
        with socket.socket(socket.AF_UNIX) as docker:
            docker.connect(str(self._docker))
            self._open.append(docker)
            docker.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + rest)
            if not heard:  # for calls without a body
                docker.recv(1)
                return
            if change:
                client.sendall(_changed(docker, change))
                return
            back = threading.Thread(target=_pump, args=(docker, client), daemon=True)
            back.start()
            _pump(client, docker)
            back.join()


def _read_head(client: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            raise ValueError
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _read_body(client: socket.socket, head: str, rest: bytes) -> bytes:
    length = re.search(r"(?im)^content-length: *(\d+)", head)
    while length and len(rest) < int(length[1]) and (more := client.recv(65536)):
        rest += more
    return rest


def _change(changes: Changes, call: str) -> Callable[[Any], Any] | None:
    return next((change for pattern, change in changes.items() if re.fullmatch(pattern, call)), None)


def _changed(docker: socket.socket, change: Callable[[Any], Any]) -> bytes:
    """Docker's answer with other content; an error as it is."""
    answer = HTTPResponse(docker)
    answer.begin()
    body = answer.read()
    if answer.status == 200:
        body = json.dumps(change(json.loads(body))).encode()
    return _answer(answer.status, answer.reason, body)


def _answer(status: int, reason: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until one side closes; then the other hears of it."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
