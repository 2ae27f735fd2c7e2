"""The sampler on fixture trees, on real cgroups if they can be made, and on this host."""

import ctypes
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from helpers.open_files import open_files
from unit import trees

from plancton.host import sampler
from plancton.host.sampler import USER_HZ, Group, Sampler, SamplerError

CALLS = 2_000


def make(tmp_path: Path, with_slice: bool = True) -> tuple[Path, Path]:
    """A /proc and a slice's directory."""
    parts = {"slice": trees.cgroup()} if with_slice else {}
    host = trees.proc()
    trees.tree(tmp_path, proc=host, **parts)
    return tmp_path / "proc", tmp_path / "slice"


MALLINFO_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class Mallinfo2(ctypes.Structure):
    """What mallinfo2(3) returns."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO_FIELDS)


MALLINFO2 = ctypes.CDLL(None).mallinfo2
MALLINFO2.restype = Mallinfo2
SMALLEST = 16


def allocated() -> int:
    """Bytes in use by C's allocator and Python's. Freed memory does not count, so that memory freed
    by other tests, which a leak would fill first, does not hide it."""
    gc.collect()
    of_c = MALLINFO2()
    return int(of_c.uordblks + of_c.hblkhd) + SMALLEST * sys.getallocatedblocks()


# -- the host ---------------------------------------------------------------------------------------------


def test_host_and_slice(tmp_path: Path) -> None:
    """Every figure comes from its file, in seconds and bytes."""
    proc, slice_v2 = make(tmp_path)
    got = Sampler(proc, slice_v2).sample()
    assert got.cpus == 2, got
    assert got.busy == (100 + 20 + 30 + 6 + 7) / USER_HZ, got
    assert got.idle == (400 + 5) / USER_HZ, got
    assert got.stolen == 8 / USER_HZ, got
    assert (got.memory_total, got.memory_available) == (8_000_000 * 1024, 6_000_000 * 1024), got
    assert got.swap_total == 1_000_000 * 1024, got
    assert (got.slice, got.slice_anon) == (7.0, 4096), got
    assert (got.engine, got.engine_epoch) == (None, 0), got


def test_host_alone(tmp_path: Path) -> None:
    """Without a slice, its figures are unknown, but the host's are known."""
    proc, _ = make(tmp_path, with_slice=False)
    got = Sampler(proc).sample()
    assert got.cpus == 2, got
    assert (got.slice, got.slice_anon) == (None, None), got


@pytest.mark.parametrize("cpus", [1, 256, 1000, 20_000])
def test_many_cpus(tmp_path: Path, cpus: int) -> None:
    """CPUs are counted even if /proc/stat is larger than the first buffer."""
    proc, _ = make(tmp_path)
    (proc / "stat").write_text(trees.stat((10**12, 2, 3, 4, 5, 6, 7, 8), cpus))
    got = Sampler(proc).sample()
    assert got.cpus == cpus, f"{cpus} CPUs were counted as {got.cpus}"
    assert got.idle == 9 / USER_HZ, got


def test_huge_interrupt_line(tmp_path: Path) -> None:
    """A megabyte of interrupts after the cpu lines changes nothing."""
    proc, _ = make(tmp_path)
    (proc / "stat").write_text(trees.stat(cpus=2, intr="0 " * 500_000))
    got = Sampler(proc).sample()
    assert (got.cpus, got.stolen) == (2, 8 / USER_HZ), got


ARC = "13 1 0x01 9 99 4 9\nname type data\nc 4 7\nc_min     4    {least}\nsize     4 {size}\nl2_size 4 1\n"


def arcstats(size: int, least: int = 1_000) -> trees.Tree:
    return {"spl": {"kstat": {"zfs": {"arcstats": ARC.format(size=size, least=least)}}}}


def test_zfs_cache_is_available(tmp_path: Path) -> None:
    """What ZFS's cache has above its least size is available memory, up to all there is; one bad
    reading does not take it away."""
    proc, _ = make(tmp_path)
    trees.tree(proc, arcstats(500_001_000))
    available, total = 6_000_000 * 1024, 8_000_000 * 1024
    sampler = Sampler(proc)
    got = sampler.sample()
    assert (got.arc, got.memory_available, got.memory_total) == (500_000_000, available + 500_000_000, total)
    assert sampler.memory() == (total, available + 500_000_000)
    for text, arc in (("", 500_000_000), (ARC.format(size=10**13, least=0), 10**13), ("size 4 1\n", 10**13)):
        (proc / "spl/kstat/zfs/arcstats").write_text(text)
        got = sampler.sample()
        assert got.arc == arc and got.memory_available == min(total, available + arc), text
    trees.tree(proc, arcstats(500, least=1_000))
    assert (sampler.sample().arc, sampler.sample().memory_available) == (0, available)


def test_zfs_loaded_later(tmp_path: Path) -> None:
    """Its cache counts from the next look for the engine on, and no longer once it is unloaded."""
    proc, _ = make(tmp_path)
    sampler = Sampler(proc)
    sampler.watch_engine([])
    assert sampler.sample().arc == 0
    trees.tree(proc, arcstats(2_000))
    sampler.watch_engine([])
    assert sampler.sample().arc == 1_000
    trees.vanish(proc / "spl/kstat/zfs/arcstats")
    assert sampler.sample().arc == 0


def test_zfs_cache_of_another_host(tmp_path: Path) -> None:
    """In a container whose meminfo is lxcfs's, the cache of the whole host does not count."""
    proc, _ = make(tmp_path)
    mounted = f"99 98 0:45 /proc/meminfo {proc}/meminfo rw,nosuid - fuse.lxcfs lxcfs rw,user_id=0\n"
    trees.tree(proc, arcstats(2_000), {"self": {"mountinfo": mounted}})
    assert (Sampler(proc).sample().arc, Sampler(proc).sample().memory_available) == (0, 6_000_000 * 1024)


def test_a_file_server_with_zfs(tmp_path: Path) -> None:
    """An idle one, whose memory is ZFS's cache, has room for workers."""
    proc, _ = make(tmp_path)
    (proc / "meminfo").write_text(trees.meminfo(32_838_368, 2_913_280, swap=0))
    trees.tree(proc, arcstats(16_790_327_296, least=1_050_827_776))
    got = Sampler(proc).sample()
    assert got.memory_available == 2_913_280 * 1024 + 16_790_327_296 - 1_050_827_776


def test_only_cpus_that_count(tmp_path: Path) -> None:
    """What happens on isolated CPUs is neither capacity nor load, until they count again."""
    proc, slice_v2 = make(tmp_path)
    busy = "cpu  7000 0 0 2000 0 0 0 0 0 0"
    lines = [busy, *(f"cpu{cpu} {7000 if cpu == 2 else 0} 0 0 {cpu} 0 0 0 5 0 0" for cpu in (0, 1, 2, 5, 12))]
    (proc / "stat").write_text("\n".join([*lines, "intr 1", "ctxt 5", ""]))
    sampler = Sampler(proc, slice_v2, cpus={1, 5, 12, 40})
    seen = sampler.sample()
    assert (seen.cpus, seen.busy, seen.idle, seen.stolen) == (3, 0.0, 18 / USER_HZ, 15 / USER_HZ)
    sampler.count({2})
    assert (sampler.sample().cpus, sampler.sample().busy) == (1, 7000 / USER_HZ)
    sampler.count(None)
    assert (sampler.sample().cpus, sampler.sample().busy) == (5, 7000 / USER_HZ)
    sampler.count({3})
    with pytest.raises(SamplerError, match="stat"):
        sampler.sample()


def test_counters_that_go_backwards(tmp_path: Path) -> None:
    """Counters are passed on as they are: the sampler does not interpret them."""
    proc, slice_v2 = make(tmp_path)
    with_less = Sampler(proc, slice_v2)
    before = with_less.sample()
    (proc / "stat").write_text(trees.stat((50, 0, 0, 390, 1, 0, 0, 0)))
    (slice_v2 / "cpu.stat").write_text(trees.cpu_stat(1_000_000))
    after = with_less.sample()
    assert after.busy == 50 / USER_HZ < before.busy, (before, after)
    assert after.idle == 391 / USER_HZ < before.idle, (before, after)
    assert (before.slice, after.slice) == (7.0, 1.0), (before, after)


def test_a_cpu_comes_and_goes(tmp_path: Path) -> None:
    """The count of CPUs is the current one."""
    proc, _ = make(tmp_path)
    host = Sampler(proc)
    seen = []
    for cpus in (2, 3, 1):
        (proc / "stat").write_text(trees.stat(cpus=cpus))
        seen.append(host.sample().cpus)
    assert seen == [2, 3, 1], seen


def test_no_memavailable(tmp_path: Path) -> None:
    """If the kernel does not tell the available memory, it is unknown."""
    proc, _ = make(tmp_path)
    (proc / "meminfo").write_text(trees.meminfo(available=None))
    got = Sampler(proc).sample()
    assert got.memory_available is None, got
    assert got.memory_total == 8_000_000 * 1024, got


@pytest.mark.parametrize("name", ["stat", "meminfo"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "cpu",
        "cpu  1 2 3\n",
        "cpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8\n",
        "cpu  1 2 3 4 5 6 7 99999999999999999999\ncpu0 1\nintr 1\n",
        "cpu  1 2 3 -4 5 6 7 8\ncpu0 1\nintr 1\n",
        "cpu  1 2 3 4 5 6 7 8\nintr 1\n",
        "cpu  1 2 3 4 5 6 7 8\ncpufreq 12\nintr 1\n",
        "cpu  0 0 0 0 0 0 0 0\ncpu  1 2 3 4 5 6 7 8\ncpu0 1 2 3 4 5 6 7 8\nintr 1\n",
        "MemTotal: 0 kB\nMemAvailable: 0 kB\nSwapTotal: 0 kB\n",
        "MemTotal: 5 kB\n",
        "MemTotal: 5 kB\nSwapTotal: 1",
        "MemTotal: 18446744073709551615 kB\nSwapTotal: 1 kB\n",
        "MemTotal: 5 kB\nMemAvailable: x kB\nSwapTotal: 1 kB\n",
        "\0\xff\n\n\n" * 100,
    ],
)
def test_strange_text(tmp_path: Path, name: str, text: str) -> None:
    """Truncated, malformed or overflowing host figures are a one-line error that names the file."""
    proc, _ = make(tmp_path)
    host = Sampler(proc)
    (proc / name).write_text(text)
    with pytest.raises(SamplerError) as caught:
        host.sample()
    said = str(caught.value)
    why = "not in the form that the kernel writes" if text else "is empty"
    assert said == f"{proc / name}: {why}", said
    trees.tree(tmp_path, proc=trees.proc())
    assert host.sample().cpus == 2, "it did not recover when the file was good again"


@pytest.mark.parametrize("name", ["stat", "meminfo"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    """A missing /proc/stat or /proc/meminfo is an error that names it, and no descriptor leaks."""
    proc, _ = make(tmp_path)
    (proc / name).unlink()
    before = open_files()
    for _ in range(3):
        with closing(Sampler(proc)) as host, pytest.raises(SamplerError, match=f"{name}: No such file"):
            host.sample()
    assert open_files() == before, f"{open_files() - before} descriptors were left open"


TRIALS = Path(__file__).parents[2] / "proc"


@pytest.mark.parametrize("name", ["empty", "cut", "overflow", "two-cpu-lines"])
def test_proc_stat_of_real_hosts(tmp_path: Path, name: str) -> None:
    """What lxcfs and others have given for /proc/stat gives no figures, never a host of 3 CPUs."""
    proc, _ = make(tmp_path)
    host = Sampler(proc)
    (proc / "stat").write_text((TRIALS / f"stat-{name}").read_text())
    with pytest.raises(SamplerError, match="stat: "):
        host.sample()


def test_other_lines_are_no_cpus(tmp_path: Path) -> None:
    """Only lines of a CPU's number count as CPUs."""
    proc, _ = make(tmp_path)
    text = trees.stat().replace("intr", "cpufreq 12\ncpu1x 1\nintr")
    (proc / "stat").write_text(text)
    assert Sampler(proc).sample().cpus == 2


def test_memory_without_cpus(tmp_path: Path) -> None:
    """If /proc/stat has no figures, memory is known all the same."""
    proc, _ = make(tmp_path)
    host = Sampler(proc)
    (proc / "stat").write_text("")
    with pytest.raises(SamplerError):
        host.sample()
    assert host.memory() == (8_000_000 * 1024, 6_000_000 * 1024)
    (proc / "meminfo").write_text("")
    with pytest.raises(SamplerError):
        host.sample()
    assert host.memory() is None


@pytest.mark.parametrize("name", ["cpu.stat", "memory.stat"])
@pytest.mark.parametrize("text", ["", "usage_usec", "usage_usec 99999999999999999999\n", "\0\xff"])
def test_unreadable_slice(tmp_path: Path, name: str, text: str) -> None:
    """A slice that is there but has no usable figures is told from one that is not there."""
    proc, slice_v2 = make(tmp_path)
    host = Sampler(proc, slice_v2)
    assert not host.sample().unreadable
    (slice_v2 / name).write_text(text)
    assert host.sample().unreadable.startswith(f"{slice_v2 / name}: ")
    trees.tree(tmp_path, slice=trees.cgroup())
    got = host.sample()
    assert (got.unreadable, got.slice, got.slice_anon) == ("", 7.0, 4096), got
    assert not Sampler(proc, tmp_path / "none").sample().unreadable


# -- the slice --------------------------------------------------------------------------------------------


def test_slice_appears(tmp_path: Path) -> None:
    """A slice created later has figures in the next sample."""
    proc, slice_v2 = make(tmp_path, with_slice=False)
    host = Sampler(proc, slice_v2)
    assert host.sample().slice is None
    trees.tree(slice_v2, trees.cgroup(usage=1_500_000, anon=5))
    got = host.sample()
    assert (got.slice, got.slice_anon) == (1.5, 5), got


def test_absent_slice_is_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no slice, a tick checks for one of its files and opens none."""
    proc, slice_v2 = make(tmp_path, with_slice=False)
    host = Sampler(proc, slice_v2)
    looked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda path, flags: looked.append(("open", path)))
        patch.setattr(os, "access", lambda path, mode: looked.append(path))
        host.sample()
    assert looked == [slice_v2 / "cpu.stat"], looked


def test_slice_vanishes_and_comes_back(tmp_path: Path) -> None:
    """A removed slice is unknown; a recreated one, even between two ticks, is read at once."""
    proc, slice_v2 = make(tmp_path)
    host = Sampler(proc, slice_v2)
    for file in list(slice_v2.iterdir()):
        trees.vanish(file)
    gone = host.sample()
    figures = (gone.slice, gone.slice_anon)
    assert figures == (None, None), gone
    trees.tree(slice_v2, trees.cgroup(usage=2_000_000))
    assert host.sample().slice == 2.0
    for file in list(slice_v2.iterdir()):
        trees.vanish(file)
    trees.tree(slice_v2, trees.cgroup(usage=1, anon=77))
    again = host.sample()
    assert (again.slice, again.slice_anon) == (1e-6, 77), again


def test_slice_memory_of_v1(tmp_path: Path) -> None:
    """On hybrid hosts the slice's memory is v1's total_rss, from a separate tree."""
    trees.tree(tmp_path, proc=trees.proc(), slice=trees.cgroup(anon=None))
    v1 = tmp_path / "memory.stat"
    v1.write_text(trees.memory_stat_v1(48_308_224))
    got = Sampler(tmp_path / "proc", tmp_path / "slice", v1).sample()
    assert got.slice_anon == 48_308_224, got


def test_memory_controller_comes_later(tmp_path: Path) -> None:
    """A memory.stat that appears after the slice is found."""
    trees.tree(tmp_path, proc=trees.proc(), slice=trees.cgroup(anon=None))
    host = Sampler(tmp_path / "proc", tmp_path / "slice")
    assert host.sample().slice_anon is None
    (tmp_path / "slice" / "memory.stat").write_text(trees.memory_stat(9))
    assert host.sample().slice_anon == 9


# -- the engine -------------------------------------------------------------------------------------------


@pytest.fixture
def engine(tmp_path: Path) -> tuple[Sampler, list[Path]]:
    """A sampler, and a cgroup (2 s) and a process (0.42 s at 100 Hz) to watch."""
    trees.tree(
        tmp_path,
        proc={**trees.proc(), "77": {"stat": trees.pid_stat(77, "x) (y) R 9 9")}},
        docker={"cpu.stat": trees.cpu_stat(2_000_000)},
    )
    return Sampler(tmp_path / "proc"), [tmp_path / "docker" / "cpu.stat", tmp_path / "proc" / "77" / "stat"]


def test_engine_is_the_sum(engine: tuple[Sampler, list[Path]]) -> None:
    """The engine's use is that of its cgroups and processes together, whatever their names."""
    host, paths = engine
    host.watch_engine(paths)
    got = host.sample()
    assert got.engine == 2.0 + 42 / USER_HZ, got


def test_engine_epoch_marks_each_change(engine: tuple[Sampler, list[Path]]) -> None:
    """A different set raises the epoch by one; the same set in another order does not."""
    host, paths = engine
    seen = [host.sample().engine_epoch]
    for watched in (paths, paths[::-1], paths, paths[:1], []):
        host.watch_engine(watched)
        seen += [host.sample().engine_epoch, host.sample().engine_epoch]
    assert seen == [0, 1, 1, 1, 1, 1, 1, 2, 2, 3, 3], seen
    assert host.sample().engine is None, "an empty engine has figures"


def test_engine_process_vanishes(engine: tuple[Sampler, list[Path]]) -> None:
    """A process that ends raises the epoch once; a reused pid does not count."""
    host, paths = engine
    host.watch_engine(paths)
    trees.vanish(paths[1])
    gone = host.sample()
    assert (gone.engine, gone.engine_epoch) == (2.0, 2), gone
    paths[1].write_text(trees.pid_stat(77, "somebody else"))
    later = host.sample()
    assert (later.engine, later.engine_epoch) == (2.0, 2), later
    host.watch_engine(paths)
    told = host.sample()
    assert (told.engine, told.engine_epoch) == (2.0 + 42 / USER_HZ, 3), "the set named it again"


def test_a_stale_engine_set_keeps_its_epoch(engine: tuple[Sampler, list[Path]]) -> None:
    """Naming a vanished process repeatedly does not spoil the figures of the others."""
    host, paths = engine
    host.watch_engine(paths)
    trees.vanish(paths[1])
    epochs = []
    for _ in range(3):
        host.watch_engine(paths)
        epochs.append(host.sample().engine_epoch)
    assert epochs == [2, 2, 2], epochs


def test_engine_cgroup_vanishes_and_comes_back(engine: tuple[Sampler, list[Path]]) -> None:
    """A cgroup is found again by its path, and both changes raise the epoch."""
    host, paths = engine
    host.watch_engine(paths)
    trees.vanish(paths[0])
    seen = [host.sample(), host.sample()]
    paths[0].write_text(trees.cpu_stat(5_000_000))
    seen += [host.sample(), host.sample()]
    assert [s.engine_epoch for s in seen] == [2, 2, 3, 3], seen
    assert [s.engine for s in seen] == [42 / USER_HZ] * 2 + [5 + 42 / USER_HZ] * 2, seen


def test_garbled_engine_keeps_its_epoch(engine: tuple[Sampler, list[Path]]) -> None:
    """A file that stays garbled counts as vanished once, not at every tick."""
    host, paths = engine
    host.watch_engine(paths)
    paths[0].write_text("usage_usec 12")
    epochs = [host.sample().engine_epoch for _ in range(3)]
    assert epochs == [2, 2, 2], epochs


def test_engine_without_any_figure(engine: tuple[Sampler, list[Path]]) -> None:
    """If nothing of the engine can be read, its use is unknown, not zero."""
    host, paths = engine
    host.watch_engine([paths[0].with_name("none") / "cpu.stat"])
    assert host.sample().engine is None


def test_engine_of_a_real_process() -> None:
    """A real process that ends leaves the sum: its open file gives ESRCH."""
    host = Sampler()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        host.watch_engine([Path(f"/proc/{child.pid}/stat")])
        alive = host.sample()
    ended = host.sample()
    assert alive.engine is not None and alive.engine_epoch == 1, alive
    assert ended.engine is None and ended.engine_epoch == 2, ended


# -- groups, and processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "figure"),
    [
        ("cpu.stat", trees.cpu_stat(1_250_000), 1.25),
        ("cpu.stat", trees.cpu_stat(0), 0.0),
        ("cpu.stat", "", None),
        ("cpu.stat", "nr_periods 0\n", None),
        ("cpu.stat", "usage_usec \n", None),
        ("cpu.stat", "usage_usec 99999999999999999999\n", None),
        ("memory.stat", trees.memory_stat(4096), 4096),
        ("memory.stat", trees.memory_stat_v1(8192), 8192),
        ("memory.stat", "anon 4096\nfile 5\nshmem 100\n", 4196),
        ("memory.stat", "anon 4096\nfile 5\n", None),
        ("memory.stat", "anon_thp 5\nrss 3\ntotal_rss_huge 6\n", None),
        ("memory.stat", "anon 12", None),
        ("memory.stat", "", None),
    ],
)
def test_group_reads(tmp_path: Path, name: str, text: str, figure: float | None) -> None:
    """A cgroup's CPU seconds, or its anonymous and shared bytes of v2 or v1; None for any other
    text."""
    (tmp_path / name).write_text(text)
    assert Group({"it": tmp_path / name}).read() == {"it": figure}


@pytest.mark.parametrize(
    "comm", ["sh", "a) (b", ") (", "((", "))) R 1 2 3 4 5 6 7 8 9 10 11 12 13", "a\nb", ""]
)
def test_read_process_with_any_name(tmp_path: Path, comm: str) -> None:
    """A process can call itself anything without being misread."""
    trees.tree(tmp_path, {"7": {"stat": trees.pid_stat(7, comm)}})
    got = sampler.read_process(7, proc=tmp_path)
    assert got == sampler.Process(started=107_742 / USER_HZ, cpu=42 / USER_HZ, ppid=1), got


def test_read_process_truncated(tmp_path: Path) -> None:
    """A stat cut before the start time is no process; cut after it, it is the same process."""
    whole = trees.pid_stat(7, "a) b")
    enough = whole.index("107742") + len("107742 ")
    for length in range(len(whole)):
        trees.tree(tmp_path, {"7": {"stat": whole[:length]}})
        got = sampler.read_process(7, proc=tmp_path)
        assert (got is not None) == (length >= enough), f"{whole[:length]!r} was read as {got}"


def test_read_this_process() -> None:
    """This process started after the host did and before now, and its parent is its parent."""
    got = sampler.read_process(os.getpid())
    assert got is not None, "this process was not found"
    assert got.ppid == os.getppid(), got
    assert 0 < got.started <= time.clock_gettime(time.CLOCK_BOOTTIME), got
    assert sampler.read_process(2**22 + 1) is None, "a process that can't be was found"


def test_group(tmp_path: Path) -> None:
    """A group reads CPU and memory by key; a missing file gives None."""
    trees.tree(tmp_path, a=trees.cgroup(1_000_000, 11), b=trees.cgroup(2_000_000, 22))
    a, b = tmp_path / "a", tmp_path / "b"
    group = Group({("a", 0): a / "cpu.stat", ("a", 1): a / "memory.stat", ("b", 0): b / "cpu.stat"})
    assert group.read() == {("a", 0): 1.0, ("a", 1): 11, ("b", 0): 2.0}
    trees.vanish(a / "memory.stat")
    assert group.read() == {("a", 0): 1.0, ("a", 1): None, ("b", 0): 2.0}
    (a / "memory.stat").write_text(trees.memory_stat(33))
    assert group.read()[("a", 1)] == 33


def test_group_changes_its_set(tmp_path: Path) -> None:
    """Files that stay in the set stay open, others are closed, even under two keys."""
    trees.tree(tmp_path, a=trees.cgroup(1_000_000), b=trees.cgroup(2_000_000))
    a, b = tmp_path / "a" / "cpu.stat", tmp_path / "b" / "cpu.stat"
    before = open_files()
    group = Group({"x": a, "y": a})
    assert group.read() == {"x": 1.0, "y": 1.0}
    assert open_files() == before + 1, f"{open_files() - before} descriptors for one file"
    group.watch({"x": a, "z": b})
    assert group.read() == {"x": 1.0, "z": 2.0}
    assert open_files() == before + 2, f"{open_files() - before} descriptors for two files"
    group.watch({})
    assert group.read() == {}
    assert open_files() == before, f"{open_files() - before} descriptors for no file"


def test_group_with_few_descriptors(tmp_path: Path) -> None:
    """More groups than there may be descriptors are read all the same, again and again, and one that
    has gone is unknown."""
    for number in range(200):
        trees.tree(tmp_path / str(number), trees.cgroup(number * 1_000_000, number))
    program = f"""if True:
        import resource
        from pathlib import Path
        from plancton.host.sampler import Group
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        groups = [Path({str(tmp_path)!r}, str(number)) for number in range(200)]
        cpu, memory = Group(), Group()
        for first in (0, 100, 0):
            for group, name in ((cpu, "cpu.stat"), (memory, "memory.stat")):
                group.watch({{number: groups[number] / name for number in range(first, 200)}})
                for _ in range(2):
                    assert group.read() == {{number: number for number in range(first, 200)}}
        (groups[150] / "cpu.stat").unlink()
        assert cpu.read()[150] is None
    """
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


# -- real cgroups -----------------------------------------------------------------------------------------


@pytest.fixture
def real_cgroup() -> Iterator[Path]:
    """A v2 cgroup of our own, if this process may make one."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2":
            path = Path(fields[4]) / f"plancton-test-{os.getpid()}"
            break
    else:
        pytest.skip("there is no v2 tree")
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"can't make a cgroup: {error}")
    yield path
    if path.exists():
        path.rmdir()


def test_real_slice_made_again(real_cgroup: Path) -> None:
    """A slice that was removed and recreated between two ticks has figures in the next sample
    (ENODEV)."""
    host = Sampler(slice_v2=real_cgroup)
    assert host.sample().slice == 0.0
    real_cgroup.rmdir()
    real_cgroup.mkdir()
    again = host.sample()
    assert again.slice == 0.0, again
    real_cgroup.rmdir()
    gone = host.sample()
    assert (gone.slice, gone.slice_anon) == (None, None), gone


def test_real_engine_cgroup_made_again(real_cgroup: Path) -> None:
    """An engine's cgroup that was recreated between two ticks starts a new epoch."""
    host = Sampler()
    host.watch_engine([real_cgroup / "cpu.stat"])
    before = host.sample()
    real_cgroup.rmdir()
    real_cgroup.mkdir()
    after = host.sample()
    assert (before.engine, after.engine) == (0.0, 0.0), (before, after)
    assert after.engine_epoch == before.engine_epoch + 1, (before, after)


# -- this host --------------------------------------------------------------------------------------------


def test_this_host() -> None:
    """The real /proc gives plausible figures, and no counter of two samples goes backwards."""
    host = Sampler()
    host.watch_engine([Path("/proc/self/stat").resolve()])
    first = host.sample()
    sum(i * i for i in range(1_000_000))
    second = host.sample()
    online = len(os.sched_getaffinity(0))
    assert online <= first.cpus <= (os.cpu_count() or 1), first
    assert 0 < first.monotonic <= first.boottime, first
    assert 0 < first.busy + first.idle <= 1.1 * first.cpus * first.boottime + 10, first
    assert first.memory_available is not None and 0 < first.memory_available <= first.memory_total, first
    for name in ("monotonic", "boottime", "busy", "idle", "stolen", "engine"):
        assert getattr(second, name) >= getattr(first, name), f"{name} went backwards: {first} {second}"
    assert first.engine_epoch == second.engine_epoch, (first, second)


def test_close_gives_all_descriptors_back(tmp_path: Path) -> None:
    """Closing closes everything, and sampling works again afterwards."""
    proc, slice_v2 = make(tmp_path)
    before = open_files()
    host = Sampler(proc, slice_v2)
    host.watch_engine([slice_v2 / "cpu.stat"])
    assert open_files() == before + 5, f"{open_files() - before} descriptors"
    host.close()
    assert open_files() == before, f"{open_files() - before} descriptors were left open"
    assert host.sample().cpus == 2
    host.close()


# -- leaks ------------------------------------------------------------------------------------------------


def samples(path: Path) -> Callable[[], object]:
    host = Sampler(path / "proc", path / "slice")
    host.watch_engine([path / "slice" / "cpu.stat", Path("/proc/self/stat").resolve()])
    return host.sample


def large_samples(path: Path) -> Callable[[], object]:
    (path / "proc" / "stat").write_text(trees.stat(cpus=1200))
    return Sampler(path / "proc").sample


def absent_samples(path: Path) -> Callable[[], object]:
    return Sampler(path / "proc", path / "none").sample


def refused_samples(path: Path) -> Callable[[], object]:
    host = Sampler(path / "proc")
    (path / "proc" / "stat").write_text("garbage")

    def refused() -> None:
        with pytest.raises(SamplerError):
            host.sample()

    return refused


def engines(path: Path) -> Callable[[], object]:
    host, turn = Sampler(path / "proc"), count()

    def change() -> None:
        host.watch_engine([path / "slice" / "cpu.stat"] if next(turn) % 2 else [])
        host.sample()

    return change


def groups(path: Path) -> Callable[[], object]:
    group = Group({"a": path / "slice" / "cpu.stat", "b": path / "none" / "cpu.stat"})
    return group.read


def single_reads(path: Path) -> Callable[[], object]:
    def read() -> None:
        sampler.read_process(os.getpid())
        sampler.read_process(os.getpid(), path / "none")

    return read


@pytest.mark.parametrize(
    "entry", [samples, large_samples, absent_samples, refused_samples, engines, groups, single_reads]
)
def test_no_leak(tmp_path: Path, entry: Callable[[Path], Callable[[], object]]) -> None:
    """Thousands of calls, failing ones included, leak neither descriptors nor memory."""
    make(tmp_path)
    call = entry(tmp_path)
    call()
    files, grown = open_files(), list[int]()
    for _ in range(3):  # what leaks grows each time, what is kept for later does not
        before = allocated()
        for _ in range(CALLS):
            call()
        grown.append(allocated() - before)
    assert open_files() == files, f"{open_files() - files} descriptors were left open"
    assert min(grown) < CALLS, f"each {CALLS} calls left so many bytes allocated: {grown}"
