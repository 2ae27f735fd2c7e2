"""`plancton selftest` on a real dockerd: it finds out whether this host yields, and leaves nothing
behind."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.harness import BUSY, CPUS, Engine, Plancton, wait_for

from plancton.commands.selftest.busy_workers import COUNT, PREFIX
from plancton.commands.selftest.busy_workers import IMAGE as SELFTEST_IMAGE

pytestmark = pytest.mark.docker

LONGEST = 180.0


@pytest.fixture
def donating(plancton: Plancton) -> Plancton:
    """A supervisor with busy workers, none of which will be told to go."""
    plancton.configure(worker={"command": BUSY, "cpus": 0.5}, pool={"max_workers": 2})
    plancton.start()
    plancton.full(2)
    return plancton


def is_frozen(plancton: Plancton) -> bool:
    knob = plancton.slice.directory / "cgroup.freeze"
    return knob.exists() and knob.read_text().strip() == "1"


def busy_workers(engine: Engine) -> list[str]:
    names = [name for container in engine.containers() for name in container["Names"]]
    return [name for name in names if name.startswith(f"/{PREFIX}")]


def nothing_left(plancton: Plancton) -> bool:
    """No container and no image of the selftest, and nothing frozen."""
    tags = {tag for image in plancton.engine.call("GET", "/images/json") for tag in image["RepoTags"] or ()}
    return not busy_workers(plancton.engine) and SELFTEST_IMAGE not in tags and not is_frozen(plancton)


def run_on(plancton: Plancton) -> None:
    """Wait until the workers use CPU."""
    used = plancton.used()
    wait_for("the workers run", lambda: plancton.used() > used)


@contextmanager
def selftest(plancton: Plancton) -> Iterator[subprocess.Popen[str]]:
    """A selftest that has started its workers and is measuring alone: all workers are frozen."""
    process = subprocess.Popen(
        plancton.command("selftest", "--config", str(plancton.config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plancton.environment,
    )
    try:
        wait_for("the slice is frozen", lambda: is_frozen(plancton), every=0.005)
        assert len(busy_workers(plancton.engine)) == COUNT
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=LONGEST)
        wait_for("the selftest has cleaned up", lambda: nothing_left(plancton))


def test_a_host_that_yields(donating: Plancton) -> None:
    """It says so next to a supervisor whose workers run on as if nothing had been."""
    workers, said = donating.ids(), len(donating.log)
    done = donating.cli("selftest", "--config", str(donating.config), "--json")
    print(done.stdout)
    report = json.loads(done.stdout)
    if report["yields"]:
        assert done.returncode == 0 and report["verdict"].startswith("This host yields"), done
    else:  # others use this machine as well: how much the owner keeps is scripts/bench-yield's business
        assert done.returncode == 1 and "when the host is quiet, run it again" in report["verdict"], done
    assert (report["tier"], report["cpus"]) == ("kernel", CPUS)
    assert report["memory_ceiling"] == donating.host.memory_total
    assert report["figures"]["throughput_kept"] > 0
    assert report["figures"]["cpus_donated"] > 0
    for latency in (report["figures"]["wake_up_alone"], report["figures"]["wake_up_donating"]):
        assert 0 < latency["p50"] <= latency["p99"]
    disk, network = report["disk"], report["network"]
    assert "no disk" in disk if isinstance(disk, str) else disk["write_alone"] > 0 < disk["write_donating"]
    assert isinstance(network, dict), network
    assert nothing_left(donating)
    assert not list(donating.paths.state.glob("plancton-selftest-*"))
    assert donating.ids() == workers and donating.yields
    run_on(donating)
    assert PREFIX not in donating.log[said:], "the supervisor has nothing to do with it"


@pytest.mark.slow
def test_without_a_supervisor(plancton: Plancton) -> None:
    """The slice is made for it and removed again; it prints lines with limits, the verdict last."""
    before = set(plancton.slice.tree.iterdir())
    process = subprocess.Popen(
        plancton.command("selftest", "--config", str(plancton.config)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plancton.environment,
    )
    wait_for("its workers run", lambda: len(plancton.engine.containers(status="running")) == COUNT)
    for name in busy_workers(plancton.engine):
        made = plancton.engine.inspect(name[1:])
        assert made["HostConfig"]["CapDrop"] == ["ALL"]
        assert made["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
        assert made["HostConfig"]["NetworkMode"] == "none"
        assert made["HostConfig"]["ReadonlyRootfs"]
        assert made["Config"]["User"] == "65534:65534"
        assert not any(mount["RW"] for mount in made["Mounts"])
    out, err = process.communicate(timeout=LONGEST)
    assert err == ""
    verdict = {0: "This host yields", 1: "This host does not yield"}[process.returncode]
    assert out.splitlines()[-1].startswith(f"{verdict}: with every CPU donated"), out
    assert "Tier               kernel" in out and "Memory ceiling" in out and "none" not in out
    assert nothing_left(plancton)
    assert not plancton.directories() and set(plancton.slice.tree.iterdir()) == before


def test_a_host_that_does_not_yield(donating: Plancton) -> None:
    """With a slice like any other cgroup, the owner loses CPU: exit code 1, the reason and the
    remedy."""
    donating.send(signal.SIGSTOP)  # or it would put the slice right
    try:
        if (donating.slice.cpu / "cpu.idle").exists():
            (donating.slice.cpu / "cpu.idle").write_text("0")
        knob, normal = ("cpu.shares", "1024") if donating.slice.v1 else ("cpu.weight", "100")
        (donating.slice.cpu / knob).write_text(normal)
        done = donating.cli("selftest", "--config", str(donating.config))
        print(done.stdout)
        assert done.returncode == 1, done.stdout + done.stderr
        *_, verdict = done.stdout.splitlines()
        assert verdict.startswith("This host does not yield") and f"{knob} is {normal}" in verdict
        assert "as root" in verdict
        assert not donating.yields, "what a supervisor is there for is its own"
        assert nothing_left(donating)
    finally:
        donating.send(signal.SIGCONT)
    wait_for("the supervisor puts it right", lambda: donating.yields)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
def test_a_selftest_that_is_ended(donating: Plancton, number: signal.Signals) -> None:
    """However it is ended while workers are frozen, they run again at once, and nothing is left."""
    workers = donating.ids()
    with selftest(donating) as process:
        process.send_signal(number)
        wait_for("the workers are thawed", lambda: not is_frozen(donating))
        process.communicate(timeout=LONGEST)
        assert process.returncode != 0
        wait_for("all is cleaned up", lambda: nothing_left(donating))
    assert donating.ids() == workers
    run_on(donating)


def test_only_one_and_only_outside(plancton: Plancton) -> None:
    """A second selftest in the same slice is refused, and so is one inside the slice."""
    with selftest(plancton):
        second = plancton.cli("selftest", "--config", str(plancton.config))
        assert second.returncode == 2 and "another selftest" in second.stderr, second.stderr

        def enter() -> None:
            (plancton.slice.directory / "inside/cgroup.procs").write_text(str(os.getpid()))

        (plancton.slice.directory / "inside").mkdir()
        plancton.slice.directory.joinpath("cgroup.freeze").write_text("0")
        inside = subprocess.run(
            plancton.command("selftest", "--config", str(plancton.config)),
            capture_output=True,
            text=True,
            env=plancton.environment,
            timeout=LONGEST,
            check=False,
            preexec_fn=enter,
        )
        assert inside.returncode == 2 and "is inside" in inside.stderr, inside.stderr
        (plancton.slice.directory / "inside").rmdir()


@pytest.mark.slow
def test_workers_that_end_before_time(plancton: Plancton, engine: Engine) -> None:
    """If its workers end early, it has measured nothing: one line, exit code 2, nothing left."""
    with selftest(plancton) as process:
        for name in busy_workers(engine):
            engine.remove(name[1:])
        _, err = process.communicate(timeout=LONGEST)
        assert process.returncode == 2 and "workers were" in err, err
        assert len(err.splitlines()) == 1 and Path(plancton.config).exists()
