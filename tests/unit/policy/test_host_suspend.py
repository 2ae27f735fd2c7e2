"""A host that was suspended: who leaves for it, and who does not."""

from typing import Any

import pytest
from unit.policy.ticks import BOOT, Ticks, kinds_of, no_work, of, says, worker

from plancton.model import Freeze, Leave, Phase, Settings, Thaw, Wishes, Worker
from plancton.policy.owner_rules import CATCHING_UP

LEASE = 2_400.0
SETTINGS = Settings(grace_kill=120.0, lease=LEASE)


def host(*there: Worker, settings: Settings = SETTINGS) -> Ticks:
    """One that has been awake for a while."""
    ticks = Ticks(settings, list(there))
    ticks.run(100)
    return ticks


def with_job(name: str, **fields: Any) -> Worker:
    return worker(name, jobs=(BOOT - 50.0,), worked=True, **fields)


def test_a_job_whose_lease_has_run_out() -> None:
    """Its worker leaves at the first tick, and says why; one without a job and one whose pool does
    not tell stay, and so does one whose job began after the host woke."""
    ticks = host(with_job("old"), worker("free", jobs=()), worker("silent"))
    ticks.suspended += LEASE + 3_600.0
    (left,) = ticks.tick().actions
    assert isinstance(left, Leave) and left.name == "old" and "lease" in left.reason and "1h" in left.reason
    began = BOOT + ticks.now + ticks.suspended
    ticks.there = [worker("free", jobs=(began,)), worker("silent")]
    assert not of(Leave, ticks.run(100))


@pytest.mark.parametrize(
    ("settings", "seconds"), [(SETTINGS, LEASE - 1.0), (Settings(grace_kill=120.0), 10 * LEASE)]
)
def test_a_job_whose_lease_may_hold(settings: Settings, seconds: float) -> None:
    """After a shorter suspend, or where no lease is known, it goes on."""
    ticks = host(with_job("old"), settings=settings)
    ticks.suspended += seconds
    assert not of(Leave, ticks.run(100))


def test_what_is_under_way_comes_first() -> None:
    """A worker on which an action is under way is told as soon as that is done, also after another
    suspend, which was short; so is one that finishes its job."""
    ticks = host(with_job("busy", busy=True), with_job("last", phase=Phase.FINISHING))
    ticks.suspended += 2 * LEASE
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["last"]
    ticks.suspended += 60.0
    ticks.there = [with_job("busy")]
    assert [a.name for a in ticks.tick().actions if isinstance(a, Leave)] == ["busy"]


def test_while_paused() -> None:
    """It is thawed to leave; the pause goes on for the others."""
    pause = Wishes("paused by the owner")
    ticks = host(with_job("old"), worker("free", jobs=()))
    assert kinds_of(ticks.tick(wishes=pause)) == [Freeze]
    ticks.suspended += 2 * LEASE
    assert kinds_of(ticks.tick(wishes=pause, frozen=True)) == [Thaw, Leave]
    ticks.there = ticks.there[1:]
    assert kinds_of(ticks.tick(wishes=pause)) == [Freeze]


def test_owner_unknown() -> None:
    """It leaves also while the host's figures are not known yet."""
    ticks = host(with_job("old"))
    ticks.suspended += 2 * LEASE
    assert kinds_of(ticks.tick(owner=None)) == [Leave]


def test_found_no_work_in_its_sleep() -> None:
    """A worker that ends after a suspend because it has been without work for so long is no reason
    to start none, but one that began after it is."""
    ticks = host()
    ticks.suspended += 60.0
    ticks.run(10)
    assert not says(ticks.tick(ended=no_work()), "no work")
    assert says(ticks.tick(ended=no_work(5.0)), "no work")
    ticks = host()
    ticks.suspended += 60.0
    ticks.run(int(CATCHING_UP) + 2)
    assert says(ticks.tick(ended=no_work(10_000.0)), "no work")
