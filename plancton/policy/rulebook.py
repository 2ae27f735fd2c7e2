"""The rules: each yields the actions that it wants, in order of priority. Pure."""

from collections.abc import Callable, Iterator

from plancton.model import (
    LEAST_SHARES,
    Action,
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
from plancton.policy.disk import (
    disk_shortage,
    fastest_writer,
    is_short_of_disk,
    largest_writer,
    parts_left,
    promise,
    too_little_to_promise,
)
from plancton.policy.fit import needs_to_start, room_now
from plancton.policy.lifetime import LEAST_LIFETIME, lifetime_of
from plancton.policy.memory_reserve import MEMORY_TIMEOUT, is_short_of_memory, leaves_in_time, memory_shortage
from plancton.policy.patience import has_not_fitted
from plancton.policy.quota import adjust
from plancton.policy.sliding_window import LONG_ENOUGH, Span
from plancton.policy.state import Case, State
from plancton.policy.words import owner_words, why_unfit
from plancton.units import human_seconds

SETTLING = 5.0
"""An image and a configuration are in force for this long before a worker of others must finish:
what is taken back within it costs nobody a job."""
DYING = 5.0
"""One that was killed longer ago than this can't be counted on to give its memory back."""
SHARE_INTERVAL = 10.0
"""One update costs dockerd and runc 23 ms of CPU: each worker at most once in this time."""
NO_IDLE = 0.5
"""With less idle CPU than this a leaver can't count on any and is lifted."""


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
        reason = f"has not fitted for {waited:.0f} s, {why_unfit(case, place)}"
        yield leave(fleet.line[place], case, settings.leave_timeout, reason)


def out_of_memory(case: Case) -> Iterator[Action]:
    """The last in line, when the owner's reserve is undercut and nobody is on the way out for it
    yet, or is about to go because it hoards memory."""
    seen = case.seen
    if not is_short_of_memory(seen, case.settings):
        return
    if any(_dies(w, seen) or leaves_in_time(w, seen) for w in seen.fleet.workers):
        return
    if any(w.hoards and not w.busy for w in seen.fleet.flooding):
        return
    if worker := _last_in_line(seen.fleet):
        yield leave(worker, case, MEMORY_TIMEOUT, memory_shortage(seen, case.settings))


def _dies(worker: Worker, seen: Observation) -> bool:
    return worker.phase is Phase.KILLED and seen.time - (worker.told or 0.0) < DYING


def _last_in_line(fleet: Fleet) -> Worker | None:
    """The one with the least to lose of those that can be told anything."""
    return next((w for w in reversed(fleet.line) if not w.busy), None)


def who_fills_the_disk(case: Case) -> Iterator[Action]:
    """Below the disk's reserve nobody writes until the one that wrote most is ended."""
    seen, trouble, found = case.seen, case.state.disk, _fills_the_disk(case)
    short = is_short_of_disk(seen, case.settings)
    if trouble.is_frozen:
        over = found is None and trouble.is_over(seen, any(_dies(w, seen) for w in seen.fleet.workers))
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
        elif age >= lifetime_of(worker, settings):
            reason = f"its lifetime of {human_seconds(settings.lifetime)} is over"
            yield Finish(worker.name, reason, settings.finish_timeout)
        elif worker.until is not None and seen.boottime >= worker.until:
            yield Finish(worker.name, "its token ends soon", settings.finish_timeout)
        elif newer and not changing and not worker.busy:
            changing = True
            yield Finish(worker.name, newer, settings.finish_timeout)


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


def share(case: Case) -> Iterator[Action]:
    """Full shares for those that fit, the least for the rest, so that the scarce CPU finishes jobs."""
    seen, fit = case.seen, case.fit
    if case.room is None or case.settings.uses_quota or seen.fleet.shares_fit == fit:
        return
    for place, worker in enumerate(seen.fleet.line):
        wanted = full_shares(worker.cpus) if place < fit else LEAST_SHARES
        recent = worker.shares_time is not None and seen.time - worker.shares_time < SHARE_INTERVAL
        if worker.shares != wanted and worker.phase is not Phase.STARTING and not recent:
            reason = "fits" if place < fit else f"does not fit, {why_unfit(case, place)}"
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
    if is_short_of_disk(seen, settings):
        return Held(HeldReason.DISK, disk_shortage(seen, settings))
    if is_short_of_memory(seen, settings):
        return Held(HeldReason.MEMORY, memory_shortage(seen, settings))
    if seen.max_workers is not None and len(seen.fleet.workers) >= seen.max_workers:
        return Held(HeldReason.MAX_WORKERS, f"pool.max_workers is {seen.max_workers}")
    if parts_left(seen, settings) == 0:
        return Held(HeldReason.DISK, too_little_to_promise(seen, settings))
    return state.delay.held(seen, settings)
