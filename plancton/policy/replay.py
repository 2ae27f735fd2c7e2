"""Puts a recording through the policy again, as it was or with other settings. Pure except for
reading the file.

As it was, each recorded observation goes to `decide` and the decisions are compared. With other
settings the recorded workers would no longer be the ones that are there, so the owner's recorded
load meets simulated workers instead. So does a history (traces.py), which has no workers.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError
from plancton.files import from_json
from plancton.model import Decision, Header, Observation, Settings, Tick
from plancton.policy.decide import decide
from plancton.policy.simulator import Simulator
from plancton.policy.state import State

LARGEST_LINE = 64 << 20
"""Bytes; a tick of a thousand workers has 0.2 MB."""


class RecordingError(PlanctonError):
    """A file that is no recording, in one line."""


def read_recording(path: Path) -> Iterator[Header | Tick]:
    """The lines of a recording; a supervisor that runs again appends a new header to the same file."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(partial(file.readline, LARGEST_LINE), b""), 1):
                yield _line(path, number, line)
    except OSError as error:
        raise RecordingError(f"{path}: can't be read: {error.strerror}") from None


def _line(path: Path, number: int, line: bytes) -> Header | Tick:
    kind: type[Header] | type[Tick] = Header if b'"version"' in line[:20] else Tick
    try:
        return from_json(line, kind)
    except ValueError as error:
        raise RecordingError(
            f"{path}: line {number} is not of a recording (`plancton run --record`): {error}"
        ) from None


class Replayed(msgspec.Struct, frozen=True):
    """One tick; ``recorded`` is what was decided then, None where workers are simulated."""

    seen: Observation
    decision: Decision
    recorded: Decision | None = None

    @property
    def differs(self) -> bool:
        """Whether something else was done then; how it was put into words does not count."""
        return self.recorded is not None and self.recorded.actions != self.decision.actions


def replay(lines: Iterator[Header | Tick], settings: Settings | None = None) -> Iterator[Replayed]:
    """Each tick again: with ``settings`` on simulated workers, else on the recorded ones."""
    simulator, state, recorded_settings = Simulator(settings or Settings()), State(), Settings()
    for line in lines:
        if isinstance(line, Header):
            recorded_settings = line.settings
            if not line.continued:  # another run, maybe after a reboot: nothing is remembered
                simulator, state = Simulator(settings or Settings()), State()
            continue
        try:
            if settings is not None:
                replayed = _simulated(line.observation, simulator)
            else:
                decision, state = decide(line.observation, state, recorded_settings)
                replayed = Replayed(line.observation, decision, line.decision)
        except OverflowError as error:
            raise RecordingError(f"the recording has numbers that no host has: {error}") from None
        yield replayed


def simulate(observations: Iterable[Observation], settings: Settings) -> Iterator[Replayed]:
    """Each tick of an owner's load, with simulated workers."""
    simulator = Simulator(settings)
    for seen in observations:
        yield _simulated(seen, simulator)


def _simulated(recorded: Observation, simulator: Simulator) -> Replayed:
    """A tick with simulated workers in place of the recorded ones. Each uses all the CPU that it
    gets, and as much memory as a recorded one did on average."""
    fleet, count = simulator.fleet, len(recorded.fleet.workers)
    recorded_anon = recorded.slice_anon or 0
    anon = len(fleet.workers) * (recorded_anon // count) if count else 0
    available = recorded.memory_available
    if available is not None:
        available = max(0, available + recorded_anon - anon)
    used = (recorded.owner or 0.0) + (recorded.stolen or 0.0) + (recorded.engine or 0.0)
    left = max(0.0, recorded.capacity - used)
    donated = min(left, fleet.present_cpus)
    seen = msgspec.structs.replace(
        recorded,
        donated=donated,
        idle=left - donated,
        memory_available=available,
        slice_anon=anon,
        ended=(),
        fleet=fleet,
    )
    return Replayed(seen, simulator.tick(seen))
