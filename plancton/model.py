"""The data that flows from sample to act: frozen values, no behaviour that touches the world.

Units everywhere: seconds, bytes, CPUs (1.0 is one CPU kept busy for the whole interval).
``None`` means "unknown": the kernel did not say, or there is no earlier sample to compare with.
"""

import math
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from typing import Literal

import msgspec

Tier = Literal["kernel", "weight", "quota", "none"]
"""How strongly this host can yield: the slice is idle class, has the least weight, or can't be
written, so that the workers' CPU is limited through Docker. "none" until that is known."""


class Sample(msgspec.Struct, frozen=True):
    """Counters as the kernel gives them, all read at one moment.

    ``busy``, ``idle`` and ``stolen`` are CPU seconds since boot, summed over all CPUs (/proc/stat;
    ``idle`` includes iowait, and ``busy`` has ``softirq``, which is above all packets).
    ``slice_*`` are None when there is no slice; ``slice_anon`` counts anonymous and shared (tmpfs)
    memory. ``engine_epoch`` changes whenever the set of processes behind ``engine`` does: figures
    of different epochs can't be compared. ``unreadable`` names a file of the slice that is there
    but has no figures, and says why: what the workers use is then unknown, not nothing. ``arc`` is
    what ZFS's cache would give back; ``memory_available`` has it already.
    """

    monotonic: float
    boottime: float
    cpus: int
    busy: float
    idle: float
    stolen: float
    memory_total: int
    memory_available: int | None = None
    swap_total: int = 0
    slice: float | None = None
    slice_anon: int | None = None
    engine: float | None = None
    engine_epoch: int = 0
    unreadable: str = ""
    arc: int = 0
    softirq: float = 0.0


LEAST_SHARES = 2
"""Docker's least CpuShares; the kernel's weight 1 with every runc."""


def full_shares(cpus: float) -> int:
    """CpuShares of a worker that fits: Docker's default for each CPU."""
    return max(LEAST_SHARES, round(1024 * cpus))


class Phase(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    FINISHING = "finishing"
    LEAVING = "leaving"
    KILLED = "killed"
    ENDED = "ended"


class Worker(msgspec.Struct, frozen=True, omit_defaults=True):
    """One donated container as the policy sees it.

    ``name`` identifies it from request to removal; ``id`` is the container's, empty until created.
    ``started`` is the CLOCK_BOOTTIME second at which its first process started. ``told`` is the
    CLOCK_MONOTONIC second at which it was told to go (its phase says how), ``deadline`` the one by which it
    has to be gone. ``busy`` means that an action on it is under way: no other is given until that is done.
    ``jobs`` are the CLOCK_BOOTTIME seconds at which the jobs that it runs began, oldest first (None: its pool
    does not tell); ``worked`` says whether it ever had one; ``stake`` are the CPU seconds that would be lost
    with the running ones, coarsely. ``until`` is the CLOCK_BOOTTIME second at which it is asked to finish
    because what lets it into its pool ends soon (None: that does not end). ``quota`` are the CPUs that Docker
    lets it have now (None: all of ``cpus``); ``flooding`` how it keeps the engine or the kernel busy, in
    words; ``hoards`` that it is by memory that the owner needs now; ``paused`` that somebody has paused it;
    ``stuck`` that it outlives being killed. ``renamed`` is what somebody calls its container now,
    ``restarts`` is how often somebody started it again.
    """

    name: str
    id: str = ""
    phase: Phase = Phase.STARTING
    cpus: float = 1.0
    memory: int = 0
    shares: int = 1024
    shares_time: float | None = None
    started: float | None = None
    told: float | None = None
    deadline: float | None = None
    image: str = ""
    digest: str = ""
    busy: bool = False
    jobs: tuple[float, ...] | None = None
    worked: bool = False
    stake: float = 0.0
    until: float | None = None
    quota: float | None = None
    flooding: str = ""
    hoards: bool = False
    paused: bool = False
    stuck: bool = False
    renamed: str = ""
    restarts: int = 0

    def age(self, boottime: float) -> float:
        """Seconds since its first process started; 0 while it is starting."""
        return 0.0 if self.started is None else max(0.0, boottime - self.started)


ACTIVE = frozenset({Phase.STARTING, Phase.RUNNING})
IN_LINE = ACTIVE | {Phase.FINISHING}
COMING_OR_GOING = frozenset({Phase.STARTING, Phase.LEAVING, Phase.KILLED})


def _least_to_lose_last(worker: Worker) -> tuple[bool, bool, float, float, str]:
    since = worker.jobs[0] if worker.jobs else worker.started
    return worker.started is None, not worker.jobs, -worker.stake, since or 0.0, worker.name


class Fleet(msgspec.Struct, frozen=True, dict=True):
    """All workers that exist, oldest first, with the sums that the policy needs each tick.

    The sums are computed once per change of the fleet, so a quiet tick costs the same with 1 and
    with 256 workers.
    """

    workers: tuple[Worker, ...] = ()

    @staticmethod
    def of(workers: "list[Worker] | tuple[Worker, ...]") -> "Fleet":
        """Oldest first; those without a start time (still starting) are the youngest."""
        return Fleet(tuple(sorted(workers, key=lambda w: (w.started is None, w.started or 0.0, w.name))))

    @cached_property
    def line(self) -> tuple[Worker, ...]:
        """Those that use CPU and may be told to leave, the one with the most to lose first.

        Those with a job come before those without, the one that has used most first; the others by their age.
        """
        return tuple(sorted((w for w in self.workers if w.phase in IN_LINE), key=_least_to_lose_last))

    @cached_property
    def active(self) -> int:
        """How many are starting or running and not told to go."""
        return sum(w.phase in ACTIVE for w in self.workers)

    @cached_property
    def begun(self) -> int:
        """How many are there and not just starting."""
        return sum(w.phase is not Phase.STARTING for w in self.workers)

    @cached_property
    def running(self) -> tuple[Worker, ...]:
        """Those that run and are not told to go, oldest first."""
        return tuple(w for w in self.workers if w.phase is Phase.RUNNING)

    @cached_property
    def starts(self) -> tuple[float, ...]:
        """When the running ones started, oldest first."""
        return tuple(w.started for w in self.running if w.started is not None)

    @cached_property
    def proven(self) -> tuple[float, ...]:
        """The same for those that had a job, as far as known."""
        return tuple(
            w.started for w in self.running if w.started is not None and (w.jobs is None or w.worked)
        )

    @cached_property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """The images and digests of the running ones: one pair unless something was changed."""
        return frozenset((w.image, w.digest) for w in self.running)

    @cached_property
    def images(self) -> frozenset[str]:
        return frozenset(w.image for w in self.workers)

    @cached_property
    def finishing(self) -> bool:
        return any(w.phase is Phase.FINISHING for w in self.workers)

    @cached_property
    def oldest_job(self) -> float:
        """When the oldest of their jobs began; infinite if there is none."""
        return min((w.jobs[0] for w in self.line if w.jobs), default=math.inf)

    @cached_property
    def has_jobs(self) -> bool:
        return any(w.jobs for w in self.workers)

    @cached_property
    def limited(self) -> bool:
        """Whether Docker limits any worker to less CPU than it was created with."""
        return any(w.quota is not None for w in self.workers)

    @cached_property
    def busy(self) -> frozenset[str]:
        """The names of those on which an action is under way."""
        return frozenset(w.name for w in self.workers if w.busy)

    @cached_property
    def changing(self) -> bool:
        """Whether any comes or goes just now, or has an action under way."""
        return any((w.busy or w.phase in COMING_OR_GOING) and not w.stuck for w in self.workers)

    @cached_property
    def flooding(self) -> tuple[Worker, ...]:
        """Those in line that keep the engine or the kernel busy."""
        return tuple(w for w in self.line if w.flooding)

    @cached_property
    def next_until(self) -> float:
        """When the first of the running ones is to finish for what lets it into its pool."""
        return min((w.until for w in self.running if w.until is not None), default=math.inf)

    @cached_property
    def next_deadline(self) -> float:
        """The earliest deadline of those told to go; infinite if there is none."""
        return min((w.deadline for w in self.workers if w.deadline is not None), default=math.inf)

    @cached_property
    def shares_fit(self) -> int | None:
        """How many of the oldest have full shares while all others have the least; None: some differ."""
        full = [w.shares == full_shares(w.cpus) for w in self.line]
        count = sum(full)
        settled = all(full[:count]) and all(w.shares == LEAST_SHARES for w in self.line[count:])
        return count if settled else None

    @cached_property
    def cpus_before(self) -> tuple[float, ...]:
        """For each worker in line, what all older ones may use; one more entry at the end: the sum."""
        return tuple(accumulate((w.cpus for w in self.line), initial=0.0))

    @cached_property
    def memory_before(self) -> tuple[int, ...]:
        """As cpus_before, for the workers' memory limits."""
        return tuple(accumulate((w.memory for w in self.line), initial=0))

    @cached_property
    def largest(self) -> float:
        return max((w.cpus for w in self.workers), default=0.0)

    @cached_property
    def present_cpus(self) -> float:
        """What all existing workers may use, leaving ones included."""
        return sum(w.cpus for w in self.workers)

    @cached_property
    def present_memory(self) -> int:
        return sum(w.memory for w in self.workers)


class Writer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker did to the disk, in bytes. ``wrote``: lately, with all that is still on its
    way there; ``kernel``: how much more memory the kernel keeps for it, as it does for each file
    that is made; ``size``: what Docker says its files take (None: it has not said)."""

    name: str
    wrote: int = 0
    kernel: int = 0
    size: int | None = None


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker that ended, or could not be started, since the tick before, without being told to.

    ``age`` is how long it ran (seconds), ``reason`` says how it ended ("exit code 1"). ``idle``: it
    went because there was no work for it.
    """

    name: str
    age: float
    reason: str
    idle: bool = False


class Wishes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner has asked for by a command, in words; empty: nothing.

    ``pause``: the owner's own pause ("paused by the owner until 18:00"), ``drain`` a drain that ends
    by itself; ``left`` are the seconds until the first of these ends (None: neither does).
    ``freezable``: this host's workers can be frozen.
    """

    pause: str = ""
    drain: str = ""
    left: float | None = None
    freezable: bool = True


NO_WISHES = Wishes()


class OwnerRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the owner's rules (`owner` in the configuration) ask for at this moment.

    ``pause`` and ``leave`` say in words why all workers are to be frozen, or to leave ("on battery
    (62 %)"); empty: nothing asks for it. The words may change from tick to tick while the reason
    stays ("on battery (61 %)"). ``cap`` are the CPUs that all workers together may use (None: all
    there are), ``temperature`` is the CPU package's in °C where `owner.max_temperature` watches it.
    ``unknown`` says which rules can't be judged, and why: they ask for nothing.
    """

    pause: str = ""
    leave: str = ""
    cap: float | None = None
    temperature: float | None = None
    unknown: str = ""


class Observation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known at one tick: rates of the host since the tick before, and the state of things.

    ``time`` is CLOCK_MONOTONIC, ``boottime`` CLOCK_BOOTTIME. ``owner``, ``donated``, ``engine``, ``stolen``,
    ``idle`` and ``softirq`` are CPUs over ``interval`` seconds. ``max_workers`` None: no limit but the fit.
    ``image`` is the id of the image that new workers get, empty if there is none; ``digest`` stands for the
    configuration that they get. ``docker`` says whether the Engine answers. ``finish`` asks all workers to
    finish, ``stopping`` all to leave. ``unexplained``: a worker ended without being told to, and how will be
    among ``ended`` of a later tick. ``disk_*`` are of the file system with the least beyond the reserve, of
    all that workers write to: ``disk_path`` is a directory on it, ``disk_inodes`` the part of its inodes that
    is free; ``writers`` are known at the ticks at which they are looked for, because there is little.
    ``unprotected`` says why the slice, or a quota that was asked for, would not hold a new worker; empty:
    they would. ``burden`` says who is busy, perhaps with what a worker does, while no worker is found that
    does it. ``mounts`` says what is missing of the paths that workers mount. ``unknown`` names the file whose
    figures can't be used at this tick, and says why. ``rules``: what the owner's rules ask for. ``frozen``:
    we have frozen all workers. ``owner_waits`` is the part of the time for which one of the owner's processes
    had to wait for a CPU; it is read only while that matters (`yield.cap: auto`).
    ``lately`` is the same since the last glance, if there was one after the tick before.
    """

    time: float
    boottime: float
    capacity: float
    interval: float | None = None
    owner: float | None = None
    donated: float | None = None
    engine: float | None = None
    stolen: float | None = None
    idle: float | None = None
    softirq: float | None = None
    memory_total: int = 0
    memory_available: int | None = None
    slice_anon: int | None = None
    swap_total: int = 0
    disk_free: int | None = None
    disk_total: int | None = None
    disk_path: str = ""
    disk_inodes: float | None = None
    writers: tuple[Writer, ...] = ()
    max_workers: int | None = None
    image: str = ""
    digest: str = ""
    docker: bool = True
    draining: bool = False
    finish: bool = False
    stopping: bool = False
    ended: tuple[Ended, ...] = ()
    unexplained: bool = False
    unprotected: str = ""
    mounts: str = ""
    burden: str = ""
    fleet: Fleet = Fleet()
    unknown: str = ""
    rules: OwnerRules = OwnerRules()
    wishes: Wishes = NO_WISHES
    frozen: bool = False
    owner_waits: float | None = None
    lately: "Observation | None" = None


class Settings(msgspec.Struct, frozen=True):
    """The settings that `decide` goes by, in base units (the configuration made plain for one host).

    ``gap``: ticks further apart than this have missed something (suspend, a stopped process, figures
    unknown). It is no setting: only a simulation, which knows that nothing was missed, takes longer ticks.
    """

    worker_cpus: float = 1.0
    worker_memory: int = 2_000_000_000
    worker_disk: int | None = None
    """None: each has an equal part of what is free."""
    lifetime: float = 43_200.0
    leave_timeout: float = 20.0
    finish_timeout: float = 3_600.0
    lift: float = 5.0
    """A lift costs the owner 20 % of a CPU, so it lasts at most this long (seconds)."""
    spawn_per_tick: int = 4
    reserve_cpus: float = 0.0
    reserve_memory: int = 0
    reserve_disk: int = 0
    worthwhile: float = 0.5
    grace_kill: float = 600.0
    grace_spawn: float = 60.0
    stake: float = 2.0
    longest_wait: float = 7_200.0
    first_start: float = 10.0
    """The very first start waits this long instead of ``grace_spawn``: someone is watching."""
    gap: float = 5.0
    uses_quota: bool = False
    """Whether the workers' CPU is limited one by one: where no slice yields for them, or by configuration."""
    quota_alone: bool = False
    """Whether that limit is all that protects the owner: no slice yields."""
    caps_waiting: bool = False
    """Whether it is limited while the owner waits for CPU and workers get some."""
    most_cpus: float | None = None
    most_memory: int | None = None
    """What all workers may have at most, whatever the owner leaves: the administrator's own limits
    of the slice."""
    pause_hold: float = 30.0
    """A rule of the owner's is over when it has not been true for this long (seconds)."""
    max_temperature: float | None = None
    lease: float | None = None
    """Seconds after which a job of a worker that is silent runs elsewhere; None: not known."""
    nested_quotas: bool = True
    """Whether the kernel lets the slice have less CPU than one of its workers (v1 does not)."""


class Start(msgspec.Struct, frozen=True, tag=True):
    """Create and start one new worker. ``disk``: the bytes that it may promise to its jobs; None:
    not known."""

    reason: str
    disk: int | None = None


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Ask a worker to end its job first and then itself, within ``timeout`` seconds."""

    name: str
    reason: str
    timeout: float


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Tell a worker to drop its job now, cleanly, within ``timeout`` seconds.

    ``lift``: the slice has no CPU to leave with, so give it some (see slice.py).
    """

    name: str
    reason: str
    timeout: float
    lift: bool = False


class Kill(msgspec.Struct, frozen=True, tag=True):
    """End a worker that did not leave in time. ``lift`` as in Leave: even dying takes CPU.
    ``at_once``: it fills the disk, so that nobody waits for Docker to end it."""

    name: str
    reason: str
    lift: bool = False
    at_once: bool = False


class Freeze(msgspec.Struct, frozen=True, tag=True):
    """Let no worker run until they are thawed: for seconds, unless the owner has paused them."""

    reason: str


class Thaw(msgspec.Struct, frozen=True, tag=True):
    """Let the workers run again."""

    reason: str


class SetShares(msgspec.Struct, frozen=True, tag=True):
    """Set a worker's part among the workers (Docker's CpuShares)."""

    name: str
    shares: int
    reason: str


class SetQuota(msgspec.Struct, frozen=True, tag=True):
    """Limit the CPUs that a worker may use (Docker's CpuQuota)."""

    name: str
    cpus: float
    reason: str


Action = Start | Finish | Leave | Kill | SetShares | SetQuota | Freeze | Thaw


def action_name(action: Action) -> str:
    """Its kind in words: ``start``, ``set shares``."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in type(action).__name__).lstrip()


class HeldReason(StrEnum):
    """Why nothing may be started, whatever the room."""

    STOPPING = "stopping"
    PAUSED = "paused"
    OWNER_RULE = "owner rule"
    DRAINING = "draining"
    NO_DOCKER = "no docker"
    UNPROTECTED = "unprotected"
    MOUNTS = "mounts"
    NO_IMAGE = "no image"
    DISK = "disk"
    MEMORY = "memory"
    MAX_WORKERS = "max workers"
    FAILURES = "failures"
    TRIAL = "trial"
    UNEXPLAINED = "unexplained"
    FLAPS = "flaps"

    @property
    def is_problem(self) -> bool:
        """Whether it is shown as a problem, because nobody asked for it."""
        return self in (self.UNPROTECTED, self.MOUNTS, self.DISK, self.FAILURES, self.TRIAL, self.FLAPS)


class Held(msgspec.Struct, frozen=True):
    """Why nothing is started: what kind of reason, and the reason in words."""

    reason: HeldReason
    sentence: str


class Capped(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all workers together may use, in CPUs, and why. ``by_heat``: for the temperature."""

    cpus: float
    reason: str
    by_heat: bool = False


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to do now, and why. ``fit`` is how many workers the room is worth, ``room`` the CPUs behind it.

    ``sentence`` says the state of things in words; ``held`` why nothing is started although there
    may be room (None when nothing holds it). ``quota`` are the CPUs that all workers together may
    use where they must be limited one by one. ``paused`` says why the owner has none of them
    run, if so: they are frozen, or leave. ``cap`` is what the owner lets all of them use.
    """

    fit: int
    sentence: str
    room: float | None = None
    quota: float | None = None
    held: Held | None = None
    actions: tuple[Action, ...] = ()
    paused: str = ""
    cap: Capped | None = None


class Tick(msgspec.Struct, frozen=True):
    """One line of a recording."""

    observation: Observation
    decision: Decision


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The line of a recording with the settings that decided the ticks after it.

    ``continued``: the same supervisor wrote the ticks before, with other settings.
    """

    version: str
    settings: Settings
    continued: bool = False


class WorkerStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One worker as shown to users. ``cgroup`` is below the v2 mount, for those who sample it themselves.

    ``cpu`` is CPUs used over the last few seconds, ``share`` what that is of what it asked for (0
    to 1). ``jobs`` is how many it runs (None: unknown), ``job_age`` for how long the oldest has run
    (seconds). ``paused``: somebody has paused it; ``stuck``: it outlives being killed; ``restarts``:
    how often somebody started it again. ``image`` is the beginning of its image's id.
    """

    name: str
    id: str
    phase: Phase
    cpus: float
    memory_limit: int
    age: float | None = None
    cpu: float | None = None
    share: float | None = None
    memory: int | None = None
    fits: bool = True
    cgroup: str = ""
    jobs: int | None = None
    job_age: float | None = None
    paused: bool = False
    stuck: bool = False
    image: str = ""
    restarts: int = 0


class Work(msgspec.Struct, frozen=True):
    """What was finished and lost on this host ``since`` a Unix time.

    ``jobs_done`` ended by themselves, ``jobs_evicted`` were not allowed to finish. ``cpu_*`` are CPU seconds:
    all that the slice used, what the finished jobs used, and what the evicted ones had used.
    """

    since: float
    jobs_done: int = 0
    jobs_evicted: int = 0
    cpu_donated: float = 0.0
    cpu_done: float = 0.0
    cpu_lost: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """What became of one worker's jobs so far: how many, and their CPU seconds. ``withdrawn`` jobs
    were held or removed by their user or the pool."""

    done: int = 0
    evicted: int = 0
    withdrawn: int = 0
    cpu_done: float = 0.0
    cpu_lost: float = 0.0

    @property
    def jobs(self) -> int:
        """How many have ended."""
        return self.done + self.evicted + self.withdrawn

    @property
    def cpu(self) -> float:
        return self.cpu_done + self.cpu_lost


class Kept(msgspec.Struct, frozen=True):
    """What outlives the supervisor: the sums, and how much of each worker's report is in them, by
    its container's id: others may rename it."""

    work: Work
    counted: dict[str, Report] = {}


class Event(msgspec.Struct, frozen=True):
    """Something that happened: Unix time and one sentence."""

    time: float
    text: str


class Pause(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why workers are frozen, or are to be: the owner has asked for it (`plancton pause`), or a rule
    of the owner's holds. ``until`` is the Unix time at which it ends by itself (None: that is not
    known), ``frozen`` whether they are by now."""

    by: Literal["owner", "rule"]
    reason: str
    until: float | None = None
    frozen: bool = False


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """status.json: all that `plancton status` and `plancton top` show, without any secret.

    ``time`` is Unix time; ``mode`` one of donating, paused, draining, stopping. ``slice`` is the
    slice's path below the v2 mount. ``unprotected``: see Observation. ``unseen_disks`` are the
    directories that workers write to and that the supervisor can't look at. ``token_expires`` is
    the Unix time at which the token that the last worker got does.
    """

    version: str
    pid: int
    instance: str
    time: float
    mode: str
    sentence: str
    decision: str
    tier: Tier
    tier_reason: str
    slice: str
    capacity: float
    fit: int
    max_workers: int | None = None
    owner: float | None = None
    donated: float | None = None
    engine: float | None = None
    stolen: float | None = None
    idle: float | None = None
    room: float | None = None
    memory_total: int = 0
    memory_available: int | None = None
    memory_donated: int | None = None
    memory_ceiling: int | None = None
    image: str = ""
    image_id: str = ""
    docker: str = ""
    unprotected: str = ""
    unseen_disks: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    workers: tuple[WorkerStatus, ...] = ()
    events: tuple[Event, ...] = ()
    work: Work | None = None
    token_expires: float | None = None
    pause: Pause | None = None
    cap: Capped | None = None
