"""What becomes of a job when memory runs out: its own worker's, or that of all workers together."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for
from htcondor.harness import HELD, Pool, calm, events, knows_of_jobs, release, running, wait_for_event

from plancton.config.condor_environment import REPORT

pytestmark = pytest.mark.docker

WRAPPER = Path(__file__).parents[2] / "scripts" / "worker-image" / "job-wrapper"
TAKES_ALL = {"executable": "/usr/bin/tail", "arguments": "/dev/zero", "transfer_input_files": ""}
SMALL = "while :; do (head -c 6000000 /dev/zero; sleep 600) | tail >/dev/null & sleep 0.05; done"
"""Starts processes of 6 MB without an end, and takes no notice of those that the kernel ends."""
MODEST = f"(head -c 70000000 /dev/zero; {HELD}) | tail >/dev/null"
"""Has 70 MB in one process until it is released."""
SLICE = 350_000_000
HOLDS = "(head -c 230000000 /dev/zero; sleep 20) | tail >/dev/null"
"""Holds 230 MB for a while, within its own worker's limit."""


def whole_slice(engine: Engine, worker: str) -> Path:
    """The file with the limit on all workers' memory."""
    pid = engine.inspect(worker)["State"]["Pid"]
    groups = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    v1 = "memory" in groups
    path = Path(groups["memory" if v1 else ""]).parent
    root = Path("/sys/fs/cgroup", "memory" if v1 else "")
    return root / path.relative_to("/") / ("memory.limit_in_bytes" if v1 else "memory.max")


def test_a_job_that_takes_all_memory(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job that takes more memory than its worker has is held with a reason, counts neither as
    done nor as evicted, and its worker takes other jobs."""
    calm(plancton)
    cluster = pool.submit("", count=2, **TAKES_ALL)
    plancton.start()
    wait_for_event(pool, "held", 2)
    held = pool.jobs("ClusterId", "JobStatus", "HoldReasonCode", "HoldReason")
    assert len(held) == 2 and all(job.startswith(f"{cluster} 5 21 ") for job in held), held
    assert all("took all of the memory" in job for job in held), held
    pool.submit(HELD)
    (worker,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    release(engine, worker)
    wait_for_event(pool, "terminated")
    wait_for("it is counted", lambda: plancton.status_json()["work"]["jobs_done"] == 1, every=0.5)
    assert plancton.status_json()["work"]["jobs_evicted"] == 0
    assert len(plancton.lines(" starting plancton-worker-")) == 1, "its worker has ended"


def starters(plancton: Plancton, worker: str) -> set[float]:
    """When the processes that HTCondor keeps for a worker's jobs began."""
    began = set()
    for pid in (plancton.slice.tree / plancton.group(worker) / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it may be gone again
            stat = Path(f"/proc/{pid}/stat").read_text().split()
            began |= {int(stat[21]) / 100} if stat[1] == "(condor_starter)" else set()
    return began


@pytest.mark.slow
def test_many_small_processes(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job whose many small processes take all of its worker's memory is held with the reason
    although it goes on, and its worker takes other jobs. Its report says which was which."""
    calm(plancton)
    cluster = pool.submit(SMALL)
    plancton.start()
    wait_for_event(pool, "held")
    held = pool.jobs("ClusterId", "JobStatus", "HoldReasonCode", "NumJobStarts", "HoldReason")
    assert len(held) == 1 and held[0].startswith(f"{cluster} 5 21 1 "), held
    assert "took all of the memory" in held[0], held
    pool.submit(HELD)
    (worker,) = running(pool, 1).values()
    began = starters(plancton, worker)
    file = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root{REPORT}")
    release(engine, worker)
    wait_for_event(pool, "terminated")
    assert len(plancton.lines(" starting plancton-worker-")) == 1, "its worker has ended"
    wait_for("both are reported", lambda: len(file.read_text().splitlines()) == 2, every=0.2)
    (how, *_), (end, _, known) = (line.split() for line in file.read_text().splitlines())
    assert how in ("hold", "remove") and end == "exit", file.read_text()
    assert float(known) in began, f"{file.read_text()}: its starter began at {began}"


@pytest.mark.slow
def test_beside_another_job(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Of two jobs in one worker, the one that takes more than its slot has is held; the other is not,
    though the kernel ends its larger process first: it runs again."""
    calm(plancton)
    plancton.configure(htcondor={"cpus": 2})
    modest = pool.submit(MODEST, request_memory="128MB")
    plancton.start()
    (worker,) = running(pool, 1).values()
    hog = pool.submit(SMALL)
    wait_for_event(pool, "held")
    held = pool.run("condor_q", "-allusers", "-hold", "-af", "ClusterId", "HoldReasonCode", "HoldReason")
    assert held.startswith(f"{hog} 21 ") and held.count("took all of the memory") == 1, held
    assert set(running(pool, 1).values()) == {worker}
    release(engine, worker)
    wait_for_event(pool, "terminated")
    wait_for("it has left the queue", lambda: pool.history(modest, "ClusterId"), every=0.3)
    status, code, starts = pool.history(modest, "JobStatus", "ExitCode", "NumJobStarts").split()
    assert (status, code) == ("4", "0") and int(starts) > 1, pool.describe()


@pytest.mark.slow
def test_a_full_slice(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job that the kernel killed because all workers together had too little memory is queued
    again: it neither counts as completed nor is it held."""
    calm(plancton, 2)
    plancton.start()
    worker, _ = plancton.full(2)
    total = plancton.host.memory_available = plancton.host.memory_total
    wait_for("it is known", lambda: plancton.status_json()["memory_available"] == total, every=0.2)
    plancton.configure(owner={"reserve_memory": total - SLICE})
    limit = whole_slice(engine, worker)
    wait_for("the slice is limited", lambda: int(limit.read_text()) <= SLICE)
    pool.submit(HOLDS, count=2)
    wait_for_event(pool, "evicted")
    assert not events(pool, "terminated") and not events(pool, "held"), pool.describe()
    assert {job.split()[0] for job in pool.jobs("JobStatus")} <= {"1", "2"}, pool.describe()


def test_a_job_that_cannot_be_executed(plancton: Plancton, pool: Pool) -> None:
    """A program that can't be executed is held with the reason, as without our wrapper."""
    calm(plancton)
    pool.run("sh", "-c", "printf '#!/bin/nowhere\\n' >program; chmod +x program", user=True)
    pool.submit("", executable="program", transfer_executable=True)
    plancton.start()
    wait_for_event(pool, "held")
    assert "can't be executed" in pool.jobs("HoldReason")[0]


def test_the_memory_is_the_jobs_own(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """In a full worker the kernel takes the job before HTCondor's own processes."""
    calm(plancton)
    pool.submit("sleep 600")
    plancton.start()
    (worker,) = running(pool, 1).values()
    scores = dict[str, str]()

    def known() -> bool:
        group = plancton.group(worker)
        for pid in (plancton.slice.tree / group / "cgroup.procs").read_text().split():
            process = Path(f"/proc/{pid}")
            scores[(process / "comm").read_text().strip()] = (process / "oom_score_adj").read_text().strip()
        return "sleep" in scores

    wait_for("the job runs", known)
    assert scores["sleep"] == "1000"
    assert scores["condor_master"] == scores["condor_startd"] == "900"


# ---------------------------------------------------------------- the wrapper alone


def run(tmp_path: Path, before: str, after: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the wrapper while the cgroup's memory.events change."""
    group, place = tmp_path / "cgroup", tmp_path / "run"
    group.mkdir()
    place.mkdir()
    (group / "memory.events").write_text(before)
    (tmp_path / "ad").write_text("ClusterId = 12\nProcId = 3\n")
    change = f"printf '{after}' >/sys/fs/cgroup/memory.events; {' '.join(command)}"
    prepare = (
        'mount --bind "$1" /sys/fs/cgroup && mkdir -p /run/condor && mount --bind "$2" /run/condor'
        ' && exec perl "$3" sh -c "$4"'
    )
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", prepare, "sh", group, place, WRAPPER, change],
        env={**os.environ, "_CONDOR_JOB_AD": str(tmp_path / "ad")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15)]
)
def test_an_ordinary_end(tmp_path: Path, command: str, code: int) -> None:
    """A job that nobody killed for memory ends as without the wrapper, by exit code or signal."""
    none = "oom 0\\noom_kill 0\\n"
    done = run(tmp_path, none.replace("\\n", "\n"), none, command)
    assert done.returncode == code, done
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(("killed", "command"), [(1, "exit 0"), (4, "sleep 4; exit 0")])
def test_a_job_that_coped(tmp_path: Path, killed: int, command: str) -> None:
    """A job that lost a process to the kernel, or some while the wrapper looked, and succeeded all the
    same has succeeded."""
    done = run(tmp_path, "oom 0\noom_kill 0\n", f"oom {killed}\\noom_kill {killed}\\n", command)
    assert done.returncode == 0 and not list((tmp_path / "run").iterdir())
