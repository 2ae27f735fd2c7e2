"""The policy's rules, one by one. Figures are worked out by hand: 4 CPUs, workers of 1 CPU and 2
GB, and a grace_kill of two minutes."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.policy.ticks import GB, Ticks, ended, of, pilot, says, why, worker, workers

from plancton.model import (
    Action,
    Finish,
    Fleet,
    Freeze,
    HeldReason,
    Kill,
    Leave,
    Observation,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Thaw,
    Worker,
)
from plancton.policy.decide import arbitrate, decide
from plancton.policy.state import SUSPENDED, slept

# -- starting ---------------------------------------------------------------------------------------------


def test_first_start_after_ten_seconds() -> None:
    """Someone is watching: the first workers start ten seconds after the first known figures."""
    time, actions = Ticks().until(Start)
    assert 10 <= time <= 12, time
    assert len(actions) == 4, actions


def test_first_start_when_told_so() -> None:
    """`run --now`: after the first look of a second, and only once the figures are known."""
    ticks = Ticks(Settings(first_start=1.0))
    assert not ticks.tick(owner=None).actions
    time, actions = ticks.until(Start)
    assert time == 2 and len(actions) == 4, (time, actions)


def test_next_start_after_two_thirds_of_grace_spawn() -> None:
    """Once started, room must have been there for two thirds of grace_spawn."""
    ticks = Ticks(there=workers(4))
    ticks.run(100)
    ticks.there = workers(3)
    ticks.run(1, owner=0.0)
    assert ticks.tick().actions == (Start("1.0 CPUs are free for workers, the owner uses 0.0 of 4 CPUs"),)
    ticks = Ticks(there=workers(3))
    ticks.run(100, owner=1.0)
    since = ticks.now
    time, _ = ticks.until(Start)
    assert 40 <= time - since <= 51, f"{time - since} s: 40 of 60, and up to 10 for the average"


def test_start_needs_a_margin() -> None:
    """A worker is kept for half a CPU and started for 0.7."""
    ticks = Ticks(there=workers(3))
    assert not of(Start, ticks.run(200, owner=0.35)), "0.65 CPUs are left"
    assert of(Start, ticks.run(200, owner=0.25)), "0.75 CPUs are left"


def test_start_needs_room_now() -> None:
    """Room that was there for most of the minute but is gone now is not enough."""
    ticks = Ticks()
    ticks.run(100, draining=True)
    ticks.run(11, draining=True, owner=4.0)
    assert not of(Start, ticks.run(5, owner=4.0))


def test_the_sentence_names_the_memory() -> None:
    """When it is for the memory that nothing fits, the sentence says so, with figures."""
    ticks = Ticks(memory_available=int(1.2 * GB))
    ticks.run(20)
    assert "the owner leaves 1.2 GB of memory, a worker takes 2 GB" in ticks.tick().sentence
    ticks = Ticks(there=workers(3), memory_available=GB, slice_anon=3 * GB)
    ticks.run(20)
    sentence = ticks.tick().sentence
    assert "2 fit" in sentence and "the owner leaves 4 GB of memory, 3 workers take 6 GB" in sentence
    _, (leave, *_) = ticks.until(Leave)
    assert "3 workers take 6 GB" in leave.reason
    busy = Ticks(memory_available=0, owner=4.0)
    busy.run(20)
    assert "the owner uses 4.0 of 4 CPUs" in busy.tick().sentence


def test_start_asks_for_all_of_the_memory() -> None:
    """Memory can't be taken back gently: 2 GB must be free beyond what is promised to the
    others."""
    tight = 2 * GB * 4 - 1
    assert not of(Start, Ticks(there=workers(3), memory_available=tight).run(200))
    assert of(Start, Ticks(there=workers(3), memory_available=tight + 1).run(200))


@pytest.mark.parametrize(("most", "first"), [(1, 1), (3, 3), (9, 8)])
def test_spawn_per_tick(most: int, first: int) -> None:
    """No more than this many starts in a tick."""
    _, actions = Ticks(Settings(spawn_per_tick=most), capacity=8.0).until(Start)
    assert len(actions) == first, actions


@pytest.mark.parametrize("phase", list(Phase)[:5])
def test_all_that_exist_count_for_starting(phase: Phase) -> None:
    """Workers that are leaving still use CPU and memory, so no new one starts in their place
    yet."""
    there = [*workers(3), worker("last", 1, phase=phase, told=1e9, deadline=1e9)]
    assert not of(Start, Ticks(there=there).run(200))


def test_max_workers() -> None:
    """Never more than max_workers, leaving ones included; 0 is a limit like any other."""
    assert len(Ticks(max_workers=2).until(Start)[1]) == 2
    assert not Ticks(max_workers=0).run(200)
    ticks = Ticks(there=workers(2), max_workers=2)
    ticks.run(100)
    decision = ticks.tick()
    assert not decision.actions and why(decision) is HeldReason.MAX_WORKERS, decision


def test_max_workers_counts_those_leaving() -> None:
    """A leaving worker keeps its place until it is gone."""
    leaving = worker("l", 5, phase=Phase.LEAVING, told=0.0, deadline=1e9)
    _, actions = Ticks(there=[*workers(1), leaving], capacity=8.0, max_workers=3).until(Start)
    assert len(of(Start, [(0.0, a) for a in actions])) == 1, actions


def test_max_workers_lowered() -> None:
    """If the expression gives less, the youngest leave after two thirds of grace_kill."""
    ticks = Ticks(there=workers(4), max_workers=4)
    assert not ticks.run(200)
    since = ticks.now
    time, actions = ticks.until(Leave, max_workers=1)
    assert 80 <= time - since <= 82, time - since
    assert [a.name for a in actions if isinstance(a, Leave)] == ["w3", "w2", "w1"], actions


@pytest.mark.parametrize(
    ("what", "reason", "word"),
    [
        ({"draining": True}, HeldReason.DRAINING, "draining"),
        ({"finish": True}, HeldReason.DRAINING, "draining"),
        ({"stopping": True}, HeldReason.STOPPING, "stops"),
        ({"docker": False}, HeldReason.NO_DOCKER, "Docker"),
        ({"unprotected": "w1 was not in /plancton"}, HeldReason.UNPROTECTED, "was not in"),
        ({"mounts": "worker.mounts: /data: no such file"}, HeldReason.MOUNTS, "/data"),
        ({"image": ""}, HeldReason.NO_IMAGE, "image"),
        ({"disk_free": 4 * GB, "disk_total": 100 * GB}, HeldReason.DISK, "4 GB"),
        (
            {"disk_free": 50 * GB, "disk_total": 100 * GB, "disk_inodes": 0.04, "disk_path": "/data"},
            HeldReason.DISK,
            "4.0% of the inodes are free, 5.0% are reserved (/data)",
        ),
        ({"memory_available": 0}, HeldReason.MEMORY, "the owner needs the memory"),
        ({"max_workers": 0}, HeldReason.MAX_WORKERS, "max_workers"),
    ],
)
def test_held(what: dict[str, Any], reason: HeldReason, word: str) -> None:
    """Room alone is not enough, and the decision says what holds starts."""
    ticks = Ticks(Settings(reserve_disk=5 * GB, reserve_memory=GB), **what)
    assert not ticks.run(200)
    decision = ticks.tick()
    assert why(decision) is reason and says(decision, word) and word in decision.sentence, decision


def test_nothing_holds() -> None:
    """Starts are not held if the disk is known to suffice, or unknown."""
    assert Ticks(Settings(reserve_disk=5 * GB), disk_free=6 * GB).tick().held is None
    assert Ticks(Settings(reserve_disk=5 * GB)).tick().held is None


# -- retiring ---------------------------------------------------------------------------------------------


def test_retires_after_two_thirds_of_grace_kill() -> None:
    """Workers that have not fitted for 80 of 120 seconds leave, youngest first, with the reason."""
    ticks = Ticks(there=workers(4))
    assert not ticks.run(200)
    since = ticks.now
    ticks.same["owner"], ticks.same["idle"] = 2.2, 0.0
    time, actions = ticks.until(Leave)
    leaves = [a for a in actions if isinstance(a, Leave)]
    assert 80 <= time - since <= 90, time - since
    assert leaves[0].name == "w3" and leaves[0].timeout == 20.0, leaves
    assert leaves[0].reason == "has not fitted for 80 s, the owner uses 2.2 of 4 CPUs", leaves
    gone = {a.name for _, a in of(Leave, ticks.run(60))} | {a.name for a in leaves}
    assert gone == {"w3", "w2"}, f"1.8 CPUs are left: two of four fit, {gone} leave"


@pytest.mark.parametrize(("busy", "leaves"), [(30, False), (36, True)])
def test_two_thirds_need_not_be_in_one_piece(busy: int, leaves: bool) -> None:
    """Load in 36 of 60 seconds (and 7 more by averaging) is too much for the youngest, 30 are
    not."""
    ticks = Ticks(there=workers(4))
    ticks.run(200)
    actions = list[tuple[float, Action]]()
    for _ in range(20):
        actions += ticks.run(busy, owner=4.0)
        actions += ticks.run(60 - busy, owner=0.0)
    assert bool(of(Leave, actions)) == leaves, of(Leave, actions)


def test_one_busy_tick_is_no_news() -> None:
    """Room is averaged over ten seconds: after a peak of one second, all four still fit."""
    ticks = Ticks(there=workers(4))
    ticks.run(60)
    assert ticks.tick(owner=4.0).fit == 4
    assert ticks.run(20) == []
    ticks.run(5, owner=4.0)
    assert ticks.tick(owner=4.0).fit == 2, "six of ten seconds: 1.6 CPUs"


@pytest.mark.parametrize("grace", [3, 9, 30, 120])
def test_short_grace_is_kept(grace: int) -> None:
    """The average is short enough that an owner who stays for grace_kill shares with no worker."""
    ticks = Ticks(Settings(grace_kill=float(grace)), there=workers(1))
    ticks.run(200)
    since = ticks.now
    assert ticks.until(Leave, owner=3.51)[0] - since <= grace + 1


def test_nothing_leaves_on_an_uncovered_window() -> None:
    """Right after the start, it is unknown how long a worker has not fitted."""
    ticks = Ticks(there=workers(4), owner=4.0)
    time, _ = ticks.until(Leave)
    assert time >= 119, time


@pytest.mark.parametrize("how", ["suspend", "stopped", "unknown"])
def test_gap(how: str) -> None:
    """After a suspend, a stopped supervisor or unknown figures, the windows start over."""
    ticks = Ticks(there=workers(4))
    ticks.run(200)
    ticks.run(70, owner=4.0)
    if how == "suspend":
        ticks.suspended += 5.5
    elif how == "stopped":
        ticks.tick(6.5, owner=4.0)
    else:
        ticks.run(7, owner=None)
    since = ticks.now
    time, _ = ticks.until(Leave, owner=4.0)
    assert time - since >= 114, f"{time - since} s"


def test_slept() -> None:
    """How long the host was suspended is known at the first tick after it, once; a clock that is a
    little off is no suspend, and before the first tick nothing is known."""
    ticks = Ticks(there=workers(1))
    assert slept(ticks.seen(), ticks.state) == 0
    ticks.run(10)
    for seconds in (4.0, 0.0, 3_600.0):
        ticks.suspended += seconds
        ticks.now += 1
        assert slept(ticks.seen(), ticks.state) == (seconds if seconds > SUSPENDED else 0)
        ticks.tick()


def test_a_short_gap_is_none() -> None:
    """A tick that is four seconds late is just a long tick."""
    ticks = Ticks(there=workers(4))
    ticks.run(200)
    ticks.run(70, owner=4.0)
    ticks.tick(4.0, owner=4.0)
    since = ticks.now
    assert ticks.until(Leave, owner=4.0)[0] - since <= 16


def test_unknown_figures_decide_nothing() -> None:
    """While the owner's load is unknown, nothing starts, leaves or changes its shares."""
    for there in ([], workers(4, shares=2), workers(4)):
        assert not Ticks(there=there, owner=None).run(300)
    ticks = Ticks(there=workers(4))
    ticks.run(200)
    ticks.run(79, owner=4.0)
    ticks.there = []
    assert not ticks.run(300, owner=None)
    assert ticks.tick(owner=None).room is None


def test_unknown_memory_and_interval() -> None:
    """Unknown memory prevents nothing; a tick of no length adds nothing."""
    assert len(Ticks(memory_available=None).until(Start)[1]) == 4
    ticks = Ticks()
    assert not ticks.run(50, interval=None)
    assert not ticks.run(50, interval=0.0)


def test_busy_workers_wait() -> None:
    """A worker with an action under way gets no other until that is done."""
    ticks = Ticks(there=[*workers(3), worker("w3", 5, busy=True)])
    ticks.run(200)
    gone = [a.name for _, a in of(Leave, ticks.run(100, owner=4.0))]
    assert set(gone) == {"w0", "w1", "w2"}, gone


def test_those_finishing_are_retired_too() -> None:
    """A finishing worker still uses CPU, so it keeps its place in line; a leaving one does not."""
    there = [worker("a", 30, phase=Phase.LEAVING, told=1.0, deadline=1e9), worker("b", 20),
             worker("c", 10, phase=Phase.FINISHING, told=1.0, deadline=1e9)]  # fmt: skip
    ticks = Ticks(there=there)
    ticks.run(200)
    _, actions = ticks.until(Leave, owner=3.2)
    assert [a.name for a in actions if isinstance(a, Leave)] == ["c"], actions


@pytest.mark.parametrize(("idle", "lift"), [(None, True), (0.0, True), (0.49, True), (0.51, False)])
def test_lift(idle: float | None, lift: bool) -> None:
    """A worker that leaves or is killed while no CPU is idle gets some."""
    late = worker("late", 5, phase=Phase.LEAVING, told=0.0, deadline=50.0)
    ticks = Ticks(there=[*workers(1), late], memory_available=1 * GB, idle=idle)
    ticks.settings = Settings(reserve_memory=2 * GB)
    actions = [a for _, a in ticks.run(60)]
    assert {a.lift for a in actions if isinstance(a, Leave | Kill)} == {lift}, actions
    assert {type(a) for a in actions} >= {Leave, Kill}, actions


def line(*there: Worker) -> list[str]:
    return [w.name for w in Fleet.of(there).line]


def test_line_without_jobs() -> None:
    """Plain workers are in line by age; starting ones come last."""
    starting = msgspec.structs.replace(worker("s"), phase=Phase.STARTING, started=None)
    assert line(worker("c", 10), starting, worker("a", 30), worker("b", 20)) == ["a", "b", "c", "s"]


def test_line_with_jobs() -> None:
    """The worker with the most to lose is first: the oldest job, then the oldest without one."""
    starting = msgspec.structs.replace(pilot("s", 0), phase=Phase.STARTING, started=None)
    there = [pilot("idle-old", 9_000), starting, pilot("young-job", 5_000, 10), pilot("idle-young", 50),
             pilot("old-job", 100, 90), pilot("two-jobs", 8_000, 40, 5), worker("plain", 7_000)]  # fmt: skip
    order = ["old-job", "two-jobs", "young-job", "idle-old", "plain", "idle-young", "s"]
    assert line(*there) == order == line(*reversed(there))


def test_line_has_those_who_use_cpu() -> None:
    """A finishing worker keeps its place by its job; a leaving one has none."""
    finishing = pilot("f", 50, 40, phase=Phase.FINISHING, told=1.0, deadline=1e9)
    leaving = pilot("l", 50, 45, phase=Phase.LEAVING, told=1.0, deadline=1e9)
    assert line(pilot("j", 50, 30), leaving, finishing) == ["f", "j"]


def test_workers_stay_oldest_first() -> None:
    """The list that users see does not reorder with the jobs."""
    fleet = Fleet.of([pilot("b", 20, 10), pilot("a", 30), pilot("c", 10, 5)])
    assert [w.name for w in fleet.workers] == ["a", "b", "c"]


def test_those_without_a_job_leave_first() -> None:
    """When CPU is short, the youngest without a job goes first, then the one with the youngest
    job."""
    there = [pilot("old-idle", 9_000), pilot("young-idle", 100), pilot("old-job", 500, 400),
             pilot("young-job", 8_000, 50)]  # fmt: skip
    order = []
    while there:
        ticks = Ticks(there=there)
        ticks.run(200)
        _, actions = ticks.until(Leave, owner=4.0 - (len(there) - 1))
        names = [a.name for a in actions if isinstance(a, Leave)]
        assert len(names) == 1, f"room for all but one: {actions}"
        order += names
        there = [w for w in there if w.name != names[0]]
    assert order == ["young-idle", "old-idle", "young-job", "old-job"], order


def test_memory_takes_those_without_a_job_first() -> None:
    """When memory is short, too, the worker with the least to lose leaves."""
    ticks = Ticks(Settings(reserve_memory=4 * GB), memory_available=3 * GB)
    ticks.there = [pilot("job", 50, 40), pilot("idle", 9_000)]
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["idle"]
    ticks.there = [pilot("old-job", 50, 40), pilot("young-job", 9_000, 30)]
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["young-job"]


def test_shares_go_to_those_with_a_job() -> None:
    """Scarce CPU finishes jobs: a worker that gets a job takes over the shares of one without."""
    ticks = Ticks(there=[pilot("idle", 9_000), pilot("job", 50, 40, shares=2)], owner=3.2)
    ticks.run(1)
    shares = {a.name: a.shares for a in ticks.tick().actions if isinstance(a, SetShares)}
    assert shares == {"idle": 2, "job": 1024}, shares


# -- sharing ----------------------------------------------------------------------------------------------


def test_shares() -> None:
    """A worker that fits has full shares for its CPUs, the others have the least."""
    there = [worker("a", 30, cpus=1.0), worker("b", 20, cpus=2.0, shares=2), worker("c", 10, cpus=2.0)]
    ticks = Ticks(there=there, owner=1.8)
    ticks.run(1)
    shares = {a.name: a.shares for a in ticks.tick().actions if isinstance(a, SetShares)}
    assert shares == {"b": 2048, "c": 2}, "2.2 CPUs are left: a and half of b fit"


@pytest.mark.parametrize(("last", "seconds"), [(None, 2), (0.0, 10), (30.0, 40)])
def test_shares_seldom(last: float | None, seconds: int) -> None:
    """An update costs the engine 23 ms, so each worker gets at most one in ten seconds."""
    ticks = Ticks(there=workers(1, shares_time=last))
    assert ticks.until(SetShares, owner=4.0)[0] == seconds


def test_shares_settled() -> None:
    """Shares are not set if they are right, or if the worker is starting, busy or told to go."""
    settled = [*workers(2), worker("x", 5, shares=2)]
    assert not Ticks(there=settled, owner=2.2).run(60)
    others = [worker("s", 9, phase=Phase.STARTING), worker("b", 8, busy=True),
              worker("l", 7, phase=Phase.LEAVING, told=0.0, deadline=1e9)]  # fmt: skip
    assert not Ticks(there=others, owner=4.0).run(60)


def test_no_share_for_who_leaves_now() -> None:
    """A worker that leaves in this tick does not get shares as well."""
    ticks = Ticks(there=workers(4, shares_time=1e9))
    ticks.run(200)
    ticks.run(79, owner=4.0)
    ticks.there = workers(4)
    for _ in range(15):
        names = [getattr(a, "name", "") for a in ticks.tick(owner=4.0).actions]
        assert len(names) == len(set(names)), names


# -- memory -----------------------------------------------------------------------------------------------


def test_memory_at_once() -> None:
    """Below the reserve, the youngest has three seconds, from the very first tick."""
    ticks = Ticks(Settings(reserve_memory=4 * GB), there=workers(4), memory_available=3 * GB)
    decision = ticks.tick(owner=None)
    assert [(a.name, a.timeout) for a in decision.actions if isinstance(a, Leave)] == [("w3", 3.0)], decision
    assert "3 GB are available, 4 GB reserved" in decision.sentence, decision
    assert (
        not Ticks(Settings(reserve_memory=4 * GB), there=workers(4), memory_available=4 * GB).tick().actions
    )


def test_memory_one_at_a_time() -> None:
    """While one is leaving, no other has to go; then comes the next."""
    leaving = worker("w3", 5, phase=Phase.LEAVING, told=0.0, deadline=3.0)
    ticks = Ticks(Settings(reserve_memory=4 * GB), there=[*workers(3), leaving], memory_available=3 * GB)
    assert not of(Leave, ticks.run(2))
    ticks.there = [*workers(3), worker("w3", 5, phase=Phase.KILLED, told=3.0, deadline=8.0)]
    assert not of(Leave, ticks.run(3))
    ticks.there = workers(3)
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["w2"]


def test_memory_does_not_wait_for_who_leaves_slowly() -> None:
    """A worker that leaves for CPU has 20 s: too long for an owner who needs memory."""
    leaving = worker("w3", 5, phase=Phase.LEAVING, told=0.0, deadline=20.0)
    ticks = Ticks(Settings(reserve_memory=4 * GB), there=[*workers(3), leaving], memory_available=3 * GB)
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["w2"]


def test_memory_does_not_wait_for_one_that_cannot_be_killed() -> None:
    """A worker that has outlived its kill does not keep the owner from getting another's memory."""
    stuck = worker("w3", 5, phase=Phase.KILLED, told=0.0, deadline=4_000.0)
    ticks = Ticks(Settings(reserve_memory=4 * GB), there=[*workers(3), stuck], memory_available=3 * GB)
    left = of(Leave, ticks.run(10))
    assert left and left[0][1].name == "w2"
    assert not of(Leave, Ticks(ticks.settings, [*workers(3), stuck], memory_available=3 * GB).run(4))


def test_nothing_starts_while_memory_is_short() -> None:
    """However much of the owner's memory will come back soon, nothing is started below the
    reserve."""
    ticks = Ticks(Settings(reserve_memory=4 * GB))
    ticks.run(200, capacity=2.0)  # there is no room for more CPUs
    ticks.there = workers(1)
    # The workers hold nearly all of it, so that the averaged room still looks fine.
    short = {"memory_available": 3 * GB, "slice_anon": 60 * GB}
    decision = ticks.tick(**short)
    assert decision.held and decision.held.reason is HeldReason.MEMORY and not decision.held.reason.is_problem
    assert "4 GB reserved" in decision.held.sentence
    assert not of(Start, ticks.run(300, **short))


def test_memory_has_to_be_there_now() -> None:
    """An owner who has just taken memory keeps the next worker from starting, although the room of
    the last minute would do."""
    ticks = Ticks()
    ticks.run(9)
    assert not of(Start, ticks.run(3, memory_available=GB))
    ticks = Ticks()
    ticks.run(9)
    assert of(Start, ticks.run(3))


# -- going ------------------------------------------------------------------------------------------------


def test_finish_leave_kill() -> None:
    """A worker that does not finish in time has to leave; if it does not, it is killed,
    repeatedly."""
    ticks = Ticks(there=[worker("w", phase=Phase.FINISHING, told=0.0, deadline=10.0)], draining=True)
    time, actions = ticks.until(Leave)
    assert time == 10.0 and actions == [Leave("w", "did not finish in time", 20.0)], (time, actions)
    ticks.there = [worker("w", phase=Phase.LEAVING, told=10.0, deadline=30.0)]
    time, actions = ticks.until(Kill)
    assert time == 30.0 and actions == [Kill("w", "did not leave in time")], (time, actions)
    ticks.there = [worker("w", phase=Phase.KILLED, told=30.0, deadline=35.0)]
    assert ticks.until(Kill)[0] == 35.0


def test_stopping() -> None:
    """All leave, even finishing and starting ones; leaving ones are not told twice."""
    there = [*workers(1), worker("s", 3, phase=Phase.STARTING), worker("b", 2, busy=True),
             worker("f", 4, phase=Phase.FINISHING, told=0.0, deadline=1e9),
             worker("l", 5, phase=Phase.LEAVING, told=0.0, deadline=1e9)]  # fmt: skip
    decision = Ticks(Settings(leave_timeout=33.0), there=there, stopping=True).tick(owner=None)
    assert {(type(a), getattr(a, "name", "")) for a in decision.actions} == {
        (Leave, "w0"), (Leave, "f"), (Leave, "s"),
    }, decision  # fmt: skip
    assert {a.timeout for a in decision.actions if isinstance(a, Leave)} == {33.0}
    assert decision.sentence == "retiring 3 workers: Plancton stops", decision


def test_stopping_still_kills() -> None:
    """A stop has deadlines, too, and does not count as a flap."""
    ticks = Ticks(there=[worker("l", phase=Phase.LEAVING, told=0.0, deadline=5.0)], stopping=True)
    assert ticks.until(Kill)[0] == 5.0
    ticks = Ticks(there=[worker("y", 5.0)], stopping=True)
    ticks.tick()
    assert ticks.state.delay.flaps == 0


def test_draining_keeps_workers() -> None:
    """Draining only holds starts: running workers stay, and still yield."""
    ticks = Ticks(there=workers(2), draining=True)
    assert not ticks.run(300)
    ticks.until(Leave, owner=4.0)


@pytest.mark.parametrize(("there", "word"), [(workers(2), "2 workers, 4 fit, the owner uses 0.0 of 4 CPUs")])
def test_sentence(there: list[Worker], word: str) -> None:
    """If nothing is done, the sentence says how things are."""
    ticks = Ticks(there=there, draining=True)
    ticks.run(3)
    assert ticks.tick().sentence == word + "; draining: nothing new is started"


# -- cost -------------------------------------------------------------------------------------------------


def calls(ticks: Ticks, ready: Observation) -> int:
    """The number of functions that one decision calls, in C and Python."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        decide(ready, ticks.state, ticks.settings)
    finally:
        sys.setprofile(None)
    return count


def quiet(count: int) -> Iterator[tuple[str, Ticks]]:
    """Hosts on which nothing happens, with this many workers."""
    size = float(count)
    yield (
        "all fit",
        Ticks(there=workers(count), capacity=size, memory_total=2_000 * GB, memory_available=1_900 * GB),
    )
    waiting = Ticks(there=workers(count, shares=2), capacity=size, owner=size, memory_total=2_000 * GB)
    waiting.run(30)
    yield "none fits, and not for long", waiting
    failing = Ticks(there=workers(count), capacity=size, memory_total=2_000 * GB, memory_available=1_900 * GB)
    failing.tick(ended=ended(0.1))
    yield "after a failure", failing
    finishing = Ticks(
        there=workers(count), capacity=size, memory_total=2_000 * GB, memory_available=1_900 * GB
    )
    finishing.there.append(worker("f", 9, phase=Phase.FINISHING, told=0.0, deadline=1e9))
    finishing.same["capacity"] = size + 1
    yield "one finishes", finishing


def test_quiet_ticks_cost_the_same_with_many_workers() -> None:
    """With 256 workers, a quiet tick calls about as many functions as with one."""
    costs = dict[str, list[int]]()
    for count in (1, 256):
        for name, ticks in quiet(count):
            fleet = Fleet.of(ticks.there)
            ticks.same["fleet"] = fleet
            before = ticks.run(30)
            assert not before, f"{name} is not quiet: {before[:3]}"
            costs.setdefault(name, []).append(calls(ticks, ticks.seen()))
    assert len(costs) == 4
    for name, (one, many) in costs.items():
        assert many <= one + 40, f"{name}: {one} calls with one worker, {many} with 256"


# -- the disk, floods, and limits one by one --------------------------------------------------------------


def test_the_disks_reserve() -> None:
    """Below the disk's reserve, when nobody is found to fill it, workers leave one at a time,
    youngest first, half a minute apart."""
    ticks = Ticks(Settings(reserve_disk=10 * GB), workers(3))
    left = of(Leave, ticks.run(70, disk_free=9 * GB))
    assert [(round(time), a.name) for time, a in left] == [(4, "w2"), (34, "w2"), (64, "w2")], left
    assert left[0][1].reason == "only 9 GB of disk are free, 10 GB are reserved"
    assert not of(Leave, Ticks(Settings(reserve_disk=10 * GB), workers(3)).run(70, disk_free=10 * GB))


def test_a_flood() -> None:
    """A worker whose output keeps the engine busy leaves, others stay, and the next start waits."""
    there = [worker("quiet"), worker("loud", flooding="its output keeps Docker busy")]
    ticks = Ticks(there=there, max_workers=8)
    ticks.run(30)
    ((_, leave),) = of(Leave, Ticks(there=there).run(1))
    assert leave.name == "loud" and "keeps Docker busy" in leave.reason
    decision = ticks.tick()
    assert why(decision) is HeldReason.FAILURES and says(decision, "its output"), decision


@pytest.mark.parametrize("owner", [1.0, None])
def test_who_hoards_memory(owner: float | None) -> None:
    """One that hoards the owner's memory has three seconds, whatever is known of the CPUs; the last in
    line, which would leave for the memory, stays."""
    there = [worker("hoards", flooding="its sockets", hoards=True), worker("innocent")]
    ticks = Ticks(Settings(reserve_memory=4 * GB), there=there, memory_available=3 * GB)
    told = [action for action in ticks.tick(owner=owner).actions if isinstance(action, Leave)]
    assert [(leave.name, leave.timeout) for leave in told] == [("hoards", 3.0)], told


def test_shares_or_quotas() -> None:
    """If workers must be limited one by one, quotas replace shares; otherwise no worker is
    limited."""
    scarce = {"owner": 3.5, "idle": 0.3, "donated": 0.2}
    limited = {type(a) for _, a in Ticks(Settings(uses_quota=True), workers(2)).run(20, **scarce)}
    free = {type(a) for _, a in Ticks(Settings(), workers(2)).run(20, **scarce)}
    assert limited == {SetQuota} and free == {SetShares}, (limited, free)


def test_limits_are_lifted() -> None:
    """Workers adopted from a time without a slice get all of their CPUs back at once."""
    actions = Ticks(Settings(), [worker("w", quota=0.2), worker("x")]).tick().actions
    assert [(a.name, a.cpus) for a in actions if isinstance(a, SetQuota)] == [("w", 1.0)]


def test_no_limit_for_who_can_take_none() -> None:
    """A worker with an action under way, or without a container, is not limited now."""
    there = [worker("busy", busy=True), worker("starting", phase=Phase.STARTING)]
    ticks = Ticks(Settings(uses_quota=True), there)
    assert not of(SetQuota, ticks.run(5, owner=4.0, idle=0.0))


# -- the arbiter ------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c"])
ACTIONS = st.one_of(
    st.builds(Leave, NAMES, st.just("r"), st.just(1.0)),
    st.builds(Finish, NAMES, st.just("r"), st.just(1.0)),
    st.builds(Kill, NAMES, st.just("r")),
    st.builds(SetShares, NAMES, st.just(2), st.just("r")),
    st.builds(SetQuota, NAMES, st.just(0.5), st.just("r")),
    st.sampled_from([Start("r"), Freeze("r"), Thaw("r")]),
)
NOBODYS = Start | Freeze | Thaw


@given(wanted=st.lists(ACTIONS, max_size=20), busy=st.sets(NAMES))
def test_one_outstanding_action_per_worker(wanted: list[Action], busy: set[str]) -> None:
    """Whatever the rules yield: the first action per worker, and none while one is under way,
    unless it is a kill. All starts stay, and the order is that of the rules."""
    fleet = Fleet.of([worker(name, busy=name in busy) for name in "abc"])
    kept = arbitrate(wanted, fleet)
    named = [a for a in kept if not isinstance(a, NOBODYS)]
    assert len({a.name for a in named}) == len(named), kept
    assert all(a.name not in busy or isinstance(a, Kill) for a in named), (busy, kept)
    assert kept.count(Start("r")) == wanted.count(Start("r"))
    places = [next(i for i, b in enumerate(wanted) if b is a) for a in kept if not isinstance(a, NOBODYS)]
    assert places == sorted(places), "out of order"
    allowed = [
        a for a in wanted if not isinstance(a, NOBODYS) and (a.name not in busy or isinstance(a, Kill))
    ]
    firsts = {a.name: a for a in reversed(allowed)}
    assert {a.name: a for a in named} == firsts


@given(wanted=st.lists(ACTIONS, max_size=20))
def test_a_worker_has_one_action_in_every_decision(wanted: list[Action]) -> None:
    """Arbitrating a second time changes nothing."""
    fleet = Fleet.of([worker(name) for name in "abc"])
    once = arbitrate(wanted, fleet)
    assert arbitrate(once, fleet) == once


def test_an_unknown_tick_decides_nothing() -> None:
    """One tick without figures starts nobody and tells nobody to leave, whatever the windows know;
    an unknown tick among good ones delays what was due by no more than that."""
    free = Ticks(there=workers(3))
    free.run(100)
    assert free.tick().actions, "it would start one"
    assert not free.tick(owner=None, unknown="/proc/stat: is empty").actions
    full = Ticks(there=workers(4))
    full.run(100, owner=0.0)
    full.run(79, owner=4.0)
    assert not full.tick(owner=None, memory_available=None).actions
    assert of(Leave, full.run(10, owner=4.0))


def test_what_goes_on_at_unknown_ticks() -> None:
    """Without the owner's load, deadlines, draining, memory and the disk are still served."""
    late = [worker("w", phase=Phase.LEAVING, told=0.0, deadline=0.5)]
    settings = Settings(reserve_memory=8 * GB, reserve_disk=8 * GB)
    two = workers(2)
    assert of(Kill, Ticks(there=late, owner=None).run(1))
    assert of(Finish, Ticks(there=two, owner=None).run(1, finish=True))
    assert of(Leave, Ticks(settings, there=two, owner=None).run(1, memory_available=GB))
    assert of(Leave, Ticks(settings, there=two, owner=None).run(4, disk_free=GB))


def test_the_reason_names_steal() -> None:
    """Where the hypervisor takes the CPUs, the reason says so, and does not blame the owner."""
    ticks = Ticks(there=workers(4))
    ticks.run(130, owner=0.2)
    left = of(Leave, ticks.run(130, owner=0.2, stolen=3.0, idle=0.8))
    assert left and all("the hypervisor takes 3.0 of 4 CPUs" in action.reason for _, action in left), left
    assert "hypervisor" not in Ticks(there=workers(1)).tick(owner=2.0, stolen=0.01).sentence
