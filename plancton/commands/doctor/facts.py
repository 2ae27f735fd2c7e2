"""What `plancton doctor` finds in /proc, /sys, systemctl, Docker and our own files.

It writes nothing and sends Docker only GET. What can't be read is None, or the text of the error;
findings.py says what that means.
"""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Timer

import msgspec

from plancton.commands.doctor.rival_programs import (
    Process,
    Supervisors,
    find_supervisors,
    find_takers,
    read_commands,
)
from plancton.commands.force_stop import our_workers
from plancton.commands.migrate import is_old
from plancton.commands.owner_report import OwnerLook, OwnerReport
from plancton.config.load import load_config
from plancton.config.resolve import Host, missing_mounts, read_cpus
from plancton.config.schema import Config, Image
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerRefused, DockerUnreachable, NotFound
from plancton.docker.escapes import read_version
from plancton.docker.images import is_pulled, not_here
from plancton.docker.replies import Info, Version
from plancton.errors import PlanctonError
from plancton.files import read_knob
from plancton.host.cgroup_mounts import PROC, Layout, enabled_controllers, find_layout
from plancton.host.cpu_pressure import owner_pressure
from plancton.host.realtime import Realtime, realtime_outside_root
from plancton.host.sampler import Sampler, SamplerError, read_process
from plancton.host.sched_ext import other_scheduler
from plancton.host.signals.readings import DEV, RUN, Signals
from plancton.host.slice import Slice
from plancton.host.slice_inspection import Seen, look_at
from plancton.host.system_tools import ProgramError, call
from plancton.host.tier_reasons import user_name
from plancton.host.topology import SYS, Cpus, Topology
from plancton.instance import peek_instance
from plancton.paths import Paths
from plancton.units import quoted
from plancton.workers.container import INSTANCE, PREFIX
from plancton.workers.disks import Disk, written_by_workers
from plancton.workers.disks import read_disks as look_at_disks
from plancton.workers.reach_and_rates import NetworkSeen, look_at_network
from plancton.workers.refusals import require_room_for_network
from plancton.workers.same_host import Here, look_here
from plancton.workers.token import expiry, read_token
from plancton.workers.users import shared_users

DOCKER_TIMEOUT, DOCKER_SECONDS = 5.0, 10.0
"""Seconds for one answer, and for all that Docker is asked."""
STARTING = 30.0
"""A Docker that answers may still hold a container that it starts, on a slow host for many seconds."""
SYSTEMCTL_TIMEOUT = 2.0
ALL, ETC = Cpus(), Path("/etc")


class Cgroups(msgspec.Struct, frozen=True):
    """The mounted trees and their controllers; ``idle_class`` is None where no cgroup shows it.

    ``enabled`` are the controllers that groups get, v1's included; ``realtime`` is what may keep
    the kernel from giving them cpu."""

    layout: Layout = Layout(None)
    controllers: frozenset[str] = frozenset()
    idle_class: bool | None = None
    enabled: frozenset[str] = frozenset()
    realtime: Realtime | None = None


class Engine(msgspec.Struct, frozen=True):
    info: Info
    api: str
    version: Version = Version()
    missing_image: str = ""
    """That the image is not here, and won't come by itself."""


class Left(msgspec.Struct, frozen=True):
    """Names of our containers: of this instance, of others (by instance), of Plancton 0.6; and the
    ids of all of them."""

    own: tuple[str, ...] = ()
    others: dict[str, tuple[str, ...]] = {}
    old: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()


class Disks(msgspec.Struct, frozen=True):
    """Each disk's scheduler, whether iocost is on, and the slice's priority (file: content)."""

    schedulers: dict[str, str] = {}
    iocost: bool = False
    of_slice: dict[str, str] = {}


class Facts(msgspec.Struct, frozen=True):
    """All of it. Where a text stands for something else, it is the error that hid it."""

    config: Config
    config_error: str = ""
    token_expires: float | str | None = None
    kernel: str = ""
    cgroups: Cgroups = Cgroups()
    psi: bool = False
    scheduler: str = ""
    """Of sched_ext, if one schedules all processes."""
    tells: tuple[str, ...] = ()
    """The owner's top-level cgroups that tell how long they wait for CPU."""
    hidden: bool = False
    """Whether others' processes, or Docker's, can't be seen in /proc."""
    engine: Engine | str = ""
    here: Here = Here()
    missing_mounts: str | None = None
    shared_users: str = ""
    """That workers may get ids that somebody of the host has."""
    network: str = ""
    """What is wrong with the workers' network."""
    rules: NetworkSeen = NetworkSeen()
    systemd: int | None = None
    slice: Seen | None = None
    host: Host | str = ""
    memory_available: int | None = None
    arc: int = 0
    """Bytes of it that are in ZFS's cache."""
    disk: Disk | None = None
    """Of those that workers write to, the one with the least beyond the reserve."""
    unseen_disks: tuple[str, ...] = ()
    """Those that can't be looked at from here, or by the supervisor that runs."""
    smt: bool | None = None
    cpus: Cpus = Cpus()
    disks: Disks = Disks()
    processes: tuple[Process, ...] = ()
    supervisors: Supervisors = Supervisors()
    left: Left | str = ""
    owner: OwnerReport = OwnerReport()
    """The signals, and what the owner's rules ask for."""
    user: str = ""
    """Who runs doctor; empty: root."""
    now: float = 0.0
    """Unix time."""


def look(
    paths: Paths,
    config_file: Path | None,
    proc: Path = PROC,
    sys: Path = SYS,
    etc: Path = ETC,
    run: Path = RUN,
    dev: Path = DEV,
) -> Facts:
    """Look at everything once, in a few seconds at most, whatever hangs."""
    config, config_error = _config(paths, config_file)
    cgroups = read_cgroups(proc)
    signals = Signals(cgroups.layout.v2, config.docker.slice, fresh=0.0, proc=proc, sys=sys, run=run, dev=dev)
    looked = OwnerLook(config, signals, all_signals=True)
    engine, left, (network, rules) = ask_docker(config, paths, cgroups.layout)
    workers_slice = _slice(config, cgroups.layout, engine)
    written = written_by_workers(engine.info, config, proc) if isinstance(engine, Engine) else ()
    disks = look_at_disks(written, config.owner.reserve_disk)
    allowed = workers_slice.allowed_cpus() if workers_slice else None
    cpus = read_cpus(config, Topology(proc, sys), allowed)
    host, available, arc = read_host(proc, disks.least.total if disks.least else 0, cpus)
    commands = read_commands(proc, config.docker.socket)
    supervisors = find_supervisors(commands, paths, proc)
    status = supervisors.status
    return msgspec.structs.replace(
        _of_kernel(config, cgroups, proc, sys, etc),
        config_error=config_error,
        token_expires=read_expiry(config, time.time(), supervisors.pid, proc),
        tells=_groups_that_tell(workers_slice),
        engine=engine,
        network=network,
        rules=rules,
        slice=look_at(workers_slice) if workers_slice else None,
        host=host,
        memory_available=available,
        arc=arc,
        disk=disks.least,
        unseen_disks=status.unseen_disks if status else disks.unseen,
        cpus=cpus,
        disks=read_disks(sys, cgroups.layout, workers_slice.path if workers_slice else ""),
        processes=tuple(each for each in find_takers(commands, proc) if not _is_in(each.group, left)),
        supervisors=supervisors,
        left=left,
        owner=looked.report(cpus.number, status.owner if status else None),
    )


def _is_in(group: str, left: Left | str) -> bool:
    """Whether it is a worker's, of whatever Plancton on this host."""
    return isinstance(left, Left) and any(container in group for container in left.ids)


def _of_kernel(config: Config, cgroups: Cgroups, proc: Path, sys: Path, etc: Path) -> Facts:
    """What can be known without Docker and Plancton."""
    here = look_here(config.docker.socket, proc)
    return Facts(
        config=config,
        kernel=os.uname().release,
        cgroups=cgroups,
        psi=read_knob(proc / "pressure/cpu") is not None,
        scheduler=other_scheduler(sys),
        hidden=read_process(1, proc) is None or here.peer == 0,
        missing_mounts=missing_mounts(config),
        shared_users=shared_users(config.worker, etc),
        here=here,
        systemd=read_systemd(),
        smt={"1": True, "0": False}.get(read_knob(sys / "devices/system/cpu/smt/active") or ""),
        user=user_name() if os.geteuid() else "",
        now=time.time(),
    )


def _config(paths: Paths, file: Path | None) -> tuple[Config, str]:
    try:
        return load_config(file or paths.config, missing_ok=file is None), ""
    except PlanctonError as error:
        return Config(), str(error)


def read_expiry(config: Config, now: float, pid: int | None = None, proc: Path = PROC) -> float | str | None:
    """When the pool's token expires, or why it can't be used by us or by the supervisor with this
    ``pid``; None: never, or none is needed."""
    if config.htcondor is None:
        return None
    path = config.htcondor.token_file
    try:
        expires = expiry(read_token(path, now))
    except PlanctonError as error:
        return str(error)
    with suppress(OSError):  # either may be gone by now
        user, owner = (proc / str(pid)).stat().st_uid if pid else 0, os.stat(path).st_uid
        if user not in (0, owner):
            remedy = f"chown {user} {quoted(path)}"
            return f"token file {path}: Plancton runs as user {user} and can't read it; {remedy}"
    return expires


# ---------------------------------------------------------------- the kernel


def read_cgroups(proc: Path) -> Cgroups:
    layout = find_layout(read_knob(proc / "self/mountinfo") or "")
    if layout.v2 is None:
        return Cgroups(layout)
    of_v2 = (read_knob(layout.v2 / "cgroup.controllers") or "").split()
    cpu = layout.v1.get("cpu", layout.v2)
    knobs = {file.name for name in ("idle", "weight", "shares") for file in cpu.glob(f"*/cpu.{name}")}
    enabled = frozenset({*layout.v1, *enabled_controllers(layout.v2)})
    return Cgroups(
        layout,
        frozenset({*layout.v1, *of_v2}),
        "cpu.idle" in knobs if knobs else None,
        enabled,
        None if "cpu" in enabled else realtime_outside_root(proc),
    )


def _groups_that_tell(workers_slice: Slice | None) -> tuple[str, ...]:
    if workers_slice is None:
        return ()
    found = owner_pressure(workers_slice.tree, workers_slice.cpu.parent, workers_slice.path)
    return tuple(file.parent.name for file in found)


def read_host(proc: Path, disk: int, cpus: Cpus = ALL) -> tuple[Host | str, int | None, int]:
    """CPUs, memory and swap, how much memory is available, and how much of that is ZFS's cache."""
    try:
        with closing(Sampler(proc, cpus=cpus.counted)) as sampler:
            sample = sampler.sample()
    except SamplerError as error:
        return str(error), None, 0
    host = Host(sample.cpus, sample.memory_total, sample.swap_total, disk, cpus.most)
    return host, sample.memory_available, sample.arc


def read_disks(sys: Path, layout: Layout, workers_slice: str) -> Disks:
    """A disk has a device behind it; loops, RAM disks and mappings have none."""
    schedulers = dict[str, str]()
    for file in sorted(sys.glob("block/*/queue/scheduler")):
        disk = file.parent.parent
        if (disk / "device").exists():
            text = read_knob(file) or "none"
            chosen = re.search(r"\[([\w-]+)\]", text)
            schedulers[disk.name] = chosen[1] if chosen else text
    if layout.v2 is None:
        return Disks(schedulers)
    directory, kind = layout.v2 / workers_slice, "io"
    if "blkio" in layout.v1:
        directory, kind = layout.v1["blkio"] / workers_slice, "blkio"
    names = ("prio.class", "bfq.weight", "weight") if workers_slice else ()
    found = {name: read_knob(directory / f"{kind}.{name}") for name in names}
    iocost = "enable=1" in (read_knob(layout.v2 / "io.cost.qos") or "")
    return Disks(schedulers, iocost, {name: text for name, text in found.items() if text})


# ---------------------------------------------------------------- programs


def read_systemd() -> int | None:
    """systemd's version, by what runs: in a container the program is the image's. None where it does
    not run this host."""
    if not Path("/run/systemd/system").is_dir():
        return None
    try:
        said = call(["systemctl", "show", "--property=Version"], seconds=SYSTEMCTL_TIMEOUT)
    except ProgramError:
        return None
    found = re.match(r"Version=(\d+)", said)
    return int(found[1]) if found else None


# ---------------------------------------------------------------- Docker


def ask_docker(
    config: Config, paths: Paths, layout: Layout
) -> tuple[Engine | str, Left | str, tuple[str, NetworkSeen]]:
    """What answers at the socket, which workers it has, what is wrong with their network, and its rules."""
    engine: Engine | str = ""
    try:
        with _docker(config, DOCKER_TIMEOUT, DOCKER_SECONDS) as docker:
            api = docker.ping()
            engine = Engine(docker.info(), api, read_version(docker), _missing_image(docker, config.image))
        with _docker(config, STARTING, STARTING + DOCKER_SECONDS) as docker:
            left = _left(docker, peek_instance(paths.state), _slice(config, layout, engine))
            network = _network(docker, config.docker.slice, engine.info)
            return engine, left, (network, look_at_network(config, docker))
    except DockerError as error:
        return engine or str(error), str(error), ("", look_at_network(config))


@contextlib.contextmanager
def _docker(config: Config, timeout: float, seconds: float) -> Iterator[Docker]:
    """Closed after that many seconds: a Docker may answer byte by byte."""
    with Docker(config.docker.socket, timeout=timeout) as docker:
        deadline = Timer(seconds, docker.close)
        deadline.start()
        try:
            yield docker
        finally:
            deadline.cancel()


def _network(docker: Docker, name: str, info: Info) -> str:
    try:
        require_room_for_network(docker, name, info)
    except DockerUnreachable:
        raise
    except DockerError as error:
        return str(error)
    return ""


def _missing_image(docker: Docker, image: Image) -> str:
    if image.name is None or is_pulled(image.name, image.policy):
        return ""
    try:
        docker.image(image.name)
    except NotFound:
        return not_here(image.name)
    except DockerRefused:
        pass  # the supervisor tells
    return ""


def _slice(config: Config, layout: Layout, engine: Engine | str) -> Slice | None:
    """Where workers are; None where that can't be known."""
    if layout.v2 is None or isinstance(engine, str):
        return None
    return Slice(layout, config.docker.slice, engine.info.cgroup_driver, config.docker.tier)


def _left(docker: Docker, instance: str, workers_slice: Slice | None) -> Left:
    own = our_workers(docker, workers_slice, instance) if workers_slice else []
    others = dict[str, tuple[str, ...]]()
    ours = docker.containers(INSTANCE)
    for each in ours:
        whose = each.labels.get(INSTANCE, "")
        if whose and whose != instance:
            others[whose] = (*others.get(whose, ()), *each.names[:1])
    old = [each.names[0] for each in docker.containers_named(PREFIX) if is_old(each)]
    names = tuple(container.name for container in own)
    return Left(names, others, tuple(old), frozenset(each.id for each in ours))
