"""Measures whether this host's owner gets the CPU at once: a load alone, and with every CPU donated.

The two take turns, several times, because hosts are noisy. For the load alone the whole slice is
frozen, real workers included, for little more than a second at a time. With donation there are the
real workers, and two of our own that keep every CPU busy. These have another instance's label, so
the supervisor doesn't take them for its workers.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mode

from plancton.commands.prepare import set_bounds
from plancton.commands.selftest import busy_workers, disk, network, owner_load
from plancton.commands.selftest.cleanup_guard import clean_up_afterwards
from plancton.commands.selftest.figures import Disk, Network, Pair, Report, Round, summarize
from plancton.commands.selftest.verdict import judge
from plancton.config.resolve import read_cpus
from plancton.config.schema import Config, Worker
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.errors import PlanctonError
from plancton.files import read_knob
from plancton.host.bandwidth import Rates
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.sampler import Sampler
from plancton.host.slice import Slice
from plancton.host.slice_inspection import look_at
from plancton.host.topology import Cpus, Topology
from plancton.model import Sample, Tier
from plancton.policy.observe import observe
from plancton.running_supervisors import holder, paths_in_use, try_flock
from plancton.status_reading import no_status, running
from plancton.units import Size, quoted
from plancton.workers.as_container import own_image
from plancton.workers.disks import written_by_workers
from plancton.workers.reach_and_rates import wanted_rates
from plancton.workers.same_host import require

PAIRS = 9
STEP, STEPS = 0.001, 600
"""Of the load: 0.6 s, seen in milliseconds."""
WAKE_STEP, WAKE_UPS = 0.005, 120
SETTLE = 0.2
"""Seconds until all thawed or started workers use the CPUs."""
FREEZING = 1.0
"""Seconds that the kernel has to freeze; what then still isn't frozen waits for a disk."""
LIMIT = 75.0
"""Seconds that the selftest may take: twice the usual."""
SILENCE = 15.0
"""Seconds without an answer after which Docker counts as hung."""
SMALL = Size(64 << 20)
"""Memory of a worker that does little."""
VAR_TMP = Path("/var/tmp")
UNDER_WAY = 2.0
"""Seconds until a container that Docker is just making shows up."""


class SelftestError(PlanctonError):
    """The selftest can't run here, in one line."""


def run_selftest(config: Config, tell: Callable[[str], None]) -> Report:
    """Measure and judge this host, within a minute; ``tell`` is told the progress."""
    layout = read_layout()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # stopped, it would leave workers frozen
    with Docker(config.docker.socket, SILENCE) as docker:
        section, info = config.docker, require(docker)
        workers_slice = Slice(layout, section.slice, info.cgroup_driver, section.tier)
        refuse_inside(workers_slice)
        with _only_one(workers_slice.tree):
            made = _prepare(workers_slice, config)
            ceiling = workers_slice.ceiling()
            counted = read_cpus(config, Topology(), workers_slice.allowed_cpus())
            cpus = counted.number
            if made is None:
                verdict = f"This host does not yield: {workers_slice.tier_reason}."
                return Report(False, verdict, cpus, "none", ceiling, None)
            instance = f"selftest-{secrets.token_hex(4)}"
            place = disk.find_place(written_by_workers(info, config), (paths_in_use().state, VAR_TMP))
            files = (place or VAR_TMP) / f"plancton-{instance}"
            clean_up = partial(_clean_up, config, workers_slice, instance, made, files)
            with clean_up_afterwards(clean_up, LIMIT):
                tell("starting two workers")
                ids = busy_workers.start(docker, instance, workers_slice, cpus)
                pairs, (tier, knobs) = _measure(workers_slice, counted, tell)
                busy_workers.verify(docker, ids)
                tell("the disk")
                on_disk = disk.why_not(config, place) or _look_at_disk(docker, instance, workers_slice, files)
                tell("the network")
                of_network = network.why_not(docker, config) or _look_at_network(
                    docker, instance, workers_slice, config
                )
                tell("cleaning up")
    found = summarize(pairs)
    yields, verdict = judge(found, tier, knobs, cpus)
    rates = Rates(*(None if rate is None else int(rate) for rate in wanted_rates(config)))
    return Report(yields, verdict, cpus, tier, ceiling, found, on_disk, of_network, rates)


# ---------------------------------------------------------------- the slice


def refuse_inside(workers_slice: Slice) -> None:
    """Inside the slice, the owner's load would be a worker's."""
    groups = re.findall(r"^\d+:[^:\n]*:(.*)$", read_knob(PROC / "self/cgroup") or "", re.MULTILINE)
    if any(f"{group}/".startswith(f"/{workers_slice.path}/") for group in groups):
        raise SelftestError(
            f"this process is inside {workers_slice.parent} itself: run the selftest outside of any worker"
        )


def _prepare(workers_slice: Slice, config: Config) -> bool | None:
    """Whether we made the slice; None where nobody can. A supervisor's own is left as it is."""
    paths = paths_in_use()
    status, pid = running(paths), holder(paths)
    if status is None and pid is not None:
        raise SelftestError(f"{no_status(paths, pid)} Its slice can't be known; restart it, or stop it")
    theirs = status.slice if status is not None else ""  # empty, too, until it has found Docker
    if theirs not in ("", workers_slice.path):
        raise SelftestError(
            f"Plancton runs with the slice {theirs}, but this configuration names {workers_slice.path}:"
            " give --config the file that Plancton runs with"
        )
    there = workers_slice.directory.exists()
    if not theirs:
        workers_slice.set_up()
        if workers_slice.tier == "quota":
            return None
        set_bounds(workers_slice, config)
    knob = workers_slice.directory / "cgroup.freeze"
    try:
        with knob.open("r+") as file:  # it must be writable, too
            frozen = file.read().strip() == "1"
    except FileNotFoundError:
        raise SelftestError(f"{knob} is missing: the selftest needs Linux 5.2 or newer") from None
    except OSError as error:
        remedy = "on the host itself" if workers_slice.privileged else "as root"
        raise SelftestError(f"{knob}: {error.strerror}; run the selftest {remedy}") from None
    if frozen and status is not None and status.pause:
        raise SelftestError(f"the workers are frozen ({status.pause.reason}): `plancton resume`, or wait")
    if frozen:
        raise SelftestError(f"the slice is frozen: thaw it with `echo 0 > {quoted(knob)}`")
    return not there


@contextlib.contextmanager
def _only_one(tree: Path) -> Iterator[None]:
    """Two selftests at once would disturb each other, and freeze each other's workers."""
    descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not try_flock(descriptor, fcntl.LOCK_EX):
            raise SelftestError("another selftest is running on this host: wait until it has ended")
        yield
    finally:
        os.close(descriptor)


def _clean_up(
    config: Config, workers_slice: Slice, instance: str, made: bool, files: Path, orderly: bool
) -> None:
    with contextlib.suppress(OSError):
        (workers_slice.directory / "cgroup.freeze").write_text("0")
    if not orderly:
        time.sleep(UNDER_WAY)
    try:
        with Docker(config.docker.socket, SILENCE) as docker:
            busy_workers.remove(docker, instance)
    except DockerError as error:
        raise SelftestError(f"the selftest's workers will end by themselves in a minute: {error}") from None
    finally:
        shutil.rmtree(files, ignore_errors=True)
        # A supervisor may have started meanwhile: then the slice is its own.
        if made and holder(paths_in_use()) is None and not any(workers_slice.directory.glob("*/")):
            workers_slice.remove()


# ---------------------------------------------------------------- measuring


def _measure(
    workers_slice: Slice, cpus: Cpus, tell: Callable[[str], None]
) -> tuple[list[Pair], tuple[Tier, str]]:
    """All pairs, and how the slice was set in most of them: it is lifted for leaving workers."""
    pairs, looks = [], []
    files = workers_slice.directory, workers_slice.memory_stat
    with contextlib.closing(Sampler(PROC, *files, cpus.counted)) as sampler:
        for number in range(1, PAIRS + 1):
            tell(f"{number} of {PAIRS}: the owner alone")
            with _frozen(workers_slice):
                alone = _round(workers_slice, sampler)
            tell(f"{number} of {PAIRS}: every CPU donated")
            time.sleep(SETTLE)
            pairs.append(Pair(alone, _round(workers_slice, sampler)))
            seen = look_at(workers_slice)
            looks.append((seen.tier, seen.knob))
    return pairs, mode(looks)


def _look_at_disk(docker: Docker, instance: str, workers_slice: Slice, files: Path) -> Disk | str:
    """A Docker that does not start this one takes nothing from the other figures."""
    if own_image(docker):
        return "not measured: Plancton is in a container, which has other files than the host"
    try:
        inside = disk.make_directory(files)
        command = ["/bin/sh", "-c", disk.writer(busy_workers.LIFETIME)]
        worker = Worker(command=command, memory=SMALL, mounts=[f"{inside}:{disk.INSIDE}:rw,Z"])
        writer = busy_workers.start_other(docker, instance, workers_slice, worker)
        verify = partial(busy_workers.verify, docker, [writer])
        return disk.measure(inside, partial(_frozen, workers_slice), verify)
    except (DockerError, busy_workers.BusyWorkerError, OSError) as error:
        return f"not measured: {error}"


def _look_at_network(docker: Docker, instance: str, workers_slice: Slice, config: Config) -> Network | str:
    name, worker = config.docker.slice, Worker(command=network.command(), memory=SMALL)
    try:
        peer = busy_workers.start_other(docker, instance, workers_slice, worker, name)
        return network.measure(config, network.address_of(docker, name, peer))
    except (DockerError, busy_workers.BusyWorkerError) as error:
        return f"not measured: {error}"


def _round(workers_slice: Slice, sampler: Sampler) -> Round:
    spun = owner_load.spin(len(os.sched_getaffinity(0)), STEP, STEPS)
    before = sampler.sample()
    late = owner_load.wake_ups(WAKE_STEP, WAKE_UPS)
    after = sampler.sample()
    if before.slice is None or after.slice is None:
        raise _gone(workers_slice)
    return Round(spun, late, *used(before, after))


def used(before: Sample, after: Sample) -> tuple[float, float]:
    """The CPUs that workers used between two samples, and those that nobody did."""
    seen = observe(before, after)
    if seen.unknown or seen.donated is None or seen.idle is None:
        why = seen.unknown or "a counter of the slice or of /proc/stat has become less, or can't be true"
        raise SelftestError(f"this host's figures are unknown ({why}): run the selftest again")
    return seen.donated, seen.idle


@contextlib.contextmanager
def _frozen(workers_slice: Slice) -> Iterator[None]:
    """Meanwhile nothing in the slice runs."""
    events, deadline = workers_slice.directory / "cgroup.events", time.monotonic() + FREEZING
    if not workers_slice.freezer.freeze():
        raise _gone(workers_slice)
    try:
        while "frozen 1" not in events.read_text() and time.monotonic() < deadline:
            time.sleep(0.002)
        yield
    finally:
        if not workers_slice.freezer.thaw():
            raise _gone(workers_slice)


def _gone(workers_slice: Slice) -> SelftestError:
    return SelftestError(f"{workers_slice.parent} was removed during the selftest: run it again")
