"""The memory's reserve: when it is undercut, and how soon workers leave for it. Pure."""

from plancton.model import Observation, Phase, Settings, Worker
from plancton.units import human_bytes

MEMORY_TIMEOUT = 3.0
"""How long a worker may take to leave when the owner needs its memory."""


def is_short_of_memory(seen: Observation, settings: Settings) -> bool:
    return seen.memory_available is not None and seen.memory_available < settings.reserve_memory


def memory_shortage(seen: Observation, settings: Settings) -> str:
    have, want = human_bytes(seen.memory_available or 0), human_bytes(settings.reserve_memory)
    return f"the owner needs the memory: {have} are available, {want} reserved"


def leaves_in_time(worker: Worker, seen: Observation) -> bool:
    """Whether it is told already to leave as soon as one that leaves for memory."""
    return worker.phase is Phase.LEAVING and (worker.deadline or 0.0) <= seen.time + MEMORY_TIMEOUT
