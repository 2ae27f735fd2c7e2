"""Finds the engine's processes: dockerd, containerd and their helpers.

What they use is neither the owner's nor donated. Where they are services of their own (systemd's
docker.service and containerd.service) a cgroup's figure covers them; elsewhere each process has its
own. A job can give its processes any name, so a name alone proves nothing.
"""

import os
import re
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from plancton.files import read_knob
from plancton.host.process_cgroup import group_of

DOCKERD, CONTAINERD = "dockerd", "containerd"
NAMES = frozenset({DOCKERD, CONTAINERD, "docker-proxy"})
MOST = 64
"""Processes that are read each tick. A host may have more docker-proxies: they count as the owner's."""
LONGEST_COMMAND = 4096
"""Bytes read of a command line."""


class Candidate(NamedTuple):
    """A process of root's with a name of the engine's, outside the slice and any container."""

    pid: int
    name: str
    parent: int


def listener(path: str) -> int | None:
    """The pid of the process that listens on this unix socket; 0: it can't be seen from here; None: unknown.

    Where systemd listens for dockerd it is systemd's: SO_PEERCRED (unix(7)) names the process that
    called listen(2).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            connection.connect(path)
            data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid: int = struct.unpack("3i", data)[0]
    return pid


def find_engine(proc: Path, tree: Path | None, listening: int | None, workers: str) -> list[Path]:
    """The files that show what the engine uses: services' `cpu.stat` in the v2 tree, else `/proc/PID/stat`.

    ``listening``: see `listener`; ``workers`` is the slice's path in the v2 tree (empty: there is
    none). Shims outside such a service are left out: there is one for each worker, and a tick must
    not cost more with more workers (theirs is read with the workers', every few seconds).
    """
    found = dict[int, Candidate]()
    for entry in os.listdir(proc):
        if entry.isdigit() and (name := read_knob(f"{proc}/{entry}/comm")) in NAMES:
            candidate = _candidate(proc, int(entry), name or "", workers)
            if candidate:
                found[candidate.pid] = candidate
    engine = [c for c in found.values() if listening not in found or _belongs(c, found, listening)]
    engine.sort(key=lambda c: (c.name not in (DOCKERD, CONTAINERD), c.pid))
    pids = [candidate.pid for candidate in engine[:MOST]]
    paths = {service_stat(proc, pid, tree) or proc / str(pid) / "stat" for pid in pids}
    if not paths and tree:  # perhaps they are hidden from us (hidepid): then their services are not
        services = (tree / "system.slice" / f"{name}.service/cpu.stat" for name in ("docker", "containerd"))
        paths.update(service for service in services if service.exists())
    return sorted(paths)


def _candidate(proc: Path, pid: int, name: str, workers: str) -> Candidate | None:
    """None for a process in the slice, in another pid namespace (a container), or not of root's."""
    if workers and f"{group_of(proc, pid) or ''}/".startswith(f"{workers}/"):
        return None
    # Not the owner of /proc/PID: that is root for every process that is not dumpable (proc(5)).
    status = _status(proc, pid)
    own = len(status.get("NSpid", "0").split()) == 1
    if not own or set(status.get("Uid", "").split()) != {"0"}:
        return None
    parent = re.match(r"[0-9]{1,10}", status.get("PPid", ""))
    return Candidate(pid, name, int(parent[0]) if parent else 0)


def _belongs(candidate: Candidate, found: dict[int, Candidate], listening: int | None) -> bool:
    """Whether it is the listener, descends from it, or is a containerd that serves any dockerd."""
    for _ in found:  # the pids are not of one moment: their parents might go round in a circle
        if candidate.pid == listening or candidate.parent not in found:
            break
        candidate = found[candidate.parent]
    return candidate.pid == listening or candidate.name == CONTAINERD


def is_in_container(proc: Path, pid: int) -> bool:
    """Whether a process is in a pid namespace below ours, as those of containers are."""
    return len(_status(proc, pid).get("NSpid", "").split()) > 1


def command_of(proc: Path, pid: int) -> list[str]:
    """The beginning of a command line. A job's is never read: it may have megabytes, and keep who
    reads it waiting for seconds (workers/running_jobs.py)."""
    if is_in_container(proc, pid):
        return [""]
    try:
        with open(proc / str(pid) / "cmdline", "rb", buffering=0) as file:
            return (file.read(LONGEST_COMMAND) or b"").decode(errors="replace").split("\0")
    except OSError:
        return [""]


def _status(proc: Path, pid: int) -> dict[str, str]:
    """Those lines of /proc/PID/status that are whole numbers; empty when the process is gone."""
    text = read_knob(proc / str(pid) / "status") or ""
    return dict(re.findall(r"^(NSpid|PPid|Uid):\s*([\d\s]*?)$", text, re.MULTILINE))


def service_stat(proc: Path, pid: int, tree: Path | None) -> Path | None:
    """`cpu.stat` of the systemd service that a process belongs to; None if it is in none."""
    group = group_of(proc, pid)
    return tree / group / "cpu.stat" if tree and group and group.endswith(".service") else None
