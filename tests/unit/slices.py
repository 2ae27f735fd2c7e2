"""Slices on fixture trees, and a user who may write only what root has handed over."""

import os
from pathlib import Path

import pytest
from unit.trees import Tree

import plancton.host.slice as slices
from plancton.files import write_knob
from plancton.host import cgroup_freezer, cgroup_kill, tier_reasons
from plancton.host.slice import Slice

WORKER = {"cgroup.freeze": "0", "cgroup.kill": "", "cpu.weight": "1"}


def group(**workers: Tree) -> Tree:
    """A slice's directory on pure v2, with the workers' below it."""
    knobs: Tree = {"cpu.idle": "0", "cpu.weight": "100", "cpu.max": "max 100000", "cgroup.freeze": "0"}
    return {**knobs, **workers}


def of_root(workers_slice: Slice) -> Slice:
    """As root, whoever runs the tests, and under the kernel's own scheduler."""
    workers_slice.privileged, workers_slice.sys = True, Path("/no such directory")
    return workers_slice


def read(path: Path) -> str:
    return path.read_text().strip()


def files(directory: Path) -> dict[str, str]:
    """The contents of a tree, to compare with later."""
    return {str(p.relative_to(directory)): p.read_text() for p in directory.rglob("*") if p.is_file()}


class User:
    """A user who may write only what was handed over. The tests' own user may write everything, so
    calls that would be refused are faked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handed = set[str]()
        self.written = list[str]()
        write = write_knob

        def refuse(path: Path, text: str) -> None:
            if not path.exists():
                raise FileNotFoundError(2, "No such file or directory", str(path))
            if str(path) not in self.handed:
                raise PermissionError(13, "Permission denied", str(path))
            self.written.append(path.name)
            write(path, text)

        for module in (slices, cgroup_freezer, cgroup_kill):
            monkeypatch.setattr(module, "write_knob", refuse)
        monkeypatch.setattr(os, "access", lambda path, mode: str(path) in self.handed)
        monkeypatch.setattr(os, "chown", lambda path, uid, gid: self.handed.add(str(path)))
        monkeypatch.setattr(tier_reasons, "user_name", lambda: "donor")

    def sees(self, workers_slice: Slice) -> Slice:
        workers_slice.privileged = False
        return workers_slice
