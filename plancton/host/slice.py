"""The cgroup that all workers live in: how strongly it yields, and the lift for those that leave.

Yielding is decided between siblings, so it is the slice's own property that counts (cpu.idle, or
the least weight), never the containers'. See Documentation/admin-guide/cgroup-v2.rst, "CPU
Interface Files"; on hybrid hosts the CPU knobs are v1's (Documentation/admin-guide/cgroup-v1,
kernel/sched/core.c) while cgroup.freeze and cgroup.kill are in the v2 tree.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from plancton.files import read_knob, write_knob
from plancton.host import tier_reasons
from plancton.host.cgroup_freezer import CgroupFreezer
from plancton.host.cgroup_mounts import Layout, enabled_controllers
from plancton.host.leaver_boost import LIFT_QUOTA, LeaverBoost
from plancton.host.pids_and_huge_pages import deny_huge_pages, most_pids, pids_knob
from plancton.host.sched_ext import SYS, other_scheduler
from plancton.host.slice_bounds import (
    PERIOD,
    Bounds,
    Knob,
    Limits,
    find_limits,
    memory_ceiling,
    read_cpuset,
    v1_knobs,
    v2_knobs,
)
from plancton.host.systemd_unit import SystemdUnit
from plancton.host.topology import format_cpus, parse_cpus
from plancton.model import Tier

log = logging.getLogger(__name__)

KERNEL: Tier = "kernel"
WEIGHT: Tier = "weight"
HANDED = (
    *("cpu.idle", "cpu.weight", "cpu.max", "memory.max", "cgroup.freeze", "cgroup.kill"),
    *("cpu.shares", "cpu.cfs_quota_us", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
)
"""The slice's own files that a supervisor without root needs; those below are what they are called in v1."""
FOUND = "user.plancton.found"
"""The slice's extended attribute that holds the limits which it had before it was ours."""


class Slice:
    """One slice on one host. ``driver`` is Docker's cgroup driver: cgroupfs or systemd;
    ``strongest`` the tier that is not gone beyond, whatever the host can do."""

    bounds = Bounds()
    limits = Limits()
    """The administrator's own. Where they are stricter than the bounds they hold."""
    tier: Tier = "none"
    tier_reason = "the slice is not set up yet"
    ours = True
    """Whether we may write it; else the tier is what somebody else has made it."""
    lifted = False
    sys = SYS
    _refusal: OSError | None = None
    _confined = ""
    """The CPUs that these files leave of those that there are; empty: all."""
    _being_made = ""
    """What was found, while systemd is asked to make the slice."""
    _unbound = False
    """Whether a bound does not hold although it was written."""

    def __init__(self, layout: Layout, name: str, driver: str, strongest: Tier = "kernel") -> None:
        assert layout.v2 is not None
        self.strongest = strongest
        self.systemd = driver == "systemd"
        self.unit = f"{name}.slice"
        self.manager = SystemdUnit(self.unit)
        self.path = self.unit if self.systemd else name
        self.parent = self.unit if self.systemd else f"/{name}"
        self.tree = layout.v2
        self.directory = layout.v2 / self.path
        self.freezer = CgroupFreezer(self.directory)
        self.v1 = "cpu" in layout.v1
        self.weight, self.least, self._normal = (
            ("cpu.shares", "2", "1024") if self.v1 else ("cpu.weight", "1", "100")
        )
        self.cpu, self.memory, self._pids, self._hugetlb = (
            layout.v1.get(each, layout.v2) / self.path for each in ("cpu", "memory", "pids", "hugetlb")
        )
        self._blkio, self._cpuset = (
            layout.v1[each] / self.path if each in layout.v1 else None for each in ("blkio", "cpuset")
        )
        self.memory_stat = self.memory / "memory.stat"
        self._ceiling = self.memory / ("memory.limit_in_bytes" if self.v1 else "memory.max")
        self._most_pids = most_pids()
        self._roots = {layout.v2, *layout.v1.values()}
        self.boost = LeaverBoost(layout.v2, self.cpu.parent, self.path, self.weight, self._normal, self.v1)
        self.counted = os.cpu_count() or 1
        """How many CPUs count (topology.py)."""
        self.privileged = os.geteuid() == 0
        """Else nothing can be made, and of all files only those that `plancton prepare` has handed
        over can be written: the slice's own, never a worker's."""

    # ------------------------------------------------------------ setting up

    def set_up(self) -> None:
        """Make the slice and put it into the best tier that this host has; undo a lift that a crash left."""
        self.make()
        self.take()

    def make(self) -> None:
        """The first half, which may wait for systemd."""
        try:
            self._make()
        except OSError as error:
            log.debug("making %s: %s", self.directory, error)

    def take(self) -> None:
        """The second half, which only writes files."""
        self.tier, self.tier_reason = self._yield()
        if self._refusal:
            v2 = None if self.v1 else self.tree
            self.tier_reason = tier_reasons.quota_only(self._refusal, self.cpu, v2, self.privileged)
        self._bind()
        deny_huge_pages(self._hugetlb)
        self.drop(everything=True)

    def _set_up_again(self) -> bool:
        """Like `set_up`; False: systemd is asked to make the slice, which isn't there yet."""
        if self.systemd and self.privileged:
            self.manager.wait(self.make)
        else:
            self.make()
        if self.systemd and not self.cpu.is_dir():
            return False
        self.take()
        return True

    def bound(self, bounds: Bounds) -> None:
        """Set what all workers together may take at most, from now on."""
        self.bounds = bounds
        if not self.lifted:  # else the next repair does it: the lift has a bound of its own
            self._bind()

    @property
    def can_lift(self) -> bool:
        """Whether leavers can be given CPU to leave with."""
        return self.tier in (KERNEL, WEIGHT) and self.ours

    @property
    def is_refused(self) -> bool:
        """Whether the kernel did not take what it should be when it was set up."""
        return self._refusal is not None

    def ceiling(self) -> int | None:
        """Bytes of memory that the kernel lets the workers have at most; None: it sets no limit."""
        return memory_ceiling(read_knob(self._ceiling))

    def allowed_cpus(self) -> str | None:
        """The CPUs that it may have at most, by the kernel and by what the administrator has
        written for systemd, as the kernel lists them; None: the kernel does not say."""
        most = read_cpuset((self._cpuset or self.directory).parent)
        if not self.systemd:
            return most
        self.limits = self.manager.limits()
        if most is None:
            return None
        there, written = parse_cpus(most), self.limits.allowed
        self._confined = format_cpus(written & there) if there - written else ""
        return self._confined or most

    def found_limits(self) -> Limits:
        """For systemd, or what the slice had when Plancton came across it first."""
        if self.systemd:
            return self.manager.limits()
        try:
            return msgspec.json.decode(os.getxattr(self.directory, FOUND), type=Limits)
        except (OSError, msgspec.DecodeError) as error:
            if getattr(error, "errno", None) != errno.ENODATA or self.seen_tier()[0] != "none":
                return Limits()
        return find_limits(self.cpu, self.memory, self.v1)

    def _remember(self, found: Limits) -> Limits:
        """The next supervisor must not take our own bounds for the administrator's. The note goes
        with the slice; where none can be left (before Linux 5.7) it keeps to no limits."""
        try:
            os.setxattr(self.directory, FOUND, msgspec.json.encode(found))
        except OSError:
            with contextlib.suppress(OSError):
                os.getxattr(self.directory, FOUND)
                return found
            return Limits()
        return found

    @property
    def _strictest(self) -> Bounds:
        return self.bounds.within(self.limits)

    def seen_tier(self) -> tuple[Tier, str | None, str | None]:
        """With the class and the weight that say so."""
        idle, weight = read_knob(self.cpu / "cpu.idle"), read_knob(self.cpu / self.weight)
        return KERNEL if idle == "1" else WEIGHT if weight == self.least else "none", idle, weight

    def _make(self) -> None:
        self.limits = self.found_limits()
        if self._cpuset:  # before Docker makes it, with all CPUs; not even systemd knows this tree
            with contextlib.suppress(OSError):
                self._cpuset.mkdir(exist_ok=True)
        if self.systemd:
            if self.privileged:
                self.strongest = self.manager.make(self.strongest)
            return
        trees = (self.directory, self.cpu, self.memory, self._blkio, self._pids, self._hugetlb)
        for directory in filter(None, trees):
            directory.mkdir(exist_ok=True)
        self.limits = self._remember(self.limits)
        ours = ("+cpu", "+cpuset", "+memory", "+io", "+pids", "+hugetlb")
        # Docker does the same for its containers' parents. Beside v1 it may be huge pages that are here.
        self._enable(ours[-1:] if self.v1 else ours)

    def _enable(self, controllers: Iterable[str]) -> None:
        for controller in controllers:
            with contextlib.suppress(OSError):
                (self.tree / "cgroup.subtree_control").write_text(controller)

    def _yield(self) -> tuple[Tier, str]:
        idle = self.cpu / "cpu.idle"
        self.ours, self._refusal = True, None
        try:
            if self.strongest == "quota":
                return self._give_up(idle)
            if self.strongest == "kernel" and idle.exists():
                knob, wanted, tier, reason = idle, "1", KERNEL, tier_reasons.KERNEL_REASON
            else:
                knob, wanted, tier = self.cpu / self.weight, self.least, WEIGHT
                reason = tier_reasons.WEIGHT_REASON if idle.exists() else tier_reasons.NO_IDLE_CLASS
                if idle.exists():
                    write_knob(idle, "0")
            self._write_own(knob, wanted)
        except OSError as error:
            self._refusal = error
            return "quota", ""
        if scheduler := other_scheduler(self.sys):
            return "quota", tier_reasons.NOT_THE_KERNELS.format(scheduler)
        if not self.ours:
            reason += tier_reasons.not_ours(knob)
        return tier, reason

    def _write_own(self, knob: Path, wanted: str) -> None:
        try:
            write_knob(knob, wanted)
        except PermissionError:
            if read_knob(knob) != wanted:
                raise
            self.ours = False

    def _give_up(self, idle: Path) -> tuple[Tier, str]:
        if idle.exists():
            write_knob(idle, "0")
        write_knob(self.cpu / self.weight, self._normal)
        return (
            "quota",
            "docker.tier asks for no more: the workers' CPU is limited through Docker, within seconds",
        )

    def _knobs(self) -> Iterator[Knob]:
        bounds = self._strictest
        if bounds.cpuset == "":
            bounds = msgspec.structs.replace(bounds, cpuset=self._confined)
        if self.v1:
            yield from v1_knobs(self.cpu, self.memory, self._blkio, self._cpuset, bounds)
        else:
            yield from v2_knobs(self.directory, bounds)
        tasks = [each for each in (self._most_pids, self.limits.tasks) if each is not None]
        yield from pids_knob(self._pids, min(tasks, default=None))

    def _bind(self) -> list[str]:
        """Make the bounds hold; says which of them did not, as far as that could be repaired."""
        wrong = [(knob, read_knob(knob.file)) for knob in self._knobs() if not knob.holds()]
        units = [knob.unit for knob, _ in wrong if knob.unit]
        if units and self.systemd and self.privileged:
            self.manager.tell(units)
        for _ in range(2):  # v1's two memory limits must be written in one order up, in the other down
            for knob, _found in wrong:
                with contextlib.suppress(OSError):
                    write_knob(knob.file, knob.wanted)
        held = [f"{knob.file.name} {found} instead of {knob.wanted}" for knob, found in wrong if knob.holds()]
        self._unbound = len(held) < len(wrong)
        return held

    @property
    def settled(self) -> bool:
        """Whether `repair` has nothing to do until somebody writes to the slice."""
        unfinished = self.freezer.is_stuck or self._unbound or self._being_made or self.boost.problem
        return self.can_lift and not unfinished and self.manager.is_told

    def files(self) -> set[Path]:
        """Those that `repair` looks at, and the directories that they are in."""
        found = {knob.file for knob in self._knobs()}
        if self.freezer.is_frozen:
            found.add(self.freezer.file)
        found |= {self.cpu / "cpu.idle", self.cpu / self.weight, self.directory / "cpu.max"}
        return found | {file.parent for file in found}

    def repair(self) -> str | None:
        """Put the slice back into its tier and its bounds when they were changed; says what was found."""
        if self.lifted or self.tier == "none":
            return None
        self.manager.tell()
        if said := self.freezer.repair():
            return said
        if self.boost.problem:
            self.boost.undo()
            if not self.boost.problem:
                return "what a lift had done to workers is undone now"
        if self.tier == "quota":
            return self._promote()
        if other_scheduler(self.sys):
            self.take()
            return f"tier {self.tier}: {self.tier_reason}"
        knob, wanted = ("cpu.idle", "1") if self.tier == "kernel" else (self.weight, self.least)
        found, before = read_knob(self.cpu / knob), self.tier
        if found != wanted:
            what = f"the slice had {knob} {found or 'missing'} instead of {wanted}"
            if not self._set_up_again():
                said, self._being_made = self._being_made, what
                return None if said else f"{what}: systemd is asked to make it"
            self._being_made = ""
            return self._put_back(what, before)
        if self._being_made:
            self._being_made = ""
            self.take()
            return self._put_back("the slice is there again", before)
        if self.ours != os.access(self.cpu / knob, os.W_OK):  # rebuilt by others, or handed over meanwhile
            self._set_up_again()
            return f"tier {self.tier}: {self.tier_reason}"
        repaired = self._bind()
        return f"the slice had {', '.join(repaired)}: put back" if repaired else None

    def _put_back(self, what: str, before: Tier) -> str:
        if self.tier == before and self.ours:
            return f"{what}: put back to tier {self.tier}"
        return f"{what}: tier {self.tier}: {self.tier_reason}"

    def _promote(self) -> str | None:
        """Where nobody had prepared the slice, somebody may have done so by now; what kept the
        controller from being enabled, or another scheduler, may have gone."""
        if not self.v1 and self.privileged and "cpu" not in enabled_controllers(self.tree):
            self._enable(["+cpu"])
        if self.strongest == "quota":
            return None
        tier, reason = self._yield()
        if tier == "quota":
            self.tier_reason = reason or self.tier_reason
            return None
        self._set_up_again()
        return f"tier {self.tier}: {self.tier_reason}"

    def hand_over(self, uid: int) -> list[str]:
        """Let this user write what a supervisor without root needs; says which files those are."""
        handed = list[str]()
        for directory in dict.fromkeys((self.cpu, self.memory, self.directory)):
            for file in (directory / name for name in HANDED):
                if file.exists():
                    os.chown(file, uid, -1)
                    handed.append(file.name)
        return handed

    def remove(self) -> None:
        """Take the slice away once it is empty; what is in use stays, and so does what root prepared."""
        if not self.privileged:
            return
        if self.systemd:
            if "populated 1" not in (read_knob(self.directory / "cgroup.events") or ""):
                self.manager.remove()
            return
        for root in self._roots:
            with contextlib.suppress(OSError):
                (root / self.path).rmdir()

    # ------------------------------------------------------------ the lift

    def lift(self, leavers: Iterable[str], others: Iterable[str]) -> None:
        """Give the leavers (cgroups below the slice) CPU to leave with, at a bounded cost to the owner.

        Without root, whoever calls this has put the leavers first through Docker before (actuator.py).
        """
        if not self.can_lift:
            return
        self.lifted = True
        if self.privileged:
            self.boost.prefer(list(leavers), others)
        if not self.v1:
            write_knob(self.directory / "cpu.max", f"{LIFT_QUOTA} {PERIOD}")
        if self.tier == "kernel":
            write_knob(self.cpu / "cpu.idle", "0")
        bounded = not self.v1 or self.privileged
        write_knob(self.cpu / self.weight, self.boost.slice_weight(bounded, self.counted))

    def drop(self, everything: bool = False) -> None:
        """End the lift. ``everything``: also one that another process began, and its freeze of the
        whole slice; ours holds again where others have made the slice again. Its workers are thawed
        when they are adopted (`LeaverBoost.restore`): Docker may have paused some."""
        if not self.lifted and not everything:
            return
        yields = self._yield()[0] in (KERNEL, WEIGHT) or self.strongest == "quota"
        if yields and not self.v1:  # else the bound stays: without it nothing would protect the owner
            with contextlib.suppress(OSError):
                write_knob(self.directory / "cpu.max", f"{self._strictest.quota or 'max'} {PERIOD}")
        if everything:
            self.freezer.undo_others()
        self.boost.undo()
        if self.boost.problem:
            log.warning("%s", self.boost.problem)
        self.lifted = False

    def written_files(self, group: str) -> tuple[Path, Path, Path]:
        """The files of a worker's group that tell what it writes: bytes by disk, memory, and the
        kernel's memory for it (on v2 that is in the second)."""
        memory = self.memory.parent / group
        if self._blkio is None:
            return self.tree / group / "io.stat", memory / "memory.stat", memory / "memory.stat"
        io = self._blkio.parent / group / "blkio.throttle.io_service_bytes_recursive"
        return io, memory / "memory.stat", memory / "memory.kmem.usage_in_bytes"
