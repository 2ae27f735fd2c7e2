"""When the workers' CPU is capped for an owner who waits (yield.cap: auto)."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.policy.ticks import Ticks, workers

from plancton.model import SetQuota, Settings
from plancton.policy.contention import AGAIN, FIRST, LONGEST, QUIET, WAITS, WORKS
from plancton.policy.quota import FREE

AUTO = Settings(grace_kill=3_600.0, caps_waiting=True)
COMPILES = {"owner": 3.4, "donated": 0.56, "idle": 0.0, "owner_waits": 0.16}
"""On four CPUs, beside workers: their processes share CPUs while the workers have others."""
COMPILES_ALONE = {"owner": 3.9, "donated": 0.04, "idle": 0.06, "owner_waits": 0.01}
QUIETLY = {"owner": 0.1, "donated": 3.9, "idle": 0.0}
WAITS_ALONE = {"owner": 3.95, "donated": 0.01, "idle": 0.0, "owner_waits": 0.6}
"""More processes than CPUs: they wait for each other, not for a worker."""


def ticks(settings: Settings = AUTO) -> Ticks:
    made = Ticks(settings, workers(4))
    made.run(60, **QUIETLY)
    return made


def capped() -> Ticks:
    """While the owner compiles, and the cap is in force."""
    made = ticks()
    made.run(2, **COMPILES)
    assert made.tick(**COMPILES_ALONE).quota is not None
    return made


def test_an_owner_who_compiles() -> None:
    """It is in force after a second of waiting beside workers, at once with what the owner waits
    for: nothing is left for workers."""
    made = ticks()
    decision = made.tick(**COMPILES)
    assert decision.quota == pytest.approx(0.0, abs=0.01)
    assert {a.cpus for a in decision.actions if isinstance(a, SetQuota)} == {0.01}
    assert "waits" in decision.sentence


@pytest.mark.parametrize(
    "seen", [QUIETLY, WAITS_ALONE, COMPILES | {"owner_waits": None}, COMPILES | {"owner_waits": WAITS - 0.01}]
)
def test_only_both_at_once(seen: dict[str, float]) -> None:
    """An owner who waits while workers get nothing is not helped by a cap, and one who does not
    wait, or of whom that is not known, needs none."""
    made = ticks()
    assert not any(isinstance(a, SetQuota) for _, a in made.run(60, **seen))


def test_a_moment() -> None:
    """What lasts for less than a second is nothing, however often it comes."""
    made = ticks()
    for _ in range(60):
        assert made.tick(0.5, **COMPILES).quota is None
        assert made.tick(0.5, **QUIETLY).quota is None


@pytest.mark.parametrize("cap", ["none", "auto"])
def test_only_if_configured(cap: str) -> None:
    """Without `auto` waiting changes nothing."""
    made = ticks(msgspec.structs.replace(AUTO, caps_waiting=cap == "auto"))
    assert (made.tick(**COMPILES).quota is not None) == (cap == "auto")


def test_the_end() -> None:
    """It ends two seconds after the owner's work, and at once for all workers."""
    made = capped()
    assert made.tick(**QUIETLY).quota is not None
    decision = made.tick(**QUIETLY)
    assert decision.quota is None and QUIET <= 2.0


def test_no_worker_is_left() -> None:
    """Without workers there is nothing to cap."""
    made = capped()
    made.there.clear()
    assert made.tick(**COMPILES_ALONE).quota is None


def test_it_is_tried_without() -> None:
    """It ends now and then, to see; each time that it is still needed it then stays twice as long,
    up to ten minutes."""
    made, stays = ticks(), list[float]()
    for _ in range(8):
        begin = made.now
        while made.tick(**COMPILES).quota is None:
            assert made.now < begin + AGAIN
        begin = made.now
        while made.tick(**COMPILES_ALONE).quota is not None:
            pass
        stays.append(made.now - begin)
    assert stays == [FIRST, 60.0, 120.0, 240.0, 480.0, LONGEST, LONGEST, LONGEST]
    made.run(20, **QUIETLY)
    made.run(1, **COMPILES)
    assert sum(made.tick(**COMPILES_ALONE).quota is not None for _ in range(60)) == FIRST - 1


def test_unknown_figures_change_nothing() -> None:
    """A tick without figures of the owner neither caps nor lifts."""
    made = capped()
    quota = made.tick(**COMPILES_ALONE).quota
    assert made.tick(owner=None, donated=None, idle=None).quota == quota
    fresh = ticks()
    assert fresh.tick(owner=None, owner_waits=1.0).quota is None


@given(
    st.lists(
        st.tuples(
            st.floats(0, 4), st.floats(0, 4), st.one_of(st.none(), st.floats(0, 1)), st.floats(0.1, 15)
        ),
        max_size=60,
    )
)
def test_whatever_happens(seen: list[tuple[float, float, float | None, float]]) -> None:
    """What it leaves for workers is a number of this host's CPUs; it begins only at a tick at which
    the owner waits and workers get some; and while the owner uses next to nothing it is soon over."""
    made = ticks()
    was = False
    for owner, donated, waits, seconds in seen:
        decision = made.tick(
            seconds, owner=owner, donated=donated, idle=max(0.0, 4 - owner - donated), owner_waits=waits
        )
        if decision.quota is not None:
            assert 0 <= decision.quota <= 4 * (1 - FREE)
        if decision.quota is not None and not was:
            assert waits is not None and waits >= WAITS and donated >= WORKS * 4
        was = decision.quota is not None
    for _ in range(2):
        decision = made.tick(owner=0.0, donated=0.0, idle=4.0, owner_waits=0.0)
    assert decision.quota is None
