"""What the administrator has written for a unit of systemd's: its own file and its drop-ins
(systemd.unit(5), "Unit File Load Path").

systemd itself can't be asked for that: it tells what is in force, and that includes what we have had it set.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from plancton.files import read_knob
from plancton.host.slice_bounds import Limits
from plancton.host.topology import parse_cpus

DIRECTORIES = (
    *(Path(top, "systemd/system.control") for top in ("/etc", "/run")),
    *(Path(top, "systemd/system") for top in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")),
)
"""Of two files of one name, the one in the earlier directory counts."""
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([KMGTPE]?)B?", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%", re.ASCII)


def read_limits(unit: str, ours: Iterable[Path], directories: Sequence[Path] = DIRECTORIES) -> Limits:
    """``ours`` are the drop-ins that systemd writes for us."""
    found = dict[str, int | None]()
    quota: float | None = None
    allowed = frozenset[int]()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for key, value in _assignments(_files(unit, frozenset(ours), directories)):
        with suppress(ValueError):  # systemd passes over what it does not understand, too
            if key == "AllowedCPUs":
                more = parse_cpus(",".join(value.replace(",", " ").split()))
                allowed = allowed | more if value else frozenset()
            elif key == "CPUQuota":
                quota = _percent(value) if value else None
            elif key in ("MemoryMax", "MemorySwapMax", "TasksMax"):
                found[key] = _amount(value, None if key == "TasksMax" else memory)
    return Limits(found.get("MemoryMax"), found.get("MemorySwapMax"), quota, found.get("TasksMax"), allowed)


def _percent(value: str) -> float:
    found = _PERCENT.fullmatch(value)
    if not found:
        raise ValueError(value)
    return float(found[1]) / 100


def _amount(value: str, whole: int | None) -> int | None:
    """A size or a number in systemd's words; ``whole`` is what a percentage is of."""
    if value in ("", "infinity"):
        return None
    if found := _SIZE.fullmatch(value):
        return int(float(found[1]) * 1024 ** " KMGTPE".index(found[2] or " "))
    if whole is None:
        raise ValueError(value)
    return int(_percent(value) * whole)


def _files(unit: str, ours: frozenset[Path], directories: Sequence[Path]) -> Iterator[Path]:
    """In the order in which systemd reads them."""
    yield from [path for path in (directory / unit for directory in directories) if path.is_file()][:1]
    drop_ins = dict[str, Path]()
    for directory in directories:
        for path in (directory / f"{unit}.d").glob("*.conf"):
            if path not in ours:
                drop_ins.setdefault(path.name, path)
    yield from (drop_ins[name] for name in sorted(drop_ins))


def _assignments(files: Iterator[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        for line in (read_knob(file) or "").replace("\\\n", " ").splitlines():
            name, is_one, value = line.partition("=")
            if is_one:
                yield name.strip(), value.strip()
