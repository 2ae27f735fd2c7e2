"""Plancton's workers in a real pool: they join, work, and cope when it is gone or refuses them."""

import json
import os
import re
import time
from datetime import datetime
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine, Load, Plancton, wait_for
from helpers.wait import PATIENCE
from htcondor.harness import (
    HELD,
    HOST,
    SPEED,
    Pool,
    calm,
    close_door,
    drops,
    events,
    first_workers,
    knock,
    known_jobs,
    open_to_all,
    release,
    run_worker,
    running,
    slot_appears,
    started,
    wait_for_done,
    wait_for_event,
    write_token,
)

from plancton.config.schema import Worker

pytestmark = pytest.mark.docker

HELLO = 'echo "job $1, user $(id -u)"'
NOBODY = "192.0.2.1:9618"
"""An address for documentation (RFC 5737): nobody answers."""
MANY = 12
LEAST_DELAY = 5.0
"""Seconds that at least pass between a worker's failure and the next start, on any machine."""


def test_joins_works_and_leaves(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Workers join the pool, run an ordinary user's jobs, which are counted whatever hooks they name,
    and end by themselves when there are no more."""
    calm(plancton, 2)
    plancton.configure(htcondor={"idle_shutdown": "40s"})
    held = pool.submit(HELD, "$(Process)", 2)
    hello = pool.submit(HELLO, "$(Process)", 4, **{"+HookKeyword": '"OTHER"'})
    plancton.start()
    workers = first_workers(plancton, 2)
    assert set(running(pool, 2).values()) == set(workers)
    hosts = {slot.name: slot.host for slot in pool.slots()}
    assert set(hosts.values()) == {HOST}, f"PlanctonHost is {hosts}"
    for worker in workers:
        release(engine, worker)
    wait_for_done(pool, 6)
    outputs = [pool.output(cluster, n) for cluster, count in ((held, 2), (hello, 4)) for n in range(count)]
    said = [re.fullmatch(r"(job \d), user (\d+)\n", output) for output in outputs]
    assert [found and found[1] for found in said] == [f"job {n}" for n in (0, 1, 0, 1, 2, 3)], outputs
    users = {int(found[2]) for found in said[:2] if found}
    assert len(users) == 2 and users <= set(Worker().users), "each worker is a user of its own"
    assert not events(pool, "evicted"), pool.describe()
    wait_for("they leave", lambda: not any(slot.worker in workers for slot in pool.slots()), every=0.3)
    for worker in workers:
        wait_for("it has ended", lambda worker=worker: plancton.lines(worker, "ended after", "exit code 0"))  # type: ignore[misc]
    wait_for("all are counted", lambda: plancton.status_json()["work"]["jobs_done"] == 6, every=0.5)
    assert plancton.status_json()["work"]["jobs_evicted"] == 0, plancton.status_json()["work"]


def test_another_user(
    plancton: Plancton, engine: Engine, pool: Pool, own_image: str, worker_image: str, tmp_path: Path
) -> None:
    """Workers of another uid join and work, if their image has a name for it; one of four CPUs takes
    a job that needs all, which its user may enter if the configuration says so."""
    (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\nworker:x:2100000000:2100000000::/:/bin/sh\n")
    calm(plancton, 1)
    cpus, mounts = min(4, CPUS), [f"{tmp_path}/passwd:/etc/passwd"]
    submit_host = {"allow": [pool.address.partition(":")[0]]}
    plancton.configure(
        worker={"user": "2100000000", "mounts": mounts, "network": submit_host},
        htcondor={"cpus": "min(4, ncpus)", "ssh": True},
    )
    job = pool.submit(HELD, "$(Process)", 1, request_cpus=cpus)
    plancton.start()
    (worker,) = running(pool, 1).values()
    if worker_image == own_image or "true" in pool.run("condor_status", "-af", "HasSshd"):
        enter = ("condor_ssh_to_job", "-auto-retry", f"{job}.0", 'id -u; cat "$_CONDOR_JOB_AD"')
        said = pool.run(*enter, user=True)
        assert said.startswith("2100000000\n") and f"\nClusterId = {job}\n" in said, said
    release(engine, worker)
    wait_for_done(pool, 1)
    assert pool.output(job) == "job 0, user 2100000000\n"
    wait_for("it has left the queue", lambda: pool.history(job, "ClusterId"), every=0.3)
    assert pool.history(job, "RequestCpus", "CpusProvisioned", "ExitCode") == f"{cpus} {cpus} 0"


def test_no_way_in(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Behind a firewall that lets no connection in, a worker still joins and runs jobs."""
    calm(plancton)
    plancton.start()
    (container,) = plancton.full(1)
    assert engine.inspect(container)["State"]["Running"]
    close_door(engine, container)
    (worker,) = started(plancton)
    slot_appears(pool, worker)
    assert not knock(engine, container), "a connection from outside came through"
    assert drops(engine, container) > 0, "the firewall has dropped nothing"
    cluster = pool.submit(HELLO, "$(Process)", 2)
    wait_for_done(pool, 2)
    assert pool.output(cluster, 1).startswith("job 1, user ")
    assert not knock(engine, container), "a connection from outside came through"


@pytest.mark.slow
def test_central_manager_comes_back(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """The pool is restarted: the running job completes, and the worker is back."""
    calm(plancton)
    # A quarter of it is between two updates; the first one after the return fails: its session is
    # gone.
    plancton.configure(htcondor={"idle_shutdown": "60s"})
    cluster = pool.submit(HELD, "0")
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    running(pool, 1)
    pool.end()
    pool.restart()
    slot_appears(pool, worker)
    wait_for_event(pool, "reconnected")
    release(engine, worker)
    wait_for_done(pool, 1)
    assert pool.output(cluster).startswith("job 0, user ")
    ways = [event.kind for event in pool.events() if event.kind != "other"]
    apart = {"disconnected", "reconnected"}  # on a busy machine more than once
    assert apart <= set(ways), f"what became of the job: {ways}"
    others = [kind for kind in ways if kind not in apart]
    assert others == ["submitted", "executing", "terminated"], f"what became of the job: {ways}"
    assert started(plancton) == [worker], f"workers were started in vain: {started(plancton)}"


@pytest.mark.slow
def test_many_workers_come_back(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """With a dozen workers, some of them with a job, the central manager is restarted: all are back
    in the pool, the jobs complete where they ran, and no worker was started again."""
    calm(plancton, MANY)
    plancton.configure(htcondor={"cpus": 0.1, "memory": "250MB", "idle_shutdown": "4m"})
    cluster = pool.submit(HELD, "$(Process)", 3)
    plancton.start()
    workers = set(first_workers(plancton, MANY))

    def there() -> bool:
        return {slot.worker for slot in pool.slots()} == workers

    wait_for("all are in the pool", there, timeout=300, every=1)
    busy = set(running(pool, 3).values())
    pool.end()
    pool.restart()
    wait_for("all are back", there, timeout=300, every=1)
    wait_for_event(pool, "reconnected", 3)
    for worker in busy:
        release(engine, worker)
    wait_for_done(pool, 3)
    assert sorted(pool.output(cluster, n).split(",")[0] for n in range(3)) == ["job 0", "job 1", "job 2"]
    assert len(events(pool, "executing")) == 3 and not events(pool, "evicted"), pool.describe()
    assert set(started(plancton)) == workers and set(known_jobs(plancton)) == workers


def refused(plancton: Plancton, *words: str) -> None:
    """Assert that the supervisor says why its workers can't work, and waits before it tries
    again."""
    calm(plancton, 2)
    plancton.start()
    wait_for(f"status says {words}", lambda: all(word in says(plancton) for word in words))
    failed, *_ = plancton.lines("ended after", "exit code 1")
    wait_for("another worker is tried", lambda: begun_after(plancton, failed))
    waited = when(begun_after(plancton, failed)[0]) - when(failed)
    assert waited >= LEAST_DELAY, f"after a failure the next worker came in {waited:.1f} s: {plancton.log}"


def begun_after(plancton: Plancton, line: str) -> list[str]:
    """The log's lines after this one that tell of a worker's start."""
    return [later for later in plancton.log.partition(line)[2].splitlines() if " starting " in later]


def when(line: str) -> float:
    """The time of a line of the log (seconds)."""
    return datetime.strptime(" ".join(line.split()[:2]), "%Y-%m-%d %H:%M:%S,%f").timestamp()


def says(plancton: Plancton) -> str:
    status = plancton.status
    return f"{status.decision}; {'; '.join(status.problems)}" if status else ""


def test_expired_token(plancton: Plancton, engine: Engine, pool: Pool, worker_image: str) -> None:
    """With an expired token no worker is started, and status says why; so does a worker that has
    one."""
    token = pool.token(lifetime=1)
    file = write_token(plancton, token)
    time.sleep(2)  # it expires
    code, said = run_worker(plancton, engine, pool, worker_image, token)
    assert code == 1, f"exit code {code}: {said}"
    lines = [line for line in said.splitlines() if line.startswith("plancton: ")]
    assert len(lines) == 1 and "refuses the token" in lines[0], said
    calm(plancton)
    plancton.start()
    words = ("backing off", f"token file {file}", "expired")
    wait_for(f"status says {words}", lambda: all(word in says(plancton) for word in words))
    assert not plancton.workers(), "a worker runs"


def test_token_of_another_pool(plancton: Plancton, pool: Pool) -> None:
    """With a token of another pool the worker ends with a clear line, which status shows; starts
    are few."""
    write_token(plancton, pool.token(domain="other.pool"))
    refused(plancton, "backing off", "exit code 1", "refuses the token")
    assert not pool.slots(), pool.describe()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["nobody listens", "nobody answers"])
def test_unreachable_central_manager(plancton: Plancton, pool: Pool, how: str) -> None:
    """Without a central manager, the worker ends with a line that names it, as does status; starts
    are few."""
    address = NOBODY if how == "nobody answers" else f"{pool.address.partition(':')[0]}:1"
    plancton.configure(htcondor={"central_manager": address})
    refused(plancton, "backing off", "exit code 1", f"central manager {address} can't be reached")


@pytest.mark.slow
def test_idle_pool(plancton: Plancton, pool: Pool) -> None:
    """In a pool without jobs a worker leaves after a while; the supervisor backs off and says
    so."""
    calm(plancton)
    plancton.configure(htcondor={"idle_shutdown": "20s"})
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    wait_for("status says so", lambda: "found no work" in says(plancton))
    assert "backing off" in says(plancton), says(plancton)
    (ended,) = plancton.lines(worker, "exit code 75", "no job")
    assert not begun_after(plancton, ended), f"started in vain: {started(plancton)}"
    wait_for("the collector has no slot", lambda: not pool.slots())


OF_06 = """\
CONDOR_HOST = old.example.org
COLLECTOR_HOST = old.example.org:9618
use ROLE : Execute
DAEMON_LIST = MASTER, STARTD, SCHEDD
LOCAL_DIR = /var
LOG = $(LOCAL_DIR)/log/condor
SPOOL = $(LOCAL_DIR)/spool/condor
LOCK = $(LOCAL_DIR)/lock/condor
EXECUTE = /home/condor/execute
SEC_PASSWORD_FILE = /etc/condor/pool_password
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = PASSWORD
SEC_CLIENT_AUTHENTICATION_METHODS = PASSWORD,FS
ALLOW_DAEMON = condor_pool@*
STARTD_ATTRS = OldSite
OldSite = "here for long"
NUM_CPUS = 8
STARTER_DEBUG = D_FULLDEBUG
"""
"""What a site's files for 0.6's workers have in them."""


BROKER = """\
BROKER = $(COLLECTOR)
BROKER_ARGS = -f -sock broker -local-name BROKER
BROKER.COLLECTOR_LOG = $(LOG)/BrokerLog
BROKER.COLLECTOR_NAME = Broker
DAEMON_LIST = $(DAEMON_LIST), BROKER
"""
"""A connection broker of its own beside the pool's collector."""


def test_the_administrators_settings(plancton: Plancton, pool: Pool, tmp_path: Path) -> None:
    """The slot has the administrator's own settings and the attributes, also beside the files of a
    site of 0.6; `start` wins over files. It answers to its name from the central manager, through the
    broker that the files name."""
    pool.run("sh", "-c", "cat >/etc/condor/host.d/zz-broker.conf", data=BROKER)
    pool.run("condor_reconfig")
    wait_for("it is there", lambda: "Broker" in pool.run("condor_status", "-collector", "-af", "Name"))
    files = tmp_path / "condor.d"
    files.mkdir()
    (files / "00-site.config").write_text(OF_06)
    (files / "10-rack.conf").write_text(
        'STARTD_ATTRS = $(STARTD_ATTRS) Rack\nRack = "r 1"\nSTART = False\nMASTER_UPDATE_INTERVAL = 5\n'
        f"CCB_ADDRESS = {pool.address}?sock=broker\n"
    )
    calm(plancton)
    settings: dict[str, object] = {
        "config_dir": str(files),
        "attributes": {"Site": "here"},
        "start": "TARGET.Rush =?= true",
    }
    plancton.configure(htcondor=settings)
    plancton.start()
    (worker,) = first_workers(plancton, 1)
    slot_appears(pool, worker)
    said = pool.run("condor_status", "-af:r", "Rack", "Site", "OldSite", "Cpus", "Start").strip()
    assert said.startswith('"r 1" "here" "here for long" 1 ') and "Rush" in said, said
    assert pool.run("condor_status", "-af", *SPEED).split() == [str(figure) for figure in SPEED.values()]
    has = [f"Has{name}" for name in ("Sshd", "Docker", "Singularity", "Container")]
    none = ["false", *3 * ["undefined"], "0"]
    assert pool.run("condor_status", "-af", *has, "DetectedGPUs").split() == none
    assert "sock%3dbroker" in pool.run("condor_status", "-af", "MyAddress")
    facts = pool.run("condor_status", "-af", "PlanctonEnds", "PlanctonTimeLeft", "PlanctonLost").split()
    ends, left, lost = int(facts[0]), int(facts[1]), facts[2]
    assert abs(time.time() + left - ends) < 60 and left > 3600 and lost == "undefined", facts
    name = f"{worker}@{pool.slots()[0].host}"
    assert pool.run("condor_status", "-af", "Name").strip() == f"slot1@{name}"
    wait_for("its master is there", lambda: name in pool.run("condor_status", "-master", "-af", "Name"))
    assert "slot1: Changing state" in pool.run("condor_fetchlog", name, "STARTD")
    pool.run("condor_drain", f"slot1@{name}")
    wait_for("it is drained", lambda: pool.slots()[0].state == "Drained", every=0.3)
    pool.run("condor_off", "-startd", "-peaceful", "-name", name)
    wait_for("it has ended", lambda: plancton.lines(worker, "ended after", "exit code 75", "turned it off"))


@pytest.mark.slow
def test_the_hosts_speed(plancton: Plancton, pool: Pool) -> None:
    """Where it is not known, a worker measures it, and the slot of the next one tells it."""
    file = plancton.paths.state / "speed.json"
    file.unlink()
    calm(plancton)
    plancton.configure(htcondor={"idle_shutdown": "1h"})  # it waits for no job, however long it measures
    plancton.start()
    wait_for("it is measured", file.exists, timeout=3 * PATIENCE, every=1)
    figures = json.loads(file.read_text())["figures"]
    assert set(figures) == {"KFlops", "Mips"} and min(figures.values()) > 0, figures
    calm(plancton, 2)
    _, second = first_workers(plancton, 2)
    slot_appears(pool, second)
    seen = pool.run("condor_status", f"slot1@{second}@{HOST}", "-af", *figures).split()
    assert seen == [str(figure) for figure in figures.values()]


@pytest.mark.parametrize("policy", ["DESKTOP", pytest.param("UWCS_DESKTOP", marks=pytest.mark.slow)])
def test_a_desktop_policy(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, tmp_path: Path, policy: str
) -> None:
    """A policy for desktops in the administrator's files refuses no job on a host that was busy just
    now: the owner is Plancton's business."""
    files = tmp_path / "condor.d"
    files.mkdir()
    (files / "10-site.config").write_text(f"use POLICY : {policy}\n")
    owner.start(1)
    wait_for("the host is busy", lambda: os.getloadavg()[0] > 1, every=1)
    owner.stop()
    calm(plancton)
    plancton.configure(htcondor={"config_dir": str(files), "cpus": 0.5})
    job = pool.submit(HELD, "0")
    plancton.start()
    (worker,) = running(pool, 1).values()
    names = ("LoadAvg", "CpuBusyValue", "Start")
    seen = pool.run("condor_status", "-constraint", "DynamicSlot", "-af", *names).split()
    assert float(seen[0]) <= 0.0 and seen[1] != "1" and seen[2] == "true", seen
    assert "LoadAvg" in pool.run("condor_status", "-constraint", "DynamicSlot", "-af:r", "Start")
    release(engine, worker)
    wait_for_event(pool, "terminated")
    assert pool.history(job, "NumJobStarts", "TotalSuspensions") == "1 0"


@pytest.mark.slow
def test_a_policy_that_does_not_exist(plancton: Plancton, pool: Pool, tmp_path: Path) -> None:
    """The message names the line of the administrator's files that HTCondor does not understand."""
    files = tmp_path / "condor.d"
    files.mkdir()
    (files / "20-hours.config").write_text("use POLICY : AT_NIGHT(8, 5)\n")
    plancton.configure(htcondor={"config_dir": str(files)})
    refused(plancton, "does not recognise AT_NIGHT", "20-hours.config", "Line 1")


def test_the_token_is_nowhere(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """The token is in no container's settings, log, status, recording, nor in a file open to
    all."""
    calm(plancton)
    token, since = pool.token(), time.time() - 1
    secret = token.strip().rpartition(b".")[2]  # its signature; all else is known
    write_token(plancton, token)
    recording = plancton.directory / "recording"
    plancton.start("--verbose", "--record", str(recording))
    pool.submit(HELD)
    (worker,) = running(pool, 1).values()
    wait_for("status shows a job", lambda: "job for" in plancton.cli("status").stdout, every=0.5)
    release(engine, worker)
    wait_for("it is counted", lambda: plancton.status_json()["work"]["jobs_done"] == 1, every=0.5)
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
