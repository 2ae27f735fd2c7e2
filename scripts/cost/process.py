"""What a process uses, as the kernel counts it (proc(5))."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
MIB = 1 << 20


def cpu_seconds(pid: int) -> float:
    """Of all its threads that live."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in _tasks(pid)) / 1e9


def cpu_part(pid: int, seconds: float) -> float:
    """Percent of one core, over this many seconds."""
    before, begin = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - begin)


def waited(pid: int) -> float:
    """Seconds that its main thread was ready to run and waited for a CPU."""
    return int((PROC / str(pid) / "schedstat").read_text().split()[1]) / 1e9


def wakeups(pid: int) -> int:
    """How often any of its threads has gone to sleep, which is how often it was woken."""
    text = "\n".join((task / "status").read_text() for task in _tasks(pid))
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt"))


def written(pid: int) -> int:
    """Bytes that it has written to anything by write(2)."""
    text = (PROC / str(pid) / "io").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("wchar:")).split()[1])


def memory(pid: int, kind: str = "Rss") -> float:
    """MiB. Pss shares out the pages that other processes have as well."""
    text = (PROC / str(pid) / "smaps_rollup").read_text()
    return int(next(line for line in text.splitlines() if line.startswith(f"{kind}:")).split()[1]) / 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(PROC / str(pid) / "fd"))


def threads(pid: int) -> int:
    return len(os.listdir(PROC / str(pid) / "task"))


def stalled() -> float:
    """Seconds in which nothing on this machine could go on for want of memory or of a disk (PSI);
    0 where the kernel does not say."""
    return sum(_full(kind) for kind in ("memory", "io"))


def _full(kind: str) -> float:
    try:
        text = (PROC / "pressure" / kind).read_text()
    except OSError:
        return 0.0
    return sum(int(line.rpartition("=")[2]) for line in text.splitlines() if line.startswith("full")) / 1e6


def _tasks(pid: int) -> Iterator[Path]:
    return (PROC / str(pid) / "task").iterdir()
