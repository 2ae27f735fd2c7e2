"""What `plancton status` says."""

import time

import msgspec

from plancton.commands.status import status_lines
from plancton.model import Phase, Status, Work, WorkerStatus

STATUS = Status("1", 42, "i", 1_000.0, "donating", "Donating.", "all is well", "kernel", "", "/s", 4.0, 2)
WORKER = WorkerStatus(
    "w1", "id", Phase.RUNNING, 1.0, 2_000_000_000, age=90.0, cpu=0.5, share=0.5, memory=10**9
)


def test_status() -> None:
    """The headline, then its explanation, and nothing more if all is well."""
    assert list(status_lines(STATUS, 1_001.0)) == [
        "Donating.",
        "Mode: donating; tier: kernel; last decision: all is well.",
    ]


def test_status_that_is_old() -> None:
    """A supervisor that has been silent for more than 15 s is named with its pid."""
    assert not [line for line in status_lines(STATUS, 1_015.0) if "42" in line]
    assert [line for line in status_lines(STATUS, 1_075.0) if "pid 42" in line]


def test_problems_and_workers() -> None:
    """Problems stand out; each worker has a line below the heading."""
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
    """A worker's state tells what it does: nothing, one job or several, and for how long."""
    states = []
    for jobs, age in ((None, None), (0, None), (1, 723.0), (3, 60.0)):
        worker = msgspec.structs.replace(WORKER, jobs=jobs, job_age=age)
        lines = list(status_lines(msgspec.structs.replace(STATUS, workers=(worker,)), 1_000.0))
        states.append(lines[-1].partition("GB  ")[2])
    assert states == ["running", "running, no job", "running, job for 12m 03s", "running, 3 jobs for 1m 00s"]


def test_jobs_of_one_that_waits() -> None:
    """A worker with a job may wait for CPU, and one that leaves may still have a job."""
    waits = msgspec.structs.replace(WORKER, jobs=1, job_age=5.0, fits=False)
    leaves = msgspec.structs.replace(waits, phase=Phase.LEAVING)
    lines = list(status_lines(msgspec.structs.replace(STATUS, workers=(waits, leaves)), 1_000.0))
    assert lines[-2].endswith("running, job for 5s, waits for CPU"), lines
    assert lines[-1].endswith("leaving, job for 5s"), lines


def test_paused_and_stuck() -> None:
    """A worker that somebody has paused, and one that outlives being killed, are shown as that."""
    paused = msgspec.structs.replace(WORKER, paused=True)
    stuck = msgspec.structs.replace(WORKER, phase=Phase.KILLED, stuck=True)
    lines = list(status_lines(msgspec.structs.replace(STATUS, workers=(paused, stuck)), 1_000.0))
    assert lines[-2].endswith("running, paused") and "killed, stuck" in lines[-1], lines


def test_work() -> None:
    """What was donated since when, and the outcome as far as jobs are known."""
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
    """A status without these figures, from an older version, is shown as before."""
    assert not [line for line in status_lines(STATUS, 1_000.0) if "Since" in line or "job" in line]
