"""A Docker Engine without Docker: it may refuse, delay, drop or lie about any call.

Its containers are directories of plain files, as a kernel would show them: /proc/PID and a cgroup
in the slice. Time is `now`, which only `Queue.pass_time` and whoever drives it move on.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from unit.trees import pid_stat, tree

from plancton.docker.client import Docker
from plancton.docker.errors import (
    Conflict,
    DockerError,
    DockerRefused,
    DockerTimeout,
    DockerUnreachable,
    NotFound,
)
from plancton.docker.replies import (
    Actor,
    Container,
    ContainerConfig,
    ContainerState,
    Event,
    HostConfig,
    Network,
    Summary,
)
from plancton.docker.request_queue import Queued

T = TypeVar("T")
Done = Callable[[Any, Any], None]

TIMEOUT, LATE, CALLS = 30.0, 12.0, 8
"""How long a call hangs until the client gives it up, how long a late one takes, and how many quick
ones a queue makes in a second."""
FATES = ("refuse", "gone", "conflict", "cut", "lost", "lie", "hang", "late")
VERBS = ("create", "start", "inspect", "signal", "unpause", "remove", "update", "logs", "list")
HZ = os.sysconf("SC_CLK_TCK")


class Box:
    """One container. ``stubborn``: it ignores SIGTERM; ``immortal``: it can't be killed."""

    def __init__(self, cid: str, name: str, body: dict[str, Any]) -> None:
        self.id, self.name, self.body = cid, name, body
        self.labels: dict[str, str] = body["Labels"]
        self.limits = {"CpuShares": 1024, "CpuQuota": 0, "Memory": 0, **body["HostConfig"]}
        self.pid = self.code = 0
        self.paused = self.stubborn = self.immortal = False
        self.pending: list[str] = []

    @property
    def running(self) -> bool:
        return self.pid != 0


class ScriptedEngine:
    """The Engine and the kernel below it. ``fates`` says what happens to calls of a verb from now
    on; ``deaf``: nobody hears its events; ``lag`` is how late they come (seconds)."""

    def __init__(self, root: Path, workers_slice: str) -> None:
        self.proc, self.tree = tree(root / "proc"), root / "v2"
        self.slice, self.parent = self.tree / workers_slice, f"/{workers_slice}"
        self.boxes: dict[str, Box] = {}
        self.fates: dict[str, str] = {}
        self.deaf, self.lag = False, 0.0
        self.events: list[tuple[float, Event]] = []
        self.started: list[str] = []
        self.now = 0.0
        self.boottime = 10_000.0
        self._count = 0

    def running(self) -> set[str]:
        return {box.id for box in self.boxes.values() if box.running}

    # ------------------------------------------------------------ what happens to containers

    def new(self, name: str, body: dict[str, Any]) -> Box:
        self._count += 1
        box = Box(f"{self._count:04x}" * 16, name, body)
        self.boxes[box.id] = box
        return box

    def begin(self, box: Box) -> None:
        """Its first process, with a cgroup below the slice."""
        self._count += 1
        box.pid, box.paused = 100_000 + self._count, False
        box.pending = []
        self.started.append(box.id)
        started = int((self.boottime + self.now) * HZ)
        group = f"0::{self.parent}/{box.id}\n"
        tree(self.proc, {str(box.pid): {"stat": pid_stat(box.pid, started=started), "cgroup": group}})
        files = {"cgroup.kill": "", "cgroup.freeze": "0", "cpu.weight": "1", "cgroup.events": "populated 1"}
        tree(self.slice, {box.id: files})
        self.tell("start", box)

    def end(self, box: Box, code: int) -> None:
        shutil.rmtree(self.proc / str(box.pid))
        shutil.rmtree(self.slice / box.id)
        box.pid, box.code, box.paused = 0, code, False
        self.tell("die", box, exitCode=str(code))

    def destroy(self, box: Box) -> None:
        if box.running:
            self.end(box, 137)
        del self.boxes[box.id]
        self.tell("destroy", box)

    def tell(self, action: str, box: Box, **attributes: str) -> None:
        if not self.deaf:
            event = Event(action, Actor(box.id, {"name": box.name, **attributes}))
            self.events.append((self.now, event))

    def kernel(self) -> None:
        """What the kernel and the workers do within a second."""
        for box in [box for box in self.boxes.values() if box.running]:
            groups = self.slice, self.slice / box.id
            frozen = box.paused or any((group / "cgroup.freeze").read_text() == "1" for group in groups)
            kill = self.slice / box.id / "cgroup.kill"
            killed = kill.read_text() == "1" or "SIGKILL" in box.pending
            kill.write_text("")
            if killed and not box.immortal:
                self.end(box, 137)
            elif box.pending and not frozen and not box.stubborn and not box.immortal:
                self.end(box, 0)

    # ------------------------------------------------------------ the calls

    def meet(self, verb: str, what: str, act: Callable[[], T], nothing: T) -> T:
        """Do this as far as the fate of such calls allows. ``nothing`` is what a lie answers."""
        match self.fates.get(verb):
            case "refuse":
                raise DockerRefused(what, 500, "permission denied")
            case "gone":
                raise NotFound(what, 404, "No such container")
            case "conflict":
                raise Conflict(what, 409, "in conflict with its state")
            case "cut":
                raise DockerUnreachable("connection cut")
            case "lost":
                act()
                raise DockerUnreachable("connection cut")
            case "lie":
                return nothing
            case "hang":
                raise Delayed(TIMEOUT, None)
            case "late":
                raise Delayed(LATE, lambda: act())
        return act()

    def box(self, container: str) -> Box:
        found = self.boxes.get(container)
        found = found or next((b for b in self.boxes.values() if b.name == container), None)
        if found is None:
            raise NotFound("find it", 404, "No such container")
        return found

    def container(self, box: Box) -> Container:
        state = ContainerState(box.running, box.paused, box.pid, box.code)
        limits = HostConfig(
            box.limits.get("CgroupParent", ""),
            box.limits["CpuShares"],
            box.limits["CpuQuota"],
            box.limits["Memory"],
        )
        return Container(box.id, box.name, state, ContainerConfig(dict(box.labels)), limits)


class Delayed(Exception):
    """A call that takes this long, and does this in the end; None: it is given up."""

    def __init__(self, seconds: float, act: Callable[[], Any] | None) -> None:
        self.seconds, self.act = seconds, act


class Client(Docker):
    """The calls as the supervisor makes them."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine

    def containers(self, label: str) -> list[Summary]:
        key, _, value = label.partition("=")

        def act() -> list[Summary]:
            boxes = self.engine.boxes.values()
            return [Summary(box.id, [box.name]) for box in boxes if box.labels.get(key) == value]

        return self.engine.meet("list", "list containers", act, [])

    def inspect(self, container: str) -> Container:
        def act() -> Container:
            return self.engine.container(self.engine.box(container))

        owners = Container(container, "lie", ContainerState(True, False, 1), ContainerConfig(), HostConfig())
        box = self.engine.boxes.get(container)
        if box is not None:  # it says that an owner's process is the worker's
            state = ContainerState(True, False, 1)
            owners = Container(box.id, box.name, state, self.engine.container(box).config,
                               self.engine.container(box).host_config)  # fmt: skip
        return self.engine.meet("inspect", "inspect it", act, owners)

    def create(self, name: str, body: dict[str, Any]) -> str:
        return self.engine.meet("create", "create it", lambda: self.engine.new(name, body).id, "beef" * 16)

    def put_archive(self, container: str, path: str, tar: bytes) -> None:
        raise AssertionError("these workers get no files")

    def start(self, container: str) -> None:
        def act() -> None:
            box = self.engine.box(container)
            if not box.running:
                self.engine.begin(box)

        self.engine.meet("start", "start it", act, None)

    def signal(self, container: str, signal_name: str) -> None:
        def act() -> None:
            box = self.engine.box(container)
            if not box.running or box.paused:
                raise Conflict("kill it", 409, "is not running" if not box.running else "is paused")
            box.pending.append(signal_name)

        self.engine.meet("signal", f"send {signal_name}", act, None)

    def unpause(self, container: str) -> None:
        def act() -> None:
            box = self.engine.box(container)
            if not box.paused:
                raise DockerRefused("unpause it", 500, "is not paused")
            box.paused = False
            self.engine.tell("unpause", box)

        self.engine.meet("unpause", "unpause it", act, None)

    def remove(self, container: str, force: bool = False) -> None:
        def act() -> None:
            box = self.engine.box(container)
            if box.running and not force:
                raise Conflict("remove it", 409, "You cannot remove a running container")
            if box.running and box.immortal:
                raise DockerRefused("remove it", 500, "could not kill container")
            self.engine.destroy(box)

        self.engine.meet("remove", "remove it", act, None)

    def set_shares(self, container: str, shares: int) -> None:
        self._update(container, {"CpuShares": shares})

    def set_quota(self, container: str, quota: int, period: int) -> None:
        self._update(container, {"CpuQuota": quota})

    def _update(self, container: str, limits: dict[str, int]) -> None:
        def act() -> None:
            box = self.engine.box(container)
            box.limits.update(limits)
            self.engine.tell("update", box)

        self.engine.meet("update", "update it", act, None)

    def logs(self, container: str, lines: int = 5) -> str:
        return self.engine.meet("logs", "read its log", lambda: self.engine.box(container).id[:0], "")

    def network(self, name: str) -> Network:
        raise NotFound("find the network", 404, "no such network")


class Call(NamedTuple):
    """One that waits for its turn."""

    late: bool
    number: int
    queued: Queued
    call: Callable[[Docker], Any]
    done: Done


class UnderWay(NamedTuple):
    """One that takes long."""

    since: float
    delayed: Delayed
    done: Done


class Queue:
    """A RequestQueue whose calls are made when time passes."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine, self.client = engine, Client(engine)
        self.waiting: list[Call] = []
        self.answers: list[Callable[[], None]] = []
        self._count = 0
        self._under_way: UnderWay | None = None

    def submit(self, call: Callable[[Docker], T], done: Done, urgent: bool = False) -> Queued:
        self._count += 1
        self.waiting.append(Call(not urgent, self._count, Queued(), call, done))
        return self.waiting[-1].queued

    def busy_for(self, now: float) -> float:
        return 0.0 if self._under_way is None else now - self._under_way[0]

    @property
    def idle(self) -> bool:
        return not self.waiting and self._under_way is None and not self.answers

    def pass_time(self) -> None:
        """Make the calls that there is time for."""
        for _ in range(CALLS):
            if self._under_way is not None and not self._end():
                return
            if not self.waiting:
                return
            first = min(self.waiting, key=lambda call: (call.late, call.number))
            self.waiting.remove(first)
            if not first.queued.take():
                continue
            try:
                self._answer(first.done, first.call(self.client), None)
            except DockerError as error:
                self._answer(first.done, None, error)
            except Delayed as delayed:
                self._under_way = UnderWay(self.engine.now, delayed, first.done)
                return

    def _end(self) -> bool:
        """Whether the call under way has ended."""
        assert self._under_way is not None
        since, delayed, done = self._under_way
        if self.engine.now - since < delayed.seconds:
            return False
        self._under_way = None
        # It may be one of several that belong together, so its result is of no use.
        error: DockerError = DockerTimeout("no answer in time")
        try:
            if delayed.act is not None:
                delayed.act()
        except DockerError as refused:
            error = refused
        self._answer(done, None, error)
        return True

    def _answer(self, done: Done, result: Any, error: DockerError | None) -> None:
        self.answers.append(lambda: done(result, error))
