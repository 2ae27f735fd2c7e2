"""Which worker holds what the kernel has once for the host: memory in sockets, and connections.

Memory for TCP and UDP (tcp_mem in tcp(7), udp_mem in udp(7)), and what waits in other sockets, which it
counts as nobody's. The table of connections (conntrack), which an owner's new ones need as well: on a
network of Docker's a worker's are counted in the worker's own namespace, too
(net/netfilter/nf_conntrack_standalone.c). While there is enough of all, some small files are read and no
worker is looked at.
"""

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from plancton.files import read_knob, read_number, read_regular
from plancton.host.process_cgroup import group_of
from plancton.policy.burden import (
    CONNECTIONS,
    FULL_TABLE,
    MANY_CONNECTIONS,
    MANY_SOCKETS,
    MOST_SOCKETS,
    SOCKETS,
)
from plancton.workers.roster import Entry

LARGEST = 64 * 1024
"""Bytes read of a list of network devices: a worker with capabilities may make many."""
_USED = re.compile(r"^sockets: used (\d{1,9})$", re.ASCII | re.MULTILINE)
_HELD = re.compile(r"^(TCP|UDP): .*\bmem (\d{1,18})$", re.ASCII | re.MULTILINE)
_TRACKED = re.compile(r"^[^\n]*\n\s*([0-9a-f]{1,8})\b")


def text_of(entry: Entry, proc: Path, file: str) -> str:
    """What this file of its network says; empty for a worker that has ended: its pid may be another
    process's by now."""
    if not entry.group or not (group_of(proc, entry.pid) or "").startswith(entry.group):
        return ""
    try:
        return read_regular(proc / str(entry.pid) / "net" / file, LARGEST)[0].decode(errors="replace")
    except OSError:
        return ""


def _most(entries: Iterable[Entry], count: Callable[[Entry], int], least: int, why: str) -> dict[str, str]:
    """The worker that is to blame, if one is, and why."""
    number, name = max(((count(each), each.worker.name) for each in entries), default=(0, ""))
    return {name: why} if number >= least else {}


class SocketWatch:
    """Only the loop calls it, every few seconds."""

    def __init__(self, proc: Path) -> None:
        self._proc = proc
        self._pressure = {kind: _pressure(proc, kind) for kind in ("TCP", "UDP")}

    def look(self, short_of_memory: bool, entries: Iterable[Entry]) -> dict[str, str]:
        least = MANY_SOCKETS if self._is_short() else MOST_SOCKETS if short_of_memory else None
        return {} if least is None else _most(entries, self._count, least, SOCKETS)

    def _is_short(self) -> bool:
        """Whether TCP or UDP has no more than what the kernel keeps back."""
        held = _HELD.findall(read_knob(self._proc / "net/sockstat") or "")
        return any(int(pages) >= self._pressure[kind] > 0 for kind, pages in held)

    def _count(self, entry: Entry) -> int:
        used = _USED.search(text_of(entry, self._proc, "sockstat"))
        return int(used[1]) if used else 0


def _pressure(proc: Path, kind: str) -> int:
    """Pages from which on the kernel is sparing with them; 0: it does not say."""
    words = (read_knob(proc / f"sys/net/ipv4/{kind.lower()}_mem") or "").split()
    return int(words[1]) if len(words) == 3 and words[1].isdecimal() else 0


def who_fills_table(proc: Path, entries: Iterable[Entry]) -> dict[str, str]:
    """Who has most connections, once the host's table of them gets full."""
    table = proc / "sys/net/netfilter"
    count = read_number(table / "nf_conntrack_count") or 0
    if count < MANY_CONNECTIONS:
        return {}
    is_full = 0 < FULL_TABLE * (read_number(table / "nf_conntrack_max") or 0) <= count
    return _most(entries, partial(_connections, proc), MANY_CONNECTIONS, CONNECTIONS) if is_full else {}


def _connections(proc: Path, entry: Entry) -> int:
    """The first column is the namespace's number of connections, in each CPU's line."""
    tracked = _TRACKED.match(text_of(entry, proc, "stat/nf_conntrack"))
    return int(tracked[1], 16) if tracked else 0
