"""Where the cgroup trees are mounted, from /proc/self/mountinfo."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.cgroup_mounts import Layout, LayoutError, find_layout, read_layout
from plancton.host.mounts import parse_mounts

V2 = "25 1 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = (
    "30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n"
    "31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"
    "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"
    "33 30 0:29 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"
    "34 30 0:30 / /sys/fs/cgroup/systemd rw shared:12 - cgroup cgroup rw,xattr,name=systemd\n"
)


def test_layout_of_v2() -> None:
    """A pure v2 host has one tree."""
    assert find_layout(V2) == Layout(Path("/sys/fs/cgroup"), {})


def test_layout_of_hybrid() -> None:
    """A hybrid host has v1 trees by controller, and the v2 tree somewhere."""
    seen = find_layout(HYBRID)
    assert seen.v2 == Path("/sys/fs/cgroup/unified")
    assert seen.v1["cpu"] == seen.v1["cpuacct"] == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert seen.v1["memory"] == Path("/sys/fs/cgroup/memory")


def test_layout_with_odd_names() -> None:
    """Spaces and backslashes in a mount point are octal in mountinfo; optional fields may be
    missing."""
    text = "25 1 0:22 / /my\\040cgroups\\134x\\011y rw - cgroup2 cgroup2 rw\n"
    assert find_layout(text).v2 == Path("/my cgroups\\x\ty")
    several = "25 1 0:22 / /c rw shared:1 master:2 propagate_from:3 - cgroup2 none rw\n"
    assert find_layout(several).v2 == Path("/c")


@pytest.mark.parametrize("character", ["\r", "\v", "\f", "\x1c", "\x1e", "\x85", "\xa0", "\u2028", "\u3000"])
def test_mount_point_with_another_space(tmp_path: Path, character: str) -> None:
    """A mount point may hold what Python takes for the end of a line or a word: it is one all the same."""
    odd = f"/home/u/x{character}98 25 0:9 / /sys/fs/cgroup".replace(" ", "\xa0")
    text = f"{V2}99 1 0:50 / {odd} rw - fuse x rw\n"
    tree(tmp_path, self={"mountinfo": text})
    assert [mount.point for mount in parse_mounts(text)] == [Path("/sys/fs/cgroup"), Path(odd)]
    assert read_layout(tmp_path).v2 == Path("/sys/fs/cgroup")


def test_mount_of_an_empty_source() -> None:
    """`mount -t cgroup2 "" DIRECTORY` leaves nothing between two spaces."""
    assert find_layout(V2.replace("cgroup2 cgroup2", "cgroup2 ")).v2 == Path("/sys/fs/cgroup")


WSL2 = """\
64 98 8:32 / / rw,relatime - ext4 /dev/sdc rw
67 64 0:23 / /sys rw - sysfs sysfs rw
73 67 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
74 73 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
76 73 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
79 73 0:34 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
"""
OVER = " 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
PURE = Layout(Path("/sys/fs/cgroup"), {})


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        (WSL2 + "96 67" + OVER, PURE),
        (WSL2 + "96 73" + OVER, PURE),
        (WSL2 + "95 67 0:40 / /sys/fs rw - tmpfs tmpfs rw\n96 95" + OVER, PURE),
        (WSL2 + "95 67 0:40 / /sys/fs rw - tmpfs tmpfs rw\n", Layout(None)),
    ],
    ids=["beside", "on top", "above, and again", "above"],
)
def test_layout_of_hidden_mounts(text: str, layout: Layout) -> None:
    """A later mount at the same place or above it hides what was there (WSL 2 mounts cgroup2 over
    v1)."""
    assert find_layout(text) == layout


def test_layout_in_any_order() -> None:
    """The root may be listed after what is mounted below it, as an initramfs leaves it."""
    first, *others = WSL2.splitlines(keepends=True)
    seen = find_layout("".join([*others, first]))
    assert seen.v2 == Path("/sys/fs/cgroup/unified") and set(seen.v1) == {"rw", "cpu", "memory"}
    assert find_layout("1 2 0:1 / / rw - x x rw\n2 1 0:1 / / rw - x x rw\n") == Layout(None)


def test_layout_of_several_mounts() -> None:
    """If a tree is mounted more than once, the first mount counts."""
    text = (
        V2
        + V2.replace("25 1 0:22 / /sys/fs/cgroup", "26 1 0:22 / /elsewhere")
        + HYBRID.replace("/cpu,cpuacct rw", "/again rw")
    )
    text = text.replace("30 25", "30 26").replace(" /sys/fs/cgroup ro", " /elsewhere/cgroup ro")
    assert find_layout(text).v2 == Path("/sys/fs/cgroup")


@pytest.mark.parametrize(
    "text", ["", "\n", "garbage\n", "1 2 3 - cgroup2\n", "1 2 0:3 / /x rw cgroup2 c rw\n"]
)
def test_no_layout(tmp_path: Path, text: str) -> None:
    """Without a v2 tree, one line says what to boot with."""
    assert find_layout(text) == Layout(None, {})
    tree(tmp_path, self={"mountinfo": text})
    with pytest.raises(LayoutError, match=r"^no cgroup v2 tree is mounted .*unified_cgroup_hierarchy=1, or"):
        read_layout(tmp_path)


def test_mount_that_is_no_text(tmp_path: Path) -> None:
    """A mount point in another encoding does not prevent finding the cgroups."""
    tree(tmp_path, self={})
    odd = "24 1 0:9 / /mnt/caf\xe9 rw - ext4 /dev/x rw\n".encode("latin-1")
    (tmp_path / "self/mountinfo").write_bytes(odd + V2.encode())
    assert read_layout(tmp_path).v2 == Path("/sys/fs/cgroup")
