"""What the command line prints."""

import time

import msgspec

from plancton.commands.status import ReplaySummary, replay_lines, status_lines
from plancton.model import Decision, Leave, Observation, Phase, Start, Status, Work, WorkerStatus
from plancton.policy.replay import Replayed

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


def test_jobs() -> None:
    """What a worker does is with its state: nothing, one job or several, and for how long."""
    states = []
    for jobs, age in ((None, None), (0, None), (1, 723.0), (3, 60.0)):
        worker = msgspec.structs.replace(WORKER, jobs=jobs, job_age=age)
        lines = list(status_lines(msgspec.structs.replace(STATUS, workers=(worker,)), 1_000.0))
        states.append(lines[-1].partition("GB  ")[2])
    assert states == ["running", "running, no job", "running, job for 12m 03s", "running, 3 jobs for 1m 00s"]


def test_jobs_of_one_that_waits() -> None:
    """A worker with a job may wait for CPU, and one that leaves may have a job still."""
    waits = msgspec.structs.replace(WORKER, jobs=1, job_age=5.0, fits=False)
    leaves = msgspec.structs.replace(waits, phase=Phase.LEAVING)
    lines = list(status_lines(msgspec.structs.replace(STATUS, workers=(waits, leaves)), 1_000.0))
    assert lines[-2].endswith("running, job for 5s, waits for CPU"), lines
    assert lines[-1].endswith("leaving, job for 5s"), lines


def test_work() -> None:
    """What was donated since when, and what became of it as far as jobs are known."""
    since = time.mktime((2026, 11, 23, 12, 0, 0, 0, 0, -1))
    work = Work(since, cpu_donated=7_200.0)
    plain = msgspec.structs.replace(STATUS, work=work)
    assert list(status_lines(plain, 1_000.0))[2:] == ["Since 2026-11-23: 2h 00m of CPU time donated."]
    done = msgspec.structs.replace(work, jobs_done=12, jobs_evicted=1, cpu_done=7_000.0, cpu_lost=63.0)
    assert list(status_lines(msgspec.structs.replace(STATUS, work=done), 1_000.0))[2:] == [
        "Since 2026-11-23: 2h 00m of CPU time donated; 12 jobs done, 1 evicted"
        " (lost with them: 1m 03s of CPU time)."
    ]
    only = msgspec.structs.replace(work, jobs_evicted=1)
    assert "0 jobs done, 1 evicted" in list(status_lines(msgspec.structs.replace(STATUS, work=only), 1.0))[2]


def test_status_of_an_older_plancton() -> None:
    """A status without these figures, as an older version writes it, is shown as it was."""
    assert not [line for line in status_lines(STATUS, 1_000.0) if "Since" in line or "job" in line]


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
