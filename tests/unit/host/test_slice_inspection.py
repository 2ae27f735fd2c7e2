"""A slice as it is found."""

from pathlib import Path

from unit.slices import files
from unit.trees import tree

from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.host.slice_inspection import Seen, look_at


def test_look_at_a_slice_that_yields(v2: Slice) -> None:
    """A slice that was set up is seen in its tier, without writing anything."""
    v2.set_up()
    before = files(v2.tree)
    found = look_at(v2)
    assert found == Seen("plancton", exists=True, writable=True, tier="kernel", knob="cpu.idle is 1")
    assert files(v2.tree) == before


def test_look_at_a_lift(v2: Slice) -> None:
    """A lift is seen: the slice does not yield, is bounded, and workers are frozen."""
    v2.set_up()
    v2.lift(["plancton/a"], ["plancton/b", "plancton/c"])
    found = look_at(v2)
    assert (found.tier, found.knob, found.lifted, found.frozen) == (
        "none",
        "cpu.idle is 0 and cpu.weight is 100",
        True,
        2,
    )


def test_look_at_each_tier(v2: Slice, hybrid: Slice) -> None:
    """The kernel's files tell the tier, whoever set it up; on hybrid hosts they are v1's."""
    for workers_slice, weight, normal, least in (
        (v2, "cpu.weight", "100", "1"),
        (hybrid, "cpu.shares", "1024", "2"),
    ):
        found = look_at(workers_slice)
        assert (found.tier, found.knob) == ("none", f"cpu.idle is 0 and {weight} is {normal}")
        (workers_slice.cpu / weight).write_text(f"{least}\n")
        assert (look_at(workers_slice).tier, look_at(workers_slice).knob) == (
            "weight",
            f"{weight} is {least}",
        )
        (workers_slice.cpu / "cpu.idle").write_text("1\n")
        found = look_at(workers_slice)
        assert (found.tier, found.knob) == ("kernel", "cpu.idle is 1")
        (workers_slice.cpu / "cpu.idle").unlink()
        assert look_at(workers_slice).tier == "weight", "an old kernel has no idle class"
    tree(hybrid.directory, {"cgroup.events": "populated 1\nfrozen 0\n"})
    assert look_at(hybrid).populated


def test_look_where_there_is_none(tmp_path: Path) -> None:
    """Looking does not create a missing slice."""
    root = tree(tmp_path, v2={}) / "v2"
    assert look_at(Slice(Layout(root), "plancton", "cgroupfs")) == Seen("plancton", False, True)
    assert list(root.iterdir()) == []
