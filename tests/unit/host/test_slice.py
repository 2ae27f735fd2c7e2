"""The slice on fixture trees: v2 only, hybrid, and the systemd driver's paths."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.slices import User, files, group, of_root, read
from unit.trees import Tree, tree

import plancton.host.slice as slices
from plancton.files import write_knob
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.host.slice_bounds import Bounds, v2_knobs
from plancton.host.slice_inspection import look_at

# ---------------------------------------------------------------- where things are


def test_paths_with_cgroupfs(v2: Slice) -> None:
    """With the cgroupfs driver the slice is a plain directory, and Docker's parent its absolute
    path."""
    assert (v2.path, v2.parent) == ("plancton", "/plancton")
    assert v2.directory == v2.cpu == v2.tree / "plancton"


def test_paths_with_systemd(tmp_path: Path) -> None:
    """With the systemd driver, the parent is a unit's name, as is the directory."""
    seen = Slice(Layout(tmp_path), "plancton", "systemd")
    assert (seen.path, seen.parent, seen.unit) == ("plancton.slice", "plancton.slice", "plancton.slice")
    assert seen.directory == tmp_path / "plancton.slice"
    assert not any(tmp_path.iterdir()), "making the object touches nothing"


def test_paths_on_hybrid(hybrid: Slice) -> None:
    """On a hybrid host, the CPU and memory files are in v1's trees."""
    assert hybrid.directory.parts[-2:] == ("v2", "plancton")
    assert hybrid.cpu.parts[-2:] == ("cpu", "plancton")
    assert hybrid.memory_stat.parts[-3:] == ("memory", "plancton", "memory.stat")


# ---------------------------------------------------------------- tiers


def test_tier_kernel(v2: Slice, hybrid: Slice) -> None:
    """If the kernel has an idle class for cgroups, the slice gets it."""
    for workers_slice in (v2, hybrid):
        workers_slice.set_up()
        assert (
            workers_slice.tier == "kernel"
            and "gives every CPU to the owner at once" in workers_slice.tier_reason
        )
        assert read(workers_slice.cpu / "cpu.idle") == "1"


def test_tier_weight(v2: Slice, hybrid: Slice) -> None:
    """Without an idle class, the slice gets the least weight, and says what would be better."""
    for workers_slice, knob, least in ((v2, "cpu.weight", "1"), (hybrid, "cpu.shares", "2")):
        (workers_slice.cpu / "cpu.idle").unlink()
        workers_slice.set_up()
        assert workers_slice.tier == "weight" and "Linux 5.15 has" in workers_slice.tier_reason
        assert read(workers_slice.cpu / knob) == least


def test_tier_quota(v2: Slice) -> None:
    """If the slice can't be written, Docker limits the workers; the file and the remedy are
    named."""
    (v2.cpu / "cpu.idle").unlink()
    (v2.cpu / "cpu.idle").mkdir()
    v2.set_up()
    assert v2.tier == "quota" and not v2.can_lift
    assert "/cpu.idle can't be written (Is a directory), so the workers' CPU is" in v2.tier_reason
    assert "as root" not in v2.tier_reason and "something else on this host" in v2.tier_reason


def test_no_more_than_asked_for(v2: Slice, hybrid: Slice) -> None:
    """docker.tier keeps a slice from yielding more strongly, even if it did so before."""
    for workers_slice, weak, normal in ((v2, "1", "100"), (hybrid, "2", "1024")):
        knobs = (
            workers_slice.cpu / "cpu.idle",
            workers_slice.cpu / ("cpu.shares" if workers_slice.v1 else "cpu.weight"),
        )
        workers_slice.set_up()
        for tier, idle_and_weight in (("weight", ["0", weak]), ("quota", ["0", normal])):
            workers_slice.strongest = tier  # type: ignore[assignment]
            workers_slice.set_up()
            assert str(workers_slice.tier) == tier and "idle class" not in workers_slice.tier_reason, (
                workers_slice.tier_reason
            )
            assert [read(knob) for knob in knobs] == idle_and_weight


def test_promoted(v2: Slice) -> None:
    """A slice that could not be written reaches its tier once it can be."""
    idle = v2.cpu / "cpu.idle"
    idle.unlink()
    idle.mkdir()
    v2.set_up()
    assert v2.repair() is None and v2.tier == "quota"
    idle.rmdir()
    idle.write_text("0")
    assert (v2.repair() or "").startswith("tier kernel: "), v2.tier_reason
    assert v2.can_lift and read(idle) == "1"


# ---------------------------------------------------------------- bounds

BOUNDS = Bounds(memory=10_000_000, swap=1_000_000, cpus=1.5, cpuset="2-3")
MEMORY, BOTH = str(10_000_000 // 4096 * 4096), str(11_000_000 // 4096 * 4096)


def test_bounds(v2: Slice, hybrid: Slice) -> None:
    """The kernel bounds the slice's memory, swap and CPUs, in whole pages, and puts its disk access
    last."""
    for name in ("memory.max", "memory.swap.max", "io.weight", "cpuset.cpus"):
        (v2.directory / name).write_text("max")
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
        (hybrid.memory / name).write_text("9223372036854771712")
    (hybrid.cpu / "cpu.cfs_quota_us").write_text("-1")
    assert v2.ceiling() is None and hybrid.ceiling() is None
    for workers_slice in (v2, hybrid):
        workers_slice.set_up()
        workers_slice.bound(BOUNDS)
    names = ("memory.max", "memory.swap.max", "io.weight", "cpu.max", "cpuset.cpus")
    swap = str(1_000_000 // 4096 * 4096)
    cpu = ["150000 100000", "2-3"]
    assert [read(v2.directory / name) for name in names] == [MEMORY, swap, "default 1", *cpu]
    assert read(hybrid.memory / "memory.limit_in_bytes") == MEMORY
    assert read(hybrid.memory / "memory.memsw.limit_in_bytes") == BOTH
    assert read(hybrid.cpu / "cpu.cfs_quota_us") == "150000"
    assert v2.ceiling() == hybrid.ceiling() == int(MEMORY)


def test_bounds_are_put_back(v2: Slice) -> None:
    """A removed bound is restored and named; one that the kernel lacks is left out."""
    (v2.directory / "memory.max").write_text("max")
    v2.set_up()
    v2.bound(BOUNDS)
    assert v2.repair() is None
    (v2.directory / "memory.max").write_text("max")
    assert v2.repair() == f"the slice had memory.max max instead of {MEMORY}: put back"
    assert read(v2.directory / "memory.max") == MEMORY
    assert not (v2.directory / "memory.swap.max").exists()


def test_all_cpus_again(v2: Slice) -> None:
    """When no core is reserved any more, the workers may run on all again."""
    cpus = v2.directory / "cpuset.cpus"
    cpus.write_text("\n")
    (v2.tree / "cpuset.cpus.effective").write_text("0-3\n")
    v2.set_up()
    v2.bound(Bounds(cpuset=""))
    assert read(cpus) == "", "it was bound without need"
    v2.bound(Bounds(cpuset="2-3"))
    assert read(cpus) == "2-3" and v2.repair() is None
    v2.bound(Bounds(cpuset=""))
    assert read(cpus) == "0-3" and v2.repair() is None


def test_cpus_on_hybrid(tmp_path: Path) -> None:
    """On a hybrid host, v1's cpuset says which CPUs there are, and has those for the workers, before
    Docker makes it with all."""
    root = tree(tmp_path, v2={}, cpu={}, cpuset={"cpuset.effective_cpus": "0-7\n"})
    layout = Layout(root / "v2", {"cpu": root / "cpu", "cpuset": root / "cpuset"})
    for driver, name in (("cgroupfs", "plancton"), ("systemd", "plancton.slice")):
        workers_slice = Slice(layout, name.removesuffix(".slice"), driver)
        workers_slice.privileged = driver == "cgroupfs"  # else systemd would be asked
        assert workers_slice.allowed_cpus() == "0-7"
        workers_slice.set_up()
        cpus = root / "cpuset" / name / "cpuset.cpus"
        cpus.write_text("\n")  # as the kernel makes it
        workers_slice.bound(Bounds(cpuset="2-3"))
        assert read(cpus) == "2-3"
        workers_slice.bound(Bounds(cpuset=""))
        assert read(cpus) == "0-7"


def test_cores_are_kept_over_a_restart(v2: Slice) -> None:
    """A starting supervisor widens the workers' CPUs only once it knows what is reserved."""
    cpus = v2.directory / "cpuset.cpus"
    cpus.write_text("2-3\n")
    (v2.tree / "cpuset.cpus.effective").write_text("0-3\n")
    v2.set_up()
    assert v2.repair() is None and read(cpus) == "2-3"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What systemctl is asked, which does nothing."""
    asked, program = tmp_path / "asked", tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$*" >>"{asked}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return asked


def test_slow_systemd(tmp_path: Path, asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemd that does not answer in time has not said that it knows no idle class."""
    program = asked.with_name("systemctl")
    program.write_text(program.read_text() + "exec sleep 60\n")
    monkeypatch.setattr("plancton.host.systemd_unit.ANSWERS", 0.2)
    root = tree(tmp_path / "v2", {"plancton.slice": group()})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.set_up()
    assert workers_slice.tier == "kernel", workers_slice.tier_reason


def test_systemd_is_told_of_each_bound(tmp_path: Path, asked: Path) -> None:
    """What changes while systemd still works on the last change is told it later: it would put back
    what it knows."""
    root = tree(tmp_path / "v2", {"plancton.slice": group()})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.set_up()
    waiting = list[Callable[[], None]]()
    workers_slice.manager.run_what_waits = waiting.append
    workers_slice.bound(Bounds(cpus=1.5))
    assert len(waiting) == 1 and workers_slice.settled is False
    workers_slice.bound(Bounds(cpus=1.0))
    while waiting:
        waiting.pop(0)()
        workers_slice.repair()
    assert asked.read_text().splitlines()[-1].endswith("CPUQuota=100.00%"), asked.read_text()
    assert workers_slice.settled


def test_slice_that_systemd_makes_again(tmp_path: Path, asked: Path) -> None:
    """A slice that is gone is asked for once more at each repair, which is said once; it is said,
    too, when it is there."""
    root = tree(tmp_path / "v2", {"plancton.slice": group()})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.set_up()
    shutil.rmtree(root / "plancton.slice")
    said = [workers_slice.repair(), workers_slice.repair()]
    assert said[0] and "systemd is asked" in said[0] and said[1] is None, said
    starts = [line.split() for line in asked.read_text().splitlines() if "start" in line.split()]
    assert starts and all("--job-mode=fail" in words for words in starts), "it would cancel a shutdown"
    tree(root, {"plancton.slice": {**group(), "cpu.idle": "1\n"}})
    back = workers_slice.repair()
    assert back and "put back to tier kernel" in back, back
    assert "put back" not in (workers_slice.repair() or "")


@pytest.mark.parametrize("populated", [False, True])
def test_removal_with_systemd(tmp_path: Path, asked: Path, populated: bool) -> None:
    """At the end only what systemd was asked to set is taken back: what the administrator has set
    on the slice stays, and all of it while somebody else is in the slice."""
    events = {"cgroup.events": f"populated {populated:d}\nfrozen 0\n"}
    root = tree(tmp_path / "v2", {"plancton.slice": {**group(), **events}})
    ours = {"50-CPUWeight.conf": "", "50-MemoryMax.conf": "", "50-IOWeight.conf": ""}
    theirs = {"50-IOAccounting.conf": "", "override.conf": ""}
    units = tree(tmp_path / "units", {"plancton.slice.d": {**ours, **theirs}, "other.slice.d": ours})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.manager.runtime = units
    workers_slice.remove()
    left = {path.name for path in (units / "plancton.slice.d").iterdir()}
    assert left == ({*ours, *theirs} if populated else set(theirs))
    assert len(list((units / "other.slice.d").iterdir())) == len(ours)
    said = asked.read_text().splitlines() if asked.exists() else []
    assert [line.split()[1] for line in said] == ([] if populated else ["stop", "daemon-reload"])


def test_removal_where_nothing_was_set(tmp_path: Path, asked: Path) -> None:
    """Without a drop-in of ours systemd need not load its units again."""
    workers_slice = of_root(Slice(Layout(tree(tmp_path / "v2")), "plancton", "systemd"))
    workers_slice.manager.runtime = tree(tmp_path / "units", {"plancton.slice.d": {"50-IOWeight.conf": ""}})
    workers_slice.remove()
    workers_slice.remove()
    assert list(workers_slice.manager.runtime.iterdir()) == []
    assert asked.read_text().count("daemon-reload") == 1


def test_systemd_is_asked_for_the_controller(tmp_path: Path, asked: Path) -> None:
    """The slice has no cpuset.cpus until systemd is told of CPUs, so it is told if the kernel has
    it."""
    directory = {"plancton.slice": group()}
    for number, has in enumerate(("cpuset cpu memory", "cpu memory")):
        root = tree(tmp_path / str(number), {"cgroup.controllers": f"{has}\n"}, directory)
        of_root(Slice(Layout(root), "plancton", "systemd")).bound(Bounds(cpuset="2-3"))
    assert [line.split()[-1] for line in asked.read_text().splitlines()] == ["AllowedCPUs=2-3"]


def test_cpus_that_the_administrator_allows(tmp_path: Path, asked: Path) -> None:
    """AllowedCPUs= of the administrator's own, on the slice of systemd's driver, is kept to with and
    without a reserve, from whichever file; what systemd wrote for us is not theirs."""
    control = {"cgroup.controllers": "cpuset cpu\n", "cpuset.cpus.effective": "0-7\n"}
    root = tree(tmp_path / "v2", control, {"plancton.slice": {**group(), "cpuset.cpus": "\n"}})
    units = tree(tmp_path / "units", run={"plancton.slice.d": {}}, etc={"plancton.slice.d": {}}, usr={})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.manager.runtime = units / "run"
    workers_slice.manager.directories = (units / "run", units / "etc", units / "usr")
    cpus, theirs = workers_slice.directory / "cpuset.cpus", units / "etc/plancton.slice.d"

    def have(reserved: str = "") -> tuple[str | None, str]:
        allowed = workers_slice.allowed_cpus()
        workers_slice.bound(Bounds(cpuset=reserved))
        return allowed, read(cpus)

    tree(units / "run/plancton.slice.d", {"50-AllowedCPUs.conf": "[Slice]\nAllowedCPUs=\nAllowedCPUs=7\n"})
    assert have() == ("0-7", "")
    (theirs / "mine.conf").write_text("[Slice]\n# AllowedCPUs=7\n AllowedCPUs = 0-1, 3 \\\n 5\n")
    assert have() == ("0-1,3,5", "0-1,3,5")
    assert have("3,5") == ("0-1,3,5", "3,5")
    (theirs / "other.conf").write_text("[Slice]\nAllowedCPUs=6\n")
    assert have()[0] == "0-1,3,5-6", "lists add up"
    (theirs / "other.conf").write_text("[Slice]\nAllowedCPUs=\nAllowedCPUs=4,6,99\n")
    assert have() == ("4,6", "4,6"), "an empty one starts again"
    (units / "usr/plancton.slice").write_text("[Slice]\nAllowedCPUs=1\n")
    (theirs / "other.conf").write_text("[Slice]\n")
    (theirs / "mine.conf").write_text("[Slice]\nAllowedCPUs=99\n")
    assert have()[0] == "1", "the unit's own file counts, too"
    (units / "usr/plancton.slice").unlink()
    assert have() == ("0-7", "0-7"), "there are no such CPUs: the kernel goes by the others"
    (theirs / "mine.conf").unlink()
    assert have() == ("0-7", "0-7")


def test_limits_of_the_administrator(tmp_path: Path, asked: Path) -> None:
    """Of a limit in a drop-in of the administrator's and our bound the stricter one holds, in the
    kernel and for systemd, until the drop-in is gone."""
    root = tree(tmp_path / "v2", {"plancton.slice": {**group(), "memory.max": "max", "pids.max": "max"}})
    units = tree(tmp_path / "units", run={}, etc={"plancton.slice.d": {}})
    workers_slice = of_root(Slice(Layout(root), "plancton", "systemd"))
    workers_slice.manager.runtime, workers_slice.manager.directories = (
        units / "run",
        (units / "run", units / "etc"),
    )
    drop_in = units / "etc/plancton.slice.d/mine.conf"
    drop_in.write_text("[Slice]\nMemoryMax=1M\nCPUQuota=50%\nTasksMax=7\n")
    workers_slice.set_up()
    assert (workers_slice.limits.words, look_at(workers_slice).limits) == (
        "1 MB of memory, 0.5 CPUs, 7 processes",
    ) * 2

    def have() -> list[str]:
        workers_slice.allowed_cpus()
        workers_slice.repair()
        return [read(workers_slice.directory / name) for name in ("memory.max", "cpu.max", "pids.max")]

    workers_slice.bound(BOUNDS)
    assert have() == ["1048576", "50000 100000", "7"]
    assert "MemoryMax=1048576" in asked.read_text() and "CPUQuota=50.00%" in asked.read_text()
    drop_in.write_text("[Slice]\nMemoryMax=1T\nCPUQuota=800%\n")
    assert have()[:2] == [MEMORY, "150000 100000"]
    drop_in.unlink()
    assert have()[:2] == [MEMORY, "150000 100000"] and workers_slice.limits.words == ""


@pytest.mark.parametrize("which", ["v2", "hybrid"])
def test_limits_from_before(which: str, request: pytest.FixtureRequest) -> None:
    """What somebody has written to the slice before we first took it stays where it is stricter,
    for the next supervisor as well; our own bounds don't."""
    first: Slice = request.getfixturevalue(which)
    memory, quota, one = (
        ("memory.limit_in_bytes", "cpu.cfs_quota_us", "50000")
        if first.v1
        else ("memory.max", "cpu.max", "50000 100000")
    )
    (first.memory / memory).write_text(str(8192))
    (first.cpu / quota).write_text(one)
    (first.cpu / "cpu.cfs_period_us").write_text("100000")
    first.set_up()
    first.bound(BOUNDS)
    assert first.ceiling() == 8192 and read(first.cpu / quota) == one
    assert "0.5 CPUs" in look_at(first).limits
    layout = Layout(first.tree, {"cpu": first.cpu.parent, "memory": first.memory.parent} if first.v1 else {})
    for bound, ceiling in ((4096, 4096), (1_000_000, 8192)):  # the former is no limit of theirs
        following = of_root(Slice(layout, "plancton", "cgroupfs"))
        following.set_up()
        following.bound(Bounds(memory=bound))
        assert following.ceiling() == ceiling and read(first.cpu / quota) == one


def test_the_lift_keeps_the_bounds(v2: Slice) -> None:
    """After a lift the slice has its own CPU bound again, not none."""
    v2.set_up()
    v2.bound(BOUNDS)
    v2.lift(["plancton/a"], [])
    assert read(v2.directory / "cpu.max") == "20000 100000"
    v2.drop()
    assert read(v2.directory / "cpu.max") == "150000 100000"


def test_bounds_for_systemd(tmp_path: Path) -> None:
    """systemd is told each bound that it knows, or it would overwrite it."""
    made = {knob.file.name: knob.unit for knob in v2_knobs(tmp_path, BOUNDS)}
    assert made == {
        "cpu.max": "CPUQuota=150.00%",
        "cpuset.cpus": "AllowedCPUs=2-3",
        "memory.max": f"MemoryMax={MEMORY}",
        "memory.swap.max": f"MemorySwapMax={1_000_000 // 4096 * 4096}",
        "io.weight": "IOWeight=1",
        "io.prio.class": "",
    }
    assert next(v2_knobs(tmp_path, Bounds())).unit == "CPUQuota="


def test_tier_before_set_up(v2: Slice) -> None:
    """A slice that is not set up promises nothing, and lifting it does nothing."""
    before = files(v2.tree)
    assert v2.tier == "none"
    v2.lift(["plancton/a"], ["plancton/b"])
    assert files(v2.tree) == before and not v2.lifted


def test_set_up_makes_it(tmp_path: Path) -> None:
    """A missing slice is created in each tree."""
    root = tree(tmp_path, v2={}, cpu={})
    Slice(Layout(root / "v2", {"cpu": root / "cpu"}), "other", "cgroupfs").set_up()
    assert (root / "v2/other").is_dir() and (root / "cpu/other").is_dir()


def test_remove(tmp_path: Path) -> None:
    """An empty slice is removed; one in use stays."""
    root = tree(tmp_path, {"plancton": {}, "used": {"worker": {}}})
    of_root(Slice(Layout(root), "plancton", "cgroupfs")).remove()
    of_root(Slice(Layout(root), "used", "cgroupfs")).remove()
    assert [path.name for path in root.iterdir()] == ["used"]


# ---------------------------------------------------------------- repair


def test_nothing_to_repair(v2: Slice) -> None:
    """A correct slice is left alone."""
    v2.set_up()
    assert v2.repair() is None


def test_repair(v2: Slice) -> None:
    """A changed slice is restored, and one sentence says what was found."""
    v2.set_up()
    (v2.cpu / "cpu.idle").write_text("0\n")
    assert v2.repair() == "the slice had cpu.idle 0 instead of 1: put back to tier kernel"
    assert read(v2.cpu / "cpu.idle") == "1" and v2.repair() is None


def test_repair_of_the_weight(v2: Slice, hybrid: Slice) -> None:
    """In tier weight, the weight is checked."""
    for workers_slice, knob, least in ((v2, "cpu.weight", "1"), (hybrid, "cpu.shares", "2")):
        (workers_slice.cpu / "cpu.idle").unlink()
        workers_slice.set_up()
        (workers_slice.cpu / knob).write_text("77")
        assert (
            workers_slice.repair() == f"the slice had {knob} 77 instead of {least}: put back to tier weight"
        )
        assert read(workers_slice.cpu / knob) == least


def test_repair_of_a_slice_that_is_gone(v2: Slice) -> None:
    """A removed slice is recreated."""
    v2.set_up()
    for path in sorted(v2.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    v2.directory.rmdir()
    said = v2.repair()
    assert said is not None and said.startswith("the slice had cpu.idle missing instead of 1"), said
    assert v2.directory.is_dir()


def test_no_repair_during_a_lift(v2: Slice) -> None:
    """A lift is not repaired."""
    v2.set_up()
    v2.lift(["plancton/a"], [])
    assert v2.repair() is None and read(v2.cpu / "cpu.idle") == "0"


# ---------------------------------------------------------------- the lift


def test_lift(v2: Slice) -> None:
    """The leavers get up to 20 % of a CPU at an ordinary weight, the others are frozen; all is
    restored."""
    v2.set_up()
    before = files(v2.tree)
    v2.lift(["plancton/a"], ["plancton/b", "plancton/c"])
    directory = v2.directory
    assert v2.lifted
    assert read(directory / "cpu.max") == "20000 100000"
    assert (read(directory / "cpu.idle"), read(directory / "cpu.weight")) == ("0", "100")
    assert read(directory / "a/cpu.weight") == "100", "the leaver's own weight"
    assert [read(directory / name / "cgroup.freeze") for name in "abc"] == ["0", "1", "1"]
    v2.drop()
    assert not v2.lifted
    after = files(v2.tree)
    assert after.pop("plancton/a/cpu.weight") == "100", "only a leaver's own weight may differ: it goes"
    assert {k: v.strip() for k, v in after.items()} == {
        k: v.strip() for k, v in before.items() if k != "plancton/a/cpu.weight"
    }


def test_the_bound_stays_until_it_yields_again(v2: Slice) -> None:
    """If the slice can't be made idle again, it stays bounded."""
    v2.set_up()
    v2.lift(["plancton/a"], ["plancton/b"])
    knob = v2.directory / "cpu.idle"
    knob.unlink()
    knob.mkdir()
    v2.drop()
    assert read(v2.directory / "cpu.max") == "20000 100000"
    assert read(v2.directory / "b/cgroup.freeze") == "0", "the others are thawed all the same"
    knob.rmdir()
    knob.write_text("0")
    v2.repair()
    assert (read(knob), read(v2.directory / "cpu.max")) == ("1", "max 100000")


def test_lift_on_hybrid(hybrid: Slice) -> None:
    """On v1 the bound is split among the leavers' quotas, and each gets its own back."""
    hybrid.set_up()
    hybrid.lift(["plancton/a", "plancton/b"], [])
    assert (read(hybrid.cpu / "cpu.idle"), read(hybrid.cpu / "cpu.shares")) == ("0", "1024")
    for name in "ab":
        assert read(hybrid.cpu / name / "cpu.cfs_quota_us") == "10000"
    assert not (hybrid.directory / "cpu.max").exists(), "v1's slice has no quota of its own"
    hybrid.drop()
    assert read(hybrid.cpu / "cpu.idle") == "1"
    for name in "ab":
        assert read(hybrid.cpu / name / "cpu.cfs_quota_us") == "100000"


def test_second_lift(hybrid: Slice) -> None:
    """A second lift before the first is dropped still remembers the original quotas."""
    hybrid.set_up()
    hybrid.lift(["plancton/a"], ["plancton/b"])
    hybrid.lift(["plancton/a", "plancton/b"], [])
    hybrid.drop()
    assert [read(hybrid.cpu / name / "cpu.cfs_quota_us") for name in "ab"] == ["100000", "100000"]
    assert [read(hybrid.directory / name / "cgroup.freeze") for name in "ab"] == ["0", "0"]


def test_lift_of_those_who_are_gone(v2: Slice) -> None:
    """Leavers and others that are already gone don't keep the rest from leaving."""
    v2.set_up()
    v2.lift(["plancton/gone", "plancton/a"], ["plancton/gone2", "plancton/b"])
    assert read(v2.directory / "a/cpu.weight") == "100" and read(v2.directory / "b/cgroup.freeze") == "1"
    for name in ("a", "b"):
        for path in (v2.directory / name).iterdir():
            path.unlink()
        (v2.directory / name).rmdir()
    v2.drop()
    assert read(v2.directory / "cpu.idle") == "1" and read(v2.directory / "cpu.max") == "max 100000"


FOREIGN = ["owner", "", "plancton", "plancton/../owner", "../owner", "/owner"]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_nothing_outside_the_slice_is_lifted_or_frozen(hybrid: Slice, foreign: str) -> None:
    """Whatever group somebody names, only what is below the slice is written."""
    owner = {"cgroup.freeze": "0", "cpu.shares": "777", "cpu.cfs_quota_us": "-1"}
    for root in (hybrid.tree, hybrid.cpu.parent):
        tree(root, owner, owner=owner)
    hybrid.set_up()
    before = [files(hybrid.tree / "owner"), files(hybrid.cpu.parent / "owner"), read_all(hybrid)]
    with pytest.raises(PermissionError):
        hybrid.lift([foreign], [foreign, "plancton/b"])
    hybrid.drop()
    hybrid.boost.restore(foreign, 5_000, paused=False)
    hybrid.drop(everything=True)
    assert [files(hybrid.tree / "owner"), files(hybrid.cpu.parent / "owner"), read_all(hybrid)] == before


def read_all(workers_slice: Slice) -> list[str]:
    """The knobs of both trees' roots."""
    roots = (workers_slice.tree, workers_slice.cpu.parent)
    return [read(file) for root in roots for file in sorted(root.iterdir()) if file.is_file()]


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (PermissionError(13, "Permission denied"), "on the host itself"),
        (OSError(30, "Read-only file system"), "remount,rw"),
        (FileNotFoundError(2, "No such file or directory"), "echo +cpu >"),
    ],
)
def test_remedies_for_root(v2: Slice, monkeypatch: pytest.MonkeyPatch, error: OSError, word: str) -> None:
    """Root is never told to run as root: the remedy is one for the cause."""

    def refuse(path: Path, text: str) -> None:
        raise error

    monkeypatch.setattr(slices, "write_knob", refuse)
    v2.set_up()
    assert v2.tier == "quota"
    assert word in v2.tier_reason and "as root" not in v2.tier_reason, v2.tier_reason


def test_lift_in_tier_weight(v2: Slice) -> None:
    """Without an idle class, the weight is lifted, and dropped to the least again."""
    (v2.cpu / "cpu.idle").unlink()
    v2.set_up()
    v2.lift(["plancton/a"], [])
    assert read(v2.cpu / "cpu.weight") == "100" and not (v2.cpu / "cpu.idle").exists()
    v2.drop()
    assert read(v2.cpu / "cpu.weight") == "1"


def test_no_lift_without_a_bound(hybrid: Slice, monkeypatch: pytest.MonkeyPatch) -> None:
    """On v1, a supervisor that may not bound the leavers does not lift the slice."""
    hybrid.set_up()
    write = write_knob

    def refuse(path: Path, text: str) -> None:
        if path.parent.name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        write(path, text)

    monkeypatch.setattr("plancton.host.leaver_boost.write_knob", refuse)
    with pytest.raises(PermissionError):
        hybrid.lift(["plancton/a"], ["plancton/b"])
    assert read(hybrid.cpu / "cpu.idle") == "1"
    hybrid.drop()
    assert read(hybrid.tree / "plancton/b/cgroup.freeze") == "0" and not hybrid.lifted


def test_lift_that_a_crash_left(v2: Slice) -> None:
    """An earlier supervisor's lift is undone when the slice is set up, and what it froze when it is
    adopted; what Docker has paused stays so."""
    v2.set_up()
    v2.lift(["plancton/a"], ["plancton/b", "plancton/c"])
    again = of_root(Slice(Layout(v2.tree), "plancton", "cgroupfs"))
    again.set_up()
    assert (read(again.cpu / "cpu.idle"), read(again.directory / "cpu.max")) == ("1", "max 100000")
    for name in "abc":
        again.boost.restore(f"plancton/{name}", 0, paused=name == "c")
    assert [read(again.directory / name / "cgroup.freeze") for name in "abc"] == ["0", "0", "1"]


def test_what_a_crash_left_on_hybrid(hybrid: Slice) -> None:
    """On a hybrid host Docker pauses in a tree of v1's: a freeze in v2's is a lift's, always."""
    hybrid.set_up()
    hybrid.lift(["plancton/a"], ["plancton/b"])
    again = of_root(Slice(Layout(hybrid.tree, {"cpu": hybrid.cpu.parent}), "plancton", "cgroupfs"))
    again.set_up()
    again.boost.restore("plancton/a", 7_000, paused=False)
    again.boost.restore("plancton/b", 0, paused=True)
    assert read(again.directory / "b/cgroup.freeze") == "0"
    assert [read(hybrid.cpu / name / "cpu.cfs_quota_us") for name in "ab"] == ["7000", "-1"]


@pytest.mark.parametrize("failing", ["cgroup.freeze", "cpu.cfs_quota_us"])
def test_what_cant_be_undone(hybrid: Slice, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """A worker that can't be thawed, or given its quota back, is a problem, and each repair tries
    again."""
    hybrid.set_up()
    hybrid.lift(["plancton/a"], ["plancton/b"])
    write = write_knob

    def refuse(path: Path, text: str) -> None:
        if path.name == failing:
            raise PermissionError(13, "Permission denied", str(path))
        write(path, text)

    monkeypatch.setattr("plancton.host.leaver_boost.write_knob", refuse)
    hybrid.drop()
    assert failing in hybrid.boost.problem and "Permission denied" in hybrid.boost.problem
    assert hybrid.repair() is None and failing in hybrid.boost.problem
    monkeypatch.undo()
    assert "undone" in (hybrid.repair() or "") and not hybrid.boost.problem
    assert read(hybrid.directory / "b/cgroup.freeze") == "0"
    assert read(hybrid.cpu / "a/cpu.cfs_quota_us") == "100000" and hybrid.repair() is None


def test_drop_without_a_lift(v2: Slice) -> None:
    """Dropping without a lift writes nothing."""
    v2.set_up()
    (v2.directory / "b/cgroup.freeze").write_text("1")
    before = files(v2.tree)
    v2.drop()
    assert files(v2.tree) == before, "somebody else's freeze is not ours to thaw"


# ---------------------------------------------------------------- without root


def test_handing_over(v2: Slice, user: User) -> None:
    """These files of the slice are handed over, if they exist: no directory, no worker's file, and
    none that moves processes."""
    tree(v2.directory, {"memory.max": "max", "cgroup.kill": "", "cgroup.procs": "", "io.weight": "1"})
    v2.hand_over(7)
    names = ("cpu.idle", "cpu.weight", "cpu.max", "memory.max", "cgroup.freeze", "cgroup.kill")
    assert user.handed == {str(v2.directory / name) for name in names}


def test_handing_over_on_hybrid(hybrid: Slice, user: User) -> None:
    """They are handed over in whichever tree they are."""
    tree(hybrid.memory, {"memory.limit_in_bytes": "1", "tasks": ""})
    assert hybrid.hand_over(7) == ["cpu.idle", "cpu.shares", "memory.limit_in_bytes", "cgroup.freeze"]
    assert str(hybrid.memory / "memory.limit_in_bytes") in user.handed and len(user.handed) == 4


def test_prepared(v2: Slice, hybrid: Slice, user: User) -> None:
    """With the slice's files, the user has tier kernel, repairs the slice and sets its bounds."""
    (v2.directory / "memory.max").write_text("max")
    for workers_slice in (v2, hybrid):
        workers_slice.hand_over(7)
        user.sees(workers_slice).set_up()
        assert (workers_slice.tier, workers_slice.ours, workers_slice.can_lift) == ("kernel", True, True), (
            workers_slice.tier_reason
        )
        (workers_slice.cpu / "cpu.idle").write_text("0")
        assert (workers_slice.repair() or "").endswith("put back to tier kernel")
    v2.bound(BOUNDS)
    (v2.directory / "memory.max").write_text("max")
    assert v2.repair() == f"the slice had memory.max max instead of {MEMORY}: put back"


def test_not_prepared(v2: Slice, user: User) -> None:
    """If nothing was handed over, Docker must limit the workers, and the remedy for root is named;
    a later preparation is noticed."""
    user.sees(v2).set_up()
    assert v2.tier == "quota"
    assert v2.tier_reason.endswith(
        "/cpu.idle can't be written (Permission denied), so the workers' CPU is limited through Docker,"
        " within seconds: `sudo plancton prepare --user donor` to have the kernel yield at once"
    )
    assert v2.repair() is None
    v2.hand_over(7)
    assert (v2.repair() or "").startswith("tier kernel: ") and v2.can_lift


def test_made_again_by_others(v2: Slice, user: User) -> None:
    """A slice that belongs to root again is still idle class, but can't be lifted: that is reported
    once, with the remedy, and so is its end."""
    v2.hand_over(7)
    user.sees(v2).set_up()
    user.handed.clear()
    said = v2.repair() or ""
    assert said.startswith("tier kernel: ") and said.endswith(
        "/cpu.idle is not ours to change, so leavers get no CPU:"
        " `sudo plancton prepare --user donor` fixes that"
    )
    assert not v2.can_lift and v2.repair() is None
    v2.hand_over(7)
    assert "not ours" not in (v2.repair() or "not ours") and v2.can_lift


def test_made_again_without_its_class(v2: Slice, user: User) -> None:
    """A slice that is gone, or root's and without idle class, means tier quota."""
    v2.hand_over(7)
    user.sees(v2).set_up()
    user.handed.clear()
    (v2.cpu / "cpu.idle").write_text("0")
    said = v2.repair() or ""
    assert said.startswith("the slice had cpu.idle 0 instead of 1: tier quota: ") and "prepare --user" in said


def test_lift_without_root(v2: Slice, user: User) -> None:
    """The slice itself bounds the lift; no worker's file is written, and everything is restored."""
    v2.hand_over(7)
    user.sees(v2).set_up()
    before = files(v2.tree)
    v2.lift(["plancton/a"], ["plancton/b"])
    assert (read(v2.cpu / "cpu.idle"), read(v2.cpu / "cpu.weight")) == ("0", "100")
    assert read(v2.directory / "cpu.max") == "20000 100000"
    assert user.written[-3:] == ["cpu.max", "cpu.idle", "cpu.weight"], "it was lifted before it was bounded"
    v2.drop()
    assert files(v2.tree) == before


def test_lift_without_root_and_quota(v2: Slice, user: User) -> None:
    """Without the file that bounds it, the slice is not lifted."""
    v2.hand_over(7)
    user.sees(v2).set_up()
    user.handed.remove(str(v2.directory / "cpu.max"))
    with pytest.raises(PermissionError):
        v2.lift(["plancton/a"], [])
    assert read(v2.cpu / "cpu.idle") == "1"


@pytest.mark.parametrize(("cpus", "shares"), [(1, "204"), (2, "102"), (64, "3"), (4096, "2")])
def test_lift_on_hybrid_without_root(hybrid: Slice, user: User, cpus: int, shares: str) -> None:
    """v1 refuses a slice's quota below its workers', so the weight is the bound: that of 20 % of a
    CPU, by the CPUs that count."""
    hybrid.counted = cpus
    hybrid.hand_over(7)
    user.sees(hybrid).set_up()
    hybrid.lift(["plancton/a"], ["plancton/b"])
    assert (read(hybrid.cpu / "cpu.idle"), read(hybrid.cpu / "cpu.shares")) == ("0", shares)
    hybrid.drop()
    assert read(hybrid.cpu / "cpu.idle") == "1"


def test_stays_without_root(tmp_path: Path, user: User) -> None:
    """What root prepared is not removed: the next start needs it."""
    root = tree(tmp_path, {"plancton": {}})
    user.sees(Slice(Layout(root), "plancton", "cgroupfs")).remove()
    assert (root / "plancton").is_dir()


def test_who_is_privileged(tmp_path: Path) -> None:
    """Root is."""
    assert Slice(Layout(tmp_path), "plancton", "cgroupfs").privileged == (os.geteuid() == 0)


# ---------------------------------------------------------------- what others do


def test_another_scheduler(v2: Slice, hybrid: Slice, tmp_path: Path) -> None:
    """While one of sched_ext schedules all processes the tier is quota, and its name is said; once it
    has gone the kernel yields again."""
    found: Tree = {"state": "enabled\n", "switch_all": "1\n", "root": {"ops": "lavd_1.0\n"}}
    root = tree(tmp_path / "sys/kernel/sched_ext", found)
    for workers_slice in (v2, hybrid):
        workers_slice.sys = tmp_path / "sys"
        workers_slice.set_up()
        assert workers_slice.tier == look_at(workers_slice).tier == "quota", workers_slice.tier_reason
        assert "lavd_1.0" in workers_slice.tier_reason and not workers_slice.can_lift
        assert not workers_slice.is_refused and read(workers_slice.cpu / "cpu.idle") == "1"
        assert workers_slice.repair() is None
        (root / "state").write_text("disabled\n")
        assert (workers_slice.repair() or "").startswith("tier kernel: ")
        (root / "state").write_text("enabled\n")
        (root / "root/ops").write_text("bpfland\n")
        said = workers_slice.repair() or ""
        assert said.startswith("tier quota: ") and "bpfland" in said
        (root / "root/ops").write_text("lavd_1.0\n")
        assert workers_slice.repair() is None and "lavd_1.0" in workers_slice.tier_reason


def test_the_controller_comes_later(v2: Slice) -> None:
    """What kept the kernel from giving groups the cpu controller may end: it is asked for again."""
    knobs = {name: (v2.cpu / name).read_text() for name in ("cpu.idle", "cpu.weight", "cpu.max")}
    for name in knobs:
        (v2.cpu / name).unlink()
    v2.cpu.joinpath("cpu.weight").mkdir()  # what can't be written, even by root
    v2.set_up()
    assert v2.tier == "quota" and v2.is_refused
    (v2.tree / "cgroup.subtree_control").write_text("memory\n")
    assert v2.repair() is None
    assert "+cpu" in (v2.tree / "cgroup.subtree_control").read_text()
    v2.cpu.joinpath("cpu.weight").rmdir()
    tree(v2.cpu, knobs)
    assert (v2.repair() or "").startswith("tier kernel: ")


def test_missing_and_made_again_by_others(tmp_path: Path, user: User) -> None:
    """The same when it was seen to be missing in between."""
    root = tree(tmp_path / "v2", {"cgroup.subtree_control": ""}, **{"plancton.slice": group()})
    found = Slice(Layout(root), "plancton", "systemd")
    found.hand_over(7)
    user.sees(found).set_up()
    found.directory.rename(tmp_path / "gone")
    assert "missing" in (found.repair() or "")
    user.handed.clear()
    (tmp_path / "gone").rename(found.directory)
    said = found.repair() or ""
    assert "there again" in said and "`sudo plancton prepare --user donor`" in said, said
