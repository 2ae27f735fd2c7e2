"""What the selftest takes from the kernel's figures."""

from pathlib import Path

import msgspec
import pytest
from unit.trees import tree

from plancton.commands.selftest import run
from plancton.commands.selftest.run import SelftestError, used
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.model import Sample

BEFORE = Sample(100.0, 100.0, cpus=4, busy=50.0, idle=350.0, stolen=0.0, memory_total=1, slice=10.0)
AFTER = msgspec.structs.replace(BEFORE, monotonic=101.0, busy=53.0, idle=351.0, slice=12.5)


def test_inside_the_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused in the slice only, whatever the names of other groups hold."""
    monkeypatch.setattr(run, "PROC", tmp_path)
    workers_slice = Slice(Layout(tmp_path), "plancton", "cgroupfs")
    tree(tmp_path, self={"cgroup": "1:name=systemd:/a\rb\n0::/user.slice/a\rx:0:/plancton/b\n"})
    run.refuse_inside(workers_slice)
    tree(tmp_path, self={"cgroup": "1:name=systemd:/a\n0::/plancton/b\n"})
    with pytest.raises(SelftestError, match="inside /plancton itself"):
        run.refuse_inside(workers_slice)


def test_used() -> None:
    """Between two samples, workers used what the slice says, and what was idle is nobody's."""
    assert used(BEFORE, AFTER) == (2.5, 1.0)


@pytest.mark.parametrize(
    ("odd", "word"),
    [
        ({"busy": 49.0}, "become less"),
        ({"idle": 2.0**62}, "add up to"),
        ({"idle": 349.0}, "become less"),
        ({"slice": 9.0}, "become less"),
        ({"slice": 2.0**62}, "can't be true"),
        ({"unreadable": "cpu.stat: no figures"}, "cpu.stat"),
        ({"monotonic": 100.0}, "unknown"),
    ],
)
def test_figures_that_no_host_has(odd: dict[str, object], word: str) -> None:
    """The selftest judges by no figure that the supervisor would not believe: it says so, and ends."""
    with pytest.raises(SelftestError, match=word) as raised:
        used(BEFORE, msgspec.structs.replace(AFTER, **odd))
    assert "again" in str(raised.value) and "\n" not in str(raised.value)
