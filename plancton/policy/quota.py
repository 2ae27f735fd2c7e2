"""The CPU that each worker may use where no slice yields for them (tier quota), and where the
configuration wants some CPU to be really idle (yield.cap). Pure.

Docker limits the workers one by one (CpuQuota), within a second or two of the owner's wish. A part
of the CPUs stays free, so that a growing owner is seen; when none is free the owner may want any
amount, so the workers' part is cut to nothing and grows back slowly. Koordinator's CPU suppression
(pkg/koordlet/qosmanager/plugins/cpusuppress) goes the same way.
"""

from plancton.model import Fleet, Observation, Phase, SetQuota, Settings, Worker
from plancton.policy.contention import wanted_by_owner

FREE = 0.05
"""Part of all CPUs that is left free, to see the owner's growth."""
SATURATED = 0.01
"""With a smaller part idle, what the owner wants can't be seen."""
SHORTEST = 0.5
"""In fewer seconds (a request may make a tick follow another at once) the kernel's hundredths of a
second say nothing."""
GROWTH = 0.10
"""Part of all CPUs by which the workers' may grow in a tick."""
DEAD_BAND = 0.02
"""Smaller changes, as parts of all CPUs, are not worth an update (23 ms of CPU in dockerd and runc)."""
LEAST = 0.01
"""CPUs of a worker that gets nothing: Docker takes no less than 1 ms per 100 ms."""
WAY_OUT = 0.2
"""CPUs that all who leave share, so that they can."""


def total_quota(seen: Observation, before: float | None, settings: Settings) -> float | None:
    """CPUs that all workers together may use from now on; ``before``: until now."""
    if seen.owner is None or seen.idle is None or _is_moment(seen):
        return before
    whole = seen.capacity
    # At first what they wait for as well: it is theirs as soon as the workers are limited.
    owner = wanted_by_owner(seen) if before is None else seen.owner
    others = owner + (seen.engine or 0.0) + (seen.stolen or 0.0)
    wanted = max(0.0, whole - others - settings.reserve_cpus - FREE * whole)
    if before is None:
        return wanted
    if seen.idle < SATURATED * whole and seen.donated:
        wanted = 0.0  # at once: an owner who wants every CPU has them after two ticks
    wanted = min(wanted, before + GROWTH * whole)
    return before if abs(wanted - before) < DEAD_BAND * whole else wanted


def _is_moment(seen: Observation) -> bool:
    return seen.interval is not None and seen.interval < SHORTEST


def divide(fleet: Fleet, quota: float) -> dict[str, float]:
    """CPUs for each worker that has processes: the first in line get theirs in full, the next the rest."""
    leavers = [w.name for w in fleet.workers if w.phase in (Phase.LEAVING, Phase.KILLED) and w.id]
    quotas = {name: max(LEAST, WAY_OUT / len(leavers)) for name in leavers}
    left = quota
    for worker in fleet.line:
        quota = max(LEAST, min(worker.cpus, left))
        left -= quota
        if worker.phase is not Phase.STARTING:
            quotas[worker.name] = round(quota, 3)
    return quotas


def adjust(fleet: Fleet, quota: float | None) -> list[SetQuota]:
    """What to change; without a ``quota`` each worker gets all that it was made for."""
    wanted = {w.name: w.cpus for w in fleet.workers} if quota is None else divide(fleet, quota)
    reason = (
        "nothing limits the workers any more" if quota is None else f"the workers may use {quota:.1f} CPUs"
    )
    return [
        SetQuota(worker.name, wanted[worker.name], reason)
        for worker in fleet.workers
        if worker.name in wanted and wanted[worker.name] != _now(worker)
    ]


def _now(worker: Worker) -> float:
    return worker.cpus if worker.quota is None else worker.quota
