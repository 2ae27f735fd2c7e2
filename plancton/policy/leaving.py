"""Which workers leave, why, and how long they may take. Pure."""

from collections.abc import Iterator

from plancton.model import Action, Fleet, Kill, Leave, Observation, Phase, Worker
from plancton.policy.sentences import why_unfit
from plancton.policy.state import Case
from plancton.policy.unfit_patience import has_not_fitted

DYING = 5.0
"""One that was killed longer ago than this can't be counted on to give its memory back."""
NO_IDLE = 0.5
"""With less idle CPU than this a leaver can't count on any and is lifted."""
MEMORY_TIMEOUT = 3.0
"""How long a worker may take to leave when the owner needs its memory."""


def leave_all(case: Case) -> Iterator[Action]:
    for worker in case.seen.fleet.line:
        yield leave(worker, case, case.settings.leave_timeout, "Plancton stops")


def leave(worker: Worker, case: Case, timeout: float, reason: str) -> Leave:
    lift = nothing_is_idle(case.seen) or case.state.standing.is_paused  # the others stay frozen then
    return Leave(worker.name, reason, timeout, lift)


def nothing_is_idle(seen: Observation) -> bool:
    return seen.idle is None or seen.idle < NO_IDLE


def dies(worker: Worker, seen: Observation) -> bool:
    return worker.phase is Phase.KILLED and seen.time - (worker.told or 0.0) < DYING


def last_in_line(fleet: Fleet) -> Worker | None:
    """The one with the least to lose of those that can be told anything."""
    return next((w for w in reversed(fleet.line) if not w.busy), None)


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
    if seen.burden and case.state.suspicion.is_due(seen) and (worker := last_in_line(seen.fleet)):
        reason = f"{seen.burden}, and no worker is found that makes it: it may be the last one"
        yield leave(worker, case, case.settings.leave_timeout, reason)


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
            yield Kill(worker.name, "did not leave in time", lift=nothing_is_idle(seen))
