"""Plancton in a container of its own: whether it sees the host from there, and what is its own.

All it does is to the host: so it needs the host's processes, cgroups and directories, which a
container has only if `docker run` was told so.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from plancton.files import read_knob
from plancton.host.cgroup_mounts import PROC, find_layout
from plancton.host.engine_cpu import listener
from plancton.host.mounts import parse_mounts, reachable
from plancton.host.process_cgroup import group_of

MARK = "PLANCTON_CONTAINER"
"""In the environment of our image's containers (scripts/container-image/build)."""
CGROUPS = "-v /sys/fs/cgroup:/sys/fs/cgroup"


def is_inside() -> bool:
    """Whether this process is in a container of our image."""
    return MARK in os.environ


def own_id(proc: Path = PROC) -> str:
    """The id of the container that we are in; empty: in none, or it can't be seen."""
    found = re.findall(r"[0-9a-f]{64}", group_of(proc, os.getpid()) or "") if is_inside() else []
    return str(found[-1]) if found else ""


def own_stat(tree: Path | None, proc: Path = PROC) -> Path | None:
    """What tells of the CPU that our container uses; None: we are in none."""
    group = group_of(proc, os.getpid())
    return tree / group / "cpu.stat" if tree and group and own_id(proc) else None


def why_not_the_host(run: Path, state: Path, socket: str, proc: Path = PROC) -> str:
    """What keeps this container from serving its host, with the flag of `docker run` that it lacks;
    empty: nothing does. ``run`` and ``state`` are Plancton's directories."""
    flag, why = next(_lacks(run, state, Path(socket), proc), ("", ""))
    return flag and f"this container {why}: start it with {flag} (docs/install.md, As a container)"


def _lacks(run: Path, state: Path, socket: Path, proc: Path) -> Iterator[tuple[str, str]]:
    text = read_knob(proc / "self/mountinfo") or ""
    if (read_knob(proc / "self/uid_map") or "").split() not in ([], ["0", "0", "4294967295"]):
        yield "--userns host", "has a root that is not the host's, as with rootless Docker, which can't serve"
    points = {mount.point for mount in reachable(parse_mounts(text))} - {Path("/")}
    for directory in (state, run):
        if not points & {directory, *directory.parents}:
            yield f"-v {_shared(directory)}", f"has a {directory} of its own"
    if not _is_socket(socket):
        yield f"-v {_shared(socket.parent)}", f"does not have Docker's socket {socket}"
    peer = listener(str(socket))
    if peer == 0:
        yield "--pid host", "can't see the host's processes"
    if peer and "/.." in (read_knob(proc / str(peer) / "cgroup") or ""):
        yield "--cgroupns host", "has a view of the cgroups of its own"
    layout = find_layout(text)
    if layout.v2 is None:
        yield CGROUPS, "can't see the host's cgroups"
        return
    for tree in (layout.v2, layout.v1.get("cpu", layout.v2)):
        if os.statvfs(tree).f_flag & os.ST_RDONLY:
            yield CGROUPS, f"may not write {tree}"
        if not os.access(tree, os.W_OK):
            yield "--cap-add DAC_OVERRIDE", f"may not write {tree}"


def _shared(directory: Path) -> str:
    """The host's, by the same name. All of /run: Docker's socket is made again when Docker is."""
    whole = Path("/run") if Path("/run") in (directory, *directory.parents) else directory
    whole = Path("/run") if directory == Path("/var/run") else whole
    return f"{whole}:{whole}"


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
