"""Which workers run a job, and since when: from the kernel's figures, which cost nothing to ask.

HTCondor keeps one process for each running job (`htcondor.JOB_PROCESS`); it is found in the worker's
``cgroup.procs`` (https://docs.kernel.org/admin-guide/cgroup-v2.html), which everybody may read.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from plancton.host.sampler import read_process

SETTLED = 1.0
"""Seconds after which a process has become what it is: before, it may still be its parent's copy."""
MOST = 256
"""New processes of one worker that are looked at in one pass: a job may have thousands."""
LARGEST = 64 * 1024
"""Bytes that are read of a list of processes, or of a command line, which can have megabytes."""
PAGE = 4096
"""The kernel hands out at most this much of a list in one call."""


class _Group:
    """One worker's cgroup: its processes, and those among them that run a job, with their start."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.text = b""
        self.known: dict[int, float | None] = {}
        self.jobs: tuple[float, ...] = ()


class JobWatch:
    """Watches workers' cgroups by name. Start times are CLOCK_BOOTTIME seconds."""

    def __init__(self, proc: Path, command: str) -> None:
        self._proc, self._command = proc, command
        self._groups: dict[str, _Group] = {}

    def watch(self, groups: Mapping[str, Path]) -> None:
        """These cgroups' directories from now on."""
        for name in self._groups.keys() - groups.keys():
            os.close(self._groups.pop(name).descriptor)
        for name, directory in groups.items():
            if name not in self._groups:
                with suppress(OSError):  # it has ended meanwhile
                    self._groups[name] = _Group(directory / "cgroup.procs")

    def read(self, boottime: float) -> dict[str, tuple[float, ...]]:
        """For each worker the starts of the jobs that it runs now, oldest first."""
        return {name: self._jobs(group, boottime) for name, group in self._groups.items()}

    def close(self) -> None:
        self.watch({})

    def _jobs(self, group: _Group, boottime: float) -> tuple[float, ...]:
        try:
            text = _read(group.descriptor)
        except OSError:  # the cgroup is gone
            text = b""
        if not text or text == group.text:  # without a process it has ended: then what it ran counts
            return group.jobs
        pids = [int(word) for word in text.split()]
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
        """When the job began that this process runs, None if it runs none; and whether that is final."""
        process = read_process(pid, self._proc)
        if process is None:
            return None, True
        if boottime - process.started < SETTLED:
            return None, False
        try:
            # The name alone is cheap: a command line is read out of the other process's memory.
            job = (self._proc / str(pid) / "comm").read_bytes().rstrip(b"\n") == self._command.encode()[:15]
            words = _start(self._proc / str(pid) / "cmdline").split(b"\0") if job else []
        except OSError:
            return None, True
        # One that is only asked for its properties says so.
        job = job and os.path.basename(words[0]) == self._command.encode() and b"-classad" not in words
        return (process.started if job else None), True


def _read(descriptor: int) -> bytes:
    """A list of processes: some hundreds come with each call."""
    text = piece = os.pread(descriptor, LARGEST, 0)
    while len(piece) > PAGE // 2 and len(text) < LARGEST:
        piece = os.pread(descriptor, LARGEST - len(text), len(text))
        text += piece
    return text


def _start(path: Path) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(LARGEST) or b""
