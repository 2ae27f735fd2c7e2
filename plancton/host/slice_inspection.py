"""How a slice is found, for commands that only look: nothing is changed."""

import os

import msgspec

from plancton.files import read_knob
from plancton.host.leaver_boost import LIFT_QUOTA
from plancton.host.sched_ext import other_scheduler
from plancton.host.slice import KERNEL, WEIGHT, Slice
from plancton.host.slice_bounds import PERIOD
from plancton.model import Tier


class Seen(msgspec.Struct, frozen=True):
    """A slice as it is found. ``tier``: how it yields now; ``knob``: what says so ("cpu.idle is 1").

    ``writable``: this process may make it and set it; ``populated``: something runs in it; ``lifted`` and
    ``frozen`` (how many workers): what a lift has done to it. On pure v2 Docker's pause freezes as well.
    """

    path: str
    exists: bool
    writable: bool
    tier: Tier = "none"
    knob: str = ""
    populated: bool = False
    lifted: bool = False
    frozen: int = 0
    limits: str = ""
    """The administrator's own, in words."""


def look_at(workers_slice: Slice) -> Seen:
    """How it is now; changes nothing."""
    if not workers_slice.cpu.is_dir():
        parents = {workers_slice.directory.parent, workers_slice.cpu.parent}
        can_write = all(os.access(parent, os.W_OK) for parent in parents)
        may_make = workers_slice.privileged if workers_slice.systemd else can_write
        return Seen(workers_slice.path, exists=False, writable=may_make)
    tier, idle, weight = workers_slice.seen_tier()
    knob = "cpu.idle" if idle is not None else workers_slice.weight
    says = {
        "cpu.idle": None if tier == WEIGHT else idle,
        workers_slice.weight: None if tier == KERNEL else weight,
    }
    text = " and ".join(f"{name} is {value}" for name, value in says.items() if value is not None)
    lifted = read_knob(workers_slice.directory / "cpu.max") == f"{LIFT_QUOTA} {PERIOD}"
    return Seen(
        workers_slice.path,
        exists=True,
        writable=os.access(workers_slice.cpu / knob, os.W_OK),
        tier="quota" if tier != "none" and other_scheduler(workers_slice.sys) else tier,
        knob=text,
        populated="populated 1" in (read_knob(workers_slice.directory / "cgroup.events") or ""),
        lifted=lifted,
        frozen=_frozen(workers_slice, lifted),
        limits=workers_slice.found_limits().words,
    )


def _frozen(workers_slice: Slice, lifted: bool) -> int:
    """How many workers are frozen by us: each by itself, or all with the slice."""
    workers = list(workers_slice.directory.glob("*/cgroup.freeze"))
    if read_knob(workers_slice.directory / "cgroup.freeze") == "1":
        return len(workers)
    return sum(read_knob(file) == "1" for file in workers) if workers_slice.v1 or lifted else 0
