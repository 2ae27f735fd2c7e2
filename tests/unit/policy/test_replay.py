"""Recordings: reading them, and running them through the policy again."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from property.host import Host

from plancton.errors import PlanctonError
from plancton.model import Decision, Header, Leave, Observation, Phase, Settings, Start, Tick
from plancton.policy.decide import decide
from plancton.policy.replay import RecordingError, read_recording, replay
from plancton.policy.state import State

LIMITS = Settings(grace_kill=30.0, grace_spawn=15.0)


def recorded(seconds: int = 60, owner: float = 0.0) -> list[Header | Tick]:
    """A recording as `plancton run --record` writes it."""
    host = Host(2.0, LIMITS)
    host.owner = owner
    return [Header("1.0", LIMITS), *(Tick(seen, decision) for seen, decision in host.run(seconds))]


def written(path: Path, lines: list[Header | Tick]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return path


def test_a_recording_comes_back(tmp_path: Path) -> None:
    """A recording reads back as it was written."""
    lines = recorded()
    assert list(read_recording(written(tmp_path / "r", lines))) == lines


def test_same_limits_same_decisions(tmp_path: Path) -> None:
    """The policy decides as recorded, even if its ticks come from a file."""
    ticks = list(replay(read_recording(written(tmp_path / "r", recorded()))))
    assert len(ticks) == 60 and any(t.decision.actions for t in ticks)
    assert not [t for t in ticks if t.differs]


def test_header_in_the_middle(tmp_path: Path) -> None:
    """After a header the policy starts with nothing remembered, perhaps with other settings."""
    other = [Header("1.1", Settings(spawn_per_tick=1)), *recorded(40)[1:]]
    ticks = list(replay(iter(recorded(40) + other)))
    first, second = ticks[:40], ticks[40:]
    assert not [t for t in first if t.differs]
    starts = [sum(isinstance(a, Start) for a in t.decision.actions) for t in second]
    assert max(starts) == 1, "its own limits count"
    assert starts.index(1) == 10, "the first start comes ten seconds after the first tick, not sooner"


def test_differences_are_seen() -> None:
    """A recording of another policy shows where it decided differently."""
    header, *ticks = recorded()
    changed = [
        msgspec.structs.replace(t, decision=msgspec.structs.replace(t.decision, actions=()))
        for t in ticks
        if isinstance(t, Tick)
    ]
    different = [t for t in replay(iter([header, *changed])) if t.differs]
    assert different and all(t.decision.actions for t in different)


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b"\n", b'{"observation": {}}\n', b'{"version": 1}\n', b"\xff\xfe\n", b'{"observa']
)
def test_corrupted_line(tmp_path: Path, line: bytes) -> None:
    """A corrupt line is named with the file in one sentence; the lines before it are read."""
    path = written(tmp_path / "r", recorded(3))
    with path.open("ab") as file:
        file.write(line)
    lines, reader = [], read_recording(path)
    with pytest.raises(RecordingError) as error:
        for read in reader:
            lines.append(read)
    assert len(lines) == 4
    assert f"{path}: line 5 is not of a recording" in str(error.value)
    assert "\n" not in str(error.value) and isinstance(error.value, PlanctonError)


def test_missing_file(tmp_path: Path) -> None:
    """A missing or irregular file is reported with the reason."""
    with pytest.raises(RecordingError, match="can't be read: No such file"):
        list(read_recording(tmp_path / "none"))
    with pytest.raises(RecordingError, match="can't be read: Is a directory"):
        list(read_recording(tmp_path))


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is an empty recording."""
    assert list(replay(read_recording(written(tmp_path / "r", [])))) == []


def test_other_limits_simulate() -> None:
    """With other settings, the recorded owner meets simulated workers; the recorded ones don't
    count."""
    lines = recorded(200)
    ticks = list(replay(iter(lines), Settings(worker_cpus=0.5)))
    assert all(t.recorded is None and not t.differs for t in ticks) and len(ticks) == 200
    last = ticks[-1].seen
    assert [w.cpus for w in last.fleet.workers] == [0.5] * 4, last
    assert last.donated == 2.0 and last.idle == 0.0, last


def test_simulation_starts_again_with_a_header() -> None:
    """After a reboot the clocks start again: nothing of the earlier run is left."""
    ticks = list(replay(iter(recorded(60) + recorded(60)), Settings()))
    assert not ticks[60].seen.fleet.workers
    assert len(ticks[-1].seen.fleet.workers) == 2


def test_simulated_workers_come_and_go() -> None:
    """A worker runs one tick after its start, and is gone one tick after it was told to go."""
    lines, host = list[Header | Tick]([Header("1.0", LIMITS)]), Host(2.0, LIMITS)
    for owner in (0.0, 2.0):
        host.owner = owner
        lines += [Tick(seen, decision) for seen, decision in host.run(60)]
    ticks = list(replay(iter(lines), LIMITS))
    for before, after in pairwise(ticks):
        there = {w.name: w.phase for w in before.seen.fleet.workers}
        left = {a.name for a in before.decision.actions if isinstance(a, Leave)}
        started = sum(isinstance(a, Start) for a in before.decision.actions)
        phases = [w.phase for w in after.seen.fleet.workers]
        assert phases == [Phase.RUNNING] * (len(there.keys() - left) + started), after
    counts = [len(tick.seen.fleet.workers) for tick in ticks]
    assert max(counts) == 2 and counts[-1] == 0, counts


def test_simulated_memory() -> None:
    """Each simulated worker takes what each recorded one took, and the owner has the rest."""
    host = Host(2.0, LIMITS, memory=10_000_000_000)
    host.run(30)
    assert len(host.workers) == 2
    seen, decision = host.tick()
    first, *_ = replay(iter([Tick(seen, decision)]), LIMITS)
    assert (first.seen.slice_anon, first.seen.memory_available) == (0, 10_000_000_000), first.seen


def test_replay_is_decide() -> None:
    """A replay adds nothing of its own to the policy."""
    state, decisions = State(), []
    lines = recorded(60, owner=0.5)
    for line in lines:
        if isinstance(line, Tick):
            decision, state = decide(line.observation, state, LIMITS)
            decisions.append(decision)
    assert [t.decision for t in replay(iter(lines))] == decisions
    assert not any(isinstance(a, Leave) for d in decisions for a in d.actions)


def test_numbers_of_no_host() -> None:
    """JSON has integers of any length; one that no float can hold is said in one line."""
    seen = Observation(1.0, 1.0, 2.0, 1.0, owner=0.0, donated=0.0, memory_total=10**400, memory_available=1)
    later = msgspec.structs.replace(seen, time=2.0, boottime=2.0)
    header = Header("1", Settings(reserve_memory=10**400))
    lines: list[Header | Tick] = [header, *(Tick(each, Decision(0, "")) for each in (seen, later))]
    with pytest.raises(RecordingError, match="numbers that no host has"):
        list(replay(iter(lines)))
