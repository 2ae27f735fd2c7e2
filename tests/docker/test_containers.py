"""Which containers are ours, and what happens when one ends by itself."""

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.harness import IDLE, IMAGE, Engine, Plancton, wait_for

from plancton.workers.container import INSTANCE, PREFIX, ULIMITS

pytestmark = pytest.mark.docker


def test_strangers_are_left_alone(plancton: Plancton, engine: Engine) -> None:
    """Only a container with our label in our slice is ours, whatever its name, to the last forced
    stop."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    ours = {INSTANCE: plancton.instance}
    strangers = {
        engine.run(f"{PREFIX}abc123", IDLE): "a name like ours, no label",
        engine.run(f"{PREFIX}abc124", IDLE, Labels={INSTANCE: "0123456789ab"}): "another instance's label",
        engine.run(f"{PREFIX}abc125", IDLE, Labels=ours): "our label in Docker's own parent",
        engine.run("plancton-abc126", IDLE, Labels=ours): "the same under another name",
    }

    plancton.strangers = {f"/{PREFIX}abc125", "/plancton-abc126"}

    def all_run() -> None:
        for container, what in strangers.items():
            assert engine.inspect(container)["State"]["Running"], what

    plancton.crash()
    plancton.start()  # adopting
    plancton.full(2)
    all_run()
    plancton.configure(pool={"max_workers": 0}, yielding={"grace_kill": "2s"})  # yielding
    wait_for("all have gone", lambda: not (s := plancton.status) or not s.workers)
    all_run()
    plancton.configure(pool={"max_workers": 2}, yielding={"grace_kill": "1h"})
    plancton.full(2)
    assert plancton.cli("drain", "--wait").returncode == 0
    all_run()
    plancton.cli("resume")
    plancton.full(2)
    assert plancton.cli("stop", "--wait").returncode == 0
    plancton.ended()
    all_run()
    plancton.start()
    plancton.full(2)
    assert plancton.cli("stop", "--force").returncode == 0
    plancton.ended()
    all_run()
    # One of them that dies is not removed either.
    plancton.start()
    plancton.full(2)
    for container in strangers:
        engine.call("POST", f"/containers/{container}/kill?signal=SIGKILL")
    first = plancton.ids()
    engine.remove(sorted(first)[0])
    wait_for("a worker of ours is replaced", lambda: len(plancton.ids()) == 2 and plancton.ids() != first)
    assert {c["Id"] for c in engine.containers()} >= set(strangers)


def test_two_supervisors_on_one_dockerd(
    plancton: Plancton, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two instances with separate slices do not touch each other's workers."""
    other = Plancton(tmp_path_factory.mktemp("other"), engine, plancton.host)
    try:
        for each in (plancton, other):
            each.calm()
            each.start()
        mine, theirs = plancton.full(2), other.full(2)
        assert not mine & theirs
        assert other.cli("stop", "--force").returncode == 0
        assert other.ended() == 0
        assert plancton.full(2) == mine
        assert other.directories() == []
    finally:
        other.close()


def test_mount_options(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """Docker takes a mount's options; what the host mounts later is seen in the worker, as CVMFS
    needs it."""
    with mounted(tmp_path / "cvmfs", engine) as cvmfs, mounted(tmp_path / "data", engine) as data:
        plancton.calm(1)
        mounts = [f"{cvmfs}:/cvmfs:shared", f"{cvmfs}:/below:ro,rslave", f"{data}:/data:rw,private,Z"]
        plancton.configure(worker={"mounts": mounts})
        plancton.start()
        (worker,) = plancton.full(1)
        pid = engine.inspect(worker)["State"]["Pid"]
        with mounted(cvmfs / "late", engine):
            found = mountinfo(pid)
            assert {"/cvmfs/late", "/below/late"} <= found.keys(), found
        assert {path: found[path] for path in ("/cvmfs", "/below", "/data")} == {
            "/cvmfs": ("ro", {"shared"}), "/below": ("ro", {"master"}), "/data": ("rw", set()),
        }  # fmt: skip
        assert plancton.cli("stop", "--force").returncode == 0
        plancton.ended()


@pytest.mark.parametrize("options", ["", ":rw", ":rw,Z"])
def test_a_mount_that_is_not_there(plancton: Plancton, engine: Engine, tmp_path: Path, options: str) -> None:
    """A path that the host does not have is an error in `check`, in `doctor` and at a worker's
    start, and nobody makes it."""
    missing = tmp_path / "no" / "such"
    plancton.configure(worker={"mounts": [f"{missing}:/data{options}"]})
    for command in (["check"], ["doctor", "--config"]):
        done = plancton.cli(*command, str(plancton.config))
        assert done.returncode in (2, 4) and str(missing) in done.stdout + done.stderr, done
    plancton.start()
    wait_for("it says why", lambda: plancton.lines("can't be started", str(missing)))
    wait_for("nothing is left", lambda: not engine.containers())
    assert not missing.parent.exists()


@pytest.mark.slow
def test_a_mount_that_comes_late(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """A supervisor that starts before a file system is mounted says so in `status`, starts no
    worker, and goes on when it is there."""
    late = Path(f"/run/{plancton.name}-{tmp_path.name}")
    plancton.calm(1)
    plancton.configure(worker={"mounts": [f"{late}:/data"]})
    plancton.start()
    wait_for("status says it", lambda: str(late) in plancton.problems())
    plancton.goes_on()
    assert not engine.containers() and not plancton.lines("starting")
    with mounted(late):
        plancton.full(1)
        assert str(late) not in plancton.problems()
        assert plancton.cli("stop", "--force").returncode == 0
        plancton.ended()
    late.rmdir()


@contextlib.contextmanager
def mounted(path: Path, engine: Engine | None = None) -> Iterator[Path]:
    """A file system there, which shares what is mounted below it; where this Engine sees it."""
    at = f"/proc/{engine.process.pid}/ns/mnt" if engine and engine.process else "/proc/self/ns/mnt"
    inside = ["nsenter", f"--mount={at}"]  # an Engine of another Debian has mounts of its own
    subprocess.run([*inside, "mkdir", path], check=True)
    subprocess.run([*inside, "mount", "-t", "tmpfs", "plancton-test", path], check=True)
    try:
        subprocess.run([*inside, "mount", "--make-shared", path], check=True)
        yield path
    finally:
        subprocess.run([*inside, "umount", "--lazy", path], check=True)


def mountinfo(pid: int) -> dict[str, tuple[str, set[str]]]:
    """Of each mount of a process: whether it may be written, and its propagation."""
    lines = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
    return {
        line[4]: (line[5].split(",")[0], {field.partition(":")[0] for field in line[6 : line.index("-")]})
        for line in lines
    }


def test_removed_by_hand(plancton: Plancton, engine: Engine) -> None:
    """A worker that somebody removes is replaced."""
    plancton.calm()
    plancton.start()
    first = plancton.full(2)
    engine.remove(sorted(first)[0])

    def replaced() -> bool:
        return len(plancton.ids()) == 2 and plancton.ids() != first

    wait_for("it is replaced", replaced)
    assert len(plancton.ids() & first) == 1


def test_what_the_kernel_gives_a_worker(plancton: Plancton, engine: Engine) -> None:
    """Limits, shared memory, seccomp rules, system paths and process 1 are as configured."""
    rules = plancton.directory / "rules.json"
    rules.write_text('{\n "defaultAction": "SCMP_ACT_ALLOW"\n}')
    plancton.calm(1)
    options = [f"seccomp={rules}", "systempaths=unconfined", "no-new-privileges:true"]
    plancton.configure(worker={"init": False, "security_options": options})
    plancton.start()
    (worker,) = plancton.full(1)
    process = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}")
    limits = (process / "limits").read_text().splitlines()
    seen = {line[:26].strip(): line[26:].split()[:2] for line in limits}
    assert seen["Max open files"] == 2 * [ULIMITS["nofile"]]
    assert seen["Max core file size"] == 2 * [ULIMITS["core"]]
    mounts = [line.split() for line in (process / "mountinfo").read_text().splitlines()]
    (shm,) = [" ".join(mount) for mount in mounts if mount[4] == "/dev/shm"]
    assert f"size={(64 << 20) // 4 // 1024}k" in shm
    assert not [mount[4] for mount in mounts if mount[4].startswith("/proc/")], "nothing is masked"
    assert (process / "comm").read_text().strip() in ("sh", "busybox"), "there is no other init"
    assert re.search(r"Seccomp:\s+2\n", (process / "status").read_text()), "the rules are in force"


def test_ends_at_once(plancton: Plancton, engine: Engine) -> None:
    """A worker that fails at once is started less and less often; status says why until it is
    fixed."""
    plancton.calm(1)
    plancton.configure(worker={"command": r"printf '\033[31mno licence\033[m\n\n'; exit 3"})
    plancton.start()
    wait_for("status says so", lambda: "exit code 3" in plancton.problems())
    assert 'the worker says "no licence"' in plancton.problems(), "its own words are quoted"
    assert "backing off" in plancton.problems()
    wait_for("it is tried again", lambda: len(plancton.lines("starting")) >= 2)
    wait_for("no container is left", lambda: not engine.containers(label=f"{INSTANCE}={plancton.instance}"))


def test_can_not_be_started(plancton: Plancton, engine: Engine) -> None:
    """If Docker can't start a worker, status says so, and no container is left of it."""
    plancton.calm(1)
    plancton.configure(worker={"devices": ["/dev/no_such_device"]})
    plancton.start()
    wait_for("status says so", lambda: "no_such_device" in plancton.problems())
    assert "backing off" in plancton.problems()
    assert plancton.lines("can't be started")
    wait_for("no container is left", lambda: not engine.containers(label=f"{INSTANCE}={plancton.instance}"))


@pytest.mark.slow
def test_an_image_that_is_missing(plancton: Plancton, engine: Engine) -> None:
    """Status says so; the supervisor continues, and uses the image once it is there."""
    name = "localhost:1/plancton-test-late:1"
    plancton.calm(1)
    plancton.configure(image={"name": name})
    plancton.start()
    wait_for("status says so", lambda: f"image {name} can't be pulled" in plancton.problems())
    assert plancton.workers() == []
    engine.import_image(name, label="late")
    try:
        (worker,) = plancton.full(1)
        assert plancton.problems() == ""
        plancton.configure(image={"name": IMAGE})
        wait_for("a worker of the other image runs", lambda: plancton.ids() and worker not in plancton.ids())
    finally:
        for container in plancton.ids():
            engine.remove(container)
        engine.call("DELETE", f"/images/{name}?force=1")


def test_a_newer_image(plancton: Plancton, engine: Engine) -> None:
    """When the configured image changes, workers of the old one finish one at a time."""
    other = "plancton-test-other:1"
    identity = engine.import_image(other, label="2")
    try:
        plancton.calm()
        plancton.start()
        old = plancton.full(2)
        plancton.configure(image={"name": other})

        def replaced() -> bool:
            return len(plancton.ids()) == 2 and not plancton.ids() & old

        wait_for("both are replaced", replaced)
        assert all(engine.inspect(container)["Image"] == identity for container in plancton.ids())
        assert len(plancton.lines("to finish: there is a newer image")) == 2
    finally:
        plancton.send(signal.SIGTERM)
        plancton.ended()
        engine.call("DELETE", f"/images/{other}?force=1")


def test_a_name_that_is_taken(plancton: Plancton, engine: Engine) -> None:
    """Beside a network of the same name that is not ours Plancton does not start, and the network
    stays."""
    body: dict[str, Any] = {"Name": plancton.name, "Driver": "bridge"}
    engine.call("POST", "/networks/create", body)
    plancton.calm(1)
    done = plancton.cli("run", "--config", str(plancton.config))
    assert done.returncode == 2 and f"docker network rm {plancton.name}" in done.stderr, done
    assert plancton.name in engine.networks() and not plancton.workers()
