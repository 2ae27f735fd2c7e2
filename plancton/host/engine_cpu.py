"""Finds the engine's processes: dockerd, containerd and their helpers.

What they use is neither the owner's nor donated. Where they are services of their own (systemd's
docker.service and containerd.service) a cgroup's figure covers them; elsewhere each process has its
own.
"""

from pathlib import Path

from plancton.files import read_knob
from plancton.host.cgroup_files import group_of

NAMES = frozenset({"dockerd", "containerd", "docker-proxy"})


def find_engine(proc: Path, tree: Path | None) -> list[Path]:
    """The files that show what the engine uses: services' `cpu.stat` in the v2 tree, else
    `/proc/PID/stat`.

    Shims outside such a service are left out: there is one for each worker, and a tick must not
    cost more with more workers (theirs is read with the workers', every few seconds).
    """
    paths = set[Path]()
    for entry in proc.glob("[0-9]*"):
        if entry.name.isdigit() and read_knob(entry / "comm") in NAMES:
            service = service_stat(proc, int(entry.name), tree)
            paths.add(service or entry / "stat")
    if not paths and tree:  # perhaps they are hidden from us (hidepid): then their services are not
        services = (tree / "system.slice" / f"{name}.service/cpu.stat" for name in ("docker", "containerd"))
        paths.update(service for service in services if service.exists())
    return sorted(paths)


def service_stat(proc: Path, pid: int, tree: Path | None) -> Path | None:
    """`cpu.stat` of the systemd service that a process belongs to; None if it is in none."""
    group = group_of(proc, pid)
    return tree / group / "cpu.stat" if tree and group and group.endswith(".service") else None
