"""When the slice is looked at again."""

from collections.abc import Collection
from pathlib import Path

from plancton.daemon.slice_keeper import LOOK_ALL_THE_SAME, SliceWatch
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice


class Settled(Slice):
    """A slice with nothing to put right, unless it is said that there is."""

    unfinished = False

    @property
    def settled(self) -> bool:
        return not self.unfinished


def a_slice(tmp_path: Path) -> Settled:
    return Settled(Layout(tmp_path), "plancton", "cgroupfs")


def test_it_is_looked_at_when_the_kernel_tells(tmp_path: Path) -> None:
    """First, when somebody has written to it, and from time to time."""
    watched = list[Collection[Path]]()

    def tells(files: Collection[Path]) -> bool:
        watched.append(files)
        return True

    watch, found = SliceWatch(tells), a_slice(tmp_path)
    assert watch.is_due(100.0, found)
    assert not watch.is_due(101.0, found)
    watch.changed()
    assert watch.is_due(102.0, found)
    assert not watch.is_due(102.0 + LOOK_ALL_THE_SAME - 1, found)
    assert watch.is_due(102.0 + LOOK_ALL_THE_SAME, found)
    assert len(watched) == 3 and all(found.cpu / "cpu.weight" in files for files in watched)


def test_it_is_looked_at_each_time(tmp_path: Path) -> None:
    """Where the kernel does not tell, and while something could not be put right."""
    found = a_slice(tmp_path)
    silent = SliceWatch(lambda _: False)
    assert silent.is_due(100.0, found) and silent.is_due(101.0, found)
    watch = SliceWatch(lambda _: True)
    assert watch.is_due(100.0, found) and not watch.is_due(101.0, found)
    found.unfinished = True
    assert watch.is_due(102.0, found) and watch.is_due(103.0, found)
