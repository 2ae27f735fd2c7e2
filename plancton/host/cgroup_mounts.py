"""Where this host's cgroup trees are mounted."""

import os
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.files import read_knob
from plancton.host.mounts import parse_mounts, reachable

PROC = Path("/proc")


class Layout(msgspec.Struct, frozen=True):
    """Where the cgroup trees are mounted: the v2 tree, and v1's by controller on hybrid hosts."""

    v2: Path | None
    v1: dict[str, Path] = {}


class LayoutError(PlanctonError):
    """This host has no cgroups that Plancton can use, in one line."""


def find_layout(mountinfo: str) -> Layout:
    """From the text of /proc/self/mountinfo; the first mount of each kind that can be reached counts."""
    v2, v1 = None, dict[str, Path]()
    for mount in reachable(parse_mounts(mountinfo)):
        if mount.kind == "cgroup2":
            v2 = v2 or mount.point
        elif mount.kind == "cgroup":
            for option in mount.options.split(","):
                v1.setdefault(option, mount.point)
    return Layout(v2, v1)


def read_layout(proc: Path = PROC) -> Layout:
    """This host's layout; LayoutError without a v2 tree."""
    file = proc / "self/mountinfo"
    try:
        layout = find_layout(os.fsdecode(file.read_bytes()))
    except OSError as error:
        raise LayoutError(f"{file}: {error.strerror}; it says where this host's cgroups are") from None
    if layout.v2 is None:
        raise LayoutError(
            "no cgroup v2 tree is mounted on this host: boot with systemd.unified_cgroup_hierarchy=1,"
            " or mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)"
        )
    return layout


def enabled_controllers(tree: Path) -> frozenset[str]:
    """Those that the groups below the v2 tree's root have."""
    return frozenset((read_knob(tree / "cgroup.subtree_control") or "").split())
