"""The cgroup that all workers live in: how strongly it yields, and the lift for those who leave.

Yielding is decided between siblings, so it is the slice's own property that counts (cpu.idle, or the
least weight), never the containers'. See Documentation/admin-guide/cgroup-v2.rst, "CPU Interface
Files"; on hybrid hosts the CPU knobs are v1's (Documentation/admin-guide/cgroup-v1, kernel/sched/core.c)
while cgroup.freeze and cgroup.kill are in the v2 tree.
"""

import contextlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.model import Tier

log = logging.getLogger(__name__)

PROC = Path("/proc")

PERIOD = 100_000
LIFT_QUOTA = 20_000
"""Microseconds of CPU per PERIOD that all leavers together may take from the owner: 20 % of one CPU."""


class Layout(msgspec.Struct, frozen=True):
    """Where the cgroup trees are mounted: the v2 tree, and v1's by controller on hybrid hosts."""

    v2: Path | None
    v1: dict[str, Path] = {}


class LayoutError(PlanctonError):
    """This host has no cgroups that Plancton can use, in one line."""


def find_layout(mountinfo: str) -> Layout:
    """From the text of /proc/self/mountinfo (proc(5)); the first mount of each kind counts."""
    v2, v1 = None, dict[str, Path]()
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields[4]))
        if kind[0] == "cgroup2":
            v2 = v2 or point
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                v1.setdefault(option, point)
    return Layout(v2, v1)


def read_layout(proc: Path = PROC) -> Layout:
    """This host's layout; LayoutError without a v2 tree."""
    layout = find_layout((proc / "self/mountinfo").read_text(errors="surrogateescape"))
    if layout.v2 is None:
        raise LayoutError(
            "no cgroup v2 tree is mounted on this host: boot with systemd.unified_cgroup_hierarchy=1,"
            " or mount one (mount -t cgroup2 none /sys/fs/cgroup/unified)"
        )
    return layout


def group_of(proc: Path, pid: int) -> str | None:
    """A process's cgroup in the v2 tree, without the leading slash; None when it is gone."""
    try:
        text = (proc / str(pid) / "cgroup").read_text(errors="surrogateescape")
    except OSError:
        return None
    found = re.search(r"^0::/(.*)$", text, re.MULTILINE)
    return found[1] if found else None


class Slice:
    """One slice on one host. ``driver`` is Docker's cgroup driver: cgroupfs or systemd."""

    def __init__(self, layout: Layout, name: str, driver: str) -> None:
        assert layout.v2 is not None
        self.systemd = driver == "systemd"
        self.unit = f"{name}.slice"
        self.path = self.unit if self.systemd else name
        self.parent = self.unit if self.systemd else f"/{name}"
        self.tree = layout.v2
        self.directory = layout.v2 / self.path
        self.v1 = "cpu" in layout.v1
        self._weight, self._least, self._normal = (
            ("cpu.shares", "2", "1024") if self.v1 else ("cpu.weight", "1", "100")
        )
        self.cpu = layout.v1.get("cpu", layout.v2) / self.path
        self.memory_stat = layout.v1.get("memory", layout.v2) / self.path / "memory.stat"
        self._roots = {layout.v2, *layout.v1.values()}
        self._frozen: list[Path] = []
        self._quotas: dict[Path, str] = {}
        self.lifted = False
        self.tier: Tier = "none"
        self.tier_reason = "the slice is not set up yet"

    # ------------------------------------------------------------ setting up

    def set_up(self) -> None:
        """Make the slice and put it into the best tier that this host has; undo a lift that a crash left."""
        try:
            self._make()
        except OSError as error:
            log.debug("making %s: %s", self.directory, error)
        self.tier, self.tier_reason = self._yield()
        self.drop(everything=True)

    def _make(self) -> None:
        if self.systemd:
            _systemctl("set-property", "--runtime", self.unit, "CPUWeight=idle", "CPUAccounting=yes")
            _systemctl("start", self.unit)
            return
        for directory in {self.directory, self.cpu}:
            directory.mkdir(exist_ok=True)
        if not self.v1:
            for controller in ("+cpu", "+memory"):  # Docker does the same for its containers' parents
                with contextlib.suppress(OSError):
                    (self.tree / "cgroup.subtree_control").write_text(controller)

    def _yield(self) -> tuple[Tier, str]:
        try:
            if (self.cpu / "cpu.idle").exists():
                _write(self.cpu / "cpu.idle", "1")
                return "kernel", "the slice is idle class: the kernel gives every CPU to the owner at once"
            _write(self.cpu / self._weight, self._least)
            return (
                "weight",
                "this kernel has no idle class for cgroups (Linux 5.15 has): the slice has the least weight",
            )
        except OSError as error:
            return "none", (
                f"{error.filename or self.cpu} can't be written ({error.strerror}): run as root,"
                " or nothing protects the owner from the workers"
            )

    def repair(self) -> str | None:
        """Put the slice back into its tier when something has changed it; says what was found."""
        if self.lifted or self.tier == "none":
            return None
        knob, wanted = ("cpu.idle", "1") if self.tier == "kernel" else (self._weight, self._least)
        found = _read(self.cpu / knob)
        if found == wanted:
            return None
        self.set_up()
        return f"the slice had {knob} {found or 'missing'} instead of {wanted}: put back to tier {self.tier}"

    def remove(self) -> None:
        """Take the slice away once it is empty; a directory that is in use stays."""
        if self.systemd:
            _systemctl("stop", self.unit)
            _systemctl("revert", self.unit)
            return
        for root in self._roots:
            with contextlib.suppress(OSError):
                (root / self.path).rmdir()

    # ------------------------------------------------------------ the lift

    def lift(self, leavers: Iterable[str], others: Iterable[str]) -> None:
        """Give the leavers (cgroups below the slice) CPU to leave with, at a bounded cost to the owner.

        The others are frozen meanwhile, so that all of the bounded CPU is the leavers'.
        """
        if self.tier == "none":
            return
        self.lifted = True
        leavers = list(leavers)
        for group in others:
            self._freeze(self.tree / group)
        for group in leavers:
            with contextlib.suppress(OSError):  # one may be gone already
                self._lift_one(group, len(leavers))
        if not self.v1:
            _write(self.directory / "cpu.max", f"{LIFT_QUOTA} {PERIOD}")
        if self.tier == "kernel":
            _write(self.cpu / "cpu.idle", "0")
        _write(self.cpu / self._weight, self._normal)

    def _lift_one(self, group: str, count: int) -> None:
        own = self.cpu.parent / group
        _write(own / self._weight, self._normal)
        if self.v1:
            # v1 refuses a parent quota below its children's (kernel/sched/core.c, tg_cfs_schedulable_down),
            # so each leaver gets its part of the bound by itself.
            quota = own / "cpu.cfs_quota_us"
            self._quotas.setdefault(quota, _read(quota) or "-1")
            _write(quota, str(max(1_000, LIFT_QUOTA // count)))

    def _freeze(self, group: Path) -> None:
        with contextlib.suppress(OSError):
            _write(group / "cgroup.freeze", "1")
            self._frozen.append(group)

    def drop(self, everything: bool = False) -> None:
        """End the lift. ``everything``: also thaw what this process has not frozen itself."""
        if not self.lifted and not everything:
            return
        yields = self._yield()[0] != "none"
        if yields and not self.v1:  # else the bound stays: without it nothing would protect the owner
            with contextlib.suppress(OSError):
                _write(self.directory / "cpu.max", f"max {PERIOD}")
        for quota, before in self._quotas.items():
            with contextlib.suppress(OSError):
                _write(quota, before)
        frozen = self._frozen
        if everything:
            frozen = [path.parent for path in self.directory.glob("*/cgroup.freeze") if _read(path) == "1"]
        for group in frozen:
            with contextlib.suppress(OSError):
                _write(group / "cgroup.freeze", "0")
        self._frozen, self._quotas, self.lifted = [], {}, False

    def restore_quota(self, group: str, quota: int) -> None:
        """Give an adopted worker its own quota (as Docker has it; 0: none): a lift that a crash cut
        short may have left it throttled."""
        file, wanted = self.cpu.parent / group / "cpu.cfs_quota_us", str(quota or -1)
        if self.v1 and group and _read(file) != wanted:
            with contextlib.suppress(OSError):
                _write(file, wanted)

    # ------------------------------------------------------------ when Docker hangs

    def kill(self, group: str, container: str) -> bool:
        """End a worker's processes without Docker; True when that was done.

        Only below the slice, and only where the last part of the path holds the container's id: a
        reused pid must not lead to a cgroup of the owner's.
        """
        path = Path(group)
        if (
            not container
            or container not in path.name
            or path.parts[:1] != (self.path,)
            or ".." in path.parts
        ):
            return False
        if "populated 0" in (_read(self.tree / path / "cgroup.events") or ""):
            return False
        try:
            _write(self.tree / path / "cgroup.kill", "1")
        except OSError:
            return False
        return True


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _systemctl(*arguments: str) -> None:
    import subprocess  # only hosts with the systemd driver pay for it

    command = ["systemctl", "--no-ask-password", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        problem = "" if done.returncode == 0 else done.stderr.strip() or "failed"
    except (OSError, subprocess.SubprocessError) as error:
        problem = str(error)
    if problem:
        log.warning("systemctl %s: %s", " ".join(arguments), problem.splitlines()[0])
