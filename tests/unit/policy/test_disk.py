"""Who must go when the disk's reserve is undercut. A disk of 100 GB, of which 5 are reserved."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.policy.ticks import GB, Ticks, of, says, worker, workers

from plancton.model import Action, Freeze, HeldReason, Kill, Leave, Phase, Settings, Start, Thaw, Writer
from plancton.policy.disk import DISK_WAIT, MOST_FROZEN

SETTINGS = Settings(reserve_disk=5 * GB, reserve_memory=GB)
LOW: dict[str, Any] = {"disk_free": 4 * GB, "disk_total": 100 * GB}
WROTE = (Writer("w0", 1 << 20), Writer("w1", GB), Writer("w2", 70 << 20))


def disk(count: int = 3, **same: Any) -> Ticks:
    return Ticks(SETTINGS, workers(count), **(LOW | same))


def kinds(actions: tuple[Action, ...]) -> list[type[Action]]:
    return [type(action) for action in actions]


def test_who_writes_most_is_ended() -> None:
    """The one that wrote most is killed at once and the others are frozen until it is gone."""
    ticks = disk()
    kill, freeze = ticks.tick(writers=WROTE).actions
    assert isinstance(kill, Kill) and isinstance(freeze, Freeze)
    assert (kill.name, kill.at_once) == ("w1", True) and "4 GB of disk are free" in kill.reason
    ticks.there[1] = worker("w1", phase=Phase.KILLED, told=ticks.now, deadline=ticks.now + 5)
    assert not ticks.tick(writers=WROTE).actions, "one at a time, and it is dying"
    del ticks.there[1]
    assert kinds(ticks.tick(writers=WROTE).actions) == [Thaw]
    assert not ticks.run(int(DISK_WAIT) - 5, writers=WROTE), "it takes its files along"
    assert not of(Kill, ticks.run(90, writers=WROTE, disk_free=6 * GB))


def test_one_that_takes_long_to_die() -> None:
    """Nobody else leaves until it is gone and has had time to take its files away; one that can't
    be killed takes none."""
    ticks = disk()
    ticks.tick(writers=WROTE)
    ticks.there[1] = worker("w1", phase=Phase.KILLED, told=ticks.now, deadline=ticks.now + 5)
    dying = ticks.run(2 * int(DISK_WAIT))
    assert not of(Leave, dying) and {kill.name for _, kill in of(Kill, dying)} == {"w1"}, dying
    del ticks.there[1]
    assert not of(Leave, ticks.run(int(DISK_WAIT) - 5))
    assert ticks.until(Leave)
    ticks.there[-1] = worker("w2", phase=Phase.KILLED, told=ticks.now, deadline=ticks.now, stuck=True)
    assert ticks.until(Leave), "the stuck one would keep all of them here"


def test_the_next_start_waits() -> None:
    """After that, the next start backs off as after a failure."""
    ticks = disk()
    ticks.tick(writers=WROTE)
    assert says(ticks.tick(disk_free=50 * GB), "backing off", "filled the disk")


def test_another_goes_on_writing() -> None:
    """Each time that a tenth of what was left is gone, one more is ended."""
    ticks = disk()
    ticks.tick(writers=WROTE)
    ticks.there.pop(1)
    ticks.tick(writers=WROTE)
    (_, kill), *_ = of(Kill, ticks.run(1, disk_free=3 * GB, writers=WROTE))
    assert kill.name == "w2"


@pytest.mark.parametrize("size", [None, 1 << 20])
def test_nobody_wrote_much(size: int | None) -> None:
    """When nobody is found the last in line leaves, once nothing more can be learnt."""
    wrote = tuple(Writer(f"w{n}", 1 << 20, size=size) for n in range(3))
    ticks = disk()
    assert kinds(ticks.tick(writers=wrote).actions) == [Freeze]
    time, (thaw, leave) = ticks.until(Leave, writers=wrote)
    assert isinstance(thaw, Thaw) and isinstance(leave, Leave) and leave.name == "w2"
    assert time == (1 + MOST_FROZEN if size is None else 2)


def test_the_largest_leaves() -> None:
    """A slow one is found by the size of its files, and leaves in order."""
    wrote = tuple(Writer(f"w{n}", size=size) for n, size in enumerate((GB, 7 * GB, 2 * GB)))
    _, leave = disk().until(Leave, writers=wrote)[1]
    assert isinstance(leave, Leave) and leave.name == "w1"


def test_inodes() -> None:
    """Where files are what lacks, the one that made most of them is ended, not who wrote most."""
    wrote = (Writer("w0", GB, 1 << 20), Writer("w1", 0, 20 << 20))
    (_, kill), *_ = of(Kill, disk(disk_free=50 * GB, disk_inodes=0.03, writers=wrote).run(1))
    assert kill.name == "w1" and "inodes" in kill.reason


def test_memory_comes_first() -> None:
    """Nobody is frozen while the owner needs memory, and the writer is ended all the same."""
    assert kinds(disk(memory_available=0).tick(writers=WROTE).actions) == [Kill, Leave]
    ticks = disk()
    ticks.tick()
    assert kinds(ticks.tick(memory_available=0).actions)[:2] == [Thaw, Leave]


@pytest.mark.parametrize("what", [{"stopping": True}, {"disk_free": 50 * GB}])
def test_thawed_at_once(what: dict[str, Any]) -> None:
    """When Plancton stops, or there is room again, nobody stays frozen."""
    ticks = disk()
    ticks.tick()
    assert kinds(ticks.tick(**what).actions)[0] is Thaw


def test_who_leaves_already_is_ended() -> None:
    """One that was told to leave and uses its time to write is not waited for; one that is dying
    is."""
    leaving = worker("w", phase=Phase.LEAVING, told=0.0, deadline=100.0)
    ticks = Ticks(SETTINGS, [leaving], **LOW)
    assert kinds(ticks.tick(writers=(Writer("w", GB),)).actions) == [Kill]
    ticks = Ticks(SETTINGS, [worker("w", phase=Phase.KILLED, told=0.0, deadline=100.0)], **LOW)
    assert not ticks.tick(writers=(Writer("w", GB),)).actions


def test_nothing_is_reserved() -> None:
    """Without a reserve nobody is frozen or ended, however full the disk is."""
    assert not of(Kill, Ticks(Settings(), workers(2), **LOW).run(90, writers=WROTE))


MOMENT = st.fixed_dictionaries(
    {
        "disk_free": st.integers(0, 7).map(lambda n: n * GB),
        "writers": st.sampled_from([(), WROTE, (Writer("w0", 1, size=1),), (Writer("w1", size=GB),)]),
        "memory_available": st.sampled_from([60 * GB] * 5 + [0]),
        "stopping": st.sampled_from([False] * 9 + [True]),
        "owner": st.sampled_from([0.0, None]),
    }
)


@given(moments=st.lists(MOMENT, min_size=1, max_size=40), dies=st.booleans())
def test_frozen_for_seconds_only(moments: list[dict[str, Any]], dies: bool) -> None:
    """Whatever happens: frozen are they only below the reserve, never while they must leave, never
    twice, and for seconds at most; and one is killed at a time."""
    ticks, since = disk(), None
    for moment in moments:
        actions = ticks.tick(**moment).actions
        kills = [a for a in actions if isinstance(a, Kill) and a.at_once]
        for kill in kills:
            place = next(n for n, w in enumerate(ticks.there) if w.name == kill.name)
            dying = worker(kill.name, phase=Phase.KILLED, told=ticks.now, deadline=1e9)
            ticks.there[place : place + 1] = [] if dies else [dying]
        froze, thawed = kinds(actions).count(Freeze), kinds(actions).count(Thaw)
        short = moment["disk_free"] < 5 * GB
        must_run = moment["stopping"] or moment["memory_available"] == 0
        assert len(kills) <= short and froze + thawed <= 1, actions
        assert not froze or (short and not must_run and since is None), actions
        assert not thawed or since is not None, actions
        since = ticks.now if froze else None if thawed else since
        if since is not None:
            assert short and not must_run and ticks.now - since <= MOST_FROZEN + 1, actions


# -- what a worker promises to its jobs -----------------------------------------------------------


def promises(settings: Settings, **seen: Any) -> list[int | None]:
    """What the workers may promise that a calm host of 4 CPUs starts at once."""
    _, actions = Ticks(settings, **(LOW | seen)).until(Start)
    return [action.disk for action in actions if isinstance(action, Start)]


def test_promises_a_part() -> None:
    """All the workers that this host can hold promise no more together than is free beside the
    reserve."""
    assert promises(SETTINGS, disk_free=65 * GB) == [15 * GB] * 4
    assert promises(SETTINGS, disk_free=65 * GB, max_workers=2) == [30 * GB] * 2


def test_promises_nothing_unknown() -> None:
    """Without figures of the disk nothing is promised."""
    assert promises(SETTINGS, disk_free=None) == [None] * 4


@pytest.mark.parametrize(("free", "started"), [(60, 1), (104, 1), (105, 2), (1000, 4)])
def test_room_for_promises(free: int, started: int) -> None:
    """No more workers are started than the disk has room for what they promise."""
    settings = msgspec.structs.replace(SETTINGS, worker_disk=50 * GB)
    assert promises(settings, disk_free=free * GB) == [50 * GB] * started


def test_says_that_it_promised_the_disk() -> None:
    """The reason for starting nothing has the figures, and nobody leaves for it."""
    settings = msgspec.structs.replace(SETTINGS, worker_disk=50 * GB)
    ticks = Ticks(settings, workers(1), **(LOW | {"disk_free": 65 * GB}))
    held = ticks.tick().held
    assert held and held.reason is HeldReason.DISK
    assert "leaves 60 GB of disk, 2 workers are promised 100 GB" in held.sentence
    assert not of(Leave, ticks.run(900))
