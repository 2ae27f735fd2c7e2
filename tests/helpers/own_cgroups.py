"""Cgroup trees of this process's own, so that tests run the same whatever else the machine does.

A slice of idle class gets next to nothing beside a busy machine: a container takes a minute to
start in it. So the tests' slices, Engines and supervisors live in a cgroup with a share of its own,
which they take for the whole tree (cgroup_namespaces(7)). In there a slice yields to what is in
there.
"""

import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

FS, NEWNS, NEWCGROUP = 0x00000200, 0x00020000, 0x02000000
SHARES = "2048"
"""Of the CPU: as much as two busy processes of others."""
libc = ctypes.CDLL(None, use_errno=True)


class Tree(NamedTuple):
    """A mounted tree: cgroup or cgroup2, and the options that it is mounted by."""

    point: Path
    kind: str
    options: str


@contextmanager
def own_cgroups() -> Iterator[None]:
    """Enter them, and leave without a trace. Where systemd has the trees they stay as they are."""
    trees = list(_trees())
    if Path("/run/systemd/system").is_dir() or not any("cpu" in each.options.split(",") for each in trees):
        yield
        return
    name, here = f"plancton_tests_{secrets.token_hex(3)}", Path.cwd()
    with ExitStack() as stack:
        for tree in trees:
            root = os.open(tree.point, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, root)
            stack.callback(_remove, root, name)
            stack.callback(_move, Path(f"{tree.point}{_group(tree)}"))
            _make(tree.point, name)
            _move(tree.point / name)
        stack.callback(os.chdir, here)  # a mount namespace is entered at its root
        for kind, flag in (("cgroup", NEWCGROUP), ("mnt", NEWNS)):
            before = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY)
            stack.callback(os.close, before)
            stack.callback(_check, libc.setns, before, flag)
        stack.callback(_check, libc.unshare, FS)  # whoever shares it with a thread may enter no other
        _check(libc.unshare, NEWNS | NEWCGROUP)
        subprocess.run(["mount", "--make-rslave", "/"], check=True)
        for tree in trees:
            subprocess.run(["mount", "--bind", tree.point / name, tree.point], check=True)
        yield


def _trees() -> Iterator[Tree]:
    """From /proc/self/mountinfo (proc(5)). Of those mounted over each other the last one is seen."""
    found = dict[Path, Tree]()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            names = [word for word in options.split(",") if word not in ("rw", "ro") and kind == "cgroup"]
            tree = Tree(Path(left.split()[4]), kind, ",".join(names))
            found[tree.point] = tree
    yield from found.values()


def _group(tree: Tree) -> str:
    """Where this process is in it."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == tree.options:
            return path
    raise LookupError(f"this process is not in {tree.point}")


def _make(point: Path, name: str) -> None:
    made = point / name
    made.mkdir()
    for file, value in (("cpu.shares", SHARES), ("cpuset.cpus", ""), ("cpuset.mems", "")):
        if (made / file).exists():
            (made / file).write_text(value or (point / file).read_text())


def _move(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))


def _remove(root: int, name: str) -> None:
    """With what is left in it of containers."""
    for directory, *_ in os.walk(f"/proc/self/fd/{root}/{name}", topdown=False):
        with suppress(OSError):
            os.rmdir(directory)


def _check(call: object, *arguments: int) -> None:
    assert callable(call)
    if call(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
