"""What `plancton replay` says."""

from plancton.commands.replay import ReplaySummary, replay_lines
from plancton.model import Decision, Leave, Observation, Start
from plancton.policy.replay import Replayed


def replayed(time: float, fit: int, *actions: object, recorded: Decision | None = None) -> Replayed:
    decision = Decision(fit, f"{fit} fit", actions=tuple(actions))  # type: ignore[arg-type]
    return Replayed(Observation(time, time, 4.0, interval=2.0, donated=1.5, idle=0.5), decision, recorded)


def test_replay_lines() -> None:
    """A line for each action and change of fit, with the time since the beginning; none for a quiet
    tick."""
    ticks = [replayed(10.0, 2, Start("room")), replayed(11.0, 2), replayed(12.5, 1),
             replayed(13.0, 1, Leave("w1", "no room", 20.0))]  # fmt: skip
    assert list(replay_lines(ticks, ReplaySummary())) == [
        "      0.0 s  start a worker: room",
        "      2.5 s  1 fit",
        "      3.0 s  leave w1: no room",
    ]


def test_replay_differences() -> None:
    """Different decisions are shown; different wording is no difference."""
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
