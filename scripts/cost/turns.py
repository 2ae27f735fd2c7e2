"""Programs that take turns on the same host: each is measured while all others sleep."""

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import msgspec
from play.cgroups import cpu_used, freeze

from cost.process import memory, wakeups, written
from plancton.host.cgroup_mounts import read_layout

N = TypeVar("N", int, float)

NOBODY = "nobody"


class Measurement(msgspec.Struct, frozen=True):
    """One turn. ``cpu`` and ``engine``, dockerd's and its helpers', in percent of one core, ``pss``
    in MiB, ``wakeups`` and ``written`` (bytes) per second."""

    round: int
    name: str
    cpu: float
    engine: float
    pss: float
    wakeups: float
    written: float


class Group:
    """A cgroup in the v2 tree and all that runs in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextlib.contextmanager
    def made(cls, name: str) -> Iterator[Self]:
        """One of our own, which is empty again in the end."""
        tree = read_layout().v2
        assert tree, "there is no cgroup v2 here"
        path = tree / name
        path.mkdir()
        group = cls(path)
        try:
            yield group
        finally:
            freeze(path, False)
            group.end()
            path.rmdir()

    def start(self, command: Sequence[str | Path], **environment: str) -> subprocess.Popen[bytes]:
        """Start a program in it, quietly."""

        def begin() -> None:
            (self.path / "cgroup.procs").write_text(str(os.getpid()))

        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=begin,
            start_new_session=True,
        )

    def take(self, pid: int) -> None:
        (self.path / "cgroup.procs").write_text(str(pid))

    def pids(self) -> list[int]:
        return [int(line) for line in (self.path / "cgroup.procs").read_text().split()]

    def end(self) -> None:
        """Kill what is left in it."""
        (self.path / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + 10
        while "populated 1" in (self.path / "cgroup.events").read_text() and time.monotonic() < deadline:
            time.sleep(0.05)


class Contender:
    """A program, or ``NOBODY``, asleep until its turn. ``ask``: what is asked of it each ``every``
    seconds, by us and not at its cost."""

    def __init__(
        self, name: str, group: Group | None, ask: Callable[[], object] | None = None, every: float = 0.0
    ) -> None:
        self.name, self.group, self.ask, self.every = name, group, ask, every
        self.sleep()

    def wake(self) -> None:
        if self.group:
            freeze(self.group.path, False)

    def sleep(self) -> None:
        if self.group:
            if not self.group.pids():
                raise RuntimeError(f"{self.name} has ended")
            freeze(self.group.path, True)

    def go_on(self, seconds: float) -> None:
        """Let it run, and ask it."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if self.ask:
                with contextlib.suppress(OSError):
                    self.ask()
            pause = self.every - (time.monotonic() - now) if self.ask else seconds
            time.sleep(max(0.0, min(pause, end - time.monotonic())))


class Started(Contender):
    """A program that is started for its turn and ended after it: dockerd would go on counting for
    one that is frozen."""

    def __init__(self, name: str, group: Group, start: Callable[[], object]) -> None:
        self.start = start
        super().__init__(name, group)

    def wake(self) -> None:
        self.start()

    def sleep(self) -> None:
        if self.group:
            self.group.end()


class Awake(Contender):
    """A program that goes on while others have their turns: after being frozen it would catch up with
    what it has missed."""

    def wake(self) -> None:
        pass

    def sleep(self) -> None:
        pass


class _Counters(NamedTuple):
    time: float
    cpu: float
    engine: float
    wakeups: dict[int, int]
    written: dict[int, int]


def take_turn(
    number: int, contender: Contender, engine_cpu: Callable[[], float], settle: float, seconds: float
) -> Measurement:
    """Wake it, let it settle, and measure it for this many seconds."""
    contender.wake()
    contender.go_on(settle)
    before = _read(contender.group, engine_cpu)
    contender.go_on(seconds)
    after = _read(contender.group, engine_cpu)
    pss = sum(_each(contender.group, lambda pid: memory(pid, "Pss")).values())
    contender.sleep()
    passed = after.time - before.time
    return Measurement(
        number,
        contender.name,
        cpu=100 * (after.cpu - before.cpu) / passed,
        engine=100 * (after.engine - before.engine) / passed,
        pss=pss,
        wakeups=_more(before.wakeups, after.wakeups) / passed,
        written=_more(before.written, after.written) / passed,
    )


def _read(group: Group | None, engine_cpu: Callable[[], float]) -> _Counters:
    cpu = cpu_used([group.path]) if group else 0.0
    return _Counters(time.monotonic(), cpu, engine_cpu(), _each(group, wakeups), _each(group, written))


def _each(group: Group | None, read: Callable[[int], N]) -> dict[int, N]:
    found = dict[int, N]()
    for pid in group.pids() if group else ():
        with contextlib.suppress(OSError):  # it has ended
            found[pid] = read(pid)
    return found


def _more(before: dict[int, int], after: dict[int, int]) -> int:
    """Of those that are there in the end: what came and went in between is in the CPU time only."""
    return sum(count - before.get(pid, 0) for pid, count in after.items())


class Spread(NamedTuple):
    """Of all rounds."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))
