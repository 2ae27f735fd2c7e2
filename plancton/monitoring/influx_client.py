"""Sends the history to InfluxDB: how far that has come, in pieces, and by HTTP.

All of it may wait for others and is for a thread of its own. http.client makes the requests: what the
supervisor loads of requests does without TLS (lean_imports.py), and no redirect or proxy may
lead credentials elsewhere. No error has an address's password in it, a secret, or what was sent.
"""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

from plancton.config.schema import InfluxDB
from plancton.errors import PlanctonError
from plancton.files import Unsuitable, from_json, read_regular, replace_file, to_json
from plancton.history.read import Said, open_in_place
from plancton.history.retention import KEPT
from plancton.history.tables import MINUTE, HistoryError, Row
from plancton.monitoring.influx_points import Departure, as_0_6, departure_as_0_6, of_event, of_minute
from plancton.units import printable, quoted

ROWS = 200
"""Minutes of a piece: three hours, a tenth of a MiB."""
LINES = 1_000
"""Lines of a request at most."""
TIMEOUT = 20.0
LARGEST, LARGEST_SECRET = 64 << 10, 16 << 10
LONGEST = 160
"""Characters of a server's answer that are shown."""
NAME = "influxdb.json"
LARGEST_FILE, MOST_DEPARTURES = 4 << 20, 5_000


class InfluxError(PlanctonError):
    """What keeps a database from taking anything, in one line."""


# ---------------------------------------------------------------- how far it has come


class Progress:
    """Up to when (Unix time) each database has got everything, kept in a small file, and which
    workers' ends are still to be told to one: the history has no rows of these."""

    def __init__(self, state: Path) -> None:
        self._path = state / NAME
        self.sent: dict[str, float] = {}
        self.departures: list[Departure] = []
        with contextlib.suppress(OSError, ValueError):  # all that is kept: sent twice, it is there once
            data, _ = read_regular(self._path, LARGEST_FILE, follow=False)
            self.sent, self.departures = from_json(data, tuple[dict[str, float], list[Departure]])

    def save(self, keys: Sequence[str]) -> None:
        """With nothing about databases other than these, and no end that each of them has got."""
        oldest = min(self.sent.get(key, 0.0) for key in keys)
        self.sent = {key: self.sent[key] for key in keys if key in self.sent}
        self.departures = [gone for gone in self.departures if gone.time >= oldest][-MOST_DEPARTURES:]
        with contextlib.suppress(OSError):  # others say that; more is sent twice after a restart then
            replace_file(self._path, to_json((self.sent, self.departures)), 0o600)


class Host(NamedTuple):
    """Whose figures these are, and since when this supervisor runs (Unix time)."""

    name: str
    began: float


class Destination:
    """One database. ``problem`` is what is wrong with it, in one line, or empty; ``due`` is when
    something is sent to it again (CLOCK_MONOTONIC)."""

    def __init__(self, settings: InfluxDB, host: Host, progress: Progress) -> None:
        self.settings, self._host, self._progress = settings, host, progress
        address = urlsplit(settings.url)
        self.name = address.hostname or ""
        if address.port:
            self.name += f":{address.port}"
        place = [address.scheme, self.name, address.path, settings.database, settings.org, settings.bucket]
        self.key = hashlib.sha256(json.dumps(place).encode()).hexdigest()[:12]
        self.problem, self.due = "", 0.0
        self._tags = {**settings.tags, "host": host.name}

    def send_piece(self, state: Path, wall: float) -> bool:
        """Send what comes next, at this Unix time; whether there is more to send at once."""
        begin = self._progress.sent.get(self.key, wall - KEPT["minutes"])
        begin = min(begin, float(int(wall) // MINUTE * MINUTE))  # the clock was ahead
        try:
            with open_in_place(state) as history:
                rows = history.rows("minutes", begin, wall, first=ROWS + 1)
                # Whatever keeps the writer from writing, it writes in order: with a minute, all of
                # those before it are complete.
                end = float(rows.pop().time) if rows else begin
                lines = self._lines(rows, history.events(begin, until=end), begin, end)
        except HistoryError:
            return False  # whoever writes it says so
        refused = ""
        try:
            for at in range(0, len(lines), LINES):
                refused = self._write(lines[at : at + LINES]) or refused
        except InfluxError as error:
            self.problem = str(error)
            return False
        if lines:
            self.problem = refused
        self._progress.sent[self.key] = end
        return len(rows) == ROWS and not refused

    def _lines(self, rows: list[Row], events: list[Said], begin: float, end: float) -> list[str]:
        """These minutes and events, and the workers that went in this time."""
        lines = [of_minute(row, self._tags) for row in rows]
        lines += [of_event(event, self._tags) for event in events]
        if self.settings.compatible:
            short = self._host.name.partition(".")[0]
            for row in rows:
                lines += as_0_6(row, short, self._host.began)
            gone = [each for each in self._progress.departures if begin <= each.time < end]
            lines += [departure_as_0_6(each, short) for each in gone]
        return lines

    # ------------------------------------------------------------ its API

    def _write(self, lines: list[str]) -> str:
        """What is said of lines that it will never take; empty if it took them all."""
        body = "\n".join(lines).encode(errors="replace")
        answer = self._post(*self._target(), body)
        if answer.status == 404 and self.settings.compatible:
            self._make_database()
            answer = self._post(*self._target(), body)
        if answer.status in (400, 422) and b"beyond retention policy" not in answer.body:
            return str(self._error(f"does not take some lines: {answer.reason}"))
        if answer.status != 400:
            self._check(answer)
        return ""

    def _target(self) -> tuple[str, dict[str, str]]:
        settings = self.settings
        if settings.database:
            return "/write", {"db": settings.database, "precision": "ns"}
        place = {"org": settings.org or "", "bucket": settings.bucket or ""}
        return "/api/v2/write", {**place, "precision": "ns"}

    def _make_database(self) -> None:
        """As 0.6 did."""
        name = (self.settings.database or "").replace("\\", "\\\\").replace('"', '\\"')
        self._check(self._post("/query", {"q": f'CREATE DATABASE "{name}"'}, b""))

    def _post(self, path: str, query: Mapping[str, str], body: bytes) -> "Answer":
        headers = {"Content-Type": "text/plain; charset=utf-8", "User-Agent": "plancton", **self._account()}
        address = urlsplit(self.settings.url)
        target = f"{address.path.rstrip('/')}{path}?{urlencode(query, quote_via=quote)}"
        try:
            connection = _connect(self.settings)
            try:
                connection.request("POST", target, body, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.read(LARGEST))
            finally:
                connection.close()
        except TimeoutError:
            raise self._error(f"has not answered within {TIMEOUT:g} s") from None
        except http.client.RemoteDisconnected:
            raise self._error("has closed the connection without an answer") from None
        except (http.client.HTTPException, UnicodeError):
            raise self._error("does not answer in HTTP: is the address right?") from None
        except OSError as error:
            raise self._error(_why_not_reached(error)) from None

    def _account(self) -> dict[str, str]:
        settings = self.settings
        if settings.token_file:
            return {"Authorization": f"Token {_secret(settings.token_file)}"}
        address = urlsplit(settings.url)
        user = settings.user or unquote(address.username or "")
        if not user:
            return {}
        file = settings.password_file
        password = _secret(file) if file else unquote(address.password or "")
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}

    def _check(self, answer: "Answer") -> None:
        status, settings = answer.status, self.settings
        if status < 300:
            return
        if status == 401 or (status == 403 and settings.token_file):
            raise self._error("refuses the " + ("token" if settings.token_file else "user or the password"))
        if status == 403:
            raise self._error(f"does not let this user write to {_quoted(settings.database)}")
        if status == 404:
            what = "database" if settings.database else "organization or bucket"
            name = settings.database or f"{settings.org}, {settings.bucket}"
            raise self._error(f"has no {what} {_quoted(name)}")
        if 300 <= status < 400:
            raise self._error("redirects to another address: write that one")
        raise self._error(f"answers {status}: {answer.reason}")

    def _error(self, text: str) -> InfluxError:
        return InfluxError(f"monitoring.influxdb: {self.name} {text}")


class Answer(NamedTuple):
    """Of a database, to one request."""

    status: int
    body: bytes

    @property
    def reason(self) -> str:
        """What it says, short."""
        try:
            said = json.loads(self.body)
            text = said.get("error") or said.get("message") or ""
        except (ValueError, AttributeError, RecursionError):
            text = ""
        return printable(str(text))[:LONGEST] or http.client.responses.get(self.status, "it does not say why")


def _quoted(name: str | None) -> str:
    return f'"{printable(name or "")}"'


def _secret(path: str) -> str:
    """Read each time: it may be renewed."""
    try:
        data, found = read_regular(path, LARGEST_SECRET)
        if found.st_mode & 0o077:
            raise Unsuitable(0, f"others can read it; chmod 600 {quoted(path)}")
        secret = data.decode().strip()
        if not secret or not secret.isprintable():
            raise Unsuitable(0, "does not hold one line of text")
        return secret
    except UnicodeDecodeError:
        raise InfluxError(f"monitoring.influxdb: {path}: is not UTF-8 text") from None
    except OSError as error:
        raise InfluxError(f"monitoring.influxdb: {path}: {error.strerror}") from None


def _why_not_reached(error: OSError) -> str:
    """A certificate that can't be trusted has a message of its own."""
    found = getattr(error, "verify_message", "")
    if found:
        return f"has a certificate that can't be trusted: {printable(str(found))}"
    if getattr(error, "reason", None) and not isinstance(error, socket.gaierror):
        return f"can't be spoken with by TLS: {printable(str(error.reason))}"  # type: ignore[attr-defined]
    return f"can't be reached: {printable(error.strerror or 'the connection broke')}"


# ---------------------------------------------------------------- a connection


def _connect(settings: InfluxDB) -> http.client.HTTPConnection:
    address = urlsplit(settings.url)
    host = address.hostname or ""
    if address.scheme == "http":
        return http.client.HTTPConnection(host, address.port or 80, timeout=TIMEOUT)
    import ssl  # only where it is needed: some MiB

    context = ssl.create_default_context()
    if settings.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return _TlsConnection(
        host, address.port or 443, lambda plain: context.wrap_socket(plain, server_hostname=host)
    )


class _TlsConnection(http.client.HTTPConnection):
    """http.client's own is not there in a process that was started without ssl."""

    default_port = 443

    def __init__(self, host: str, port: int, wrap: Callable[[socket.socket], socket.socket]) -> None:
        super().__init__(host, port, timeout=TIMEOUT)
        self._wrap = wrap

    def connect(self) -> None:
        super().connect()
        self.sock = self._wrap(self.sock)


def this_host(began: float) -> Host:
    return Host(os.uname().nodename, began)
