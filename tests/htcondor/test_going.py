"""How workers go, and what becomes of their jobs, in a real pool and under a real owner."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker.harness import CPUS, Engine, Load, Plancton, wait_for
from htcondor.harness import (
    HELD,
    HOME,
    Pool,
    calm,
    events,
    first_workers,
    known_jobs,
    knows_of_jobs,
    release,
    running,
    signal_shadows,
    slot_appears,
    wait_for_event,
)

from plancton.config.condor_environment import REPORT, VOLUME
from plancton.config.load import load_config
from plancton.docker.client import Docker
from plancton.history.read import open_history
from plancton.workers.container import create_body
from plancton.workers.token import pack, read_token

pytestmark = pytest.mark.docker

BURN = """\
while read -r line </proc/$$/stat; set -- $line; [ $((${14} + ${15})) -lt 200 ]; do :; done
"""
"""Uses two seconds of CPU."""
COUNTING = """\
begun=$(cat state 2>/dev/null || echo 0)
n=$begun
trap 'echo $n >state; exit 1' TERM
until [ $begun -gt 0 ]; do n=$((n + 1)); sleep 0.2; done
echo "went on at $begun"
"""
"""Counts until it is told to go, and saves that; with a saved state it ends."""
SAVES: dict[str, Any] = {"when_to_transfer_output": "ON_EXIT_OR_EVICT", "transfer_output_files": "state"}
SLOW = """\
trap 'sleep 600; echo 1 >state; exit 1' TERM
[ ! -e state ] || echo "it was saved"
until [ -e state ]; do sleep 0.2; done
"""
"""Takes longer to save its state than any worker waits."""
CHECKPOINTING = f"""\
n=0
trap 'echo $n >state; exit 85' USR2
until [ -e {VOLUME}/go ]; do n=$((n + 1)); sleep 0.2; done
echo "went on at $(cat state)"
"""
"""Counts, saves that when it is told to, and goes on in the same place."""
CHECKPOINTS: dict[str, Any] = {
    "checkpoint_exit_code": 85,
    "transfer_checkpoint_files": "state",
    "transfer_output_files": "state",
    "+WantCheckpointSignal": True,
    "+CheckpointSig": '"SIGUSR2"',
}
MUCH = 30_000_000
"""Bytes of output: more than fits on the way."""
LEASE = 20
TRICKLE = {"CpuPeriod": 1_000_000, "CpuQuota": 3_000}
"""0.3 % of a CPU: what the kernel leaves a worker beside an owner who is busy on all of them."""
STUBBORN = "trap '' TERM INT QUIT HUP; while :; do :; done"


@contextmanager
def outside(plancton: Plancton, engine: Engine, image: str) -> Iterator[str]:
    """A worker of the pool that is not Plancton's, outside its slice; its name."""
    config, name = load_config(plancton.config), f"outside-{plancton.name[-6:]}"
    body = create_body(name, config, image, "", "", "", plancton.name)
    body["Labels"] = {}
    assert config.htcondor
    with Docker(engine.socket) as docker:
        container = docker.create(name, body)
        docker.put_archive(
            container, VOLUME, pack(read_token(config.htcondor.token_file, 0.0), "65534:65534")
        )
        docker.start(container)
        try:
            yield name
        finally:
            docker.remove(container, force=True)


def told_to_leave(plancton: Plancton, start: int = 0) -> str:
    """Wait until one worker is told to leave: its name."""
    lines = wait_for(
        "a worker is told to leave", lambda: plancton.lines("asking", "to leave", start=start), every=0.02
    )
    return lines[0].partition("asking ")[2].split()[0]


def exit_codes(engine: Engine, since: float) -> dict[str, str]:
    """Of each container that ended: its exit code."""
    ended = [event["Actor"]["Attributes"] for event in engine.events(since) if event["Action"] == "die"]
    return {attributes["name"]: attributes["exitCode"] for attributes in ended}


def counted(plancton: Plancton, done: int, evicted: int) -> dict[str, float]:
    """Wait until status has counted this many jobs: its sums."""

    def sums() -> dict[str, float]:
        work = plancton.status_json()["work"]
        return work if (work["jobs_done"], work["jobs_evicted"]) == (done, evicted) else {}

    return wait_for(f"{done} jobs done and {evicted} evicted are counted", sums, every=0.5)


@pytest.mark.slow
def test_leaving_under_load(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, worker_image: str
) -> None:
    """When the owner uses the CPUs a worker gets CPU to leave with: its job is evicted and runs
    elsewhere, and the job of the older worker stays."""
    plancton.configure(pool={"max_workers": 2}, htcondor={"cpus": 0.25})
    pool.submit(HELD, count=2)
    plancton.start()
    plancton.full(2)
    running(pool, 2)
    knows_of_jobs(plancton, 2)
    with outside(plancton, engine, worker_image) as elsewhere:
        wait_for("the other worker is in the pool", lambda: elsewhere in {s.worker for s in pool.slots()})
        owner.start()
        plancton.host.owner = CPUS - 0.2  # the second worker does not fit, and leaves when no CPU is idle
        gone = told_to_leave(plancton)
        wait_for("it is lifted out", lambda: not plancton.yields, every=0.01)
        evicted = wait_for_event(pool, "evicted")
        again = wait_for_event(pool, "executing", 3)
        owner.stop()
        assert again.job == evicted.job
        assert elsewhere in running(pool, 2).values()
    assert len(events(pool, "evicted")) == 1, pool.describe()
    assert gone not in known_jobs(plancton), "the worker that was told to leave is still there"
    counted(plancton, 0, 1)


def test_state_is_saved(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, worker_image: str
) -> None:
    """Beside a busy owner a job that is told to go saves its state and sends it, and goes on from
    it elsewhere."""
    plancton.configure(pool={"max_workers": 1}, htcondor={"cpus": 0.5})
    cluster = pool.submit(COUNTING, **SAVES)
    plancton.start()
    running(pool, 1)
    with outside(plancton, engine, worker_image):
        owner.start()
        plancton.host.owner = CPUS
        told_to_leave(plancton)
        evicted = wait_for_event(pool, "evicted")
        owner.stop()
        wait_for_event(pool, "terminated")
    said = re.fullmatch(r"went on at (\d+)\n", pool.output(cluster))
    assert said and int(said[1]) > 0, f"{pool.output(cluster)}{evicted}"
    assert pool.history(cluster, "NumJobStarts") == "2"
    counted(plancton, 0, 1)


@pytest.mark.slow
def test_saves_when_it_begins_to_wait(plancton: Plancton, engine: Engine, pool: Pool, owner: Load) -> None:
    """A job that wants it is told to save its state when its worker has to wait for the owner: the
    state is sent home, and the job goes on where it is."""
    calm(plancton)
    cluster = pool.submit(CHECKPOINTING, **CHECKPOINTS)
    plancton.start()
    (worker,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    owner.start()
    plancton.host.owner = CPUS
    sent = "Finished transferring output"
    wait_for("its state is sent", lambda: [e for e in pool.events() if sent in e.text], every=0.2)
    owner.stop()
    plancton.host.owner = 0.0
    release(engine, worker)
    wait_for_event(pool, "terminated")
    assert re.fullmatch(r"went on at \d+\n", pool.output(cluster)), pool.output(cluster)
    assert pool.history(cluster, "NumJobStarts") == "1" and not events(pool, "evicted"), pool.describe()


@pytest.mark.slow
def test_state_is_saved_while_finishing(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A worker that waits for its job to end and must leave after all lets it save its state."""
    calm(plancton)
    since = time.time()
    pool.submit(COUNTING, **SAVES)
    plancton.start()
    (worker,) = running(pool, 1).values()
    assert plancton.cli("drain").returncode == 0
    wait_for("HTCondor waits for the job", lambda: pool.slots()[-1].activity == "Retiring")
    assert plancton.cli("stop", "--wait").returncode == 0
    wait_for_event(pool, "evicted")
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)
    assert [event for event in pool.events() if "Finished transferring output" in event.text], pool.describe()


@pytest.mark.parametrize("how", ["stop", pytest.param("drain", marks=pytest.mark.slow)])
def test_output_on_its_way(plancton: Plancton, engine: Engine, pool: Pool, how: str) -> None:
    """A worker that is told to go while a job that is done sends its output lets it do so: the job has
    run once, and counts as done."""
    calm(plancton)
    since = time.time()
    pool.run("mkfifo", "slow", user=True)  # takes nothing in until somebody reads
    remaps = f'"much={HOME}/slow"'
    script = f"head -c {MUCH} /dev/zero >much; {HELD}"
    files: dict[str, Any] = {"transfer_output_files": "much", "transfer_output_remaps": remaps}
    cluster = pool.submit(script, "0", request_disk="64MB", **files)
    plancton.start()
    (worker,) = running(pool, 1).values()
    inside = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root")
    release(engine, worker)
    wait_for("it is done", Path(f"{inside}{REPORT}").exists, every=0.1)
    assert plancton.cli(how).returncode == 0
    begun, log = "Vacating" if how == "stop" else "Retiring", inside / "run/condor/log/StartLog"
    wait_for("HTCondor is told", lambda: begun in log.read_text(), every=0.1)
    assert int(pool.run("sh", "-c", "wc -c <slow", user=True)) == MUCH
    wait_for_event(pool, "terminated")
    wait_for("the worker has ended", lambda: worker in exit_codes(engine, since))
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)
    assert pool.history(cluster, "NumJobStarts") == "1" and not events(pool, "evicted"), pool.describe()
    assert pool.output(cluster).startswith("job 0, user ")


@pytest.mark.slow
def test_output_that_cannot_be_sent(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job that has just ended, and whose output its submit host does not take in before the worker
    has to go, has not completed: it runs again."""
    calm(plancton)
    cluster = pool.submit(HELD, "0", job_lease_duration=20)
    plancton.start()
    (worker,) = running(pool, 1).values()
    pid = engine.inspect(worker)["State"]["Pid"]
    signal_shadows(pool, "STOP")
    release(engine, worker)
    log, done = Path(f"/proc/{pid}/root/run/condor/log/StarterLog.slot1_1"), "Process exited"
    wait_for("it has ended", lambda: done in log.read_text(), every=0.1)
    assert plancton.cli("stop", "--wait").returncode == 0
    signal_shadows(pool, "CONT")
    wait_for("it waits for another worker", lambda: pool.queue().idle == 1, every=0.3)
    assert not events(pool, "terminated") and pool.jobs("ClusterId") == [str(cluster)], pool.describe()


@pytest.mark.slow
def test_keeps_its_claim_while_it_waits(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A worker that gets no more CPU than a busy owner leaves it keeps its job for several times the
    job's lease, which is also what a claim has between two signs of life."""
    calm(plancton)
    cluster = pool.submit(HELD, "0", job_lease_duration=LEASE)
    plancton.start()
    (worker,) = running(pool, 1).values()
    engine.call("POST", f"/containers/{worker}/update", TRICKLE)
    time.sleep(4 * LEASE)
    engine.call("POST", f"/containers/{worker}/update", {"CpuPeriod": 100_000, "CpuQuota": 50_000})
    release(engine, worker)
    wait_for_event(pool, "terminated")
    assert pool.history(cluster, "NumJobStarts") == "1" and not events(pool, "evicted"), pool.describe()
    assert pool.output(cluster).startswith("job 0, user ")


def test_a_pause(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job whose worker the owner pauses for a while goes on where it was, and keeps its claim."""
    calm(plancton)
    cluster = pool.submit(HELD, "0")
    plancton.start()
    (worker,) = running(pool, 1).values()
    assert plancton.cli("pause").returncode == 0
    stopped = plancton.slice.directory / "cgroup.events"
    wait_for("it is frozen", lambda: "frozen 1" in stopped.read_text())
    plancton.goes_on(10.0)
    assert plancton.cli("resume").returncode == 0
    wait_for("it runs again", lambda: "frozen 0" in stopped.read_text())
    release(engine, worker)
    wait_for_event(pool, "terminated")
    assert pool.output(cluster).startswith("job 0, user ") and pool.history(cluster, "NumJobStarts") == "1"
    assert not events(pool, "evicted")


@pytest.mark.slow
def test_a_pause_that_is_too_long(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """After grace_kill its worker lets the job save its state, and ends in order."""
    calm(plancton)
    plancton.configure(yielding={"grace_kill": "5s"})
    since = time.time()
    pool.submit(COUNTING, **SAVES)
    plancton.start()
    (worker,) = running(pool, 1).values()
    assert plancton.cli("pause").returncode == 0
    wait_for_event(pool, "evicted")
    wait_for("the worker has ended", lambda: worker in exit_codes(engine, since))
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)
    assert [event for event in pool.events() if "Finished transferring output" in event.text], pool.describe()


def test_at_once_for_memory(plancton: Plancton, pool: Pool) -> None:
    """When the owner needs the memory nobody waits for a job to save its state: it is evicted, and
    waits to be run elsewhere."""
    calm(plancton)
    cluster = pool.submit(SLOW, **SAVES)
    plancton.start()
    running(pool, 1)
    plancton.configure(owner={"reserve_memory": "1GB"})
    plancton.host.memory_available = 0
    dropped(pool, cluster)


def test_told_twice(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A worker that is told twice to leave, which is how it is told then, drops its job and ends in
    order; Plancton, which would have killed it in a few seconds, tells it once here."""
    calm(plancton)
    since = time.time()
    cluster = pool.submit(SLOW, **SAVES)
    plancton.start()
    (worker,) = running(pool, 1).values()
    assert plancton.cli("stop").returncode == 0
    wait_for("it is told once", lambda: plancton.lines("asking", worker, "to leave"))
    engine.call("POST", f"/containers/{worker}/kill?signal=SIGQUIT")
    dropped(pool, cluster)
    wait_for("the worker has ended", lambda: worker in exit_codes(engine, since))
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)


def dropped(pool: Pool, cluster: int) -> None:
    """Wait until the job is evicted; it has saved nothing, and is in the queue again."""
    wait_for_event(pool, "evicted")
    assert not [event for event in pool.events() if "transferring output" in event.text], pool.describe()
    assert pool.jobs("NumJobStarts", "JobStatus") == ["1 1"], f"{cluster}: {pool.describe()}"


def test_what_the_slot_promises(plancton: Plancton, pool: Pool, tmp_path: Path) -> None:
    """The slot advertises how long a job may take to go, and no retirement, whatever the
    administrator's files say; a policy that holds jobs is in force all the same."""
    files = tmp_path / "condor.d"
    files.mkdir()
    text = "MAXJOBRETIREMENTTIME = 3600\nuse POLICY : HOLD_IF_MEMORY_EXCEEDED\n"
    (files / "10-site.conf").write_text(text)
    calm(plancton)
    plancton.configure(htcondor={"vacate": "7s", "config_dir": str(files)})
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    slot_appears(pool, worker)
    names = ("MachineMaxVacateTime", "MaxJobRetirementTime")
    assert pool.run("condor_status", "-af", *names).split() == ["7", "0"]
    assert "MemoryUsage" in pool.run("condor_status", "-af:r", "MaxJobRetirementTime")


@pytest.mark.slow
def test_unclaimed_goes_first(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """The worker without a job leaves, whichever is older; the other's job completes."""
    plancton.configure(yielding={"grace_kill": "6s"}, pool={"max_workers": 2}, htcondor={"cpus": 0.5})
    cluster = pool.submit(HELD, "0")
    plancton.start()
    plancton.full(2)
    (busy,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    position = len(plancton.log)
    plancton.configure(pool={"max_workers": 1})
    gone = told_to_leave(plancton, position)
    assert gone != busy, f"{gone} had the only job"
    release(engine, busy)
    wait_for_event(pool, "terminated")
    assert pool.output(cluster).startswith("job 0, user ")
    assert not events(pool, "evicted"), pool.describe()


@pytest.mark.parametrize("how", ["drain", pytest.param("lifetime", marks=pytest.mark.slow)])
def test_finishing(plancton: Plancton, engine: Engine, pool: Pool, how: str) -> None:
    """A worker asked to finish lets its job end, takes no other, and exits with 0."""
    calm(plancton)
    since = time.time()
    cluster = pool.submit(HELD, "$(Process)", 2)
    plancton.start()
    (worker,) = running(pool, 1).values()
    if how == "drain":
        assert plancton.cli("drain").returncode == 0
    else:
        plancton.configure(worker={"lifetime": "1s"})
    wait_for("it is asked to finish", lambda: plancton.lines("asking", worker, "to finish"))
    release(engine, worker)
    wait_for("it has ended", lambda: plancton.lines(worker, "is gone"))
    first = wait_for_event(pool, "terminated")
    assert not events(pool, "evicted"), pool.describe()
    process = int(first.job.partition(".")[2])
    assert pool.output(cluster, process).startswith(f"job {process}, user ")
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)
    on_it = [e for e in events(pool, "executing") if worker in e.text]
    assert len(on_it) <= 1, f"it took another job: {on_it}"
    counted(plancton, 1, 0)


@pytest.mark.slow
def test_stubborn_job(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job that ignores signals doesn't hold its worker: it is evicted, and the worker exits with
    0."""
    calm(plancton)
    plancton.configure(htcondor={"vacate": "5s"})
    pool.submit(STUBBORN)
    plancton.start()
    running(pool, 1)
    since = time.time()
    assert plancton.cli("stop", "--wait").returncode == 0
    wait_for_event(pool, "evicted")
    assert set(exit_codes(engine, since).values()) == {"0"}, plancton.lines("is gone")


@pytest.mark.slow
def test_killed_worker(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A worker that is killed outright costs its job's lease, and its job counts as lost. The next
    worker takes its slots out of the pool, which would show them for 15 minutes."""
    calm(plancton)
    pool.submit(HELD, job_lease_duration=20)
    plancton.start()
    (worker,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    engine.call("POST", f"/containers/{worker}/kill?signal=SIGKILL")
    wait_for("its slots are gone", lambda: {slot.worker for slot in pool.slots()}.isdisjoint({worker}))
    again = wait_for_event(pool, "executing", 2)
    assert worker not in again.text, again
    counted(plancton, 0, 1)


@pytest.mark.slow
def test_looking(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """`status` and `top` show which workers run a job and for how long, and what was finished."""
    calm(plancton)
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    plancton.full(1)
    assert "no job" in plancton.cli("status").stdout
    pool.submit(BURN + HELD)
    knows_of_jobs(plancton, 1)
    assert "job for" in plancton.cli("status").stdout, plancton.cli("status").stdout
    assert "job " in plancton.cli("top", "--once").stdout, plancton.cli("top", "--once").stdout
    release(engine, worker)
    wait_for_event(pool, "terminated")
    work = counted(plancton, 1, 0)
    assert work["cpu_done"] >= 1.9, f"a job that used two seconds of CPU: {work}"
    with open_history(plancton.paths.state) as history:
        assert (kept := history.work()) is not None and kept.jobs_done == 1, kept
