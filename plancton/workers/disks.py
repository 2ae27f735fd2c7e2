"""The file systems that workers write to, and how much of them is free: blocks and inodes."""

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from plancton.config.schema import Config
from plancton.docker.replies import Info
from plancton.files import read_knob
from plancton.host.mounts import LOCAL, kind_of, parse_mounts, reachable
from plancton.units import Portion

PROC = Path("/proc")
CONTAINERD_ROOT, CONTAINERD_SOCKET = "/var/lib/containerd", "/run/containerd/containerd.sock"
"""Of the containerd that is not dockerd's own; dockerd's own one has its data in Docker's."""
SELDOM, OFTEN = 15.0, 0.2
"""Seconds between two looks at the disks, at most and at least."""
FASTEST = 2 << 30
"""Bytes per second that a host's disk may take; counted in parts of the disk, inodes as well."""


class Disk(msgspec.Struct, frozen=True):
    """One file system, by a directory on it: bytes, and which part of its inodes is free (None: it
    does not count them)."""

    path: str
    free: int
    total: int
    inodes: float | None = None

    def margin(self, reserve: Portion) -> float:
        """Which part of it is free beyond the reserve; below 0 it is short."""
        if not self.total:
            return 0.0
        free = min(self.free / self.total, 1.0 if self.inodes is None else self.inodes)
        return free - reserve.of(self.total) / self.total


class Disks(msgspec.Struct, frozen=True):
    """``least`` is the one with the least beyond the reserve; ``unseen`` are the directories that
    can't be looked at from here."""

    least: Disk | None = None
    unseen: tuple[str, ...] = ()


def written_by_workers(info: Info, config: Config, proc: Path = PROC) -> tuple[str, ...]:
    """Directories of Docker's, and those that are mounted writable."""
    paths = [info.docker_root_dir or "/"]
    if info.has_containerd_store and info.containerd.address in ("", CONTAINERD_SOCKET):
        paths.append(CONTAINERD_ROOT)
    mounts = parse_mounts(read_knob(proc / "self/mountinfo") or "")
    kinds = {mount.point: mount.kind for mount in reachable(mounts)}
    for mount in config.worker.mounts:
        source, _, options = [*mount.split(":"), ""][:3]
        if "rw" in options.split(",") and kind_of(kinds, Path(source)) in LOCAL:
            paths.append(source)
    return tuple(dict.fromkeys(paths))


def read_disk(path: str) -> Disk | None:
    """None where it can't be seen from here: hidden by a sandbox, or below a directory that this
    user may not enter."""
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    inodes = found.f_favail / found.f_files if found.f_files else None
    return Disk(path, found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, inodes)


def read_disks(paths: Iterable[str], reserve: Portion) -> Disks:
    disks = {path: read_disk(path) for path in paths}
    seen = [disk for disk in disks.values() if disk is not None]
    least = min(seen, key=lambda disk: disk.margin(reserve), default=None)
    return Disks(least, tuple(path for path, disk in disks.items() if disk is None))


def seconds_to_next_look(disks: Disks, reserve: Portion) -> float:
    """When to look again: the sooner, the less is free beyond the reserve, so that who writes as
    fast as a disk can goes not far below it."""
    disk = disks.least
    if disk is None:
        return SELDOM
    seconds = disk.margin(reserve) * disk.total / FASTEST
    return min(SELDOM, max(OFTEN, seconds))


def is_near(disk: Disk, reserve: Portion) -> bool:
    """Whether less than the reserve is free beyond it, so that it matters who writes."""
    return bool(disk.total) and disk.margin(reserve) < reserve.of(disk.total) / disk.total


def not_kept(unseen: Iterable[str], reserve: Portion) -> str:
    """What to say of directories that can't be looked at; empty where nothing is reserved."""
    paths = ", ".join(unseen)
    if not paths or reserve.of(1 << 40) == 0:
        return ""
    return f"owner.reserve_disk ({reserve}) is not kept on {paths}, which can't be looked at from here"
