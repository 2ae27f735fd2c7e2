"""Rates from two samples, and what stays unknown."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from unit import trees

from plancton.host.sampler import Sampler
from plancton.model import Observation, Sample
from plancton.policy.observe import observe

TRIALS = Path(__file__).parents[2] / "proc"
BEFORE = Sample(
    monotonic=100.0, boottime=1_100.0, cpus=4, busy=1_000.0, idle=2_000.0, stolen=10.0,
    memory_total=16, memory_available=8, swap_total=2,
    slice=300.0, slice_anon=3, engine=50.0, engine_epoch=7,
)  # fmt: skip
AFTER = msgspec.structs.replace(
    BEFORE, monotonic=102.0, boottime=1_102.0, busy=1_006.0, idle=2_001.0, stolen=11.0, slice=303.0,
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


@pytest.mark.parametrize("field", ["busy", "slice"])
def test_backwards_counters_are_unknown(field: str) -> None:
    """If a counter went backwards, the owner's load is unknown."""
    back: dict[str, Any] = {field: 1.0}
    assert seen(**back).owner is None


@pytest.mark.parametrize(("field", "rate"), [("idle", "idle"), ("stolen", "stolen"), ("engine", "engine")])
def test_other_backwards_counters(field: str, rate: str) -> None:
    """Other counters that went backwards a little make only their own rate unknown."""
    back: dict[str, Any] = {field: getattr(BEFORE, field) - 0.02}
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


def test_slice_made_again() -> None:
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
    rates = (got.interval, got.owner, got.donated, got.engine, got.stolen, got.idle)
    assert rates == (None,) * 6, got
    assert got.capacity == 4.0 and got.slice_anon == 3, got


# -- physics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "after",
    [
        {"idle": 2.0**62},
        {"idle": 0.0},
        {"busy": 2_000.0},
        {"busy": 1_000.0, "idle": 2_000.0, "stolen": 10.0},
        {"busy": 1_000.0, "idle": 2_000.0, "cpus": 2},
        {"unreadable": "/sys/fs/cgroup/plancton/cpu.stat: is empty"},
    ],
)
def test_impossible_figures_are_unknown(after: dict[str, Any]) -> None:
    """What no host can have done is not believed: no rate, and a reason that names the file."""
    after = {"stolen": 10.0} | after
    got = seen(**after)
    rates = (got.owner, got.donated, got.engine, got.stolen, got.idle)
    assert rates == (None,) * 5, got
    assert got.unknown.startswith("/"), got


def test_after_an_impossible_jump() -> None:
    """Figures that jumped there and back give rates again at the second good sample."""
    jump = msgspec.structs.replace(AFTER, monotonic=103.0, idle=2.0**62)
    good = msgspec.structs.replace(AFTER, monotonic=104.0, busy=1_012.0, idle=2_002.0, slice=306.0)
    later = msgspec.structs.replace(good, monotonic=106.0, busy=1_018.0, idle=2_003.0, slice=309.0)
    assert observe(AFTER, jump).unknown
    assert observe(jump, good).unknown
    assert observe(good, later).owner == 1.5


@pytest.mark.parametrize(
    ("seconds", "busy", "idle"),
    [
        (0.02, 0.07, 0.01),  # shorter than a tick: what was counted is of before
        (0.02, 0.0, 0.0),
        (1.0, 6.5, 0.0),  # nohz_full: all of the second before as well
        (1.0, 0.2, 0.3),  # a machine without CPU, whose hypervisor does not say so
    ],
)
def test_what_good_hosts_do(seconds: float, busy: float, idle: float) -> None:
    """Figures that are a little late, or lost, are still figures."""
    got = observe(
        BEFORE,
        msgspec.structs.replace(BEFORE, monotonic=100.0 + seconds, busy=1_000.0 + busy, idle=2_000.0 + idle),
    )
    assert got.owner is not None and not got.unknown, got
    assert got.owner <= got.capacity, got


def test_cpus_come_and_go() -> None:
    """While CPUs come or go, the figures of either number are possible."""
    assert not seen(cpus=64).unknown
    assert not seen({"cpus": 64}).unknown


def test_bounds() -> None:
    """No rate is more than the host can give."""
    got = seen(stolen=2_010.0)
    assert got.stolen == 0.5, "the part of 4 CPUs that is neither busy nor idle"
    assert got.owner == 1.25, got
    assert seen(busy=1_012.0, stolen=2_010.0).stolen == 0.0
    assert seen(busy=1_014.0, slice=300.0).owner == 4.0
    assert seen(memory_available=99).memory_available == 16, "of 16 bytes in all"


def test_impossible_engine() -> None:
    """An engine that used more than all CPUs is unknown: its load counts as the owner's."""
    got = seen(engine=5_000.0)
    assert (got.engine, got.owner) == (None, 1.5), got
    assert seen(shims=1e9).owner == 1.5


def test_slice_that_can_be_read_again() -> None:
    """After a slice that could not be read, what it has used is not taken for this tick's."""
    got = seen({"slice": None, "unreadable": "cpu.stat: is empty"}, slice=1.0)
    assert got.donated is None and got.unknown, got


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_steal_of_real_hosts(tmp_path: Path, seconds: float) -> None:
    """Steal that grows by hundreds of CPUs is no reason to believe in it (telegraf issue 3885)."""
    samples = list[Sample]()
    for name in ("steal-before", "steal-after", "steal-before", "steal-after"):
        (tmp_path / "stat").write_text((TRIALS / f"stat-{name}").read_text())
        (tmp_path / "meminfo").write_text(trees.meminfo())
        taken = Sampler(tmp_path).sample()
        samples.append(msgspec.structs.replace(taken, monotonic=100.0 + seconds * len(samples)))
    for before, after in pairwise(samples):
        got = observe(before, after)
        assert got.unknown or (got.stolen is not None and got.stolen < 0.1), got
        assert got.owner is None or got.owner < 0.1, got


def test_idle_of_real_hosts(tmp_path: Path) -> None:
    """An idle time that jumps to 10**18 (lxcfs issue 311) is unknown, and so is the way back."""
    samples = list[Sample]()
    jump = (TRIALS / "stat-idle").read_text()
    texts = ["cpu  13337400 0 0 41585659 0 0 0 0 0 0\ncpu0 1 1 \ncpu1 1 1 \nintr 1\n", jump]
    for text in (*texts, texts[0]):
        (tmp_path / "stat").write_text(text)
        (tmp_path / "meminfo").write_text(trees.meminfo())
        taken = Sampler(tmp_path).sample()
        samples.append(msgspec.structs.replace(taken, monotonic=100.0 + len(samples)))
    for before, after in pairwise(samples):
        got = observe(before, after)
        assert got.unknown and got.owner is None, got
