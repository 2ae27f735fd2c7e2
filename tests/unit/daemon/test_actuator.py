"""Carrying decisions out on a scripted Docker, with faults that a real dockerd can't be made to
show."""

import base64
import io
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from unit.scripted_docker import CUT, HANG, Script, ScriptedDocker, Step, reply
from unit.slices import files
from unit.trees import pid_stat, tree

from plancton.config.load import parse
from plancton.config.schema import Config
from plancton.daemon.actuator import Actuator
from plancton.daemon.context import Context
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.docker.replies import Actor, Container, ContainerConfig, ContainerState, Event, HostConfig
from plancton.docker.request_queue import RequestQueue
from plancton.host.cgroup_mounts import Layout
from plancton.host.mtu import smallest_default_mtu
from plancton.host.slice import Slice
from plancton.inbox import Inbox
from plancton.model import (
    Action,
    Finish,
    Freeze,
    Kept,
    Kill,
    Leave,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Thaw,
    Work,
    Worker,
)
from plancton.workers import container as containers
from plancton.workers.cpu_benchmark import HostSpeed
from plancton.workers.docker_calls import list_workers
from plancton.workers.job_accounting import Accounting
from plancton.workers.network import Wanted, network_body
from plancton.workers.roster import Roster

DEADLINE = 20.0
LATER = 1e12
"""When all that waits is due."""
ID = "c0ffee" * 8
CREATE, START, INSPECT = (
    "POST /containers/create",
    f"POST /containers/{ID}/start",
    f"GET /containers/{ID}/json",
)
REMOVE, SIGNAL = f"DELETE /containers/{ID}", f"POST /containers/{ID}/kill"
LOGS, ARCHIVE = f"GET /containers/{ID}/logs", f"GET /containers/{ID}/archive"
NETWORK = "GET /networks/plancton"
PUT = f"PUT /containers/{ID}/archive"
NO_CONTENT: list[Step] = [b"HTTP/1.1 204 No Content\r\n\r\n"]
TOKEN = b"eyJhbGciOiJIUzI1NiJ9." + base64.urlsafe_b64encode(b'{"sub":"x"}').rstrip(b"=") + b".c2VjcmV0"


def refused(status: str, message: str) -> list[Step]:
    return reply(json.dumps({"message": message}).encode(), status)


def container(
    name: str = "w1",
    running: bool = True,
    parent: str = "/plancton",
    instance: str = "i",
    labels: dict[str, str] | None = None,
    cid: str = ID,
    pid: int = 42,
    paused: bool = False,
) -> Container:
    state = ContainerState(running, paused, pid if running else 0, 0 if running else 7)
    return Container(
        id=cid,
        name=name,
        state=state,
        config=ContainerConfig(labels={containers.INSTANCE: instance, **(labels or {})}),
        host_config=HostConfig(cgroup_parent=parent, memory=10**9, cpu_shares=1024),
    )


def happened(action: str, name: str, cid: str = "", **attributes: str) -> Event:
    return Event(action, Actor(cid, {"name": name, **attributes}))


class World:
    """An actuator, its Docker and its slice; `pump` makes the calls that come back."""

    def __init__(self, root: Path, script: Script) -> None:
        self.script: Script = {
            CREATE: reply(json.dumps({"Id": ID}).encode(), "201 Created"),
            START: NO_CONTENT,
            REMOVE: NO_CONTENT,
            SIGNAL: NO_CONTENT,
            LOGS: reply(b""),
            **script,
        }
        worker = {"cgroup.kill": "", "cgroup.freeze": "0", "cpu.weight": "1"}
        self.proc = tree(root / "proc", {"42": {"stat": pid_stat(42), "cgroup": f"0::/plancton/{ID}\n"}})
        v2 = tree(
            root / "v2",
            plancton={"cpu.idle": "0", "cpu.weight": "1", ID: worker, "other": worker, "beef": worker},
        )
        self.server = ScriptedDocker(root / "d.sock", self.script).__enter__()
        self.inbox = Inbox()
        self.request_queue = RequestQueue(str(self.server.path), self.inbox)
        self.request_queue.start()
        self.cleanup_queue = RequestQueue(str(self.server.path), self.inbox)
        self.cleanup_queue.start()
        self.slice = Slice(Layout(v2), "plancton", "cgroupfs")
        self.slice.privileged = True  # whoever runs the tests
        self.slice.set_up()
        self.said: list[str] = []
        self.troubles: list[DockerError] = []
        self.lost = 0
        self.config = Config()
        self.root = root
        self.on_disk = Kept(Work(1_000.0))
        self.restart()
        self.script.setdefault(INSPECT, lambda _: self.inspected())

    def restart(self) -> None:
        """Another supervisor, which knows what is on disk."""
        self.roster = Roster()
        self.accounting = Accounting(self.on_disk, self.save)
        context = Context(
            self.roster,
            self.request_queue,
            self.cleanup_queue,
            self.slice,
            "i",
            self.said.append,
            self.proc,
            self.accounting,
            on_trouble=self.troubles.append,
            on_image_lost=self._image_lost,
            speed=HostSpeed(self.root / "speed.json"),
        )
        self.actuator = Actuator(context)
        self.reconciler = self.actuator.reconciler

    def save(self) -> None:
        self.on_disk = self.accounting.kept

    def pool(self, token: bytes = TOKEN, mode: int = 0o600) -> None:
        """From now on the workers belong to a pool."""
        path = self.root / "token"
        path.write_bytes(token)
        path.chmod(mode)
        self.config = parse(f"htcondor: {{central_manager: cm, token_file: {path}}}", "FILE")

    def pilot(self, *jobs: float, cpu: float = 0.0, name: str = "w1", cid: str = ID) -> None:
        """A pool's worker of this name runs these jobs."""
        self.reconciler.arrived(container(name, labels={containers.POOL: containers.HTCONDOR}, cid=cid))
        self.roster.note_jobs(name, jobs, cpu)

    def die(self, code: int | None, name: str = "w1") -> None:
        """Its end is reported and examined, and its container removed."""
        self.event("die", **({} if code is None else {"exitCode": str(code)}), name=name)
        self.pump(2)

    def event(self, action: str, name: str = "w1", cid: str = "", **attributes: str) -> None:
        self.reconciler.on_event(happened(action, name, cid, **attributes), 5_000.0)

    def _image_lost(self) -> None:
        self.lost += 1

    def inspected(self, name: str = "", cid: str = ID, **state: Any) -> list[Step]:
        """A container of ours, by default under the name with which it was created."""
        created = (r.partition("name=")[2] for r in self.server.requests if "/create?" in r)
        body = {
            "Id": cid,
            "Name": f"/{name or next(created, 'w1')}",
            "State": {"Running": True, "Pid": 42, **state},
            "Config": {"Labels": {containers.INSTANCE: "i"}},
            "HostConfig": {"CgroupParent": "/plancton", "Memory": 10**9, "CpuShares": 1024},
        }
        return reply(json.dumps(body).encode())

    def act(self, *actions: Action, now: float | None = None) -> None:
        now = time.monotonic() if now is None else now
        self.actuator.act(actions, now, self.config, "sha256:i", "sha256:i", Settings())

    def pump(self, count: int = 1) -> None:
        for _ in range(count):
            self.inbox.get(timeout=DEADLINE)()

    def asked(self) -> list[str]:
        seen = [request.partition("?")[0].replace("/v1.41", "") for request in self.server.requests]
        return [request for request in seen if "_ping" not in request]

    def adopt(self, name: str = "w1") -> None:
        """Adopt a running worker of this name."""
        self.reconciler.arrived(container(name))

    def phases(self) -> dict[str, Phase]:
        return {entry.worker.name: entry.worker.phase for entry in self.roster}

    def read(self, file: str) -> str:
        return (self.slice.directory / file).read_text().strip()

    def close(self) -> None:
        self.server.__exit__(None, None, None)
        for queue in (self.request_queue, self.cleanup_queue):
            queue.close()
            queue.join(DEADLINE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    made: list[World] = []

    def make(script: Script | None = None) -> World:
        made.append(World(tmp_path, script or {}))
        return made[-1]

    yield make
    for each in made:
        each.close()


# ---------------------------------------------------------------- starting


def test_start(world: Callable[..., World]) -> None:
    """A start is recorded at once; the worker runs when Docker says so, with its cgroup and age
    known."""
    it = world()
    it.act(Start("room"))
    assert list(it.phases().values()) == [Phase.STARTING]
    it.pump()
    (entry,) = it.roster
    assert entry.worker.phase is Phase.RUNNING and entry.worker.id == ID
    assert (entry.group, entry.shim) == (f"plancton/{ID}", 1)
    assert entry.worker.started is not None
    assert it.asked() == [NETWORK, CREATE, START, INSPECT]


@pytest.mark.parametrize(
    ("script", "words", "removed"),
    [
        ({CREATE: refused("409 Conflict", "name is taken")}, "name is taken", False),
        ({CREATE: refused("400 Bad Request", "bad mount")}, "bad mount", False),
        ({START: refused("500 Internal Server Error", "OCI runtime create failed")}, "OCI runtime", True),
        ({START: refused("409 Conflict", "marked for removal")}, "marked for removal", True),
        ({INSPECT: refused("404 Not Found", "No such container")}, "No such container", True),
    ],
    ids=["name taken", "refused", "runtime", "removal", "gone"],
)
def test_start_that_is_refused(
    world: Callable[..., World], script: Script, words: str, removed: bool
) -> None:
    """A start that Docker refuses is an end with its reason, and anything created is removed."""
    it = world(script)
    it.act(Start("room"))
    it.pump(2 if removed else 1)
    assert len(it.roster) == 0
    (ended,) = it.roster.take_ended()
    assert ended.age < 5.0 and words in ended.reason, ended
    assert "can't be started" in it.said[-1] and words in it.said[-1], it.said
    assert (REMOVE in it.asked()) is removed, it.asked()
    assert it.lost == 0


def test_a_worker_outside_the_slice(world: Callable[..., World]) -> None:
    """A worker that runs, but not in the slice, is removed at once, and one line says why no other
    comes; the group that its pid has here is never touched."""
    it = world()
    tree(it.proc, {"42": {"cgroup": "0::/owner\n"}})
    (it.slice.directory / ID).rename(it.slice.tree / "owner")
    before = files(it.slice.tree / "owner")
    it.act(Start("room"))
    it.pump()
    (entry,) = it.roster
    assert (entry.group, entry.worker.started, it.reconciler.unprotected) == ("", None, "")
    it.act(Leave(entry.worker.name, "why", 1.0, lift=True))
    it.pump(2)
    assert "was not in /plancton" in it.reconciler.unprotected and "/owner" in it.reconciler.unprotected
    assert it.said.count(it.reconciler.unprotected) == 1 and "\n" not in it.reconciler.unprotected
    it.pump()
    assert REMOVE in it.asked() and len(it.roster) == 0 and not it.roster.take_ended()
    assert files(it.slice.tree / "owner") == before


def test_a_worker_that_ends_as_it_starts(world: Callable[..., World]) -> None:
    """A worker that has ended before its group could be read is no reason to start no other."""
    it = world()
    tree(it.proc, {"42": {"cgroup": "0::/owner\n"}})
    (it.slice.directory / ID).rename(it.slice.tree / "owner")
    it.adopt()
    it.script[INSPECT] = reply(json.dumps({"Id": ID, "Name": "/w1"}).encode())
    it.pump()
    assert it.reconciler.unprotected == "" and REMOVE not in it.asked()


def test_a_worker_that_is_found_at_the_second_look(world: Callable[..., World]) -> None:
    """What could not be read at first, because a process came and went, is read again."""
    it = world()
    tree(it.proc, {"42": {"cgroup": "0::/\n"}})
    (it.slice.directory / ID).rename(it.slice.tree / "later")
    it.script[INSPECT] = reply(
        json.dumps({"Id": ID, "Name": "/w1", "State": {"Running": True, "Pid": 42}}).encode()
    )
    it.adopt()
    tree(it.proc, {"42": {"cgroup": f"0::/plancton/{ID}\n"}})
    it.pump()
    assert it.roster["w1"].group == f"plancton/{ID}" and it.reconciler.unprotected == ""


@pytest.mark.parametrize("message", ["No such image: busybox:latest", "no such image: sha256:i"])
def test_image_is_lost(world: Callable[..., World], message: str) -> None:
    """A start that finds no image tells the image keeper. That is no failure, as somebody may have
    pulled a newer one; but it is one if the same image is missing again."""
    it = world({CREATE: refused("404 Not Found", message)})
    it.act(Start("room"), Start("room"))
    it.pump()
    it.pump()
    assert it.lost == 2 and len(it.roster) == 0 and not it.roster.take_ended()
    it.act(Start("room"))
    it.pump()
    assert it.lost == 3 and len(it.roster) == 0 and len(it.roster.take_ended()) == 1


def test_network_is_made(world: Callable[..., World]) -> None:
    """If a start finds the workers' network missing, the network is created and the start
    repeated."""
    starts = iter([refused("404 Not Found", "network plancton not found"), NO_CONTENT])
    it = world({START: lambda _: next(starts), "POST /networks/create": reply(b'{"Id":"n"}', "201 Created")})
    it.act(Start("room"))
    it.pump()
    assert list(it.phases().values()) == [Phase.RUNNING], it.said
    looked = {"GET /info", "GET /networks"}  # whether a small subnet is free
    made = [call for call in it.asked() if call not in looked]
    assert made == [NETWORK, CREATE, START, "POST /networks/create", START, INSPECT]


@pytest.mark.parametrize(
    "changed",
    [
        {"Labels": {}},
        {"Options": {}},
        {"Options": {"com.docker.network.bridge.enable_icc": "true"}},
        {"Driver": "macvlan"},
    ],
)
def test_a_network_that_is_not_ours(world: Callable[..., World], changed: dict[str, Any]) -> None:
    """On a network of the slice's name that somebody else has made, no worker is started."""
    network = {
        **network_body(Wanted("plancton", "another"), smallest_default_mtu()),
        "Id": "n",
        "Name": "plancton",
        **changed,
    }
    it = world({NETWORK: reply(json.dumps(network).encode())})
    it.act(Start("room"))
    it.pump()
    assert it.asked() == [NETWORK] and len(it.roster) == 0
    assert "the network plancton is not Plancton's" in it.said[-1]


def test_the_network_of_another_instance(world: Callable[..., World]) -> None:
    """A network that another instance has left is as good as our own."""
    network = {
        **network_body(Wanted("plancton", "another"), smallest_default_mtu()),
        "Id": "n",
        "Name": "plancton",
    }
    it = world({NETWORK: reply(json.dumps(network).encode())})
    it.act(Start("room"))
    it.pump()
    assert list(it.phases().values()) == [Phase.RUNNING]


@pytest.mark.parametrize("at", [CREATE, START, INSPECT])
def test_docker_dies_during_a_start(world: Callable[..., World], at: str) -> None:
    """A connection cut in the middle of a start is reported to the loop, whatever was created by
    then."""
    it = world({at: [CUT]})
    it.act(Start("room"))
    it.pump()
    assert len(it.troubles) == 1 and len(it.roster) == 0, it.said


def test_retired_while_starting(world: Callable[..., World]) -> None:
    """A worker told to leave while it is being created gets no signal, and is removed when it
    arrives."""
    it = world()
    create, told = it.script[CREATE], threading.Event()
    begun = threading.Event()

    def slow(_: bytes) -> Iterable[Step]:
        begun.set()
        told.wait(DEADLINE)
        return cast(list[Step], create)

    it.script[CREATE] = slow
    it.act(Start("room"))
    (name,) = it.phases()
    assert begun.wait(DEADLINE)
    it.act(Leave(name, "no room", 20.0))
    told.set()
    assert it.phases() == {name: Phase.LEAVING}
    it.pump(2)
    assert it.asked()[-1] == REMOVE and SIGNAL not in it.asked()
    assert "force=1" in it.server.requests[-1]
    assert len(it.roster) == 0 and it.roster.take_ended() == ()


@pytest.mark.parametrize("how", ["leave", "kill", "force"])
def test_start_that_is_cancelled(world: Callable[..., World], how: str) -> None:
    """A worker retired while its start waits in the queue is never created, and that is no
    failure."""
    it = world()
    waits, over = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        waits.set()
        over.wait(DEADLINE)

    it.request_queue.submit(hold, lambda *_: None)
    assert waits.wait(DEADLINE)
    it.act(Start("room"))
    (name,) = it.phases()
    if how == "force":
        it.actuator.force_all(0.0)
    else:
        it.act(Leave(name, "no room", 20.0) if how == "leave" else Kill(name, "no room"))
    assert it.phases() == {} and it.roster.take_ended() == ()
    over.set()
    it.pump()
    it.request_queue.submit(lambda _: None, lambda *_: None)
    it.pump()
    assert CREATE not in it.asked(), it.asked()


def test_end_before_the_answer(world: Callable[..., World]) -> None:
    """A worker whose end arrives before the answer to its start is removed, and counts as one
    end."""
    it = world()
    it.script[INSPECT] = lambda _: it.inspected(Running=False, Pid=0, ExitCode=1)
    it.act(Start("room"))
    (name,) = it.phases()
    it.script[f"GET /containers/{name}/logs"] = reply(b"plancton: central manager can't be reached\n")
    it.reconciler.on_event(happened("die", name, exitCode="1"), 100.0)
    assert it.phases() == {name: Phase.ENDED}
    it.pump(2)  # how it ended, and the answer to its start, in any order
    it.actuator.removals.sweep(LATER)
    it.pump()
    assert len(it.roster) == 0 and REMOVE in it.asked(), it.asked()
    (ended,) = it.roster.take_ended()
    assert ended.reason == 'exit code 1: the worker says "central manager can\'t be reached"', ended


def test_ended_by_the_time_of_the_answer(world: Callable[..., World]) -> None:
    """A worker that has ended by the time it is inspected is recognised as such, without an
    event."""
    it = world()
    it.script[INSPECT] = lambda _: it.inspected(Running=False, Pid=0, ExitCode=3, OOMKilled=True)
    it.act(Start("room"))
    it.pump(3)
    assert [ended.reason for ended in it.roster.take_ended()] == ["exit code 3, out of memory"]
    assert len(it.roster) == 0


# ---------------------------------------------------------------- going


@pytest.mark.parametrize(
    ("action", "phase", "signal"),
    [
        (Leave("w1", "no room", 20.0), Phase.LEAVING, "SIGTERM"),
        (Finish("w1", "old", 60.0), Phase.FINISHING, "SIGTERM"),
        (Kill("w1", "late"), Phase.KILLED, "SIGKILL"),
    ],
)
def test_signals(world: Callable[..., World], action: Action, phase: Phase, signal: str) -> None:
    """Each way to go sets the phase at once and sends one signal through Docker."""
    it = world()
    it.adopt()
    it.act(action)
    assert it.phases() == {"w1": phase}
    it.pump()
    assert it.server.requests[-1].endswith(f"kill?signal={signal}"), it.server.requests
    assert it.troubles == []


@pytest.mark.parametrize(("timeout", "times"), [(20.0, 1), (3.0, 2)])
def test_a_second_signal(world: Callable[..., World], timeout: float, times: int) -> None:
    """A worker that has less time to leave than usual gets the signal twice: at once."""
    it = world()
    it.adopt()
    it.act(Leave("w1", "no memory", timeout))
    it.pump()
    assert sum("kill?signal=SIGTERM" in request for request in it.server.requests) == times


def test_the_second_signal_comes_too_late(world: Callable[..., World]) -> None:
    """A worker that is gone before the second signal is no trouble."""
    answers = iter([NO_CONTENT, refused("409 Conflict", "is not running")])
    it = world({SIGNAL: lambda _: next(answers)})
    it.adopt()
    it.act(Leave("w1", "no memory", 3.0))
    it.pump()
    assert it.troubles == [] and it.phases() == {"w1": Phase.LEAVING}


@pytest.mark.parametrize("status", ["404 Not Found", "409 Conflict", "500 Internal Server Error"])
def test_signal_that_is_refused(world: Callable[..., World], status: str) -> None:
    """A signal that Docker refuses (the worker is gone) is no trouble: the events tell the rest."""
    it = world({SIGNAL: refused(status, "is not running")})
    it.adopt()
    it.act(Leave("w1", "no room", 20.0))
    it.pump()
    assert it.troubles == [] and it.phases() == {"w1": Phase.LEAVING}


def test_signal_without_docker(world: Callable[..., World]) -> None:
    """A signal that does not reach Docker is trouble, and the worker still counts as told."""
    it = world({SIGNAL: [CUT]})
    it.adopt()
    it.act(Leave("w1", "no room", 20.0))
    it.pump()
    assert len(it.troubles) == 1 and it.phases() == {"w1": Phase.LEAVING}


def test_event_of_the_end(world: Callable[..., World]) -> None:
    """An end is reported with its exit code, and the container removed; a second message changes
    nothing."""
    it = world()
    it.adopt()
    for _ in range(2):
        it.reconciler.on_event(happened("die", "w1", exitCode="7"), 5000.0)
    assert it.phases() == {"w1": Phase.ENDED} and it.said == [], "said before its last words were heard"
    it.pump(2)
    assert it.asked() == [LOGS, REMOVE] and len(it.roster) == 0
    assert "w1 ended after" in it.said[-1] and it.said[-1].endswith("exit code 7"), it.said


@pytest.mark.parametrize("code", ["9" * 5000, "\x1b[2J7", "-1", "\u0667", ""])
def test_exit_code_of_a_label(world: Callable[..., World], code: str) -> None:
    """An image's label can stand for the exit code: what is none is unknown, and not repeated."""
    it = world()
    it.adopt()
    it.reconciler.on_event(happened("die", "w1", exitCode=code), 5000.0)
    it.pump(2)
    assert len(it.roster) == 0 and it.said[-1].endswith("exit code unknown"), it.said


def test_event_of_a_stranger(world: Callable[..., World]) -> None:
    """Events of containers that are not ours change nothing."""
    it = world()
    it.reconciler.on_event(happened("die", "stranger"), 1.0)
    it.reconciler.on_event(happened("destroy", "stranger"), 1.0)
    assert it.said == [] and len(it.roster) == 0


def test_removed_by_somebody(world: Callable[..., World]) -> None:
    """A worker that somebody removes is gone, without another request."""
    it = world({REMOVE: refused("404 Not Found", "No such container")})
    it.adopt()
    it.reconciler.on_event(happened("destroy", "w1"), 5000.0)
    assert len(it.roster) == 0 and "removed by somebody" in it.said[-1]
    it.request_queue.submit(lambda docker: None, lambda _, error: None)
    it.pump()
    assert it.troubles == [] and it.asked() == []


def test_removal_that_fails(world: Callable[..., World]) -> None:
    """A removal that fails is repeated at each sweep until it works."""
    answers = iter([refused("500 Internal Server Error", "device busy"), NO_CONTENT])
    it = world({REMOVE: lambda _: next(answers)})
    it.adopt()
    it.reconciler.on_event(happened("die", "w1"), 5000.0)
    it.pump(2)
    assert it.phases() == {"w1": Phase.ENDED}
    it.actuator.removals.sweep(LATER)
    it.actuator.removals.sweep(LATER)
    it.pump()
    assert len(it.roster) == 0 and it.asked() == [LOGS, REMOVE, REMOVE]


def test_kill_when_docker_hangs(world: Callable[..., World]) -> None:
    """When Docker hangs, a worker that must die dies through the cgroup, and no other."""
    it = world({"GET /info": [HANG]})
    it.adopt()
    began = time.monotonic()
    it.request_queue.submit(lambda docker: docker.info(), lambda info, error: None)
    assert it.server.reached.wait(DEADLINE)
    it.act(Kill("w1", "late"), now=began + 2.0)
    assert it.read(f"{ID}/cgroup.kill") == "", "it was not hung for long enough"
    it.act(Kill("w1", "late"), now=time.monotonic() + 10.0)
    assert it.read(f"{ID}/cgroup.kill") == "1" and it.read("other/cgroup.kill") == ""
    assert it.said[-1] == "Docker does not answer: w1 was killed through its cgroup"


def test_unknown_names(world: Callable[..., World]) -> None:
    """Actions on workers that are gone do nothing."""
    it = world()
    it.act(Leave("x", "", 1.0), Finish("x", "", 1.0), Kill("x", ""), SetShares("x", 2, ""))
    it.act(Leave("x", "", 1.0, lift=True))
    assert it.said == [] and it.inbox.take() is None and it.asked() == [] and not it.slice.lifted


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(
    ("steps", "shares"), [(reply(b"{}"), 2), (refused("500 x", "no"), 1024), ([CUT], 1024)]
)
def test_shares(world: Callable[..., World], steps: list[Step], shares: int) -> None:
    """Shares count as set only when Docker says so; meanwhile the worker can be told to leave."""
    it = world({f"POST /containers/{ID}/update": steps})
    it.adopt()
    it.act(SetShares("w1", 2, "does not fit"), now=7.0)
    (entry,) = it.roster
    assert not entry.worker.busy and entry.worker.shares == 1024 and entry.worker.shares_time == 7.0
    it.pump()
    assert not entry.worker.busy and entry.worker.shares == shares


@pytest.mark.parametrize(
    ("said", "jobs", "shares", "told"),
    [
        ("SIGUSR1", (3.0,), 2, ["SIGUSR1"]),
        ("SIGUSR1", (3.0,), 1024, []),
        ("SIGUSR1", (), 2, []),
        ("SIGKILL", (3.0,), 2, []),
        ("", (3.0,), 2, []),
    ],
)
def test_jobs_are_told_to_save(
    world: Callable[..., World], said: str, jobs: tuple[float, ...], shares: int, told: list[str]
) -> None:
    """When a worker begins to wait for the owner its jobs are told so, if its image says by which
    signal; only one that is meant for that is sent."""
    it = world({f"POST /containers/{ID}/update": reply(b"{}")})
    labels = {containers.POOL: containers.HTCONDOR, containers.CHECKPOINT: said}
    it.reconciler.arrived(container("w1", labels=labels))
    it.roster.note_jobs("w1", jobs, 0.0)
    it.act(SetShares("w1", shares, "why"), now=7.0)
    it.pump(1 + len(told))
    assert [r.partition("signal=")[2] for r in it.server.requests if "/kill?" in r] == told


@pytest.mark.parametrize(("steps", "quota"), [(reply(b"{}"), 0.3), (refused("500 x", "no"), 0.0)])
def test_quotas(world: Callable[..., World], steps: list[Step], quota: float) -> None:
    """A quota counts as set until Docker refuses it; then it is unknown, and set again."""
    it = world({f"POST /containers/{ID}/update": steps})
    it.adopt()
    it.act(SetQuota("w1", 0.3, "the workers may use 0.3 CPUs"))
    (entry,) = it.roster
    assert entry.worker.quota == 0.3
    it.pump()
    assert entry.worker.quota == quota
    it.act(SetQuota("w1", 1.0, "nothing limits the workers any more"))
    assert entry.worker.quota is None, "all of its CPUs are no limit"


def test_out_of_memory_in_a_loop(world: Callable[..., World]) -> None:
    """One in which the kernel kills process after process is accused; one that a job runs out of
    memory in is not, and Docker is asked for nothing each time."""
    it = world()
    it.adopt()
    asked = len(it.asked())
    for second in range(100):
        it.reconciler.on_event(happened("oom", "w1", ID), 5_000.0 + 10 * second)
    assert not it.roster["w1"].worker.flooding
    for _ in range(100):
        it.reconciler.on_event(happened("oom", "w1", ID), 7_000.0)
    assert not it.roster["w1"].worker.flooding, "there was no time to hold the job"
    for half in range(1, 20):
        it.reconciler.on_event(happened("oom", "w1", ID), 7_000.0 + half / 2)
    assert "out of memory" in it.roster["w1"].worker.flooding
    assert len(it.asked()) == asked


def test_who_fills_the_disk(world: Callable[..., World]) -> None:
    """It is killed through its cgroup at once, while all are frozen, and by Docker as well."""
    it = world()
    (it.slice.directory / "cgroup.freeze").write_text("0")
    it.adopt()
    it.act(Kill("w1", "full", at_once=True), Freeze("full"))
    assert it.read(f"{ID}/cgroup.kill") == it.read("cgroup.freeze") == "1"
    assert it.phases() == {"w1": Phase.KILLED} and any("freezing" in said for said in it.said)
    it.pump()
    assert SIGNAL in it.asked()
    it.act(Thaw("gone"))
    assert it.read("cgroup.freeze") == "0"


def test_time_that_is_frozen(world: Callable[..., World]) -> None:
    """Who was asked to finish has that much longer when it could not meanwhile."""
    it = world()
    (it.slice.directory / "cgroup.freeze").write_text("0")
    it.adopt()
    it.act(Finish("w1", "draining", 60.0), now=1_000.0)
    it.act(Freeze("paused by the owner"), now=1_010.0)
    it.act(Thaw("the pause is over"), now=1_310.0)
    assert it.roster["w1"].worker.deadline == 1_360.0
    it.act(Thaw("once more"), now=1_400.0)
    assert it.roster["w1"].worker.deadline == 1_360.0


@pytest.mark.parametrize(("lines", "floods"), [(1000, True), (10, False)])
def test_floods(world: Callable[..., World], lines: int, floods: bool) -> None:
    """A worker that writes without pause is marked as flooding; Docker is asked for nothing
    else."""
    it = world({LOGS: reply(b"y\n" * lines)})
    it.adopt()
    it.actuator.look_for_floods()
    it.pump()
    (entry,) = it.roster
    assert bool(entry.worker.flooding) is floods


# ---------------------------------------------------------------- the lift


def test_lift_ends_in_time(world: Callable[..., World]) -> None:
    """A lift ends after a few seconds, whether or not the leaver has gone."""
    it = world()
    it.adopt()
    it.act(Leave("w1", "no room", 20.0, lift=True), now=100.0)
    assert it.slice.lifted and it.read("cpu.idle") == "0"
    assert it.actuator.lift.until == 100.0 + Settings().lift
    it.actuator.lift.step(100.0 + Settings().lift - 0.1)
    assert it.slice.lifted
    it.actuator.lift.step(100.0 + Settings().lift)
    assert not it.slice.lifted and it.read("cpu.idle") == "1" and it.actuator.lift.until is None


def test_lift_ends_with_the_leaver(world: Callable[..., World]) -> None:
    """A lift ends when the last leaver has gone."""
    it = world()
    it.adopt()
    it.act(Leave("w1", "no room", 20.0, lift=True), now=100.0)
    it.reconciler.on_event(happened("die", "w1"), 5000.0)
    assert not it.slice.lifted and it.actuator.lift.until is None and it.read("cpu.idle") == "1"


def test_lift_that_fails(world: Callable[..., World]) -> None:
    """A lift that the kernel refuses is undone, and the worker is still told."""
    it = world()
    it.adopt()
    (it.slice.directory / "cpu.weight").unlink()
    (it.slice.directory / "cpu.weight").mkdir()
    it.act(Leave("w1", "no room", 20.0, lift=True), now=100.0)
    assert not it.slice.lifted and it.actuator.lift.until is None and it.read("cpu.idle") == "1"
    assert it.phases() == {"w1": Phase.LEAVING}


@pytest.mark.parametrize(
    "answer", [NO_CONTENT, refused("404 Not Found", "gone"), [CUT]], ids=["ok", "gone", "cut"]
)
def test_lift_without_root(world: Callable[..., World], answer: list[Step]) -> None:
    """A supervisor that can't freeze the others has Docker prefer the leavers, then lifts the
    slice."""
    bodies: list[bytes] = []
    update = f"POST /containers/{ID}/update"
    it = world({update: lambda body: bodies.append(body) or answer})  # type: ignore[func-returns-value]
    it.adopt()
    it.slice.privileged = False
    it.act(Leave("w1", "no room", 20.0, lift=True))
    assert not it.slice.lifted, "lifted before Docker, which may undo it with systemd"
    it.pump(2)
    assert it.asked() == [SIGNAL, update]
    assert b'"CpuShares":262144' in bodies[0].replace(b" ", b"")
    assert it.slice.lifted and it.read("cpu.idle") == "0" and it.actuator.lift.until is not None
    it.actuator.lift.drop()
    assert not it.slice.lifted and it.read("cpu.idle") == "1"


def test_no_lift_of_what_is_not_ours(world: Callable[..., World]) -> None:
    """A slice that can't be written is not lifted, and Docker is not asked."""
    it = world()
    it.adopt()
    it.slice.privileged = it.slice.ours = False
    it.act(Leave("w1", "no room", 20.0, lift=True))
    it.pump(1)
    assert it.asked() == [SIGNAL] and not it.slice.lifted


# ---------------------------------------------------------------- making the roster agree


def test_adopting(world: Callable[..., World]) -> None:
    """Our running workers are adopted, those of another slice left alone, ended ones removed."""
    it = world()
    it.reconciler.reconcile(
        [container("w1"), container("w2", parent="/docker"), container("w3", instance="x")], 1.0
    )
    assert it.phases() == {"w1": Phase.RUNNING} and it.said == ["adopted w1"]
    it.reconciler.reconcile([container("w1", running=False)], 5000.0)
    it.pump(2)
    assert len(it.roster) == 0 and it.asked() == [LOGS, REMOVE]


def test_ended_while_we_were_away(world: Callable[..., World]) -> None:
    """One that ended under an earlier supervisor is removed, and says nothing about the image."""
    it = world()
    it.reconciler.reconcile([container("w1", running=False)], 5000.0)
    it.pump()
    assert len(it.roster) == 0 and it.asked() == [REMOVE] and it.roster.take_ended() == ()


def test_gone_while_docker_was_away(world: Callable[..., World]) -> None:
    """A worker that Docker no longer has is gone; one whose start is under way is not, nor one that
    is as it was."""
    it = world()
    it.adopt("w1")
    it.act(Start("room"))
    it.reconciler.reconcile([], 5000.0, as_before={it.roster["w1"].worker.id})
    assert it.phases()["w1"] is Phase.RUNNING
    it.reconciler.reconcile([], 5000.0)
    assert list(it.phases().values()) == [Phase.STARTING]
    assert [ended.name for ended in it.roster.take_ended()] == ["w1"]
    it.pump()


def test_force_all(world: Callable[..., World]) -> None:
    """All at once: processes through the cgroup, containers through Docker, even a busy one."""
    it = world()
    it.adopt()
    it.roster.change("w1", busy=True)
    it.actuator.force_all(1.0)
    assert it.read(f"{ID}/cgroup.kill") == "1"
    it.pump()
    assert it.asked() == [REMOVE] and "force=1" in it.server.requests[-1] and len(it.roster) == 0


@pytest.mark.parametrize("examined", [False, True])
def test_force_all_with_one_that_has_ended(world: Callable[..., World], examined: bool) -> None:
    """A worker that had ended before ended once, whatever Docker tells of it afterwards."""
    it = world({REMOVE: refused("500 Internal Server Error", "device busy")})
    it.adopt()
    it.event("die", exitCode="0")
    if examined:
        it.pump(2)
    it.actuator.force_all(1.0)
    it.reconciler.reconcile([container(running=False)], 5_000.0)
    it.script[REMOVE] = NO_CONTENT
    while len(it.roster):
        it.actuator.removals.sweep(LATER)
        it.pump()
    assert sum("ended after" in said or "is gone" in said for said in it.said) == 1, it.said
    assert len(it.roster.take_ended()) == 1


def test_list_without_those_that_vanish(world: Callable[..., World]) -> None:
    """A container that vanishes between the list and its inspection is left out."""
    found = json.dumps([{"Id": ID, "Names": ["/w1"]}, {"Id": "gone", "Names": ["/w2"]}]).encode()
    inspected = reply(json.dumps({"Id": ID, "Name": "/w1"}).encode())
    it = world({"GET /containers/json": reply(found), INSPECT: inspected})
    with Docker(it.server.path) as docker:
        assert [each.name for each in list_workers(docker, "i")] == ["w1"]


@pytest.mark.parametrize(("labels", "removed"), [({containers.INSTANCE: "i"}, True), ({}, False)])
def test_network_is_removed_if_ours(
    world: Callable[..., World], labels: dict[str, str], removed: bool
) -> None:
    """Only our own network is removed, and the caller is told in any case."""
    network = reply(json.dumps({"Id": "n", "Name": "plancton", "Labels": labels}).encode())
    it = world({"GET /networks/plancton": network, "DELETE /networks/plancton": NO_CONTENT})
    done: list[bool] = []
    it.actuator.remove_network(lambda: done.append(True))
    it.pump()
    assert done == [True] and ("DELETE /networks/plancton" in it.asked()) is removed


# ---------------------------------------------------------------- a pool's workers: starting


def report(text: str, kind: bytes = tarfile.REGTYPE) -> list[Step]:
    """A worker's report, as Docker delivers a file."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo("jobs")
        entry.type, entry.size, entry.linkname = (
            kind,
            len(text) if kind == tarfile.REGTYPE else 0,
            "/etc/passwd",
        )
        tar.addfile(entry, io.BytesIO(text.encode()))
    return reply(data.getvalue())


def log(*lines: str) -> list[Step]:
    """A container's log, in Docker's frames."""
    frames = (b"\x01\0\0\0" + (len(line) + 1).to_bytes(4) + line.encode() + b"\n" for line in lines)
    return reply(b"".join(frames))


def test_start_in_a_pool(world: Callable[..., World]) -> None:
    """The token is put into the container before its first process starts, and goes nowhere
    else."""
    bodies: list[bytes] = []

    def keep(steps: list[Step]) -> Callable[[bytes], list[Step]]:
        return lambda body: bodies.append(body) or steps  # type: ignore[func-returns-value]

    created = reply(json.dumps({"Id": ID}).encode(), "201 Created")
    it = world({CREATE: keep(created), PUT: keep(reply(b""))})
    it.pool()
    it.act(Start("room", disk=5_000_000))
    (waiting,) = it.roster
    assert waiting.worker.jobs == () and waiting.worker.phase is Phase.STARTING
    it.pump()
    assert it.asked() == [NETWORK, CREATE, PUT, START, INSPECT], it.asked()
    (entry,) = it.roster
    assert entry.worker.phase is Phase.RUNNING and entry.worker.jobs == ()
    created_as, files = bodies
    assert TOKEN not in created_as and b"c2VjcmV0" not in created_as, created_as
    assert json.loads(created_as)["Labels"][containers.POOL] == "htcondor"
    assert "PLANCTON_DISK=5000000" in json.loads(created_as)["Env"]
    assert any(request.endswith("archive?path=%2Fvar%2Flib%2Fplancton") for request in it.server.requests)
    with tarfile.open(fileobj=io.BytesIO(files)) as tar:
        assert tar.getnames() == ["tokens.d", "work", "tokens.d/pool"]
        file = tar.extractfile("tokens.d/pool")
        assert file and file.read() == TOKEN + b"\n"
    assert "c2VjcmV0" not in " ".join(it.said + it.server.requests), it.said


def test_one_worker_measures(world: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker is told to measure the host's speed, and its first figures are what later ones are
    told, also by the next supervisor. Its jobs are not counted by that: they have not been seen to
    end yet, and would count as lost when the worker ends."""
    monkeypatch.setattr("plancton.workers.cpu_benchmark.TAKES", 0.0)
    created = reply(json.dumps({"Id": ID}).encode(), "201 Created")
    answers = iter([created, *2 * [refused("409 Conflict", "name is taken")]])
    told: list[set[str]] = []

    def create(body: bytes) -> list[Step]:
        told.append(set(json.loads(body)["Env"]))
        return next(answers)

    lines = "Mips 40000\nKFlops 5000000\nexit 1.0\nMips 7\n"
    it = world({CREATE: create, PUT: reply(b""), ARCHIVE: report(lines)})
    it.pool()
    for _ in range(2):
        it.act(Start("room"))
        it.pump()
    it.actuator.endings.fetch_next()
    it.pump()
    assert it.accounting.work.jobs_done == 0, it.accounting.work
    it.restart()
    it.act(Start("room"))
    it.pump()
    measure, figures = "PLANCTON_MEASURE=1", {"_CONDOR_Mips=40000", "_CONDOR_KFlops=5000000"}
    assert [measure in each for each in told] == [True, False, False]
    assert [figures <= each for each in told] == [False, False, True]


@pytest.mark.parametrize(
    ("ends", "told"),
    [(137, ["PLANCTON_DIED=w1"]), (None, ["PLANCTON_DIED=w1"]), (0, []), (75, [])],
)
def test_who_died(world: Callable[..., World], ends: int | None, told: list[str]) -> None:
    """The next worker is told of one that was killed or removed, whose slots its pool still shows, and
    not of one that ended by itself."""
    bodies: list[bytes] = []

    def create(body: bytes) -> list[Step]:
        bodies.append(body)
        return refused("409 Conflict", "name is taken")

    it = world({CREATE: create, ARCHIVE: report("")})
    it.pool()
    it.pilot()
    if ends is None:
        it.event("destroy")
    else:
        it.die(ends)
    it.act(Start("room"))
    it.pump()
    assert [each for each in json.loads(bodies[0])["Env"] if "DIED" in each] == told


def test_plain_workers_get_no_files(world: Callable[..., World]) -> None:
    """Without a pool, nothing is put into a container."""
    it = world()
    it.act(Start("room"))
    it.pump()
    assert PUT not in it.asked() and it.roster[next(iter(it.phases()))].worker.jobs is None


@pytest.mark.parametrize(
    ("token", "mode", "words"),
    [
        (TOKEN, 0o644, "others can read it; chmod 600 "),
        (b"c2VjcmV0", 0o600, "holds no token as condor_token_create prints it"),
    ],
)
def test_token_that_is_refused(world: Callable[..., World], token: bytes, mode: int, words: str) -> None:
    """Without a good token Docker is not asked, and the failure counts as the worker's."""
    it = world()
    it.pool(token, mode)
    it.act(Start("room"))
    assert len(it.roster) == 0 and it.inbox.take() is None and it.asked() == []
    (ended,) = it.roster.take_ended()
    assert ended.age < 5.0 and words in ended.reason, ended
    said = [text for text in it.said if "token file" in text]
    assert len(said) == 1 and "can't be started: token file " in said[0] and words in said[0], it.said
    assert "c2VjcmV0" not in " ".join(it.said) + ended.reason and it.troubles == []


def test_when_the_token_expires(world: Callable[..., World]) -> None:
    """The status may say when the token does that the last worker got; another kind of worker has
    none."""
    it = world({PUT: reply(b"")})
    claims = base64.urlsafe_b64encode(b'{"exp":4102444800}').rstrip(b"=")
    it.pool(b"eyJhbGciOiJIUzI1NiJ9." + claims + b".c2VjcmV0")
    assert it.actuator.starter.token_expires is None
    it.act(Start("room"))
    assert it.actuator.starter.token_expires == 4102444800
    it.config = parse("image: {name: x}", "FILE")
    it.act(Start("room"))
    assert it.actuator.starter.token_expires is None


def test_a_token_that_ends(world: Callable[..., World]) -> None:
    """A worker is to finish before its token ends, and so it tells its pool; who adopts it knows that,
    too."""
    bodies: list[bytes] = []
    created = reply(json.dumps({"Id": ID}).encode(), "201 Created")
    it = world({PUT: reply(b""), CREATE: lambda body: bodies.append(body) or created})  # type: ignore[func-returns-value]
    ends = time.time() + 6_000
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends}).encode()).rstrip(b"=")
    it.pool(b"eyJhbGciOiJIUzI1NiJ9." + claims + b".c2VjcmV0")
    it.act(Start("room"))
    it.pump()
    (entry,) = it.roster
    left = (entry.worker.until or 0.0) - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert 0 < left < 6_000 - Settings().finish_timeout / 2, left
    made = json.loads(bodies[0])
    told = next(float(each.partition("=")[2]) for each in made["Env"] if "PlanctonEnds=" in each)
    assert abs(told - float(made["Labels"][containers.UNTIL])) <= 1.0, made
    it.restart()
    found = container(entry.worker.name, labels=made["Labels"], cid=ID)
    it.reconciler.reconcile([found], 5_000.0)
    (again,) = it.roster
    assert again.worker.until == pytest.approx(entry.worker.until, abs=30.0)


def test_token_is_read_each_time(world: Callable[..., World]) -> None:
    """The next worker uses a renewed token, without a restart."""
    it = world({PUT: reply(b"")})
    it.pool(mode=0o644)
    it.act(Start("room"))
    assert len(it.roster) == 0
    it.pool()
    it.act(Start("room"))
    it.pump()
    assert list(it.phases().values()) == [Phase.RUNNING], it.said


@pytest.mark.parametrize(
    ("steps", "words", "removed"),
    [
        (refused("404 Not Found", "Could not find the file /var/lib/plancton"), "Could not find", True),
        (refused("400 Bad Request", "unexpected EOF"), "unexpected EOF", True),
        (refused("500 Internal Server Error", "no space left on device"), "no space left", True),
        ([CUT], "cut the connection", False),
    ],
)
def test_files_that_are_refused(
    world: Callable[..., World], steps: list[Step], words: str, removed: bool
) -> None:
    """A worker that can't be given its token is never started, and anything created is removed."""
    it = world({PUT: steps})
    it.pool()
    it.act(Start("room"))
    it.pump(2 if removed else 1)
    assert START not in it.asked() and (REMOVE in it.asked()) is removed, it.asked()
    assert len(it.roster) == 0 and words in it.said[-1] and it.lost == 0, it.said
    assert len(it.troubles) == (0 if removed else 1)


# ---------------------------------------------------------------- last words


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["plancton: the pool had no job for it"], ': the worker says "the pool had no job for it"'),
        (["noise", "plancton: first", "plancton: last", "more noise"], ': the worker says "last"'),
        ([" plancton: not at the beginning", "Plancton: another"], ': the worker says "Plancton: another"'),
        (["plancton:without a space"], ': the worker says "plancton:without a space"'),
        (["plancton: " + "x" * 500], ': the worker says "' + "x" * 199 + '…"'),
        (["plancton: \x1b[31mred\x07\u202e\r"], ': the worker says "red"'),
        (["\x1b]0;title\x07not \u2066process 1"], ': the worker says "not process 1"'),
        (["plancton: "], ""),
        ([], ""),
    ],
    ids=str,
)
def test_last_words(world: Callable[..., World], lines: list[str], words: str) -> None:
    """A worker's last words are in the sentence, short and harmless; without any, its last line."""
    it = world({LOGS: log(*lines)})
    it.adopt()
    it.die(7)
    (ended,) = it.roster.take_ended()
    assert ended.reason.rstrip() == f"exit code 7{words}".rstrip(), ended
    assert it.said[-1].endswith(ended.reason) and it.said[-1].isprintable(), it.said
    assert len(it.roster) == 0 and "tail=20" in " ".join(it.server.requests)


def test_words_of_one_that_was_told(world: Callable[..., World]) -> None:
    """A plain worker that was told to go is not asked why it ended."""
    it = world({LOGS: log("plancton: told")})
    it.adopt()
    it.act(Leave("w1", "no room", 20.0))
    it.event("die", exitCode="0")
    it.pump(2)
    assert LOGS not in it.asked() and it.said[-1].endswith(": exit code 0"), (it.asked(), it.said)


@pytest.mark.parametrize(
    ("steps", "troubles"), [(refused("404 Not Found", "no such container"), 0), (refused("500 x", "no"), 0),
                            ([CUT], 1)]
)  # fmt: skip
def test_words_that_cannot_be_heard(world: Callable[..., World], steps: list[Step], troubles: int) -> None:
    """An end is reported and counted even if nothing more is known about it."""
    it = world({LOGS: steps})
    it.adopt()
    it.die(7)
    assert [ended.reason for ended in it.roster.take_ended()] == ["exit code 7"]
    assert "w1 ended after" in it.said[-1] and len(it.troubles) == troubles
    assert len(it.roster) == 0


@pytest.mark.parametrize(("code", "idle"), [(75, True), (0, False), (1, False), (137, False), (None, False)])
def test_exit_codes(world: Callable[..., World], code: int | None, idle: bool) -> None:
    """Exit code 75 means no work; an unknown exit code is called unknown."""
    it = world({ARCHIVE: refused("404 Not Found", "no such file")})
    it.pilot()
    it.die(code)
    (ended,) = it.roster.take_ended()
    assert (ended.idle, ended.reason) == (idle, f"exit code {'unknown' if code is None else code}"), ended


# ---------------------------------------------------------------- jobs that end


def test_report_of_the_end(world: Callable[..., World]) -> None:
    """A worker that ends cleanly reports its jobs' outcome, whether told to go or not."""
    it = world({ARCHIVE: report("exit 10.0\nevict 2.0\n")})
    for told in (False, True):
        it.pilot(50.0, cpu=99.0)
        if told:
            it.act(Leave("w1", "no room", 20.0))
            it.pump()
        it.die(0)
    assert (it.accounting.work.jobs_done, it.accounting.work.jobs_evicted) == (2, 2), it.accounting.work
    assert (it.accounting.work.cpu_done, it.accounting.work.cpu_lost) == (20.0, 4.0), it.accounting.work


@pytest.mark.parametrize("code", [137, None])
def test_killed_with_a_job(world: Callable[..., World], code: int | None) -> None:
    """A killed worker's running jobs are lost, with all they had used; reported jobs are done."""
    it = world({ARCHIVE: report("exit 10.0\n")})
    it.reconciler.arrived(container("w1", labels={containers.POOL: containers.HTCONDOR}))
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    it.roster.note_jobs("w1", (50.0,), 33.0)
    it.die(code)
    assert it.accounting.work == Work(1_000.0, 1, 1, 0.0, 10.0, 33.0), it.accounting.work


def test_killed_without_a_job(world: Callable[..., World]) -> None:
    """A worker killed while it waited for work has lost nothing."""
    it = world({ARCHIVE: refused("404 Not Found", "no such file")})
    it.pilot()
    it.die(137)
    assert it.accounting.work == Work(1_000.0), it.accounting.work


def test_job_that_ends(world: Callable[..., World]) -> None:
    """When a job ends, its worker's report is read; reading it again counts nothing twice."""
    reports = iter([report("exit 10.0\n"), report("exit 10.0\nexit 5.0\n"), report("exit 10.0\nexit 5.0\n")])
    it = world({ARCHIVE: lambda _: next(reports)})
    it.pilot()
    for done in (1, 2):
        it.actuator.endings.fetch_report("w1")
        it.actuator.endings.fetch_next()
        it.pump()
        assert it.accounting.work.jobs_done == done, it.accounting.work
    it.die(0)
    assert (it.accounting.work.jobs_done, it.accounting.work.cpu_done) == (2, 15.0), it.accounting.work
    assert any(
        request.endswith("archive?path=%2Fvar%2Flib%2Fplancton%2Fwork%2Fjobs")
        for request in it.server.requests
    )


@pytest.mark.parametrize(
    ("steps", "troubles"),
    [
        (refused("404 Not Found", "Could not find the file"), 0),
        (refused("500 Internal Server Error", "no"), 0),
        (report("", tarfile.SYMTYPE), 0),
        (report("", tarfile.DIRTYPE), 0),
        (report("", tarfile.FIFOTYPE), 0),
        (reply(b"no tar"), 0),
        ([CUT], 1),
    ],
    ids=["missing", "error", "link", "directory", "pipe", "no tar", "cut"],
)
def test_report_that_cannot_be_read(world: Callable[..., World], steps: list[Step], troubles: int) -> None:
    """A missing or malformed report counts nothing, and does not keep the worker from ending."""
    it = world({ARCHIVE: steps})
    it.pilot()
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    assert len(it.troubles) == troubles
    it.die(0)
    assert it.accounting.work == Work(1_000.0) and len(it.roster) == 0, it.accounting.work


def test_report_of_nobody(world: Callable[..., World]) -> None:
    """A worker that is gone, or has no container yet, is not asked."""
    it = world()
    it.actuator.endings.fetch_report("x")
    it.roster.request(Worker("w1", jobs=()), 1.0)
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    assert it.inbox.take() is None and it.asked() == []


def test_report_that_comes_too_late(world: Callable[..., World]) -> None:
    """An answer for a worker that somebody has removed meanwhile is not counted."""
    it = world({ARCHIVE: report("exit 10.0\n")})
    it.pilot()
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.event("destroy")
    it.pump()
    assert it.accounting.work == Work(1_000.0), it.accounting.work


def test_vanished_with_a_job(world: Callable[..., World]) -> None:
    """If somebody removes a worker, its job is lost, and counted once."""
    it = world()
    it.pilot(50.0, 60.0, cpu=33.0)
    for _ in range(2):
        it.event("destroy")
    assert it.accounting.work == Work(1_000.0, jobs_evicted=2, cpu_lost=33.0), it.accounting.work
    assert len(it.roster) == 0 and len(it.said) == 1


def test_gone_while_docker_was_away_with_a_job(world: Callable[..., World]) -> None:
    """A worker that Docker no longer has is lost with its job."""
    it = world()
    it.pilot(50.0, cpu=33.0)
    it.reconciler.reconcile([], 5_000.0)
    assert it.accounting.work == Work(1_000.0, jobs_evicted=1, cpu_lost=33.0), it.accounting.work


def test_removed_while_it_is_examined(world: Callable[..., World]) -> None:
    """A worker removed before its last words were read is still reported and counted, once."""
    it = world({LOGS: refused("404 Not Found", "No such container"), REMOVE: refused("404 Not Found", "no")})
    it.pilot(50.0, cpu=33.0)
    it.event("die", exitCode="137")
    it.event("destroy")
    it.pump(2)
    assert len(it.roster) == 0 and len(it.said) == 1 and "exit code 137" in it.said[0], it.said
    assert [ended.reason for ended in it.roster.take_ended()] == ["exit code 137"]
    assert it.accounting.work == Work(1_000.0, jobs_evicted=1, cpu_lost=33.0), it.accounting.work


def test_force_all_with_jobs(world: Callable[..., World]) -> None:
    """All at once: running jobs are lost, and counted once however often it is forced."""
    it = world({ARCHIVE: report("exit 10.0\n")})
    it.pilot(50.0, cpu=33.0)
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    it.actuator.force_all(1.0)
    it.actuator.force_all(2.0)
    it.event("die", exitCode="137")
    while len(it.roster):
        it.pump()
    assert it.accounting.work == Work(1_000.0, 1, 1, 0.0, 10.0, 33.0), it.accounting.work


@pytest.mark.parametrize("way", ["fetched", "examined"])
def test_force_all_while_a_report_is_read(world: Callable[..., World], way: str) -> None:
    """A report that was being read when all were forced out counts nothing twice."""
    it = world({ARCHIVE: report("exit 10.0\n")})
    it.pilot()
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    if way == "fetched":
        it.actuator.endings.fetch_report("w1")
        it.actuator.endings.fetch_next()
    else:
        it.event("die", exitCode="0")
    it.actuator.force_all(1.0)
    while len(it.roster):
        it.pump()
    assert it.accounting.work == Work(1_000.0, jobs_done=1, cpu_done=10.0), it.accounting.work


def test_restart_between_the_end_and_the_removal(world: Callable[..., World]) -> None:
    """A report that the next supervisor reads again is not counted again."""
    it = world({ARCHIVE: report("exit 10.0\n"), REMOVE: refused("500 Internal Server Error", "device busy")})
    it.pilot()
    it.die(0)
    assert it.accounting.work.jobs_done == 1
    assert it.on_disk.work.jobs_done == 1, "a supervisor that is killed now forgets it"
    it.restart()
    it.script[REMOVE] = NO_CONTENT
    ended = container("w1", running=False, labels={containers.POOL: containers.HTCONDOR})
    it.reconciler.reconcile([ended], 5_000.0)
    it.pump(2)
    assert it.accounting.work.jobs_done == 1 and len(it.roster) == 0, it.accounting.work


@pytest.mark.parametrize("name", ["w1", "precious"])
def test_restart_with_a_job(world: Callable[..., World], name: str) -> None:
    """A worker that survives a restart is still a pool's, and its report is counted from where it
    was, also if somebody has renamed it meanwhile."""
    it = world({ARCHIVE: report("exit 10.0\n")})
    it.pilot(50.0)
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    it.restart()
    it.reconciler.reconcile([container(name, labels={containers.POOL: containers.HTCONDOR})], 5_000.0)
    it.roster.note_jobs(name, (60.0,), 7.0)
    it.script[ARCHIVE] = report("exit 10.0\nevict 3.0\n")
    it.die(0, name)
    assert it.accounting.work == Work(1_000.0, 1, 1, 0.0, 10.0, 3.0), it.accounting.work


@pytest.mark.parametrize("paused", [False, True])
def test_adopted_while_frozen(world: Callable[..., World], paused: bool) -> None:
    """An adopted worker that an earlier supervisor's lift has frozen runs again; one that Docker has
    paused stays so."""
    it = world({})
    knob = it.slice.directory / ID / "cgroup.freeze"
    knob.write_text("1")
    found = container("w1")
    state = msgspec.structs.replace(found.state, paused=paused)
    it.reconciler.reconcile([msgspec.structs.replace(found, state=state)], 5_000.0)
    assert knob.read_text() == str(int(paused))


def test_evicted_and_then_killed(world: Callable[..., World]) -> None:
    """A job that was evicted cleanly by a worker that still had to be killed is lost once."""
    it = world({ARCHIVE: report("evict 5.0\n")})
    it.pilot(50.0, cpu=33.0)
    it.act(Leave("w1", "no room", 3.0))
    it.pump()
    it.die(137)
    assert it.accounting.work == Work(1_000.0, jobs_evicted=1, cpu_lost=5.0), it.accounting.work


def test_one_of_two_jobs_was_reported(world: Callable[..., World]) -> None:
    """Of two running jobs, the one in the last report does not count as lost as well."""
    it = world({ARCHIVE: report("exit 5.0\n")})
    it.pilot(50.0, 60.0, cpu=30.0)
    it.die(137)
    assert it.accounting.work == Work(1_000.0, 1, 1, 0.0, 5.0, 15.0), it.accounting.work


@pytest.mark.parametrize("code", [137, 143, 131, 255, 139])
def test_ended_in_disorder(world: Callable[..., World], code: int) -> None:
    """A worker with somebody else's exit code (a dead dockerd's 255, a signal) has lost its job."""
    it = world({ARCHIVE: report("")})
    it.pilot(50.0, cpu=33.0)
    it.die(code)
    assert it.accounting.work == Work(1_000.0, jobs_evicted=1, cpu_lost=33.0), it.accounting.work


@pytest.mark.parametrize("killed", [True, False])
def test_reported_before_it_is_known(world: Callable[..., World], killed: bool) -> None:
    """A job that ended while the report was read for another one is done, and not lost as well when
    its worker ends before it is known; one that really runs is lost."""
    it = world({ARCHIVE: report("exit 10.0 50.00\nexit 5.0 60.00\nhold 3.0 12.34\n")})
    it.pilot(50.0, 60.0, 70.01, cpu=30.0)
    it.roster.note_jobs("w1", (60.0, 70.01), 30.0)
    it.actuator.endings.fetch_report("w1")
    it.actuator.endings.fetch_next()
    it.pump()
    if killed:
        it.die(137)
    else:
        it.event("destroy")
    assert it.accounting.work == Work(1_000.0, 2, 1, 0.0, 15.0, 15.0), it.accounting.work


def test_one_report_at_a_time(world: Callable[..., World]) -> None:
    """However many jobs end, reports are read one at a time, the longest-waiting first."""
    it = world({ARCHIVE: report("exit 5.0\n"), "GET /containers/beef/archive": report("exit 5.0\n")})
    it.pilot(name="w1")
    it.pilot(name="w2", cid="beef")
    for name in ("w1", "w2", "w1", "gone"):
        it.actuator.endings.fetch_report(name)
    for done in (1, 2):
        it.actuator.endings.fetch_next()
        it.actuator.endings.fetch_next()
        it.pump()
        assert it.accounting.work.jobs_done == done, it.accounting.work
    it.actuator.endings.fetch_next()
    read = [request for request in it.asked() if request.startswith("GET ")]
    assert read == [ARCHIVE, "GET /containers/beef/archive"] and it.inbox.take() is None


# ---------------------------------------------------------------- those that can't be killed


def the(it: World) -> Worker:
    """The only worker."""
    (entry,) = it.roster
    return entry.worker


def test_kill_that_is_refused(world: Callable[..., World]) -> None:
    """A kill that Docker refuses goes by the cgroup at once, and is said once, in Docker's words."""
    it = world({SIGNAL: refused("500 Internal Server Error", "permission denied")})
    it.adopt()
    for now in (0.0, 5.0, 15.0):
        (it.slice.directory / ID / "cgroup.kill").write_text("")
        it.act(Kill("w1", "late"), now=now)
        it.pump()
        assert it.read(f"{ID}/cgroup.kill") == "1" and it.read("other/cgroup.kill") == ""
    said = [text for text in it.said if "permission denied" in text]
    assert len(said) == 1 and "w1 was killed through its cgroup" in said[0], it.said
    assert it.troubles == []


@pytest.mark.parametrize("status", ["404 Not Found", "409 Conflict"])
def test_kill_of_one_that_has_ended(world: Callable[..., World], status: str) -> None:
    """A kill that comes too late leaves the cgroup alone, and the end that nobody told of is
    found."""
    it = world({SIGNAL: refused(status, "is not running")})
    it.script[INSPECT] = refused("404 Not Found", "No such container")
    it.adopt()
    it.act(Kill("w1", "late"))
    it.pump(2)
    assert it.read(f"{ID}/cgroup.kill") == "" and len(it.roster) == 0, it.said


def test_signal_that_apparmor_refuses(world: Callable[..., World]) -> None:
    """A worker that could not be told to leave is named, with Docker's words."""
    it = world({SIGNAL: refused("500 Internal Server Error", "permission denied")})
    it.adopt()
    it.act(Leave("w1", "no room", 20.0))
    it.pump()
    assert "w1" in it.said[-1] and "permission denied" in it.said[-1], it.said


def test_one_that_outlives_being_killed(world: Callable[..., World]) -> None:
    """It is killed ever less often, by both ways, with one call outstanding, and shown as stuck."""
    it = world()
    it.adopt()
    waits, now = [], 0.0
    for _ in range(12):
        it.act(Kill("w1", "late", lift=True), now=now)
        it.pump()
        worker = the(it)
        assert worker.deadline is not None
        waits.append(worker.deadline - now)
        assert worker.told == 0.0, "it counts as leaving from the first kill on, not from the last"
        now = worker.deadline
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0] and waits == sorted(waits) and waits[-1] == waits[-2]
    assert the(it).stuck and it.read(f"{ID}/cgroup.kill") == "1"
    assert len([text for text in it.said if "outlives being killed" in text]) == 1
    assert it.asked() == [SIGNAL] * 12


def test_one_kill_at_a_time(world: Callable[..., World]) -> None:
    """While Docker has not answered to a kill, it is not asked for another one."""
    it = world({SIGNAL: [HANG]})
    it.adopt()
    for now in (0.0, 5.0, 15.0):
        it.act(Kill("w1", "late"), now=now)
    assert it.server.reached.wait(DEADLINE)
    assert it.asked() == [SIGNAL]


def test_dead_but_not_told(world: Callable[..., World]) -> None:
    """A worker whose cgroup is empty is dead, and not stuck, whatever Docker says."""
    it = world()
    it.adopt()
    (it.slice.directory / ID / "cgroup.events").write_text("populated 0\n")
    for now in (0.0, 5.0):
        it.act(Kill("w1", "late"), now=now)
        it.pump()
    assert not the(it).stuck


def test_each_leaver_is_lifted_once(world: Callable[..., World]) -> None:
    """One lift to leave, one to die: one that can't die does not keep the slice lifted."""
    it = world()
    it.adopt()
    lifted = 0.0
    it.act(Leave("w1", "no room", 20.0, lift=True), now=0.0)
    for now in range(600):
        worker = the(it)
        if worker.deadline is not None and now >= worker.deadline:
            it.act(Kill("w1", "late", lift=True), now=float(now))
        it.actuator.lift.step(float(now))
        lifted += it.slice.lifted
    assert lifted == 2 * Settings().lift and it.read("cpu.idle") == "1"


def test_stuck_one_gets_no_lift_of_others(world: Callable[..., World]) -> None:
    """A lift for others is not for one that can't be killed."""
    it = world()
    it.adopt()
    it.reconciler.arrived(container("w2", cid="other", pid=0))
    it.roster["w2"].group = "plancton/other"
    for now in (0.0, 5.0):
        it.act(Kill("w1", "late"), now=now)
    (it.slice.directory / ID / "cpu.weight").write_text("1")
    it.act(Leave("w2", "no room", 20.0, lift=True), now=6.0)
    assert it.slice.lifted and it.read(f"{ID}/cpu.weight") == "1" and it.read("other/cpu.weight") == "100"


# ---------------------------------------------------------------- what others do to workers


def test_restarted_by_somebody(world: Callable[..., World]) -> None:
    """A worker that somebody restarts has its new pid, start and cgroup, and lives again."""
    it = world({REMOVE: refused("409 Conflict", "You cannot remove a running container")})
    it.adopt()
    tree(it.proc, {"43": {"stat": pid_stat(43, started=99_000), "cgroup": f"0::/plancton/{ID}\n"}})
    it.script[INSPECT] = lambda _: it.inspected(Pid=43)
    before = the(it).started
    it.act(Leave("w1", "no room", 20.0))
    it.event("die", exitCode="0", cid=ID)
    it.event("start", cid=ID)
    while the(it).phase is not Phase.RUNNING:
        it.pump()
    worker = the(it)
    assert worker.started != before and worker.told is None and not worker.busy
    assert (it.roster["w1"].pid, it.roster["w1"].group) == (43, f"plancton/{ID}")
    it.act(Kill("w1", "memory"))
    assert it.phases() == {"w1": Phase.KILLED}


def test_restart_that_nobody_told_of(world: Callable[..., World]) -> None:
    """A list finds a worker that was restarted while no events came; its jobs are lost."""
    it = world()
    it.pilot(50.0, cpu=33.0)
    tree(it.proc, {"43": {"stat": pid_stat(43), "cgroup": f"0::/plancton/docker-{ID}.scope\n"}})
    for _ in range(2):
        it.reconciler.reconcile([container(labels={containers.POOL: containers.HTCONDOR}, pid=43)], 5_000.0)
    assert it.roster["w1"].group == f"plancton/docker-{ID}.scope" and it.phases() == {"w1": Phase.RUNNING}
    assert it.accounting.work.jobs_evicted == 1 and len(it.said) == 1, it.said


def test_renamed_by_somebody(world: Callable[..., World]) -> None:
    """A renamed worker is the same worker, shown under its new name; events under it count."""
    it = world()
    it.adopt()
    it.script[INSPECT] = lambda _: it.inspected("precious")
    it.event("rename", "precious", ID, oldName="/w1")
    it.pump()
    assert the(it).name == "w1" and the(it).renamed == "precious"
    it.reconciler.reconcile([container("precious")], 5_000.0)
    assert len(it.roster) == 1 and the(it).phase is Phase.RUNNING
    it.event("die", "precious", ID, exitCode="0")
    it.pump(2)
    assert len(it.roster) == 0 and it.asked()[-1] == REMOVE


def test_made_again_under_the_same_name(world: Callable[..., World]) -> None:
    """A container that somebody makes from a worker, with its name, is another worker; what still
    comes back about the first is not taken for it."""
    held: list[World] = []

    def removal(_: bytes) -> list[Step]:
        held[0].event("start", "w1", "beef")
        return refused("404 Not Found", "No such container")

    it = world({REMOVE: removal})
    held.append(it)
    it.script["GET /containers/beef/json"] = lambda _: it.inspected("w1", "beef")
    it.adopt()
    it.event("die", cid=ID, exitCode="0")
    it.pump(3)
    (worker,) = (entry.worker for entry in it.roster)
    assert worker.id == "beef" and worker.phase is Phase.RUNNING
    assert (worker.renamed or worker.name) == "w1"


def test_two_of_one_name(world: Callable[..., World]) -> None:
    """Two workers that had one name one after the other are both there, under different names."""
    it = world()
    it.adopt()
    it.reconciler.reconcile([container("away"), container("w1", cid="beef")], 5_000.0)
    names = {entry.worker.id: entry.worker.renamed for entry in it.roster}
    assert names == {ID: "away", "beef": "w1"} and len(it.phases()) == 2


@pytest.mark.parametrize("phase", ["leave", "kill"])
def test_paused_by_somebody(world: Callable[..., World], phase: str) -> None:
    """A paused worker is shown as that, is not frozen and thawed for others, and is unpaused when
    it must go."""
    unpause = f"POST /containers/{ID}/unpause"
    it = world({unpause: NO_CONTENT})
    it.adopt()
    it.script[INSPECT] = lambda _: it.inspected(Paused=True)
    it.event("pause", cid=ID)
    it.pump()
    assert the(it).paused and the(it).phase is Phase.RUNNING
    it.act(Leave("w1", "no room", 20.0) if phase == "leave" else Kill("w1", "late"))
    it.pump()
    assert it.asked()[-2:] == [unpause, SIGNAL]
    it.script[INSPECT] = lambda _: it.inspected()
    it.event("unpause", cid=ID)
    it.pump()
    assert not the(it).paused


def test_paused_just_now(world: Callable[..., World]) -> None:
    """A signal that is refused because of a pause that is not known yet comes after an unpause."""
    answers = iter([refused("409 Conflict", "is paused"), NO_CONTENT])
    unpause = f"POST /containers/{ID}/unpause"
    it = world({SIGNAL: lambda _: next(answers), unpause: NO_CONTENT})
    it.adopt()
    it.act(Leave("w1", "no room", 20.0))
    it.pump()
    assert it.asked() == [SIGNAL, unpause, SIGNAL] and it.troubles == []


def test_paused_are_not_frozen_for_leavers(world: Callable[..., World]) -> None:
    """A lift does not freeze a paused worker, which it would thaw afterwards."""
    it = world()
    it.adopt()
    it.reconciler.arrived(container("w2", cid="other"))
    it.roster["w2"].group = "plancton/other"
    it.roster.change("w2", paused=True)
    it.act(Leave("w1", "no room", 20.0, lift=True), now=0.0)
    assert it.slice.lifted and it.read("other/cgroup.freeze") == "0"


def test_updated_by_somebody(world: Callable[..., World]) -> None:
    """Shares, quota and memory that somebody changes are seen; the echo of our own update is not
    asked about."""
    it = world({f"POST /containers/{ID}/update": reply(b"{}")})
    it.adopt()
    it.act(SetShares("w1", 2, "does not fit"), now=7.0)
    it.pump()
    it.event("update", cid=ID)
    assert it.inbox.take() is None and INSPECT not in it.asked()
    it.event("update", cid=ID)
    it.pump()
    assert INSPECT in it.asked() and the(it).shares == 1024


def test_removed_and_listed(world: Callable[..., World]) -> None:
    """A list that was made before a worker was removed does not bring it back."""
    it = world()
    it.adopt()
    it.die(0)
    said = len(it.said)
    it.reconciler.reconcile([container(running=False)], 5_000.0)
    assert len(it.roster) == 0 and len(it.said) == said and it.asked().count(REMOVE) == 1


def test_removed_only_by_its_word(world: Callable[..., World]) -> None:
    """A container that is still there after Docker said that it was removed is found and removed
    once more."""
    it = world()
    it.adopt()
    it.die(0)
    it.reconciler.reconcile([container(running=False)], 5_000.0, asked=time.monotonic())
    assert len(it.roster) == 1
    it.pump()
    assert len(it.roster) == 0 and it.asked().count(REMOVE) == 2


def test_a_stranger_is_named_once(world: Callable[..., World], caplog: pytest.LogCaptureFixture) -> None:
    """A container with our label elsewhere is left alone, which the log says once."""
    it = world()
    for _ in range(3):
        it.reconciler.reconcile([container("w2", parent="/docker")], 1.0)
    assert len(it.roster) == 0 and caplog.text.count("left alone") == 1


# ---------------------------------------------------------------- removals that are slow or refused


def test_leave_beside_a_slow_removal(world: Callable[..., World]) -> None:
    """While a removal hangs, another worker is told to leave."""
    leave = "POST /containers/beef/kill"
    it = world({REMOVE: [HANG], leave: NO_CONTENT})
    it.adopt()
    it.reconciler.arrived(container("w2", cid="beef"))
    it.event("die", cid=ID, exitCode="0")
    it.pump()
    assert it.server.reached.wait(DEADLINE)
    it.act(Leave("w2", "no room", 20.0))
    it.pump()
    assert it.asked()[-1] == leave and it.phases() == {"w1": Phase.ENDED, "w2": Phase.LEAVING}


def test_removals_ever_less_often(world: Callable[..., World]) -> None:
    """A container that can't be removed is tried ever less often, said once and shown with Docker's
    words until it is gone."""
    it = world({REMOVE: refused("500 Internal Server Error", "device or resource busy")})
    it.adopt()
    it.die(0)
    waits = []
    for _ in range(10):
        waits.append(round(it.roster["w1"].next_removal - time.monotonic(), -1))
        it.actuator.removals.sweep(it.roster["w1"].next_removal - 1.0)
        assert not the(it).busy
        it.actuator.removals.sweep(LATER)
        it.pump()
    assert waits == sorted(waits) and waits[1] == 10 and waits[-1] == 600, waits
    assert len([text for text in it.said if "can't be removed" in text]) == 1
    (problem,) = it.actuator.removals.problems
    assert "w1" in problem and "device or resource busy" in problem
    it.script[REMOVE] = NO_CONTENT
    it.actuator.removals.sweep(LATER)
    it.pump()
    assert len(it.roster) == 0 and it.actuator.removals.problems == []


def test_end_that_is_told_late(world: Callable[..., World]) -> None:
    """A worker whose first end is heard of only after its restart was seen runs on."""
    it = world({REMOVE: refused("409 Conflict", "You cannot remove a running container")})
    it.adopt()
    tree(it.proc, {"43": {"stat": pid_stat(43), "cgroup": f"0::/plancton/{ID}\n"}})
    it.reconciler.reconcile([container(pid=43)], 5_000.0)
    it.script[INSPECT] = lambda _: it.inspected(Pid=43)
    it.event("die", cid=ID, exitCode="0")
    it.pump(3)
    assert it.phases() == {"w1": Phase.RUNNING} and it.roster["w1"].pid == 43
