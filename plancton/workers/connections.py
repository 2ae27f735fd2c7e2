"""Which worker fills the host's table of connections (conntrack), which the owner's need as well.

A full table means that no new connection is made, the owner's neither. The kernel counts a
connection in the network namespace in which its packets are tracked: on a network of Docker's a
worker's are counted in the worker's own, too (net/netfilter/nf_conntrack_standalone.c). While the
table has room, a small file is read, or two, and no worker is looked at.
"""

from collections.abc import Iterable
from pathlib import Path

from plancton.files import read_knob
from plancton.host.cgroup_files import group_of
from plancton.policy.burden import CONNECTIONS, FULL_TABLE, MANY_CONNECTIONS
from plancton.workers.roster import Entry


class ConnectionWatch:
    """Only the loop calls it, every few seconds."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._table = proc / "sys/net/netfilter"

    def look(self, entries: Iterable[Entry]) -> dict[str, str]:
        """The worker that is to blame, if one is, and why."""
        count = self._number("nf_conntrack_count")
        if count < MANY_CONNECTIONS or not 0 < FULL_TABLE * self._number("nf_conntrack_max") <= count:
            return {}
        number, name = max(((self._count(e), e.worker.name) for e in entries), default=(0, ""))
        return {name: CONNECTIONS} if number >= MANY_CONNECTIONS else {}

    def _number(self, name: str) -> int:
        text = read_knob(self._table / name) or ""
        return int(text) if text.isdecimal() and len(text) < 12 else 0

    def _count(self, entry: Entry) -> int:
        """The first column is the namespace's number of connections, in each CPU's line. 0 for a
        worker that has ended: its pid may be another process's by now."""
        if not entry.group or not (group_of(self._proc, entry.pid) or "").startswith(entry.group):
            return 0
        lines = (read_knob(self._proc / str(entry.pid) / "net/stat/nf_conntrack") or "").splitlines()
        try:
            return int(lines[1].split()[0], 16)
        except (IndexError, ValueError):
            return 0
