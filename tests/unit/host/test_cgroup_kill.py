"""Workers that are ended without Docker."""

from pathlib import Path

import pytest
from unit.slices import User, of_root, read
from unit.trees import Tree, tree

from plancton.host.cgroup_kill import kill_all, kill_worker
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice

ID = "0123456789abcdef" * 4


@pytest.fixture
def killable(tmp_path: Path) -> Slice:
    own: Tree = {ID: {"cgroup.kill": ""}, f"docker-{ID}.scope": {"cgroup.kill": ""}, "cgroup.kill": ""}
    other: Tree = {ID: {"cgroup.kill": ""}, "cgroup.kill": ""}
    root = tree(tmp_path, {"cgroup.kill": "", "plancton": own, "owner": other, "plancton2": other})
    return of_root(Slice(Layout(root), "plancton", "cgroupfs"))


def killed(workers_slice: Slice) -> list[str]:
    return [
        str(p.parent.relative_to(workers_slice.tree))
        for p in workers_slice.tree.rglob("cgroup.kill")
        if read(p) == "1"
    ]


@pytest.mark.parametrize("name", [ID, f"docker-{ID}.scope"])
def test_kill(killable: Slice, name: str) -> None:
    """A worker below the slice whose directory contains its id is killed, and no other."""
    assert kill_worker(killable, f"plancton/{name}", ID)
    assert killed(killable) == [f"plancton/{name}"]


@pytest.mark.parametrize(
    ("group", "container"),
    [
        ("", ID),
        ("plancton", ID),
        (f"owner/{ID}", ID),
        (f"plancton2/{ID}", ID),
        (ID, ID),
        (f"plancton/../owner/{ID}", ID),
        (f"/plancton/{ID}", ID),
        (f"plancton/{ID}/..", ID),
        (f"plancton/{ID}", ""),
        (f"plancton/{ID}", "f" * 64),
        ("plancton/", ""),
        (f"plancton/gone-{ID}", ID),
    ],
)
def test_no_kill(killable: Slice, group: str, container: str) -> None:
    """Outside the slice, through .., for another id or none, nothing is killed."""
    assert not kill_worker(killable, group, container)
    assert killed(killable) == []


def test_kill_without_root(killable: Slice, user: User) -> None:
    """All workers can be killed through the slice's file, provided nothing else is in it."""
    killable.hand_over(7)
    user.sees(killable)
    assert not kill_all(killable, {"f" * 64}) and killed(killable) == []
    assert not kill_worker(killable, f"plancton/gone-{ID}", ID), "it is gone: nobody was ended"
    assert killed(killable) == []
    assert kill_worker(killable, f"plancton/{ID}", ID), "who is alone there can be ended alone"
    assert killed(killable) == ["plancton"]
