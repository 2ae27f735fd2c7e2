"""When new workers start, and what holds them. Pure."""

from collections.abc import Callable, Iterator

from plancton.model import Action, Fleet, Held, HeldReason, Observation, Settings, Start
from plancton.policy.disk import disk_shortage, parts_left, promise, too_little_to_promise
from plancton.policy.fit import needs_to_start, room_now
from plancton.policy.memory_reserve import is_short_of_memory, memory_shortage
from plancton.policy.sentences import owner_words
from plancton.policy.sliding_window import LONG_ENOUGH, Span
from plancton.policy.state import Case, State


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
        yield Start(f"{free:.1f} CPUs are free for workers, {owner_words(seen)}", promise(seen, settings))


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
    if shortage := disk_shortage(seen, settings):
        return Held(HeldReason.DISK, shortage)
    if is_short_of_memory(seen, settings):
        return Held(HeldReason.MEMORY, memory_shortage(seen, settings))
    if seen.max_workers is not None and len(seen.fleet.workers) >= seen.max_workers:
        return Held(HeldReason.MAX_WORKERS, f"pool.max_workers is {seen.max_workers}")
    if parts_left(seen, settings) == 0:
        return Held(HeldReason.DISK, too_little_to_promise(seen, settings))
    return state.delay.held(seen, settings)
