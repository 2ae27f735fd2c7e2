"""CPU for workers that leave, which an idle slice does not have: the others are frozen meanwhile.

Leaving takes CPU exactly when the owner uses all of it: 28 s and more were measured in an idle slice next to
an older worker, 0.6 s with this. The slice is lifted (slice.py) within a small bound, and all of that goes to
the leavers. Freezing is Documentation/admin-guide/cgroup-v2.rst, "cgroup.freeze".
"""

import contextlib
import errno
from collections.abc import Iterable
from pathlib import Path

from plancton.files import read_knob, write_knob
from plancton.host.slice_bounds import PERIOD

LIFT_QUOTA = 20_000
"""Microseconds of CPU per PERIOD that all leavers together may take from the owner: 20 % of one CPU."""


class LeaverBoost:
    """Puts leavers first among the workers, and undoes that. ``tree`` is the v2 tree, ``cpu_tree``
    the one with the CPU controller's files; ``weight`` is the name of its weight file, ``normal``
    Docker's value. It writes nothing that is not below ``workers_slice``, a path in these trees."""

    def __init__(
        self, tree: Path, cpu_tree: Path, workers_slice: str, weight: str, normal: str, v1: bool
    ) -> None:
        self._tree, self._cpu_tree, self._v1, self._slice = tree, cpu_tree, v1, workers_slice
        self._weight, self._normal = weight, normal
        self._frozen: list[Path] = []
        self._quotas: dict[Path, str] = {}
        self.problem = ""
        """What could not be undone, and is tried again; empty: all was."""

    def prefer(self, leavers: list[str], others: Iterable[str]) -> None:
        """Freeze the others, so that all CPU is the leavers'. Raises PermissionError where nothing
        would bound them."""
        for group in others:
            with contextlib.suppress(OSError):
                inside = self._inside(self._tree, group)
                write_knob(inside / "cgroup.freeze", "1")
                self._frozen.append(inside)
        for group in leavers:
            try:
                self._prefer_one(self._inside(self._cpu_tree, group), len(leavers))
            except PermissionError:
                raise  # on v1 nothing else would bound the lift
            except OSError:
                pass  # it is gone already

    def _inside(self, tree: Path, group: str) -> Path:
        """A worker's directory; PermissionError for any group that is not below the slice."""
        parts = Path(group).parts
        if len(parts) < 2 or parts[0] != self._slice or ".." in parts:
            raise PermissionError(errno.EPERM, f"is not below {self._slice}", group)
        return tree / group

    def _prefer_one(self, group: Path, count: int) -> None:
        write_knob(group / self._weight, self._normal)
        if self._v1:
            # v1 refuses a parent quota below its children's (kernel/sched/core.c,
            # tg_cfs_schedulable_down), so each leaver gets its part of the bound by itself.
            quota = group / "cpu.cfs_quota_us"
            self._quotas.setdefault(quota, read_knob(quota) or "-1")
            write_knob(quota, str(max(1_000, LIFT_QUOTA // count)))

    def slice_weight(self, bounded: bool, cpus: int) -> str:
        """The slice's weight during a lift: an ordinary one where a quota bounds the leavers. Without that
        the weight is the bound: against an owner of ordinary weight as much as the quota, on so many CPUs."""
        if bounded:
            return self._normal
        return str(max(2, int(self._normal) * LIFT_QUOTA // PERIOD // cpus))

    def undo(self) -> None:
        """Give the leavers their quotas back and thaw the others. What can't be done now is left
        for the next call."""
        self.problem = ""
        self._quotas = {file: was for file, was in self._quotas.items() if not self._undone(file, was)}
        self._frozen = [group for group in self._frozen if not self._undone(group / "cgroup.freeze", "0")]

    def _undone(self, file: Path, before: str) -> bool:
        try:
            write_knob(file, before)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # else it is gone
                state = "frozen" if file.name == "cgroup.freeze" else "throttled"
                self.problem = f"a worker stays {state}: {file} can't be written ({error.strerror})"
                return False
        return True

    def restore(self, group: str, quota: int, paused: bool) -> None:
        """Undo on an adopted worker what a lift that a crash cut short may have left: it is frozen,
        or throttled on v1. ``quota`` and ``paused`` are as Docker has them (0: none): on pure v2
        Docker pauses by the same file."""
        with contextlib.suppress(OSError):
            if group and (self._v1 or not paused):
                _set(self._inside(self._tree, group) / "cgroup.freeze", "0")
            if group and self._v1:
                _set(self._inside(self._cpu_tree, group) / "cpu.cfs_quota_us", str(quota or -1))


def _set(file: Path, wanted: str) -> None:
    if read_knob(file) != wanted:
        write_knob(file, wanted)
