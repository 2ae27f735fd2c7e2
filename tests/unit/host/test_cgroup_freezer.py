"""All workers frozen at once, for the owner or the disk."""

import shutil

import pytest
from unit.slices import of_root, read

from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.host.slice_inspection import look_at


@pytest.mark.parametrize("which", ["v2", "hybrid"])
def test_frozen_for_the_owner(which: str, request: pytest.FixtureRequest) -> None:
    """While all are frozen, a repair freezes them again when somebody has thawed them or made the
    slice again; once they are thawed it does not, nor does the next supervisor."""
    it: Slice = request.getfixturevalue(which)
    it.set_up()
    freezer = it.directory / "cgroup.freeze"
    assert it.freezer.can_freeze and not it.freezer.is_frozen and freezer not in it.files()
    assert it.freezer.freeze() and it.freezer.is_frozen and freezer in it.files() and it.settled
    assert it.repair() is None
    freezer.write_text("0")
    assert "frozen again" in (it.repair() or "") and read(freezer) == "1"
    freezer.write_text("0")
    (it.cpu / "cpu.idle").write_text("0")
    it.repair()
    it.repair()
    assert read(freezer) == "1" and it.tier == "kernel"
    assert it.freezer.thaw() and not it.freezer.is_frozen and it.repair() is None and read(freezer) == "0"
    it.freezer.freeze()
    again = of_root(Slice(Layout(it.tree, {"cpu": it.cpu.parent} if it.v1 else {}), "plancton", "cgroupfs"))
    again.set_up()
    assert read(freezer) == "0" and not again.freezer.is_frozen


def test_what_can_not_be_frozen(v2: Slice) -> None:
    """Before Linux 5.2, or where the file is not ours; a slice that is not there yet will tell."""
    v2.set_up()
    (v2.directory / "cgroup.freeze").unlink()
    (v2.directory / "cgroup.freeze").mkdir()  # as root may write any file
    assert not v2.freezer.freeze() and not v2.freezer.is_frozen
    (v2.directory / "cgroup.freeze").rmdir()
    assert not v2.freezer.can_freeze
    shutil.rmtree(v2.directory)
    assert v2.freezer.can_freeze


def test_freeze_that_a_selftest_left(v2: Slice) -> None:
    """A slice that is frozen as a whole is thawed when it is set up."""
    (v2.directory / "cgroup.freeze").write_text("1")
    v2.set_up()
    assert read(v2.directory / "cgroup.freeze") == "0"


def test_freezing_all(v2: Slice) -> None:
    """One write freezes all workers and one thaws them; those that a lift has frozen stay so. What
    a supervisor that was killed left frozen is seen, and thawed by the next one."""
    v2.set_up()
    v2.lift(["plancton/a"], ["plancton/b"])
    assert v2.freezer.freeze() and read(v2.directory / "cgroup.freeze") == "1" and look_at(v2).frozen == 3
    assert v2.freezer.thaw() and read(v2.directory / "cgroup.freeze") == "0" and look_at(v2).frozen == 1
    v2.freezer.freeze()
    again = of_root(Slice(Layout(v2.tree), "plancton", "cgroupfs"))
    again.set_up()
    assert look_at(again).frozen == 0
    shutil.rmtree(v2.directory)
    assert not v2.freezer.freeze()
