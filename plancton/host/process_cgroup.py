"""Which cgroup a process is in."""

import os
import re
from pathlib import Path

from plancton.files import NO_DESCRIPTOR


def group_of(proc: Path, pid: int) -> str | None:
    """A process's cgroup in the v2 tree, without the leading slash; None when it is gone, or
    outside of what this cgroup namespace shows (then the kernel writes a path with ..). Raises OSError
    if it is only that there is no descriptor: a worker must not look like one outside the slice."""
    try:
        text = os.fsdecode((proc / str(pid) / "cgroup").read_bytes())  # a name may hold a \r
    except OSError as error:
        if error.errno in NO_DESCRIPTOR:
            raise
        return None
    found = re.search(r"^0::/([^\0\n]*)$", text, re.MULTILINE)
    return found[1] if found and ".." not in found[1].split("/") else None
