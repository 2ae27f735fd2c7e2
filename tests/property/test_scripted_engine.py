"""Actuator, roster, slice and decide on an Engine that may refuse, delay, drop or lie about any
call.

The suite makes 500 steps, the same each time. More of them, and others (50 for each example):
HYPOTHESIS_EXAMPLES=200 pytest tests/property/test_scripted_engine.py
"""

import os
import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from helpers.writes import Writes
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from property.scripted_engine import FATES, VERBS, Box, Queue, ScriptedEngine
from unit.trees import Tree, pid_stat, tree

from plancton.config.resolve import digest
from plancton.config.schema import Config
from plancton.daemon.actuator import Actuator
from plancton.daemon.context import Context
from plancton.docker.errors import DockerError, DockerUnreachable
from plancton.docker.replies import Container
from plancton.host.cgroup_mounts import Layout
from plancton.host.leaver_boost import LeaverBoost
from plancton.host.slice import Slice
from plancton.host.worker_cgroup import Place
from plancton.model import Decision, Kept, Observation, OwnerRules, Phase, Settings, Start, Wishes, Work
from plancton.policy.decide import decide
from plancton.policy.state import State
from plancton.workers.docker_calls import list_workers
from plancton.workers.job_accounting import Accounting
from plancton.workers.roster import Roster

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))
GB = 1_000_000_000
CPUS = 4.0
LIST_EVERY = 300.0
IMAGE = "sha256:i"
SETTINGS = Settings(
    grace_kill=20.0, grace_spawn=10.0, reserve_memory=2 * GB, lifetime=1e9, leave_timeout=10.0, gap=1e9
)
OWNERS = {"cgroup.freeze": "0", "cgroup.kill": "", "cpu.weight": "100", "cpu.max": "max 100000"}


class Supervisor:
    """What loop.py and docker_link.py do, on virtual time."""

    def __init__(self, root: Path, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.requests, self.cleanup = Queue(engine), Queue(engine)
        self.roster = Roster()
        self.slice = Slice(Layout(engine.tree), engine.slice.name, "cgroupfs")
        self.slice.privileged = True  # whoever runs the tests
        self.slice.set_up()
        self.said: list[str] = []
        context = Context(
            self.roster,
            self.requests,  # type: ignore[arg-type]
            self.cleanup,  # type: ignore[arg-type]
            self.slice,
            "i",
            self.said.append,
            engine.proc,
            Accounting(Kept(Work(1_000.0))),
            on_trouble=self._trouble,
            on_image_lost=lambda: None,
            clock=lambda: engine.now,
        )
        self.actuator = Actuator(context)
        self.ready = self.listing = False
        self.list_at = 0.0
        self.next_sweep = 0.0
        self.state = State()
        self.decision: Decision | None = None
        self.stopping = self.verified = False
        self.verify_since: float | None = None
        self.asked_at = 0.0

    def _trouble(self, error: DockerError) -> None:
        if isinstance(error, DockerUnreachable):
            self.ready, self.list_at = False, self.engine.now + 1.0

    def _listed(self, found: list[Container] | None, error: DockerError | None) -> None:
        self.listing = False
        if found is None:
            self.ready, self.list_at = False, self.engine.now + 1.0
            return
        self.ready = True
        self.actuator.reconciler.reconcile(found, self.engine.boottime + self.engine.now, self.asked_at)
        asked = self.verify_since is not None and self.asked_at >= self.verify_since
        self.verified = asked and len(self.roster) == 0

    def verify(self) -> None:
        """That no worker is left is claimed only after Docker was asked."""
        if len(self.roster):
            self.verify_since, self.verified = None, False
        elif self.verify_since is None:
            self.verify_since, self.list_at = self.engine.now, 0.0

    def hear(self) -> None:
        """Answers and events, each in the order in which they came."""
        heard = self.engine.now - self.engine.lag
        events = [event for time, event in self.engine.events if time <= heard]
        self.engine.events = self.engine.events[len(events) :]
        for event in events:
            self.actuator.reconciler.on_event(event, self.engine.boottime + self.engine.now)
        for queue in (self.requests, self.cleanup):
            answers, queue.answers = queue.answers, []
            for answer in answers:
                answer()

    def tick(self, seen: Observation) -> None:
        now = self.engine.now
        if self.stopping:
            self.verify()
        if not self.listing and now >= self.list_at:
            self.listing, self.asked_at, self.list_at = True, now, now + LIST_EVERY
            self.requests.submit(lambda docker: list_workers(docker, "i"), self._listed)
        if self.ready and now >= self.next_sweep:
            self.next_sweep = now + 5.0
            self.actuator.removals.sweep(now)
        self.decision, self.state = decide(seen, self.state, SETTINGS)
        self.actuator.act(self.decision.actions, now, Config(), IMAGE, IMAGE, SETTINGS)


class ScriptedTrouble(RuleBasedStateMachine):
    """An owner, others who meddle with the workers, and an Engine with troubles of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="plancton-test-"))
        files: Tree = {**OWNERS, "owners.service": {**OWNERS}}
        others: Tree = {"c0ffee": {**OWNERS}}
        tree(
            self.root,
            v2={"user.slice": files, "docker": others, "p": {"cpu.idle": "0", "cgroup.freeze": "0"}},
        )
        self.engine = ScriptedEngine(self.root, "p")
        owners = {"stat": pid_stat(1, "init"), "cgroup": "0::/user.slice/owners.service\n"}
        tree(self.engine.proc, {"1": owners})
        self.outside = Writes(d for d in (self.engine.tree, *self.engine.tree.rglob("*/")) if d.name != "p")
        self.it = Supervisor(self.root, self.engine)
        self.owner, self.available, self.most = 1.0, 60 * GB, 3
        self.draining = self.claimed = self.may_stop = False
        self.wishes, self.asked = Wishes(), OwnerRules()

    @initialize(may_stop=st.sampled_from([False, False, True]))
    def workers_run(self, may_stop: bool) -> None:
        self.may_stop = may_stop
        self.pass_seconds(25)

    # ------------------------------------------------------------ time

    def pass_seconds(self, seconds: int, step: float = 1.0) -> None:
        for _ in range(int(seconds / step)):
            self.engine.now += step
            self.engine.kernel()
            for queue in (self.it.requests, self.it.cleanup):
                queue.pass_time()
            self.it.hear()
            self.it.actuator.lift.step(self.engine.now)
            self.it.tick(self.seen(step))
            self.check_tick()

    def seen(self, interval: float) -> Observation:
        it, now = self.it, self.engine.now
        return Observation(
            now,
            self.engine.boottime + now,
            CPUS,
            interval,
            owner=self.owner,
            idle=0.0 if self.owner else CPUS,
            memory_total=64 * GB,
            memory_available=self.available,
            slice_anon=0,
            max_workers=self.most,
            image=IMAGE,
            digest=digest(Config()),
            docker=it.ready and it.requests.busy_for(now) < 10.0,
            draining=self.draining,
            stopping=it.stopping,
            ended=it.roster.take_ended(),
            unexplained=it.roster.unexplained,
            unprotected=it.actuator.reconciler.unprotected,
            fleet=it.roster.fleet,
            wishes=self.wishes,
            rules=self.asked,
            frozen=it.slice.freezer.is_frozen,
        )

    def check_tick(self) -> None:
        it, decision = self.it, self.it.decision
        assert decision is not None
        starts = [a for a in decision.actions if isinstance(a, Start)]
        forbidden = it.stopping or self.draining or not it.ready or self.available < SETTINGS.reserve_memory
        forbidden = forbidden or decision.paused != ""
        assert not (starts and (forbidden or it.actuator.reconciler.unprotected)), decision
        assert decision.held is None or not starts, decision
        ends = it.actuator.lift.until
        assert not it.slice.lifted or (ends is not None and ends > self.engine.now), "lifted for too long"
        frozen = (self.engine.slice / "cgroup.freeze").read_text() == "1"
        assert frozen == it.slice.freezer.is_frozen and (decision.paused or not frozen), "frozen for nobody"
        # What a crash has left frozen is thawed when it is adopted.
        assert it.slice.lifted or not it.ready or not self.frozen(), "frozen although nothing is lifted"
        lies = {self.engine.fates.get("list"), self.engine.fates.get("inspect")} & {"lie", "gone"}
        if it.verified and not self.claimed:
            assert lies or self.engine.boxes == {}, f"the stop says that nothing is left: {it.said[-20:]}"
        self.claimed = it.verified

    # ------------------------------------------------------------ what happens

    @rule(seconds=st.integers(1, 40))
    def time_passes(self, seconds: int) -> None:
        self.pass_seconds(seconds)

    @rule(owner=st.sampled_from([0.0, 1.0, 3.0, 4.0]), seconds=st.integers(1, 40))
    def owner_uses(self, owner: float, seconds: int) -> None:
        self.owner = owner
        self.pass_seconds(seconds)

    @rule(short=st.booleans(), seconds=st.integers(1, 20))
    def owner_takes_memory(self, short: bool, seconds: int) -> None:
        self.available = GB if short else 60 * GB
        self.pass_seconds(seconds)

    @rule(
        pause=st.sampled_from(["", "paused by the owner"]),
        rules=st.sampled_from([OwnerRules(), OwnerRules(pause="on battery"), OwnerRules(leave="it is day")]),
        seconds=st.integers(0, 30),
    )
    def owner_asks(self, pause: str, rules: OwnerRules, seconds: int) -> None:
        self.wishes, self.asked = Wishes(pause), rules
        self.pass_seconds(seconds)

    @rule(draining=st.booleans())
    def administrator_drains(self, draining: bool) -> None:
        self.draining = draining

    @rule(most=st.sampled_from([0, 1, 2, 3, 4]), seconds=st.integers(1, 40))
    def administrator_wants(self, most: int, seconds: int) -> None:
        self.most = most
        self.pass_seconds(seconds)

    @rule(verb=st.sampled_from(VERBS), fate=st.sampled_from(FATES), seconds=st.integers(0, 20))
    def engine_gets_into_trouble(self, verb: str, fate: str, seconds: int) -> None:
        self.engine.fates[verb] = fate
        self.pass_seconds(seconds)

    @rule(deaf=st.booleans())
    def events_are_lost(self, deaf: bool) -> None:
        self.engine.deaf = deaf

    @rule(lag=st.sampled_from([0.0, 3.0]))
    def events_come_late(self, lag: float) -> None:
        """Later than answers, by a thread of their own."""
        self.engine.lag = lag

    @rule()
    def stream_is_cut(self) -> None:
        self.it.list_at = self.engine.now

    @rule()
    def engine_recovers(self) -> None:
        self.engine.fates, self.engine.deaf, self.engine.lag = {}, False, 0.0

    @rule()
    def supervisor_crashes(self) -> None:
        """What its calls have not done yet is never done."""
        self.it, self.claimed = Supervisor(self.root, self.engine), False

    @precondition(lambda self: self.may_stop)
    @rule()
    def administrator_stops(self) -> None:
        self.it.stopping = True

    # ------------------------------------------------------------ what others do to workers

    def one(self, data: st.DataObject) -> Box:
        return self.engine.boxes[data.draw(st.sampled_from(sorted(self.engine.running())))]

    @precondition(lambda self: self.engine.running())
    @rule(data=st.data(), stubborn=st.booleans(), immortal=st.booleans())
    def worker_is_hard_to_end(self, data: st.DataObject, stubborn: bool, immortal: bool) -> None:
        box = self.one(data)
        box.stubborn, box.immortal = stubborn, immortal

    @precondition(lambda self: self.engine.running())
    @rule(data=st.data(), code=st.sampled_from([0, 1, 75, 137]))
    def worker_ends(self, data: st.DataObject, code: int) -> None:
        self.engine.end(self.one(data), code)

    @precondition(lambda self: self.engine.running())
    @rule(
        data=st.data(),
        what=st.sampled_from(
            ["restart", "slow restart", "rename", "pause", "remove", "make again", "update"]
        ),
        seconds=st.integers(0, 10),
    )
    def somebody_meddles(self, data: st.DataObject, what: str, seconds: int) -> None:
        box = self.one(data)
        match what:
            case "restart" | "slow restart":
                self.engine.end(box, 137)
                self.pass_seconds(what == "slow restart")
                if box.id in self.engine.boxes:
                    self.engine.begin(box)
            case "rename":
                box.name = data.draw(st.sampled_from(["precious", f"renamed-{box.id[:4]}"]))
                self.engine.tell("rename", box)
            case "pause":
                box.paused = True
                self.engine.tell("pause", box)
            case "remove":
                self.engine.destroy(box)
            case "make again":  # as Watchtower does: the same body under the same name
                self.engine.destroy(box)
                self.engine.begin(self.engine.new(box.name, box.body))
            case "update":
                box.limits["CpuShares"] = data.draw(st.sampled_from([2, 512, 1024]))
                self.engine.tell("update", box)
        self.pass_seconds(seconds)

    # ------------------------------------------------------------ what must hold

    @invariant()
    def nothing_outside_the_slice_is_written(self) -> None:
        """Except the file with which a tree is set up; the slice itself may have attributes."""
        assert self.outside.take() <= {self.engine.tree / "cgroup.subtree_control", self.engine.slice}

    def frozen(self) -> list[str]:
        """The workers' cgroups that a lift has frozen."""
        files = self.engine.slice.glob("*/cgroup.freeze")
        return [file.parent.name for file in files if file.read_text() == "1"]

    def settle(self) -> None:
        """The trouble ends."""
        self.engine.fates, self.engine.deaf, self.engine.lag = {}, False, 0.0
        for box in self.engine.boxes.values():
            box.immortal = False
        # Until all that waits ever longer is due, and all workers have been listed once more.
        self.pass_seconds(900, step=2.0)
        while self.it.listing:  # just now, as every few minutes
            self.pass_seconds(1)

    def everything_has_settled(self) -> None:
        it = self.it
        entries = list(it.roster)
        where = (entries, it.said[-20:])
        assert all(e.worker.phase in (Phase.RUNNING, Phase.STARTING) for e in entries), where
        assert {e.worker.id for e in entries} == self.engine.running() == set(self.engine.boxes), where
        assert not any(e.worker.busy or e.killing or e.removing or e.worker.stuck for e in entries), where
        for entry in entries:
            box = self.engine.boxes[entry.worker.id]
            assert (entry.worker.renamed or entry.worker.name) == box.name, where
            assert entry.worker.paused == box.paused and entry.pid == box.pid, where
            assert entry.group == f"p/{box.id}", where
        assert it.requests.idle and it.cleanup.idle and it.actuator.removals.problems == []
        assert not it.slice.lifted and (self.engine.slice / "cpu.idle").read_text() == "1"
        assert not self.frozen() and (self.engine.slice / "cgroup.freeze").read_text() == "0"

    def teardown(self) -> None:
        try:
            self.owner, self.available, self.wishes = 0.0, 60 * GB, Wishes()
            self.asked = OwnerRules()
            self.settle()
            self.everything_has_settled()
            self.wishes = Wishes("paused by the owner")
            self.pass_seconds(5)
            self.it.stopping = True
            self.pass_seconds(60)
            assert (self.engine.slice / "cgroup.freeze").read_text() == "0"
            assert self.it.verified and len(self.it.roster) == 0 and self.engine.boxes == {}, self.it.said[
                -20:
            ]
            self.nothing_outside_the_slice_is_written()
        finally:
            self.outside.close()
            shutil.rmtree(self.root)


TestScriptedTrouble = ScriptedTrouble.TestCase
TestScriptedTrouble.settings = settings(
    max_examples=EXAMPLES or 10,
    stateful_step_count=50,
    derandomize=not EXAMPLES,
    database=None,
)


def test_a_write_outside_the_slice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that takes an owner's cgroup for a worker's, and has no other guard, breaks the
    invariant as soon as it lifts leavers, and before that it does not."""
    owners = Place("user.slice/owners.service", 1.0, 0)
    it = ScriptedTrouble()
    try:
        it.workers_run(may_stop=False)
        it.nothing_outside_the_slice_is_written()
        tree, weight = it.engine.tree, ("cpu.weight", "100")
        it.it.slice.boost = LeaverBoost(tree, tree, "user.slice", *weight, v1=False)
        monkeypatch.setattr("plancton.daemon.reconciler.find_worker", lambda *_: owners)
        it.engine.begin(it.engine.boxes[min(it.engine.running())])
        it.owner_uses(4.0, 40)
        with pytest.raises(AssertionError, match=r"owners\.service"):
            it.nothing_outside_the_slice_is_written()
    finally:
        it.outside.close()
        shutil.rmtree(it.root)


def test_an_engine_that_lies_about_pids() -> None:
    """While Docker says that the workers' first process is one of the owner's, nothing is written to
    the owner's cgroup, busy as the owner is."""
    it = ScriptedTrouble()
    try:
        it.engine.fates["inspect"] = "lie"
        it.workers_run(may_stop=False)
        assert it.engine.started, "no worker was ever started"
        it.owner_uses(4.0, 40)
        it.nothing_outside_the_slice_is_written()
    finally:
        it.outside.close()
        shutil.rmtree(it.root)
