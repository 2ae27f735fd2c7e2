"""How long a worker may live, and who must finish."""

import math
from typing import Any

import pytest
from unit.policy.ticks import BOOT, Ticks, of, worker, workers

from plancton.model import Finish, Leave, Phase, Settings
from plancton.policy.lifetime import SETTLING, lifetime_of


def test_lifetime_is_spread() -> None:
    """Workers started together end one after the other, between 0.9 and 1.1 of the lifetime."""
    ages = [lifetime_of(worker(f"plancton-worker-{n}"), Settings(lifetime=1_000.0)) for n in range(2_000)]
    assert 900 <= min(ages) < 905 and 1_095 < max(ages) <= 1_100, (min(ages), max(ages))
    assert len({round(a) for a in ages}) > 190
    assert lifetime_of(worker("x"), Settings()) == lifetime_of(worker("x"), Settings()), "the same each time"


def test_lifetime_is_asked_for_gently() -> None:
    """Each worker is asked to finish after its own lifetime."""
    ticks = Ticks(Settings(lifetime=1_000.0, finish_timeout=77.0), there=[worker("w", 800.0)])
    time, actions = ticks.until(Finish)
    assert time == math.ceil(lifetime_of(ticks.there[0], ticks.settings)) - 800, time
    assert isinstance(actions[0], Finish) and actions[0].timeout == 77.0, actions


def test_finishes_before_its_token_ends() -> None:
    """A worker whose token ends is asked to finish in time, also beside older ones that stay."""
    ticks = Ticks(there=[worker("old", 500.0), worker("w", 100.0, until=BOOT + 30.0)], draining=True)
    assert not of(Finish, ticks.run(29))
    (asked,) = [a for a in ticks.tick().actions if isinstance(a, Finish)]
    assert (asked.name, asked.reason) == ("w", "its token ends soon"), asked


@pytest.mark.parametrize("what", ["image", "digest"])
def test_outdated_one_at_a_time(what: str) -> None:
    """Workers of an old image or configuration finish, oldest first, one after the other."""
    ticks = Ticks(there=workers(3), draining=True)
    assert not ticks.run(100)
    ticks.same[what] = "newer"
    assert not ticks.run(math.ceil(SETTLING)), "it may be taken back"
    first = ticks.tick().actions
    assert [(type(a), a.name) for a in first if isinstance(a, Finish | Leave)] == [(Finish, "w0")], first
    ticks.there[0] = worker("w0", phase=Phase.FINISHING, told=ticks.now, deadline=1e9)
    assert not of(Finish, ticks.run(50))
    del ticks.there[0]
    assert [a.name for a in ticks.tick().actions if isinstance(a, Finish)] == ["w1"]
    newer: dict[str, Any] = {what: "newer"}
    ticks.there = [worker("n", **newer)]
    assert not of(Finish, ticks.run(10))


@pytest.mark.parametrize("what", ["image", "digest"])
def test_change_that_is_taken_back(what: str) -> None:
    """A configuration or image that is swapped for another and back, however often, costs no worker
    its life."""
    ticks = Ticks(there=workers(3), draining=True)
    assert not ticks.run(100)
    before = ticks.same.get(what)
    for _ in range(10):
        ticks.same[what] = "newer"
        assert not ticks.run(4)
        if before is None:
            del ticks.same[what]
        else:
            ticks.same[what] = before
        assert not ticks.run(4)
    assert not ticks.run(100)


def test_unknown_image_outdates_nobody() -> None:
    """Without an image or a digest, no worker is outdated."""
    assert not Ticks(there=workers(2), image="", digest="").run(100)


def test_finish_all() -> None:
    """A drain that lets jobs end asks all at once, starting ones as soon as they run."""
    starting = worker("s", 1, phase=Phase.STARTING)
    names = [
        a.name for _, a in Ticks(there=[*workers(2), starting], finish=True).run(1) if isinstance(a, Finish)
    ]
    assert names == ["w0", "w1"]
