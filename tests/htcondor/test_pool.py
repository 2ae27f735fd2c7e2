"""Plancton's workers in a real pool: they join, work, and cope when it is gone or refuses them."""

import json
import time
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine, Plancton, idle_cpus, wait_for
from htcondor.harness import (
    HOST,
    Pool,
    calm,
    close_door,
    drops,
    events,
    knock,
    open_to_all,
    run_worker,
    slot_appears,
    wait_for_done,
    wait_for_executing,
    when,
    write_token,
)

pytestmark = pytest.mark.docker

HELLO = 'sleep 2; echo "job $1, user $(id -u)"'
TO_JOIN = 15.0
"""Seconds from the decision to start a worker until its slot is in the collector."""
RECONNECT = 20
"""Seconds after which a worker that has lost the central manager's broker has tried it again
(CCB_RECONNECT_TIME is 15)."""
NOBODY = "192.0.2.1:9618"
"""An address for documentation (RFC 5737): nobody answers."""


def host_is_idle() -> bool:
    """Wait until the host is idle: other work on this machine counts as the owner's and slows workers."""
    before = idle_cpus()
    time.sleep(0.5)
    return idle_cpus() - before > 0.4 * CPUS


def started(plancton: Plancton) -> list[str]:
    """Names of the workers that the supervisor has started, in order."""
    return [line.rpartition(" ")[2] for line in plancton.lines(" starting plancton-worker-")]


def first_workers(plancton: Plancton, count: int) -> list[str]:
    wait_for(f"{count} workers are started", lambda: len(started(plancton)) >= count, 30, every=0.1)
    return started(plancton)


def test_joins_works_and_leaves(plancton: Plancton, pool: Pool) -> None:
    """Workers are in the pool within 15 s, run an ordinary user's jobs, and end by themselves when idle."""
    calm(plancton, 2)
    plancton.configure(htcondor={"idle_shutdown": "20s"})
    cluster = pool.submit(HELLO, "$(Process)", 6)
    wait_for("the host is idle", host_is_idle, 90)
    plancton.start()
    workers = first_workers(plancton, 2)
    for worker in workers:
        took = slot_appears(pool, worker, TO_JOIN + 10) - when(plancton, "starting", worker)
        print(f"{worker} is in the pool {took:.1f} s after the decision to start it")
        assert took <= TO_JOIN, f"after {took:.1f} s"
    hosts = {slot.name: slot.host for slot in pool.slots()}
    assert set(hosts.values()) == {HOST}, f"PlanctonHost is {hosts}"
    wait_for_done(pool, 6, 60)
    outputs = [pool.output(cluster, process) for process in range(6)]
    assert outputs == [f"job {process}, user 65534\n" for process in range(6)]
    assert not events(pool, "evicted"), pool.describe()
    wait_for("they leave", lambda: not any(slot.worker in workers for slot in pool.slots()), 60, every=0.3)
    wait_for("both have ended", lambda: len(plancton.lines("ended after")) >= 2, 10)
    for worker in workers:
        assert plancton.lines(worker, "ended after", "exit code 0"), plancton.lines(worker)
    wait_for("all are counted", lambda: plancton.status_json()["work"]["jobs_done"] == 6, 20, every=0.5)
    assert plancton.status_json()["work"]["jobs_evicted"] == 0, plancton.status_json()["work"]


@pytest.mark.light
def test_no_way_in(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Behind a firewall that lets no connection in, a worker still joins and runs jobs."""
    calm(plancton)
    plancton.start()
    (container,) = plancton.full(1)
    assert engine.inspect(container)["State"]["Running"]
    close_door(engine, container)
    (worker,) = started(plancton)
    slot_appears(pool, worker, 30)
    assert not knock(engine, container), "a connection from outside came through"
    before = drops(engine, container)
    assert before > 0, "the firewall has dropped nothing"
    cluster = pool.submit(HELLO, "$(Process)", 2)
    wait_for_done(pool, 2, 60)
    assert pool.output(cluster, 1) == "job 1, user 65534\n"
    assert not knock(engine, container), "a connection from outside came through"
    print(
        f"dropped {drops(engine, container)} packets, {drops(engine, container) - before} of them at the end"
    )


@pytest.mark.light
def test_central_manager_comes_back(plancton: Plancton, pool: Pool) -> None:
    """The pool is restarted: the running job completes, and the worker is back."""
    calm(plancton)
    # A quarter of it is between two updates; the first one after the return fails: its session is gone.
    plancton.configure(htcondor={"idle_shutdown": "60s"})
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    cluster = pool.submit(f'sleep {RECONNECT + 30}; echo "as if nothing had been"')
    wait_for_executing(pool, 1)
    pool.end()
    time.sleep(5)  # for so long there is no pool
    pool.restart()
    back = time.monotonic()
    slot_appears(pool, worker, RECONNECT + 20)
    print(f"the worker is in the pool again {time.monotonic() - back:.1f} s after that is back")
    wait_for_done(pool, 1, 90)
    assert pool.output(cluster) == "as if nothing had been\n"
    ways = [event.kind for event in pool.events() if event.kind != "other"]
    expected = ["submitted", "executing", "disconnected", "reconnected", "terminated"]
    assert ways == expected, f"what became of the job: {ways}"
    assert started(plancton) == [worker], f"workers were started in vain: {started(plancton)}"


def refused(plancton: Plancton, *words: str) -> None:
    """Assert that the supervisor says why its workers can't work, and does not keep trying."""
    calm(plancton, 2)
    plancton.configure(yielding={"grace_spawn": "5s"})  # a worker is refused before another is due
    plancton.start()
    begin = time.monotonic()
    wait_for(f"status says {words}", lambda: all(word in says(plancton) for word in words), 60, every=0.2)
    print(f"after {time.monotonic() - begin:.1f} s: {says(plancton)}")
    time.sleep(max(0.0, begin + 40 - time.monotonic()))  # what is counted is starts in a time
    starts = started(plancton)
    print(f"{len(starts)} starts in 40 s")
    assert len(starts) <= 4, f"{len(starts)} starts in 40 s"


def says(plancton: Plancton) -> str:
    status = plancton.status
    return f"{status.decision}; {'; '.join(status.problems)}" if status else ""


@pytest.mark.light
def test_expired_token(plancton: Plancton, engine: Engine, pool: Pool, worker_image: str) -> None:
    """With an expired token no worker is started, and status says why; so does a worker that has one."""
    token = pool.token(lifetime=1)
    file = write_token(plancton, token)
    time.sleep(2)  # it expires
    code, said = run_worker(plancton, engine, pool, worker_image, token)
    assert code == 1, f"exit code {code}: {said}"
    lines = [line for line in said.splitlines() if line.startswith("plancton: ")]
    assert len(lines) == 1 and "refuses the token" in lines[0], said
    refused(plancton, "backing off", f"token file {file}", "expired")
    assert not plancton.workers(), "a worker runs"


@pytest.mark.light
def test_token_of_another_pool(plancton: Plancton, pool: Pool) -> None:
    """With a token of another pool the worker ends with a clear line, which status shows; starts are few."""
    write_token(plancton, pool.token(domain="other.pool"))
    refused(plancton, "backing off", "exit code 1", "refuses the token")
    assert not pool.slots(), pool.describe()


@pytest.mark.light
@pytest.mark.parametrize("how", ["nobody listens", "nobody answers"])
def test_unreachable_central_manager(plancton: Plancton, pool: Pool, how: str) -> None:
    """Without a central manager, the worker ends with a line that names it, as does status; starts are
    few."""
    address = NOBODY if how == "nobody answers" else f"{pool.address.partition(':')[0]}:1"
    plancton.configure(htcondor={"central_manager": address})
    refused(plancton, "backing off", "exit code 1", f"central manager {address} can't be reached")


@pytest.mark.light
def test_idle_pool(plancton: Plancton, pool: Pool) -> None:
    """In a pool without jobs the workers leave after a while; the supervisor backs off and says so."""
    calm(plancton, 2)
    plancton.configure(htcondor={"idle_shutdown": "20s"})
    plancton.start()
    workers = first_workers(plancton, 2)
    wait_for("status says so", lambda: "found no work" in says(plancton), 60, every=0.2)
    print(says(plancton))
    assert "backing off" in says(plancton), says(plancton)
    wait_for("both are gone", lambda: not plancton.workers(), 30, every=0.2)
    for worker in workers:
        wait_for(
            f"the log says why {worker} went",
            lambda worker=worker: plancton.lines(worker, "exit code 75", "no job"),  # type: ignore[misc]
            5,
        )
    time.sleep(20)  # what is counted is starts in a time
    assert started(plancton) == workers, f"started in vain: {started(plancton)}"
    assert not pool.slots(), f"the collector still has {pool.slots()}"


@pytest.mark.light
def test_the_administrators_settings(plancton: Plancton, pool: Pool, tmp_path: Path) -> None:
    """The slot has the administrator's own settings and the attributes; `start` wins over files."""
    files = tmp_path / "condor.d"
    files.mkdir()
    (files / "10-rack.conf").write_text('STARTD_ATTRS = $(STARTD_ATTRS) Rack\nRack = "r 1"\nSTART = False\n')
    calm(plancton)
    settings: dict[str, object] = {
        "config_dir": str(files),
        "attributes": {"Site": "here"},
        "start": "TARGET.Rush =?= true",
    }
    plancton.configure(htcondor=settings)
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    slot_appears(pool, worker, 30)
    said = pool.run("condor_status", "-af:r", "Rack", "Site", "Start").strip()
    assert said.startswith('"r 1" "here" ') and "Rush" in said, said


@pytest.mark.light
def test_the_token_is_nowhere(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """The token is in no container's settings, log, status, recording, nor in a file open to all."""
    calm(plancton)
    token, since = pool.token(), time.time() - 1
    secret = token.strip().rpartition(b".")[2]  # its signature; all else is known
    write_token(plancton, token)
    recording = plancton.directory / "recording"
    plancton.start("--verbose", "--record", str(recording))
    pool.submit("sleep 12")  # a job is seen when it lasts for two readings of the workers
    wait_for_done(pool, 1, 60)
    wait_for("it is counted", lambda: plancton.status_json()["work"]["jobs_done"] == 1, 30, every=0.5)
    shown = json.dumps([engine.inspect(container["Id"]) for container in engine.containers()])
    shown += json.dumps(plancton.status_json()) + plancton.cli("status").stdout + plancton.log
    assert secret.decode() not in shown
    files = [recording, plancton.log_file, *plancton.paths.run.rglob("*"), *plancton.paths.state.rglob("*")]
    texts = {file: file.read_bytes() for file in files if file.is_file()}
    assert recording in texts and plancton.paths.run / "status.json" in texts, sorted(texts)
    assert not [file for file, text in texts.items() if secret in text]
    seen = list(open_to_all(engine.directory / "data", since))
    assert seen, "no file of the Engine's was looked at"
    assert not [file for file in seen if secret in file.read_bytes()]
    (mine,) = (engine.directory / "data" / "volumes").glob("*/_data/tokens.d/pool")
    assert secret in mine.read_bytes(), "the search would have missed it"
    assert mine.stat().st_mode & 0o777 == 0o600 and mine.parent.stat().st_mode & 0o777 == 0o700
