"""How long the owner's processes wait for a CPU, as the kernel counts it for cgroups.

See Documentation/accounting/psi.rst. The groups beside the workers' slice tell, such as
`user.slice` and `system.slice`. The figure of the whole host does not: workers that wait are in it.
"""

import os
import re
from pathlib import Path

from plancton.files import read_knob
from plancton.host.notices import pressure_trigger
from plancton.host.signals.pressure import owner_groups

MOST_GROUPS = 32
"""Of hosts with more groups beside the slice only these many are looked at."""
LEAST_TIME, LONGEST_TIME = 0.5, 16.0
"""Seconds over which a part means something: a tick's, and not an hour's."""
WAITS = 60_000
"""Microseconds within a second for which somebody waited."""


def owner_pressure(tree: Path, cpu_tree: Path, workers_slice: str) -> tuple[Path, ...]:
    """The `cpu.pressure` of each of the owner's top-level groups that tells; ``tree`` is of v2, ``cpu_tree``
    has the CPU controller. Groups of idle class yield like our own, and wait like them."""
    found = (
        group / "cpu.pressure"
        for group in owner_groups(tree, {workers_slice})
        if read_knob(cpu_tree / group.name / "cpu.idle") != "1"
    )
    return tuple(file for file in found if waited(file) is not None)[:MOST_GROUPS]


def count_groups(tree: Path) -> int:
    """As many as there are in this directory, with its files."""
    try:
        return len(os.listdir(tree))
    except OSError:
        return 0


def waited(file: Path) -> float | None:
    """Seconds for which somebody in this group has waited, since it was made; None: it does not
    tell (a kernel without PSI, a group that is gone)."""
    found = re.match(r"some .*\btotal=([0-9]{1,18})$", read_knob(file) or "", re.MULTILINE)
    return int(found[1]) / 1e6 if found else None


class OwnerPressure:
    """The owner's groups by their ``files``, and how long they have waited since they were read last."""

    def __init__(self) -> None:
        self.files: tuple[Path, ...] = ()
        self._before: dict[Path, float] = {}
        self._time = 0.0

    def triggers(self) -> list[int]:
        """Descriptors on which the kernel tells that somebody waits; without the right to ask for
        that (root's), none."""
        found = (pressure_trigger(file, WAITS) for file in self.files)
        return [descriptor for descriptor in found if descriptor is not None]

    def begin(self, now: float) -> None:
        """What is read next counts from now on (CLOCK_MONOTONIC)."""
        self._before, self._time = self._read(), now

    def part(self, now: float) -> float | None:
        """The part of the time since then for which somebody waited, in the group that waited
        most; None: nobody tells, or that was a moment or long ago."""
        before, seconds = self._before, now - self._time
        if seconds < LEAST_TIME:
            return None
        self.begin(now)
        if seconds > LONGEST_TIME:
            return None
        parts = [(self._before[file] - before[file]) / seconds for file in before if file in self._before]
        return min(1.0, max(parts)) if parts else None

    def _read(self) -> dict[Path, float]:
        found = ((file, waited(file)) for file in self.files)
        return {file: seconds for file, seconds in found if seconds is not None}
