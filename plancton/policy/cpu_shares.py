"""How much of the scarce CPU each worker gets: shares, or quotas where no slice yields. Pure."""

from collections.abc import Iterator

from plancton.model import LEAST_SHARES, Action, Phase, SetShares, full_shares
from plancton.policy.quota import adjust
from plancton.policy.sentences import why_unfit
from plancton.policy.state import Case

SHARE_INTERVAL = 10.0
"""One update costs dockerd and runc 23 ms of CPU: each worker at most once in this time."""


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
