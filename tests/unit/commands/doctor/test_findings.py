"""What doctor says about a host: each finding at each level, and that it changes nothing."""

# ruff: noqa: E501 (the exact texts are easier to read whole)

import base64
import contextlib
import fcntl
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from unit.host.test_cgroup_mounts import HYBRID, V2
from unit.scripted_docker import HANG, Script, ScriptedDocker, Step, reply
from unit.slices import files
from unit.trees import cores, meminfo, pid_stat, stat, tree

from plancton.commands.doctor import facts as host_facts
from plancton.commands.doctor import findings as doctor
from plancton.commands.doctor import on_docker, on_kernel
from plancton.commands.doctor.facts import Cgroups, Disks, Engine, Facts, Left, look
from plancton.commands.doctor.findings import diagnose, lines
from plancton.commands.doctor.levels import Finding, Level
from plancton.commands.doctor.rival_programs import Process, Supervisors
from plancton.commands.owner_report import OwnerReport
from plancton.config.load import parse
from plancton.config.resolve import Host
from plancton.config.schema import Config
from plancton.docker.escapes import Escape, Ways
from plancton.docker.replies import Info
from plancton.host.bandwidth import Rates
from plancton.host.cgroup_mounts import Layout, find_layout
from plancton.host.realtime import Realtime
from plancton.host.signals.catalog import SIGNALS
from plancton.host.slice_inspection import Seen
from plancton.host.topology import Cpus
from plancton.model import Pause, Phase, Status, Tier, WorkerStatus
from plancton.paths import Paths
from plancton.units import printable
from plancton.workers.container import INSTANCE
from plancton.workers.disks import Disk
from plancton.workers.reach_and_rates import NetworkSeen

PLANCTON = Path(sys.executable).with_name("plancton")
OK, BETTER, BROKEN = Level.OK, Level.BETTER, Level.BROKEN
NOW = 1_800_000_000.0
BOTH = frozenset({"cpu", "memory"})
GOOD = Cgroups(Layout(Path("/cg")), BOTH, True, enabled=BOTH)
DOCKER = Engine(
    Info(server_version="20.10.24", cgroup_driver="cgroupfs", docker_root_dir="/", driver="overlay2"), "1.41"
)
SLICE = Seen("plancton", exists=True, writable=True, tier="kernel", knob="cpu.idle is 1")
WRONG = replace(SLICE, tier="none", knob="cpu.idle is 0")
GONE = Seen("plancton", exists=False, writable=True)
DISK = Disk("/var/lib/docker", 50_000_000_000, 100_000_000_000, 0.5)
HOST = Host(8, 16_000_000_000, 0, 100_000_000_000)
STATUS = Status(
    version="1", pid=7, instance="i", time=NOW, mode="donating", sentence="s", decision="d", tier="kernel",
    tier_reason="r", slice="plancton", capacity=8.0, fit=1,
)  # fmt: skip
RUNS = Supervisors(7, STATUS)
PAUSE = Pause("owner", "paused by the owner")
STUCK = WorkerStatus("w1", "id", Phase.KILLED, 1.0, 0, stuck=True)
DISKS = Disks({"sda": "bfq"}, of_slice={"weight": "default 1"})
FACTS = Facts(
    config=parse("image: {name: busybox}", "FILE"),
    kernel="6.1.0",
    cgroups=GOOD,
    psi=True,
    engine=DOCKER,
    slice=SLICE,
    host=HOST,
    memory_available=12_000_000_000,
    disk=DISK,
    smt=False,
    disks=DISKS,
    supervisors=RUNS,
    left=Left(),
    now=NOW,
)


def says(finding: Finding, level: Level, *words: str) -> None:
    """A finding of this level with these words; with a remedy unless ok (an error's text has its
    own)."""
    assert finding.level is level, finding
    whole = f"{finding.text}; {finding.remedy}"
    for word in words:
        assert word in whole, f"{word!r} is not in: {whole}"
    if level is OK:
        assert not finding.remedy, finding


# ---------------------------------------------------------------- the findings


RULES = NetworkSeen(holds=True, there=True)
BOUNDED = NetworkSeen(holds=True, there=True, rates=Rates(None, 8_000_000))


@pytest.mark.parametrize(
    ("settings", "seen", "runs", "level", "words"),
    [
        (
            "",
            RULES,
            True,
            OK,
            "metadata are closed to workers; all workers together may receive without limit",
        ),
        ("reach: internet", RULES, True, OK, "and private networks are closed"),
        ("rate_up: 8Mbit", BOUNDED, True, OK, "send 8Mbit/s"),
        ("", NetworkSeen(holds=False), False, OK, "the first start closes"),
        ("", NetworkSeen(), True, OK, "sudo plancton doctor"),
        ("rate_up: 8Mbit", RULES, True, BETTER, "send without limit, and by the configuration"),
        ("", BOUNDED, True, BETTER, "send 8Mbit/s, and by the configuration"),
        (
            "",
            NetworkSeen(holds=False),
            True,
            BETTER,
            "are not in force, or are others; as root, `plancton prepare`",
        ),
        ("", NetworkSeen(holds=False, there=True), False, BETTER, "are not in force"),
        (
            "",
            NetworkSeen(problem="there is no nft here: install nftables"),
            True,
            BETTER,
            "workers reach this host's own",
        ),
        ("host: true", NetworkSeen(), True, BETTER, "the host's own network"),
    ],
)
def test_network(settings: str, seen: NetworkSeen, runs: bool, level: Level, words: str) -> None:
    """What is closed to workers and how fast they may be; what does not hold could be better."""
    wanted = parse(f"worker: {{network: {{{settings}}}}}", "FILE").worker.network
    says(on_docker.network_state("", wanted, seen, runs), level, words)
    says(on_docker.network_state("the network is full", wanted, seen, runs), BROKEN, "the network is full")


@pytest.mark.parametrize(
    ("config", "values", "line", "level", "words"),
    [
        ("", {}, "page cache", OK, "beyond 2GB they push out its own"),
        ("", {"temperature": 52.4}, "heat", OK, "52 °C; owner.max_temperature is not set"),
        ("owner: {max_temperature: 75}", {"temperature": 52.4}, "heat", OK, "before it has 75 °C"),
        ("owner: {max_temperature: 75}", {}, "heat", BETTER, "can't hold; set owner.cpu_cap"),
        ("", {}, "battery", OK, "none is seen"),
        ("", {"battery": 62.0, "on_battery": True}, "battery", BETTER, "62 %, in use; workers go on"),
        (
            "owner: {pause_when: on_battery}",
            {"battery": 62.0},
            "battery",
            OK,
            "mains power; the owner's rules",
        ),
        ("owner: {leave_when: battery < 20}", {"on_battery": True}, "battery", OK, "a battery, in use; the"),
        ("", {}, "noise", OK, "at any hour"),
        ("owner: {hours: 22:00-07:00, cpu_cap: 1}", {}, "noise", OK, "owner.hours and owner.cpu_cap"),
    ],
)
def test_what_else_an_owner_notices(
    config: str, values: dict[str, float], line: str, level: Level, words: str
) -> None:
    """Page cache, heat, battery and noise have a line each, which says what is done, or could be."""
    found = OwnerReport(tuple(((name,), value) for name, value in values.items()))
    report = diagnose(replace(FACTS, config=parse(config, "FILE"), owner=found))
    (finding,) = [each for each in report.findings if each.subject == line]
    says(finding, level, words)


def test_files_without_a_memory_controller() -> None:
    """Nothing bounds what workers keep in memory there."""
    without = replace(GOOD, controllers=frozenset({"cpu"}))
    says(doctor.page_cache(Config(), without), BETTER, "push the owner's out", "cgroup_enable=memory")


@pytest.mark.parametrize(
    ("report", "level", "words"),
    [
        (
            OwnerReport(((("hour",), 7), (("battery",), None))),
            OK,
            ["hour = 7", "unknown here: battery", "none"],
        ),
        (OwnerReport((), ("now all workers would be paused: on battery",)), OK, ["paused: on battery"]),
        (OwnerReport((), (), ("owner.pause_when: battery is unknown",)), BETTER, ["battery is unknown"]),
    ],
)
def test_owner_rules(report: OwnerReport, level: Level, words: list[str]) -> None:
    """All signals are listed with their values, and what is wrong with the rules."""
    found = list(doctor.signals_and_rules(report))
    assert [each.level for each in found] == [OK, level]
    assert all(word in " ".join(each.text for each in found) for word in words), found


@pytest.mark.parametrize(
    ("release", "seen", "level", "words"),
    [
        ("6.1.0-13-amd64", None, OK, "6.1.0-13-amd64, with an idle class"),
        ("5.15.0", None, OK, "with an idle class"),
        ("5.14.21", None, BETTER, "least weight instead; Linux 5.15"),
        ("4.18.0-553.el8", True, OK, "with an idle class"),
        ("6.8.0", False, BETTER, "no idle class"),
        ("odd", None, BETTER, "odd has no idle class"),
    ],
)
def test_kernel(release: str, seen: bool | None, level: Level, words: str) -> None:
    """What the cgroups show counts; if they show nothing, the version does."""
    says(on_kernel.kernel(release, replace(GOOD, idle_class=seen)), level, words)


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (GOOD, OK, "v2 at /cg"),
        (replace(GOOD, enabled=frozenset({"memory"})), OK, "no group has cpu yet: the first start enables that"),
        (
            replace(GOOD, enabled=frozenset(), realtime=Realtime(7, "audio", "user.slice")),
            BETTER, "a realtime process in /user.slice may be why; end audio (pid 7), or move it",
        ),
        (Cgroups(find_layout(HYBRID), BOTH, enabled=BOTH), OK, "hybrid: v2 at /sys/fs/cgroup/unified, v1 for cpu and memory"),
        (Cgroups(), BROKEN, "no cgroup v2 tree is mounted; boot with systemd.unified_cgroup_hierarchy=1"),
        (replace(GOOD, controllers=frozenset({"memory"})), BROKEN, "no cpu controller"),
        (replace(GOOD, controllers=frozenset({"cpu"})), BROKEN, "cgroup_enable=memory"),
    ],
)  # fmt: skip
def test_cgroups(found: Cgroups, level: Level, words: str) -> None:
    """The layout is named; without a v2 tree or a controller, Plancton can't donate."""
    says(on_kernel.cgroups(found), level, words)


def test_scheduler() -> None:
    """One that need not heed the slice's class is named, and so is the tier that is left."""
    says(on_kernel.scheduler(""), OK, "kernel")
    says(on_kernel.scheduler("lavd"), BETTER, "lavd", "stop it")
    assert "in tier quota" in diagnose(replace(FACTS, scheduler="lavd", supervisors=Supervisors())).sentence


def test_small_cores() -> None:
    """Workers that keep to the small cores are ok; where there are none that is said."""
    says(on_kernel.cpus(Cpus(None, "4-5", 2), True), OK, "4-5")
    says(on_kernel.cpus(Cpus(), True), BETTER, "worker.cores")


def test_psi() -> None:
    """If the kernel reports no pressure, the remedy is named; else whose tells that the owner
    waits."""
    says(on_kernel.psi(True, (), False), OK)
    says(on_kernel.psi(True, ("system.slice", "user.slice"), True), OK, "system.slice, user.slice")
    says(on_kernel.psi(True, (), True), OK, "yield.cap: auto does nothing")
    says(on_kernel.psi(False, (), True), BETTER, "psi=1")


@pytest.mark.parametrize(
    ("active", "cpuset", "level", "words"),
    [
        (False, "", OK, "no core is shared"),
        (None, "", OK, "does not tell"),
        (True, "", BETTER, "boot with nosmt, or set owner.reserve_cpus"),
        (True, "2-7", OK, "keep to CPUs 2-7"),
    ],
)
def test_smt(active: bool | None, cpuset: str, level: Level, words: str) -> None:
    """A worker on a core's other thread slows the owner, whatever its priority; whole cores
    help."""
    says(on_kernel.smt(active, cpuset, GOOD), level, words)


def test_zfs() -> None:
    """Doctor says how much of the available memory is in ZFS's cache."""
    found = doctor.memory(Config(), Host(4, 16 * 10**9), 12 * 10**9, Supervisors(), 3 * 10**9)
    says(found, OK, "3 GB")
    assert "ZFS" not in doctor.memory(Config(), Host(4, 16 * 10**9), 12 * 10**9, Supervisors()).text


def test_cpus() -> None:
    """Doctor says which CPUs count, where not all of them do."""
    says(on_kernel.cpus(Cpus(), False), OK, "all")
    says(on_kernel.cpus(Cpus(frozenset({0, 1, 5}), "0-1,5"), False), OK, "3 count (0-1,5)")


def test_smt_on_v1() -> None:
    """Only a cpuset keeps workers off whole cores, so a host without one needs another remedy."""
    found = on_kernel.smt(True, "2-7", Cgroups(find_layout(HYBRID), BOTH))
    says(found, BETTER, "boot with nosmt")
    assert "reserve_cpus" not in found.remedy


@pytest.mark.parametrize(
    ("disks", "level", "words"),
    [
        (DISKS, OK, "respect"),
        (Disks({"sda": "none"}, True, {"weight": "default 10\n8:0 100"}), OK, "respect"),
        (Disks({"sda": "bfq"}, False, {"bfq.weight": "1"}), OK, "respect"),
        (Disks({"sda": "mq-deadline"}, False, {"prio.class": "idle"}), OK, "respect"),
        (Disks({"sda": "bfq"}, False, {"weight": "default 100"}), BETTER, "the slice has no low priority (sda: bfq)"),
        (Disks({"sda": "none"}, False, {"prio.class": "idle"}), BETTER, "no scheduler here respects weights (sda: none)"),
        (Disks({"sda": "bfq", "sdb": "none"}, False, {"weight": "1"}), BETTER, "sda: bfq, sdb: none"),
        (Disks({"sda": "bfq"}, False, {"weight": "odd"}), BETTER, "no low priority"),
        (Disks(), BETTER, "no disk seen); if that matters"),
    ],
)  # fmt: skip
def test_disk_priority(disks: Disks, level: Level, words: str) -> None:
    """Only a low priority of the slice that every disk's scheduler respects protects the owner."""
    says(on_kernel.disk_priority(disks), level, words)


def engine(api: str = "1.41", **info: object) -> Engine:
    return Engine(replace(DOCKER.info, **info), api)


@pytest.mark.parametrize(
    ("found", "level", "words"),
    [
        (DOCKER, OK, "20.10.24, API 1.41, cgroupfs driver, overlay2 storage"),
        (engine("1.54", cgroup_driver="systemd"), OK, "API 1.54, systemd driver"),
        ("permission denied on /s: run as root", BROKEN, "permission denied on /s"),
        (engine("1.40"), BROKEN, "update to Docker Engine 20.10"),
        (engine(security_options=["name=seccomp,profile=default", "name=rootless"]), BROKEN, "rootless Docker's containers"),
        (engine(cgroup_driver="none"), BROKEN, "keeps no cgroups"),
        (engine(buildah_version="1.28.2"), BROKEN, "Podman 20.10.24"),
        (engine(driver="vfs"), BETTER, "copies the whole image"),
    ],
)  # fmt: skip
def test_docker(found: Engine | str, level: Level, words: str) -> None:
    """Which Docker answers, and what it lacks."""
    says(on_docker.engine_state(found), level, words)


@pytest.mark.parametrize(
    ("worker", "options", "level", "words"),
    [
        ("{}", [], OK, "65534, or one of 2100000000-2100000255), never root"),
        ("{user: '1000:100'}", ["name=seccomp,profile=default"], OK, "off: a worker's user is the host's"),
        ("{}", ["name=userns"], OK, "no container's root is the host's, and all workers are one user"),
        ("{user: '0'}", ["name=userns"], OK, "is on"),
        ("{user: '0'}", [], BETTER, "workers are 0:0, who is or may be root"),
        ("{user: '00:5'}", [], BETTER, "workers are 00:5, who is or may be root"),
        ("{user: pilot}", [], BETTER, "workers are pilot, who is or may be root"),
        ("{privileged: true}", [], BETTER, "privileged"),
    ],
)
def test_users(worker: str, options: list[str], level: Level, words: str) -> None:
    """What a worker's user is on the host depends on whether Docker maps users; root should be none
    of them."""
    section = parse(f"worker: {worker}", "FILE").worker
    says(on_docker.workers_users(section, Info(security_options=options), ""), level, words)
    says(
        on_docker.workers_users(section, Info(security_options=options), "worker.user_range: x"),
        BETTER,
        "user_range",
    )


VERSION = {
    "Platform": {"Name": "Docker Engine - Community"},
    "Components": [{"Name": "Engine", "Version": "29.5.1"}, {"Name": "runc", "Version": "1.1.11"}],
}


def test_escapes() -> None:
    """Known holes in what Docker is made of could be better; a distribution's versions, which don't
    tell of fixes, are fine."""
    hole = Escape("CVE-1", "runc", ("1.2.8", "1.3.3"))
    is_open = Ways("runc", "1.2.7", open=(hole,))
    untold = Ways("Engine", "26.1.5+dfsg1", untold=(hole,))
    says(on_docker.known_escapes([]), OK, "does not tell")
    says(
        on_docker.known_escapes([Ways("runc", "1.3.3"), Ways("Engine", "29.5.1")]),
        OK,
        "runc 1.3.3, Docker Engine 29.5.1",
    )
    says(
        on_docker.known_escapes([Ways("runc", "1.3.3"), untold]),
        OK,
        "Docker Engine 26.1.5+dfsg1, a distribution's",
    )
    says(
        on_docker.known_escapes([untold, is_open]),
        BETTER,
        "runc 1.2.7",
        "(CVE-1)",
        "update it, to 1.2.8 or 1.3.3",
    )


@pytest.mark.parametrize(
    ("version", "driver", "level", "words"),
    [
        (257, "systemd", OK, "257"),
        (251, "systemd", BETTER, "251 has no idle class"),
        (None, "systemd", BETTER, "is unknown"),
        (247, "cgroupfs", OK, "247; not needed"),
        (None, "cgroupfs", OK, "does not run here; not needed"),
    ],
)
def test_systemd(version: int | None, driver: str, level: Level, words: str) -> None:
    """systemd's version matters only if Docker uses it for cgroups."""
    says(on_docker.systemd(version, driver), level, words)


@pytest.mark.parametrize(
    ("seen", "running", "level", "words"),
    [
        (GONE, Supervisors(), OK, "not there yet"),
        (replace(GONE, writable=False), Supervisors(), BETTER, "by this user, so Docker limits the workers"),
        (replace(SLICE, writable=False), Supervisors(), OK, "cpu.idle is 1: tier kernel"),
        (replace(WRONG, writable=False), Supervisors(), BETTER, "which this user can't set, so Docker limits"),
        (SLICE, Supervisors(), OK, "plancton: cpu.idle is 1: tier kernel"),
        (replace(SLICE, tier="weight", knob="cpu.weight is 1"), RUNS, OK, "cpu.weight is 1: tier weight"),
        (WRONG, Supervisors(), OK, "it is empty"),
        (replace(WRONG, populated=True), Supervisors(), BROKEN, "nothing protects the owner; `plancton run` fixes"),
        (replace(SLICE, lifted=True, frozen=2), Supervisors(), BETTER, "left 2 workers frozen; `plancton run` undoes"),
        (replace(SLICE, writable=False), RUNS, OK, "tier kernel"),
        (replace(WRONG, lifted=True), RUNS, OK, "in favour of workers that must go"),
        (replace(SLICE, frozen=2), Supervisors(7, replace(STATUS, pause=PAUSE)), OK, "are frozen: paused by the owner"),
        (WRONG, RUNS, BETTER, "does not yield now; run doctor again"),
        (WRONG, Supervisors(7, replace(STATUS, tier="quota", tier_reason="no")), BETTER, "tier quota: no"),
        (GONE, RUNS, BETTER, "plancton is gone"),
        (GONE, Supervisors(7), BETTER, "plancton is gone"),
        (SLICE, Supervisors(7, replace(STATUS, slice="mine")), BETTER, "the supervisor's slice is mine"),
        (SLICE, Supervisors(7, replace(STATUS, slice="", tier="none")), OK, "tier kernel"),
    ],
)  # fmt: skip
def test_slice(seen: Seen, running: Supervisors, level: Level, words: str) -> None:
    """What a running supervisor will fix is not broken; without a supervisor it may be."""
    says(on_docker.slice_state(seen, running), level, words)


PREPARE = "`sudo plancton prepare --user donor`"


@pytest.mark.parametrize(
    ("seen", "running", "level", "words"),
    [
        (replace(GONE, writable=False), Supervisors(), BETTER, f"so Docker limits the workers one by one, within seconds; {PREPARE}, and"),
        (replace(WRONG, writable=False), Supervisors(), BETTER, PREPARE),
        (replace(SLICE, writable=False), Supervisors(), BETTER, f"tier kernel, but donor can't set it, so workers that leave get no extra CPU; {PREPARE}"),
        (SLICE, Supervisors(), OK, "cpu.idle is 1: tier kernel, prepared for donor"),
        (GONE, Supervisors(7, replace(STATUS, tier="quota", tier_reason="prepare it")), BETTER, "tier quota: prepare it"),
        (replace(SLICE, writable=False), RUNS, OK, "tier kernel"),
        (replace(SLICE, writable=False), Supervisors(7, replace(STATUS, tier_reason="not ours", problems=("not ours",))), BETTER, "tier kernel: not ours"),
    ],
)  # fmt: skip
def test_slice_without_root(seen: Seen, running: Supervisors, level: Level, words: str) -> None:
    """A user is told whether the slice was prepared, and the command with which root prepares
    it."""
    says(on_docker.slice_state(seen, running, "donor"), level, words)


@pytest.mark.parametrize(("asked", "tier"), [("kernel", "kernel"), ("weight", "weight"), ("quota", "quota")])
def test_the_tier_that_is_asked_for(asked: Tier, tier: Tier) -> None:
    """docker.tier bounds what doctor expects, and quota is said."""
    config = parse(f"docker: {{tier: {asked}}}", "FILE")
    facts = replace(FACTS, config=config, supervisors=Supervisors(), slice=GONE)
    assert doctor.expected_tier(facts) == tier
    found = on_docker.slice_state(GONE, Supervisors(), asked=asked)
    says(found, BETTER if asked == "quota" else OK, "docker.tier" if asked == "quota" else "the first start")


CONFIG = parse("worker: {memory: 2GB}", "FILE")


@pytest.mark.parametrize(
    ("host", "available", "running", "level", "words"),
    [
        (HOST, 12_000_000_000, RUNS, OK, "12 GB of 16 GB available, 1.6 GB reserved"),
        (HOST, 3_000_000_000, Supervisors(), BETTER, "too little now for a worker of 2GB"),
        (HOST, 3_000_000_000, Supervisors(7, replace(STATUS, workers=(WorkerStatus("w", "1", "running", 1.0, 1),))), OK, "3 GB"),  # type: ignore[arg-type]
        (HOST, 1_000_000_000, RUNS, BETTER, "workers leave until there is enough"),
        (HOST, None, RUNS, BROKEN, "this kernel does not tell"),
        ("/proc/meminfo: gone", None, RUNS, BROKEN, "can't be read: /proc/meminfo: gone"),
    ],
)  # fmt: skip
def test_memory(
    host: Host | str, available: int | None, running: Supervisors, level: Level, words: str
) -> None:
    """The reserve is compared with what is available; running workers are not a lack of memory."""
    says(doctor.memory(CONFIG, host, available, running), level, words)


@pytest.mark.parametrize(
    ("disk", "unseen", "level", "words"),
    [
        (DISK, (), OK, "50 GB of 100 GB free, 5 GB reserved"),
        (replace(DISK, free=4_000_000_000), (), BROKEN, "nothing is started until there is more"),
        (replace(DISK, free=4_000_000_000), ("/data",), BROKEN, "on the disk with /var/lib/docker"),
        (replace(DISK, inodes=0.01), (), BROKEN, "1.0% of the inodes free, 5.0% reserved"),
        (DISK, ("/data",), BETTER, "owner.reserve_disk (5%) is not kept on /data"),
        (None, ("/data", "/x"), BETTER, "not kept on /data, /x"),
        (None, (), OK, "not checked"),
    ],
)
def test_disk_space(disk: Disk | None, unseen: tuple[str, ...], level: Level, words: str) -> None:
    """Below the reserve nothing would ever be started; what can't be looked at could be better."""
    says(doctor.disk_space(CONFIG, disk, unseen), level, words)


def test_nothing_is_reserved() -> None:
    """Where no disk is reserved, none must be seen."""
    says(doctor.disk_space(parse("owner: {reserve_disk: 0%}", "FILE"), None, ("/data",)), OK, "not checked")


@pytest.mark.parametrize(
    ("facts", "level", "words"),
    [
        (FACTS, OK, "workers of busybox"),
        (replace(FACTS, config=Config()), BROKEN, "nothing will be started; set image.name or htcondor"),
        (replace(FACTS, config_error="FILE: worker: unknown"), BROKEN, "FILE: worker: unknown; the checks below"),
        (replace(FACTS, host=Host(8, 1_000_000_000)), BROKEN, "can ever start here: worker.memory is 2GB"),
    ],
)  # fmt: skip
def test_configuration(facts: Facts, level: Level, words: str) -> None:
    """A configuration that can't be read or can start nothing is broken."""
    (found,) = doctor.configuration(facts)
    says(found, level, words)


@pytest.mark.parametrize(
    ("expires", "level", "words"),
    [
        (None, OK, "/t does not expire"),
        (NOW + 30 * 86_400, OK, "/t expires in 30d 0h"),
        (NOW + 7_200, BETTER, "expires in 2h 00m; ask the pool's administrator"),
        ("token file /t: others can read it; chmod 600 /t", BROKEN, "chmod 600"),
    ],
)
def test_token(expires: float | str | None, level: Level, words: str) -> None:
    """A token is reported days before it expires."""
    says(doctor.token_state("/t", expires, NOW), level, words)


@pytest.mark.parametrize(
    ("found", "processes", "levels", "words"),
    [
        (Supervisors(), (), [OK], "is not running"),
        (RUNS, (), [OK], "Plancton is running (pid 7)"),
        (Supervisors(7), (), [BETTER], "its status can't be read"),
        (Supervisors(7, replace(STATUS, time=NOW - 60)), (), [BROKEN], "has said nothing for 1m 00s"),
        (replace(RUNS, others=(8, 9)), (), [OK, BETTER, BETTER], "another Plancton (pid 9)"),
        (RUNS, (Process(3, "planctonctl"),), [OK, BROKEN], "0.6 is running (pid 3) and kills our workers as its own; kill 3"),
        (RUNS, (Process(3, "boinc", "system.slice/b.service"),), [OK, BETTER], "boinc (pid 3) uses"),
        (RUNS, (Process(3, "condor_startd", ""),), [OK, BETTER], "condor_startd (pid 3)"),
        (RUNS, (Process(3, "condor_startd", "plancton/abc"),), [OK], "running"),
        (Supervisors(), (Process(3, "boinc", ""),), [OK, BETTER], "boinc (pid 3)"),
        (RUNS, (Process(3, "condor_startd", "planctonx/abc"),), [OK, BETTER], "condor_startd (pid 3)"),
    ],
)  # fmt: skip
def test_supervisors(
    found: Supervisors, processes: tuple[Process, ...], levels: list[Level], words: str
) -> None:
    """Other takers of idle CPU are named, except those in our own slice."""
    seen = list(doctor.supervisors(found, processes, SLICE, NOW))
    assert [each.level for each in seen] == levels
    says(seen[-1], levels[-1], words)


@pytest.mark.parametrize(
    ("left", "running", "levels", "words"),
    [
        (Left(), Supervisors(), [OK], "none is left over"),
        (Left(own=("a", "b")), RUNS, [OK], "none is left over"),
        (Left(own=("a", "b")), Supervisors(), [BETTER], "no supervisor looks after a, b; `plancton run` adopts"),
        (Left(own=("a", "b", "c", "d", "e")), Supervisors(), [BETTER], "a, b, c and 2 more"),
        (Left(own=("a",)), Supervisors(7), [OK], "none is left over"),
        (Left(others={"x1": ("a",)}), RUNS, [BETTER], "another installation (instance x1)"),
        (Left(old=("plancton-worker-1",)), RUNS, [BETTER], "left by Plancton 0.6; `plancton migrate --end-old-workers` removes them"),
        ("cut", RUNS, [BROKEN], "can't be listed: cut"),
        (Left(), Supervisors(7, replace(STATUS, workers=(STUCK,))), [BROKEN], "w1: killed, and still running"),
    ],
)  # fmt: skip
def test_workers(left: Left | str, running: Supervisors, levels: list[Level], words: str) -> None:
    """Workers without a supervisor are reported with the command that removes them."""
    seen = list(doctor.left_workers(left, running))
    assert [each.level for each in seen] == levels
    says(seen[-1], levels[-1], words)


# ---------------------------------------------------------------- all together


@pytest.mark.parametrize(
    ("facts", "worst", "sentence"),
    [
        (FACTS, OK, "This host yields in tier kernel; nothing to fix."),
        (replace(FACTS, smt=True, psi=False), BETTER, "This host yields in tier kernel; 2 things could be better."),
        (replace(FACTS, slice=GONE, supervisors=Supervisors(), smt=True), BETTER, "This host would yield in tier kernel; 1 thing could be better."),
        (replace(FACTS, slice=GONE, supervisors=Supervisors(), kernel="5.10.0", cgroups=replace(GOOD, idle_class=None)), BETTER, "This host would yield in tier weight; 1 thing could be better."),
        (replace(FACTS, slice=replace(GONE, writable=False), supervisors=Supervisors()), BETTER, "This host would yield in tier quota; 1 thing could be better."),
        (replace(FACTS, engine=engine(security_options=["name=rootless"]), smt=True), BROKEN, "This host would yield in tier none; 1 thing is broken, 1 thing could be better."),
        (replace(FACTS, engine="gone: start it", slice=None), BROKEN, "How this host would yield is not known yet; 1 thing is broken."),
    ],
)  # fmt: skip
def test_worst(facts: Facts, worst: Level, sentence: str) -> None:
    """The last line claims only what was checked, and the worst finding decides the exit code."""
    report = diagnose(facts)
    assert (report.worst, report.sentence) == (worst, sentence), report
    assert doctor.EXIT_CODES[worst] == {OK: 0, BETTER: 1, BROKEN: 4}[worst]


def test_lines() -> None:
    """One line each, aligned, and no escape sequence reaches the terminal."""
    printed = list(lines(diagnose(replace(FACTS, engine=engine(server_version="1\x1b[31m\n2"), smt=True))))
    assert "ok                kernel         6.1.0, with an idle class for cgroups" in printed
    assert any(line.startswith("could be better   smt            is on: ") for line in printed)
    assert all(line.isprintable() for line in printed)
    assert any("sudo plancton doctor" in line for line in printed)


# ---------------------------------------------------------------- looking


INFO = {"ServerVersion": "20.10.24", "CgroupDriver": "cgroupfs", "DockerRootDir": "/", "Driver": "overlay2"}


def document(data: object) -> list[Step]:
    return reply(json.dumps(data).encode())


def container(name: str, instance: str | None = None, parent: str = "/plancton") -> dict[str, object]:
    labels = {INSTANCE: instance} if instance else {}
    return {
        "Id": name,
        "Names": [f"/{name}"],
        "Name": f"/{name}",
        "Labels": labels,
        "Config": {"Labels": labels},
        "HostConfig": {"CgroupParent": parent},
    }


class Place:
    """A host of fixture trees: /proc, /sys, cgroups, our own paths and a scripted Docker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        mounts = V2.replace("/sys/fs/cgroup", str(root / "cg"))
        tree(
            root,
            proc={
                "stat": stat(cpus=4),
                "meminfo": meminfo(),
                "self": {"mountinfo": mounts},
                "pressure": {"cpu": "some"},
                "1": {"stat": pid_stat(1)},
            },
            sys={
                "devices": {"system": {"cpu": {"smt": {"active": "1\n"}, **cores("0,2", "1,3")}}},
                "block": {},
            },
            cg={
                "cgroup.controllers": "cpuset cpu io memory",
                "system": {"cpu.idle": "0"},
                "plancton": {"cpu.idle": "1", "cpu.max": "max 100000"},
            },
            state={"instance": "mine"},
            run={},
        )
        self.paths = Paths(root / "config.yaml", root / "run", root / "state")
        self.configure()

    def configure(self, text: str = "") -> None:
        self.paths.config.write_text(f"docker: {{socket: {self.root}/d.sock}}\nimage: {{name: b}}\n{text}")

    def process(
        self, pid: int, name: str, *words: str, group: str = "user", ids: str = "Uid:\t0\t0\t0\t0\n"
    ) -> None:
        files = {"comm": f"{name}\n", "cmdline": "\0".join([*words, ""]), "cgroup": f"0::/{group}\n"}
        tree(self.root / "proc" / str(pid), {**files, "status": ids})

    def locked(self, *pids: int) -> None:
        lines = [f"{pid}: FLOCK  ADVISORY  WRITE {pid} fe:00:{pid} 0 EOF\n" for pid in pids]
        tree(self.root / "proc", {"locks": "".join(lines)})

    def disk(self, name: str, scheduler: str, device: bool = True) -> None:
        part = {"device": {"model": "x"}} if device else {}
        tree(self.root / "sys/block" / name, {"queue": {"scheduler": scheduler}, **part})

    def look(self) -> Facts:
        return look(self.paths, None, *(self.root / name for name in ("proc", "sys", "etc", "run", "dev")))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def serve(place: Place) -> Iterator[Callable[[Script], ScriptedDocker]]:
    with contextlib.ExitStack() as stack:
        yield lambda script: stack.enter_context(ScriptedDocker(place.root / "d.sock", script))


def script(*containers: dict[str, object], **info: object) -> Script:
    """A Docker with these containers (whatever the filter) and these facts."""
    answers: Script = {
        "GET /info": document({**INFO, **info}),
        "GET /containers/json": document(list(containers)),
    }
    return answers | {f"GET /containers/{each['Id']}/json": document(each) for each in containers}


def test_asks_for_versions(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Doctor's warning of known holes is by what Docker says it is made of."""
    server = serve({**script(), "GET /version": document(VERSION)})
    (found,) = [each for each in diagnose(place.look()).findings if each.subject == "escapes"]
    says(found, BETTER, "runc 1.1.11", "CVE-2024-21626")
    assert "Engine" not in found.text
    server.script["GET /version"] = document({})
    (found,) = [each for each in diagnose(place.look()).findings if each.subject == "escapes"]
    says(found, OK, "does not tell")


@pytest.mark.parametrize("image", ["{name: localhost/b}", "{name: b, policy: never}"])
def test_an_image_that_nobody_pulls(
    place: Place, serve: Callable[[Script], ScriptedDocker], image: str
) -> None:
    """Without an image that won't come by itself no worker can start, and doctor says so."""
    server = serve(script())
    text = f"docker: {{socket: {place.root}/d.sock}}\nworker: {{memory: 6MiB}}\nimage: {image}\n"
    place.paths.config.write_text(text)
    (found,) = [each for each in diagnose(place.look()).findings if each.subject == "configuration"]
    says(found, BROKEN, "is not on this host", "load it")
    name = "localhost/b" if "localhost" in image else "b"
    server.script[f"GET /images/{name}/json"] = document({"Id": "sha256:1"})
    (found,) = [each for each in diagnose(place.look()).findings if each.subject == "configuration"]
    says(found, OK, name)


def test_looks_for_users_of_the_host(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Doctor says whose ids workers may get."""
    serve(script())
    tree(place.root, etc={"subuid": "ann:2100000000:65536\n"})
    assert "ann in" in place.look().shared_users
    place.configure("worker: {user_range: 70000-70255}")
    assert place.look().shared_users == ""


def test_looks_for_whole_cores(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """The CPUs that workers may use follow from the host's cores and the configuration."""
    serve(script())
    assert place.look().cpus.for_workers == ""
    place.configure("owner: {reserve_cpus: 2}")
    assert place.look().cpus.for_workers == "1,3"


def test_hidden_processes(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Doctor says what can't be seen on hosts that hide processes, and what that costs."""
    serve(script())
    assert not place.look().hidden
    says(on_kernel.processes(False), OK, "can be seen")
    shutil.rmtree(place.root / "proc/1")
    assert place.look().hidden
    says(on_kernel.processes(True), BETTER, "gid=")


def test_look(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Every fact about a host is found where the kernel and Docker show it."""
    serve(script())
    place.disk("sda", "none mq-deadline [bfq]\n")
    place.disk("nvme0n1", "none\n")
    place.disk("loop0", "[none]\n", device=False)
    found = place.look()
    assert found.cgroups == Cgroups(
        Layout(place.root / "cg"), frozenset({"cpuset", "cpu", "io", "memory"}), True
    )
    assert found.psi and found.smt is True and found.config_error == ""
    assert isinstance(found.engine, Engine) and found.engine.api == "1.41"
    assert found.slice == Seen("plancton", exists=True, writable=True, tier="kernel", knob="cpu.idle is 1")
    assert isinstance(found.host, Host) and (found.host.cpus, found.host.ram) == (4, 8_000_000 * 1024)
    assert found.host.disk > 0 and found.disk is not None and found.memory_available == 6_000_000 * 1024
    assert found.disks.schedulers == {"nvme0n1": "none", "sda": "bfq"}
    assert found.left == Left() and found.supervisors == Supervisors()


def test_priority_of_the_slice(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """The slice's disk priority is read from its own files, iocost from the root's."""
    serve(script())
    tree(
        place.root / "cg", {"io.cost.qos": "8:0 enable=1 ctrl=auto\n"}, plancton={"io.weight": "default 1\n"}
    )
    found = place.look().disks
    assert found.iocost and found.of_slice == {"weight": "default 1"}


def test_changes_nothing(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Doctor writes no file and sends Docker only GET, even if everything is wrong."""
    tree(
        place.root / "cg/plancton",
        {"cpu.idle": "0", "cpu.max": "20000 100000", "cgroup.events": "populated 1"},
        w={"cgroup.freeze": "1"},
    )
    before = files(place.root)
    served = serve(script(container("plancton-worker-a", "mine"), container("plancton-worker-b")))
    report = diagnose(place.look())
    assert report.worst is BROKEN
    assert served.requests and all(line.startswith("GET ") for line in served.requests), served.requests
    assert files(place.root) == before


def test_all_signals(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Every signal is looked at, also where no rule uses it."""
    serve(script())
    assert {name for (name,), _ in place.look().owner.values} == set(SIGNALS)


def test_leftovers(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Ours are those with our label in our slice; a label alone or a name alone is not enough."""
    serve(
        script(
            container("plancton-worker-a", "mine"),
            container("committed", "mine", parent=""),
            container("plancton-worker-b", "theirs"),
            container("plancton-worker-c"),
            container("my-plancton-worker-d"),
        )
    )
    found = place.look().left
    assert isinstance(found, Left)
    assert replace(found, ids=frozenset()) == Left(
        ("plancton-worker-a",), {"theirs": ("plancton-worker-b",)}, ("plancton-worker-c",)
    )


def test_a_startd_in_a_worker(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """HTCondor in a worker, of whatever Plancton, is not HTCondor on the host."""
    serve(script(container("plancton-worker-b", "theirs", parent="/other")))
    place.process(13, "condor_startd", "condor_startd", group="other/plancton-worker-b")
    place.process(14, "condor_startd", "condor_startd", group="other/somebody")
    assert [process.pid for process in place.look().processes] == [14]


def test_command_lines_of_jobs(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Of a container's process only the name is read: its command line may have megabytes, or keep
    a reader waiting. Nor does it matter what it says."""
    serve(script())
    place.process(20, "python", "/x/python", "-P", "-m", "plancton.daemon", "{}")
    place.process(21, "boinc", "/usr/bin/boinc")
    for pid in (20, 21):
        tree(place.root / "proc" / str(pid), {"status": f"NSpid:\t{pid}\t7\n"})
    os.remove(place.root / "proc/21/cmdline")
    os.mkfifo(place.root / "proc/21/cmdline")
    facts = place.look()
    assert not facts.supervisors.others
    assert [process.pid for process in facts.processes] == [21]


def test_processes(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Programs that take idle CPU are recognised by name, but not an editor of such a file."""
    place.process(1, "systemd", "/sbin/init")
    place.process(2, "")
    place.process(10, "python", "/usr/bin/python2", "/opt/bin/planctonctl", "start")
    place.process(11, "vim", "vim", "planctonctl")
    place.process(12, "boinc_client", "/usr/bin/boinc_client", group="system.slice/boinc.service")
    place.process(13, "condor_startd", "condor_startd", group="plancton/abc")
    run = ["/x/python", "-P", "-m", "plancton.daemon"]
    place.process(16, "condor_startd", "/usr/bin/python3", "/home/u/condor_startd")
    place.process(17, "python3", "/usr/bin/python3", "/home/u/backup.py", "planctonctl")
    place.process(18, "boinc", "/opt/boinc-manager/boinc-view")
    place.process(14, "python", *run, '{"config":null,"dry_run":false,"record":null,"verbose":false}')
    place.process(15, "python", *run, '{"config":null,"dry_run":true,"record":null,"verbose":false}')
    begun = ("/x/python", "/x/plancton", "run")
    place.process(21, "plancton", *begun)
    place.process(22, "plancton", *begun, "--now")
    place.process(23, "plancton", "/x/python", "/x/plancton", "status", "run")
    place.process(24, "plancton", "/x/python", "/x/plancton")
    place.locked(14, 18, 21, 22, 23, 24)
    serve(script())
    found = place.look()
    assert found.processes == (
        Process(10, "planctonctl"),
        Process(12, "boinc_client", "system.slice/boinc.service"),
        Process(13, "condor_startd", "plancton/abc"),
    )
    assert found.supervisors.others == (14, 21, 22)


def test_names_alone_change_nothing(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Who can't reach Docker is no Plancton, whatever its process is called or locks; nor is a
    supervisor without a lock. The verdict is as without them."""
    serve(script())
    before = diagnose(place.look())
    run = ("/x/python", "-P", "-m", "plancton.daemon", "{}")
    stranger = "Uid:\t1000\t0\t0\t0\nGid:\t1000\t0\t0\t0\nGroups:\t1000 1001 \n"
    place.process(30, "planctonctl", "planctonctl", "start", ids=stranger)
    place.process(31, "planctonctl", "python2", "/opt/planctonctl", ids="Uid:\t65534\t0\t0\t0\n")
    place.process(32, "python", *run, ids=stranger)
    place.process(33, "python", *run)
    place.process(34, "planctonctl", "planctonctl", ids="")
    place.locked(30, 31, 32, 34)
    assert diagnose(place.look()) == before
    own = f"Uid:\t1000\t0\t0\t0\nGid:\t1000\t0\t0\t0\nGroups:\t5 {os.getgid()} \n"
    place.process(35, "planctonctl", "planctonctl", "start", ids=own)
    assert place.look().processes == (Process(35, "planctonctl"),)


@pytest.mark.parametrize(
    "instance", ["x; rm -rf /", "$(id)", "a'b", "`id`", "a b", "\x1b[2J", "-f", "\n", "x) #"]
)
def test_labels_in_commands(instance: str) -> None:
    """A label in a command that doctor prints is one word of that command."""
    (finding,) = doctor.left_workers(Left(others={instance: ("a",)}), RUNS)
    inner = finding.remedy.partition("$(")[2].removesuffix(")")
    words = shlex.split(inner)
    assert words[:-1] == ["docker", "ps", "-aq", "--filter"]
    assert words[-1] == f"label=plancton.instance={printable(instance)}"


def test_lock_without_status(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """A supervisor with a corrupt status.json still runs: its workers are not leftovers."""
    serve(script(container("plancton-worker-a", "mine")))
    (place.paths.run / "status.json").write_bytes(b'{"pid": \xff')
    lock = place.paths.state / "x.lock"
    lock.write_text("4711\n/s\nplancton\n")
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = place.look()
    assert found.supervisors == Supervisors(4711)
    texts = "\n".join(lines(diagnose(found)))
    assert "pid 4711 runs, but its status can't be read" in texts and "none is left over" in texts
    assert place.look().supervisors == Supervisors()


def test_token_is_read(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """The pool's token is checked as `run` would, and never shown."""
    serve(script())
    file = place.root / "token"
    file.write_bytes(b"eyJ." + base64.urlsafe_b64encode(b'{"exp": 1900000000}').rstrip(b"=") + b".c2VjcmV0")
    file.chmod(0o600)
    place.configure(f"htcondor: {{central_manager: cm, token_file: {file}}}")
    assert place.look().token_expires == 1_900_000_000.0
    file.chmod(0o644)
    assert "chmod 600" in str(place.look().token_expires)
    assert "c2VjcmV0" not in "\n".join(lines(diagnose(place.look())))


def test_token_of_somebody_else(tmp_path: Path) -> None:
    """If root can read it but Plancton's user can't, the token must be given to that user."""
    file = tmp_path / "token"
    file.write_bytes(b"eyJ." + base64.urlsafe_b64encode(b'{"exp": 1900000000}').rstrip(b"=") + b".c2VjcmV0")
    file.chmod(0o600)
    config = parse(f"htcondor: {{central_manager: cm, token_file: {file}}}", "x")
    proc = tree(tmp_path / "proc", {"7": {}})
    assert host_facts.read_expiry(config, 0.0) == 1_900_000_000.0
    assert host_facts.read_expiry(config, 0.0, 7, proc) == 1_900_000_000.0
    if os.getuid() == 0:  # only root can make a file of somebody else's
        os.chown(proc / "7", 12345, -1)
        said = str(host_facts.read_expiry(config, 0.0, 7, proc))
        assert said.endswith(f"can't read it; chown 12345 {file}"), said


# ---------------------------------------------------------------- what goes wrong


def test_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc, /sys, Docker and a configuration, there are findings and no traceback."""
    tree(tmp_path, state={}, run={})
    nowhere = parse(f"docker: {{socket: {tmp_path}/d.sock}}", "FILE")  # the machine's own Docker may answer
    monkeypatch.setattr(host_facts, "Config", lambda: nowhere)
    found = look(
        Paths(tmp_path / "c", tmp_path / "run", tmp_path / "state"), tmp_path / "c", tmp_path, tmp_path
    )
    by_subject = {each.subject: each for each in diagnose(found).findings}
    assert by_subject["configuration"].text.startswith(f"{tmp_path}/c: no such file")
    for subject in ("configuration", "cgroups", "docker", "memory"):
        assert by_subject[subject].level is BROKEN


def broken_docker(found: Facts) -> str:
    """The one line about Docker; it must be printable and broken."""
    (finding,) = [each for each in diagnose(found).findings if each.subject == "docker"]
    assert finding.level is BROKEN
    return finding.text


def test_odd_sockets(place: Place) -> None:
    """A directory and a plain file are not sockets; the remedy is not to start Docker."""
    path = place.root / "d.sock"
    path.write_text("")
    assert f"{path} is not a socket: set docker.socket" in broken_docker(place.look())
    path.unlink()
    path.mkdir()
    assert f"{path} is not a socket: set docker.socket" in broken_docker(place.look())


@pytest.mark.parametrize(
    ("request_line", "steps", "words"),
    [
        ("GET /_ping", [b"SSH-2.0-OpenSSH_9.2\r\n", "cut"], "does not speak HTTP"),
        ("GET /_ping", reply(b"OK"), "is not a Docker Engine"),
        ("GET /info", reply(b'{"SecurityOptions": 5}'), "not a Docker Engine's answer"),
        ("GET /info", reply(b'{"message": "no"}', "500 Oh"), "Docker refused to tell about itself"),
        ("GET /info", ["cut"], "cut the connection"),
    ],
)
def test_garbage(
    place: Place,
    serve: Callable[[Script], ScriptedDocker],
    request_line: str,
    steps: list[Step],
    words: str,
) -> None:
    """Whatever answers at the socket, it is one finding."""
    serve(script() | {request_line: steps})
    assert words in broken_docker(place.look())


@pytest.mark.parametrize("request_line", ["GET /_ping", "GET /info", "GET /containers/json"])
def test_hanging_docker(
    place: Place,
    serve: Callable[[Script], ScriptedDocker],
    request_line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """doctor gives up on a Docker that hangs, at once or later, and keeps what it said before."""
    monkeypatch.setattr(host_facts, "DOCKER_TIMEOUT", 0.3)
    monkeypatch.setattr(host_facts, "STARTING", 0.3)
    serve(script() | {request_line: [HANG]})
    found = place.look()
    assert "gave no answer" in str(found.left)
    assert isinstance(found.engine, Engine) == (request_line == "GET /containers/json")


def test_dripping_docker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor also gives up on a Docker that sends a byte now and then without end."""
    monkeypatch.setattr(host_facts, "DOCKER_TIMEOUT", 0.3)
    monkeypatch.setattr(host_facts, "DOCKER_SECONDS", 0.5)
    over, patient = threading.Event(), threading.Event()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place.root / "d.sock"))
        listener.listen()

        def drip() -> None:
            with contextlib.suppress(OSError):
                wire, _ = listener.accept()
                with wire:
                    wire.sendall(b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nX-Slow: ")
                    for _ in range(1_000):
                        if over.wait(0.05):
                            return
                        wire.sendall(b"x")
                    patient.set()

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert broken_docker(place.look())
            assert not patient.is_set(), "doctor waited until Docker gave up"
        finally:
            over.set()
            thread.join()


# ---------------------------------------------------------------- the command


def run(home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PLANCTON_RUN_DIR": str(home / "run"),
        "PLANCTON_STATE_DIR": str(home / "state"),
    }
    return subprocess.run(
        [PLANCTON, "doctor", *arguments],
        capture_output=True, text=True, timeout=90, cwd=home, env=environ, check=False,
    )  # fmt: skip


def test_command(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """A line per finding and one at the end; the worst decides the exit code; --json agrees."""
    serve(script(Driver="vfs"))
    printed = run(place.root, "--config", place.paths.config)
    assert printed.stderr == ""
    *findings, last = printed.stdout.splitlines()
    assert any(line.startswith("could be better   docker         20.10.24, API 1.41") for line in findings)
    assert last.startswith("This host ") and last.endswith(".")
    as_json = run(place.root, "--config", place.paths.config, "--json")
    report = json.loads(as_json.stdout)
    assert {each["level"] for each in report["findings"]} <= {"ok", "could be better", "broken"}
    codes = {"ok": 0, "could be better": 1, "broken": 4}
    assert as_json.returncode == codes[report["worst"]] == printed.returncode >= 1
    assert set(report) == {"worst", "sentence", "findings"}


def test_command_where_it_is_broken(place: Place) -> None:
    """An unreadable configuration and a missing Docker are lines, with exit code 4."""
    place.paths.config.write_text("worker: {cpus: many}")
    done = run(place.root, "--config", place.paths.config)
    assert (done.returncode, done.stderr) == (4, "")
    assert (
        "broken            configuration " in done.stdout and "worker.cpus: must be a number" in done.stdout
    )
    missing = run(place.root, "--config", "none.yaml")
    assert missing.returncode == 4 and "none.yaml: no such file" in missing.stdout
    for options in ([], ["--json"]):
        odd = run(place.root, "--config", os.fsdecode(b"\xff.yaml"), *options)
        assert (odd.returncode, odd.stderr) == (4, "") and " .yaml: no such file" in odd.stdout


def test_odd_directories(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """Directories and pipes in place of our files don't block, and are no supervisor."""
    serve(script())
    (place.paths.run / "status.json").mkdir()
    os.mkfifo(place.paths.state / "x.lock")
    (place.paths.state / "instance").unlink()
    (place.paths.state / "instance").mkdir()
    found = place.look()
    assert found.supervisors == Supervisors() and found.left == Left()


def test_unreadable_configuration(place: Place) -> None:
    """An unreadable file is named, without a traceback or typer's usage."""
    place.paths.config.unlink()
    place.paths.config.symlink_to(place.paths.config)
    done = run(place.root, "--config", place.paths.config)
    assert (done.returncode, done.stderr) == (4, "")
    assert "config.yaml: can't be read: Too many levels of symbolic links" in done.stdout


def test_hanging_command(place: Place, serve: Callable[[Script], ScriptedDocker]) -> None:
    """With a hanging Docker, the command still ends by itself with what it found."""
    serve({"GET /_ping": [HANG]})
    done = run(place.root, "--config", place.paths.config)
    assert done.returncode == 4 and "gave no answer in time" in done.stdout
