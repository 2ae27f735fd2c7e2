"""What the command line prints."""

import msgspec

from plancton.model import Decision, Leave, Observation, Phase, Start, Status, WorkerStatus
from plancton.replay import Replayed
from plancton.words import ReplaySummary, replay_lines, status_lines

STATUS = Status("1", 42, "i", 1_000.0, "donating", "Donating.", "all is well", "kernel", "", "/s", 4.0, 2)
WORKER = WorkerStatus(
    "w1", "id", Phase.RUNNING, 1.0, 2_000_000_000, age=90.0, cpu=0.5, share=0.5, memory=10**9
)


def replayed(time: float, fit: int, *actions: object, recorded: Decision | None = None) -> Replayed:
    decision = Decision(fit, f"{fit} fit", actions=tuple(actions))  # type: ignore[arg-type]
    return Replayed(Observation(time, time, 4.0, interval=2.0, donated=1.5, idle=0.5), decision, recorded)


def test_status() -> None:
    """The headline, then how it is meant, and nothing more when all is well."""
    assert list(status_lines(STATUS, 1_001.0)) == [
        "Donating.",
        "Mode: donating; tier: kernel; last decision: all is well.",
    ]


def test_status_that_is_old() -> None:
    """A supervisor that says nothing for more than 15 s is named with its pid."""
    assert not [line for line in status_lines(STATUS, 1_015.0) if "42" in line]
    assert [line for line in status_lines(STATUS, 1_075.0) if "pid 42" in line]


def test_problems_and_workers() -> None:
    """Problems stand out; each worker has a line under the head."""
    waits = msgspec.structs.replace(WORKER, name="w2", fits=False, cpu=None, share=None, memory=None)
    leaves = msgspec.structs.replace(WORKER, name="w3", fits=False, phase=Phase.LEAVING)
    status = msgspec.structs.replace(STATUS, problems=("no image",), workers=(WORKER, waits, leaves))
    lines = list(status_lines(status, 1_000.0))
    assert lines[2:4] == ["! no image", ""], lines
    assert lines[4].split() == ["WORKER", "AGE", "CPU", "OF", "ITS", "MEMORY", "STATE"], lines
    assert lines[5].startswith("w1 ") and "50%" in lines[5] and lines[5].endswith("running"), lines
    assert "–" in lines[6] and lines[6].endswith("running, waits for CPU"), lines
    assert lines[7].endswith("leaving"), lines
    assert len({line.index("  running") for line in lines[5:7]}) == 1, "columns stand below each other"


def test_replay_lines() -> None:
    """A line for each action and each other fit, at its time since the beginning; none for a quiet tick."""
    ticks = [replayed(10.0, 2, Start("room")), replayed(11.0, 2), replayed(12.5, 1),
             replayed(13.0, 1, Leave("w1", "no room", 20.0))]  # fmt: skip
    assert list(replay_lines(ticks, ReplaySummary())) == [
        "      0.0 s  start a worker: room",
        "      2.5 s  1 fit",
        "      3.0 s  leave w1: no room",
    ]


def test_replay_differences() -> None:
    """What was decided otherwise then is said; other words for the same are no difference."""
    was = Decision(2, "then", actions=(Start("room"),))
    same = replayed(1.0, 2, Start("room"), recorded=was)
    other = replayed(2.0, 2, recorded=was)
    summary = ReplaySummary()
    lines = list(replay_lines([same, other], summary))
    assert lines[-1] == "      1.0 s  was: then; now: 2 fit" and len(lines) == 2, lines
    assert summary.sentence(compared=True).endswith("1 decided differently")


def test_summary() -> None:
    """Ticks, actions by kind, and the CPU that was donated and left idle."""
    summary = ReplaySummary()
    assert summary.sentence(compared=False) == "0 ticks: no action; 0 CPU seconds donated, 0 idle"
    summary.add(replayed(1.0, 2, Start("a"), Start("b"), Leave("w", "c", 1.0)))
    summary.add(replayed(2.0, 2))
    said = summary.sentence(compared=True)
    assert said == ("2 ticks: 1 × leave, 2 × start; 6 CPU seconds donated, 2 idle; all decided as recorded")
