"""Whether Docker runs on this very host: else its pids and its cgroups are another machine's.

What is certain is refused before anything is made. The rest is a warning, and the first worker is
looked for in the slice all the same (actuator.py).
"""

import os
import re
from pathlib import Path

import msgspec

from plancton.docker.client import Docker
from plancton.docker.errors import NotDocker
from plancton.docker.replies import Info
from plancton.docker.supported import REMEDY, objection
from plancton.files import read_knob
from plancton.host.engine_cpu import listener

PROC = Path("/proc")
NOT_HERE = "Plancton needs a Docker Engine that root runs on this host itself (docker.socket)"
INITIAL = "cgroup:[4026531835]"
"""The cgroup namespace that a host boots with (include/linux/proc_ns.h, PROC_CGROUP_INIT_INO)."""
LISTENERS = frozenset({"dockerd", "systemd", "init"})
"""Who listens on Docker's socket: itself, or pid 1 for it."""
FORWARDERS = frozenset({"ssh", "sshd", "socat", "limactl", "com.docker.backe", "com.docker.prox"})
"""Who listens in place of a Docker that may be on another machine (proc_pid_comm(5): 15 characters)."""


class Here(msgspec.Struct, frozen=True):
    """This host, and who listens on Docker's socket. ``peer`` is the listener's pid: 0 if it is in
    no pid namespace that can be seen from here, None if unknown; ``usable`` are the CPUs that this
    process may run on; ``cgroups`` is a cgroup namespace."""

    kernel: str = ""
    cpus: int = 0
    cgroups: str = ""
    peer: int | None = None
    peer_name: str = ""
    peer_cgroups: str = ""
    usable: int = 0


def look_here(socket: str, proc: Path = PROC) -> Here:
    peer = listener(socket)
    return Here(
        kernel=os.uname().release,
        cpus=os.cpu_count() or 0,
        usable=len(os.sched_getaffinity(0)),
        cgroups=_namespace(proc / "self"),
        peer=peer,
        peer_name=read_knob(proc / str(peer) / "comm") or "" if peer else "",
        peer_cgroups=_namespace(proc / str(peer)) if peer else "",
    )


def _namespace(process: Path) -> str:
    """Empty where it can't be seen: others' only root sees."""
    try:
        return os.readlink(process / "ns/cgroup")
    except OSError:
        return ""


def elsewhere(info: Info, here: Here) -> str:
    """Why this Docker's containers can't be in a slice of this host; empty if they may be."""
    ours, theirs = _release(here.kernel), _release(info.kernel_version)
    if ours and theirs and ours != theirs:
        return (
            f"this Docker runs on another kernel ({info.kernel_version}) than this host ({here.kernel}),"
            " in a virtual machine or elsewhere: nothing protects the owner from its containers"
        )
    apart = here.cgroups and here.peer_cgroups and here.cgroups != here.peer_cgroups
    if apart and here.peer_name in LISTENERS:
        return (
            f"this Docker ({here.peer_name}, pid {here.peer}) has another view of the cgroups than Plancton"
            " (a cgroup namespace of its own): its containers are in no slice that can be set from here"
        )
    if here.peer == 0 and here.cgroups not in ("", INITIAL):
        return (
            "Plancton runs in a container and Docker outside of it, so its slice would be another one than"
            " Docker's: nothing would protect the owner"
        )
    return ""


def doubts(info: Info, here: Here) -> list[str]:
    """What makes it doubtful that this Docker is this host's."""
    found = []
    # Docker counts the CPUs that it may run on: not isolated ones (moby, pkg/sysinfo/numcpu_linux.go).
    if info.cpus and here.cpus and info.cpus not in (here.cpus, here.usable):
        found.append(f"Docker tells of {info.cpus} CPUs, this host has {here.cpus}: is it on this host?")
    if here.peer == 0:
        found.append("Docker's processes can't be seen here (another pid namespace): is it on this host?")
    elif here.peer_name in FORWARDERS:
        found.append(
            f"{here.peer_name} (pid {here.peer}) listens on Docker's socket, not dockerd: is it on this host?"
        )
    return found


def _release(text: str) -> tuple[str, ...]:
    """Docker writes a release of two numbers with a third (pkg/parsers/kernel)."""
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?(\S*)", text)
    return (found[1], found[2], found[3] or "0", found[4]) if found else ()


def require(docker: Docker) -> Info:
    """What an engine that can serve tells about itself; NotDocker if it can't."""
    info = docker.info()
    if problem := objection(info) or elsewhere(info, look_here(docker.socket)):
        raise NotDocker(f"{docker.socket}: {problem}; {REMEDY}")
    return info
