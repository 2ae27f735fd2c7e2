"""Decides, once per tick, which workers come and go and why.

`decide` is pure: no clock, no file, no socket. Time is `Observation.time`. The rules:

- A worker *fits* while the room that the owner leaves, less all that the workers before it in line
  may use, is worth at least `worthwhile` of its own CPUs (and the same for memory): fit.py. The one
  with the most to lose is first in line: the oldest job, then the oldest worker without one.
- Windows remember the room. What has not fitted for two thirds of its patience leaves: of
  `grace_kill`, or as long as its jobs have worked (patience.py). What would have fitted for two
  thirds of `grace_spawn`, with some margin, is started.
- Memory can't be yielded by priority: when the owner's reserve is undercut, one worker leaves at
  once. So it is with the disk, one worker after the other, and who fills it is ended at once:
  disk.py. Nothing is started meanwhile.
- A worker that keeps the engine or the kernel busy leaves: burden.py. All leave where the limit of
  their CPU is all that protects the owner, and is not kept: unheeded.py.
- While the owner has paused them workers are frozen, and who rules that they leave is obeyed at
  once: owner_rules.py.
- Nothing is decided on a window that is not covered: after a start, a suspend, a gap. While the
  owner's load is unknown, only what does not depend on it goes on.
- Who has lost its job while the host was suspended leaves: suspend.py.
- After failures and flaps the next start waits: start_delay.py.

Each rule yields the actions it wants, in order of priority; `arbitrate` keeps one per worker.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from plancton.model import (
    LEAST_SHARES,
    Action,
    Decision,
    Ended,
    Finish,
    Fleet,
    Freeze,
    Held,
    HeldReason,
    Kill,
    Leave,
    Observation,
    Phase,
    SetShares,
    Settings,
    Start,
    Thaw,
    Worker,
    Writer,
    full_shares,
)
from plancton.policy.burden import Suspicion
from plancton.policy.contention import NO_CONTENTION, Contention
from plancton.policy.cpu_cap import UNCAPPED, CpuCap, is_held_by_slice
from plancton.policy.disk import (
    DiskTrouble,
    disk_shortage,
    fastest_writer,
    is_short_of_disk,
    largest_writer,
    parts_left,
    promise,
    too_little_to_promise,
)
from plancton.policy.fit import Room, count_fit, needs_to_start, needs_to_stay, room_now, startable
from plancton.policy.owner_rules import Standing, with_one_freezer
from plancton.policy.patience import has_not_fitted, longest_patience
from plancton.policy.quota import adjust, total_quota
from plancton.policy.start_delay import StartDelay
from plancton.policy.suspend import AWAKE, Suspend
from plancton.policy.time_window import LONG_ENOUGH, Span, TimeWindow
from plancton.policy.unheeded import HEEDED, Unheeded
from plancton.units import human_bytes, human_seconds

SMOOTHING = 10.0
"""Room is averaged over this many seconds, so that one busy tick is no news; at most a third of
grace_kill, so that an owner who stays for grace_kill always gets the CPU back within it."""
LEAST_LIFETIME = 0.9
"""Workers live for at least this part of the configured lifetime, and at most as much longer."""
SETTLING = 5.0
"""An image and a configuration are in force for this long before a worker of others must finish:
what is taken back within it costs nobody a job."""
MEMORY_TIMEOUT = 3.0
"""How long a worker may take to leave when the owner needs its memory."""
DYING = 5.0
"""One that was killed longer ago than this can't be counted on to give its memory back."""
SHARE_INTERVAL = 10.0
"""One update costs dockerd and runc 23 ms of CPU: each worker at most once in this time."""
SUSPENDED = 5.0
"""Seconds in suspend that make what was known before worthless."""
WORTH_A_WORD = 0.1
"""CPUs that the hypervisor takes from this host: from here on the reason says so."""
NO_IDLE = 0.5
"""With less idle CPU than this a leaver can't count on any and is lifted."""


class State(msgspec.Struct, frozen=True):
    """What `decide` remembers from tick to tick.

    ``kill``, ``long`` (of the longest patience) and ``spawn`` are the windows behind leaving and
    starting, ``recent`` is the one over which room is averaged: CLOCK_MONOTONIC seconds.
    ``last_boottime`` is the CLOCK_BOOTTIME of the last tick with known figures, ``last_suspended``
    how long the host had been suspended by then. ``first``: nothing has been started yet.
    ``quota``: see Decision; ``contention``: whether it is for an owner who waits. ``kind``: the
    image and the configuration in force, since ``kind_since``.
    """

    kill: TimeWindow = TimeWindow(0.0)
    long: TimeWindow = TimeWindow(0.0)
    spawn: TimeWindow = TimeWindow(0.0)
    recent: TimeWindow = TimeWindow(0.0)
    last_boottime: float | None = None
    last_suspended: float = 0.0
    first: bool = True
    delay: StartDelay = StartDelay()
    disk: DiskTrouble = DiskTrouble()
    suspicion: Suspicion = Suspicion()
    quota: float | None = None
    contention: Contention = NO_CONTENTION
    unheeded: Unheeded = HEEDED
    kind: tuple[str, str] = "", ""
    kind_since: float = 0.0
    standing: Standing = Standing()
    cap: CpuCap = UNCAPPED
    suspend: Suspend = AWAKE

    @property
    def room(self) -> Room | None:
        """The averaged room; None while it is not known."""
        span = self.recent.average
        return None if span is None else Room(span.room, span.memory_room)


class Case(NamedTuple):
    """All that a rule goes by. ``fit`` counts the workers in line that fit; ``quota``: see Decision."""

    seen: Observation
    state: State
    settings: Settings
    room: Room | None
    fit: int
    held: Held | None
    quota: float | None


def decide(seen: Observation, state: State, settings: Settings) -> tuple[Decision, State]:
    """What to do at this tick, and what to remember."""
    state = remember(seen, state, settings)
    room, fleet = state.room, seen.fleet
    fit = count_fit(fleet, seen.max_workers, room, settings) if room else len(fleet.line)
    quota = _quota(seen, state, settings)
    case = Case(seen, state, settings, room, fit, why_held(seen, state, settings), quota)
    wanted = arbitrate((action for rule in _rules(case) for action in rule(case)), fleet)
    after = under_way(case, wanted)
    actions = with_one_freezer(wanted, state.standing, after.disk.is_frozen, seen)
    worth = fit
    if room and fit == len(fleet.line):
        worth += startable(fleet, seen.max_workers, room, settings)
    sentence = _what_happens(actions) or _how_it_is(case, worth)
    paused = "" if seen.stopping else state.standing.words or state.standing.sends_away
    decision = Decision(
        worth, sentence, room.cpus if room else None, quota, case.held, actions, paused, state.cap.in_force
    )
    return decision, after


def _quota(seen: Observation, state: State, settings: Settings) -> float | None:
    """The owner's cap comes by this where the slice can't hold it."""
    limited = settings.uses_quota or state.contention.capped
    quota = total_quota(seen, state.quota, settings) if limited else None
    cap = state.cap.cpus
    if cap is None or (quota is None and is_held_by_slice(cap, seen.fleet, settings)):
        return quota
    return cap if quota is None else min(quota, cap)


def _rules(case: Case) -> "tuple[Rule, ...]":
    if case.seen.stopping:
        return STOPPING_RULES
    if case.state.standing.is_paused:
        return PAUSED_RULES
    return UNKNOWN_RULES if case.seen.owner is None else RULES


def arbitrate(actions: Iterable[Action], fleet: Fleet) -> tuple[Action, ...]:
    """The first action for each worker; starts, freezing and thawing are for none.

    This keeps the invariant that a worker has at most one outstanding action: a worker on which one is under
    way (`Worker.busy`) gets no other until that is done. Only a kill does not wait for anything.
    """
    kept, taken = list[Action](), set[str]()
    for action in actions:
        if not isinstance(action, Start | Freeze | Thaw):
            if action.name in taken or (action.name in fleet.busy and not isinstance(action, Kill)):
                continue
            taken.add(action.name)
        kept.append(action)
    return tuple(kept)


# ---------------------------------------------------------------- remembering


def remember(seen: Observation, state: State, settings: Settings) -> State:
    """The state with this tick in its windows, and with what ended and what settled counted."""
    gap = _has_missed_something(seen, state, settings)
    if seconds := slept(seen, state):
        suspend = state.suspend.after(state.last_boottime or 0.0, seconds, seen, settings)
        state = msgspec.structs.replace(state, suspend=suspend)
    grace_spawn = state.delay.grace_spawn(settings)
    if gap:
        state = _without_past(seen, state, settings, grace_spawn)
    state = _counted(seen, _heard(seen, state, settings), settings)
    room = room_now(seen, settings, state.cap.cpus)
    if room is None or not seen.interval or gap:
        return state
    most = math.inf if seen.max_workers is None else float(seen.max_workers)
    now = Span(seen.time - seen.interval, seen.time, room.cpus, room.memory, most)
    recent = state.recent.add(now, _smoothing(settings))
    calm = recent.average or now
    calm = calm._replace(start=now.start, max_workers=most)
    spawn = state.spawn.add(calm, grace_spawn)
    return msgspec.structs.replace(
        state,
        kill=state.kill.add(calm, settings.grace_kill),
        long=state.long.add(calm, longest_patience(settings)),
        spawn=spawn,
        recent=recent,
        last_boottime=seen.boottime,
        last_suspended=seen.boottime - seen.time,
        first=state.first and not spawn.covered,
    )


def _smoothing(settings: Settings) -> float:
    return min(SMOOTHING, settings.grace_kill / 3)


def _without_past(seen: Observation, state: State, settings: Settings, grace_spawn: float) -> State:
    """The state with empty windows."""
    return msgspec.structs.replace(
        state,
        kill=TimeWindow(settings.grace_kill),
        long=TimeWindow(longest_patience(settings)),
        spawn=TimeWindow(grace_spawn),
        recent=TimeWindow(_smoothing(settings)),
        last_boottime=seen.boottime,
        last_suspended=seen.boottime - seen.time,
    )


def _counted(seen: Observation, state: State, settings: Settings) -> State:
    """The state with what ended counted, and with what is noticed of the owner and of limits."""
    ends = tuple(e for e in seen.ended if not (e.idle and _could_not_work(e, seen, state)))
    delay = state.delay.after_ends(seen, ends).forgiven(seen)
    contention = state.contention.after(seen) if settings.caps_waiting else NO_CONTENTION
    unheeded = state.unheeded.after(seen, state.quota) if settings.quota_alone else HEEDED
    before = state.delay, state.contention, state.unheeded
    if any(one is not other for one, other in zip((delay, contention, unheeded), before, strict=True)):
        state = msgspec.structs.replace(state, delay=delay, contention=contention, unheeded=unheeded)
    if state.kind != (seen.image, seen.digest):
        state = msgspec.structs.replace(state, kind=(seen.image, seen.digest), kind_since=seen.time)
    return state


def _heard(seen: Observation, state: State, settings: Settings) -> State:
    """The state with what the owner asks for. Who was paused must not leave for the time of it."""
    standing, cap = state.standing.after(seen, settings), state.cap.after(seen, settings)
    if standing is state.standing and cap is state.cap:
        return state
    if state.standing.is_paused and not standing.is_paused:
        kill, long = TimeWindow(settings.grace_kill), TimeWindow(longest_patience(settings))
        state = msgspec.structs.replace(state, kill=kill, long=long)
    return msgspec.structs.replace(state, standing=standing, cap=cap)


def _could_not_work(ended: Ended, seen: Observation, state: State) -> bool:
    return state.standing.was_frozen(ended, seen) or state.suspend.was_asleep(ended, seen)


def _has_missed_something(seen: Observation, state: State, settings: Settings) -> bool:
    """CLOCK_MONOTONIC stands still while the host is suspended, CLOCK_BOOTTIME does not."""
    if state.last_boottime is None or seen.boottime - state.last_boottime > settings.gap:
        return True
    return slept(seen, state) > 0


def slept(seen: Observation, state: State) -> float:
    """Seconds for which the host was suspended since the tick before; 0: it was not, or for a moment only."""
    seconds = 0.0 if state.last_boottime is None else seen.boottime - seen.time - state.last_suspended
    return seconds if seconds > SUSPENDED else 0.0


def under_way(case: Case, actions: tuple[Action, ...]) -> State:
    """The state once these actions are under way."""
    seen, state = case.seen, case.state
    if actions and not seen.stopping:
        told = {a.name for a in actions if isinstance(a, Leave)}
        leavers = [w for w in seen.fleet.workers if w.name in told]
        delay = state.delay.after_leaving(seen, leavers)
        if any(isinstance(a, Kill) and a.at_once for a in actions):
            delay = delay.after_filling_the_disk(seen)
        state = msgspec.structs.replace(
            state, delay=delay, first=state.first and not any(isinstance(a, Start) for a in actions)
        )
    suspicion = state.suspicion.after(seen)
    if seen.burden and suspicion.is_due(seen) and any(isinstance(a, Leave) for a in actions):
        suspicion = suspicion.with_one_left(seen)
    if suspicion != state.suspicion:
        state = msgspec.structs.replace(state, suspicion=suspicion)
    if actions or state.disk != DiskTrouble():
        state = msgspec.structs.replace(state, disk=state.disk.after(actions, seen, case.settings))
    return state if state.quota == case.quota else msgspec.structs.replace(state, quota=case.quota)


# ---------------------------------------------------------------- the rules: who goes


def leave_all(case: Case) -> Iterator[Action]:
    for worker in case.seen.fleet.line:
        yield leave(worker, case, case.settings.leave_timeout, "Plancton stops")


def leave(worker: Worker, case: Case, timeout: float, reason: str) -> Leave:
    lift = _nothing_is_idle(case.seen) or case.state.standing.is_paused  # the others stay frozen then
    return Leave(worker.name, reason, timeout, lift)


def _nothing_is_idle(seen: Observation) -> bool:
    return seen.idle is None or seen.idle < NO_IDLE


def owner_sends_away(case: Case) -> Iterator[Action]:
    """All, when a rule of the owner's says so or a pause lasts too long."""
    for worker in reversed(case.seen.fleet.line):
        if not (why := case.state.standing.why_leave(worker, case.seen, case.settings)):
            return  # those before it have more to lose
        yield leave(worker, case, case.settings.leave_timeout, why)


def lost_in_suspend(case: Case) -> Iterator[Action]:
    """Those whose jobs run elsewhere by now."""
    suspend, fleet = case.state.suspend, case.seen.fleet
    for worker in fleet.line if fleet.oldest_job < suspend.lost else ():
        if suspend.has_lost(worker):
            yield leave(worker, case, case.settings.leave_timeout, suspend.words)


def do_not_fit(case: Case) -> Iterator[Action]:
    """From the end of the line, those that do not fit and have not for long enough."""
    fleet, state, settings = case.seen.fleet, case.state, case.settings
    if case.room is None or case.fit == len(fleet.line) or not state.kill.covered:
        return
    for place in range(len(fleet.line) - 1, case.fit - 1, -1):
        waited = has_not_fitted(fleet, place, state.kill, state.long, settings)
        if waited is None:
            return  # those before it need less, and have more to lose
        reason = f"has not fitted for {waited:.0f} s, {_why_unfit(case, place)}"
        yield leave(fleet.line[place], case, settings.leave_timeout, reason)


def out_of_memory(case: Case) -> Iterator[Action]:
    """The last in line, when the owner's reserve is undercut and nobody is on the way out for it
    yet, or is about to go because it hoards memory."""
    seen = case.seen
    if not is_short_of_memory(seen, case.settings):
        return
    soon = seen.time + MEMORY_TIMEOUT
    if any(_dies(w, seen) or _leaves_by(w, soon) for w in seen.fleet.workers):
        return
    if any(w.hoards and not w.busy for w in seen.fleet.flooding):
        return
    if worker := _last_in_line(seen.fleet):
        yield leave(worker, case, MEMORY_TIMEOUT, _memory(seen, case.settings))


def is_short_of_memory(seen: Observation, settings: Settings) -> bool:
    return seen.memory_available is not None and seen.memory_available < settings.reserve_memory


def _memory(seen: Observation, settings: Settings) -> str:
    have, want = human_bytes(seen.memory_available or 0), human_bytes(settings.reserve_memory)
    return f"the owner needs the memory: {have} are available, {want} reserved"


def _dies(worker: Worker, seen: Observation) -> bool:
    return worker.phase is Phase.KILLED and seen.time - (worker.told or 0.0) < DYING


def _somebody_dies(seen: Observation) -> bool:
    return any(_dies(worker, seen) for worker in seen.fleet.workers)


def _leaves_by(worker: Worker, deadline: float) -> bool:
    return worker.phase is Phase.LEAVING and (worker.deadline or 0.0) <= deadline


def _last_in_line(fleet: Fleet) -> Worker | None:
    """The one with the least to lose of those that can be told anything."""
    return next((w for w in reversed(fleet.line) if not w.busy), None)


def who_fills_the_disk(case: Case) -> Iterator[Action]:
    """Below the disk's reserve nobody writes until the one that wrote most is ended."""
    seen, trouble, found = case.seen, case.state.disk, _fills_the_disk(case)
    short = is_short_of_disk(seen, case.settings)
    if trouble.is_frozen:
        over = found is None and trouble.is_over(seen, _somebody_dies(seen))
        if over or not short or _must_run(case):
            yield Thaw("who wrote most is gone" if trouble.caught else "nothing more is found out meanwhile")
    if found:
        reason = f"it fills the disk: {disk_shortage(seen, case.settings)}"
        yield Kill(found.name, reason, lift=_nothing_is_idle(seen), at_once=True)
    if _freezes(case):
        yield Freeze(disk_shortage(seen, case.settings))


def _fills_the_disk(case: Case) -> Writer | None:
    seen, settings = case.seen, case.settings
    looks = is_short_of_disk(seen, settings) and case.state.disk.looks_for_writer(seen, settings)
    return fastest_writer(seen, settings) if looks else None


def _freezes(case: Case) -> bool:
    trouble = case.state.disk
    short = is_short_of_disk(case.seen, case.settings) and case.seen.fleet.line != ()
    looks = not trouble.is_frozen and trouble.looks_for_writer(case.seen, case.settings)
    return short and looks and not _must_run(case)


def _must_run(case: Case) -> bool:
    """Whether workers must be able to leave: the owner's memory comes first."""
    return case.seen.stopping or is_short_of_memory(case.seen, case.settings)


def out_of_disk(case: Case) -> Iterator[Action]:
    """Whose files are largest, or the last in line, when the disk's reserve is undercut and nobody
    has gone for it just now."""
    seen, settings, trouble = case.seen, case.settings, case.state.disk
    if not is_short_of_disk(seen, settings) or trouble.waits(seen) or not trouble.is_over(seen, dying=False):
        return
    if _freezes(case) or _fills_the_disk(case):
        return
    large = largest_writer(seen)
    found = next((w for w in seen.fleet.line if large and w.name == large.name and not w.busy), None)
    if worker := found or _last_in_line(seen.fleet):
        yield leave(worker, case, settings.leave_timeout, disk_shortage(seen, settings))


def limit_is_not_kept(case: Case) -> Iterator[Action]:
    """All, where nothing else protects the owner."""
    if case.state.unheeded.until is not None:
        for worker in case.seen.fleet.line:
            yield leave(worker, case, case.settings.leave_timeout, case.state.unheeded.words)


def flood(case: Case) -> Iterator[Action]:
    for worker in case.seen.fleet.flooding:
        timeout = MEMORY_TIMEOUT if worker.hoards else case.settings.leave_timeout
        yield leave(worker, case, timeout, worker.flooding)


def suspected(case: Case) -> Iterator[Action]:
    """The last in line, when Docker stays busy and nobody is found to be the cause."""
    seen = case.seen
    if seen.burden and case.state.suspicion.is_due(seen) and (worker := _last_in_line(seen.fleet)):
        reason = f"{seen.burden}, and no worker is found that makes it: it may be the last one"
        yield leave(worker, case, case.settings.leave_timeout, reason)


def finish(case: Case) -> Iterator[Action]:
    """All when that is asked for, those past their lifetime or their token's, one of the outdated."""
    seen, fleet, settings = case.seen, case.seen.fleet, case.settings
    settled = seen.time >= case.state.kind_since + SETTLING
    starting = len(fleet.running) < fleet.active  # one of the new kind
    changing = fleet.finishing or starting or not settled
    over = seen.boottime >= fleet.next_until
    all_ages = seen.finish or over or any(_outdated(*kind, seen) for kind in fleet.kinds)
    for worker in fleet.running:
        age = worker.age(seen.boottime)
        if not all_ages and age < LEAST_LIFETIME * settings.lifetime:
            return  # the others are younger
        newer = _outdated(worker.image, worker.digest, seen)
        if seen.finish:
            yield Finish(worker.name, "draining", settings.finish_timeout)
        elif age >= lifetime(worker, settings):
            reason = f"its lifetime of {human_seconds(settings.lifetime)} is over"
            yield Finish(worker.name, reason, settings.finish_timeout)
        elif worker.until is not None and seen.boottime >= worker.until:
            yield Finish(worker.name, "its token ends soon", settings.finish_timeout)
        elif newer and not changing and not worker.busy:
            changing = True
            yield Finish(worker.name, newer, settings.finish_timeout)


def lifetime(worker: Worker, settings: Settings) -> float:
    """Seconds that this worker may live: the configured lifetime × (0.9 … 1.1), by its name, so
    that workers started together don't end together."""
    spread = (zlib.crc32(worker.name.encode()) % 1000) / 999
    return settings.lifetime * (LEAST_LIFETIME + 2 * (1 - LEAST_LIFETIME) * spread)


def _outdated(image: str, digest: str, seen: Observation) -> str:
    if seen.image and image != seen.image:
        return "there is a newer image"
    return "the configuration has changed" if seen.digest and digest != seen.digest else ""


def overdue(case: Case) -> Iterator[Action]:
    """What has not gone in time: finishing becomes leaving, leaving becomes a kill."""
    seen = case.seen
    if seen.time < seen.fleet.next_deadline:
        return
    for worker in seen.fleet.workers:
        if worker.deadline is None or seen.time < worker.deadline:
            continue
        if worker.phase is Phase.FINISHING and not seen.frozen:
            yield leave(worker, case, case.settings.leave_timeout, "did not finish in time")
        elif worker.phase in (Phase.LEAVING, Phase.KILLED):
            yield Kill(worker.name, "did not leave in time", lift=_nothing_is_idle(seen))


# ---------------------------------------------------------------- the rules: who gets what, who comes


def share(case: Case) -> Iterator[Action]:
    """Full shares for those that fit, the least for the rest, so that the scarce CPU finishes jobs."""
    seen, fit = case.seen, case.fit
    if case.room is None or case.settings.uses_quota or seen.fleet.shares_fit == fit:
        return
    for place, worker in enumerate(seen.fleet.line):
        wanted = full_shares(worker.cpus) if place < fit else LEAST_SHARES
        recent = worker.shares_time is not None and seen.time - worker.shares_time < SHARE_INTERVAL
        if worker.shares != wanted and worker.phase is not Phase.STARTING and not recent:
            reason = "fits" if place < fit else f"does not fit, {_why_unfit(case, place)}"
            yield SetShares(worker.name, wanted, reason)


def limit(case: Case) -> Iterator[Action]:
    """Where no slice yields for the workers: what Docker is to let each of them have."""
    fleet = case.seen.fleet
    if case.quota is None and (case.settings.uses_quota or not fleet.limited):
        return
    starting = {w.name for w in fleet.workers if w.phase is Phase.STARTING}
    yield from (action for action in adjust(fleet, case.quota) if action.name not in starting)


def start(case: Case) -> Iterator[Action]:
    """New workers for the room that has been there for long enough, and still is."""
    seen, state, settings, room = case.seen, case.state, case.settings, case.room
    ready = state.spawn.covered or (state.first and state.spawn.covers(settings.first_start))
    if room is None or case.held or not ready:
        return
    most = 1 if state.delay.failures else settings.spawn_per_tick
    if seen.max_workers is not None:
        most = min(most, seen.max_workers - len(seen.fleet.workers))
    if (parts := parts_left(seen, settings)) is not None:
        most = min(most, parts)
    free = room.cpus - seen.fleet.present_cpus
    # CPU is yielded at once, memory is not: it has to be there at this very tick, too.
    now = room_now(seen, settings, state.cap.cpus) or room
    for count in range(1, most + 1):
        needed = needs_to_start(seen.fleet, count, settings)
        if (
            not room.holds(needed)
            or now.memory < needed.memory
            or state.spawn.part(holds_another(seen.fleet, settings, count)) < LONG_ENOUGH
        ):
            return
        yield Start(f"{free:.1f} CPUs are free for workers, {_owner(seen)}", promise(seen, settings))


def holds_another(fleet: Fleet, settings: Settings, count: int = 1) -> Callable[[Span], bool]:
    """Whether there was room for that many more workers during a span."""
    cpus, memory = needs_to_start(fleet, count, settings)
    return lambda span: span.room >= cpus and span.memory_room >= memory


def why_held(seen: Observation, state: State, settings: Settings) -> Held | None:
    """Why nothing may be started, whatever the room; None when nothing holds it."""
    if seen.stopping:
        return Held(HeldReason.STOPPING, "Plancton stops")
    if state.standing.is_paused:
        return Held(HeldReason.PAUSED, state.standing.words)
    if state.standing.sends_away:
        return Held(HeldReason.OWNER_RULE, state.standing.sends_away)
    if seen.draining or seen.finish:
        return Held(HeldReason.DRAINING, f"{seen.wishes.drain or 'draining'}: nothing new is started")
    if not seen.docker:
        return Held(HeldReason.NO_DOCKER, "Docker does not answer")
    if seen.unprotected:
        return Held(HeldReason.UNPROTECTED, seen.unprotected)
    if state.unheeded.until is not None:
        return Held(HeldReason.UNPROTECTED, state.unheeded.words)
    if seen.mounts:
        return Held(HeldReason.MOUNTS, seen.mounts)
    if not seen.image:
        return Held(HeldReason.NO_IMAGE, "there is no image to start workers from")
    if is_short_of_disk(seen, settings):
        return Held(HeldReason.DISK, disk_shortage(seen, settings))
    if is_short_of_memory(seen, settings):
        return Held(HeldReason.MEMORY, _memory(seen, settings))
    if seen.max_workers is not None and len(seen.fleet.workers) >= seen.max_workers:
        return Held(HeldReason.MAX_WORKERS, f"pool.max_workers is {seen.max_workers}")
    if parts_left(seen, settings) == 0:
        return Held(HeldReason.DISK, too_little_to_promise(seen, settings))
    return state.delay.held(seen, settings)


Rule = Callable[[Case], Iterator[Action]]
RULES: tuple[Rule, ...] = (
    who_fills_the_disk,
    owner_sends_away,
    lost_in_suspend,
    do_not_fit,
    limit_is_not_kept,
    out_of_memory,
    out_of_disk,
    flood,
    suspected,
    finish,
    overdue,
    share,
    limit,
    start,
)
UNKNOWN_RULES: tuple[Rule, ...] = (
    who_fills_the_disk,
    owner_sends_away,
    lost_in_suspend,
    out_of_memory,
    out_of_disk,
    flood,
    finish,
    overdue,
    limit,
)
"""While the owner's load is unknown: the figures of memory and disk may be known all the same."""
PAUSED_RULES: tuple[Rule, ...] = (
    who_fills_the_disk,
    owner_sends_away,
    lost_in_suspend,
    out_of_memory,
    out_of_disk,
    flood,
    overdue,
    limit,
)
"""Who is frozen can't use what it gets, nor finish; memory and disk it keeps all the same."""
STOPPING_RULES: tuple[Rule, ...] = (who_fills_the_disk, leave_all, overdue, limit)
"""All three in order of priority."""


# ---------------------------------------------------------------- words


def _owner(seen: Observation) -> str:
    """Who has the CPUs that workers don't get; first whoever has most of them."""
    if seen.owner is None:
        return f"the owner uses an unknown part of {seen.capacity:g} CPUs"
    used, taken = seen.owner, seen.stolen or 0.0
    owner, hypervisor = f"the owner uses {used:.1f}", f"the hypervisor takes {taken:.1f}"
    of_all = f" of {seen.capacity:g} CPUs"
    if taken < WORTH_A_WORD:
        return owner + of_all
    return f"{hypervisor}{of_all}, {owner}" if taken > used else f"{owner}{of_all}, {hypervisor}"


def _what_happens(actions: tuple[Action, ...]) -> str:
    """Who goes now and why; empty when nobody does."""
    told = [a for a in actions if isinstance(a, Leave | Finish | Kill)]
    if not told:
        return ""
    verb = {Leave: "retiring", Finish: "finishing", Kill: "killing"}[type(told[0])]
    names = told[0].name if len(told) == 1 else f"{len(told)} workers"
    return f"{verb} {names}: {told[0].reason}"


def _why_unfit(case: Case, place: int) -> str:
    """Why the worker at this place in line does not fit, or no other one could start after them."""
    seen, room = case.seen, case.room
    fleet, starts = seen.fleet, place == len(seen.fleet.line)
    needed = needs_to_start(fleet, 1, case.settings) if starts else needs_to_stay(fleet, place, case.settings)
    if room is None or room.cpus < needed.cpus or room.memory >= needed.memory:
        return _cap(case) or _owner(seen)
    count = len(fleet.workers) + 1 if starts else place + 1
    takes = needed.memory if starts else fleet.memory_before[count]
    workers = "a worker takes" if count == 1 else f"{count} workers take"
    left = human_bytes(max(0, room.memory))
    return f"the owner leaves {left} of memory, {workers} {human_bytes(takes)}"


def _cap(case: Case) -> str:
    """That it is the owner's cap that leaves no more room; empty: it is not."""
    cap, room = case.state.cap.in_force, case.room
    if cap is None or room is None or room.cpus < cap.cpus - WORTH_A_WORD:
        return ""
    return f"all workers together may use {cap.cpus:g} CPUs ({cap.reason})"


def _how_it_is(case: Case, worth: int) -> str:
    line = len(case.seen.fleet.line)
    why = _why_unfit(case, case.fit) if worth <= line and not case.held else _owner(case.seen)
    fits = f"{line} worker{'' if line == 1 else 's'}, {worth} fit, {why}"
    if case.state.contention.capped and case.quota is not None:
        fits += f" and waits for more, so the workers may use {case.quota:.1f}"
    return f"{fits}; {case.held.sentence}" if case.held else fits
