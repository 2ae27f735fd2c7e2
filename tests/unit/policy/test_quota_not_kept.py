"""A limit of the workers' CPU that is not kept."""

from typing import Any

import pytest
from unit.policy.ticks import Ticks, of, why, workers

from plancton.model import HeldReason, Leave, Settings, Start
from plancton.policy.quota_not_kept import LASTS, RETRY

ALONE = Settings(grace_kill=3_600.0, uses_quota=True, quota_alone=True)
KEPT = {"owner": 3.7, "donated": 0.3, "idle": 0.0}
IGNORED = {"owner": 2.0, "donated": 2.0, "idle": 0.0}
"""The owner wants all four CPUs, and the workers may use next to nothing."""


def limited(settings: Settings = ALONE) -> Ticks:
    """On a busy host, with the limit down."""
    ticks = Ticks(settings, workers(4))
    ticks.run(30, **KEPT)
    assert ticks.tick(**KEPT).quota == 0.0
    return ticks


def test_it_is_kept() -> None:
    """A limit that is kept, with what leavers and rounding take, ends nobody."""
    assert not of(Leave, limited().run(600, **KEPT))


def test_it_is_not() -> None:
    """After ten seconds above it all leave, with the figures, and nothing is started; after half an
    hour it is tried again."""
    ticks = limited()
    told = of(Leave, ticks.run(int(LASTS) + 1, **IGNORED))
    assert len({action.name for _, action in told}) == 4 and "limit of 0.0" in told[0][1].reason
    ticks.there.clear()
    quiet: dict[str, Any] = {"owner": 0.1, "donated": 0.0, "idle": 3.9}
    begin = ticks.now
    assert why(ticks.tick(**quiet)) is HeldReason.UNPROTECTED
    started, _ = ticks.until(Start, **quiet)
    assert started - begin == pytest.approx(RETRY, abs=2 * LASTS)


@pytest.mark.parametrize("how", ["short", "unknown", "docker", "a slice yields", "not limited"])
def test_it_may_be_kept(how: str) -> None:
    """Neither a moment above it nor a Docker that does not answer says that it is not; and where a
    slice yields it is not what protects the owner."""
    settings = Settings(grace_kill=3_600.0, uses_quota=how != "not limited", quota_alone=how == "not limited")
    if how in ("short", "unknown", "docker"):
        settings = ALONE
    ticks = Ticks(settings, workers(4))
    ticks.run(30, **KEPT)
    for _ in range(20):
        if how == "short":
            told = ticks.run(int(LASTS) - 1, **IGNORED) + ticks.run(1, **KEPT)
        elif how == "unknown":
            told = ticks.run(10, **(IGNORED | {"donated": None}))
        else:
            told = ticks.run(10, docker=how != "docker", **IGNORED)
        assert not of(Leave, told)
