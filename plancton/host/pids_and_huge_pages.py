"""What the kernel has once for the whole host, and a slice's part of it: process ids and huge pages.

See Documentation/admin-guide/cgroup-v2.rst ("PID", "HugeTLB") and cgroup-v1/{pids,hugetlb}.rst.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from plancton.files import read_number, write_knob
from plancton.host.slice_bounds import Knob

PROC = Path("/proc")
HUGE_PAGES = re.compile(r"hugetlb\.[^.]+\.(rsvd\.)?(max|limit_in_bytes)")


def most_pids(proc: Path = PROC) -> int | None:
    """Half of the processes and threads that this kernel can have: so many all workers together may
    have. None: it does not say."""
    found = [read_number(proc / "sys/kernel" / name) for name in ("pid_max", "threads-max")]
    numbers = [number for number in found if number is not None]
    return max(1, min(numbers) // 2) if numbers else None


def pids_knob(group: Path, most: int | None) -> Iterator[Knob]:
    """For the group's directory in the tree with the pids controller. A stricter bound stays."""
    file = group / "pids.max"
    found = read_number(file)
    if most is not None and (found is None or found > most):
        yield Knob(file, str(most), f"TasksMax={most}")


def deny_huge_pages(group: Path) -> None:
    """They are the owner's, who has set them aside: a job that asks for one gets ordinary pages, or
    ENOMEM."""
    with contextlib.suppress(OSError):
        for file in group.iterdir():
            if HUGE_PAGES.fullmatch(file.name):
                with contextlib.suppress(OSError):
                    write_knob(file, "0")
