"""What workers wrote, from their groups' files on both kinds of hosts."""

from pathlib import Path

from unit.trees import tree

from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.model import Worker, Writer
from plancton.workers.roster import Entry
from plancton.workers.writers import LATELY, Sizes, Writers

ENTRY = Entry(Worker("w", "c0ffee"), group="plancton/c0ffee")
GONE = Entry(Worker("gone", "beef"), group="plancton/beef")
STARTING = Entry(Worker("starting"))


def on_v2(tmp_path: Path, wbytes: int, dirty: int, kernel: int) -> Writers:
    """The files now; what is returned reads them."""
    memory = f"anon 1\nkernel 7\nfile_dirty {dirty}\nfile_writeback 5\nslab {kernel}\nslab_reclaimable 1\n"
    io = f"8:0 rbytes=9 wbytes={wbytes} rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=9 wbytes=1 rios=1\n"
    root = tree(tmp_path, plancton={"c0ffee": {"io.stat": io, "memory.stat": memory}})
    return Writers(Slice(Layout(root), "plancton", "cgroupfs"))


def test_v2(tmp_path: Path) -> None:
    """What was written and what is on its way count, and how much memory the kernel needs for it;
    what can't be read is nothing."""
    writers = on_v2(tmp_path, 100, 10, 30)
    found = writers.look(0.0, [ENTRY, GONE, STARTING], Sizes({"c0ffee": 3}))
    assert found == (Writer("w", 116, 30, 3), Writer("gone"))


def test_lately(tmp_path: Path) -> None:
    """What was written longer ago than a minute doesn't count, and what was half a minute ago
    does."""
    writers, total = on_v2(tmp_path, 100, 0, 30), 100
    for now in (0.0, LATELY, 2 * LATELY):
        writers.look(now, [ENTRY], Sizes())
    on_v2(tmp_path, total + 50, 0, 20)
    (found,) = writers.look(2.5 * LATELY, [ENTRY], Sizes())
    assert found == Writer("w", 55, 0)


def test_hybrid(tmp_path: Path) -> None:
    """On v1, dirty memory is what tells."""
    io = "254:0 Read 7\n254:0 Write 100\n254:0 Sync 7\nTotal 107\n"
    memory = {"memory.stat": "dirty 1\ntotal_dirty 20\ntotal_writeback 3\n"}
    memory["memory.kmem.usage_in_bytes"] = "5000\n"
    root = tree(
        tmp_path,
        blkio={"plancton": {"c0ffee": {"blkio.throttle.io_service_bytes_recursive": io}}},
        memory={"plancton": {"c0ffee": memory}},
    )
    layout = Layout(root / "v2", {"blkio": root / "blkio", "memory": root / "memory"})
    found = Writers(Slice(layout, "plancton", "cgroupfs")).look(0.0, [ENTRY], Sizes())
    assert found == (Writer("w", 123, 5000),)


def test_growth(tmp_path: Path) -> None:
    """What Docker says twice is what was written in between, if the kernel can't tell."""
    writers = on_v2(tmp_path, 0, 0, 0)
    (found,) = writers.look(0.0, [ENTRY], Sizes({"c0ffee": 500}, {"c0ffee": 200}))
    assert found == Writer("w", 300, 0, 500)
    assert Sizes({"x": 7}).growth("x") == 0, "that it is large does not say that it grows"
