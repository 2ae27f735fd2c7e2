"""The kernel's counters, read all at once in C.

Files stay open and are read from the start each time (the kernel then writes the text afresh), in
one C call without the GIL. A file that vanished is opened again by its path, so a slice that was
removed and made again is seen at once. Units: seconds and bytes.
"""

import errno
import logging
import os
import time
from collections.abc import Collection, Container, Hashable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from plancton.errors import PlanctonError
from plancton.files import NO_DESCRIPTOR, most_kept_open, read_knob
from plancton.host._sampler import ffi, lib
from plancton.host.mounts import parse_mounts
from plancton.model import Sample

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

USER_HZ = os.sysconf("SC_CLK_TCK")
"""The unit of CPU time in /proc, in ticks per second (man 5 proc)."""

_sample, _unpack, _UNKNOWN = lib.plancton_sample, ffi.unpack, lib.PLANCTON_UNKNOWN
_monotonic, _clock, _BOOTTIME = time.monotonic, time.clock_gettime, time.CLOCK_BOOTTIME


class SamplerError(PlanctonError):
    """A file that every decision needs has no usable figures; one line that names it."""


class Source(IntEnum):
    """What a file is: how C parses it (see csrc/sampler.h)."""

    STAT = lib.PLANCTON_STAT
    MEMINFO = lib.PLANCTON_MEMINFO
    CPU_STAT = lib.PLANCTON_CPU_STAT
    MEMORY_STAT = lib.PLANCTON_MEMORY_STAT
    PID_STAT = lib.PLANCTON_PID_STAT
    ARC = lib.PLANCTON_ARC


_BY_NAME = {"cpu.stat": Source.CPU_STAT, "memory.stat": Source.MEMORY_STAT, "stat": Source.PID_STAT}
_UNIT = {Source.CPU_STAT: 1e6, Source.PID_STAT: float(USER_HZ)}


class _Files:
    """Files whose descriptors stay open, and what the last read found: ``values[i]`` are C's
    numbers, valid when ``error(i)`` is 0."""

    def __init__(self, files: Iterable[tuple[Path | None, Source]] = ()) -> None:
        self.paths: list[Path | None] = []
        self._fds = ffi.new("int[]", 0)
        self._counted, self._cpus = ffi.NULL, 0
        self.assign(files)

    def assign(self, files: Iterable[tuple[Path | None, Source]]) -> None:
        """Switch to these files; one that is already open stays open."""
        spare: dict[Path | None, list[int]] = {}
        for i, path in enumerate(self.paths):
            spare.setdefault(path, []).append(self._fds[i])
        pairs = list(files)
        self.paths = [path for path, _ in pairs]
        self.kinds = [kind for _, kind in pairs]
        fds = [spare[path].pop() if spare.get(path) else -1 for path in self.paths]
        for fd in (fd for rest in spare.values() for fd in rest if fd >= 0):
            os.close(fd)
        self._fds = ffi.new("int[]", fds)
        self._kinds = ffi.new("uint8_t[]", [int(kind) for kind in self.kinds])
        self._out = ffi.new("struct plancton_reading[]", len(fds))
        self._readings = [self._out[i] for i in range(len(fds))]
        self.values = [reading.value for reading in self._readings]

    def count(self, cpus: Collection[int] | None) -> None:
        """Of /proc/stat only these CPUs count from now on; None: all."""
        self._cpus = max(cpus, default=-1) + 1 if cpus else 0
        self._counted = ffi.new("uint8_t[]", [cpu in cpus for cpu in range(self._cpus)]) if cpus else ffi.NULL

    def read(self) -> int:
        """Read all that are open; how many have no figures now."""
        return _sample(self._fds, self._kinds, self._out, len(self.paths), self._counted, self._cpus)

    def failed(self) -> list[int]:
        """Those without figures."""
        return [i for i, reading in enumerate(self._readings) if reading.error]

    def error(self, i: int) -> int:
        """The errno of the last attempt to open or read; 0 when there are figures."""
        return -int(self._readings[i].error)

    def open(self, i: int) -> bool:
        """Open and read one; False (and ``error``) when there is nothing to read."""
        path = self.paths[i]
        if path is None:
            return False
        try:
            self._fds[i] = os.open(path, os.O_RDONLY)
        except OSError as error:
            self._readings[i].error = -(error.errno or errno.EIO)
            if error.errno in NO_DESCRIPTOR:
                _warn(error.errno)
            return False
        failed = _sample(self._fds + i, self._kinds + i, self._out + i, 1, self._counted, self._cpus)
        return not (failed and self.close(i))

    def is_missing(self, i: int) -> None:
        """There is no such file: note it without trying to open it."""
        self._readings[i].error = -errno.ENOENT

    def close(self, i: int) -> bool:
        """Whether it was open."""
        fd = self._fds[i]
        if fd < 0:
            return False
        os.close(fd)
        self._fds[i] = -1
        return True

    def close_all(self) -> None:
        for i in range(len(self.paths)):
            self.close(i)

    def __del__(self) -> None:
        self.close_all()

    def number(self, i: int) -> float | None:
        """The one number of a file that has one: CPU seconds or bytes."""
        if self._readings[i].error:
            return None
        unit, count = _UNIT.get(self.kinds[i]), int(self.values[i][0])
        return count / unit if unit else count


# Sampler's files by number; the engine's follow.
_STAT, _MEMINFO, _SLICE_CPU, _SLICE_ANON, _ARC, _ENGINE = range(6)
_ABSENT = {0, errno.ENOENT, errno.ENODEV, errno.EBADF}
"""What a file of the slice gives while there is none (ENODEV: it was removed while open)."""


class Sampler:
    """Reads host, slice and engine in one call. ``slice_v2`` is the slice's directory in the v2
    tree (it need not exist yet), ``slice_memory_stat`` its memory.stat if elsewhere (v1). ``cpus``
    are the CPUs that count; None: all."""

    def __init__(
        self,
        proc: Path = Path("/proc"),
        slice_v2: Path | None = None,
        slice_memory_stat: Path | None = None,
        cpus: Collection[int] | None = None,
    ) -> None:
        def of_slice(name: str) -> Path | None:
            return slice_v2 / name if slice_v2 else None

        self._fixed: list[tuple[Path | None, Source]] = [
            (proc / "stat", Source.STAT),
            (proc / "meminfo", Source.MEMINFO),
            (of_slice("cpu.stat"), Source.CPU_STAT),
            (slice_memory_stat or of_slice("memory.stat"), Source.MEMORY_STAT),
            (proc / "spl/kstat/zfs/arcstats" if counts_arc(proc) else None, Source.ARC),
        ]
        self._files = _Files(self._fixed)
        self._files.count(cpus)
        self._hopeless = {i for i, (path, _) in enumerate(self._fixed) if path is None}
        self._engine: frozenset[Path] = frozenset()
        self._engine_slots: list[int] = []
        self._epoch = self._arc = 0
        self._files.read()
        self._repair()

    def watch_engine(self, paths: Sequence[Path]) -> None:
        """These cgroups' ``cpu.stat`` and processes' ``/proc/PID/stat`` are the engine from now on.
        The same set changes nothing, except that vanished processes are looked for again."""
        files, engine = self._files, frozenset(paths)
        if engine == self._engine:
            again = self._hopeless.intersection([_ARC, *self._engine_slots])  # ZFS may be loaded late
            back = [i for i in again if files.open(i)]
            self._hopeless.difference_update(back)
            self._epoch += bool(back)
            return
        members = [(path, _BY_NAME[path.name]) for path in sorted(engine)]
        for i in self._engine_slots:
            files.close(i)
        files.assign([*self._fixed, *members])
        self._engine = engine
        self._engine_slots = list(range(_ENGINE, len(files.paths)))
        self._hopeless = {i for i in self._hopeless if i < _ENGINE}
        for i in self._engine_slots:
            files.open(i)
        self._epoch += 1

    def count(self, cpus: Collection[int] | None) -> None:
        """Only these CPUs count from now on: samples from before can't be compared any more."""
        self._files.count(cpus)

    def clocks(self) -> tuple[float, float]:
        """CLOCK_MONOTONIC and CLOCK_BOOTTIME."""
        return _monotonic(), _clock(_BOOTTIME)

    def sample(self) -> Sample:
        """All counters now; SamplerError when /proc/stat or /proc/meminfo has no figures."""
        files, unreadable = self._files, ""
        monotonic, boottime = self.clocks()
        if files.read() > len(self._hopeless):
            self._repair()
            if unusable := self._unreadable(_STAT, _MEMINFO):
                raise SamplerError(unusable)
            unreadable = self._unreadable(_SLICE_CPU, _SLICE_ANON, absent=_ABSENT)
        values, number = files.values, files.number
        cpus, user, nice, system, idle, iowait, irq, softirq, steal = _unpack(values[_STAT], 9)
        swap = values[_MEMINFO][2]
        (total, available), arc = self._memory(), self._arc
        anon = number(_SLICE_ANON)
        return Sample(
            monotonic,
            boottime,
            cpus,
            (user + nice + system + irq + softirq) / USER_HZ,  # guest time is in user and nice already
            (idle + iowait) / USER_HZ,
            steal / USER_HZ,
            total,
            available,
            swap,
            number(_SLICE_CPU),
            None if anon is None else int(anon),
            self._engine_seconds() if self._engine_slots else None,
            self._epoch,
            unreadable,
            arc,
            softirq / USER_HZ,
        )

    def memory(self) -> tuple[int, int | None] | None:
        """Total and available, as the last `sample` found them: they may be known without CPUs."""
        if self._files.error(_MEMINFO):
            return None
        return self._memory()

    def _memory(self) -> tuple[int, int | None]:
        """Total and available. ZFS's cache (ARC) gives its memory back like the page cache, but the
        kernel counts it as used: it is neither page cache nor reclaimable slab (si_mem_available in
        mm/show_mem.c). OpenZFS frees all above c_min when asked (arc_evictable_memory in
        module/os/linux/zfs/arc_os.c). That is read at each tick, on hosts with ZFS only: an older
        figure would count memory twice that the owner has just taken from the cache."""
        files, (total, available) = self._files, _unpack(self._files.values[_MEMINFO], 2)
        if not files.error(_ARC):
            size, least = _unpack(files.values[_ARC], 2)
            self._arc = max(0, size - least)
        elif _ARC in self._hopeless:  # else one bad reading
            self._arc = 0
        return total, None if available == _UNKNOWN else min(total, available + self._arc)

    def close(self) -> None:
        """Close all files; a later sample would open them again."""
        self._files.close_all()

    def _engine_seconds(self) -> float | None:
        known = [n for n in map(self._files.number, self._engine_slots) if n is not None]
        return sum(known) if known else None

    def _repair(self) -> None:
        """Reopen and read what has no figures; give up on what will never have any."""
        files, changed = self._files, False
        for i in files.failed():
            if i not in self._hopeless:
                changed |= self._retry(i) and i >= _ENGINE
        self._epoch += changed

    def _unreadable(self, *numbers: int, absent: Container[int] = (0,)) -> str:
        """The first of these files that has no figures although it is there, and why."""
        files = self._files
        errors = ((i, files.error(i)) for i in numbers)
        return next((f"{files.paths[i]}: {_words(e)}" for i, e in errors if e not in absent), "")

    def _retry(self, i: int) -> bool:
        """Whether the file was there before or is there now."""
        files = self._files
        vanished = files.close(i)
        if i == _SLICE_ANON and files.error(_SLICE_CPU):
            files.is_missing(i)  # no slice: one attempt per tick is enough
        elif i == _SLICE_CPU and not os.access(files.paths[i] or "", os.F_OK):
            files.is_missing(i)  # no slice yet; cheaper than an open that fails with an exception
        elif files.kinds[i] is Source.PID_STAT:
            self._hopeless.add(i)  # by now the pid may belong to another process
        elif files.open(i):
            return True
        elif i == _ARC and files.error(i) in _ABSENT:
            self._hopeless.add(i)
        return vanished


class Group(Generic[K]):
    """Many cgroups' ``cpu.stat`` and ``memory.stat``, kept open and read in one call. Where
    descriptors are few, the others are opened for each reading, which takes longer."""

    def __init__(self, paths: Mapping[K, Path] | None = None) -> None:
        self._files = _Files()
        self._most = most_kept_open()
        self._slots: dict[K, int] = {}
        self.watch(paths or {})

    def watch(self, paths: Mapping[K, Path]) -> None:
        """Read these from now on; a file that was watched before stays open."""
        unique = list(dict.fromkeys(paths.values()))
        if unique != self._files.paths:
            self._files.assign((path, _BY_NAME[path.name]) for path in unique)
            for i in range(self._most, len(unique)):  # what was kept before, at another place
                self._files.close(i)
        slot = {path: i for i, path in enumerate(unique)}
        self._slots = {key: slot[path] for key, path in paths.items()}

    def read(self) -> dict[K, float | None]:
        """For each key CPU seconds (cpu.stat) or bytes (memory.stat); None: not there."""
        files = self._files
        if files.read():
            for i in files.failed():
                files.close(i)
                files.open(i)
                if i >= self._most:
                    files.close(i)
        return {key: files.number(i) for key, i in self._slots.items()}

    def close(self) -> None:
        self._files.close_all()


class Process(msgspec.Struct, frozen=True):
    """When a process started (CLOCK_BOOTTIME seconds), CPU seconds it has used, and its parent."""

    started: float
    cpu: float
    ppid: int


def read_process(pid: int, proc: Path = Path("/proc")) -> Process | None:
    """None when there is no such process."""
    files = _Files([(proc / str(pid) / "stat", Source.PID_STAT)])
    try:
        if not files.open(0):
            return None
        cpu, started, parent = _unpack(files.values[0], 3)
        return Process(started / USER_HZ, cpu / USER_HZ, parent)
    finally:
        files.close_all()


def counts_arc(proc: Path) -> bool:
    """Whether ZFS's cache, if there is one, is of the memory that /proc/meminfo is about. In a
    container that is lxcfs's, and the cache is the whole host's."""
    mounts = parse_mounts(read_knob(proc / "self/mountinfo") or "")
    return not any(m.point == proc / "meminfo" and m.kind.startswith("fuse") for m in mounts)


@cache
def _warn(error: int) -> None:
    """Once: with many workers there would be thousands."""
    log.warning("%s, so some figures are unknown: raise the limit (ulimit -n)", os.strerror(error))


def _words(error: int) -> str:
    if error == errno.ENODATA:
        return "is empty"
    return "not in the form that the kernel writes" if error == errno.EBADMSG else os.strerror(error)
