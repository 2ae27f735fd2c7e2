"""A worker that fills the disk: Docker's data is on a small one, which a worker writes full."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for
from helpers.dictated_host import DictatedHost

pytestmark = pytest.mark.docker

BYTES = "while :; do busybox dd if=/dev/zero of=/root/$((i += 1)) bs=1M count=4; sleep 0.1; done"
FILES = "while :; do true >/root/$((i += 1)); [ $((i % 500)) = 0 ] && sleep 0.2; done"
"""What the first of two workers does; the other does nothing."""
NAME = "cat /proc/sys/kernel/hostname >/test/first/name"


def first_does(attack: str) -> str:
    chosen = f"if busybox mkdir /test/first; then {NAME}; {attack}; fi"
    return f"busybox mkdir -p /root; {chosen}; while :; do sleep 1; done"


@pytest.fixture
def engine() -> Iterator[Engine]:
    """A dockerd whose data is on a disk of 500 MB with 20,000 inodes."""
    directory = Path(tempfile.mkdtemp(prefix="plancton-test-"))
    image, data = directory / "disk", directory / "data"
    data.mkdir()
    with image.open("wb") as file:
        file.truncate(500_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-N", "20000", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, data], check=True)
    engine = Engine(directory)
    try:
        engine.start()
        engine.import_image()
        yield engine
    finally:
        engine.close()  # unmounts and removes all that is in its directory


@pytest.fixture
def plancton(engine: Engine, host: DictatedHost, tmp_path: Path) -> Iterator[Plancton]:
    plancton = Plancton(tmp_path, engine, host)
    plancton.calm(2)
    (tmp_path / "test").mkdir(mode=0o777)
    (tmp_path / "test").chmod(0o777)
    plancton.configure(
        worker={"user": "0", "mounts": [f"{tmp_path}/test:/test:rw"], "memory": "256MiB", "cpus": 1.0},
        docker={"tier": "quota"},  # in idle class nobody writes much while this machine is busy
    )
    try:
        yield plancton
    finally:
        plancton.close()


@pytest.mark.parametrize(
    ("attack", "reserve", "words"),
    [
        (BYTES, "150MB", "of disk are free"),
        pytest.param(FILES, "150MB", "of the inodes are free", marks=pytest.mark.slow),
    ],
    ids=["bytes", "files"],
)
def test_who_fills_the_disk_goes(
    plancton: Plancton, tmp_path: Path, attack: str, reserve: str, words: str
) -> None:
    """Of two workers the one that writes without end goes, by bytes or by files; the other stays,
    and runs again afterwards; there is room again."""
    plancton.configure(worker={"command": first_does(attack)}, owner={"reserve_disk": reserve})
    plancton.start()
    wait_for("they are frozen", lambda: plancton.lines("freezing the workers", words))
    wait_for("they are thawed", lambda: plancton.lines("thawing"))
    assert (plancton.slice.directory / "cgroup.freeze").read_text() == "0\n"
    wait_for("one has to go", lambda: plancton.lines(" is gone "))
    wait_for("there is room again", lambda: len(plancton.lines("starting")) > 2)
    plancton.full(2)
    attacker = (tmp_path / "test/first/name").read_text().strip()
    gone = plancton.lines(" is gone ") + plancton.lines(" ended after ")
    assert len(gone) == 1 and attacker in gone[0], "nobody else has to go"


def test_frozen_when_the_supervisor_is_killed(plancton: Plancton) -> None:
    """Workers that a supervisor froze before it was killed run again once there is another; one that
    is told to stop and to keep them thaws them before it ends."""
    plancton.start()
    plancton.full(2)
    plancton.crash()
    assert plancton.slice.freezer.freeze()
    plancton.start()
    wait_for("they are thawed", lambda: (plancton.slice.directory / "cgroup.freeze").read_text() == "0\n")
    plancton.full(2)
    assert plancton.slice.freezer.freeze()
    plancton.cli("stop", "--keep-workers")
    plancton.ended()
    assert (plancton.slice.directory / "cgroup.freeze").read_text() == "0\n"


@pytest.mark.slow
def test_a_quota_that_docker_does_not_have(plancton: Plancton) -> None:
    """On ext4 there are no quotas: `check` and `status` say so, and nothing is started."""
    plancton.configure(worker={"disk": "100MB"})
    plancton.start()
    wait_for("status says so", lambda: "worker.disk" in plancton.problems())
    done = plancton.cli("check", str(plancton.config))
    assert "worker.disk: Docker has no quotas" in done.stdout + done.stderr, done
    plancton.goes_on()
    assert not plancton.workers() and not plancton.lines("starting")


@pytest.mark.slow
def test_no_pull_below_the_reserve(plancton: Plancton) -> None:
    """Below the disk's reserve no image is pulled, and status says why; with room, one is tried."""
    name = f"{plancton.engine.addresses.split('/')[0]}:9/worker:1"  # nobody listens there
    plancton.configure(image={"name": name}, owner={"reserve_disk": "600MB"})
    plancton.start()
    wait_for("status says so", lambda: "can't be pulled: only" in plancton.problems())
    plancton.goes_on()
    plancton.configure(owner={"reserve_disk": "0%"})
    wait_for("it is tried", lambda: "can't be pulled: Docker" in plancton.problems())
