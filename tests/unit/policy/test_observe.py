"""Rates from two samples, and what stays unknown."""

from typing import Any

import msgspec
import pytest

from plancton.model import Observation, Sample
from plancton.policy.observe import observe

BEFORE = Sample(
    monotonic=100.0, boottime=1_100.0, cpus=4, busy=1_000.0, idle=2_000.0, stolen=10.0,
    memory_total=16, memory_available=8, swap_total=2, cpu_pressure=5.0, memory_pressure=1.0,
    slice=300.0, slice_anon=3, slice_cpu_pressure=4.0, slice_memory_pressure=0.5, engine=50.0, engine_epoch=7,
)  # fmt: skip
AFTER = msgspec.structs.replace(
    BEFORE, monotonic=102.0, boottime=1_102.0, busy=1_006.0, idle=2_001.0, stolen=11.0,
    cpu_pressure=6.0, memory_pressure=1.5, slice=303.0, slice_cpu_pressure=4.5, slice_memory_pressure=0.75,
    engine=50.5,
)  # fmt: skip


def seen(before: dict[str, Any] | None = None, shims: float = 0.0, **after: Any) -> Observation:
    """The rates of two seconds, with some fields changed."""
    return observe(
        msgspec.structs.replace(BEFORE, **(before or {})), msgspec.structs.replace(AFTER, **after), shims
    )


def test_rates() -> None:
    """CPUs are seconds per second; the owner's are all except the workers' and the engine's."""
    got = seen()
    assert got.interval == 2.0 and got.time == 102.0 and got.boottime == 1_102.0, got
    assert (got.donated, got.engine, got.stolen, got.idle) == (1.5, 0.25, 0.5, 0.5), got
    assert got.owner == 3.0 - 1.5 - 0.25, got
    assert (got.capacity, got.memory_total, got.memory_available, got.slice_anon) == (4.0, 16, 8, 3), got
    assert got.swap_total == 2, got


def test_pressure_is_without_the_workers() -> None:
    """Stalls of our own workers do not count as pressure."""
    got = seen()
    assert (got.cpu_pressure, got.memory_pressure) == (0.25, 0.125), got
    assert seen(slice_cpu_pressure=99.0).cpu_pressure == 0.0
    assert seen(cpu_pressure=99.0).cpu_pressure == 1.0
    assert seen(slice_cpu_pressure=None).cpu_pressure == 0.5, "no slice, nobody to subtract"
    assert seen(cpu_pressure=None).cpu_pressure is None
    assert seen(memory_pressure=0.9).memory_pressure is None, "it went backwards"


@pytest.mark.parametrize("field", ["busy", "slice"])
def test_backwards_counters_are_unknown(field: str) -> None:
    """If a counter went backwards, the owner's load is unknown."""
    back: dict[str, Any] = {field: 1.0}
    assert seen(**back).owner is None


@pytest.mark.parametrize(("field", "rate"), [("idle", "idle"), ("stolen", "stolen"), ("engine", "engine")])
def test_other_backwards_counters(field: str, rate: str) -> None:
    """Other backwards counters make only their own rate unknown."""
    back: dict[str, Any] = {field: 1.0}
    got = seen(**back)
    assert getattr(got, rate) is None and got.owner is not None, got


def test_no_slice() -> None:
    """Without a slice nothing is donated: everything but the engine's load is the owner's."""
    got = seen({"slice": None}, slice=None)
    assert got.donated == 0.0 and got.owner == 3.0 - 0.25, got


def test_slice_gone() -> None:
    """A slice that is gone uses nothing."""
    assert seen(slice=None).donated == 0.0


def test_new_slice() -> None:
    """A new slice has used its CPU time since the last sample."""
    assert seen({"slice": None}, slice=4.0).donated == 2.0


def test_slice_made_anew() -> None:
    """A slice that counts from 0 again gives one tick without figures, not wrong ones."""
    got = seen(slice=0.5)
    assert got.donated is None and got.owner is None, got
    assert observe(msgspec.structs.replace(AFTER, slice=0.5), msgspec.structs.replace(
        AFTER, monotonic=103.0, busy=1_008.0, slice=1.5)).donated == 1.0  # fmt: skip


def test_slice_unseen_until_now() -> None:
    """A rate above what all CPUs can do is unknown."""
    got = seen({"slice": None}, slice=5_000.0)
    assert got.donated is None and got.owner is None, got


def test_engine_epoch() -> None:
    """Different sets of engine processes can't be compared: the engine's part is unknown for a
    tick."""
    got = seen(engine_epoch=8)
    assert got.engine is None and got.owner == 1.5, got


def test_shims() -> None:
    """The shims, read now and then, belong to the engine, too."""
    got = seen(shims=0.5)
    assert got.engine == 0.75 and got.owner == 0.75, got
    assert seen(shims=0.5, engine=None).engine == 0.5
    assert seen(engine=None).engine is None


def test_owner_is_never_negative() -> None:
    """Counters are not read at exactly the same moment: the owner's load never becomes negative."""
    assert seen(slice=306.0, shims=1.0).owner == 0.0


@pytest.mark.parametrize("seconds", [100.0, 99.0])
def test_no_interval(seconds: float) -> None:
    """Two samples of one moment, or in the wrong order, give no rates; other figures are still
    there."""
    got = seen(monotonic=seconds)
    assert got.interval is None and got.owner is None and got.idle is None, got
    assert got.memory_available == 8 and got.time == seconds, got


def test_first_sample() -> None:
    """One sample alone gives no rates."""
    got = observe(None, BEFORE)
    rates = (got.interval, got.owner, got.donated, got.engine, got.stolen, got.idle, got.cpu_pressure)
    assert rates == (None,) * 7, got
    assert got.capacity == 4.0 and got.slice_anon == 3, got
