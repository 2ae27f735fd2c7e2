"""Whatever the kernel's files hold, at any tick: the supervisor lives, decides nothing harmful, and
sees its host again at the second tick with good figures.

Real files, the real sampler, and all that makes a decision of them; the clock is the test's.
Failures repeat. More examples: HYPOTHESIS_EXAMPLES=5000 pytest tests/property/test_readings.py
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given, settings
from unit import trees

from plancton.daemon import host_figures
from plancton.daemon.host_figures import HostFigures
from plancton.files import to_json
from plancton.host.cgroup_mounts import Layout
from plancton.host.sampler import Sampler
from plancton.host.slice import Slice
from plancton.model import (
    Decision,
    Fleet,
    Kill,
    Leave,
    Observation,
    Phase,
    Settings,
    Start,
    Tick,
    Worker,
)
from plancton.policy.decide import decide
from plancton.policy.state import State

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0")) or 60
GB = 1_000_000_000
HZ = os.sysconf("SC_CLK_TCK")
CPUS, ENGINE = 4, 0.1
BEGIN = 1_000.0
SETTINGS = Settings(worker_memory=GB // 4, grace_kill=15.0, grace_spawn=6.0, reserve_memory=GB // 2)
FILES = (
    "proc/stat", "proc/meminfo", "proc/7/stat",
    "proc/7/status", "proc/7/cgroup", "proc/7/comm",
    "v2/slice/cpu.stat", "v2/slice/memory.stat",
)  # fmt: skip
ANY_ERRNO = sorted(errno.errorcode)


class Trouble(NamedTuple):
    """What is wrong with one file at one tick: it can't be opened, or holds something else."""

    file: str
    error: int = 0
    text: bytes | None = None
    cut: tuple[int, int] | None = None
    """These bytes of the good text are missing."""
    twice: bool = False
    digits: str = ""
    """Instead of the first number of each line."""


class Host:
    """An owner's load, ``workers`` that take a CPU each, and a supervisor that looks at both."""

    def __init__(self, root: Path, owner: float, workers: int) -> None:
        self.root, self.owner, self.time = root, owner, 0.0
        self.donated = min(float(workers), CPUS - owner - ENGINE)
        fleet = [
            Worker(f"w{n}", f"id{n}", Phase.RUNNING, memory=GB // 4, started=BEGIN) for n in range(workers)
        ]
        self.fleet, self.state, self.said = Fleet.of(fleet), State(), list[str]()
        self.write([])
        self.figures = HostFigures(root / "proc", None, self.said.append, self.said.append)
        self.figures.watch_slice(Slice(Layout(root / "v2"), "slice", "cgroupfs"))

    def good(self) -> dict[str, str]:
        """What each file holds now."""
        used = BEGIN + (self.owner + self.donated + ENGINE) * self.time
        idle = BEGIN + (CPUS - self.owner - self.donated - ENGINE) * self.time
        cpu = (round(used * HZ), 0, 0, round(idle * HZ), 0, 0, 0, 0)
        return {
            "proc/7/status": "Name:\tdockerd\nPPid:\t1\nUid:\t0\t0\t0\t0\nNSpid:\t7\n",
            "proc/7/cgroup": "0::/\n",
            "proc/7/comm": "dockerd\n",
            "proc/stat": trees.stat(cpu, CPUS),
            "proc/meminfo": trees.meminfo(),
            "proc/7/stat": trees.pid_stat(7, "dockerd", utime=round(ENGINE * self.time * HZ), stime=0),
            "v2/slice/cpu.stat": trees.cpu_stat(round((10 + self.donated * self.time) * 1e6)),
            "v2/slice/memory.stat": trees.memory_stat(GB // 2),
        }

    def write(self, troubles: list[Trouble]) -> None:
        texts = {name: text.encode() for name, text in self.good().items()}
        for trouble in troubles:
            texts[trouble.file] = spoiled(texts[trouble.file], trouble)
        for name, text in texts.items():
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)

    def tick(self, troubles: list[Trouble]) -> tuple[Observation, Decision]:
        self.time += 1.0
        self.write(troubles)
        with refusing({str(self.root / t.file): t.error for t in troubles if t.error}):
            if self.time % 4 == 0:
                self.figures.watch_engine(7)
            seen = self.figures.look(0.0, self.time)
        seen = msgspec.structs.replace(seen, fleet=self.fleet, image="", digest="")
        seen = msgspec.structs.replace(seen, image="i", max_workers=8)
        decision, self.state = decide(seen, self.state, SETTINGS)
        return seen, decision


def spoiled(text: bytes, trouble: Trouble) -> bytes:
    if trouble.error:
        return b""  # who has it open must open it again, and can't
    if trouble.text is not None:
        return trouble.text
    if trouble.cut:
        text = text[: trouble.cut[0]] + text[trouble.cut[0] + trouble.cut[1] :]
    if trouble.digits:
        lines = (line.split(b" ") for line in text.split(b"\n"))
        text = b"\n".join(b" ".join(with_number(words, trouble.digits.encode())) for words in lines)
    return text * 2 if trouble.twice else text


def with_number(words: list[bytes], digits: bytes) -> list[bytes]:
    first = next((i for i, word in enumerate(words) if word.isdigit()), None)
    return words if first is None else [*words[:first], digits, *words[first + 1 :]]


@contextmanager
def refusing(errors: dict[str, int]) -> Iterator[None]:
    """These files can't be opened meanwhile."""
    real = os.open

    def refuse(path: str | Path, *arguments: int, **more: int) -> int:
        if number := errors.get(str(path)):
            raise OSError(number, os.strerror(number))
        return real(path, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", refuse)
        yield


@contextmanager
def host(owner: float, workers: int) -> Iterator[Host]:
    it: Host

    class Steady(Sampler):
        def clocks(self) -> tuple[float, float]:
            return it.time, BEGIN + it.time

    with tempfile.TemporaryDirectory() as root, pytest.MonkeyPatch.context() as patch:
        patch.setattr(host_figures, "Sampler", Steady)
        it = Host(Path(root), owner, workers)
        yield it
        it.figures.close()


NUMBERS = st.sampled_from(
    ["0", "1", "-1", "12", str(2**31), str(2**62), str(2**64 - 1), str(2**64), "9" * 40]
)
TEXTS = st.binary(max_size=80) | st.text(alphabet="cpu 0123456789\n:kB-", max_size=120).map(str.encode)
CUTS = st.tuples(st.integers(0, 300), st.integers(1, 300))


@st.composite
def troubles(draw: st.DrawFn) -> Trouble:
    name = draw(st.sampled_from(FILES))
    kind = draw(st.sampled_from(["error", "text", "cut", "digits"]))
    if kind == "error":
        return Trouble(name, error=draw(st.sampled_from(ANY_ERRNO)))
    if kind == "text":
        return Trouble(name, text=draw(TEXTS))
    if kind == "cut":
        return Trouble(name, cut=draw(CUTS))
    return Trouble(name, twice=draw(st.booleans()), digits=draw(NUMBERS))


BAD_TICKS = st.lists(st.lists(troubles(), max_size=3), min_size=1, max_size=6)


def check(seen: Observation, decision: Decision) -> None:
    """What holds at any tick."""
    assert 0 < seen.capacity < 10_000, seen
    for rate in (seen.owner, seen.stolen, seen.idle):
        assert rate is None or 0 <= rate <= seen.capacity, seen
    assert seen.donated is None or 0 <= seen.donated <= 2 * seen.capacity, seen
    if not seen.unknown and seen.memory_available is not None:
        assert seen.memory_available <= seen.memory_total, seen
    short = seen.memory_available is not None and seen.memory_available < SETTINGS.reserve_memory
    for action in decision.actions:
        if isinstance(action, Start):
            assert seen.owner is not None and not seen.unknown, (seen, action)
        if isinstance(action, Leave | Kill):
            assert short, f"{action}: nobody has to go"
    assert msgspec.json.decode(to_json(Tick(seen, decision)), type=Tick).observation.time == seen.time


@settings(max_examples=EXAMPLES, derandomize=True)
@given(bad=BAD_TICKS, owner=st.sampled_from([0.0, 1.5, 3.9]), workers=st.integers(0, 2))
def test_any_text_in_any_file(bad: list[list[Trouble]], owner: float, workers: int) -> None:
    """No text and no error ends it, starts a worker or drives one away; two good ticks, and the
    owner is seen as before."""
    with host(owner, workers if owner < 3 else 0) as it:
        for _ in range(12):
            seen, decision = it.tick([])
            check(seen, decision)
        assert seen.engine == pytest.approx(ENGINE), "the engine was not found"
        for wrong in bad:
            seen, decision = it.tick(wrong)
            check(seen, decision)
            assert bool(it.figures.problem) == bool(seen.unknown), it.figures.problem
            if owner > 3:
                assert not any(isinstance(action, Start) for action in decision.actions), decision
        it.tick([])
        seen, decision = it.tick([])
        check(seen, decision)
        assert not it.figures.problem, it.figures.problem
        assert seen.owner is not None and owner - 0.05 <= seen.owner <= owner + ENGINE + 0.05, seen
        assert seen.capacity == CPUS, seen


@settings(max_examples=EXAMPLES // 3, derandomize=True)
@given(wrong=troubles(), busy=st.booleans())
def test_any_trouble_that_lasts(wrong: Trouble, busy: bool) -> None:
    """However long one file is wrong, a busy host is not taken for an idle one, nor the other way
    round."""
    with host(3.9 if busy else 0.0, 0 if busy else 2) as it:
        for second in range(60):
            seen, decision = it.tick([wrong] if second >= 12 else [])
            check(seen, decision)
            if busy:
                assert not any(isinstance(action, Start) for action in decision.actions), decision
