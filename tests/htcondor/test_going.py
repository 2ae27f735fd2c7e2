"""How workers go, and what becomes of their jobs, in a real pool and under a real owner."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.harness import Engine, Load, Plancton, wait_for
from htcondor.harness import Event, Pool, calm, events, when

from plancton.config.htcondor import VOLUME
from plancton.config.load import load_config
from plancton.docker.client import Docker
from plancton.model import LEAST_SHARES
from plancton.workers.container import create_body
from plancton.workers.token import pack, read_token

BURN = """\
#!/bin/sh
end=$(( $(date +%s) + $1 ))
while [ "$(date +%s)" -lt "$end" ]; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; done
echo "burnt $1"
"""
"""Uses a CPU for this many seconds of the clock."""
WAIT = """\
#!/bin/sh
sleep $1
echo "waited $1"
"""
STUBBORN = BURN.replace("#!/bin/sh\n", "#!/bin/sh\ntrap '' TERM INT QUIT HUP\n")
LONG = 600
PATIENCE = 40.0
"""Seconds: more than the job of the first to leave may take until it runs elsewhere."""


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


def running(pool: Pool, count: int) -> dict[str, str]:
    """Wait until this many jobs run: which worker each one is on."""

    def jobs() -> dict[str, str]:
        found = {slot.name: slot.worker for slot in pool.slots() if slot.activity == "Busy"}
        return found if len(found) == count else {}

    return wait_for(f"{count} jobs run", jobs, 60, every=0.3)


def wait_for_event(pool: Pool, kind: str, count: int, timeout: float) -> Event:
    """The event of this kind with this number."""
    wait_for(f"{count} × {kind}", lambda: len(events(pool, kind)) >= count, timeout, every=0.1)
    return events(pool, kind)[count - 1]


def told_to_leave(plancton: Plancton, start: int = 0) -> str:
    """Wait until one worker is told to leave: its name."""
    lines = wait_for(
        "a worker is told to leave",
        lambda: plancton.lines("asking", "to leave", start=start),
        40,
        every=0.02,
    )
    return lines[0].partition("asking ")[2].split()[0]


def exit_codes(engine: Engine, since: float) -> dict[str, str]:
    """Of each container that ended: its exit code."""
    ended = [event["Actor"]["Attributes"] for event in engine.events(since) if event["Action"] == "die"]
    return {attributes["name"]: attributes["exitCode"] for attributes in ended}


def known_jobs(plancton: Plancton) -> dict[str, int | None]:
    """What status says about each worker."""
    status = plancton.status
    return {worker.name: worker.jobs for worker in status.workers} if status else {}


def knows_of_jobs(plancton: Plancton, count: int) -> None:
    wait_for(
        f"status shows {count} running jobs",
        lambda: sum(jobs or 0 for jobs in known_jobs(plancton).values()) == count,
        40,
        every=0.2,
    )


def counted(plancton: Plancton, done: int, evicted: int) -> dict[str, float]:
    """Wait until status has counted this many jobs: its sums."""

    def sums() -> dict[str, float]:
        work = plancton.status_json()["work"]
        return work if (work["jobs_done"], work["jobs_evicted"]) == (done, evicted) else {}

    return wait_for(f"{done} jobs done and {evicted} evicted are counted", sums, 20, every=0.5)


def two_workers(plancton: Plancton) -> None:
    """Two workers run, and stay for PATIENCE seconds of too little room."""
    plancton.configure(yielding={"grace_kill": f"{PATIENCE * 1.5:.0f}s"}, pool={"max_workers": 2})
    plancton.start()
    plancton.full(2, 60)


def test_leaving_under_load(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, worker_image: str
) -> None:
    """While the owner uses every CPU a worker leaves: its job is evicted within 5 s and runs elsewhere within
    20 s; the job of the older worker stays."""
    two_workers(plancton)
    pool.submit(BURN, str(LONG), count=2)
    running(pool, 2)
    knows_of_jobs(plancton, 2)
    with outside(plancton, engine, worker_image) as elsewhere:
        wait_for("the other worker is in the pool", lambda: elsewhere in {s.worker for s in pool.slots()}, 30)
        position = len(plancton.log)
        plancton.configure(pool={"max_workers": 1})
        wait_for("the limit is known", lambda: "configuration has changed" in plancton.log[position:], 5)
        time.sleep(PATIENCE - 4)  # the limit is known for longer than the load: only one leaves for now
        owner.start()
        loaded = time.time()
        gone = told_to_leave(plancton, position)
        told = when(plancton, f"asking {gone} to leave")
        assert told > loaded, "it was told to leave before the load: was this host idle?"
        evicted = wait_for_event(pool, "evicted", 1, 30)
        again = wait_for_event(pool, "executing", 3, 60)
        owner.stop()
        took = f"evicted {evicted.time - told:.2f} s after the signal, elsewhere {again.time - told:.2f} s"
        print(took)
        assert evicted.time - told <= 5, took
        assert again.time - told <= 20, took
        assert again.job == evicted.job
        assert elsewhere in running(pool, 2).values()
    assert len(events(pool, "evicted")) == 1, pool.describe()
    assert gone not in known_jobs(plancton), "the worker that was told to leave is still there"
    assert counted(plancton, 0, 1)["cpu_lost"] > 1


def test_leaving_without_the_way_out(plancton: Plancton, engine: Engine, pool: Pool, owner: Load) -> None:
    """Without a lift and with the least shares, as for a worker that does not fit, the same signal
    does not get the job evicted in 15 s, three times what it may take."""
    two_workers(plancton)
    pool.submit(BURN, str(LONG), count=2)
    workers = running(pool, 2)
    assert plancton.cli("stop", "--keep-workers", "--wait").returncode == 0
    assert plancton.yields, "the slice is idle class"
    owner.start()
    time.sleep(2)  # the owner's processes have the CPUs to themselves by then
    leaver = max(workers.values())
    engine.call("POST", f"/containers/{leaver}/update", {"CpuShares": LEAST_SHARES})
    engine.call("POST", f"/containers/{leaver}/kill?signal=SIGQUIT")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and not events(pool, "evicted"):
        time.sleep(0.5)
    assert not events(pool, "evicted"), f"evicted all the same: {pool.describe()}"


def test_unclaimed_goes_first(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """The worker without a job leaves, whichever is older; the other's job completes."""
    plancton.configure(yielding={"grace_kill": "6s"}, pool={"max_workers": 2})
    plancton.start()
    plancton.full(2, 60)
    cluster = pool.submit(BURN, "25")
    (busy,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    position = len(plancton.log)
    plancton.configure(pool={"max_workers": 1})
    gone = told_to_leave(plancton, position)
    assert gone != busy, f"{gone} had the only job"
    wait_for_event(pool, "terminated", 1, 60)
    assert pool.output(cluster) == "burnt 25\n"
    assert not events(pool, "evicted"), pool.describe()


@pytest.mark.light
@pytest.mark.parametrize("how", ["drain", "lifetime"])
def test_finishing(plancton: Plancton, engine: Engine, pool: Pool, how: str) -> None:
    """A worker asked to finish lets its job end, takes no other, and exits with 0."""
    seconds = 90 if how == "lifetime" else 30
    calm(plancton)
    plancton.configure(worker={"lifetime": "60s" if how == "lifetime" else "12h"})
    since = time.time()
    plancton.start()
    plancton.full(1, 60)
    cluster = pool.submit(WAIT, str(seconds), count=2)
    (worker,) = running(pool, 1).values()
    if how == "drain":
        assert plancton.cli("drain").returncode == 0
    wait_for("it is asked to finish", lambda: plancton.lines("asking", worker, "to finish"), 70, every=0.1)
    assert not events(pool, "terminated"), "the job had ended before"
    wait_for("it has ended", lambda: plancton.lines(worker, "is gone"), 90, every=0.1)
    first = wait_for_event(pool, "terminated", 1, 5)
    assert not events(pool, "evicted"), pool.describe()
    assert pool.output(cluster, int(first.job.partition(".")[2])) == f"waited {seconds}\n"
    assert exit_codes(engine, since)[worker] == "0", plancton.lines(worker)
    on_it = [e for e in events(pool, "executing") if worker in e.text]
    assert len(on_it) <= 1, f"it took another job: {on_it}"
    counted(plancton, 1, 0)


def test_stubborn_job(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job that ignores signals doesn't hold its worker: within seconds it is evicted and both are gone."""
    plancton.configure(pool={"max_workers": 1})
    plancton.start()
    plancton.full(1, 60)
    pool.submit(STUBBORN, str(LONG))
    running(pool, 1)
    since = time.time()
    assert plancton.cli("stop", "--wait").returncode == 0
    evicted = wait_for_event(pool, "evicted", 1, 5)
    assert evicted.time - since < 5, f"evicted after {evicted.time - since:.1f} s"
    assert set(exit_codes(engine, since).values()) == {"0"}, plancton.lines("is gone")


@pytest.mark.light
def test_killed_worker(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A worker that is killed outright costs its job's lease, and its job counts as lost."""
    lease = 20
    calm(plancton)
    plancton.start()
    plancton.full(1, 60)
    pool.submit(WAIT, str(LONG), job_lease_duration=lease)
    (worker,) = running(pool, 1).values()
    knows_of_jobs(plancton, 1)
    killed = time.time()
    engine.call("POST", f"/containers/{worker}/kill?signal=SIGKILL")
    again = wait_for_event(pool, "executing", 2, lease + 90)
    print(f"with a lease of {lease} s it ran elsewhere {again.time - killed:.1f} s after SIGKILL")
    assert again.time - killed >= lease - 5, f"back after {again.time - killed:.1f} s: what is the lease for?"
    counted(plancton, 0, 1)


def test_looking(plancton: Plancton, pool: Pool) -> None:
    """`status` and `top` show which workers run a job and for how long, and what was finished."""
    plancton.configure(pool={"max_workers": 1})
    plancton.start()
    plancton.full(1, 60)
    assert "no job" in plancton.cli("status").stdout
    pool.submit(BURN, "15")
    knows_of_jobs(plancton, 1)
    assert "job for" in plancton.cli("status").stdout, plancton.cli("status").stdout
    assert "job " in plancton.cli("top", "--once").stdout, plancton.cli("top", "--once").stdout
    wait_for_event(pool, "terminated", 1, 60)
    work = counted(plancton, 1, 0)
    assert 5 < work["cpu_done"] < 20, f"a job of 15 s of the clock: {work}"
    assert Path(plancton.paths.state / "work.json").exists()
