"""Figures out of two samples: who uses how much of this host."""

from pathlib import Path

import msgspec

from plancton.host.sampler import Group, Sampler, SamplerError
from plancton.host.slice_bounds import read_cpuset
from plancton.host.topology import Topology
from plancton.model import Observation, Sample, Status
from plancton.policy.observe import observe

SLICES = ("plancton.slice", "plancton")
"""Where workers may be when no supervisor says so."""


class Figures(msgspec.Struct, frozen=True):
    """CPUs in use over the last interval (1.0 is one CPU) and bytes; None is unknown."""

    cpus: int = 0
    owner: float | None = None
    donated: float | None = None
    engine: float | None = None
    idle: float | None = None
    memory_total: int = 0
    memory_available: int | None = None
    memory_donated: int | None = None
    workers: dict[str, float] = {}


class Meter:
    """Figures from one call to the next; keeps open what it reads."""

    def __init__(self, proc: Path, cgroup_root: Path | None) -> None:
        self._proc, self._root = proc, cgroup_root
        self._slice: Path | None = None
        self._sampler: Sampler | None = None
        self._group: Group[str] = Group()
        self._before: Sample | None = None
        self._size: Figures | None = None
        """The host as it was last seen, without anybody's CPU."""
        self._used: dict[str, float] = {}

    def read(self, status: Status | None) -> Figures:
        """What was used since the last call; at the first call, what the status says.

        Figures that can't be read, or that no host can have, are unknown. Only at the first call
        a file that can't be read is an error.
        """
        try:
            sample = self._sample(self._find_slice(status))
        except SamplerError:
            if self._size is None:
                raise
            return self._size
        before, self._before = self._before, sample
        used_before, self._used = self._used, self._read_workers(status)
        seen = observe(before, sample)
        if before is not None and seen.unknown:
            return self._size or Figures()
        self._size = Figures(
            cpus=sample.cpus, memory_total=sample.memory_total, memory_available=sample.memory_available
        )
        figures = _reported(self._size, sample.slice_anon, status)
        if (seconds := seen.interval) is None:
            return figures
        known = self._used.keys() & used_before.keys()
        workers = {name: max(self._used[name] - used_before[name], 0.0) / seconds for name in known}
        return _measured(seen, sample.slice is not None, figures, None if status is None else workers)

    def close(self) -> None:
        if self._sampler is not None:
            self._sampler.close()
        self._group.close()

    def _find_slice(self, status: Status | None) -> Path | None:
        if self._root is None:
            return None
        if status is not None:
            return self._below(status.slice) if status.slice.strip("/") else None
        guesses = (self._root / name for name in SLICES)
        return next((path for path in guesses if (path / "cpu.stat").exists()), None)

    def _below(self, path: str) -> Path:
        assert self._root is not None
        return self._root / path.strip("/")

    def _sample(self, slice_v2: Path | None) -> Sample:
        if self._sampler is None or slice_v2 != self._slice:
            if self._sampler is not None:
                self._sampler.close()
            allowed = read_cpuset(self._root) if self._root else None
            cpus = Topology(self._proc).read(0.0, allowed).counted
            self._sampler = Sampler(self._proc, slice_v2, cpus=cpus)
            self._slice, self._before = slice_v2, None
        return self._sampler.sample()

    def _read_workers(self, status: Status | None) -> dict[str, float]:
        """CPU seconds that each worker has used in its life."""
        workers = [w for w in status.workers if w.cgroup] if status and self._root else []
        self._group.watch({w.name: self._below(w.cgroup) / "cpu.stat" for w in workers})
        return {name: seconds for name, seconds in self._group.read().items() if seconds is not None}


def _reported(size: Figures, anon: int | None, status: Status | None) -> Figures:
    """With the memory of the slice, and what the status says."""
    if status is None:
        return msgspec.structs.replace(size, memory_donated=anon)
    memory = status.memory_donated if anon is None else anon
    return msgspec.structs.replace(size, **_used(status), memory_donated=memory)


def _used(status: Status) -> dict[str, float | None]:
    return {name: getattr(status, name) for name in ("owner", "donated", "engine", "idle")}


def figures_of(status: Status) -> Figures:
    """What the supervisor says, without measuring."""
    return Figures(
        cpus=round(status.capacity),
        memory_total=status.memory_total,
        memory_available=status.memory_available,
        memory_donated=status.memory_donated,
        workers={worker.name: worker.cpu for worker in status.workers if worker.cpu is not None},
        **_used(status),
    )


def _measured(
    seen: Observation, has_slice: bool, figures: Figures, workers: dict[str, float] | None
) -> Figures:
    """``workers`` are None without a supervisor, whose list they are."""
    donated, others = seen.donated, figures.engine or 0.0
    if not has_slice:  # Docker's own parent (tier none), or no worker yet
        donated = None if workers is None else sum(workers.values())
        others += donated or 0.0
    owner = None if seen.owner is None else max(seen.owner - others, 0.0)
    return msgspec.structs.replace(
        figures, owner=owner, donated=donated, idle=seen.idle, workers=workers or {}
    )
