"""Cgroups of what is measured: what they have used, and putting them to sleep."""

import time
from collections.abc import Iterable
from pathlib import Path


def freeze(group: Path, frozen: bool) -> None:
    """Put everything in it to sleep, or wake it; returns when that is so."""
    (group / "cgroup.freeze").write_text(str(int(frozen)))
    deadline = time.monotonic() + 5
    while f"frozen {int(frozen)}" not in (group / "cgroup.events").read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{group} is not {'frozen' if frozen else 'thawed'}")
        time.sleep(0.002)


def cpu_used(groups: Iterable[Path]) -> float:
    """Seconds of CPU, those of processes that have ended included."""
    return sum(int((group / "cpu.stat").read_text().split()[1]) for group in groups) / 1e6
