"""Pauses and rules of the owner's: who is frozen, who leaves, what is started, and when."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.policy.ticks import GB, Ticks, no_work, of, says, why, worker, workers

from plancton.model import (
    Action,
    Decision,
    Finish,
    Freeze,
    HeldReason,
    Kill,
    Leave,
    OwnerRules,
    Phase,
    SetShares,
    Settings,
    Start,
    Thaw,
    Wishes,
    Worker,
    Writer,
)
from plancton.policy.owner_rules import CATCHING_UP, STARTING
from plancton.policy.tick_interval import next_tick
from plancton.policy.unfit_patience import LONGEST_SILENCE

PAUSE = Wishes(pause="paused by the owner until 18:00", left=7200.0)
BATTERY = OwnerRules(pause="on battery (62 %)")
DAY = OwnerRules(leave="it is day")
SETTINGS = Settings(grace_kill=120.0, reserve_memory=GB, pause_hold=30.0)


class Host(Ticks):
    """Does what it is told: freezes, thaws, and lets workers leave within a tick; it starts those
    that it is told to if it ``obeys``."""

    def __init__(self, there: list[Worker] | None = None, **same: Any) -> None:
        super().__init__(SETTINGS, workers(3) if there is None else there, **same)
        self.frozen = self.obeys = False

    def tick(self, seconds: float = 1.0, **now: Any) -> Decision:
        self.there = [w for w in self.there if w.phase not in (Phase.LEAVING, Phase.KILLED)]
        decision = super().tick(seconds, frozen=self.frozen, **now)
        for action in decision.actions:
            match action:
                case Freeze():
                    self.frozen = True
                case Thaw():
                    self.frozen = False
                case Start() if self.obeys:
                    self.there.append(worker(f"n{self.now}{len(self.there)}", age=0.0, at=self.now))
                case Leave(name=name) | Kill(name=name):
                    phase = Phase.LEAVING if isinstance(action, Leave) else Phase.KILLED
                    self.change(name, phase=phase, told=self.now, deadline=self.now + 20.0)
        return decision

    def change(self, name: str, **fields: Any) -> None:
        self.there = [worker(name, **fields) if w.name == name else w for w in self.there]


def kinds(actions: tuple[Action, ...]) -> list[type[Action]]:
    return [type(action) for action in actions]


def test_a_pause_freezes_at_once() -> None:
    """At the next tick all are frozen, nothing is started, and nobody leaves for what the owner
    uses; when it ends they are thawed at once and nobody has to go for the time of the pause."""
    ticks = Host()
    ticks.run(130)
    decision = ticks.tick(wishes=PAUSE)
    assert kinds(decision.actions) == [Freeze] and decision.paused == PAUSE.pause
    assert why(decision) is HeldReason.PAUSED and says(decision, "until 18:00")
    assert not ticks.run(100, wishes=PAUSE, owner=4.0, idle=0.0)
    assert kinds(ticks.tick(owner=4.0, idle=0.0).actions)[0] is Thaw
    assert not of(Leave, ticks.run(70, owner=4.0, idle=0.0)), "the window begins again"
    assert of(Leave, ticks.run(60, owner=4.0, idle=0.0))


def test_a_pause_on_a_host_that_starts_none() -> None:
    """Where there is no worker nothing is frozen, and nothing is started."""
    ticks = Host([])
    assert not ticks.run(100, wishes=PAUSE)
    assert ticks.until(Start, most=5)


def test_patience() -> None:
    """A pause that outlasts grace_kill makes all leave: thawed first, then told, lifted whatever is
    idle, as the others stay frozen by that."""
    ticks = Host()
    time, (thaw, *leaves) = ticks.until(Leave, wishes=PAUSE)
    assert isinstance(thaw, Thaw) and 119 <= time <= 123, time
    assert [a.name for a in leaves if isinstance(a, Leave) and a.lift] == ["w2", "w1", "w0"]
    assert not ticks.run(100, wishes=PAUSE) and not ticks.there
    assert ticks.until(Start)


def test_patience_by_stake() -> None:
    """Who has more to lose waits longer for the end of a pause, and is frozen again once those that
    did not are gone."""
    ticks = Host()
    ticks.there = [worker("rich", 9_000.0, jobs=(1.0,), stake=1_800.0), worker("poor")]
    _, (thaw, *leaves) = ticks.until(Leave, wishes=PAUSE)
    assert isinstance(thaw, Thaw) and [a.name for a in leaves if isinstance(a, Leave)] == ["poor"]
    later = ticks.run(200, wishes=PAUSE)
    assert [type(action) for _, action in later] == [Freeze], later
    time, _ = ticks.until(Leave, wishes=PAUSE)
    assert LONGEST_SILENCE <= time <= LONGEST_SILENCE + 2, "its pool would give up on it"


def test_where_nothing_can_be_frozen() -> None:
    """They leave at once, and the reason says so."""
    wishes = Wishes(pause="paused by the owner", freezable=False)
    actions = Host().tick(wishes=wishes).actions
    assert kinds(actions) == [Leave] * 3
    assert isinstance(actions[0], Leave) and "can't be frozen" in actions[0].reason


def test_memory_while_paused() -> None:
    """One leaves for the owner's memory as always: all are thawed while it does, then frozen
    again."""
    ticks = Host()
    ticks.run(5, wishes=PAUSE)
    thaw, leave = ticks.tick(wishes=PAUSE, memory_available=GB // 2).actions
    assert isinstance(thaw, Thaw) and isinstance(leave, Leave) and leave.timeout == 3.0
    assert ticks.run(3, wishes=PAUSE) == [(ticks.now - 2, Freeze(PAUSE.pause))]


def test_disk_while_paused() -> None:
    """The disk's rule neither thaws whom the owner has paused nor keeps them frozen afterwards; who
    fills it dies all the same."""
    low: dict[str, Any] = {"disk_free": 4 * GB, "disk_total": 100 * GB}
    ticks = Host()
    ticks.settings = Settings(grace_kill=120.0, reserve_disk=5 * GB)
    ticks.run(5, wishes=PAUSE)
    wrote = (Writer("w1", GB),)
    assert kinds(ticks.tick(wishes=PAUSE, writers=wrote, **low).actions) == [Kill]
    assert not of(Thaw, ticks.run(20, wishes=PAUSE, **low)) and ticks.frozen
    ticks.run(5)
    assert not ticks.frozen


def test_one_that_is_being_started() -> None:
    """It would hang in a frozen slice: it is waited for, but not for ever."""
    ticks = Host([*workers(2), Worker("new", "id-new", phase=Phase.STARTING)])
    assert not ticks.run(5, wishes=PAUSE)
    ticks.change("new", phase=Phase.RUNNING)
    assert kinds(ticks.tick(wishes=PAUSE).actions) == [Freeze]
    ticks = Host([Worker("new", "id-new", phase=Phase.STARTING)])
    time, _ = ticks.until(Freeze, wishes=PAUSE)
    assert time > STARTING


def test_drained_while_paused() -> None:
    """Who is frozen is not asked to finish, and has not failed to: that comes after the pause."""
    ticks = Host()
    ticks.change("w0", phase=Phase.FINISHING, told=0.0, deadline=10.0)
    ticks.run(2, wishes=PAUSE)
    assert not ticks.run(60, wishes=PAUSE, draining=True, finish=True)
    assert of(Finish, ticks.run(2, draining=True, finish=True))


def test_stopped_while_paused() -> None:
    """All are thawed and leave, and none is frozen again however long that takes."""
    ticks = Host()
    ticks.run(5, wishes=PAUSE)
    assert kinds(ticks.tick(wishes=PAUSE, stopping=True).actions) == [Thaw, *[Leave] * 3]
    ticks.there = workers(1, busy=True)
    assert not of(Freeze, ticks.run(60, wishes=PAUSE, stopping=True))


def test_found_no_work_after_a_pause() -> None:
    """A worker that was frozen and then finds that it had no work for long is no failure; one
    started afterwards is."""
    ticks = Host()
    ticks.run(100, wishes=PAUSE)
    ticks.run(10)
    assert not says(ticks.tick(ended=no_work()), "no work")
    ticks.run(80)
    assert says(ticks.tick(ended=no_work(20.0)), "no work")
    ticks.run(int(CATCHING_UP))
    assert says(ticks.tick(ended=no_work(100.0)), "no work")


def test_a_rule_holds_for_a_while() -> None:
    """A rule pauses at once, and until it has not been true for pause_hold. The words that are said
    change once a minute at most."""
    ticks = Host()
    ticks.settings = Settings(pause_hold=30.0)
    decision = ticks.tick(rules=BATTERY)
    assert kinds(decision.actions) == [Freeze] and says(decision, "paused: on battery (62 %)")
    time, _ = ticks.until(Thaw)
    assert time == 31
    ticks.run(1, rules=BATTERY)
    said = {ticks.tick(rules=OwnerRules(pause=f"on battery ({n} %)")).paused for n in range(59)}
    assert said == {"paused: on battery (62 %)"}
    assert "(7 %)" in ticks.tick(2.0, rules=OwnerRules(pause="on battery (7 %)")).paused
    assert not ticks.run(29) and not ticks.run(1, rules=BATTERY) and not ticks.run(29)


def test_leave_when() -> None:
    """All leave at once, and nothing is started until it has not been true for a while."""
    ticks = Host()
    ticks.run(100)
    decision = ticks.tick(rules=DAY)
    assert kinds(decision.actions) == [Leave] * 3 and why(decision) is HeldReason.OWNER_RULE
    assert not ticks.run(100, rules=DAY)
    assert ticks.until(Start)[0] >= ticks.now - 1 and ticks.now >= 201 + 30


@settings(max_examples=30)
@given(st.lists(st.sampled_from([OwnerRules(), BATTERY, DAY]), min_size=60, max_size=300))
def test_signals_that_flap(signals: list[OwnerRules]) -> None:
    """However a rule's signal comes and goes, workers are frozen or thawed, started or sent away a
    few times a minute at most."""
    ticks = Host()
    ticks.obeys = True
    ticks.run(130)
    moved = list[float]()
    for rules in signals:
        changed = {type(a) for a in ticks.tick(rules=rules).actions} - {SetShares, Kill}
        moved += [ticks.now] * len(changed)
    busiest = max((sum(t <= each < t + 60 for each in moved) for t in moved), default=0)
    assert busiest <= 8, moved


@pytest.mark.parametrize(
    ("since", "asks", "most"),
    [
        (0, {"wishes": Wishes(pause="paused", left=3.0)}, 3.0),
        (110, {"wishes": PAUSE}, 10.0),
        (1, {"rules": BATTERY}, 30.0),
    ],
    ids=["its end", "patience", "the rule's hold"],
)
def test_wakes_in_time(since: int, asks: dict[str, Any], most: float) -> None:
    """The loop does not sleep beyond the end of a pause, of patience, or of a rule that holds."""
    ticks = Host()
    ticks.run(since + 1, **asks)
    seen = ticks.seen(frozen=True, **asks)
    decision = ticks.tick(**asks)
    assert next_tick(seen, decision, ticks.state, ticks.settings, 1000.0, 1000.0) <= most


def test_unused_it_costs_nothing() -> None:
    """Without wishes a tick makes no new state."""
    ticks = Host()
    ticks.run(10)
    before = ticks.state.standing
    ticks.run(10)
    assert ticks.state.standing is before
