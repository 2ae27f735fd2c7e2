"""Which worker keeps others busy, by the packets of its network."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.trees import Tree, tree

from plancton.model import Observation, Worker
from plancton.workers.packets import BurdenWatch, Counters, parse_packets
from plancton.workers.roster import Entry

HEAD = "Inter-|   Receive  | Transmit\n face |bytes packets errs drop fifo frame compressed multicast|...\n"
QUIET, ASKS, SENDS = Entry(Worker("quiet")), Entry(Worker("asks")), Entry(Worker("sends"))


def dev(inside: int, outside: int) -> str:
    row = "{}: 60 {} 0 0 0 0 0 0 60 {} 0 0 0 0 0 0\n"
    return HEAD + row.format("    lo", inside, inside) + row.format("  eth0", 3, outside)


@pytest.fixture
def watch(tmp_path: Path) -> BurdenWatch:
    """Three workers: one is quiet, one asks 3000 questions a second and one sends 30,000."""
    for pid, entry in enumerate((QUIET, ASKS, SENDS), start=10):
        entry.pid, entry.group = pid, f"plancton/{entry.worker.name}"
    at(tmp_path, 0)
    return BurdenWatch(tmp_path)


def at(proc: Path, second: int) -> None:
    for entry, inside, outside in ((QUIET, 1, 90), (ASKS, 3_000, 1), (SENDS, 0, 30_000)):
        files: Tree = {
            "cgroup": f"0::/{entry.group}\n",
            "net": {"dev": dev(inside * second, outside * second)},
        }
        tree(proc, {str(entry.pid): files})


def seen(engine: float = 0.0, softirq: float = 0.0) -> Observation:
    return Observation(0.0, 0.0, 4.0, engine=engine, softirq=softirq)


@pytest.mark.parametrize(("engine", "softirq", "found"), [(1.0, 0.0, {"asks"}), (0.0, 1.0, {"sends"})])
def test_found(watch: BurdenWatch, tmp_path: Path, engine: float, softirq: float, found: set[str]) -> None:
    """Two passes tell who it is."""
    entries = QUIET, ASKS, SENDS
    assert not watch.look(100.0, seen(engine, softirq), entries) and not watch.for_long
    at(tmp_path, 5)
    assert set(watch.look(105.0, seen(engine, softirq), entries)) == found
    assert watch.busy == "" and watch.for_long


def test_not_found(watch: BurdenWatch, tmp_path: Path) -> None:
    """When it is none of the workers, that is said, until nobody is busy any more."""
    for now in (100.0, 105.0):
        assert not watch.look(now, seen(engine=1.0), [QUIET])
    assert watch.busy == "Docker uses 1.0 CPUs"
    assert not watch.look(110.0, seen(), [QUIET]) and watch.busy == ""
    for now in (115.0, 120.0):
        assert not watch.look(now, seen(softirq=1.0), [QUIET])
    assert watch.busy == "", "packets have a sender: it is none of the workers"


def test_nothing_is_read_without_suspicion(tmp_path: Path) -> None:
    """While nobody is busy no worker is looked at."""

    def entries() -> list[Entry]:
        raise AssertionError("somebody looks at the workers")

    class Entries:
        def __iter__(self) -> object:
            return iter(entries())

    assert not BurdenWatch(tmp_path).look(100.0, seen(0.1, 0.1), Entries())  # type: ignore[arg-type]


def test_a_pid_of_somebody_else(watch: BurdenWatch, tmp_path: Path) -> None:
    """A pid that is outside the worker's group now is not the worker's."""
    for second in (0, 5):
        at(tmp_path, second)
        tree(tmp_path, {str(SENDS.pid): {"cgroup": "0::/user.slice\n"}})
        assert not watch.look(100.0 + second, seen(softirq=1.0), [SENDS])


@given(st.text(max_size=400))
def test_any_text(text: str) -> None:
    """Anything that is not /proc/PID/net/dev is unknown or counts nothing below zero."""
    for whole in (text, HEAD + text, HEAD + "lo: " + text):
        found = parse_packets(whole)
        assert found is None or (found.inside >= 0 and found.outside >= 0)
    assert parse_packets(dev(7, 9)) == Counters(7, 12, 120)
    assert parse_packets(HEAD + "eth0: 1 2") is None and parse_packets("") == Counters(0, 0, 0)
