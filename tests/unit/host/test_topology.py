"""Which CPUs count, which cores are the owner's alone, and where workers may run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.trees import Tree, cores, stat, tree

from plancton.host.topology import Core, Cpus, Topology, format_cpus, parse_cpus, without_reserve

NEIGHBOURS = ((0, 1), (2, 3), (4, 5), (6, 7))
FAR = ((0, 4), (1, 5), (2, 6), (3, 7))
"""As most Intel and AMD machines count: first one thread of each core, then the others."""
MIXED = ((0, 1), (2, 3), (4,), (5,))
"""Two fast cores with two threads each, and two small ones."""
SINGLE = ((0,), (1,), (2,))
ISOLATED = "0-23,28-55,60-63"
"""Of 64 CPUs, in cores of N and N + 32; 24-27 and 56-59 are left."""
LEFT = frozenset({24, 25, 26, 27, 56, 57, 58, 59})


@pytest.mark.parametrize(
    ("cores", "reserve", "left"),
    [
        (NEIGHBOURS, 0, "0-7"),
        (NEIGHBOURS, 1.9, "0-7"),
        (NEIGHBOURS, 2, "2-7"),
        (NEIGHBOURS, 5, "4-7"),
        (NEIGHBOURS, 8, "6-7"),
        (FAR, 2, "1-3,5-7"),
        (FAR, 4, "2-3,6-7"),
        (MIXED, 3, "2-5"),
        (MIXED, 5, "5"),
        (SINGLE, 1.5, "1-2"),
        (((0, 1),), 2, "0-1"),
        ((), 2, ""),
    ],
)
def test_without_reserve(cores: tuple[Core, ...], reserve: float, left: str) -> None:
    """As many whole cores are kept as the reserve covers, but never the last one."""
    assert format_cpus(without_reserve(cores, reserve)) == left


@given(st.lists(st.integers(1, 8), min_size=1, max_size=40), st.floats(0, 300))
def test_whole_cores(threads: list[int], reserve: float) -> None:
    """On any host, no core is shared, no more is kept than reserved, and something is left."""
    first = [sum(threads[:place]) for place in range(len(threads))]
    cores = [tuple(range(cpu, cpu + count)) for cpu, count in zip(first, threads, strict=True)]
    everything = set(range(sum(threads)))
    left = without_reserve(cores, reserve)
    assert left and left <= everything
    assert len(everything - left) <= reserve
    assert all(left.issuperset(core) or left.isdisjoint(core) for core in cores)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_lists(cpus: set[int]) -> None:
    """A list in the kernel's format survives writing and reading."""
    assert parse_cpus(f"{format_cpus(cpus)}\n") == cpus


@given(st.text() | st.sampled_from(["(null)", "", "\n", "1-", "-1", "0-99999999999", "3,,4", "9" * 5000]))
def test_odd_lists(text: str) -> None:
    """Whatever a list says, reading it costs little and raises nothing."""
    assert len(parse_cpus(text)) <= 100_000


class Host:
    """A /proc and a /sys of files."""

    def __init__(self, root: Path, *siblings: str, cpus: int = 0) -> None:
        self.proc, self.sys = root / "proc", root / "sys"
        self.cpu = self.sys / "devices/system/cpu"
        self.has(cores(*siblings))
        tree(self.proc, {"stat": stat(cpus=cpus or sum(len(each.split(",")) for each in siblings))})

    def has(self, files: Tree) -> None:
        tree(self.cpu, files)

    def read(self, reserve: float = 0.0, allowed: str | None = None, small_only: bool = False) -> Cpus:
        return Topology(self.proc, self.sys).read(reserve, allowed, small_only)


def large(root: Path) -> Host:
    """64 CPUs, of which 8 are not isolated."""
    host = Host(root, *(f"{cpu},{cpu + 32}" for cpu in range(32)))
    host.has({"isolated": f"{ISOLATED}\n"})
    return host


def test_cores(tmp_path: Path) -> None:
    """Cores are found by their threads; an offline CPU does not count."""
    host = Host(tmp_path, "0,2", "1,3", "4")
    host.has({"cpu9": {"topology": {}}, "cpufreq": {}})
    assert host.read(2) == Cpus(None, "1,3-4")
    assert host.read(0.5) == Cpus() == host.read()


def test_isolated_cpus(tmp_path: Path) -> None:
    """Isolated CPUs do not count, workers keep off them, and the owner's cores are of the others."""
    host = large(tmp_path)
    assert host.read() == Cpus(LEFT, "24-27,56-59") and host.read().number == 8
    assert host.read(2) == Cpus(LEFT, "25-27,57-59")
    assert host.read(64) == Cpus(LEFT, "27,59")
    host.has({"isolated": "\n", "nohz_full": f"{ISOLATED}\n"})
    assert host.read() == Cpus(LEFT, "24-27,56-59")


def test_the_cpuset(tmp_path: Path) -> None:
    """What the slice's cpuset can't have does not count either, and needs no bound of ours."""
    host = large(tmp_path)
    assert host.read(0, "20-25") == Cpus(frozenset({24, 25}), "24-25")
    assert host.read(0, "24-25") == Cpus(frozenset({24, 25}))
    assert host.read(0, "0-3").number == 4, "confined to isolated CPUs, they are all that there is"
    assert host.read(0, "") == host.read() == host.read(0, "0-63")


def test_numbers_of_a_container(tmp_path: Path) -> None:
    """Where lxcfs counts a container's CPUs from 0, its /proc/stat is right as it is, and numbers
    from elsewhere mean other CPUs."""
    host = Host(tmp_path, "0,1", "2,3")
    assert host.read(2, "3,7,9,12") == Cpus(), "lxcfs shows its own numbers in all of /sys"
    host = Host(tmp_path / "older", *(str(cpu) for cpu in range(16)), cpus=4)
    assert host.read(2, "3,7,9,12") == Cpus(), "lxcfs shows the host's numbers in /sys"


def test_a_cpu_without_siblings(tmp_path: Path) -> None:
    """A CPU whose siblings are missing or odd is as if it were offline, until it has some."""
    host = Host(tmp_path, "0", "1", "2", "3")
    listed = host.cpu / "cpu3/topology/thread_siblings_list"
    topology = Topology(host.proc, host.sys)
    for odd in ("\n", "", "x", "7"):
        listed.write_text(odd)
        assert topology.read(1) == Cpus(frozenset({0, 1, 2}), "1-2")
    listed.write_text("3\n")
    assert topology.read(1) == Cpus(None, "1-3")
    for cpu in range(4):
        (host.cpu / f"cpu{cpu}/topology/thread_siblings_list").write_text("\n")
    assert host.read(1) == Cpus(), "a virtual machine that does not know its topology"


def test_the_owner_gets_the_big_cores(tmp_path: Path) -> None:
    """By their capacity, then by their frequency, then by number."""
    host = Host(tmp_path, *map(str, range(6)))
    for cpu in range(6):
        host.has({f"cpu{cpu}": {"cpu_capacity": "472\n" if cpu < 2 else "1024\n"}})
    assert host.read(2) == Cpus(None, "0-1,4-5")
    assert host.read(5) == Cpus(None, "1")
    for cpu, frequency in ((0, 1_896_000), (1, 2_400_000), (5, 2_208_000)):
        host.has({f"cpu{cpu}": {"cpufreq": {"cpuinfo_max_freq": f"{frequency}\n"}}})
    assert host.read(1) == Cpus(None, "0-4"), "of two that are equally able, the quicker one"
    host.has({"cpu1": {"cpu_capacity": "no number"}})
    assert host.read(5) == Cpus(None, "1")


def big_and_little(host: Host, file: str, big: int, little: int, first_little: int = 4) -> None:
    for cpu in range(6):
        path, _, name = f"cpu{cpu}/{file}".rpartition("/")
        tree(host.cpu / path, {name: f"{big if cpu < first_little else little}\n"})


@pytest.mark.parametrize(
    ("file", "big", "little"),
    [
        ("cpu_capacity", 1024, 446),  # Arm: Odroid N2, RK3588
        ("cpufreq/cpuinfo_max_freq", 4_900_000, 3_600_000),  # Intel of the 12th generation
        ("cpufreq/cpuinfo_max_freq", 5_600_000, 4_300_000),  # and of the 14th
        ("cpufreq/cpuinfo_max_freq", 5_100_000, 3_300_000),  # AMD with Zen 5 and 5c
    ],
)
def test_the_small_cores(tmp_path: Path, file: str, big: int, little: int) -> None:
    """Workers keep to them if that is asked for, and to their number; the owner's reserve is of the
    big ones."""
    host = Host(tmp_path, *map(str, range(6)))
    big_and_little(host, file, big, little)
    assert host.read(small_only=True) == Cpus(None, "4-5", 2)
    assert host.read(2, small_only=True) == Cpus(None, "4-5", 2)
    assert host.read(5, small_only=True) == Cpus(None, "5", 1)
    assert host.read(small_only=True, allowed="0-4") == Cpus(frozenset(range(5)), "4", 1)
    assert host.read() == Cpus()


@pytest.mark.parametrize(("big", "little"), [(5_800_000, 5_500_000), (3_000_000, 3_000_000)])
def test_cores_that_are_alike(tmp_path: Path, big: int, little: int) -> None:
    """A few percent of clock make no small core, nor does a kernel that tells nothing."""
    host = Host(tmp_path, *map(str, range(6)))
    assert host.read(small_only=True) == Cpus()
    big_and_little(host, "cpufreq/cpuinfo_max_freq", big, little)
    assert host.read(small_only=True) == Cpus()
    host.has({f"cpu{cpu}": {"cpu_capacity": "1024\n"} for cpu in range(6)})
    assert host.read(small_only=True) == Cpus()


def test_intel_lists_them(tmp_path: Path) -> None:
    """Where the kernel lists the small cores that is what counts, unless it lists all."""
    host = Host(tmp_path, "0,1", "2,3", "4", "5")
    tree(host.sys / "devices/cpu_atom", {"cpus": "4-5\n"})
    assert host.read(small_only=True) == Cpus(None, "4-5", 2)
    host.has({"isolated": "5\n"})
    assert host.read(small_only=True) == Cpus(frozenset(range(5)), "4", 1)
    host.has({"isolated": "4-5\n"})
    assert host.read(small_only=True) == Cpus(frozenset(range(4)), "0-3"), "they are somebody's own"
    tree(host.sys / "devices/cpu_atom", {"cpus": "0-5\n"})
    host.has({"isolated": "\n"})
    assert host.read(small_only=True) == Cpus()


def test_changes_are_seen(tmp_path: Path) -> None:
    """A CPU that goes offline, and cores that are isolated later, are noticed."""
    host = Host(tmp_path, "0", "1", "2", "3")
    topology = Topology(host.proc, host.sys)
    assert topology.read(1) == Cpus(None, "1-3")
    host.has({"online": "0-2\n"})
    assert topology.read(1) == Cpus(None, "1-2")
    host.has({"online": "0-3\n", "isolated": "2-3\n"})
    assert topology.read(0) == Cpus(frozenset({0, 1}), "0-1")
