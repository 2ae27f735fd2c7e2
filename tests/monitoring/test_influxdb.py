"""A real InfluxDB: what it has of a host's history, and what is said when it takes nothing."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from docker.harness import Plancton, wait_for
from monitoring.servers import fetch_json, free_port, running
from unit.monitoring.influx_server import keep
from unit.monitoring.test_influx_client import BEGIN, SECRET, destination, secret, send_all
from unit.programs import call

from plancton.config.load import parse
from plancton.history.tables import DAY, MINUTE
from plancton.monitoring.influx_client import Progress
from plancton.monitoring.influx_points import Departure

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
ADMIN = {"u": "admin", "p": "admin-word"}
CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  https-enabled = {https}
  https-certificate = "{directory}/certificate.pem"
  https-private-key = "{directory}/key.pem"
  log-enabled = true
"""


class Influx:
    """Debian's influxd; ``url`` is the address that a configuration has."""

    def __init__(self, directory: Path, auth: bool = False, https: bool = False) -> None:
        self.directory = directory
        port = free_port()
        self.url = f"{'https' if https else 'http'}://localhost:{port}"
        words = {"auth": auth, "https": https}
        text = CONFIGURATION.format(
            directory=directory, port=port, backup=free_port(),
            **{name: str(value).lower() for name, value in words.items()},
        )  # fmt: skip
        (directory / "influxdb.conf").write_text(text)

    @contextmanager
    def runs(self) -> Iterator["Influx"]:
        """From when it answers on."""
        ready = f"{self.url}/query?q=SHOW+DATABASES"
        with running(self.directory, ready, "influxd", "-config", str(self.directory / "influxdb.conf")):
            yield self

    def ask(self, query: str, database: str = "db") -> list[list[Any]]:
        asked = urlencode({"q": query, "db": database, **ADMIN})
        found = fetch_json(
            f"{self.url}/query?{asked}", b"" if not query.startswith(("SELECT", "SHOW")) else None
        )
        series = found.get("results", [{}])[0].get("series", [])
        return [row for each in series for row in each["values"]]

    def count(self, series: str, field: str, database: str = "db") -> int:
        found = self.ask(f'SELECT COUNT("{field}") FROM "{series}"', database)
        return int(found[0][1]) if found else 0


@pytest.fixture
def influx(tmp_path: Path) -> Iterator[Influx]:
    """One that anybody may write to, with the database db."""
    directory = tmp_path / "influx"
    directory.mkdir()
    with Influx(directory).runs() as server:
        server.ask("CREATE DATABASE db")
        yield server


# ---------------------------------------------------------------- what it has


def test_the_page() -> None:
    """The configuration in docs/monitoring.md is one."""
    (text,) = re.findall(r"^```yaml\n(monitoring:.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(parse(text, "FILE").monitoring.influxdb) == 2


def test_rows_and_events(influx: Influx, tmp_path: Path) -> None:
    """It has each minute once, with our columns, and 0.6's series as its dashboards ask for them, in a
    database that was missing."""
    keep(tmp_path, BEGIN, 500)
    progress = Progress(tmp_path)
    progress.departures.append(Departure(BEGIN + 60.0, 30.0, True, False))
    place = destination(tmp_path, progress, url=influx.url, database="of 0.6", compatible=True)
    for _ in range(2):  # the second time nothing is left
        send_all(place, tmp_path, BEGIN + 502.0 * MINUTE)
    assert place.problem == ""
    assert influx.count("plancton", "owner", "of 0.6") == 500
    assert influx.ask(
        "SELECT owner, mode FROM plancton WHERE host = 'desk1.example.org' LIMIT 2", "of 0.6"
    ) == [
        [f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(BEGIN + n * MINUTE))}", n, "donating"]
        for n in (0, 1)
    ]
    (average,) = re.findall(r"^    (SELECT .*)$", PAGE.read_text(), re.MULTILINE)
    for query, values in (
        (average.replace("now() - 1h", f"{BEGIN}s"), [2]),
        ("SELECT LAST(containers), status FROM daemon WHERE hostname = 'desk1'", [2, "active"]),
        ("SELECT MEAN(cpu_eff) FROM \"measurement\" WHERE hostname = 'desk1'", [75]),
        ("SELECT uptime FROM container WHERE started = 'True' AND killed = 'False'", [30]),
    ):
        assert [row[1:] for row in influx.ask(query, "of 0.6")] == [values], query


def test_types_are_those_of_0_6(influx: Influx, tmp_path: Path) -> None:
    """A database that 0.6 wrote into takes our lines of its series: numbers have the same type."""
    lines = (
        "daemon,hostname=desk1 uptime=5.5",
        'daemon,hostname=desk1 containers=2,status="active"',
        "measurement,hostname=desk1 cpu_eff=10.5",
        "container,hostname=desk1,started=True,killed=False uptime=0",
    )
    # Types are kept for a week at a time: these are of the same one.
    old = "\n".join(f"{line} {BEGIN}00000000{number}" for number, line in enumerate(lines, 1))
    fetch_json(f"{influx.url}/write?db=db", old.encode())
    keep(tmp_path, BEGIN, 5)
    progress = Progress(tmp_path)
    progress.departures.append(Departure(BEGIN + 60.0, 30.5, True, True))
    place = destination(tmp_path, progress, url=influx.url, database="db", compatible=True)
    send_all(place, tmp_path, BEGIN + 9.0 * MINUTE)
    assert place.problem == ""
    assert influx.count("daemon", "containers") == 6 and influx.count("container", "uptime") == 2


def test_a_field_of_another_type(influx: Influx, tmp_path: Path) -> None:
    """What the database refuses for ever is said once and left out; the rest goes on."""
    fetch_json(
        f"{influx.url}/write?db=db", f'plancton,host=desk1.example.org owner="much" {BEGIN}000000001'.encode()
    )
    keep(tmp_path, BEGIN, 5)
    place = destination(tmp_path, url=influx.url, database="db")
    send_all(place, tmp_path, BEGIN + 9.0 * MINUTE)
    assert "does not take some lines" in place.problem and "type conflict" in place.problem


def test_less_is_kept_there(influx: Influx, tmp_path: Path) -> None:
    """A database that keeps a day takes what is of that day, and nothing is wrong."""
    influx.ask("CREATE DATABASE short WITH DURATION 1d")
    now = int(time.time()) // MINUTE * MINUTE
    keep(tmp_path, now - 2 * DAY, 2 * DAY // MINUTE)
    place = destination(tmp_path, url=influx.url, database="short")
    send_all(place, tmp_path, now + 2.0 * MINUTE)
    assert place.problem == "" and 0 < influx.count("plancton", "owner", "short") <= DAY // MINUTE + 60


def test_nothing_is_lost_in_eight_days(tmp_path: Path) -> None:
    """Of eight days without the server nothing is missing afterwards, although it went away again in
    the middle and we were restarted."""
    directory = tmp_path / "influx"
    directory.mkdir()
    minutes = 8 * DAY // MINUTE - 10
    keep(tmp_path, BEGIN, minutes)
    server, wall = Influx(directory), BEGIN + 8.0 * DAY
    progress = Progress(tmp_path)
    place = destination(tmp_path, progress, url=server.url, database="db")
    assert not place.send_piece(tmp_path, wall) and "can't be reached" in place.problem
    with server.runs():
        server.ask("CREATE DATABASE db")
        for _ in range(5):
            assert place.send_piece(tmp_path, wall)
        progress.save([place.key])
    assert not place.send_piece(tmp_path, wall) and place.problem
    with server.runs():
        place = destination(tmp_path, Progress(tmp_path), url=server.url, database="db")
        send_all(place, tmp_path, wall)
        assert place.problem == "" and server.count("plancton", "owner") == minutes


# ---------------------------------------------------------------- what is wrong


def test_accounts(tmp_path: Path) -> None:
    """A wrong password, a user without the right, and a database that is not there: each is named,
    without the secret, and what is right is taken."""
    directory = tmp_path / "influx"
    directory.mkdir()
    with Influx(directory, auth=True).runs() as server:
        server.ask("CREATE USER admin WITH PASSWORD 'admin-word' WITH ALL PRIVILEGES")
        server.ask("CREATE DATABASE db")
        for user in ("writer", "reader"):
            server.ask(f"CREATE USER {user} WITH PASSWORD '{SECRET}'")
        server.ask("GRANT WRITE ON db TO writer")
        keep(tmp_path, BEGIN, 5)
        good = secret(tmp_path)
        wrong = tmp_path / "wrong"
        wrong.write_text("not-it")
        wrong.chmod(0o600)
        keys: dict[str, Any] = {"url": server.url, "database": "db"}
        for more, words in (
            ({"user": "writer", "password_file": str(wrong)}, "refuses the user or the password"),
            ({}, "refuses the user or the password"),
            ({"user": "reader", "password_file": good}, 'does not let this user write to "db"'),
            ({"user": "admin", "password_file": good, "database": "no"}, "refuses the user or the password"),
            ({"user": "writer", "password_file": good}, ""),
        ):
            place = destination(tmp_path, **{**keys, **more})
            send_all(place, tmp_path, BEGIN + 9.0 * MINUTE)
            assert words in place.problem and bool(words) == bool(place.problem), place.problem
            assert SECRET not in place.problem and "not-it" not in place.problem
        assert server.count("plancton", "owner") == 5
        log = (directory / "influxd.log").read_text()
        assert SECRET not in log and "POST /write" in log


def test_no_such_database(influx: Influx, tmp_path: Path) -> None:
    """A database that is missing is named, and not made: its name may be wrong."""
    keep(tmp_path, BEGIN, 5)
    place = destination(tmp_path, url=influx.url, database="no")
    send_all(place, tmp_path, BEGIN + 9.0 * MINUTE)
    assert 'has no database "no"' in place.problem
    assert ["no"] not in influx.ask("SHOW DATABASES")


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], str]:
    """Makes a certificate of this name for localhost: one that holds for so many days from now."""

    def make(days: str) -> str:
        key, path = tmp_path / "influx/key.pem", tmp_path / f"influx/{days}.pem"
        if not key.exists():
            key.parent.mkdir()
            call("openssl", "genrsa", "-out", key, "2048")
        request, names = tmp_path / "request.pem", tmp_path / "names"
        names.write_text("subjectAltName = DNS:localhost\n")
        call("openssl", "req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", request)
        sign = ("openssl", "x509", "-req", "-in", request, "-key", key, "-days", days)
        call(*sign, "-extfile", names, "-out", path)
        return str(path)

    return make


def test_certificates(
    tmp_path: Path, certificates: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS, a certificate of nobody that is known, one that has expired and one of another name are
    named; one of an authority that this system trusts is taken, and with `insecure` any is."""
    keep(tmp_path, BEGIN, 5)
    good, expired = certificates("2"), certificates("-1")
    in_use = tmp_path / "influx/certificate.pem"

    def problem(trusted: str, **more: object) -> str:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        keys: dict[str, Any] = {"url": server.url, "database": "db", "compatible": True, **more}
        place = destination(tmp_path, **keys)
        send_all(place, tmp_path, BEGIN + 9.0 * MINUTE)
        return place.problem

    in_use.write_text(Path(good).read_text())
    with Influx(tmp_path / "influx", https=True).runs() as server:
        assert "self-signed certificate" in problem("/dev/null")
        assert problem("/dev/null", insecure=True) == ""
        by_number = server.url.replace("localhost", "127.0.0.1")
        assert "not valid for '127.0.0.1'" in problem(good, url=by_number)
        assert problem(good) == ""
    in_use.write_text(Path(expired).read_text())
    with Influx(tmp_path / "influx", https=True).runs() as server:
        assert "certificate has expired" in problem(expired)
        assert problem(expired, insecure=True) == ""


# ---------------------------------------------------------------- a supervisor


@pytest.mark.docker
def test_a_real_plancton(plancton: Plancton, tmp_path: Path, certificates: Callable[[str], str]) -> None:
    """A real supervisor says in its status what is wrong, and that is gone when it is put right; it
    sends over TLS what was before its start; neither log, status, configuration nor command line has
    the password; and a change of the configuration is enough to begin and to end."""
    now = int(time.time()) // MINUTE * MINUTE
    plancton.paths.state.mkdir(parents=True, exist_ok=True)
    keep(plancton.paths.state, now - 100 * MINUTE, 90)
    plancton.environment["SSL_CERT_FILE"] = certificates("2")
    (tmp_path / "influx/certificate.pem").write_text((tmp_path / "influx/2.pem").read_text())
    password = tmp_path / "password"
    password.write_text("not-it")
    password.chmod(0o600)
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv(
            "SSL_CERT_FILE", plancton.environment["SSL_CERT_FILE"]
        )
        server = stack.enter_context(Influx(tmp_path / "influx", auth=True, https=True).runs())
        server.ask("CREATE USER admin WITH PASSWORD 'admin-word' WITH ALL PRIVILEGES")
        server.ask("CREATE DATABASE db")
        plancton.calm(1)
        plancton.start()
        plancton.full(1)
        assert plancton.process
        maps = Path(f"/proc/{plancton.process.pid}/maps")
        assert "libssl" not in maps.read_text(), "who sends nothing pays nothing for it"
        database = {"url": server.url, "database": "db", "user": "admin", "password_file": str(password)}
        plancton.configure(monitoring={"influxdb": [database]})

        def problems() -> tuple[str, ...]:
            """Those with a database."""
            found = plancton.status.problems if plancton.status else ()
            return tuple(each for each in found if each.startswith("monitoring.influxdb"))

        (said,) = wait_for("the wrong password is said", problems)
        assert "refuses the user or the password" in said
        password.write_text("admin-word")
        plancton.configure(monitoring={"influxdb": [{**database, "tags": {"site": "x"}}]})
        wait_for("the history arrives", lambda: server.count("plancton", "owner") >= 90)
        wait_for("nothing is wrong any more", lambda: not problems())
        assert "libssl" in maps.read_text()
        shown = [
            json.dumps(plancton.status_json()),
            plancton.cli("check", str(plancton.config)).stdout,
            plancton.log_file.read_text(),
            Path(f"/proc/{plancton.process.pid}/cmdline").read_text(),
        ]
        assert all("admin-word" not in text and "not-it" not in text for text in shown)
        kept = plancton.paths.state / "influxdb.json"
        wait_for("how far it has come is kept", kept.exists)
        assert kept.stat().st_mode & 0o777 == 0o600 and "admin-word" not in kept.read_text()
        plancton.configure(monitoring={"influxdb": [{**database, "database": "no"}]})
        wait_for(
            "another one is not there", lambda: any('has no database "no"' in each for each in problems())
        )
        plancton.configure(monitoring={"influxdb": []})
        wait_for("what is not used is not wrong", lambda: not problems())
        like_0_6 = {**database, "database": "as 0.6", "compatible": True}
        plancton.configure(monitoring={"influxdb": [like_0_6]})
        wait_for("its series arrive", lambda: server.count("daemon", "containers", "as 0.6") >= 90)
        assert plancton.cli("stop", "--wait").returncode == 0
        (departure,) = Progress(plancton.paths.state).departures
        assert departure.started and departure.told and departure.age > 0
