"""The administrator's limits, as systemd's files write them."""

import os
from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.slice_bounds import Limits
from plancton.host.systemd_limits import read_limits

GB = 1024**3
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def limits(tmp_path: Path, text: str) -> Limits:
    units = tree(tmp_path, {"plancton.slice.d": {"mine.conf": f"[Slice]\n{text}\n"}})
    return read_limits("plancton.slice", (), (units,))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("MemoryMax=4G", Limits(memory=4 * GB)),
        ("MemoryMax=1.5G\nMemorySwapMax=0", Limits(memory=3 * GB // 2, swap=0)),
        ("MemoryMax = 25%", Limits(memory=MEMORY // 4)),
        ("CPUQuota=150%\nTasksMax=2K", Limits(cpus=1.5, tasks=2048)),
        ("MemoryMax=infinity\nTasksMax=infinity\nCPUQuota=", Limits()),
        ("MemoryMax=4G\nMemoryMax=", Limits()),
        ("MemoryMax=4G\nMemoryMax=much\nTasksMax=10%", Limits(memory=4 * GB)),
        ("#MemoryMax=4G\nMemoryHigh=1G\nCPUQuota", Limits()),
    ],
)
def test_words(tmp_path: Path, text: str, wanted: Limits) -> None:
    """Sizes, percentages and what lifts a limit; what systemd does not understand counts for
    nothing."""
    assert limits(tmp_path, text) == wanted
