"""Which worker keeps dockerd or the kernel busy: by its packets, which everybody may count.

Nothing is read while there is no suspicion: per worker that is two files of /proc.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from plancton.model import Observation
from plancton.policy.burden import BUSY_ENGINE, BUSY_SOFTIRQ, Packets, who_floods
from plancton.workers.roster import Entry
from plancton.workers.sockets import text_of

LAST_LOOK = 30.0
"""Seconds after which an earlier look says nothing any more."""
_NUMBER = re.compile("[0-9]{1,20}", re.ASCII)


class Counters(msgspec.Struct, frozen=True):
    """Packets since a worker's network was made, and the bytes of those to and from others."""

    inside: int
    outside: int
    size: int


class BurdenWatch:
    """Only the loop calls it, every few seconds. ``busy`` says who is busy, and how much; empty: nobody."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._before: tuple[float, dict[str, Counters]] = 0.0, {}
        self._passes = 0
        self.busy = ""

    def look(self, now: float, seen: Observation, entries: Iterable[Entry]) -> dict[str, str]:
        """Who is found, and why. It takes two passes in a row at which somebody is busy."""
        engine, softirq = seen.engine or 0.0, seen.softirq or 0.0
        if engine < BUSY_ENGINE and softirq < BUSY_SOFTIRQ:
            self._passes, self.busy = 0, ""
            return {}
        self._passes += 1
        then, before = self._before
        counters = {e.worker.name: count for e in entries if (count := self._count(e))}
        self._before = now, counters
        if self._passes < 2 or now - then > LAST_LOOK or now <= then:
            return {}
        found = who_floods(_rates(before, counters, now - then), engine, softirq)
        self.busy = f"Docker uses {engine:.1f} CPUs" if engine >= BUSY_ENGINE and not found else ""
        return found

    @property
    def for_long(self) -> bool:
        """Whether it was so at the last pass as well."""
        return self._passes >= 2

    def _count(self, entry: Entry) -> Counters | None:
        return parse_packets(text_of(entry, self._proc, "dev"))


def parse_packets(text: str) -> Counters | None:
    """From /proc/PID/net/dev; None if that is not what it is."""
    inside = outside = size = 0
    for line in text.splitlines()[2:]:
        name, colon, figures = line.partition(":")
        fields = figures.split()
        if not colon or len(fields) < 10 or not all(_NUMBER.fullmatch(field) for field in fields):
            return None
        received, sent = (list(map(int, fields[at : at + 2])) for at in (0, 8))  # bytes, packets
        if name.strip() == "lo":
            inside += sent[1]  # what is sent there is received there
        else:
            outside += received[1] + sent[1]
            size += received[0] + sent[0]
    return Counters(inside, outside, size)


def _rates(before: dict[str, Counters], now: dict[str, Counters], seconds: float) -> dict[str, Packets]:
    rates = dict[str, Packets]()
    for name, new in now.items():
        if old := before.get(name):
            inside, outside, size = new.inside - old.inside, new.outside - old.outside, new.size - old.size
            rates[name] = Packets(inside / seconds, outside / seconds, size / max(1, outside))
    return rates
