"""When it is found out how long the owner waits for CPU."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from unit.trees import tree

from plancton.daemon.contention_watch import LINGER, REST, ContentionWatch
from plancton.host import cpu_pressure
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.model import Observation


def text(seconds: float) -> dict[str, str]:
    return {"cpu.pressure": f"some avg10=0.00 avg60=0.00 avg300=0.00 total={seconds * 1e6:.0f}\n"}


class Host:
    """A host on which user.slice waits, and what the kernel was asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self.asked = path, list[Sequence[int]]()
        tree(path, **{"user.slice": text(0), "plancton": {"cpu.idle": "1"}})
        self.wait = ContentionWatch(self._ask)
        self.slice = Slice(Layout(path), "plancton", "cgroupfs")
        self.wait.find(self.slice, wanted=True)

    def _ask(self, descriptors: Sequence[int]) -> None:
        self.asked.append(descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    @property
    def asks(self) -> bool:
        """Whether the kernel is to wake the loop."""
        return bool(self.asked and self.asked[-1])

    def waited(self, seconds: float) -> None:
        tree(self.path, **{"user.slice": text(seconds)})

    def tick(
        self, now: float, donated: float = 1.0, capped: bool = False, owner: float = 1.0
    ) -> float | None:
        seen = self.wait.completed(Observation(now, now, 2.0, 1.0, owner=owner, donated=donated))
        self.wait.settle(seen, capped)
        return seen.owner_waits


def test_a_quiet_host(tmp_path: Path) -> None:
    """The kernel is asked once, and nothing is read."""
    host = Host(tmp_path)
    for now in range(0, 100, 5):
        assert host.tick(float(now)) is None
    assert host.asks and len(host.asked) == 1 and not host.wait.reads


def test_only_while_workers_get_some(tmp_path: Path) -> None:
    """Without workers that work, nobody needs to know."""
    host = Host(tmp_path)
    host.tick(0.0, donated=0.0)
    assert host.asked == []
    host.tick(5.0)
    assert host.asks
    host.tick(10.0, donated=0.02)
    assert not host.asks


def test_the_owner_waits(tmp_path: Path) -> None:
    """From then on it is read at each tick, until it is over; then the kernel is asked again, but
    not at once."""
    host = Host(tmp_path)
    host.tick(0.0)
    host.wait.woken(3.0)
    assert host.wait.reads and not host.asks
    host.waited(0.5)
    assert host.tick(4.0) == 0.5
    assert host.tick(5.0, capped=True) == 0.0
    assert host.tick(15.0, capped=True) is not None, "as long as the cap is in force"
    assert host.tick(15.0 + LINGER) == 0.0 and not host.wait.reads
    assert host.tick(16.0 + LINGER) is None and not host.asks
    host.tick(15.0 + LINGER + REST)
    assert host.asks


def test_a_group_comes(tmp_path: Path) -> None:
    """One that comes later is found, and the kernel is asked for it as well; nothing is looked for
    while their number is the same."""
    host = Host(tmp_path)
    host.tick(0.0)
    host.wait.find(host.slice, wanted=True, if_more=True)
    assert len(host.wait.files) == 1 and host.asks
    tree(tmp_path, **{"machine.slice": text(0)})
    host.wait.find(host.slice, wanted=True, if_more=True)
    assert len(host.wait.files) == 2 and not host.asks
    host.tick(5.0)
    assert host.asks and len(host.asked[-1]) == 2


def test_a_late_call(tmp_path: Path) -> None:
    """The kernel may have told before it was asked no more."""
    host = Host(tmp_path)
    host.wait.woken(3.0)
    assert not host.wait.reads


def test_nobody_wants_to_know(tmp_path: Path) -> None:
    """Without `yield.cap: auto` nothing is looked for; taken out of the configuration, the kernel is
    asked no more."""
    host = Host(tmp_path)
    host.tick(0.0)
    host.wait.find(host.slice, wanted=False)
    host.tick(5.0)
    assert not host.asks and host.wait.files == ()
    host.wait.find(None, wanted=True)
    assert host.wait.files == ()


def test_the_kernel_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it may not be asked, as without root, it is read while the owner is busy."""
    tries = list[object]()
    monkeypatch.setattr(cpu_pressure, "pressure_trigger", lambda *asked: tries.append(asked))
    host = Host(tmp_path)
    host.tick(0.0)
    host.tick(5.0)
    assert len(tries) == 1 and not host.asked, "it is not tried at each tick"
    host.waited(1.0)
    assert host.tick(10.0, owner=0.1) is None, "nothing is read of a quiet owner"
    host.waited(2.0)
    assert host.tick(15.0) == 0.2 and host.wait.reads
    host.waited(2.5)
    assert host.tick(16.0, capped=True) == 0.5
    assert host.tick(17.0 + LINGER) == 0.0 and not host.wait.reads
    assert host.tick(3600.0) is None, "of an hour it would mean nothing"
    assert host.tick(3605.0) == 0.0
    host.waited(6.0)
    assert host.tick(3610.0) == 0.7


def test_a_group_that_does_not_tell(tmp_path: Path) -> None:
    """A group that is gone is no reason to ask."""
    host = Host(tmp_path)
    (tmp_path / "user.slice/cpu.pressure").unlink()
    assert host.tick(0.0) is None and host.tick(5.0) is None
    assert not host.asked
