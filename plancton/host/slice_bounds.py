"""The most that the slice may take, as the kernel's own knobs: memory, swap, CPUs, and the disk last.

They hold while the supervisor sleeps, hangs or is dead. See Documentation/admin-guide/cgroup-v2.rst ("Memory
Interface Files", "IO Interface Files", "IO Priority") and cgroup-v1/{memory,blkio-controller}.rst.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from plancton.files import read_knob
from plancton.units import human_bytes

PERIOD = 100_000
"""Microseconds: the kernel's default period of a CPU quota."""
PAGE = os.sysconf("SC_PAGE_SIZE")
Number = TypeVar("Number", int, float)
UNLIMITED = 1 << 60
"""From here on a v1 memory limit means none (the kernel's value depends on its page size)."""


class Limits(msgspec.Struct, frozen=True):
    """What the administrator lets the slice have at most: bytes, CPUs, processes. None: whatever
    there is; no ``allowed``: nothing is said about which CPUs."""

    memory: int | None = None
    swap: int | None = None
    cpus: float | None = None
    tasks: int | None = None
    allowed: frozenset[int] = frozenset()

    @property
    def words(self) -> str:
        """Those that are a number; empty: none."""
        said = (
            None if self.memory is None else f"{human_bytes(self.memory)} of memory",
            None if self.swap is None else f"{human_bytes(self.swap)} of swap",
            None if self.cpus is None else f"{self.cpus:g} CPUs",
            None if self.tasks is None else f"{self.tasks} processes",
        )
        return ", ".join(filter(None, said))


NO_LIMITS = Limits()


class Bounds(msgspec.Struct, frozen=True):
    """Bytes and CPUs that all workers together may use; None: no bound. ``cpuset``: the CPUs that
    they may run on, as the kernel lists them; empty: all; None: left as it is."""

    memory: int | None = None
    swap: int | None = None
    cpus: float | None = None
    cpuset: str | None = None

    @property
    def quota(self) -> int | None:
        """In hundredths of a percent of a CPU: systemd knows no smaller part, and would change it."""
        return None if self.cpus is None else cpu_quota(round(self.cpus, 4))

    def capped(self, cpus: float) -> "Bounds":
        return msgspec.structs.replace(self, cpus=least(self.cpus, cpus))

    def within(self, limits: Limits) -> "Bounds":
        memory, swap = least(self.memory, limits.memory), least(self.swap, limits.swap)
        return Bounds(memory, swap, least(self.cpus, limits.cpus), self.cpuset)


def cpu_quota(cpus: float) -> int:
    """Microseconds of CPU per PERIOD; the kernel's least is 1000 (kernel/sched/core.c)."""
    return max(1_000, round(cpus * PERIOD))


def least(*values: Number | None) -> Number | None:
    """Of those that are known."""
    return min((each for each in values if each is not None), default=None)


class Knob(NamedTuple):
    """A file of the slice, what it must hold, and the same for systemd, lest it undo that."""

    file: Path
    wanted: str
    unit: str = ""
    missing: bool = True

    def holds(self) -> bool:
        """Whether it does; ``missing`` where this kernel does not have the file."""
        found = read_knob(self.file)
        return self.missing if found is None else found == self.wanted


def _pages(size: int) -> str:
    return str(size // PAGE * PAGE)  # as the kernel rounds them


def v2_knobs(workers_slice: Path, bounds: Bounds) -> Iterator[Knob]:
    """For a slice on pure v2, by its directory."""
    quota = bounds.quota
    percent = "" if quota is None else f"{quota / PERIOD:.2%}"
    yield Knob(workers_slice / "cpu.max", f"{quota or 'max'} {PERIOD}", f"CPUQuota={percent}")
    if bounds.cpuset is not None:
        yield from _cpuset(workers_slice, bounds.cpuset)
    if bounds.memory is not None:
        memory = _pages(bounds.memory)
        yield Knob(workers_slice / "memory.max", memory, f"MemoryMax={memory}")
    if bounds.swap is not None:
        swap = _pages(bounds.swap)
        yield Knob(workers_slice / "memory.swap.max", swap, f"MemorySwapMax={swap}")
    yield Knob(workers_slice / "io.weight", "default 1", "IOWeight=1")
    yield Knob(workers_slice / "io.prio.class", "idle")


def _cpuset(workers_slice: Path, cpus: str) -> Iterator[Knob]:
    """The CPUs for the workers. To lift a bound all CPUs are written: the kernel lets no group with
    processes have an empty set (validate_change in kernel/cgroup/cpuset.c)."""
    file = workers_slice / "cpuset.cpus"
    # The file is there once the controller is enabled; systemd does that when it is told of CPUs.
    available = "cpuset" in (read_knob(workers_slice.parent / "cgroup.controllers") or "").split()
    if not cpus and read_knob(file):
        cpus = read_cpuset(workers_slice.parent) or ""
    if cpus:
        yield Knob(file, cpus, f"AllowedCPUs={cpus}", missing=not available)


def read_cpuset(group: Path) -> str | None:
    """The CPUs that a cgroup has, as the kernel lists them, on v2 or v1; None: it does not say."""
    return read_knob(group / "cpuset.cpus.effective") or read_knob(group / "cpuset.effective_cpus")


def v1_knobs(
    cpu: Path, memory: Path, blkio: Path | None, cpuset: Path | None, bounds: Bounds
) -> Iterator[Knob]:
    """For a slice on a hybrid host, by its directory in each v1 tree."""
    yield Knob(cpu / "cpu.cfs_quota_us", str(bounds.quota or -1))
    if cpuset and bounds.cpuset is not None:
        # The kernel refuses a set that lacks a worker's CPUs (validate_change): the next repair after
        # that worker's end will do it.
        yield from _cpuset(cpuset, bounds.cpuset)
    if bounds.memory is not None:
        yield Knob(memory / "memory.limit_in_bytes", _pages(bounds.memory))
        if bounds.swap is not None:
            yield Knob(memory / "memory.memsw.limit_in_bytes", _pages(bounds.memory + bounds.swap))
    if blkio:
        yield Knob(blkio / "blkio.bfq.weight", "1")
        yield Knob(blkio / "blkio.prio.class", "idle")


def find_limits(cpu: Path, memory: Path, v1: bool) -> Limits:
    """Those that a group's files hold, by its directories."""
    if v1:
        names = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
        quota = [read_knob(cpu / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    else:
        names = "memory.max", "memory.swap.max"
        quota = (read_knob(cpu / "cpu.max") or "").split()
    most, swap = (memory_ceiling(read_knob(memory / name)) for name in names)
    if v1 and swap is not None:  # there it is memory and swap
        swap = max(0, swap - most) if most is not None else None
    numbers = [int(each) for each in quota if re.fullmatch("[0-9]{1,18}", each)]
    return Limits(most, swap, numbers[0] / numbers[1] if len(numbers) == 2 and numbers[1] else None)


def memory_ceiling(text: str | None) -> int | None:
    """From memory.max or memory.limit_in_bytes; None where there is no limit."""
    size = int(text) if text and re.fullmatch(r"[0-9]{1,20}", text) else UNLIMITED
    return None if size >= UNLIMITED else size
