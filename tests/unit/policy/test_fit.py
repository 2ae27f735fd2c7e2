"""Which workers fit, and how many could start. Figures are worked out by hand."""

import pytest
from unit.policy.ticks import GB, Ticks, worker, workers

from plancton.model import (
    Fleet,
    Observation,
    Settings,
    Worker,
)
from plancton.policy.fit import count_fit, room_now


def fit(there: list[Worker], cpus: float, memory: float = 1e15, settings: Settings | None = None) -> int:
    """How many fit with this room."""
    settings = settings or Settings()
    seen = Observation(0.0, 0.0, cpus, owner=0.0, memory_total=10**16, memory_available=int(memory),
                       fleet=Fleet.of(there))  # fmt: skip
    room = room_now(seen, settings)
    assert room is not None
    return count_fit(seen.fleet, None, room, settings)


@pytest.mark.parametrize(
    ("room", "expected"),
    [(-1, 0), (0.0, 0), (0.49, 0), (0.5, 1), (1.49, 1), (1.5, 2), (3.5, 4), (9.0, 4)],
)
def test_fit_with_equal_workers(room: float, expected: int) -> None:
    """Half a CPU is enough for a worker, provided that the older ones have theirs."""
    assert fit(workers(4), room) == expected


@pytest.mark.parametrize(
    ("room", "expected"), [(0.9, 0), (1.0, 1), (2.2, 1), (2.25, 2), (3.9, 2), (4.0, 3), (9.0, 3)]
)
def test_fit_with_mixed_workers(room: float, expected: int) -> None:
    """Each worker's own size counts: 2, then 0.5, then 3 CPUs need 1, 2.25 and 4 CPUs of room."""
    there = [worker("a", 30, cpus=2.0), worker("b", 20, cpus=0.5), worker("c", 10, cpus=3.0)]
    assert fit(there, room) == expected


def test_a_small_young_worker_does_not_overtake() -> None:
    """The oldest fit first: a small one behind a big one that does not fit waits as well."""
    assert fit([worker("big", 20, cpus=4.0), worker("small", 10, cpus=0.1)], 1.9) == 0


@pytest.mark.parametrize(("worthwhile", "expected"), [(0.1, 3), (0.5, 2), (1.0, 2)])
def test_worthwhile(worthwhile: float, expected: int) -> None:
    """2.2 CPUs are worth a third worker if worthwhile is low, but not if it is high."""
    assert fit(workers(4), 2.2, settings=Settings(worthwhile=worthwhile)) == expected


@pytest.mark.parametrize(("memory", "expected"), [(0.5, 0), (1.0, 1), (2.9, 1), (3.0, 2), (100.0, 4)])
def test_fit_by_memory(memory: float, expected: int) -> None:
    """Memory counts like CPUs: 1 GB for the first, then 3 GB for two of 2 GB each."""
    seen = Observation(0.0, 0.0, 8.0, owner=0.0, memory_total=100 * GB, fleet=Fleet.of(workers(4)),
                       memory_available=int(memory * GB))  # fmt: skip
    room = room_now(seen, Settings())
    assert room is not None and count_fit(seen.fleet, None, room, Settings()) == expected, room


def test_limits_of_the_administrator() -> None:
    """No more fit than into the administrator's own limits, whatever the owner leaves."""
    assert fit(workers(4), 9.0, settings=Settings(most_cpus=1.5)) == 2
    assert fit(workers(4), 9.0, settings=Settings(most_memory=int(4.9 * GB), worker_memory=2 * GB)) == 2


def test_room_is_what_the_owner_leaves() -> None:
    """CPUs less the owner's, the stolen and the reserved; memory less the owner's and the
    reserved."""
    seen = Observation(0.0, 0.0, 8.0, owner=1.5, stolen=0.25, engine=0.5, donated=4.0, memory_total=64 * GB,
                       memory_available=20 * GB, slice_anon=10 * GB)  # fmt: skip
    room = room_now(seen, Settings(reserve_cpus=0.5, reserve_memory=6 * GB))
    assert room is not None
    assert room.cpus == 8.0 - 1.5 - 0.25 - 0.5, room
    assert room.memory == 64 * GB - 6 * GB - (64 - 20 - 10) * GB, room


def test_fit_counts_places_for_new_workers() -> None:
    """`fit` is what the room is worth: the workers there, and those for which it is enough to
    start."""
    ticks = Ticks(there=workers(1), owner=1.2, draining=True)
    ticks.run(5)
    assert ticks.tick().fit == 3, "2.8 CPUs: one is there, two more would be started"
    assert ticks.tick(max_workers=2).fit == 2
