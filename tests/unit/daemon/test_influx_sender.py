"""The thread that sends to InfluxDB: there only while it is configured, and its bugs are heard of."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.wait import wait_for
from unit.monitoring.influx_server import Server, influx_server, keep

from plancton.config.schema import InfluxDB
from plancton.daemon.influx_sender import InfluxSender
from plancton.history.tables import MINUTE
from plancton.inbox import Inbox
from plancton.monitoring.influx_client import Progress


@pytest.fixture
def server() -> Iterator[Server]:
    with influx_server() as found:
        yield found


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[InfluxSender]:
    """Of a host with ten minutes of history that are not sent yet."""
    keep(tmp_path, int(time.time()) // MINUTE * MINUTE - 30 * MINUTE, 10)
    made = InfluxSender(tmp_path, Inbox())
    yield made
    made.close()
    wait_for("its thread ends", lambda: not threads())


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "influxdb"]


def database(server: Server, name: str = "db", **more: bool) -> InfluxDB:
    return InfluxDB(url=f"http://{server.address}", database=name, **more)  # type: ignore[arg-type]


def test_only_when_configured(sender: InfluxSender, server: Server) -> None:
    """Without a database there is no thread; with one there is one, and it goes with the last."""
    sender.want([])
    assert not threads()
    sender.want([database(server)])
    wait_for("the history is sent", lambda: len(server.lines) == 10)
    sender.want([database(server)])
    assert len(threads()) == 1
    sender.want([])
    wait_for("the thread ends", lambda: not threads())


def test_a_dry_run_sends_nothing(server: Server) -> None:
    """Without a state directory nothing is sent."""
    InfluxSender(None, Inbox()).want([database(server)])
    assert not threads()


def test_two_databases(sender: InfluxSender, server: Server) -> None:
    """Each gets everything, and one that refuses holds up no other; what is wrong goes with it."""
    server.answers = [(401, "", {})]
    sender.want([database(server, "a"), database(server, "b")])
    wait_for("one is refused", lambda: len(sender.problems) == 1)
    wait_for("the other has got it", lambda: sum(len(each.lines) for each in server.requests) == 20)
    sender.want([database(server, "c")])
    assert sender.problems == ()
    wait_for("a third one gets all of it", lambda: any("db=c" in each.path for each in server.requests))


def test_departures(tmp_path: Path, sender: InfluxSender, server: Server) -> None:
    """Ends of workers are kept over a restart, for a database that wants 0.6's series only."""
    sender.want([database(server)])
    sender.departed(5.0, True, False)
    sender.want([database(server, "old", compatible=True)])
    sender.departed(7.5, True, True)
    wait_for("the rest is sent", lambda: any("daemon" in line for line in server.lines))
    sender.close()
    wait_for("the thread ends", lambda: not threads())
    (departure,) = Progress(tmp_path).departures
    assert departure[1:] == (7.5, True, True)


def test_a_bug_is_heard_of(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of a server's ends the thread, and the loop raises it."""
    monkeypatch.setattr("plancton.monitoring.influx_client.this_host", lambda _: 1 / 0)
    inbox = Inbox()
    InfluxSender(tmp_path, inbox).want([database(server)])
    with pytest.raises(ZeroDivisionError):
        inbox.get(timeout=60)()
