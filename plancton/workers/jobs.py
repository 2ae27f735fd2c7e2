"""Which workers run a job, and since when: from the kernel's files, which are cheap to read.

HTCondor keeps one process for each running job (`htcondor.JOB_PROCESS`). It is in the worker's
``cgroup.procs`` (https://docs.kernel.org/admin-guide/cgroup-v2.html), which everybody may read.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from plancton.files import most_kept_open
from plancton.host.sampler import read_process

SETTLED = 1.0
"""Seconds after which a process has its final name: at first it is a copy of its parent."""
MOST = 256
"""How many new processes of a worker one pass looks at: a job may have thousands."""
LARGEST = 64 * 1024
"""Bytes read of a list of processes, or of a command line, which can have megabytes."""
LONGEST_PID = 11
"""Digits of a pid are fewer: at most 2^22 (PID_MAX_LIMIT in include/linux/threads.h)."""
PAGE = 4096
"""The kernel returns at most this much of a list per call."""


class _Group:
    """One worker's cgroup: its processes, and those among them that run a job, with their start."""

    def __init__(self, path: Path, keep_open: bool) -> None:
        os.stat(path)  # there is one
        self.path = path
        self.descriptor: int | None = None
        if keep_open:
            with suppress(OSError):
                self.descriptor = _open(path)
        self.text = b""
        self.known: dict[int, float | None] = {}
        self.jobs: tuple[float, ...] = ()

    def read(self) -> bytes:
        """The list of its processes."""
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
        """Watch these cgroups' directories from now on."""
        for name in self._groups.keys() - groups.keys():
            self._groups.pop(name).close()
        kept = sum(group.descriptor is not None for group in self._groups.values())
        for name, directory in groups.items():
            if name not in self._groups:
                with suppress(OSError):  # it has ended meanwhile
                    self._groups[name] = _Group(directory / "cgroup.procs", kept < self._most)
                    kept += 1

    def read(self, boottime: float) -> dict[str, tuple[float, ...]]:
        """For each worker when its running jobs started, oldest first."""
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
            started, settled = self._look(pid, boottime)
            if settled:
                known[pid] = started
        group.known = known
        group.jobs = tuple(sorted(start for start in known.values() if start is not None))
        group.text = text if len(known) == len(pids) else b""
        return group.jobs

    def _look(self, pid: int, boottime: float) -> tuple[float | None, bool]:
        """When this process's job started, None if it runs none; and whether that is final."""
        process = read_process(pid, self._proc)
        if process is None:
            return None, True
        if boottime - process.started < SETTLED:
            return None, False
        try:
            # The name is cheap to read: a command line comes out of the other process's memory.
            job = (self._proc / str(pid) / "comm").read_bytes().rstrip(b"\n") == self._command.encode()[:15]
            words = _start(self._proc / str(pid) / "cmdline").split(b"\0") if job else []
        except OSError:
            return None, True
        # With -classad it only prints its properties.
        job = job and os.path.basename(words[0]) == self._command.encode() and b"-classad" not in words
        return (process.started if job else None), True


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _read(descriptor: int) -> bytes:
    """A list of processes: each call returns some hundreds."""
    text = piece = os.pread(descriptor, LARGEST, 0)
    while len(piece) > PAGE // 2 and len(text) < LARGEST:
        piece = os.pread(descriptor, LARGEST - len(text), len(text))
        text += piece
    return text


def _start(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(LARGEST) or b""
