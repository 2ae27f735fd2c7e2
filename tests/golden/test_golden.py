"""Golden recordings: what the policy decided for some owners, tick by tick.

Each file is a recording as `plancton run --record` writes it, of a simulated host of 2 CPUs. A
change of the policy shows here as a difference; when it is meant, write them again and read the
difference in git:

    PLANCTON_WRITE_GOLDEN=1 pytest tests/golden

`plancton replay tests/golden/bursty.jsonl` tells what happens in one.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from property.host import GB, Host

from plancton.model import Finish, Header, Kill, Leave, SetShares, Settings, Start, Tick
from plancton.policy.replay import read_recording, replay

HERE = Path(__file__).parent
LIMITS = Settings(
    grace_kill=12.0, grace_spawn=8.0, reserve_memory=GB, lifetime=40.0, finish_timeout=8.0, leave_timeout=4.0
)
"""Short times, so that the recordings are."""
Ticks = Iterator[Tick]


def ticks(host: Host, count: int, seconds: float = 1.0, suspended: float = 0.0) -> Ticks:
    for _ in range(count):
        yield Tick(*host.tick(seconds, suspended))


def steady(host: Host) -> Ticks:
    """An owner of 0.2 CPUs: two workers start, and finish when their time is over."""
    host.owner = 0.2
    yield from ticks(host, 50)


def bursty(host: Host) -> Ticks:
    """Loads at random, of random length."""
    chance = random.Random(2026)
    for _ in range(6):
        host.owner = round(chance.choice((0.0, 0.4, 1.0, 2.0)), 1)
        yield from ticks(host, chance.randint(2, 10))


def square(host: Host) -> Ticks:
    """On and off, 14 s each: workers leave young, and starts become rarer."""
    for _ in range(3):
        host.owner = 0.0
        yield from ticks(host, 14)
        host.owner = 2.0
        yield from ticks(host, 14)


def memory_squeeze(host: Host) -> Ticks:
    """The owner takes memory until the workers have had to leave."""
    host.use = 1.0
    yield from ticks(host, 14)
    host.owner_memory = 6 * GB
    yield from ticks(host, 14)
    host.owner_memory = 0
    yield from ticks(host, 22)


def back_off(host: Host) -> Ticks:
    """Every worker ends as soon as it runs."""
    host.max_workers = 1
    for _ in range(36):
        yield from ticks(host, 1)
        for worker in list(host.workers.values()):
            if worker.started is not None:
                host.ends(worker.name)


def suspend(host: Host) -> Ticks:
    """The owner works, the host sleeps, and afterwards nothing is decided on what was before."""
    yield from ticks(host, 14)
    host.owner = 2.0
    yield from ticks(host, 8)
    yield from ticks(host, 1, suspended=8.0)
    yield from ticks(host, 20)


def slow_to_go(host: Host) -> Ticks:
    """A new image; the worker does not finish, nor leave, in time."""
    host.max_workers = 1
    yield from ticks(host, 15)
    host.image, host.job = "image-2", 1_000.0
    yield from ticks(host, 3)
    host.hung = True
    yield from ticks(host, 20)
    host.hung = False
    yield from ticks(host, 12)


SCENARIOS: tuple[Callable[[Host], Ticks], ...] = (
    steady, bursty, square, memory_squeeze, back_off, suspend, slow_to_go,
)  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_golden(scenario: Callable[[Host], Ticks]) -> None:
    """The policy decides as it did in the recording (PLANCTON_WRITE_GOLDEN=1 writes it again)."""
    path = HERE / f"{scenario.__name__}.jsonl"
    if os.environ.get("PLANCTON_WRITE_GOLDEN"):
        lines = [Header("golden", LIMITS), *scenario(Host(2.0, LIMITS, 8 * GB))]
        path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    count = 0
    for number, tick in enumerate(replay(read_recording(path)), 2):
        assert tick.recorded == tick.decision, f"{path.name}, line {number}, {scenario.__doc__}"
        count += 1
    assert count >= 30, f"{count} ticks only"


def test_they_show_all_there_is() -> None:
    """Every kind of action is decided in some recording; together the recordings stay small."""
    kinds, size = set[type](), 0
    for path in HERE.glob("*.jsonl"):
        size += path.stat().st_size
        kinds |= {type(a) for tick in replay(read_recording(path)) for a in tick.decision.actions}
    assert kinds == {Start, Finish, Leave, Kill, SetShares}, kinds
    assert size < 200_000, size
