"""Which CPUs are there for workers, and which are the owner's alone.

What counts are the CPUs that are online, not isolated (the boot parameters isolcpus and nohz_full:
Documentation/admin-guide/kernel-parameters.txt), and within the cpuset that the slice may have at
most. Capacity is how many they are, and only their time is anybody's load.

Where cores differ, workers may be kept to the small ones (`worker.cores: efficiency`).

Of these the owner gets whole cores, as many as `owner.reserve_cpus` has room for, because threads of one core
share its speed: a CPU is free only when its core is. Where cores differ, the owner gets the big ones. The
rest of the reserve, a fraction of a CPU or one thread of two, is enforced by the slice's quota alone.

The slice's cpuset never contains isolated CPUs. No load balancing reaches those (sched domains are
built without them, kernel/sched/topology.c), but a cpuset does: to join one resets a process's
affinity to all of its CPUs (cpuset_attach_task in kernel/cgroup/cpuset.c), and a process that is
just on none of them is moved onto any (cpumask_any_and_distribute in __set_cpus_allowed_ptr_locked,
kernel/sched/core.c), where it stays, for nothing balances it away.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from plancton.files import read_knob, read_number

PROC = Path("/proc")
SYS = Path("/sys")

SMALL = 0.8
"""A core with less than this part of the biggest one's ability is a small one. Of cores that are
equally big some may be a few percent quicker (Intel's favoured cores: 5 %); the smallest difference
in design that we know of makes 23 %."""

Core = tuple[int, ...]
"""The numbers of its CPUs, ascending."""


class Cpus(msgspec.Struct, frozen=True):
    """``counted``: the CPUs that capacity and load are of; None: all that /proc/stat lists. ``for_workers``:
    those among them that workers may run on, as the kernel lists them ("2-3,6"); empty: wherever the kernel
    lets them. ``most``: how many these are, where they are the small cores' only."""

    counted: frozenset[int] | None = None
    for_workers: str = ""
    most: int | None = None

    @property
    def number(self) -> int:
        return len(self.counted) if self.counted else os.cpu_count() or 1


class Topology:
    """This host's CPUs. To read them takes three small files, unless what they say has changed."""

    def __init__(self, proc: Path = PROC, sys: Path = SYS) -> None:
        self._stat, self._directory = proc / "stat", sys / "devices/system/cpu"
        self._lists: tuple[str | None, ...] | None = None
        self._online = self._allowed = self._usable = frozenset[int]()
        self._cores: Sequence[Core] | None = None
        self._small = frozenset[int]()

    def read(self, reserve: float, allowed: str | None = None, small_only: bool = False) -> Cpus:
        """What it is now. ``reserve``: the owner's CPUs; ``allowed``: those that the slice may have
        at most, as the kernel lists them (None: all); ``small_only``: workers are kept to the small
        cores, if there are some."""
        files = (self._directory / name for name in ("online", "isolated", "nohz_full"))
        lists = (*map(read_knob, files), allowed)
        if lists != self._lists:
            self._lists = lists
            self._use(*map(parse_cpus, lists))
        counted = left = self._usable
        small = frozenset[int]()
        if (reserve >= 1 or small_only) and self._usable:
            if self._cores is None:
                self._cores = read_cores(self._directory, self._usable)
                self._small = small_cpus(self._directory, self._cores)
            counted = frozenset(cpu for core in self._cores for cpu in core) or counted
            left = without_reserve(self._cores, reserve) or counted
            small = left & self._small if small_only else small
            left = small or left
            if counted != self._usable:  # one comes or goes just now: look again at the next reading
                self._cores = None
        return Cpus(
            None if counted == self._online else counted,
            "" if left == self._allowed else format_cpus(left),
            len(small) or None,
        )

    def _use(
        self,
        online: frozenset[int],
        isolated: frozenset[int],
        tickless: frozenset[int],
        allowed: frozenset[int],
    ) -> None:
        self._online, self._allowed, self._cores = online, allowed or online, None
        # A container may be confined to isolated CPUs: then they are all that there is.
        self._usable = self._allowed - isolated - tickless or self._allowed
        if self._usable != online and not self._allowed <= online == self._in_stat():
            # In a container lxcfs counts CPUs from 0, but not in all of these files. What it lists
            # in /proc/stat is the container's cpuset.
            self._online = self._allowed = self._usable = frozenset()

    def _in_stat(self) -> frozenset[int]:
        found = re.findall(r"^cpu([0-9]{1,5}) ", read_knob(self._stat) or "", re.MULTILINE)
        return frozenset(map(int, found))


def read_cores(directory: Path, cpus: Iterable[int]) -> list[Core]:
    """The cores that these CPUs make up, the big ones first. A CPU without siblings is passed over:
    it is going offline, or coming (Documentation/admin-guide/cputopology.rst)."""
    siblings = {
        cpu: parse_cpus(read_knob(directory / f"cpu{cpu}/topology/thread_siblings_list")) for cpu in cpus
    }
    known = {cpu for cpu, listed in siblings.items() if cpu in listed}
    cores = {tuple(sorted(siblings[cpu] & known)) for cpu in known}
    return sorted(cores, key=lambda core: (*(-each for each in _ability(directory, core)), core))


def _ability(directory: Path, core: Core) -> tuple[int, int]:
    """By cpu_capacity, which the kernel tells where cores differ in design, and by the highest
    frequency; 0: it does not tell. Threads of one core have the same."""
    own = directory / f"cpu{core[0]}"
    return read_number(own / "cpu_capacity") or 0, read_number(own / "cpufreq/cpuinfo_max_freq") or 0


def small_cpus(directory: Path, cores: Sequence[Core]) -> frozenset[int]:
    """Those of the small cores; empty: all are alike, or the kernel does not tell how they differ.
    Intel's it lists (events/intel in arch/x86), others have less capacity or a lower frequency."""
    small = parse_cpus(read_knob(directory.parents[1] / "cpu_atom/cpus"))
    if not small:
        able = {core: _ability(directory, core) for core in cores}
        by = 0 if len({capacity for capacity, _ in able.values()}) > 1 else 1
        most = max((each[by] for each in able.values()), default=0)
        small = frozenset(cpu for core in cores if 0 < able[core][by] < SMALL * most for cpu in core)
    return small if any(small.isdisjoint(core) for core in cores) else frozenset()


def without_reserve(cores: Sequence[Core], reserve: float) -> frozenset[int]:
    """The CPUs of the cores after those, from the first on, that the reserve covers; at least one
    core is left."""
    left, free = list(cores), reserve
    while len(left) > 1 and len(left[0]) <= free:
        free -= len(left.pop(0))
    return frozenset(cpu for core in left for cpu in core)


def parse_cpus(text: str | None) -> frozenset[int]:
    """The kernel's list of CPUs ("0,4", "0-1") as numbers. Some kernels write "(null)" for an empty
    one; so is whatever else is no such list."""
    cpus = set[int]()
    for part in (text or "").strip().split(","):
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        if found is None:
            return frozenset()
        cpus.update(range(int(found[1]), int(found[2] or found[1]) + 1))
    return frozenset(cpus)


def format_cpus(cpus: Iterable[int]) -> str:
    ranges = list[tuple[int, int]]()
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1] = ranges[-1][0], cpu
        else:
            ranges.append((cpu, cpu))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
