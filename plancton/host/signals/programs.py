"""Which programs run, and what one says that is asked."""

import os
from collections.abc import Collection
from pathlib import Path

from plancton.files import read_knob
from plancton.host.process_cgroup import group_of
from plancton.host.system_tools import ProgramError, call

LONGEST_COMM = 15
"""Bytes of a process's name that the kernel keeps (TASK_COMM_LEN)."""
PATIENCE = 5.0
"""Seconds."""


def check_names(texts: tuple[str, ...]) -> None:
    """Whether these may be programs' names; raises ValueError."""
    if not texts:
        raise ValueError('takes programs\' names, such as running("steam", "zoom")')
    for text in texts:
        if not text or "/" in text or not text.isprintable() or len(text) > 64:
            raise ValueError(f"{text[:40]!r} is not a program's name: write what `ps -e` shows")


def find_running(proc: Path, names: Collection[str], slices: Collection[str]) -> list[str] | None:
    """Those of these names that a process has, which is in none of the ``slices`` (the workers'). All
    are looked at, however many: else a job could hide an owner's behind its own. None: none is seen,
    but others' processes can't be (hidepid, proc(5))."""
    wanted = {name.encode()[:LONGEST_COMM].decode(errors="replace").strip(): name for name in names}
    found = set[str]()
    for pid in filter(str.isdecimal, os.listdir(proc)):
        name = wanted.get(read_knob(f"{proc}/{pid}/comm") or "")
        if name and name not in found and not _is_in(group_of(proc, int(pid)), slices):
            found.add(name)
            if len(found) == len(wanted):
                break
    others_are_seen = read_knob(f"{proc}/1/comm") is not None
    return sorted(found) if found or others_are_seen else None


def _is_in(group: str | None, slices: Collection[str]) -> bool:
    return group is not None and group.partition("/")[0] in slices


def output_of(words: list[str]) -> str | None:
    """What this program prints; None if it is missing, fails or takes too long."""
    try:
        return call(words, seconds=PATIENCE)
    except ProgramError:
        return None
