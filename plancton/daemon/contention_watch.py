"""Finds out how long the owner waits for CPU, while workers get some (`yield.cap: auto`).

As long as nobody waits nothing is read: the kernel wakes the loop when somebody does. Only while
workers get some CPU it is asked to. Where only root may ask it, as in the service, it is read at the
ticks of a busy owner instead, which finds it a tick later.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from plancton.host.cpu_pressure import OwnerPressure, count_groups, owner_pressure
from plancton.host.slice import Slice
from plancton.model import Observation
from plancton.policy.contention import contends, workers_get_some

LINGER = 2.5
"""Seconds for which the owner's waiting is read once the kernel has told of it, and after it was
last found."""
REST = 5.0
"""Seconds after that before the kernel is asked again: waiting that comes to nothing must not cost
more ticks than a quiet host does."""
BUSY = 0.25
"""CPUs: an owner who uses less than that has hardly anybody who waits."""


class ContentionWatch:
    """``ask`` has the kernel wake the loop by these descriptors, and closes those of the call before."""

    def __init__(self, ask: Callable[[Sequence[int]], None]) -> None:
        self._ask, self._pressure = ask, OwnerPressure()
        self._asked, self._may_ask, self._number = False, True, 0
        self._until: float | None = None
        self._rests_until = 0.0

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that tell; empty: none does, or nobody wants to know."""
        return self._pressure.files

    @property
    def reads(self) -> bool:
        """Whether it is being read how long the owner waits: then each second counts."""
        return self._until is not None

    def find(self, workers_slice: Slice | None, wanted: bool, if_more: bool = False) -> None:
        """Look for the owner's groups; none where it is not ``wanted``. ``if_more``: only if there are
        more or fewer than the last time."""
        files: tuple[Path, ...] = ()
        number = count_groups(workers_slice.tree) if wanted and workers_slice is not None else 0
        if number == self._number and if_more:
            return
        self._number = number
        if wanted and workers_slice is not None:
            files = owner_pressure(workers_slice.tree, workers_slice.cpu.parent, workers_slice.path)
        if files != self._pressure.files:
            self._pressure.files = files
            self._may_ask = True
            self._stop_asking()

    def woken(self, now: float) -> None:
        """The kernel has told that somebody waits."""
        if self._asked:
            self._stop_asking()
            self._pressure.begin(now)
            self._until = now + LINGER

    def completed(self, seen: Observation) -> Observation:
        """With how long the owner has waited since the tick before, if that is being read."""
        if self._until is None and (self._may_ask or (seen.owner or 0.0) < BUSY):
            return seen
        return msgspec.structs.replace(seen, owner_waits=self._pressure.part(seen.time))

    def settle(self, seen: Observation, capped: bool) -> None:
        """After a decision: whether to go on reading, or to ask the kernel. ``capped``: the cap is in
        force."""
        if capped or contends(seen):
            self._stop_asking()
            self._until = seen.time + LINGER
        elif self._until is None:
            self._ask_if_it_pays(seen)
        elif seen.time >= self._until:
            self._until, self._rests_until = None, seen.time + REST

    def _ask_if_it_pays(self, seen: Observation) -> None:
        may = bool(self.files) and self._may_ask
        wanted = may and workers_get_some(seen) and seen.time >= self._rests_until
        if self._asked and not wanted:
            self._stop_asking()
        elif wanted and not self._asked:
            descriptors = self._pressure.triggers()
            self._asked = self._may_ask = bool(descriptors)
            if descriptors:
                self._ask(descriptors)

    def _stop_asking(self) -> None:
        if self._asked:
            self._asked = False
            self._ask(())
