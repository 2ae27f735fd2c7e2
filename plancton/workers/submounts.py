"""What is mounted below the mounts of a worker: Docker before 25, or a kernel before 5.12, makes only
a mount itself read-only."""

import os
from collections.abc import Iterator
from pathlib import Path

from plancton.config.schema import Config
from plancton.docker.replies import Info
from plancton.files import read_knob
from plancton.host.mounts import parse_mounts, reachable
from plancton.workers.container import bind_mount, has_label
from plancton.workers.surroundings import makes_read_only_below

FEW = 3


def submount_warnings(config: Config, info: Info, proc: Path = Path("/proc")) -> Iterator[str]:
    """What a worker does not see, or can write to, unlike the configuration seems to say."""
    if makes_read_only_below(info):
        return
    mounts = parse_mounts(read_knob(proc / "self/mountinfo") or "")
    points = [mount.point for mount in reachable(mounts)]
    for mount in config.worker.mounts:
        body = bind_mount(mount)
        real = Path(os.path.realpath(body["Source"]))
        below = sorted({str(point) for point in points if real in point.parents})
        if not below or not body["ReadOnly"]:
            continue
        which = ", ".join(below[:FEW]) + (" …" if len(below) > FEW else "")
        if has_label(mount) or "Propagation" in body["BindOptions"]:
            yield (
                f"worker.mounts: {mount}: this Docker makes only the mount itself read-only: jobs can write"
                f" to {which} below it, where permissions let them"
            )
        else:
            yield (
                f"worker.mounts: {mount}: workers don't see {which} below it, which this Docker can't make"
                " read-only: mount that by itself, or add :ro,rslave if jobs may write where permissions let"
                " them"
            )
