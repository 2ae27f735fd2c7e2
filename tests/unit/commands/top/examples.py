"""Shared by the tests of `plancton top`: workers, a status, a host whose counters they move."""

from pathlib import Path
from typing import Any

import msgspec

from plancton.model import Event, Phase, Status, WorkerStatus

NOW = 1_763_845_453.0
GB = 1_000_000_000
LONG = "The owner compiles a very large program and so " + "nothing is started " * 30


def a_worker(n: int = 0, **changes: Any) -> WorkerStatus:
    worker = WorkerStatus(
        name=f"plancton-worker-{n:03}",
        id=f"{n:064x}",
        phase=Phase.RUNNING,
        cpus=1.0,
        memory_limit=2 * GB,
        age=60.0 * n,
        cpu=0.5,
        share=0.5,
        memory=512_000_000,
    )
    return msgspec.structs.replace(worker, **changes)


def a_status(count: int = 6, /, **changes: Any) -> Status:
    status = Status(
        version="1",
        pid=1,
        instance="i",
        time=NOW,
        mode="donating",
        sentence="Donating 6 of 8 CPUs; the owner uses 1.3; 6 workers running, 6 fit.",
        decision="nothing to do",
        tier="kernel",
        tier_reason="the slice is idle class",
        slice="plancton.slice",
        capacity=8.0,
        fit=6,
        owner=1.3,
        donated=6.0,
        workers=tuple(a_worker(n) for n in range(count)),
        events=tuple(Event(NOW - n, f"event {n}") for n in range(20)),
    )
    return msgspec.structs.replace(status, **changes)


class Host:
    """A fixture host: /proc and a v2 tree, whose counters a test moves."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroup = root / "proc", root / "cgroup"
        self.proc.mkdir()
        self.cgroup.mkdir()
        self.busy, self.idle = 100_000, 200_000
        self.set_busy(0.0, 0.0)
        (self.proc / "meminfo").write_text(
            "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n"
            "SwapTotal:             0 kB\nSwapFree:              0 kB\n"
        )

    def set_busy(self, busy: float, idle: float) -> None:
        """CPU seconds more than before."""
        self.busy += round(busy * 100)
        self.idle += round(idle * 100)
        cpus = "".join(f"cpu{n} {self.busy // 4} 0 0 {self.idle // 4} 0 0 0 0 0 0\n" for n in range(4))
        rewrite(self.proc / "stat", f"cpu  {self.busy} 0 0 {self.idle} 0 0 0 0 0 0\n{cpus}intr 0\n")

    def use(self, path: str, seconds: float) -> None:
        (self.cgroup / path).mkdir(parents=True, exist_ok=True)
        rewrite(
            self.cgroup / path / "cpu.stat",
            f"usage_usec {round(seconds * 1e6)}\nuser_usec 0\nsystem_usec 0\n",
        )


def rewrite(path: Path, text: str) -> None:
    """In place, as /proc does: an open descriptor sees the new text."""
    with path.open("r+" if path.exists() else "w") as file:
        file.write(text)
        file.truncate()
