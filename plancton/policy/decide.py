"""Decides, once per tick, which workers come and go and why.

`decide` is pure: no clock, no file, no socket. Time is `Observation.time`. The rules:

- A worker *fits* while the room that the owner leaves, less all that the workers before it in the line
  may use, is worth at least `worthwhile` of its own CPUs (and the same for memory). `fit` counts those
  that do. Who has the most to lose is first in the line: the oldest job, then the oldest without one.
- Two windows remember the room. What has not fitted for two thirds of `grace_kill` leaves; what would
  have fitted for two thirds of `grace_spawn`, with some margin, is started.
- Memory can't be yielded by priority: when the owner's reserve is undercut, one worker leaves at once.
- So it is with the disk, one worker after the other. A worker whose output keeps the engine busy leaves.
- Nothing is decided on a window that is not covered: after a start, a suspend, a gap.
"""

import math
import zlib
from bisect import bisect_right

import msgspec

from plancton.model import (
    LEAST_SHARES,
    Action,
    Decision,
    Finish,
    Fleet,
    Kill,
    Leave,
    Observation,
    Phase,
    SetShares,
    Settings,
    Start,
    Worker,
    full_shares,
)
from plancton.policy.quota import adjust, total_quota
from plancton.policy.time_window import Span, TimeWindow
from plancton.units import human_seconds

LONG_ENOUGH = 2 / 3
"""Part of a window for which a thing must have held before anything is done about it."""
SMOOTHING = 10.0
"""Room is averaged over this many seconds, so that one busy tick is no news; at most a third of
grace_kill, so that an owner who stays for grace_kill always gets the CPU back within it."""
MARGIN = 0.2
"""More of its CPU must be free to start a worker than to keep one, so that the two don't alternate."""
FIRST_START = 10.0
"""The very first start waits this long instead of grace_spawn: someone is watching."""
SHORT_LIFE, SHORTEST_DELAY, LONGEST_DELAY = 60.0, 5.0, 1_800.0
"""A worker that ends by itself before SHORT_LIFE delays the next start, doubling between the two."""
IDLE_DELAY = 60.0
"""So does one that found no work, whatever its age, from this on: the pool is asked less and less often."""
SETTLED = 600.0
"""A worker retired younger than this was started too soon. From the second time on grace_spawn doubles, up
to LONGEST_DELAY: an owner who comes once gets the promised times, one who comes and goes is left alone."""
LEAST_LIFETIME = 0.9
"""Workers live this part of the configured lifetime at least, and as much over it at most."""
FLOODED = "flooded its output"
MEMORY_TIMEOUT = 3.0
"""How long a worker may take to leave when the owner needs its memory."""
SHARE_INTERVAL = 10.0
"""One update costs dockerd and runc 23 ms of CPU: each worker at most once in this time."""
MOST_WORKERS = 4096
"""No host has room for more; a bound for counting with tiny workers."""
DISK_WAIT = 30.0
"""The next worker leaves for the disk when the one before has had this long to take its files away."""
NO_IDLE = 0.5
"""With less idle CPU than this a leaver can't count on any and is lifted."""


class State(msgspec.Struct, frozen=True):
    """What `decide` remembers from tick to tick.

    ``kill`` and ``spawn`` are the two windows, ``recent`` the last rooms (end, seconds, CPUs, bytes)
    that are averaged: all in CLOCK_MONOTONIC seconds. ``failures`` counts workers in a row that ended
    at once or found no work (``idle``: the last one did), ``flaps`` how often in a row workers were
    retired soon after their start; when, is told in CLOCK_BOOTTIME seconds, as the workers' ages are.
    ``last_boottime`` is that of the last tick with known figures, ``last_short`` of the last one at which a
    worker was told to leave while the disk was short. ``limit``: see Decision.
    """

    kill: TimeWindow = TimeWindow(0.0)
    spawn: TimeWindow = TimeWindow(0.0)
    recent: tuple[tuple[float, float, float, float], ...] = ()
    last_boottime: float | None = None
    first: bool = True
    failures: int = 0
    last_failure: float = -math.inf
    failure: str = ""
    idle: bool = False
    flaps: int = 0
    last_flap: float = -math.inf
    last_short: float = -math.inf
    quota: float | None = None


class Room(msgspec.Struct, frozen=True):
    """What the owner leaves to workers: CPUs and bytes."""

    cpus: float
    memory: float


def decide(seen: Observation, state: State, settings: Settings) -> tuple[Decision, State]:
    """What to do at this tick, and what to remember."""
    state = _remember(seen, state, settings)
    room = _smoothed(state)
    fit = count_fit(seen, room, settings) if room else len(seen.fleet.line)
    held = _held(seen, state, settings)
    actions, reason = _retire(seen, state, settings, room, fit)
    if not seen.stopping:
        actions += _shares(seen, fit, actions) if room and not settings.uses_quota else []
        actions += [] if held else _starts(seen, state, settings, room)
    quota = total_quota(seen, state.quota, settings) if settings.uses_quota else None
    actions += _quotas(seen, quota, settings, actions)
    worth = fit
    if room and fit == len(seen.fleet.line):
        worth += startable(seen.fleet, seen.max_workers, room, settings)
    decision = Decision(
        fit=worth,
        sentence=reason or _sentence(seen, worth, held),
        room=room.cpus if room else None,
        quota=quota,
        held=held,
        actions=tuple(actions),
    )
    return decision, msgspec.structs.replace(_after(seen, state, settings, actions), quota=quota)


# ---------------------------------------------------------------- what fits


def room_now(seen: Observation, settings: Settings) -> Room | None:
    """What the owner left in the last interval; None while the kernel's figures don't say."""
    if seen.owner is None:
        return None
    cpus = seen.capacity - (seen.stolen or 0.0) - seen.owner - settings.reserve_cpus
    if seen.memory_available is None:
        return Room(cpus, math.inf)
    owners = max(0, seen.memory_total - seen.memory_available - (seen.slice_anon or 0))
    return Room(cpus, seen.memory_total - settings.reserve_memory - owners)


def count_fit(seen: Observation, room: Room, settings: Settings) -> int:
    """How many of the workers in line fit, oldest first.

    What a worker needs (all older ones' CPUs and its own worthwhile part) grows along the line, so
    the first that does not fit ends the count.
    """
    fleet = seen.fleet
    most = len(fleet.line) if seen.max_workers is None else min(seen.max_workers, len(fleet.line))
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        cpus, memory = _needs(fleet, middle, settings.worthwhile)
        if cpus <= room.cpus and memory <= room.memory:
            low = middle + 1
        else:
            high = middle
    return low


def _needs(fleet: Fleet, place: int, worthwhile: float) -> tuple[float, float]:
    """The room (CPUs, bytes) from which on the worker at this place in line fits."""
    worker = fleet.line[place]
    return (
        fleet.cpus_before[place] + worthwhile * worker.cpus,
        fleet.memory_before[place] + worthwhile * worker.memory,
    )


def needs_to_start(fleet: Fleet, more: int, settings: Settings) -> Room:
    """The room from which on ``more`` new workers may be started beside all that exist.

    Their memory is asked for whole: it is a promise, and taking it back costs a worker its job.
    """
    part = min(1.0, settings.worthwhile + MARGIN)
    return Room(
        fleet.present_cpus + (more - 1 + part) * settings.worker_cpus,
        fleet.present_memory + more * settings.worker_memory,
    )


def startable(fleet: Fleet, max_workers: int | None, room: Room, settings: Settings) -> int:
    """How many more workers the room is worth, beside all that exist."""
    most = MOST_WORKERS if max_workers is None else max_workers
    count = 0
    while len(fleet.workers) + count < most:
        needed = needs_to_start(fleet, count + 1, settings)
        if needed.cpus > room.cpus or needed.memory > room.memory:
            break
        count += 1
    return count


# ---------------------------------------------------------------- remembering


def _remember(seen: Observation, state: State, settings: Settings) -> State:
    """The state with this tick in its windows, and with what ended and what settled counted."""
    # CLOCK_MONOTONIC stands still in suspend, CLOCK_BOOTTIME does not.
    gap = state.last_boottime is None or seen.boottime - state.last_boottime > settings.gap
    spawn_length = _grace_spawn(state, settings)
    if gap:
        state = msgspec.structs.replace(
            state,
            kill=TimeWindow(settings.grace_kill),
            spawn=TimeWindow(spawn_length),
            recent=(),
            last_boottime=seen.boottime,
        )
    state = _forgive(seen, _count_failures(seen, state))
    room = room_now(seen, settings)
    if room is None or not seen.interval or gap:
        return state
    smoothing = min(SMOOTHING, settings.grace_kill / 3)
    recent = tuple(r for r in state.recent if r[0] > seen.time - smoothing)
    recent = (*recent, (seen.time, seen.interval, room.cpus, room.memory))
    calm = _average(recent)
    most = math.inf if seen.max_workers is None else float(seen.max_workers)
    span = Span(seen.time - seen.interval, seen.time, calm.cpus, calm.memory, most)
    spawn = state.spawn.add(span, spawn_length)
    return msgspec.structs.replace(
        state,
        kill=state.kill.add(span, settings.grace_kill),
        spawn=spawn,
        recent=recent,
        last_boottime=seen.boottime,
        first=state.first and not spawn.covered,
    )


def _average(recent: tuple[tuple[float, float, float, float], ...]) -> Room:
    seconds = sum(r[1] for r in recent)
    return Room(sum(r[1] * r[2] for r in recent) / seconds, sum(r[1] * r[3] for r in recent) / seconds)


def _smoothed(state: State) -> Room | None:
    return _average(state.recent) if state.recent else None


def _count_failures(seen: Observation, state: State) -> State:
    for ended in seen.ended:
        # Those started before the last failure was known tell nothing new.
        failed = ended.idle or ended.age < SHORT_LIFE
        if failed and seen.boottime - ended.age > state.last_failure:
            state = msgspec.structs.replace(
                state,
                failures=state.failures + 1,
                last_failure=seen.boottime,
                failure=f"{'found no work' if ended.idle else 'ended at once'} ({ended.reason})",
                idle=ended.idle,
            )
    return state


def _forgive(seen: Observation, state: State) -> State:
    """Forget failures once a worker started after them has lived long enough and got work, as far as that
    can be known; flaps once one has lived long enough."""
    if not state.failures and not state.flaps:
        return state
    failures, flaps = state.failures, state.flaps
    if _survived(seen.fleet.proven, seen, state.last_failure) >= SHORT_LIFE:
        failures = 0
    if _survived(seen.fleet.starts, seen, state.last_flap) >= SETTLED:
        flaps = 0
    return msgspec.structs.replace(state, failures=failures, flaps=flaps)


def _survived(starts: tuple[float, ...], seen: Observation, since: float) -> float:
    """The age of the oldest of those started after this time."""
    place = bisect_right(starts, since)
    return seen.boottime - starts[place] if place < len(starts) else 0.0


def _after(seen: Observation, state: State, settings: Settings, actions: list[Action]) -> State:
    """The state once these actions are under way."""
    by_name = {w.name: w for w in seen.fleet.workers} if actions else {}
    retired = [by_name[a.name] for a in actions if isinstance(a, Leave)] if not seen.stopping else []
    if retired and _short_of_disk(seen, settings):
        state = msgspec.structs.replace(state, last_short=seen.boottime)
    if any(w.flooding for w in retired):
        state = msgspec.structs.replace(
            state, failures=state.failures + 1, last_failure=seen.boottime, failure=FLOODED, idle=False
        )
    settled = {w.name for w in retired if w.flooding or w.phase is Phase.FINISHING}
    young = [w for w in retired if w.name not in settled and _age(w, seen) < SETTLED]
    # Those started before the last flap leave for the same reason as the one that made it.
    if any(seen.boottime - _age(w, seen) > state.last_flap for w in young):
        state = msgspec.structs.replace(state, flaps=state.flaps + 1, last_flap=seen.boottime)
    if any(isinstance(a, Start) for a in actions):
        state = msgspec.structs.replace(state, first=False)
    return state


def _age(worker: Worker, seen: Observation) -> float:
    return 0.0 if worker.started is None else max(0.0, seen.boottime - worker.started)


def _grace_spawn(state: State, settings: Settings) -> float:
    """grace_spawn, doubled each time again that workers had to leave soon after their start."""
    longest = max(settings.grace_spawn, LONGEST_DELAY)
    return float(min(longest, settings.grace_spawn * 2 ** min(max(0, state.flaps - 1), 30)))


def _delay(state: State) -> float:
    """How long to wait after the last failure (seconds)."""
    shortest = IDLE_DELAY if state.idle else SHORTEST_DELAY
    return min(LONGEST_DELAY, shortest * 2 ** min(state.failures - 1, 30)) if state.failures else 0.0


# ---------------------------------------------------------------- going


def _retire(
    seen: Observation, state: State, settings: Settings, room: Room | None, fit: int
) -> tuple[list[Action], str]:
    """Who goes now, and the sentence that says why (empty when nobody does)."""
    if seen.stopping:
        actions = _leave_all(seen, settings, "Plancton stops")
    else:
        actions = _do_not_fit(seen, state, settings, fit) if room else []
        actions += _out_of_memory(seen, settings, actions)
        actions += _out_of_disk(seen, state, settings, actions)
        actions += _floods(seen, settings, actions)
        actions += _done(seen, settings, actions)
    actions += _overdue(seen, settings, actions)
    told = [a for a in actions if isinstance(a, Leave | Finish | Kill)]
    if not told:
        return actions, ""
    verb = {Leave: "retiring", Finish: "finishing", Kill: "killing"}[type(told[0])]
    names = told[0].name if len(told) == 1 else f"{len(told)} workers"
    return actions, f"{verb} {names}: {told[0].reason}"


def _leave_all(seen: Observation, settings: Settings, reason: str) -> list[Action]:
    return [_leave(w, seen, settings.leave_timeout, reason) for w in seen.fleet.line if not w.busy]


def _leave(worker: Worker, seen: Observation, timeout: float, reason: str) -> Leave:
    return Leave(worker.name, reason, timeout, lift=seen.idle is None or seen.idle < NO_IDLE)


def _do_not_fit(seen: Observation, state: State, settings: Settings, fit: int) -> list[Action]:
    """From the end of the line, those that do not fit and have not for long enough."""
    fleet, actions = seen.fleet, list[Action]()
    if fit == len(fleet.line) or not state.kill.covered:
        return actions
    for place in range(len(fleet.line) - 1, fit - 1, -1):
        cpus, memory = _needs(fleet, place, settings.worthwhile)
        part = state.kill.part(
            lambda s, n=place, c=cpus, m=memory: s.room < c or s.memory_room < m or n >= s.max_workers  # type: ignore[misc]
        )
        if part < LONG_ENOUGH:
            break  # what those before it need is less
        if not fleet.line[place].busy:
            reason = f"has not fitted for {part * settings.grace_kill:.0f} s, {_owner(seen)}"
            actions.append(_leave(fleet.line[place], seen, settings.leave_timeout, reason))
    return actions


def _out_of_memory(seen: Observation, settings: Settings, others: list[Action]) -> list[Action]:
    """The last in line, when the owner's reserve is undercut and nobody is on the way out for it yet."""
    if seen.memory_available is None or seen.memory_available >= settings.reserve_memory:
        return []
    leaving = any(
        w.phase is Phase.KILLED
        or (w.phase is Phase.LEAVING and (w.deadline or 0.0) <= seen.time + MEMORY_TIMEOUT)
        for w in seen.fleet.workers
    )
    going = {a.name for a in others if isinstance(a, Leave)}
    line = [w for w in seen.fleet.line if not w.busy and w.name not in going]
    if leaving or going or not line:
        return []
    have, want = seen.memory_available / 1e9, settings.reserve_memory / 1e9
    reason = f"the owner needs the memory: {have:.1f} GB are available, {want:.1f} GB reserved"
    return [_leave(line[-1], seen, MEMORY_TIMEOUT, reason)]


def _short_of_disk(seen: Observation, settings: Settings) -> bool:
    return seen.disk_free is not None and seen.disk_free < settings.reserve_disk


def _out_of_disk(seen: Observation, state: State, settings: Settings, others: list[Action]) -> list[Action]:
    """The last in line, when the disk's reserve is undercut and nobody has left for it just now."""
    line = [w for w in seen.fleet.line if not w.busy]
    waits = seen.boottime - state.last_short < DISK_WAIT or any(isinstance(a, Leave) for a in others)
    if not _short_of_disk(seen, settings) or waits or not line:
        return []
    return [_leave(line[-1], seen, settings.leave_timeout, _disk(seen, settings))]


def _disk(seen: Observation, settings: Settings) -> str:
    free, reserved = (seen.disk_free or 0) / 1e9, settings.reserve_disk / 1e9
    return f"only {free:.1f} GB of disk are free, {reserved:.1f} GB are reserved"


def _floods(seen: Observation, settings: Settings, others: list[Action]) -> list[Action]:
    going = {a.name for a in others if isinstance(a, Leave)}
    reason = "its output keeps Docker busy, at the owner's cost"
    return [
        _leave(w, seen, settings.leave_timeout, reason)
        for w in seen.fleet.flooding
        if not w.busy and w.name not in going
    ]


def _done(seen: Observation, settings: Settings, others: list[Action]) -> list[Action]:
    """Those to finish: all when asked for, those past their lifetime, one that is outdated."""
    fleet, actions = seen.fleet, list[Action]()
    going = {a.name for a in others if isinstance(a, Leave)}
    changing = fleet.finishing or len(fleet.running) < fleet.active  # one of the new kind is starting
    all_ages = seen.finish or any(_outdated(*made, seen) for made in fleet.kinds)
    for worker in fleet.running:
        if not all_ages and _age(worker, seen) < LEAST_LIFETIME * settings.lifetime:
            break  # the others are younger
        reason, newer = "", _outdated(worker.image, worker.digest, seen)
        if worker.busy or worker.name in going:
            continue
        if seen.finish:
            reason = "draining"
        elif _age(worker, seen) >= lifetime(worker, settings):
            reason = f"its lifetime of {human_seconds(settings.lifetime)} is over"
        elif newer and not changing:
            reason, changing = newer, True
        if reason:
            actions.append(Finish(worker.name, reason, settings.finish_timeout))
    return actions


def lifetime(worker: Worker, settings: Settings) -> float:
    """Seconds that this worker may live: the configured lifetime × (0.9 … 1.1), by its name, so that
    workers started together don't end together."""
    spread = (zlib.crc32(worker.name.encode()) % 1000) / 999
    return settings.lifetime * (LEAST_LIFETIME + 2 * (1 - LEAST_LIFETIME) * spread)


def _outdated(image: str, digest: str, seen: Observation) -> str:
    if seen.image and image != seen.image:
        return "there is a newer image"
    return "the configuration has changed" if seen.digest and digest != seen.digest else ""


def _overdue(seen: Observation, settings: Settings, others: list[Action]) -> list[Action]:
    """What was told to go and has not gone in time: finishing becomes leaving, leaving becomes a kill."""
    actions = list[Action]()
    if seen.time < seen.fleet.next_deadline:
        return actions
    going = {a.name for a in others if isinstance(a, Leave)}
    for worker in seen.fleet.workers:
        if worker.deadline is None or seen.time < worker.deadline or worker.name in going:
            continue
        if worker.phase is Phase.FINISHING and not worker.busy:
            actions.append(_leave(worker, seen, settings.leave_timeout, "did not finish in time"))
        elif worker.phase in (Phase.LEAVING, Phase.KILLED):
            actions.append(
                Kill(worker.name, "did not leave in time", seen.idle is None or seen.idle < NO_IDLE)
            )
    return actions


# ---------------------------------------------------------------- sharing and starting


def _shares(seen: Observation, fit: int, others: list[Action]) -> list[Action]:
    """Full shares for those that fit, the least for the rest, so that the scarce CPU finishes jobs."""
    if seen.fleet.shares_fit == fit:
        return []
    going = {a.name for a in others if isinstance(a, Leave | Finish | Kill)}
    actions = list[Action]()
    for place, worker in enumerate(seen.fleet.line):
        wanted = full_shares(worker.cpus) if place < fit else LEAST_SHARES
        recent = worker.shares_time is not None and seen.time - worker.shares_time < SHARE_INTERVAL
        idle = worker.phase is not Phase.STARTING and not worker.busy and worker.name not in going
        if worker.shares != wanted and idle and not recent:
            reason = "fits" if place < fit else f"does not fit, {_owner(seen)}"
            actions.append(SetShares(worker.name, wanted, reason))
    return actions


def _quotas(seen: Observation, quota: float | None, settings: Settings, others: list[Action]) -> list[Action]:
    """Where no slice yields for the workers: what Docker is to let each of them have."""
    if quota is None and (settings.uses_quota or not seen.fleet.limited):
        return []
    going = {a.name for a in others if isinstance(a, Leave | Finish | Kill)}
    unable = going | {w.name for w in seen.fleet.workers if w.busy or w.phase is Phase.STARTING}
    return [a for a in adjust(seen.fleet, quota) if a.name not in unable]


def _held(seen: Observation, state: State, settings: Settings) -> str:
    """Why nothing may be started, whatever the room; empty when nothing holds it."""
    if seen.stopping:
        return "Plancton stops"
    if seen.draining or seen.finish:
        return "draining: nothing new is started"
    if not seen.docker:
        return "Docker does not answer"
    if not seen.image:
        return "there is no image to start workers from"
    if _short_of_disk(seen, settings):
        return _disk(seen, settings)
    if seen.max_workers is not None and len(seen.fleet.workers) >= seen.max_workers:
        return f"pool.max_workers is {seen.max_workers}"
    wait = state.last_failure + _delay(state) - seen.boottime
    what = f"the last worker {state.failure}"
    if state.failures and wait > 0:
        return f"backing off for {_about(wait)}: {what}"
    if state.failures and (seen.unexplained or _on_trial(seen.fleet, state)):
        return f"one worker is tried before any other starts: {what}"
    wait = state.last_flap + _grace_spawn(state, settings) - seen.boottime
    if state.flaps and wait > 0:
        return f"backing off for {_about(wait)}: a worker had to leave soon after its start"
    return ""


def _on_trial(fleet: Fleet, state: State) -> bool:
    """Whether one is there that may yet show that what made the last one fail is over."""
    return fleet.active > len(fleet.running) or fleet.starts[-1:] > (state.last_failure,)


def _starts(seen: Observation, state: State, settings: Settings, room: Room | None) -> list[Action]:
    """New workers for the room that has been there for long enough, and still is."""
    ready = state.spawn.covered or (state.first and state.spawn.covers(FIRST_START))
    present = len(seen.fleet.workers)
    most = 1 if state.failures else settings.spawn_per_tick
    if seen.max_workers is not None:
        most = min(most, seen.max_workers - present)
    count = 0
    while room and ready and count < most:
        needed = needs_to_start(seen.fleet, count + 1, settings)
        if needed.cpus > room.cpus or needed.memory > room.memory:
            break
        part = state.spawn.part(lambda s, n=needed: s.room >= n.cpus and s.memory_room >= n.memory)  # type: ignore[misc]
        if part < LONG_ENOUGH:
            break
        count += 1
    free = room.cpus - seen.fleet.present_cpus if room else 0.0
    return [Start(f"{free:.1f} CPUs are free for workers, {_owner(seen)}") for _ in range(count)]


# ---------------------------------------------------------------- words


def _owner(seen: Observation) -> str:
    used = "an unknown part" if seen.owner is None else f"{seen.owner:.1f}"
    return f"the owner uses {used} of {seen.capacity:g} CPUs"


def _about(seconds: float) -> str:
    """Rounded up, so that what is said does not change every second."""
    return human_seconds(math.ceil(seconds / 10) * 10 if seconds > 10 else math.ceil(seconds))


def _sentence(seen: Observation, fit: int, held: str) -> str:
    line = len(seen.fleet.line)
    fits = f"{line} worker{'' if line == 1 else 's'}, {fit} fit"
    return f"{fits}, {_owner(seen)}" + (f"; {held}" if held else "")
