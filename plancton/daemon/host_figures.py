"""What the kernel says of this host at each tick, and what is done while it says nothing usable."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from plancton.host.engine_cpu import find_engine
from plancton.host.own_container import own_stat
from plancton.host.sampler import Sampler, SamplerError
from plancton.host.slice import Slice
from plancton.model import Observation, Sample
from plancton.policy.observe import observe

QUIET = 60.0
"""Seconds after an unknown tick that was said in the log during which the next is not: figures may
come and go every few seconds. `plancton status` says it each time."""


class HostFigures:
    """Only the loop calls it. A tick without usable figures is an unknown one: the host keeps the
    size it had, nothing is known of who uses it, and ``problem`` says why."""

    def __init__(
        self, proc: Path, tree: Path | None, say: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._proc, self._tree, self._say, self._warn = proc, tree, say, warn
        self.sampler = Sampler(proc)
        self._previous: Sample | None = None
        self._glanced: Sample | None = None
        """The last sample of all: that of the last look, or of a glance since."""
        self._counted: frozenset[int] | None = None
        self._workers = ""
        self.engine_changed = False
        """Whether one of the engine's processes has gone or come back since it was looked for."""
        self._known = Observation(0.0, 0.0, float(os.cpu_count() or 1))
        self.problem = ""
        self._said = False
        self._quiet_until = 0.0

    def look(self, shims: float, now: float) -> Observation:
        """This tick's observation; ``shims``: see `observe`."""
        try:
            sample = self.sampler.sample()
        except SamplerError as error:
            seen = self._without_sample(str(error))
        else:
            seen = observe(self._previous, sample, shims)
            if self._previous is not self._glanced:
                seen = msgspec.structs.replace(seen, lately=observe(self._glanced, sample, shims))
            if self._previous is not None and self._previous.engine_epoch != sample.engine_epoch:
                self.engine_changed = True
            self._previous = self._glanced = sample
        if seen.unknown:
            known = self._known
            seen = msgspec.structs.replace(
                seen, capacity=known.capacity, memory_total=known.memory_total, swap_total=known.swap_total
            )
        else:
            self._known = seen
        self._tell(seen.unknown, now)
        return seen

    def glance(self, shims: float, changes_nothing: Callable[[Observation], bool]) -> bool:
        """Whether what has been since the last look or glance changes nothing. If not, or if it is not
        known, the next look tells of it as ``lately``."""
        try:
            sample = self.sampler.sample()
        except SamplerError:
            return False
        if not changes_nothing(observe(self._glanced, sample, shims)):
            return False
        self._glanced = sample
        return True

    def _without_sample(self, why: str) -> Observation:
        monotonic, boottime = self.sampler.clocks()
        memory = self.sampler.memory()
        return Observation(
            time=monotonic,
            boottime=boottime,
            capacity=self._known.capacity,
            memory_available=memory[1] if memory else None,
            unknown=why,
        )

    def _tell(self, why: str, now: float) -> None:
        """Say once when figures have become unknown, and once when they are back."""
        if why and not self.problem and now >= self._quiet_until:
            self._warn(f"{why}: until there are figures again, nothing is started and nobody retired")
            self._said, self._quiet_until = True, now + QUIET
        elif self.problem and not why and self._said:
            self._say("this host's figures are back")
            self._said = False
        self.problem = why and f"this host's figures are unknown: {why}"

    def watch_slice(self, workers_slice: Slice) -> None:
        """Read this slice's figures, too."""
        self.sampler.close()
        self.sampler = Sampler(self._proc, workers_slice.directory, workers_slice.memory_stat)
        self._workers = workers_slice.path
        self.count(self._counted)

    def count(self, cpus: frozenset[int] | None) -> None:
        """Only these CPUs count from now on; None: all. What was seen before can't be compared."""
        self._counted, self._previous, self._glanced = cpus, None, None
        self.sampler.count(cpus)

    def watch_engine(self, listening: int | None) -> None:
        """Look for the engine's processes; ``listening`` is the one behind Docker's socket. A
        container that Plancton is in counts as the engine's: it is neither the owner's nor donated."""
        self.engine_changed = False
        own = own_stat(self._tree, self._proc)
        with contextlib.suppress(OSError):  # no descriptor is left: those that are watched stay
            engine = find_engine(self._proc, self._tree, listening, self._workers)
            self.sampler.watch_engine([*engine, *([own] if own else [])])

    def close(self) -> None:
        self.sampler.close()
