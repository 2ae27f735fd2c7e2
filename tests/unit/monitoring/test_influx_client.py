"""Sending to InfluxDB: what is sent and when again, and what is said of a database that does not
take it."""

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.monitoring.influx_server import Server, influx_server, keep

from plancton.config.load import parse
from plancton.history.tables import DAY, MINUTE, NAME
from plancton.model import Event
from plancton.monitoring import influx_client
from plancton.monitoring.influx_client import LINES, ROWS, Destination, Host, Progress
from plancton.monitoring.influx_points import Departure

BEGIN = 1_795_000_020 // MINUTE * MINUTE
HOST = Host("desk1.example.org", BEGIN + 30.0)
SECRET = "s3cr3t-word"


@pytest.fixture
def server() -> Iterator[Server]:
    with influx_server() as found:
        yield found


def destination(state: Path, progress: Progress | None = None, **keys: object) -> Destination:
    """As a configuration with these keys has it."""
    text = json.dumps({"monitoring": {"influxdb": [keys]}})
    return Destination(parse(text, "FILE").monitoring.influxdb[0], HOST, progress or Progress(state))


def first(state: Path, server: Server, progress: Progress | None = None, **keys: object) -> Destination:
    return destination(state, progress, url=f"http://{server.address}", database="db", **keys)


def secret(state: Path, mode: int = 0o600) -> str:
    path = state / "secret"
    path.write_text(f"{SECRET}\n")
    path.chmod(mode)
    return str(path)


def send_all(place: Destination, state: Path, wall: float) -> None:
    while place.send_piece(state, wall):
        pass


# ---------------------------------------------------------------- what is sent


def test_version_1(tmp_path: Path, server: Server) -> None:
    """Rows and events go to /write of the database, with the user's name and password."""
    keep(tmp_path, BEGIN, 3, Event(BEGIN + 1.5, "starting w1"))
    keys: dict[str, Any] = {"user": "me", "password_file": secret(tmp_path), "tags": {"site": "x"}}
    place = first(tmp_path, server, **keys)
    assert not place.send_piece(tmp_path, BEGIN + 10 * MINUTE) and place.problem == ""
    (request,) = server.requests
    assert request.path == "/write?db=db&precision=ns"
    assert request.account == f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
    rows = [line for line in request.lines if line.startswith("plancton,host=desk1.example.org,site=x ")]
    (event,) = set(request.lines) - set(rows)
    assert len(rows) == 3 and event.startswith("plancton_events,") and 'text="starting w1"' in event


def test_version_2(tmp_path: Path, server: Server) -> None:
    """The same goes to /api/v2/write of the bucket, with a token, also below a path."""
    keep(tmp_path, BEGIN, 1)
    keys: dict[str, Any] = {"org": "my org", "bucket": "b", "token_file": secret(tmp_path)}
    place = destination(tmp_path, url=f"http://{server.address}/influx/", **keys)
    place.send_piece(tmp_path, BEGIN + 10 * MINUTE)
    (request,) = server.requests
    assert request.path == "/influx/api/v2/write?org=my%20org&bucket=b&precision=ns"
    assert request.account == f"Token {SECRET}"


def test_as_0_6_wrote_it(tmp_path: Path, server: Server) -> None:
    """0.6's address with its account is used as it is; its series come beside ours, and its database
    is made if it is missing."""
    keep(tmp_path, BEGIN, 2)
    text = f"influxdb_url: http://me:p%40ss@{server.address}/#old db"
    progress = Progress(tmp_path)
    progress.departures.append(Departure(BEGIN + 1.0, 30.0, True, True))
    place = Destination(parse(text, "FILE").monitoring.influxdb[0], HOST, progress)
    server.answers = [(404, '{"error": "database not found"}', {}), (200, "{}", {})]
    place.send_piece(tmp_path, BEGIN + 10 * MINUTE)
    assert place.problem == ""
    paths = [request.path for request in server.requests]
    assert paths[1] == "/query?q=CREATE%20DATABASE%20%22old%20db%22" and paths[0] == paths[2]
    assert server.requests[2].account == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    series = {line.partition(" ")[0] for line in server.requests[2].lines}
    assert series == {
        "plancton,host=desk1.example.org",
        "daemon,hostname=desk1",
        "measurement,hostname=desk1",
        "container,hostname=desk1,killed=True,started=True",
    }


def test_only_what_is_complete(tmp_path: Path, server: Server) -> None:
    """A minute is sent once another one has begun, and once only, also after a restart; however late
    the history was written, nothing is left out."""
    for begin, minutes, wall in ((0, 3, 4), (3, 0, 60), (3, 2, 90), (5, 1, 500)):
        keep(tmp_path, BEGIN + begin * MINUTE, minutes)
        progress = Progress(tmp_path)
        place = first(tmp_path, server, progress=progress)
        send_all(place, tmp_path, BEGIN + float(wall) * MINUTE)
        progress.save([place.key])
    times = [int(line.rpartition(" ")[2]) // 10**9 for line in server.lines]
    assert times == [BEGIN + n * MINUTE for n in range(6)]
    assert "seconds=62.0" in server.lines[3], "it had begun, and then was complete"


def test_eight_days_in_pieces(tmp_path: Path, server: Server) -> None:
    """After eight days without a server all of them arrive, each minute once, in bounded pieces."""
    minutes = 8 * DAY // MINUTE
    keep(tmp_path, BEGIN, minutes - 1, *(Event(BEGIN + n / 10, "x") for n in range(3 * LINES)))
    place = first(tmp_path, server)
    wall = BEGIN + 8.0 * DAY
    server.answers = [(503, "", {})]
    assert not place.send_piece(tmp_path, wall) and place.problem
    server.requests.clear()
    send_all(place, tmp_path, wall)
    rows = [line for line in server.lines if line.startswith("plancton,")]
    assert len(rows) == len(set(rows)) == minutes - 1
    assert sum(line.startswith("plancton_events,") for line in server.lines) == 3 * LINES
    assert max(len(request.lines) for request in server.requests) <= LINES
    assert max(len(request.body) for request in server.requests) < 1 << 19
    assert len(server.requests) >= minutes // ROWS


def test_what_was_not_taken_is_sent_again(tmp_path: Path, server: Server) -> None:
    """A piece of which a part was taken is sent again as a whole: that is the same points."""
    keep(tmp_path, BEGIN, 5, *(Event(BEGIN + n / 10, "x") for n in range(LINES)))
    place = first(tmp_path, server)
    server.answers = [(204, "", {}), (500, "", {})]
    wall = BEGIN + 10.0 * MINUTE
    place.send_piece(tmp_path, wall)
    assert "answers 500" in place.problem
    before = set(server.lines)
    server.requests.clear()
    send_all(place, tmp_path, wall)
    assert set(server.lines) == before and place.problem == ""


def test_the_clock_was_ahead(tmp_path: Path, server: Server) -> None:
    """When the clock is set back, sending goes on from there instead of waiting for the time that
    had been reached."""
    keep(tmp_path, BEGIN + 3 * DAY, 2)
    place = first(tmp_path, server)
    send_all(place, tmp_path, BEGIN + 3.5 * DAY)
    server.requests.clear()
    send_all(place, tmp_path, BEGIN + 1.0)
    keep(tmp_path, BEGIN, 5)
    send_all(place, tmp_path, BEGIN + 6.0 * MINUTE)
    assert len(server.lines) == 5


def test_no_history(tmp_path: Path, server: Server) -> None:
    """Without one, or with a damaged one, there is nothing to send: whoever writes it says why."""
    place = first(tmp_path, server)
    assert not place.send_piece(tmp_path, BEGIN) and place.problem == ""
    (tmp_path / NAME).write_bytes(b"x" * 4096)
    assert not place.send_piece(tmp_path, BEGIN) and place.problem == "" and not server.requests


def test_ends_that_one_has_not_got(tmp_path: Path) -> None:
    """A worker's end is kept until each database has got it, also one that never took anything."""
    progress = Progress(tmp_path)
    progress.departures += [Departure(BEGIN + age, 1.0, True, True) for age in (1.0, 100.0)]
    progress.sent["a"] = BEGIN + 50.0
    progress.save(["a", "b"])
    assert len(Progress(tmp_path).departures) == 2
    progress.save(["a"])
    assert [gone.time for gone in Progress(tmp_path).departures] == [BEGIN + 100.0]


def test_progress_that_is_damaged(tmp_path: Path) -> None:
    """A damaged file of how far it has come is as none."""
    (tmp_path / "influxdb.json").write_text('[{"x": "y"}, 7]')
    assert Progress(tmp_path).sent == {}


# ---------------------------------------------------------------- what is wrong


WRONG = [
    (401, '{"error":"authorization failed"}', {}, "refuses the user or the password"),
    (403, '{"error":"not authorized"}', {}, 'does not let this user write to "db"'),
    (404, '{"error":"database not found: db"}', {}, 'has no database "db"'),
    (302, "", {"Location": "http://elsewhere.example.org/"}, "redirects to another address"),
    (400, '{"error":"field type conflict\\u001b[2J"}', {}, "does not take some lines: field type conflict"),
    (429, "", {}, "answers 429: Too Many Requests"),
    (503, "<html>" * 100_000, {}, "answers 503: Service Unavailable"),
    (500, "[1]", {}, "answers 500: Internal Server Error"),
]


@pytest.mark.parametrize(("status", "body", "headers", "words"), WRONG, ids=[str(w[0]) for w in WRONG])
def test_refused(
    tmp_path: Path, server: Server, status: int, body: str, headers: dict[str, str], words: str
) -> None:
    """What a server refuses is one line that names it, without the secret; once it takes something,
    that is over."""
    keep(tmp_path, BEGIN, 3)
    place = first(tmp_path, server, user="me", password_file=secret(tmp_path))
    server.answers = [(status, body, headers)]
    assert not place.send_piece(tmp_path, BEGIN + 4 * MINUTE)
    assert server.address in place.problem and words in place.problem, place.problem
    assert place.problem.isprintable() and SECRET not in place.problem and len(place.problem) < 300
    keep(tmp_path, BEGIN + 3 * MINUTE, 2)
    send_all(place, tmp_path, BEGIN + 10.0 * MINUTE)
    assert place.problem == ""


def test_lines_that_are_never_taken(tmp_path: Path, server: Server) -> None:
    """Lines that are refused for ever are said and left out: the next ones are sent. Those that are
    older than the database keeps are not even that."""
    keep(tmp_path, BEGIN, 3)
    place = first(tmp_path, server)
    server.answers = [(400, '{"error":"partial write: points beyond retention policy dropped=1"}', {})]
    place.send_piece(tmp_path, BEGIN + 4 * MINUTE)
    assert place.problem == ""
    place.send_piece(tmp_path, BEGIN + 10 * MINUTE)
    assert len(server.lines) == 3, "nothing was sent twice"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:{closed}", "can't be reached: Connection refused"),
        ("https://127.0.0.1:{plain}", "can't be spoken with by TLS"),
        ("http://no..such.example", "is the address right?"),
    ],
)
def test_not_reached(tmp_path: Path, server: Server, url: str, words: str) -> None:
    """So is a server that can't be reached, or that speaks something else."""
    keep(tmp_path, BEGIN, 3)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        closed = one.getsockname()[1]
    url = url.format(closed=closed, plain=server.address.rpartition(":")[2])
    place = destination(tmp_path, url=url, database="db")
    place.send_piece(tmp_path, BEGIN + 9 * MINUTE)
    assert words in place.problem, place.problem


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """One that takes the connection and then says nothing is given up, before TLS, too."""
    keep(tmp_path, BEGIN, 3)
    monkeypatch.setattr(influx_client, "TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = destination(tmp_path, url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}", database="db")
        assert not place.send_piece(tmp_path, BEGIN + 9 * MINUTE)
    assert "has not answered within" in place.problem


def test_secret_that_is_no_secret(tmp_path: Path, server: Server) -> None:
    """A password file that others can read, that is missing or holds no line is named, and nothing is
    sent."""
    keep(tmp_path, BEGIN, 3)
    open_to_all = secret(tmp_path, 0o644)
    (tmp_path / "empty").touch(0o600)
    for file, words in (
        (open_to_all, "others can read it; chmod 600"),
        (str(tmp_path / "no"), "No such file"),
        (str(tmp_path / "empty"), "does not hold one line"),
    ):
        place = first(tmp_path, server, user="me", password_file=file)
        place.send_piece(tmp_path, BEGIN + 9 * MINUTE)
        assert file in place.problem and words in place.problem and SECRET not in place.problem
    assert not server.requests
