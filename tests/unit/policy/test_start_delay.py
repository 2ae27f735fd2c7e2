"""How long the next start waits after failures and flaps. Figures are worked out by hand."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from unit.policy.ticks import BOOT, Ticks, ended, no_work, of, pilot, says, why, worker, workers

from plancton.model import (
    Ended,
    HeldReason,
    Leave,
    Phase,
    Start,
    Worker,
)


@pytest.mark.parametrize("reason", ["exit code 0", "exit code 1", "out of memory"])
def test_back_off_doubles(reason: str) -> None:
    """A worker that ends at once delays the next start by 5 s, doubling up to 30 min."""
    ticks, delays = Ticks(max_workers=1), list[float]()
    ticks.until(Start)
    ticks.run(100, draining=True)
    for _ in range(12):
        ticks.tick(ended=ended(0.5, reason))
        since = ticks.now
        delays.append(ticks.until(Start)[0] - since)
    assert delays == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800, 1800], delays


def test_back_off_says_so() -> None:
    """The decision says how long the wait still is, and how the worker ended."""
    ticks = Ticks()
    decision = ticks.tick(ended=ended(reason="exit code 7"))
    assert why(decision) is HeldReason.FAILURES, decision
    assert says(decision, "5s", "exit code 7"), decision


def test_a_long_life_is_no_failure() -> None:
    """A worker that lived for a minute may end without being a failure: pilots do that."""
    ticks = Ticks()
    ticks.tick(ended=ended(60.0, "exit code 1"))
    assert ticks.state.delay.failures == 0
    ticks.tick(ended=ended(59.0))
    assert ticks.state.delay.failures == 1


def test_failures_of_one_batch_count_once() -> None:
    """Four workers that started together and ended together, or seconds apart, are one failure."""
    ticks = Ticks()
    ticks.run(30)
    ticks.tick(ended=(Ended("a", 5.0, "x"), Ended("b", 5.0, "x")))
    ticks.tick(ended=(Ended("c", 6.0, "x"),))
    assert ticks.state.delay.failures == 1


def test_one_that_lives_resets_the_back_off() -> None:
    """A worker that started after the failure and lived for a minute ends the back-off."""
    ticks = Ticks()
    ticks.run(100, draining=True)
    for _ in range(3):
        ticks.tick(ended=ended(0.1))
        ticks.run(1, draining=True)
    ticks.there = [worker("old", 10_000)]
    ticks.run(100, draining=True)
    assert ticks.state.delay.failures == 3, "one from before the failure proves nothing"
    ticks.there = [worker("old", 10_000), worker("new", age=0, at=ticks.now)]
    ticks.run(58, draining=True)
    assert ticks.state.delay.failures == 3
    ticks.run(3, draining=True)
    assert ticks.state.delay.failures == 0
    ticks.tick(ended=ended(0.1))
    since = ticks.now
    ticks.there = []
    assert ticks.until(Start)[0] - since == 5


def test_suspend_does_not_keep_the_back_off() -> None:
    """Ages continue during suspend, so it is still known which worker started after the failure."""
    ticks = Ticks()
    ticks.tick(ended=ended(0.1))
    ticks.there = [worker("new", age=-5, at=ticks.now)]
    ticks.run(10, draining=True)
    ticks.suspended = 100_000.0
    ticks.run(10, draining=True)
    assert ticks.state.delay.failures == 0


def flap(ticks: Ticks, count: int) -> float:
    """Have a worker start, live for five minutes and leave; the time when it left."""
    ticks.there = [worker(f"flap{count}", age=0, at=ticks.now)]
    ticks.run(200)
    time, _ = ticks.until(Leave, owner=4.0)
    ticks.there = []
    return time


def test_flaps_double_grace_spawn() -> None:
    """Starting again takes grace_spawn after the first worker that had to leave young, then
    doubles."""
    ticks, waited = Ticks(max_workers=1), list[float]()
    ticks.until(Start)
    for count in range(8):
        since = flap(ticks, count)
        waited.append(ticks.until(Start, owner=0.0)[0] - since)
    assert waited[:5] == [60, 120, 240, 480, 960], waited
    assert all(1_800 <= w < 1_810 for w in waited[5:]), waited


def test_flapping_says_so() -> None:
    """The decision says why nothing is started."""
    ticks = Ticks()
    flap(ticks, 1)
    decision = ticks.tick(owner=0.0)
    assert why(decision) is HeldReason.FLAPS and says(decision, "1m"), decision


def test_old_workers_do_not_flap() -> None:
    """A worker that lived for ten minutes was worth its start: the next one starts as usual."""
    ticks = Ticks(there=workers(1))
    ticks.run(200)
    ticks.until(Leave, owner=4.0)
    assert ticks.state.delay.flaps == 0


def test_several_that_leave_together_are_one_flap() -> None:
    """Workers that started together and leave together are one flap."""
    ticks = Ticks()
    ticks.run(200, draining=True)
    ticks.there = [worker(f"w{n}", age=n, at=ticks.now) for n in range(3)]
    ticks.run(200)
    _, actions = ticks.until(Leave, owner=4.0)
    assert len(actions) >= 3 and ticks.state.delay.flaps == 1, ticks.state.delay.flaps


def test_a_settled_worker_ends_the_flaps() -> None:
    """Once a worker started after the last flap has lived for ten minutes, grace_spawn is normal
    again."""
    ticks = Ticks()
    flap(ticks, 1)
    ticks.run(130, draining=True)
    flap(ticks, 2)
    ticks.run(130, draining=True)
    ticks.there = [worker("stays", age=-1, at=ticks.now)]
    ticks.run(599, owner=0.0)
    assert ticks.state.delay.flaps == 2
    ticks.run(4, owner=0.0)
    assert ticks.state.delay.flaps == 0


def test_no_work_delays_longer() -> None:
    """A worker that found no work, however long it waited, delays the next by 1 min, doubling."""
    ticks, delays = Ticks(max_workers=1), list[float]()
    ticks.until(Start)
    ticks.run(2_000, draining=True)
    for _ in range(8):
        ticks.tick(ended=no_work(age=1.0))
        since = ticks.now
        delays.append(ticks.until(Start)[0] - since)
    assert delays == [60, 120, 240, 480, 960, 1800, 1800, 1800], delays


def test_no_work_says_so() -> None:
    """The decision says that there was no work, not that something is broken."""
    ticks = Ticks()
    decision = ticks.tick(ended=no_work())
    assert why(decision) is HeldReason.FAILURES, decision
    assert says(decision, "1m", "no work", "exit code 75"), decision


def test_a_job_done_is_no_failure() -> None:
    """A worker that had work and ends when there is no more is not a failure."""
    ticks = Ticks()
    ticks.tick(ended=(Ended("w", 5_000.0, "exit code 0"),))
    assert ticks.state.delay.failures == 0


def test_batch_without_work_counts_once() -> None:
    """Four workers that started together and found no work are one failure, whenever each gave
    up."""
    ticks = Ticks()
    ticks.run(2_000, draining=True)
    ticks.tick(ended=no_work(1_200.0) + no_work(1_200.0))
    ticks.run(30, draining=True)
    ticks.tick(ended=no_work(1_230.0))
    assert ticks.state.delay.failures == 1


def test_the_last_failure_counts() -> None:
    """A worker that ends at once, after some that found no work, is reported as that."""
    ticks = Ticks(max_workers=1)
    ticks.run(100, draining=True)
    ticks.tick(ended=no_work(1.0))
    ticks.run(2, draining=True)
    assert says(ticks.tick(ended=ended(0.5)), "exit code 1")
    assert ticks.state.delay.failures == 2


def after_a_failure(*there: Worker, **same: Any) -> Ticks:
    """Ticks with room for four, when the delay after a worker that ended at once is over."""
    ticks = Ticks(there=list(there), **same)
    ticks.run(100, draining=True)
    ticks.tick(ended=ended(0.1))
    ticks.run(30, draining=True)
    return ticks


def test_one_is_tried() -> None:
    """After a failure one worker starts, whatever the room, and no other."""
    ticks = after_a_failure()
    assert len(of(Start, ticks.run(1))) == 1
    ticks.there = [msgspec.structs.replace(pilot("t", 0), phase=Phase.STARTING, started=None)]
    assert not of(Start, ticks.run(20)) and why(ticks.tick()) is HeldReason.TRIAL, ticks.tick()
    ticks.there = [worker("t", 0, at=ticks.now, jobs=())]
    assert not of(Start, ticks.run(20)) and why(ticks.tick()) is HeldReason.TRIAL, ticks.tick()


def test_the_one_that_is_tried_has_ended() -> None:
    """No other starts before it is known how that one ended, which takes Docker a moment."""
    ticks = after_a_failure()
    assert (
        not of(Start, ticks.run(3, unexplained=True))
        and why(ticks.tick(unexplained=True)) is HeldReason.TRIAL
    )
    ticks.tick(ended=ended(1.0))
    assert not of(Start, ticks.run(9)), "the delay has doubled"
    assert len(of(Start, ticks.run(1))) == 1


def test_one_is_tried_beside_others() -> None:
    """Workers from before the failure neither count as the one on trial nor prove anything."""
    ticks = after_a_failure(pilot("a", 5_000, 4_000), pilot("b", 5_000))
    assert len(of(Start, ticks.run(1))) == 1
    ticks.run(200, draining=True)
    assert ticks.state.delay.failures == 1


def test_a_plain_worker_is_proven_by_its_age() -> None:
    """For a worker whose jobs are unknown, a minute of life is proof enough."""
    ticks = after_a_failure()
    ticks.there = [worker("t", 0, at=ticks.now)]
    assert not of(Start, ticks.run(59))
    assert len(of(Start, ticks.run(1))) == 3, "all that there is room for"


@pytest.mark.parametrize("idle", [False, True])
def test_a_pilot_is_proven_by_work(idle: bool) -> None:
    """A pool's worker that waits for work proves nothing; one that has or had a job does."""
    ticks = after_a_failure()
    if idle:
        ticks.tick(ended=no_work(1.0))
        ticks.run(200, draining=True)
    since = ticks.now
    ticks.there = [worker("t", 0, at=since, jobs=())]
    assert not of(Start, ticks.run(3_000)), "it is alone until it gets work, if that takes for ever"
    ticks.there = [worker("t", ticks.now - since, at=ticks.now, jobs=(), worked=True)]
    assert len(of(Start, ticks.run(1))) == 3 and ticks.state.delay.failures == 0


def test_work_alone_does_not_prove() -> None:
    """A worker that got a job still has to live for a minute."""
    ticks = after_a_failure()
    ticks.there = [worker("t", 0, at=ticks.now, jobs=(BOOT + ticks.now,), worked=True)]
    assert not of(Start, ticks.run(59))
    assert len(of(Start, ticks.run(1))) == 3


def test_the_one_tried_is_told_to_go() -> None:
    """A worker that leaves for lack of room proves nothing, and the next one is tried in its
    place."""
    ticks = after_a_failure()
    ticks.there = [worker("t", 0, at=ticks.now, jobs=(), phase=Phase.LEAVING, told=0.0, deadline=1e9)]
    assert len(of(Start, ticks.run(1))) == 1


def test_all_that_started_before_the_first_failure_are_one() -> None:
    """Four start at once and fail one after the other: one failure, and from then on one worker is
    tried at a time, each after twice the wait of the one before."""
    ticks, times = Ticks(), list[float]()
    first, actions = ticks.until(Start)
    assert len(of(Start, [(first, a) for a in actions])) == 4, actions
    living = [worker(f"b{n}", 0.0, at=first, phase=Phase.STARTING) for n in range(4)]
    for lived in range(1, 300):
        ticks.there = living
        # The batch fails at 10, 15, 20 and 25 s; each later worker 3 s after its start.
        fails = len(living) > 0 and (lived in (10, 15, 20, 25) or bool(times and ticks.now - times[-1] == 3))
        gone, living = (living[:1], living[1:]) if fails else ([], living)
        dead = tuple(Ended(w.name, w.age(BOOT + ticks.now), "exit code 1") for w in gone)
        for time, _ in of(Start, ticks.run(1, ended=dead)):
            times.append(time)
            living = [*living, worker(f"t{len(times)}", 0.0, at=time, phase=Phase.STARTING)]
    # A worker lives for three ticks, and its end is seen at the next one.
    waits = [round(b - a - 4) for a, b in pairwise(times)]
    assert waits[:4] == [10, 20, 40, 80], (times, waits)


def test_no_start_before_it_is_known_how_the_first_one_ended() -> None:
    """A worker that has ended is not replaced before it is known whether it failed."""
    ticks = Ticks()
    ticks.run(100, draining=True)
    assert not ticks.run(20, unexplained=True)
    assert why(ticks.tick(unexplained=True)) is HeldReason.UNEXPLAINED
    assert not of(Start, ticks.run(1, ended=ended(5.0))), "started before the delay was over"
    other = Ticks()
    other.run(100, draining=True)
    other.run(20, unexplained=True)
    assert of(Start, other.run(1, ended=ended(5_000.0))), "a worker that did its time is replaced at once"
