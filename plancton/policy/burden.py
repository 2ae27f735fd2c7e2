"""What workers make others do at the owner's cost: dockerd and the kernel. Pure.

Their own use of the CPU yields, but a packet is handled by whoever is interrupted, a question to
Docker's name server by dockerd, and so is each line of output. docs/security.md has the figures.
"""

from typing import NamedTuple

import msgspec

from plancton.model import Observation

BUSY_ENGINE, BUSY_SOFTIRQ = 0.3, 0.2
"""CPUs of the engine, and of the kernel's handling of packets, from which on a worker may be the cause."""
ASKS, SENDS, SMALL = 2_000.0, 20_000.0, 500.0
"""Packets per second, within a worker's own network and to others, that cost that much: questions
to Docker's name server use a CPU for each 20,000. A job that sends files has large packets (43,000
a second for 320 Mbit/s, of some 950 bytes on average); floods have small ones, in bytes."""
OOM_KILLS, OOM_SECONDS, OOM_APART = 20, 60.0, 0.5
"""A worker in which the kernel killed so many processes within this time does nothing else. Those that
it killed at once count as one: our image needs some seconds to have such a job held."""
MANY_SOCKETS, MOST_SOCKETS = 100, 2_000
"""What waits in TCP sockets is of memory that the kernel has once for the host (a tenth of the RAM,
tcp_mem in tcp(7)): without it, the owner's connections are reset. 200 pairs of sockets can hold all of
that, and a job has fewer than the first. What waits in a NETLINK socket, 200 kB, counts as nobody's
memory: the second can hold 0.4 GB."""
FULL_TABLE, MANY_CONNECTIONS = 0.5, 1_000
"""From this part of the host's table of connections on, whoever has most of it leaves, unless it is
few: a job has fewer."""
PATIENCE, LONGEST_PATIENCE = 60.0, 1_800.0
"""The engine must be busy for so long without that a cause is found until somebody leaves on
suspicion, and each time twice as long."""
SOCKETS = "its sockets hold memory that the owner needs"
CONNECTIONS = "its connections fill the host's table, which the owner's need as well"
OUTPUT = "its output keeps Docker busy, at the owner's cost"
OUT_OF_MEMORY = "it runs out of memory again and again, which fills the kernel's log"


class Packets(NamedTuple):
    """Packets per second of one worker: ``inside`` its network namespace (lo), and ``outside``,
    those with ``size`` bytes on average."""

    inside: float
    outside: float
    size: float = 0.0


def who_floods(packets: dict[str, Packets], engine: float, softirq: float) -> dict[str, str]:
    """Whose packets keep the engine or the kernel busy, with the reason."""
    found = dict[str, str]()
    for name, (inside, outside, size) in packets.items():
        if engine >= BUSY_ENGINE and inside >= ASKS:
            found[name] = f"its {inside:.0f} packets a second to Docker's name server keep Docker busy"
        elif softirq >= BUSY_SOFTIRQ and outside >= SENDS and size < SMALL:
            found[name] = f"its {outside:.0f} packets a second keep the kernel busy"
    return found


class Suspicion(msgspec.Struct, frozen=True):
    """That some worker keeps the engine busy, though nobody knows which: ``since`` is
    CLOCK_MONOTONIC, ``left`` how many have left for it."""

    since: float | None = None
    left: int = 0

    def after(self, seen: Observation) -> "Suspicion":
        """With this tick counted. A start keeps Docker busy as well."""
        if not seen.burden or seen.fleet.active > len(seen.fleet.running):
            return Suspicion()
        return self if self.since is not None else Suspicion(seen.time)

    def is_due(self, seen: Observation) -> bool:
        """Whether the next one must leave."""
        patience = min(LONGEST_PATIENCE, PATIENCE * 2.0 ** min(self.left, 10))
        return self.since is not None and seen.time - self.since >= patience

    def with_one_left(self, seen: Observation) -> "Suspicion":
        """One leaves: the next must wait for twice as long."""
        return Suspicion(seen.time, self.left + 1)
