"""The memory's reserve: when it is undercut, and who leaves for it. Pure."""

from collections.abc import Iterator

from plancton.model import Action, Observation, Phase, Settings, Worker
from plancton.policy.leaving import MEMORY_TIMEOUT, dies, last_in_line, leave
from plancton.policy.state import Case
from plancton.units import human_bytes


def is_short_of_memory(seen: Observation, settings: Settings) -> bool:
    return seen.memory_available is not None and seen.memory_available < settings.reserve_memory


def memory_shortage(seen: Observation, settings: Settings) -> str:
    have, want = human_bytes(seen.memory_available or 0), human_bytes(settings.reserve_memory)
    return f"the owner needs the memory: {have} are available, {want} reserved"


def leaves_in_time(worker: Worker, seen: Observation) -> bool:
    """Whether it is told already to leave as soon as one that leaves for memory."""
    return worker.phase is Phase.LEAVING and (worker.deadline or 0.0) <= seen.time + MEMORY_TIMEOUT


def out_of_memory(case: Case) -> Iterator[Action]:
    """The last in line, when the owner's reserve is undercut and nobody is on the way out for it
    yet, or is about to go because it hoards memory."""
    seen = case.seen
    if not is_short_of_memory(seen, case.settings):
        return
    if any(dies(w, seen) or leaves_in_time(w, seen) for w in seen.fleet.workers):
        return
    if any(w.hoards and not w.busy for w in seen.fleet.flooding):
        return
    if worker := last_in_line(seen.fleet):
        yield leave(worker, case, MEMORY_TIMEOUT, memory_shortage(seen, case.settings))
