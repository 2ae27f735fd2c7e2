"""Shared by the tests of scripts/install: running it, a newer version's wheel, a host's files."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts/install"
NEWER = "1.0.0.dev1"
KEPT_OUT = (
    "/var/log",
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/cache",
    "/var/tmp",
    "/var/lib/systemd",
)
"""What a host does for itself meanwhile."""


def newer(wheel: Path, directory: Path) -> Path:
    """The same wheel, as if it were another version."""
    old = wheel.name.split("-")[1]
    made = directory / wheel.name.replace(old, NEWER)
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith((".dist-info/METADATA", ".dist-info/RECORD", "plancton/__init__.py")):
                data = data.replace(old.encode(), NEWER.encode())
            target.writestr(name.replace(old, NEWER), data)
    return made


def files(*roots: str) -> set[str]:
    """All files in these directories, except Python's caches."""
    return set(_below(roots))


def _below(roots: Iterable[str]) -> Iterator[str]:
    for root in roots:
        for directory, names, others in os.walk(root):
            names[:] = [n for n in names if n != "__pycache__" and f"{directory}/{n}" not in KEPT_OUT]
            yield from (f"{directory}/{name}" for name in (*names, *others))
