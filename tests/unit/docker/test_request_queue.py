"""The threads that talk to Docker: answers come back as calls, and a hang stays in the thread."""

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from unit.scripted_docker import CUT, HANG, Script, ScriptedDocker, chunked, reply

from plancton.docker.errors import DockerError, DockerRefused, DockerUnreachable, NotDocker
from plancton.docker.replies import Event, Info
from plancton.docker.request_queue import Follower, RequestQueue
from plancton.inbox import Inbox

DEADLINE = 20.0
Made = tuple[ScriptedDocker, RequestQueue, Inbox]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[[Script], Made]]:
    servers: list[tuple[ScriptedDocker, RequestQueue]] = []

    def make(script: Script) -> Made:
        server = ScriptedDocker(tmp_path / "d.sock", script).__enter__()
        inbox = Inbox()
        request_queue = RequestQueue(str(server.path), inbox)
        request_queue.start()
        servers.append((server, request_queue))
        return server, request_queue, inbox

    yield make
    for server, request_queue in servers:
        request_queue.close()
        server.__exit__(None, None, None)
        request_queue.join(DEADLINE)
        assert not request_queue.is_alive(), "the queue does not end when it is closed"


Answers = list[tuple[Info | None, DockerError | None]]


def submit(request_queue: RequestQueue, answers: Answers) -> None:
    request_queue.submit(lambda docker: docker.info(), lambda info, error: answers.append((info, error)))


def test_answers_come_as_calls(made: Callable[[Script], Made]) -> None:
    """An answer is a call in the inbox; nothing happens until the loop makes it; the order is
    kept."""
    _, request_queue, inbox = made({"GET /info": reply(b'{"CgroupDriver": "cgroupfs"}')})
    answers: Answers = []
    order: list[int] = []
    for number in range(5):
        request_queue.submit(lambda docker: docker.info(), lambda info, error, n=number: order.append(n))  # type: ignore[misc]
    submit(request_queue, answers)
    calls = [inbox.get(timeout=DEADLINE) for _ in range(6)]
    assert answers == [] and order == []
    for call in calls:
        call()
    assert order == [0, 1, 2, 3, 4]
    ((info, error),) = answers
    assert info is not None and info.cgroup_driver == "cgroupfs" and error is None


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        (reply(b'{"message": "broken"}', "500 Internal Server Error"), DockerRefused),
        ([CUT], DockerUnreachable),
        (reply(b"<html>"), NotDocker),
    ],
)
def test_errors_come_as_calls(
    made: Callable[[Script], Made], steps: list[bytes | str], kind: type[DockerError]
) -> None:
    """A call that fails delivers its error, and the queue continues."""
    _, request_queue, inbox = made({"GET /info": steps})
    answers: Answers = []
    for _ in range(2):
        submit(request_queue, answers)
        inbox.get(timeout=DEADLINE)()
    assert [type(error) for _, error in answers] == [kind, kind], answers
    assert request_queue.is_alive()


def test_hang(tmp_path: Path) -> None:
    """While a call hangs, submitting is instant, and it is known how long the call has hung."""
    inbox = Inbox()
    with ScriptedDocker(tmp_path / "d.sock", {"GET /info": [HANG]}) as server:
        request_queue = RequestQueue(str(server.path), inbox, clock=lambda: 100.0)
        request_queue.start()
        answers: Answers = []
        assert request_queue.busy_for(160.0) == 0.0
        submit(request_queue, answers)
        assert server.reached.wait(DEADLINE)
        for _ in range(100):
            submit(request_queue, answers)
        assert request_queue.busy_for(160.0) == 60.0
        assert inbox.take() is None
        request_queue.close()
    for _ in range(101):
        inbox.get(timeout=DEADLINE)()
    assert len(answers) == 101
    request_queue.join(DEADLINE)
    assert request_queue.busy_for(160.0) == 0.0


def test_bug_reaches_the_loop(made: Callable[[Script], Made]) -> None:
    """Any other exception is a bug: it ends the loop, with its traceback."""
    _, request_queue, inbox = made({})

    def buggy(docker: object) -> None:
        raise KeyError("a bug")

    request_queue.submit(buggy, lambda result, error: None)
    with pytest.raises(KeyError, match="a bug"):
        inbox.get(timeout=DEADLINE)()


def test_no_descriptor_is_left(made: Callable[[Script], Made]) -> None:
    """A call that could not open a file delivers an error as well: somebody waits for an answer."""
    _, request_queue, inbox = made({})

    def lacks(docker: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    errors = list[DockerError | None]()
    request_queue.submit(lacks, lambda result, error: errors.append(error))
    inbox.get(timeout=DEADLINE)()
    assert [str(error) for error in errors] == ["Docker can't be asked: Too many open files"]


EVENT = b'{"Type":"container","Action":"die","Actor":{"ID":"c","Attributes":{"name":"w"}}}\n'


def follow(server: ScriptedDocker, inbox: Inbox) -> tuple[Follower, list[Event], list[DockerError]]:
    events: list[Event] = []
    ends: list[DockerError] = []
    follower = Follower(str(server.path), inbox, {"type": ["container"]}, 1.0, events.append, ends.append)
    follower.start()
    return follower, events, ends


def test_events(made: Callable[[Script], Made]) -> None:
    """Each event is a call; when the stream is cut, the loop is told once and the thread ends."""
    server, _, inbox = made({"GET /events": chunked(EVENT, EVENT, end=False)})
    follower, events, ends = follow(server, inbox)
    for _ in range(3):
        inbox.get(timeout=DEADLINE)()
    assert [event.actor.attributes["name"] for event in events] == ["w", "w"]
    assert [type(error) for error in ends] == [DockerUnreachable], ends
    follower.join(DEADLINE)
    assert not follower.is_alive()


def test_bug_while_following(tmp_path: Path) -> None:
    """A bug in the thread that follows events reaches the loop, too, instead of ending in
    silence."""
    inbox = Inbox()
    with ScriptedDocker(tmp_path / "d.sock", {}) as server:
        filters = {"type": [object()]}
        follower = Follower(str(server.path), inbox, filters, 1.0, print, print)  # type: ignore[arg-type]
        follower.start()
        with pytest.raises(TypeError):
            inbox.get(timeout=DEADLINE)()
        follower.join(DEADLINE)


def test_closed_follower(made: Callable[[Script], Made]) -> None:
    """A follower that is closed while it waits ends silently."""
    server, _, inbox = made({"GET /events": [*chunked(EVENT)[:2], HANG]})
    follower, _, ends = follow(server, inbox)
    inbox.get(timeout=DEADLINE)()
    follower.close()
    follower.join(DEADLINE)
    assert not follower.is_alive() and ends == [] and inbox.take() is None


def test_urgent_goes_first(tmp_path: Path) -> None:
    """A worker that must leave does not wait for workers about to start."""
    inbox = Inbox()
    with ScriptedDocker(tmp_path / "d.sock", {"GET /info": reply(b"{}")}) as server:
        request_queue = RequestQueue(str(server.path), inbox)
        order: list[str] = []
        for word in ("start", "start", "leave"):
            done = partial(lambda word, _, error: order.append(word), word)
            request_queue.submit(lambda docker: docker.info(), done, urgent=word == "leave")
        request_queue.start()
        for _ in range(3):
            inbox.get(timeout=DEADLINE)()
        request_queue.close()
        request_queue.join(DEADLINE)
    assert order == ["leave", "start", "start"]
