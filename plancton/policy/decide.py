"""Decides, once per tick, which workers come and go and why.

`decide` is pure: no clock, no file, no socket. Time is `Observation.time`. The rules:

- A worker *fits* while the room that the owner leaves, less all that the workers before it in line
  may use, is worth at least `worthwhile` of its own CPUs (and the same for memory): fit.py. The one
  with the most to lose is first in line: the oldest job, then the oldest worker without one.
- Windows remember the room. What has not fitted for two thirds of its patience leaves: of
  `grace_kill`, or as long as its jobs have worked (leaving.py, unfit_patience.py). What would have
  fitted for two thirds of `grace_spawn`, with some margin, is started (starting.py).
- Memory can't be yielded by priority: when the owner's reserve is undercut, one worker leaves at
  once: memory_reserve.py. So it is with the disk, one worker after the other, and who fills it is
  ended at once: full_disk.py. Nothing is started meanwhile.
- Shares are for those that fit; where no slice yields, all get quotas: cpu_shares.py, quota.py.
- A worker that keeps the engine or the kernel busy leaves: burden.py. All leave where the limit of
  their CPU is all that protects the owner, and is not kept: quota_not_kept.py.
- While the owner has paused them workers are frozen, and who rules that they leave is obeyed at
  once: owner_rules.py.
- Nothing is decided on a window that is not covered: after a start, a suspend, a gap. While the
  owner's load is unknown, only what does not depend on it goes on.
- Workers finish at the end of their lifetime, or once there is a newer image: lifetime.py.
- Who has lost its job while the host was suspended leaves: host_suspend.py.
- After failures and flaps the next start waits: start_delay.py.

Each rule yields the actions it wants, in order of priority; `arbitrate` keeps one per worker.
"""

from collections.abc import Callable, Iterable, Iterator

import msgspec

from plancton.model import Action, Decision, Fleet, Freeze, Kill, Leave, Observation, Settings, Start, Thaw
from plancton.policy.cpu_cap import slice_limit
from plancton.policy.cpu_shares import limit, share
from plancton.policy.disk import DiskTrouble
from plancton.policy.fit import count_fit, startable
from plancton.policy.full_disk import out_of_disk, who_fills_the_disk
from plancton.policy.leaving import (
    do_not_fit,
    flood,
    leave_all,
    limit_is_not_kept,
    lost_in_suspend,
    overdue,
    owner_sends_away,
    suspected,
)
from plancton.policy.lifetime import finish
from plancton.policy.memory_reserve import out_of_memory
from plancton.policy.owner_rules import with_one_freezer
from plancton.policy.quota import total_quota
from plancton.policy.sentences import how_it_is, what_happens
from plancton.policy.starting import start, why_held
from plancton.policy.state import Case, State, remember


def decide(seen: Observation, state: State, settings: Settings) -> tuple[Decision, State]:
    """What to do at this tick, and what to remember."""
    state = remember(seen, state, settings)
    room, fleet = state.room, seen.fleet
    fit = count_fit(fleet, seen.max_workers, room, settings) if room else len(fleet.line)
    quota = quota_in_force(seen, state, settings)
    case = Case(seen, state, settings, room, fit, why_held(seen, state, settings), quota)
    wanted = arbitrate((action for rule in _rules(case) for action in rule(case)), fleet)
    after = under_way(case, wanted)
    actions = with_one_freezer(wanted, state.standing, after.disk.is_frozen, seen)
    worth = fit
    if room and fit == len(fleet.line):
        worth += startable(fleet, seen.max_workers, room, settings)
    sentence = what_happens(actions) or how_it_is(case, worth)
    paused = "" if seen.stopping else state.standing.words or state.standing.sends_away
    decision = Decision(
        worth, sentence, room.cpus if room else None, quota, case.held, actions, paused, state.cap.in_force
    )
    return decision, after


def quota_in_force(seen: Observation, state: State, settings: Settings) -> float | None:
    """CPUs that all workers together may use from now on; None: nothing limits them. The owner's cap
    comes by this where the slice can't hold it."""
    limited = settings.uses_quota or state.contention.capped
    quota = total_quota(seen.lately or seen, state.quota, settings) if limited else None
    cap = state.cap.cpus
    if cap is None or (quota is None and slice_limit(cap, seen.fleet, settings) == cap):
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


def under_way(case: Case, actions: tuple[Action, ...]) -> State:
    """The state once these actions are under way."""
    seen, state = case.seen, case.state
    delay, first, disk = state.delay, state.first, state.disk
    if actions and not seen.stopping:
        told = {a.name for a in actions if isinstance(a, Leave)}
        leavers = [w for w in seen.fleet.workers if w.name in told]
        delay = delay.after_leaving(seen, leavers)
        if any(isinstance(a, Kill) and a.at_once for a in actions):
            delay = delay.after_filling_the_disk(seen)
        first = first and not any(isinstance(a, Start) for a in actions)
    suspicion = state.suspicion.after(seen)
    if seen.burden and suspicion.is_due(seen) and any(isinstance(a, Leave) for a in actions):
        suspicion = suspicion.with_one_left(seen)
    if actions or disk != DiskTrouble():
        disk = disk.after(actions, seen, case.settings)
    return msgspec.structs.replace(
        state, delay=delay, first=first, suspicion=suspicion, disk=disk, quota=case.quota
    )


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
"""In order of priority, as are those below."""
NEED_OWNER = frozenset({do_not_fit, limit_is_not_kept, suspected, share, start})
UNKNOWN_RULES = tuple(rule for rule in RULES if rule not in NEED_OWNER)
"""While the owner's load is unknown: the figures of memory and disk may be known all the same."""
PAUSED_RULES = tuple(rule for rule in UNKNOWN_RULES if rule is not finish)
"""Who is frozen can't use what it gets, nor finish; memory and disk it keeps all the same."""
STOPPING_RULES: tuple[Rule, ...] = (who_fills_the_disk, leave_all, overdue, limit)
