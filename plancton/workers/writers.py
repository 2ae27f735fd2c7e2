"""What each worker writes to the disk: from its cgroup's files, which everybody may read.

On v2 a group's own are all the bytes that were written for it. On v1 what the kernel writes later is
nobody's, but until then it is the group's dirty memory; and Docker tells how large the containers'
roots are, though not their volumes. See Documentation/admin-guide/cgroup-v2.rst
("IO Interface Files", "Writeback") and cgroup-v1/{blkio-controller,memory}.rst.
"""

import re
from collections.abc import Iterable

import msgspec

from plancton.files import read_knob
from plancton.host.slice import Slice
from plancton.model import Writer
from plancton.workers.roster import Entry

_WRITTEN = re.compile(r" (?:wbytes=|Write )(\d{1,19})\b")
_ON_THE_WAY = re.compile(r"^(?:file_|total_)(?:dirty|writeback) (\d{1,19})$", re.MULTILINE)
_KERNEL = re.compile(r"^(?:slab )?(\d{1,19})$", re.MULTILINE)
LATELY = 30.0
"""Seconds over which what a worker wrote counts: at least these, at most twice as many."""

Counters = dict[str, tuple[int, int]]


class Sizes(msgspec.Struct, frozen=True):
    """What Docker says the containers' files take, by id, and what it had said before that."""

    now: dict[str, int] = {}
    before: dict[str, int] | None = None

    def growth(self, container: str) -> int:
        """Bytes; 0 while it is not known."""
        if self.before is None:
            return 0
        return max(0, self.now.get(container, 0) - self.before.get(container, 0))


class Writers:
    """Remembers the workers' counters: those of half a minute ago, and of twice that."""

    def __init__(self, workers_slice: Slice) -> None:
        self._slice = workers_slice
        self._before: Counters = {}
        self._newer: Counters = {}
        self._next = 0.0

    def look(self, now: float, entries: Iterable[Entry], sizes: Sizes) -> tuple[Writer, ...]:
        """What each wrote lately, or since its start."""
        found, counters = list[Writer](), Counters()
        for entry in entries:
            if not entry.group:
                continue
            io, memory, kernel = (read_knob(file) or "" for file in self._slice.written_files(entry.group))
            written, kept = _sum(_WRITTEN, io), _sum(_KERNEL, kernel)
            earlier = self._before.get(entry.worker.id, (0, 0))
            counters[entry.worker.id] = written, kept
            wrote = max(0, written - earlier[0]) + _sum(_ON_THE_WAY, memory)
            wrote = max(wrote, sizes.growth(entry.worker.id))
            size = sizes.now.get(entry.worker.id)
            found.append(Writer(entry.worker.name, wrote, max(0, kept - earlier[1]), size))
        if now >= self._next:
            self._before, self._newer, self._next = self._newer, counters, now + LATELY
        return tuple(found)


def _sum(numbers: re.Pattern[str], text: str) -> int:
    return sum(map(int, numbers.findall(text)))
