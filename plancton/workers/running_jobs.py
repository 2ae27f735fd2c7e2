"""Which workers run a job, and since when: from the kernel's files, which are cheap to read.

HTCondor keeps one process for each running job (`htcondor.JOB_PROCESS`), whose child the job is.
Both are in the worker's ``cgroup.procs`` (https://docs.kernel.org/admin-guide/cgroup-v2.html),
which everybody may read. One without a child is only asked for its properties, or fetches files.

A process's command line tells more, but is never read: it comes out of the other's memory, and who
reads waits for the lock on that (mmap_lock in mm/mmap.c), which a job can keep for seconds.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from plancton.files import most_kept_open, read_knob
from plancton.host.sampler import read_process

SETTLED = 1.0
"""Seconds after which a process has its final name: at first it is a copy of its parent."""
MOST = 256
"""How many new processes of a worker one pass looks at: a job may have thousands."""
LARGEST = 64 * 1024
"""Bytes read of a list of processes."""
LONGEST_PID = 11
"""Digits of a pid are fewer: at most 2^22 (PID_MAX_LIMIT in include/linux/threads.h)."""
PAGE = 4096
"""The kernel returns at most this much of a list per call."""


class _Seen(NamedTuple):
    """A process's parent, and when it started if it is one that is kept for a job."""

    parent: int
    started: float | None


class _Group:
    """One worker's cgroup: its processes, and those among them that have run a job."""

    def __init__(self, path: Path, keep_open: bool) -> None:
        os.stat(path)  # there is one
        self.path = path
        self.descriptor: int | None = None
        if keep_open:
            with suppress(OSError):
                self.descriptor = _open(path)
        self.text = b""
        self.known: dict[int, _Seen] = {}
        self.working: set[int] = set()
        self.jobs: tuple[float, ...] = ()

    def read(self) -> bytes:
        if self.descriptor is not None:
            return _read(self.descriptor)
        descriptor = _open(self.path)
        try:
            return _read(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class JobWatch:
    """Watches workers' cgroups by name. Start times are CLOCK_BOOTTIME seconds."""

    def __init__(self, proc: Path, command: str) -> None:
        self._proc, self._command = proc, command
        self._groups: dict[str, _Group] = {}
        self._most = most_kept_open()

    def watch(self, groups: Mapping[str, Path]) -> None:
        for name in self._groups.keys() - groups.keys():
            self._groups.pop(name).close()
        kept = sum(group.descriptor is not None for group in self._groups.values())
        for name, directory in groups.items():
            if name not in self._groups:
                with suppress(OSError):  # it has ended meanwhile
                    self._groups[name] = _Group(directory / "cgroup.procs", kept < self._most)
                    kept += 1

    def read(self, boottime: float) -> dict[str, tuple[float, ...]]:
        return {name: self._jobs(group, boottime) for name, group in self._groups.items()}

    def close(self) -> None:
        self.watch({})

    def _jobs(self, group: _Group, boottime: float) -> tuple[float, ...]:
        try:
            text = group.read()
        except OSError:  # the cgroup is gone, or there is no descriptor to read it with
            group.close()  # made again if the worker was restarted: from now on it is opened each time
            text = b""
        if not text or text == group.text:  # without a process it has ended, and its last jobs count
            return group.jobs
        pids = [int(word) for word in text.split() if word.isdigit() and len(word) < LONGEST_PID]
        known = {pid: group.known[pid] for pid in pids if pid in group.known}
        fresh = [pid for pid in pids if pid not in known]
        for pid in fresh[:MOST]:
            if seen := self._look(pid, boottime):
                known[pid] = seen
        starts = {pid: seen.started for pid, seen in known.items() if seen.started is not None}
        # Once its job is done it has no child, but is still there to send the output.
        group.working = (group.working | {seen.parent for seen in known.values()}) & starts.keys()
        group.known = known
        group.jobs = tuple(sorted(starts[pid] for pid in group.working))
        group.text = text if len(known) == len(pids) else b""
        return group.jobs

    def _look(self, pid: int, boottime: float) -> _Seen | None:
        process = read_process(pid, self._proc)
        if process is None:
            return _Seen(0, None)
        if boottime - process.started < SETTLED:
            return None
        name = read_knob(self._proc / str(pid) / "comm")
        return _Seen(process.ppid, process.started if name == self._command[:15] else None)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _read(descriptor: int) -> bytes:
    """A list of processes: each call returns some hundreds."""
    text = piece = os.pread(descriptor, LARGEST, 0)
    while len(piece) > PAGE // 2 and len(text) < LARGEST:
        piece = os.pread(descriptor, LARGEST - len(text), len(text))
        text += piece
    return text
