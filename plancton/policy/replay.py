"""Puts a recording through the policy again, as it was or with other settings. Pure but for reading the file.

As it was, each recorded observation goes to `decide` and the decisions are compared. With other
settings the recorded workers would no longer be the ones that are there, so the owner's recorded load
meets simulated workers instead. So does a history (history.py), which has no workers.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.model import (
    Action,
    Decision,
    Finish,
    Fleet,
    Header,
    Kill,
    Leave,
    Observation,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Tick,
    Worker,
    full_shares,
)
from plancton.policy.decide import State, decide


class RecordingError(PlanctonError):
    """A file that is no recording, in one line."""


def read_recording(path: Path) -> Iterator[Header | Tick]:
    """The lines of a recording; a supervisor that runs again appends a new header to the same file."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield _line(path, number, line)
    except OSError as error:
        raise RecordingError(f"{path}: can't be read: {error.strerror}") from None


def _line(path: Path, number: int, line: bytes) -> Header | Tick:
    kind: type[Header] | type[Tick] = Header if b'"version"' in line[:20] else Tick
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.DecodeError as error:
        raise RecordingError(
            f"{path}: line {number} is not of a recording (`plancton run --record`): {error}"
        ) from None


class Simulation:
    """Simulated workers on a host whose owner does as recorded.

    A worker runs one tick after its start, is gone one tick after it was told to go, uses all the CPU
    it gets and as much memory as a recorded worker did on average.
    """

    def __init__(self, settings: Settings, latency: int = 1) -> None:
        self.settings, self.latency = settings, latency
        self.state = State()
        self.workers: list[Worker] = []
        self.made = 0
        self._pending: list[tuple[int, str]] = []

    def step(self, seen: Observation) -> tuple[Observation, Decision]:
        """One tick: what is seen with these workers there, and what is decided then."""
        self._settle(seen)
        seen = self._with_workers(seen)
        decision, self.state = decide(seen, self.state, self.settings)
        for action in decision.actions:
            self._carry_out(action, seen)
        return seen, decision

    def _settle(self, seen: Observation) -> None:
        """What was under way at the tick before is done."""
        due = [name for ticks, name in self._pending if ticks <= 0]
        self._pending = [(ticks - 1, name) for ticks, name in self._pending if ticks > 0]
        for name in due:
            self.workers = [_arrived(w, seen) if w.name == name else w for w in self.workers]
            self.workers = [w for w in self.workers if w.name != name or w.phase is Phase.RUNNING]

    def _carry_out(self, action: Action, seen: Observation) -> None:
        if isinstance(action, Start):
            self.made += 1
            worker = Worker(f"worker-{self.made}", str(self.made), cpus=self.settings.worker_cpus,
                            memory=self.settings.worker_memory, shares=full_shares(self.settings.worker_cpus),
                            image=seen.image, digest=seen.digest)  # fmt: skip
            self.workers.append(worker)
            self._pending.append((self.latency - 1, worker.name))
            return
        if isinstance(action, SetQuota):
            self._change(action.name, quota=action.cpus)
            return
        if isinstance(action, SetShares):
            self._change(action.name, shares=action.shares, shares_time=seen.time)
            return
        phase = {Leave: Phase.LEAVING, Finish: Phase.FINISHING, Kill: Phase.KILLED}[type(action)]
        timeout = 5.0 if isinstance(action, Kill) else action.timeout
        self._change(action.name, phase=phase, told=seen.time, deadline=seen.time + timeout)
        self._pending = [(ticks, name) for ticks, name in self._pending if name != action.name]
        self._pending.append((self.latency - 1, action.name))

    def _change(self, name: str, **fields: object) -> None:
        self.workers = [msgspec.structs.replace(w, **fields) if w.name == name else w for w in self.workers]

    def _with_workers(self, seen: Observation) -> Observation:
        recorded = len(seen.fleet.workers)
        each = (seen.slice_anon or 0) // recorded if recorded else 0
        anon = each * len(self.workers)
        available = seen.memory_available
        if available is not None:
            available = max(0, available + (seen.slice_anon or 0) - anon)
        left = max(0.0, seen.capacity - (seen.owner or 0.0) - (seen.stolen or 0.0) - (seen.engine or 0.0))
        donated = min(left, sum(w.cpus for w in self.workers if w.phase is not Phase.STARTING))
        return msgspec.structs.replace(
            seen,
            donated=donated,
            idle=left - donated,
            memory_available=available,
            slice_anon=anon,
            ended=(),
            fleet=Fleet.of(self.workers),
        )


def _arrived(worker: Worker, seen: Observation) -> Worker:
    if worker.phase is not Phase.STARTING:
        return worker
    return msgspec.structs.replace(worker, phase=Phase.RUNNING, started=seen.boottime)


class Replayed(msgspec.Struct, frozen=True):
    """One tick of a replay; ``recorded`` is what was decided then, None where workers are simulated."""

    seen: Observation
    decision: Decision
    recorded: Decision | None = None

    @property
    def differs(self) -> bool:
        """Whether something else was done then; how it was put into words does not count."""
        return self.recorded is not None and self.recorded.actions != self.decision.actions


def replay(lines: Iterator[Header | Tick], settings: Settings | None = None) -> Iterator[Replayed]:
    """Each tick again: with ``limits`` on simulated workers, else on the recorded ones."""
    simulation, state, recorded_settings = Simulation(settings or Settings()), State(), Settings()
    for line in lines:
        if isinstance(line, Header):
            recorded_settings = line.settings
            if not line.continued:  # another run, maybe after a reboot: nothing is remembered
                simulation, state = Simulation(settings or Settings()), State()
        elif settings is not None:
            yield Replayed(*simulation.step(line.observation))
        else:
            decision, state = decide(line.observation, state, recorded_settings)
            yield Replayed(line.observation, decision, line.decision)


def simulate(observations: Iterable[Observation], settings: Settings) -> Iterator[Replayed]:
    """Each tick of an owner's load, with simulated workers."""
    simulation = Simulation(settings)
    for seen in observations:
        yield Replayed(*simulation.step(seen))
