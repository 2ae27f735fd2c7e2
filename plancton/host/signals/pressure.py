"""How long the owner's processes wait for memory or disks (Documentation/accounting/psi.rst).

Each cgroup has a figure of its own. The whole host's would not do: workers wait as well, and that
is nothing to the owner.
"""

import os
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from plancton.files import read_knob

MOST = 64
"""Cgroups that are read."""


def owner_groups(tree: Path, slices: Collection[str]) -> list[Path]:
    """The cgroups at the top that are not the workers' (``slices``): user.slice, system.slice …"""
    names = list[str]()
    with suppress(OSError), os.scandir(tree) as entries:
        found = (entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
        names = sorted(name for name in found if name not in slices)
    return [tree / name for name in names[:MOST]]


def read_pressure(groups: Collection[Path], kind: str) -> float | None:
    """The percentage of the last ten seconds in which some process of the one that waits most had to
    wait; ``kind`` is memory, io or cpu. None where no cgroup tells."""
    texts = (read_knob(group / f"{kind}.pressure") or "" for group in groups)
    found = (re.search(r"^some avg10=([\d.]+)", text) for text in texts)
    return max((float(each[1]) for each in found if each), default=None)
