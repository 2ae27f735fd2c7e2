"""Which worker holds memory in sockets that the host needs: the one that has most of them.

The kernel has memory for TCP and UDP once for the whole host (tcp_mem in tcp(7), udp_mem in udp(7)),
and what waits in other sockets it counts as nobody's. While there is enough of both, one small file
is read and no worker is looked at.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from plancton.files import read_knob
from plancton.host.cgroup_files import group_of
from plancton.policy.burden import MANY_SOCKETS, MOST_SOCKETS, SOCKETS
from plancton.workers.roster import Entry

_USED = re.compile(r"^sockets: used (\d{1,9})$", re.ASCII | re.MULTILINE)
_HELD = re.compile(r"^(TCP|UDP): .*\bmem (\d{1,18})$", re.ASCII | re.MULTILINE)


class SocketWatch:
    """Only the loop calls it, every few seconds."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._pressure = {kind: _pressure(proc, kind) for kind in ("TCP", "UDP")}

    def look(self, short_of_memory: bool, entries: Iterable[Entry]) -> dict[str, str]:
        """The worker that is to blame, if one is, and why."""
        if not self._is_short():
            if not short_of_memory:
                return {}
            least = MOST_SOCKETS
        else:
            least = MANY_SOCKETS
        number, name = max(((self._count(e), e.worker.name) for e in entries), default=(0, ""))
        return {name: SOCKETS} if number >= least else {}

    def _is_short(self) -> bool:
        """Whether TCP or UDP has no more than what the kernel keeps back."""
        held = _HELD.findall(read_knob(self._proc / "net/sockstat") or "")
        return any(int(pages) >= self._pressure[kind] > 0 for kind, pages in held)

    def _count(self, entry: Entry) -> int:
        """0 for one that has ended: its pid may be another process's by now."""
        if not entry.group or not (group_of(self._proc, entry.pid) or "").startswith(entry.group):
            return 0
        used = _USED.search(read_knob(self._proc / str(entry.pid) / "net/sockstat") or "")
        return int(used[1]) if used else 0


def _pressure(proc: Path, kind: str) -> int:
    """Pages from which on the kernel is sparing with them; 0: it does not say."""
    words = (read_knob(proc / f"sys/net/ipv4/{kind.lower()}_mem") or "").split()
    return int(words[1]) if len(words) == 3 and words[1].isdecimal() else 0
