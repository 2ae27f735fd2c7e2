"""Slices on pure v2 and on a hybrid host."""

from pathlib import Path

import pytest
from unit.slices import WORKER, User, group, of_root
from unit.trees import tree

from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice


@pytest.fixture
def v2(tmp_path: Path) -> Slice:
    """A slice on pure v2 with an idle class, not yet set up; workers a, b and c."""
    root = tree(tmp_path / "v2", {"cgroup.subtree_control": ""}, plancton=group(a=WORKER, b=WORKER, c=WORKER))
    return of_root(Slice(Layout(root), "plancton", "cgroupfs"))


@pytest.fixture
def hybrid(tmp_path: Path) -> Slice:
    """A slice on a hybrid host: CPU knobs in v1, freeze and kill in v2."""
    freezer = {"cgroup.freeze": "0", "cgroup.kill": ""}
    cpu = {"cpu.shares": "2", "cpu.cfs_quota_us": "100000"}
    root = tree(
        tmp_path,
        v2={"plancton": {"cgroup.freeze": "0", "a": freezer, "b": freezer}},
        cpu={"plancton": {"cpu.idle": "0", "cpu.shares": "1024", "a": cpu, "b": cpu}},
        memory={"plancton": {}},
    )
    layout = Layout(root / "v2", {"cpu": root / "cpu", "cpuacct": root / "cpu", "memory": root / "memory"})
    return of_root(Slice(layout, "plancton", "cgroupfs"))


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> User:
    return User(monkeypatch)
