"""Realtime processes that keep the kernel from giving groups the cpu controller."""

import os
from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.realtime import Realtime, realtime_outside_root
from plancton.host.tier_reasons import no_cpu_controller


def process(name: str, group: str, *threads: int) -> Tree:
    tasks = {str(thread): {"comm": name} for thread in threads}
    return {"comm": f"{name}\n", "cgroup": f"0::/{group}\n", "task": tasks}


def test_realtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that is outside the root group, by any of its threads, is named."""
    policies = {
        1: os.SCHED_OTHER,
        2: os.SCHED_FIFO,
        3: os.SCHED_OTHER,
        4: os.SCHED_RR | os.SCHED_RESET_ON_FORK,
    }

    def policy_of(thread: int) -> int:
        if thread not in policies:
            raise ProcessLookupError
        return policies[thread]

    monkeypatch.setattr(os, "sched_getscheduler", policy_of)
    proc = tree(tmp_path, {"1": process("init", "init.scope", 1), "2": process("migration", "", 2)})
    assert realtime_outside_root(proc) is None
    tree(proc, {"3": process("audio", "user.slice/audio", 3, 4), "9": process("gone", "x", 9)})
    assert realtime_outside_root(proc) == Realtime(3, "audio", "user.slice/audio")


def test_remedy(tmp_path: Path) -> None:
    """Without any, the controller can be enabled by hand."""
    assert "echo +cpu" in no_cpu_controller(Path("/cg"), tmp_path)
