"""What the administrator has written for a unit of systemd's: its own file and its drop-ins
(systemd.unit(5), "Unit File Load Path").

systemd itself can't be asked for that: it tells what is in force, and that includes what we have
had it set.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plancton.files import read_knob
from plancton.host.topology import parse_cpus

DIRECTORIES = tuple(
    Path(directory, "systemd", kind)
    for directory, kind in (
        ("/etc", "system.control"),
        ("/run", "system.control"),
        ("/etc", "system"),
        ("/run", "system"),
        ("/usr/local/lib", "system"),
        ("/usr/lib", "system"),
        ("/lib", "system"),
    )
)
"""Of two files of one name, the one in the earlier directory counts."""


def allowed_cpus(unit: str, ours: Path, directories: Sequence[Path] = DIRECTORIES) -> frozenset[int]:
    """The CPUs of `AllowedCPUs=`; none: nothing is written about them. ``ours`` is the drop-in that
    systemd writes for us."""
    cpus = frozenset[int]()
    for value in _values("AllowedCPUs", _files(unit, ours, directories)):
        cpus = cpus | parse_cpus(",".join(value.replace(",", " ").split())) if value else frozenset()
    return cpus


def _files(unit: str, ours: Path, directories: Sequence[Path]) -> Iterator[Path]:
    """In the order in which systemd reads them."""
    yield from [path for path in (directory / unit for directory in directories) if path.is_file()][:1]
    drop_ins = dict[str, Path]()
    for directory in directories:
        for path in (directory / f"{unit}.d").glob("*.conf"):
            if path != ours:
                drop_ins.setdefault(path.name, path)
    yield from (drop_ins[name] for name in sorted(drop_ins))


def _values(key: str, files: Iterator[Path]) -> Iterator[str]:
    for file in files:
        for line in (read_knob(file) or "").replace("\\\n", " ").splitlines():
            name, _, value = line.partition("=")
            if name.strip() == key:
                yield value.strip()
