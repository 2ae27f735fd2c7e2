"""Who keeps dockerd or the kernel busy, and who leaves when nobody knows."""

import pytest
from unit.policy.ticks import Ticks, of, says, worker, workers

from plancton.model import Leave, Phase
from plancton.policy.burden import PATIENCE, Packets, who_floods

QUIET, ASKING, SENDING = Packets(10, 100), Packets(5_000, 0), Packets(0, 90_000, 60.0)
FILES, TALKING = Packets(0, 90_000, 950.0), Packets(90_000, 0)


@pytest.mark.parametrize(
    ("packets", "engine", "softirq", "found"),
    [
        (ASKING, 1.0, 0.0, "Docker's name server"),
        (ASKING, 0.1, 1.0, ""),
        (SENDING, 1.0, 0.1, ""),
        (SENDING, 0.1, 0.5, "keep the kernel busy"),
        (QUIET, 1.0, 1.0, ""),
        (FILES, 1.0, 1.0, ""),
        (TALKING, 0.1, 1.0, ""),
    ],
)
def test_who_floods(packets: Packets, engine: float, softirq: float, found: str) -> None:
    """Many packets alone are no offence: somebody must be busy with them. An honest worker beside
    is not accused, nor one that sends files, nor one whose processes talk to each other."""
    accused = who_floods({"w": packets, "quiet": QUIET}, engine, softirq)
    assert set(accused) == ({"w"} if found else set()) and found in accused.get("w", "")


def test_whoever_floods_leaves() -> None:
    """The one that is accused leaves with that reason, nobody else, and the next start waits."""
    ticks = Ticks(there=[worker("quiet"), worker("loud", flooding="its packets")], max_workers=8)
    ((_, leave),) = of(Leave, ticks.run(1))
    assert (leave.name, leave.reason) == ("loud", "its packets")
    assert says(ticks.tick(), "backing off", "had to leave (its packets)")


def test_nobody_is_found() -> None:
    """While Docker stays busy and nobody is found, the last in line leaves after a minute, the next
    after two more, then four; the next start waits, and says why."""
    ticks = Ticks(there=workers(3), burden="Docker uses 1.0 CPUs")
    times = [round(time) for time, _ in of(Leave, ticks.run(500))]
    assert times == [1 + PATIENCE, 1 + 3 * PATIENCE, 1 + 7 * PATIENCE], times
    ticks = Ticks(there=workers(3), burden="Docker uses 1.0 CPUs")
    _, (leave, *_) = ticks.until(Leave)
    assert isinstance(leave, Leave) and leave.name == "w2" and "Docker uses 1.0 CPUs" in leave.reason
    assert says(ticks.tick(), "backing off", "on suspicion", "Docker uses 1.0 CPUs")


def test_a_suspicion_passes() -> None:
    """Docker that is busy for less than a minute, however often, costs no worker its life."""
    ticks = Ticks(there=workers(3))
    for _ in range(5):
        assert not of(Leave, ticks.run(int(PATIENCE) - 1, burden="Docker uses 1.0 CPUs"))
        assert not of(Leave, ticks.run(1))
    ticks = Ticks(there=[*workers(2), worker("s", phase=Phase.STARTING)], burden="Docker uses 1.0 CPUs")
    assert not of(Leave, ticks.run(3 * int(PATIENCE))), "our own start keeps it busy"
