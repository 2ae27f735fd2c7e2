"""How long a worker may live, and who must finish: in the end there is nobody of an older image. Pure."""

import zlib
from collections.abc import Iterator

from plancton.model import Action, Finish, Observation, Settings, Worker
from plancton.policy.state import Case
from plancton.units import human_seconds

LEAST_LIFETIME = 0.9
"""Workers live for at least this part of the configured lifetime, and at most as much longer."""

SETTLING = 5.0
"""An image and a configuration are in force for this long before a worker of others must finish:
what is taken back within it costs nobody a job."""


def lifetime_of(worker: Worker, settings: Settings) -> float:
    """Seconds: the configured lifetime × (0.9 … 1.1), by the worker's name, so that workers started
    together don't end together."""
    spread = (zlib.crc32(worker.name.encode()) % 1000) / 999
    return settings.lifetime * (LEAST_LIFETIME + 2 * (1 - LEAST_LIFETIME) * spread)


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
