"""Which CPUs are the owner's alone: whole cores, as many as `owner.reserve_cpus` has room for.

Threads of one core share its speed, so a CPU is free only when its core is. The owner gets the
first cores: where cores differ, these are the faster ones. The rest of the reserve, a fraction of a
CPU or one thread of two, is enforced by the slice's quota alone.
"""

from collections.abc import Iterable
from pathlib import Path

SYS = Path("/sys")

Core = tuple[int, ...]
"""The numbers of its CPUs, ascending."""


def cpus_for_workers(reserve: float, sys: Path = SYS) -> str:
    """The CPUs that workers may run on, as the kernel writes them ("2-3,6"); empty: all of them."""
    return without_reserve(read_cores(sys), reserve) if reserve >= 1 else ""


def read_cores(sys: Path) -> set[Core]:
    """The cores that are online (Documentation/admin-guide/cputopology.rst)."""
    found = set[Core]()
    for file in sys.glob("devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list"):
        try:
            found.add(parse_cpus(file.read_text()))
        except OSError:  # it has just gone offline
            continue
    return found


def without_reserve(cores: Iterable[Core], reserve: float) -> str:
    """The CPUs of the cores after those that the reserve covers; at least one core is left."""
    left, free = sorted(cores), reserve
    while len(left) > 1 and len(left[0]) <= free:
        free -= len(left.pop(0))
    return format_cpus(cpu for core in left for cpu in core) if free < reserve else ""


def parse_cpus(text: str) -> Core:
    """The kernel's list of CPUs ("0,4", "0-1") as numbers."""
    cpus = set[int]()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(cpus))


def format_cpus(cpus: Iterable[int]) -> str:
    """CPUs as the kernel lists them."""
    ranges = list[tuple[int, int]]()
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1] = ranges[-1][0], cpu
        else:
            ranges.append((cpu, cpu))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
