"""The selftest's load and probe, on this host: what they count, and what they refuse."""

import time
from pathlib import Path

import pytest

from plancton.commands.selftest._owner_load import ffi, lib
from plancton.commands.selftest.owner_load import NANO, spin, wake_ups

EINVAL = -22


def test_spin_counts() -> None:
    """Each thread works; its CPU time only grows, and never exceeds the time that passed."""
    began = time.process_time()
    got = spin(threads=2, step=0.002, steps=50)
    used = time.process_time() - began
    assert (got.threads, got.step, len(got.cpu)) == (2, 0.002, 50)
    assert got.work > 0
    assert got.wall == pytest.approx(0.2)
    assert list(got.cpu) == sorted(got.cpu)
    assert 0 < got.cpu[-1] <= used
    assert got.waited is not None and got.waited >= 0


def test_spin_starts_together() -> None:
    """The load waits for its start: it has no CPU time before."""
    cpu, work = ffi.new("uint64_t[]", 10), ffi.new("uint64_t *")
    start = time.monotonic_ns() + NANO // 10
    assert lib.plancton_spin(start, 1_000_000, cpu, 10, work) == 0
    assert time.monotonic_ns() >= start + 10_000_000
    assert 0 < cpu[9] <= time.monotonic_ns() - start
    assert work[0] > 0


def test_spin_that_is_late() -> None:
    """A thread that starts too late has no CPU time in the steps it missed."""
    cpu, work = ffi.new("uint64_t[]", 100), ffi.new("uint64_t *")
    assert lib.plancton_spin(time.monotonic_ns() - NANO // 2, 10_000_000, cpu, 100, work) == 0
    assert cpu[0] == cpu[48], "all that it had by then is its first piece of work"
    assert cpu[99] > cpu[0]


def test_unknown_waiting(tmp_path: Path) -> None:
    """If the kernel does not count how long threads wait, that is unknown."""
    assert spin(threads=1, step=0.001, steps=2, proc=tmp_path).waited is None


def test_wake_ups() -> None:
    """Each sleep is measured, none ends early, and they follow the clock."""
    began = time.monotonic()
    late = wake_ups(step=0.002, count=20)
    assert len(late) == 20
    assert all(0 <= each < time.monotonic() - began for each in late)
    assert time.monotonic() - began >= 0.04


def test_timer_slack_is_put_back() -> None:
    """The thread's timer slack is the same afterwards as before."""
    with open("/proc/self/timerslack_ns") as file:
        before = file.read()
        wake_ups(step=0.001, count=1)
        file.seek(0)
        assert file.read() == before


@pytest.mark.parametrize(
    ("ahead", "step", "count"),
    [
        (0, 0, 10),
        (0, 1_000_000, 0),
        (0, 2**64 - 1, 2),
        (0, 2**63, 2),
        (0, NANO, 3601),
        (7200 * NANO, 1_000_000, 1),
    ],
    ids=["no step", "no steps", "longest step", "overflow", "too long", "too far ahead"],
)
def test_arguments(ahead: int, step: int, count: int) -> None:
    """Impossible arguments are refused, and nothing is written."""
    numbers, work = ffi.new("uint64_t[]", 1), ffi.new("uint64_t *")
    start = time.monotonic_ns() + ahead
    assert lib.plancton_spin(start, step, numbers, count, work) == EINVAL
    assert lib.plancton_wake(start, step, numbers, count) == EINVAL
    assert (numbers[0], work[0]) == (0, 0)


def test_refusal_in_words() -> None:
    """Python reports it as a programming error."""
    with pytest.raises(ValueError, match="Invalid argument"):
        wake_ups(step=0.0, count=1)
