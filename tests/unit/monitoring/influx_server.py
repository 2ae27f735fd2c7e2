"""An InfluxDB that answers as a test says, and remembers what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from plancton.history.tables import MINUTE, NAME, Row
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Work


class Request(NamedTuple):
    path: str
    account: str
    body: str

    @property
    def lines(self) -> list[str]:
        return self.body.splitlines()


class Server:
    """``answers`` are status, body and headers of the next requests; then all are taken."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, dict[str, str]]] = []
        self.requests: list[Request] = []
        self.address = ""

    @property
    def lines(self) -> list[str]:
        return [line for request in self.requests for line in request.lines]


@contextmanager
def influx_server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.requests.append(Request(self.path, self.headers.get("Authorization", ""), body))
            status, text, headers = found.answers.pop(0) if found.answers else (204, "", {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def keep(state: Path, begin: int, minutes: int, *events: Event) -> None:
    """So many minutes from then on (Unix time), and the beginning of the next one, as a supervisor
    would have kept them."""
    rows = [
        Row(
            begin + n * MINUTE,
            60.0,
            240.0,
            owner=float(n),
            donated=120.0,
            idle=60.0,
            workers=120.0,
            mode="donating",
        )
        for n in range(minutes)
    ]
    rows.append(Row(begin + minutes * MINUTE, 1.0))
    store = open_store(state / NAME)
    store.write(Batch(tuple(rows), events, Kept(Work(float(begin)))), begin + minutes * MINUTE)
    store.close()
