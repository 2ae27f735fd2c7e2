"""The supervisor's life: stopping, draining, crashing, adopting, reloading, recording."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.harness import BUSY, STUBBORN, Engine, Plancton, wait_for

from plancton.workers.container import INSTANCE, PREFIX

pytestmark = pytest.mark.docker
PROC_STAT = Path(__file__).parents[1] / "proc"


def nothing_is_left(plancton: Plancton) -> None:
    """No container, network or cgroup of this supervisor's exists."""
    assert plancton.engine.containers(label=f"{INSTANCE}={plancton.instance}") == []
    assert plancton.name not in plancton.engine.networks()
    assert plancton.directories() == []


# ---------------------------------------------------------------- crashing and adopting


def test_adopts_after_a_crash(plancton: Plancton) -> None:
    """A killed supervisor leaves its workers under the slice, and the next one adopts exactly
    those."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    plancton.crash()
    assert plancton.cli("status").returncode == 3
    assert plancton.ids() == workers
    assert plancton.yields
    plancton.start()
    assert plancton.full(2) == workers
    wait_for("the log says so", lambda: len(plancton.lines("adopted")) == 2)
    status = plancton.status
    assert status
    assert all(worker.age is not None and worker.age > 1 for worker in status.workers)
    plancton.goes_on()  # longer than grace_spawn: there would be more by now
    assert plancton.ids() == workers


def test_undoes_a_lift_that_a_crash_left(plancton: Plancton) -> None:
    """After a supervisor dies during a lift, the next one leaves no worker frozen or throttled."""
    plancton.calm()
    plancton.start()
    workers = sorted(plancton.full(2))
    plancton.crash()
    groups = [plancton.group(container) for container in workers]
    quotas = [plancton.quota(group) for group in groups]
    plancton.slice.tier = "kernel"
    plancton.slice.lift([groups[0]], [groups[1]])
    assert not plancton.yields
    assert plancton.frozen() == [Path(groups[1]).name]
    plancton.start()
    wait_for("the slice yields again", lambda: plancton.yields)
    plancton.full(2)
    assert plancton.ids() == set(workers)
    assert plancton.frozen() == []
    wait_for("quotas are as before", lambda: [plancton.quota(group) for group in groups] == quotas)


def test_what_ended_meanwhile(plancton: Plancton, engine: Engine) -> None:
    """Workers that end while no supervisor runs are removed at the next start, and replaced."""
    plancton.calm()
    plancton.start()
    workers = sorted(plancton.full(2))
    plancton.crash()
    engine.call("POST", f"/containers/{workers[0]}/kill?signal=SIGKILL")
    engine.remove(workers[1])
    plancton.start()
    assert not plancton.full(2) & set(workers)
    assert len(engine.containers(label=f"{INSTANCE}={plancton.instance}")) == 2


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("how", ["plancton stop --wait", "SIGTERM", "SIGINT"])
def test_stop(plancton: Plancton, how: str) -> None:
    """Stopping makes all workers leave, and nothing of them is left."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    if how.startswith("plancton"):
        done = plancton.cli(*how.split()[1:])
        assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    else:
        plancton.send(getattr(signal, how))
    assert plancton.ended() == 0
    assert len(plancton.lines("is gone", "exit code 0")) == 2
    nothing_is_left(plancton)
    assert plancton.cli("status").returncode == 3
    assert plancton.lines("stopped, nothing is left behind")


def test_stop_at_once_after_the_start(plancton: Plancton) -> None:
    """A supervisor that is told to stop while workers are being created leaves none."""
    plancton.calm(6)
    plancton.start()
    wait_for("the first is asked for", lambda: plancton.lines("starting"), every=0.005)
    plancton.send(signal.SIGTERM)
    assert plancton.ended() == 0
    nothing_is_left(plancton)


def test_stop_before_adopting(plancton: Plancton) -> None:
    """Told to stop right after its first line of log, it still ends the workers that it finds."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    plancton.crash()
    plancton.start()
    plancton.send(signal.SIGTERM)
    assert plancton.ended() == 0
    nothing_is_left(plancton)


def test_stop_keep_workers(plancton: Plancton) -> None:
    """`stop --keep-workers` and SIGUSR1 leave them running under the slice, and a later start adopts
    them."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    done = plancton.cli("stop", "--keep-workers")
    assert (done.returncode, done.stdout) == (0, "Stopping, the workers stay.\n")
    assert plancton.ended() == 0
    assert plancton.ids() == workers
    assert plancton.yields
    assert plancton.name in plancton.engine.networks()
    plancton.start()
    assert plancton.full(2) == workers
    plancton.send(signal.SIGUSR1)
    assert plancton.ended() == 0
    assert plancton.ids() == workers


@pytest.mark.parametrize("how", ["plancton stop --force", "SIGTERM twice"])
def test_stop_force(plancton: Plancton, how: str) -> None:
    """A forced stop does not wait for workers that ignore their signal."""
    plancton.calm()
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "60s"})
    plancton.start()
    plancton.full(2)
    if how.startswith("plancton"):
        done = plancton.cli(*how.split()[1:])
        assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    else:
        plancton.send(signal.SIGTERM)
        wait_for("it stops", lambda: plancton.lines("stopping: all workers leave"))
        plancton.send(signal.SIGTERM)
    assert plancton.ended() == 0
    assert not plancton.lines("did not leave in time")
    nothing_is_left(plancton)


def test_stop_force_after_a_crash(plancton: Plancton) -> None:
    """A forced stop removes the workers even if their supervisor is gone, wherever it ran them."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    plancton.crash()
    done = plancton.cli("stop", "--force")
    said = "Plancton is not running; 2 workers that were left: removed.\n"
    assert (done.returncode, done.stdout) == (0, said), done
    nothing_is_left(plancton)


def test_sighup_runs_again_in_place(plancton: Plancton) -> None:
    """SIGHUP keeps the process and the workers; the lock stays held."""
    plancton.calm()
    plancton.start()
    workers, pid = plancton.full(2), plancton.pid
    for count in (2, 3):
        plancton.send(signal.SIGHUP)
        wait_for("it runs again", lambda n=count: plancton.log.count("instance ") == n)  # type: ignore[misc]
        adopted = 2 * (count - 1)  # before that the status is still the one of before
        wait_for("it adopts them", lambda n=adopted: len(plancton.lines("adopted")) == n)  # type: ignore[misc]
        assert plancton.full(2) == workers
        status = plancton.status
        assert status
        assert status.pid == pid
    assert plancton.process
    assert plancton.process.poll() is None
    assert plancton.cli("stop", "--wait").returncode == 0
    assert plancton.ended() == 0
    nothing_is_left(plancton)


def test_a_second_supervisor(plancton: Plancton) -> None:
    """It exits with 75 and names the pid of the first one, which keeps running."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    done = plancton.cli("run", "--config", str(plancton.config))
    assert done.returncode == 75
    assert f"pid {plancton.pid}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert plancton.full(2) == workers


# ---------------------------------------------------------------- draining


def test_drain_and_resume(plancton: Plancton) -> None:
    """`drain` lets the workers finish and starts nothing until `resume`; a restart does not end
    it."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    assert plancton.cli("drain", "--wait").returncode == 0
    assert plancton.workers() == []
    assert len(plancton.lines("to finish: draining")) == 2
    status = plancton.status
    assert status
    assert status.mode == "draining"
    plancton.crash()
    plancton.start()
    plancton.goes_on()  # longer than grace_spawn: there would be some by now
    assert plancton.workers() == []
    assert plancton.cli("resume").stdout == "Donating again.\n"
    plancton.full(2)


def test_drain_stop(plancton: Plancton) -> None:
    """`drain --stop --wait` ends the supervisor once all have finished."""
    plancton.calm()
    plancton.configure(worker={"finish_signal": "SIGUSR1", "command": f"trap 'sleep 2; exit 0' USR1; {BUSY}"})
    plancton.start()
    plancton.full(2)
    assert plancton.cli("drain", "--stop", "--wait").returncode == 0
    assert plancton.ended(5) == 0
    assert len(plancton.lines("is gone", "exit code 0")) == 2
    nothing_is_left(plancton)


# ---------------------------------------------------------------- touching nothing


def test_dry_run_touches_nothing(plancton: Plancton, engine: Engine) -> None:
    """It says what it would do, and makes no container, network, cgroup or file."""
    plancton.calm()
    before = engine.networks()
    plancton.start("--dry-run")
    wait_for("it says what it would do", lambda: plancton.lines("dry run: would start"))
    assert engine.containers() == []
    assert engine.networks() == before
    assert plancton.directories() == []
    assert not plancton.paths.run.exists()
    assert not plancton.paths.state.exists()
    plancton.send(signal.SIGTERM)
    assert plancton.ended() == 0
    assert plancton.directories() == []


def test_dry_run_beside_a_supervisor(plancton: Plancton, engine: Engine) -> None:
    """A dry run next to a supervisor leaves its workers alone, even those that end."""
    plancton.calm()
    plancton.start()
    workers = sorted(plancton.full(2))
    plancton.crash()
    engine.call("POST", f"/containers/{workers[0]}/kill?signal=SIGKILL")
    recording = plancton.directory / "recording"
    plancton.start("--dry-run", "--record", str(recording))
    wait_for("it has looked", lambda: plancton.lines("dry run: would"))
    engine.call("POST", f"/containers/{workers[1]}/kill?signal=SIGKILL")
    name = engine.inspect(workers[1])["Name"].lstrip("/")
    wait_for("it has seen the end", lambda: plancton.lines(f"{name} ended"))

    def ticks() -> int:
        return len(recording.read_text().splitlines())

    seen = ticks()
    wait_for("it has had time to remove them", lambda: ticks() >= seen + 6)
    left = {c["Id"] for c in engine.containers(label=f"{INSTANCE}={plancton.instance}")}
    assert left == set(workers)
    plancton.send(signal.SIGTERM)
    assert plancton.ended() == 0
    left = {c["Id"] for c in engine.containers(label=f"{INSTANCE}={plancton.instance}")}
    assert left == set(workers)


# ---------------------------------------------------------------- the configuration


def test_a_broken_configuration(plancton: Plancton) -> None:
    """The last good one stays in force, and so do the workers; status says why until it is
    fixed."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    good = plancton.config.read_text()
    plancton.write_config(good.replace("max_workers", "max_wrokers"))
    wait_for("status says so", lambda: "pool.max_wrokers" in plancton.problems())
    assert "stays in force" in plancton.problems()
    plancton.goes_on()
    assert plancton.ids() == workers
    plancton.write_config(good)
    wait_for("status has no problem", lambda: plancton.problems() == "")
    assert plancton.ids() == workers


def test_a_changed_worker(plancton: Plancton) -> None:
    """Workers of an old command finish one at a time, and new ones take their places."""
    plancton.calm()
    plancton.configure(worker={"command": "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"})
    plancton.start()
    old = plancton.full(2)
    plancton.configure(worker={"environment": {"VERSION": 2}})

    def replaced() -> bool:
        ids = plancton.ids()
        return len(ids) == 2 and not ids & old

    wait_for("both are replaced", replaced)
    asked = plancton.lines("to finish: the configuration has changed")
    gone = plancton.lines("is gone", "exit code 0")
    assert len(asked) == len(gone) == 2
    assert asked[0] < gone[0] < asked[1] < gone[1]  # each line begins with its time
    for container in plancton.full(2):
        assert "VERSION=2" in plancton.engine.inspect(container)["Config"]["Env"]


# ---------------------------------------------------------------- files


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB, mounted where the run directory will be."""
    point = tmp_path / "run"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", str(point)], check=True)
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_a_full_disk(small_disk: Path, plancton: Plancton) -> None:
    """A full run directory is reported once; the supervisor continues, and recovers when there is
    space."""
    plancton.calm()
    recording = plancton.directory / "recording"
    plancton.start("--record", str(recording))
    workers = plancton.full(2)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    wait_for("the log says so", lambda: plancton.lines("status.json can't be written"))
    ticks = len(recording.read_bytes().splitlines())
    wait_for("it goes on", lambda: len(recording.read_bytes().splitlines()) > ticks + 6, every=0.5)
    assert len(plancton.lines("status.json can't be written")) == 1
    assert plancton.ids() == workers
    filler.unlink()
    wait_for("it recovers", lambda: plancton.lines("can be written again"))
    assert plancton.full(2) == workers
    assert list(small_disk.glob(".*")) == []


def test_record_and_replay(plancton: Plancton) -> None:
    """A recording has a line for each tick, however far apart they are, and replays to the same
    decisions."""
    plancton.settings["docker"].pop("tick")
    plancton.calm()
    recording = plancton.directory / "recording"
    plancton.start("--record", str(recording))
    plancton.full(2)
    plancton.configure(pool={"max_workers": 1})
    recorded = len(recording.read_bytes().splitlines())
    wait_for("it goes on", lambda: len(recording.read_bytes().splitlines()) >= recorded + 3)
    first = [json.loads(line) for line in recording.read_text().splitlines()]
    assert set(first[0]) == {"version", "settings"}
    times = [line["observation"]["time"] for line in first if "observation" in line]
    assert times == sorted(set(times)), times
    assert plancton.cli("stop", "--wait").returncode == 0
    done = plancton.cli("replay", str(recording))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all decided as recorded" in done.stdout


@pytest.mark.parametrize(
    "stat", ["", pytest.param((PROC_STAT / "stat-two-cpu-lines").read_text(), marks=pytest.mark.slow)]
)
def test_goes_on_without_figures(plancton: Plancton, stat: str) -> None:
    """While /proc/stat holds nothing that can be used, the status says so; then the same supervisor
    goes on with the same workers."""
    plancton.calm()
    plancton.start()
    workers, supervisor = plancton.full(2), plancton.pid
    plancton.host.stat = stat
    wait_for("the status says so", lambda: "/proc/stat" in plancton.problems())
    assert "/proc/stat" in plancton.cli("status").stdout
    plancton.goes_on()
    plancton.host.stat = None
    wait_for("figures are back", lambda: (s := plancton.status) and s.owner is not None and not s.problems)
    assert plancton.ids() == workers
    assert plancton.pid == supervisor
    assert len(plancton.lines("WARNING", "/proc/stat")) == 1
    assert len(plancton.lines("figures are back")) == 1


def test_status_is_open_to_all_and_holds_no_secret(plancton: Plancton) -> None:
    """Everybody can read status.json, and it shows no environment, command or mount."""
    plancton.calm()
    plancton.configure(worker={"environment": {"TOKEN": "se-cret"}, "mounts": ["/usr:/hid-den"]})
    plancton.start()
    plancton.full(2)
    file = plancton.paths.run / "status.json"
    assert file.stat().st_mode & 0o777 == 0o644
    assert os.stat(plancton.paths.run).st_mode & 0o777 == 0o755
    for word in ("se-cret", "TOKEN", "hid-den", "trap"):
        assert word not in file.read_text()
        assert word not in plancton.log
    assert PREFIX in plancton.cli("status").stdout
