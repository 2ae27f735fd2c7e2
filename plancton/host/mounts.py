"""What is mounted where, from the text of /proc/self/mountinfo (proc_pid_mountinfo(5)), and which
kinds of file systems are local."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LOCAL = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "xfs", "zfs"})
"""Kinds of file systems on disks of this host. Others are no disk, or a network's: to look at those
may take forever."""


class Mount(NamedTuple):
    """One mount: its number and its parent's, where it is, which kind of file system, and that
    one's options."""

    number: str
    parent: str
    point: Path
    kind: str
    options: str


def parse_mounts(mountinfo: str) -> list[Mount]:
    """All of them; a line that is none is passed over. In a name the kernel escapes spaces and the
    like (mangle in fs/proc_namespace.c), but no other character that Python takes for one, and a
    source may be empty."""
    found = []
    for line in mountinfo.split("\n"):
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) >= 5 and len(kind) >= 3:
            point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4]))
            found.append(Mount(fields[0], fields[1], point, kind[0], kind[2]))
    return found


def reachable(mounts: list[Mount]) -> Iterator[Mount]:
    """Those that a path leads to: others are hidden by a later mount, there or above."""
    numbers = {mount.number for mount in mounts}
    on = {(m.parent if m.parent in numbers else "", m.point): m for m in mounts}  # the later one counts
    for mount in mounts:
        way = list[Mount]()
        for directory in (*reversed(mount.point.parents), mount.point):
            while (top := on.get((way[-1].number if way else "", directory))) and top not in way:
                way.append(top)
        if way and way[-1] is mount:
            yield mount


def kind_of(kinds: dict[Path, str], path: Path) -> str:
    """Of the file system that a path is on. ``kinds``: those of the mounts."""
    return next((kinds[each] for each in (path, *path.parents) if each in kinds), "")
