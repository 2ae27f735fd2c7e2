"""How Docker is found, followed and found again."""

import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.wait import wait_for
from unit.scripted_docker import CUT, HANG, Script, ScriptedDocker, Step, reply

from plancton.daemon import docker_link
from plancton.daemon.docker_link import DockerLink
from plancton.daemon.status_file import StatusFile
from plancton.docker.client import Docker
from plancton.docker.request_queue import RequestQueue
from plancton.host.sampler import read_process
from plancton.inbox import Inbox
from plancton.workers.docker_calls import Known, Listing
from plancton.workers.roster import Roster

DEADLINE = 20.0
MINUTES = 3_600.0
INFO = reply(b'{"CgroupDriver":"cgroupfs"}')


class Linked:
    """A link to a scripted Docker; `pump` makes the calls that come back."""

    def __init__(self, server: ScriptedDocker) -> None:
        self.server = server
        self.inbox = Inbox()
        self.queue = RequestQueue(str(server.path), self.inbox)
        self.queue.start()
        self.lists: list[Listing] = []
        self.known: dict[str, Known] = {}
        self.link = DockerLink(
            str(server.path),
            "i",
            self.inbox,
            self.queue,
            StatusFile(None, "i", Roster()),
            on_info=lambda _: self.link.follow(),
            on_listed=self.lists.append,
            on_event=lambda _: None,
            known=lambda: self.known,
        )

    def pump(self) -> None:
        self.inbox.get(timeout=DEADLINE)()

    def asked(self, path: str) -> int:
        return sum(path in request for request in self.server.requests)

    def close(self) -> None:
        self.link.close()
        self.queue.close()
        self.queue.join(DEADLINE)


def test_stream_that_is_cut_during_a_list(tmp_path: Path) -> None:
    """Events are followed again also if their stream was cut while the workers were listed."""
    streams, gate = iter([[CUT], [HANG]]), threading.Event()

    def listed(_: bytes) -> list[Step]:
        gate.wait(DEADLINE)
        return reply(b"[]")

    script: Script = {
        "GET /info": INFO,
        "GET /events": lambda _: next(streams),
        "GET /containers/json": listed,
    }
    with ScriptedDocker(tmp_path / "d.sock", script) as server:
        it = Linked(server)
        it.link.step(0.0)
        it.pump()  # Docker is found
        it.pump()  # the stream is cut
        gate.set()
        it.pump()  # the workers are listed
        assert it.link.ready
        it.link.step(time.monotonic())
        it.pump()
        assert server.reached.wait(DEADLINE) and it.asked("/events") == 2
        it.close()


def test_listed_every_few_minutes(tmp_path: Path) -> None:
    """All workers are listed every few minutes, whatever the stream of events does."""
    script: Script = {"GET /info": INFO, "GET /events": [HANG], "GET /containers/json": reply(b"[]")}
    with ScriptedDocker(tmp_path / "d.sock", script) as server:
        it = Linked(server)
        it.link.step(0.0)
        it.pump()
        it.pump()
        it.link.step(time.monotonic())
        assert len(it.lists) == 1 and it.inbox.take() is None
        it.link.step(time.monotonic() + MINUTES)
        it.link.step(time.monotonic() + MINUTES)
        it.pump()
        assert len(it.lists) == 2 and it.asked("/containers/json") == 2 and it.asked("/info") == 1
        assert server.reached.wait(DEADLINE)
        for word in ("start", "rename", "unpause", "update", "destroy"):
            assert it.asked(f"%22{word}%22") == 1
        it.close()


def test_asked_again_during_a_list(tmp_path: Path) -> None:
    """Who wants a new list while one is under way gets one that was asked for afterwards."""
    script: Script = {"GET /info": INFO, "GET /events": [HANG], "GET /containers/json": reply(b"[]")}
    with ScriptedDocker(tmp_path / "d.sock", script) as server:
        it = Linked(server)
        it.link.step(0.0)
        it.pump()
        wanted = time.monotonic()
        it.link.look_again()
        it.pump()
        assert it.link.asked_at <= wanted
        it.link.step(time.monotonic())
        it.pump()
        assert it.link.asked_at >= wanted and len(it.lists) == 2
        it.link.step(time.monotonic())
        assert it.inbox.take() is None and it.asked("/containers/json") == 2
        it.close()


RUNS = {"Id": "c0", "Names": ["/w0"], "State": "running"}


def known(**changed: Any) -> dict[str, Known]:
    """This process, as if it were a worker."""
    own = read_process(os.getpid())
    assert own is not None
    return {"c0": Known("w0", os.getpid(), own.started)._replace(**changed)}


@pytest.mark.parametrize(
    ("listed", "before", "inspected"),
    [
        (RUNS, known(), False),
        (RUNS, {}, True),
        (RUNS | {"State": "paused"}, known(), True),
        (RUNS | {"Names": ["/other"]}, known(), True),
        (RUNS, known(started=1.0), True),
        (RUNS, known(pid=0), True),
    ],
    ids=["as before", "new", "paused", "renamed", "restarted", "no such process"],
)
def test_who_is_inspected(
    tmp_path: Path, listed: dict[str, Any], before: dict[str, Known], inspected: bool
) -> None:
    """While events are followed, a worker that runs as it is known to is not inspected again."""
    script: Script = {
        "GET /info": INFO,
        "GET /events": [HANG],
        "GET /containers/json": reply(json.dumps([listed]).encode()),
        "GET /containers/c0/json": reply(b'{"Id": "c0", "Name": "/w0"}'),
    }
    with ScriptedDocker(tmp_path / "d.sock", script) as server:
        it = Linked(server)
        it.known = before
        it.link.step(0.0)
        it.pump()
        it.pump()
        assert [len(found.changed) for found in it.lists] == [1], "all are inspected at first"
        it.link.step(time.monotonic() + MINUTES)
        it.pump()
        found = it.lists[1]
        assert (len(found.changed), found.as_before) == ((1, set()) if inspected else (0, {"c0"}))
        it.close()


BEGINS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("stream", "silence", "inspected", "since_then"),
    [
        ([BEGINS, HANG], 300.0, 1, True),
        ([HANG], 300.0, 1, True),
        ([BEGINS, HANG], 0.1, 1, False),
        ([BEGINS, CUT], 300.0, 2, False),
    ],
    ids=["silence", "no answer", "silence after events", "cut"],
)
def test_who_is_inspected_after_the_stream_has_ended(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: list[Step],
    silence: float,
    inspected: int,
    since_then: bool,
) -> None:
    """When the stream of events has only been silent, it is asked for again with what it may not have
    told, and no more; workers that run as they did are not inspected. When it was cut, they are."""
    monkeypatch.setattr(Docker.events, "__defaults__", (0.5,))
    monkeypatch.setattr(Docker.__init__, "__defaults__", (5.0,))
    monkeypatch.setattr(docker_link, "EVENT_TIMEOUT", silence)
    streams = iter(list[list[Step]]([stream, [BEGINS, HANG]]))
    script: Script = {
        "GET /info": INFO,
        "GET /events": lambda _: next(streams, [BEGINS, HANG]),
        "GET /containers/json": reply(json.dumps([RUNS]).encode()),
        "GET /containers/c0/json": reply(b'{"Id": "c0", "Name": "/w0"}'),
    }
    with ScriptedDocker(tmp_path / "d.sock", script) as server:
        it = Linked(server)
        it.known = known()
        it.link.step(0.0)
        while len(it.lists) < 2:
            it.pump()
            if it.link.ready:
                it.link.step(time.monotonic())
        wait_for("it follows again", lambda: it.asked("/events?") >= 2)
        assert it.asked("/containers/c0/json") == inspected
        asked = (re.search("/events.*since=([0-9.]+)", request) for request in server.requests)
        first, second, *_ = (float(found[1]) for found in asked if found)
        assert abs(second - first) < 1e-4 if since_then else second > first, server.requests
        it.close()
