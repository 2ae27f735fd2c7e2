"""What `decide` remembers from tick to tick, and how a tick is added to it. Pure."""

import math
from typing import NamedTuple

import msgspec

from plancton.model import Ended, Held, Observation, Settings
from plancton.policy.burden import Suspicion
from plancton.policy.contention import NO_CONTENTION, Contention
from plancton.policy.cpu_cap import UNCAPPED, CpuCap
from plancton.policy.disk import DiskTrouble
from plancton.policy.fit import Room, room_now
from plancton.policy.host_suspend import AWAKE, Suspend
from plancton.policy.owner_rules import Standing
from plancton.policy.quota_not_kept import HEEDED, Unheeded
from plancton.policy.sliding_window import SlidingWindow, Span
from plancton.policy.start_delay import StartDelay
from plancton.policy.unfit_patience import longest_patience

SMOOTHING = 10.0
"""Room is averaged over this many seconds, so that one busy tick is no news; at most a third of
grace_kill, so that an owner who stays for grace_kill always gets the CPU back within it."""
SUSPENDED = 5.0
"""Seconds in suspend that make what was known before worthless."""


class State(msgspec.Struct, frozen=True):
    """What `decide` remembers from tick to tick.

    ``kill``, ``long`` (of the longest patience) and ``spawn`` are the windows behind leaving and
    starting, ``recent`` is the one over which room is averaged: CLOCK_MONOTONIC seconds.
    ``last_boottime`` is the CLOCK_BOOTTIME of the last tick with known figures, ``last_suspended``
    how long the host had been suspended by then. ``first``: nothing has been started yet.
    ``quota``: see Decision; ``contention``: whether it is for an owner who waits. ``kind``: the
    image and the configuration in force, since ``kind_since``.
    """

    kill: SlidingWindow = SlidingWindow(0.0)
    long: SlidingWindow = SlidingWindow(0.0)
    spawn: SlidingWindow = SlidingWindow(0.0)
    recent: SlidingWindow = SlidingWindow(0.0)
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


def remember(seen: Observation, state: State, settings: Settings) -> State:
    """The state with this tick in its windows, and with what ended and what settled counted."""
    before = -math.inf if state.last_boottime is None else state.last_boottime
    seconds = slept(seen, state)
    gap = seconds > 0 or seen.boottime - before > settings.gap
    if seconds:
        suspend = state.suspend.after(before, seconds, seen, settings)
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
        kill=SlidingWindow(settings.grace_kill),
        long=SlidingWindow(longest_patience(settings)),
        spawn=SlidingWindow(grace_spawn),
        recent=SlidingWindow(_smoothing(settings)),
        last_boottime=seen.boottime,
        last_suspended=seen.boottime - seen.time,
    )


def _counted(seen: Observation, state: State, settings: Settings) -> State:
    """The state with what ended counted, and with what is noticed of the owner and of limits."""

    def could_not_work(ended: Ended) -> bool:
        return state.standing.was_frozen(ended, seen) or state.suspend.was_asleep(ended, seen)

    ends = tuple(e for e in seen.ended if not (e.idle and could_not_work(e)))
    kind = seen.image, seen.digest
    return msgspec.structs.replace(
        state,
        delay=state.delay.after_ends(seen, ends).forgiven(seen),
        contention=state.contention.after(seen) if settings.caps_waiting else NO_CONTENTION,
        unheeded=state.unheeded.after(seen, state.quota) if settings.quota_alone else HEEDED,
        kind=kind,
        kind_since=state.kind_since if kind == state.kind else seen.time,
    )


def _heard(seen: Observation, state: State, settings: Settings) -> State:
    """The state with what the owner asks for. Who was paused must not leave for the time of it."""
    standing, cap = state.standing.after(seen, settings), state.cap.after(seen, settings)
    if state.standing.is_paused and not standing.is_paused:
        kill, long = SlidingWindow(settings.grace_kill), SlidingWindow(longest_patience(settings))
        state = msgspec.structs.replace(state, kill=kill, long=long)
    return msgspec.structs.replace(state, standing=standing, cap=cap)


def slept(seen: Observation, state: State) -> float:
    """Seconds for which the host was suspended since the tick before; 0: it was not, or for a moment only.
    CLOCK_MONOTONIC stands still meanwhile, CLOCK_BOOTTIME does not."""
    seconds = 0.0 if state.last_boottime is None else seen.boottime - seen.time - state.last_suspended
    return seconds if seconds > SUSPENDED else 0.0
