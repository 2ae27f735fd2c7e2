"""`plancton stop` tells the truth, whatever Docker refuses and whoever touches the workers."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from docker.harness import IDLE, STUBBORN, Engine, Plancton, wait_for
from docker.test_lifecycle import nothing_is_left
from helpers.docker_proxy import DockerProxy, Refusal, refuse

from plancton.workers.container import INSTANCE, PREFIX

pytestmark = pytest.mark.docker

KILL, REMOVE = r"/containers/[^/]+/kill", r"/containers/[^/]+"


@pytest.fixture
def proxy(engine: Engine, plancton: Plancton, tmp_path: Path) -> Iterator[DockerProxy]:
    """What the supervisor talks to instead of its Engine."""
    with DockerProxy(tmp_path / "proxy.sock", engine.socket) as made:
        plancton.configure(docker={"socket": str(made.path)})
        yield made


def running(plancton: Plancton, count: int = 2) -> list[str]:
    """Start it and wait for its workers; their names."""
    plancton.start()
    plancton.full(count)
    return sorted(each["Names"][0].removeprefix("/") for each in plancton.workers())


@pytest.mark.parametrize("how", ["--wait", pytest.param("--force", marks=pytest.mark.slow)])
def test_removals_that_are_refused(plancton: Plancton, proxy: DockerProxy, how: str) -> None:
    """A stop after which containers are left names each with Docker's words and exits with 4; when
    Docker removes again, `stop --force` cleans up."""
    plancton.calm()
    plancton.configure(worker={"leave_timeout": "1s"})
    names = running(plancton)
    proxy.rule = refuse("DELETE", REMOVE, Refusal(500, "device or resource busy"))
    done = plancton.cli("stop", how)
    assert (done.returncode, done.stdout) == (4, ""), done
    for name in names:
        assert any(name in line and "device or resource busy" in line for line in done.stderr.splitlines())
    assert plancton.ended() == 0
    assert plancton.cli("stop", "--force").returncode == 4, "it is refused still"
    proxy.rule = None
    done = plancton.cli("stop", "--force")
    assert done.returncode == 0 and "2 workers that were left: removed" in done.stdout, done
    nothing_is_left(plancton)


def test_starts_in_the_queue(plancton: Plancton, proxy: DockerProxy) -> None:
    """A stop while Docker creates slowly doesn't wait for starts that nobody has begun."""
    plancton.calm(6)
    proxy.rule = refuse("POST", "/containers/create", Refusal(None, seconds=5.0))
    plancton.start()
    wait_for("three starts are asked for", lambda: len(plancton.lines("starting plancton-")) >= 3)
    done = plancton.cli("stop", "--wait")
    assert (done.returncode, done.stdout) == (0, "Stopped.\n"), done
    assert len([each for each in proxy.requests if "/containers/create" in each]) <= 2, proxy.requests
    nothing_is_left(plancton)


def test_worker_that_it_does_not_know(plancton: Plancton, engine: Engine) -> None:
    """A container of ours that runs without the supervisor's knowledge is found at the stop, and
    ended."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    labels = {INSTANCE: plancton.instance}
    engine.run(f"{PREFIX}lost", IDLE, Labels=labels, HostConfig={"CgroupParent": plancton.slice.parent})
    done = plancton.cli("stop", "--wait")
    assert (done.returncode, done.stdout) == (0, "Stopped.\n"), done
    nothing_is_left(plancton)


@pytest.mark.slow
def test_stop_without_docker(plancton: Plancton, engine: Engine) -> None:
    """With dockerd dead and workers that ignore their signal alive, `stop --wait` exits with 4."""
    plancton.calm()
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "1s"})
    engine.terminate()
    engine.start("--live-restore")
    plancton.start()
    groups = [plancton.slice.tree / plancton.group(container) for container in plancton.full(2)]
    engine.kill()
    wait_for("status says so", lambda: "Docker" in plancton.problems())
    done = plancton.cli("stop", "--wait")
    alive = any("populated 1" in (group / "cgroup.events").read_text() for group in groups if group.exists())
    if alive:
        assert done.returncode == 4 and "workers still run" in done.stderr, done
    else:  # killed through their cgroups
        assert done.returncode == 0 and "nothing runs" in done.stdout, done


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A run directory on a file system that can be filled."""
    point = tmp_path / "run"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", str(point)], check=True)
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.mark.parametrize("how", ["--wait", "--force"])
def test_stop_with_a_full_run_directory(full_disk: Path, plancton: Plancton, how: str) -> None:
    """Where no status could ever be written, `status` says that Plancton runs, and a stop ends it
    and its workers."""
    with suppress(OSError), (full_disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    plancton.calm()
    plancton.start()
    wait_for("workers run", lambda: len(plancton.ids()) == 2)
    assert "status.json can't be read" in plancton.cli("status").stdout
    done = plancton.cli("stop", how)
    assert (done.returncode, done.stdout) == (0, "Stopped.\n"), done
    assert plancton.ended() == 0
    nothing_is_left(plancton)


def test_status_of_another_version(plancton: Plancton) -> None:
    """A status that this version can't read keeps nobody from a forced stop."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    (plancton.paths.run / "status.json").write_text(json.dumps({"version": 9}))
    (plancton.paths.run / ".status.json.part").mkdir()
    done = plancton.cli("stop", "--force")
    assert (done.returncode, done.stdout) == (0, "Stopped.\n"), done
    nothing_is_left(plancton)
