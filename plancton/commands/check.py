"""What `plancton check` says of this host: how many workers would fit now, and what prevents more."""

import time
from collections.abc import Iterator
from contextlib import closing

import msgspec

from plancton.commands.owner_report import OwnerLook, OwnerReport
from plancton.config.resolve import Host, MaxWorkers, missing_mounts, never_starts, policy_settings, read_cpus
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config
from plancton.config.security import read_profiles
from plancton.docker.client import Docker
from plancton.docker.errors import DockerRefused
from plancton.docker.escapes import find_ways, read_version
from plancton.docker.images import is_pulled, not_here, unusable
from plancton.docker.replies import Image, Info
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.engine_cpu import find_engine, listener
from plancton.host.sampler import Sampler, SamplerError
from plancton.host.signals.readings import Signals
from plancton.host.slice import Slice
from plancton.host.slice_bounds import Limits
from plancton.host.topology import Cpus, Topology
from plancton.model import Fleet, Observation
from plancton.policy.fit import Room, needs_to_start, room_now, startable
from plancton.policy.observe import observe
from plancton.units import human_bytes, human_seconds
from plancton.workers.disks import Disks, not_kept, read_disks, written_by_workers
from plancton.workers.refusals import refusal_of, require_room_for_network
from plancton.workers.same_host import doubts, look_here, require
from plancton.workers.submounts import submount_warnings
from plancton.workers.token import EXPIRES_SOON, expiry, read_token
from plancton.workers.users import shared_users

SECONDS = 1.0


class HostCheck(msgspec.Struct, frozen=True):
    """One sentence, how many workers would fit, what to know before running Plancton here, and what
    the owner's rules ask for now."""

    sentence: str
    fit: int
    warnings: tuple[str, ...] = ()
    owner: OwnerReport = OwnerReport()


def check_host(config: Config) -> HostCheck:
    """Watch the host for a second; raises the error if the Engine, or a file that
    workers get, can't be used."""
    if missing := missing_mounts(config):
        raise ConfigError(missing)
    layout = read_layout()
    read_profiles(config.worker.security_options)
    token = read_token(config.htcondor.token_file, time.time()) if config.htcondor else b""
    with Docker(config.docker.socket, timeout=5.0) as docker:
        info = require(docker)
        require_room_for_network(docker, config.docker.slice, info)
        image = _image(docker, config.image.name)
        found = _of_docker(docker, config, info, image)
    workers_slice = Slice(layout, config.docker.slice, info.cgroup_driver, config.docker.tier)
    cpus = read_cpus(config, Topology(), workers_slice.allowed_cpus())
    looked = OwnerLook(config, Signals(layout.v2, config.docker.slice, fresh=0.0))
    seen = _watch(config, workers_slice, cpus)
    disks = read_disks(written_by_workers(info, config), config.owner.reserve_disk)
    size = disks.least.total if disks.least else 0
    host = Host(int(seen.capacity), seen.memory_total, seen.swap_total, size, cpus.most)
    found += _of_disks(disks, config)
    limits = workers_slice.found_limits()
    made = policy_settings(config, host, limits)
    report = looked.report(seen.capacity, seen.owner)
    room = room_now(seen, made, report.cap)
    most, unclear = _max_workers(config, host, looked)
    fit = startable(Fleet(), most, room, made) if room else 0
    owner = 0.0 if seen.owner is None else seen.owner
    sentence = (
        f"This host has {host.cpus} CPUs and {human_bytes(host.ram)} of memory;"
        f" the owner uses {owner:.1f} CPUs now: {fit} worker{'' if fit == 1 else 's'} would fit."
    )
    if room and fit == 0:
        sentence += too_little(room, needs_to_start(Fleet(), 1, made))
    found += [unclear] if unclear else []
    warnings = *found, *_warnings(config, host, limits, image is None, token), *report.warnings
    return HostCheck(sentence, fit, warnings, report)


def _watch(config: Config, workers_slice: Slice, cpus: Cpus) -> Observation:
    """What this host does for a second."""
    files = workers_slice.directory, workers_slice.memory_stat
    with closing(Sampler(PROC, *files, cpus.counted)) as sampler:
        listening = listener(config.docker.socket)
        sampler.watch_engine(find_engine(PROC, workers_slice.tree, listening, workers_slice.path))
        before = sampler.sample()
        time.sleep(SECONDS)
        seen = observe(before, sampler.sample())
    if seen.unknown:
        raise SamplerError(f"{seen.unknown}: try again")
    return seen


def _of_disks(disks: Disks, config: Config) -> Iterator[str]:
    disk, reserve = disks.least, config.owner.reserve_disk
    if unkept := not_kept(disks.unseen, reserve):
        yield unkept
    if disk and disk.margin(reserve) < 0:
        yield f"the disk with {disk.path} is short: nothing is started until more is free"


def _of_docker(docker: Docker, config: Config, info: Info, image: Image | None) -> list[str]:
    """What is to be known of this Docker, before anything else what keeps all workers from starting."""
    wrong = unusable(image) if image else ""
    image_wrong = wrong and f"image {config.image.name} can't be used: {wrong}"
    never = [f"no worker can start here: {why}" for why in (image_wrong, refusal_of(config, info)) if why]
    found = [*never, *doubts(info, look_here(docker.socket)), shared_users(config.worker)]
    found += submount_warnings(config, info)
    found += [each.problem for each in find_ways(read_version(docker), info)]
    return [text for text in found if text]


def _max_workers(config: Config, host: Host, looked: OwnerLook) -> tuple[int | None, str]:
    """How many by configuration, and why that can't be known now."""
    try:
        return MaxWorkers(config).on(host, looked.signals.read), ""
    except ValueError as error:
        return 0, f"pool.max_workers: {error}"


def _image(docker: Docker, name: str | None) -> Image | None:
    try:
        return docker.image(name) if name is not None else None
    except DockerRefused:
        return None


def too_little(room: Room, needed: Room) -> str:
    """What a worker would need, in a sentence, of what the owner does not leave now."""
    short = []
    if room.cpus < needed.cpus:
        short.append(f"{needed.cpus:.2f} idle CPUs, of which {max(0.0, room.cpus):.2f} are left")
    if room.memory < needed.memory:
        left = human_bytes(max(0.0, room.memory))
        short.append(f"{human_bytes(needed.memory)} of memory, of which {left} are left")
    return f" One needs {', and '.join(short)}." if short else ""


def _warnings(config: Config, host: Host, limits: Limits, image_missing: bool, token: bytes) -> list[str]:
    found = []
    never = never_starts(config, host, limits)
    if never:
        found.append(f"no worker can ever start here: {never}")
    if config.image.name is None:
        found.append("no image is configured, so nothing will be started: set image.name or htcondor")
    elif image_missing and is_pulled(config.image.name, config.image.policy):
        found.append(f"image {config.image.name} is not on this host yet: `plancton run` pulls it")
    elif image_missing:
        found.append(not_here(config.image.name))
    if config.htcondor and (expires := expiry(token)) is not None and expires - time.time() < EXPIRES_SOON:
        left = human_seconds(expires - time.time())
        found.append(f"token file {config.htcondor.token_file}: expires in {left}")
    return found
