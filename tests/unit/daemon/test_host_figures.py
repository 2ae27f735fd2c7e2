"""Figures of a host that come and go: unknown ticks, said once, and never an end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit import trees

from plancton.daemon import host_figures
from plancton.daemon.host_figures import QUIET, HostFigures
from plancton.host.sampler import Sampler
from plancton.model import Observation


class Host:
    """A /proc that a test rewrites, and what was said about it. Each tick takes a second."""

    def __init__(self, root: Path) -> None:
        self.proc, self.now = root / "proc", 0.0
        self.said: list[str] = []
        self.busy, self.idle = 1_000, 9_000
        trees.tree(root, proc=trees.proc())
        self.figures = HostFigures(self.proc, None, self.said.append, self.said.append)

    def tick(self, stat: str | None = None) -> Observation:
        self.pass_second(stat)
        return self.figures.look(0.0, self.now)

    def pass_second(self, stat: str | None = None) -> None:
        """Half a CPU of the owner's; ``stat``: what /proc/stat has instead."""
        self.now += 1.0
        self.busy, self.idle = self.busy + 50, self.idle + 150
        good = trees.stat((self.busy, 0, 0, self.idle, 0, 0, 0, 0))
        (self.proc / "stat").write_text(good if stat is None else stat)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    class Steady(Sampler):
        def clocks(self) -> tuple[float, float]:
            return it.now, it.now

    monkeypatch.setattr(host_figures, "Sampler", Steady)
    it = Host(tmp_path)
    yield it
    it.figures.close()


def test_one_bad_read(host: Host) -> None:
    """A tick without figures keeps the host's size and says why; the next good one has rates."""
    host.tick()
    assert host.tick().owner == pytest.approx(0.5)
    seen = host.tick("")
    assert (seen.owner, seen.idle, seen.interval) == (None, None, None), seen
    assert (seen.capacity, seen.memory_total) == (2.0, 8_000_000 * 1024), seen
    assert seen.memory_available == 6_000_000 * 1024, "/proc/meminfo was good"
    assert str(host.proc / "stat") in seen.unknown and "empty" in seen.unknown, seen
    assert seen.unknown in host.figures.problem
    assert host.tick().owner == pytest.approx(0.5)
    assert not host.figures.problem


def test_a_glance(host: Host) -> None:
    """A glance after which nothing has to be done is part of the next look's interval; the last one
    is not: its second is told apart."""
    host.tick()
    seen = list[Observation]()

    def glance(changes_nothing: bool) -> bool:
        def note(lately: Observation) -> bool:
            seen.append(lately)
            return changes_nothing

        host.pass_second()
        return host.figures.glance(0.0, note)

    assert glance(True) and glance(True)
    host.busy += 50
    assert not glance(False)
    assert [lately.owner for lately in seen] == pytest.approx([0.5, 0.5, 1.0])
    told = host.figures.look(0.0, host.now)
    assert (told.interval, told.owner) == pytest.approx((3.0, 2 / 3)), told
    assert told.lately and (told.lately.interval, told.lately.owner) == pytest.approx((1.0, 1.0)), told
    assert host.tick().lately is None, "there was none since"


def test_a_glance_at_a_bad_file(host: Host) -> None:
    """What can't be read is a matter for a tick, and so is the first second of another host's size."""
    host.tick()
    host.pass_second("")
    assert not host.figures.glance(0.0, lambda _: True)
    host.figures.count(frozenset({0}))
    host.pass_second()
    assert not host.figures.glance(0.0, lambda lately: lately.owner is not None)


def test_impossible_figures_keep_the_size(host: Host) -> None:
    """Figures that can't be true don't change how large the host is."""
    host.tick()
    host.tick()
    seen = host.tick(trees.stat((10**9, 0, 0, 10**15, 0, 0, 0, 0), cpus=50))
    assert seen.unknown and seen.capacity == 2.0, seen
    host.tick()
    assert host.tick().owner == pytest.approx(0.5)


def test_said_once(host: Host) -> None:
    """One line when figures become unknown, however long that is, and one when they are back."""
    host.tick()
    for _ in range(50):
        host.tick("cpu  1 2 3")
    assert len(host.said) == 1 and str(host.proc / "stat") in host.said[0], host.said
    host.tick()
    assert len(host.said) == 2 and "back" in host.said[1], host.said


def test_a_flapping_file_does_not_fill_the_log(host: Host) -> None:
    """Figures that come and go every second are said once a minute, each end with its beginning."""
    for second in range(300):
        host.tick("" if second % 2 else None)
    assert len(host.said) <= 2 * 300 / QUIET, host.said
    assert ["back" in line for line in host.said[:4]] == [False, True, False, True], host.said


def test_no_figures_from_the_start(host: Host) -> None:
    """A supervisor that was executed again just now goes on, too: it waits for the host's size."""
    (host.proc / "meminfo").write_text("")
    seen = host.tick()
    assert seen.owner is None and seen.memory_total == 0 and seen.capacity > 0, seen
    trees.tree(host.proc, {"meminfo": trees.meminfo()})
    host.tick()
    assert host.tick().owner == pytest.approx(0.5)
