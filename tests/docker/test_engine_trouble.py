"""dockerd dies, hangs or is missing: the loop continues, and recovers when it answers again."""

import json
import resource
import signal
import socket
from pathlib import Path

import pytest
from docker.harness import STUBBORN, Engine, Plancton, wait_for
from helpers.docker_proxy import DockerProxy

pytestmark = pytest.mark.docker


class Ticks:
    """A supervisor's recording: does its loop keep ticking?"""

    def __init__(self, plancton: Plancton) -> None:
        self.file = plancton.directory / "recording"
        plancton.start("--record", str(self.file))

    def times(self) -> list[float]:
        """When each tick was; the other lines have the settings that hold from there on."""
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [line["observation"]["time"] for line in lines if "observation" in line]

    def go_on(self) -> None:
        """Wait until there are some more."""
        count = len(self.times())
        wait_for("ticks go on", lambda: len(self.times()) >= count + 5)


@pytest.mark.parametrize(
    "live_restore", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["", "live-restore"]
)
def test_dockerd_dies(plancton: Plancton, engine: Engine, live_restore: bool) -> None:
    """Ticks continue without dockerd; when it is back, the workers are right and each is reported
    once."""
    options = ["--live-restore"] if live_restore else []
    if live_restore:
        engine.terminate()
        engine.start(*options)
    plancton.calm()
    ticks = Ticks(plancton)
    workers = plancton.full(2)
    position = len(plancton.log)
    engine.kill()
    wait_for("status says so", lambda: "Docker" in plancton.problems())
    ticks.go_on()
    status = plancton.status
    assert status
    assert status.docker != "answers"
    assert plancton.yields
    engine.start(*options)
    wait_for("the log says so", lambda: plancton.lines("Docker answers", start=position))
    now = plancton.full(2)
    assert (now == workers) == live_restore
    wait_for("status has no problem", lambda: plancton.problems() == "")
    assert len(plancton.lines("Docker answers", start=position)) == 1
    warnings = plancton.lines("looking for it again", start=position)
    reasons = [line.partition("WARNING ")[2] for line in warnings]
    assert reasons and len(reasons) == len(set(reasons)), f"said more than once: {warnings}"
    # and events arrive again: one that is killed is replaced
    engine.call("POST", f"/containers/{sorted(now)[0]}/kill?signal=SIGKILL")
    wait_for("it is replaced", lambda: len(plancton.ids()) == 2 and plancton.ids() != now)


@pytest.mark.slow
def test_dockerd_hangs(plancton: Plancton, engine: Engine) -> None:
    """While dockerd hangs, ticks continue, and a worker that must die does so through
    cgroup.kill."""
    plancton.calm()
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "3s"}, yielding={"grace_kill": "6s"})
    ticks = Ticks(plancton)
    workers = plancton.full(2)
    groups = [plancton.slice.tree / plancton.group(container) for container in workers]

    def populated() -> int:
        return sum("populated 1" in (group / "cgroup.events").read_text() for group in groups)

    assert populated() == 2
    position = len(plancton.log)
    engine.send(signal.SIGSTOP)
    plancton.configure(pool={"max_workers": 1})
    ticks.go_on()
    wait_for("one dies without Docker", lambda: populated() == 1)
    text = "killed through its cgroup"
    wait_for("the log says so", lambda: plancton.lines("Docker does not answer", text))
    wait_for("status says so", lambda: "Docker" in plancton.problems())
    # The call that hangs is given up in the end, and Docker is looked for again.
    wait_for("the call ends", lambda: plancton.lines("looking for it again", start=position))
    engine.send(signal.SIGCONT)
    (left,) = plancton.full(1)
    assert left in workers
    wait_for("status has no problem", lambda: plancton.problems() == "")


def test_dockerd_comes_late(plancton: Plancton, engine: Engine) -> None:
    """A supervisor that starts before dockerd says so, and donates once it is there."""
    plancton.calm()
    engine.terminate()
    plancton.start()
    wait_for("the log says so", lambda: plancton.lines("looking for it again"))
    wait_for("status says so", lambda: "start Docker" in plancton.problems())
    assert plancton.cli("status").returncode == 0
    engine.start()
    plancton.full(2)
    assert plancton.problems() == ""


@pytest.mark.slow
def test_stops_without_dockerd(plancton: Plancton, engine: Engine) -> None:
    """Told to stop while dockerd is dead, it does not hang and does not claim that nothing is
    left."""
    plancton.calm()
    plancton.configure(worker={"leave_timeout": "3s"})
    plancton.start()
    plancton.full(2)
    engine.kill()
    wait_for("status says so", lambda: "Docker" in plancton.problems())
    plancton.send(signal.SIGTERM)
    assert plancton.ended(30) == 0
    assert not plancton.lines("nothing is left behind")
    assert plancton.yields


@pytest.mark.slow
def test_something_else_listens(plancton: Plancton, tmp_path: Path) -> None:
    """A socket that accepts and says nothing does not stop the loop."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        plancton.configure(docker={"socket": str(path)})
        plancton.start()
        plancton.goes_on()
        wait_for("status says so", lambda: "Docker has not answered" in plancton.problems())
        plancton.send(signal.SIGTERM)
        assert plancton.ended() == 0


def test_connections_are_cut(plancton: Plancton, engine: Engine, proxy: DockerProxy) -> None:
    """After all its connections to Docker were cut, a supervisor still hears of a worker's end."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    streams = proxy.count("GET", "/events")
    proxy.cut_all()
    wait_for("events are followed again", lambda: proxy.count("GET", "/events") > streams)
    engine.call("POST", f"/containers/{sorted(workers)[0]}/kill?signal=SIGKILL")
    wait_for("it is replaced", lambda: len(plancton.ids()) == 2 and plancton.ids() != workers)


def wake_ups(pid: int) -> int:
    """How often its main thread has waited for something, at least once per tick. Without a
    descriptor it can't tell."""
    status = Path(f"/proc/{pid}/task/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.slow
def test_no_descriptor_is_left(plancton: Plancton) -> None:
    """While not a single file can be opened the supervisor goes on, changes nothing, and says so
    once; afterwards all is as before."""
    plancton.calm()
    plancton.start()
    ids = plancton.full(2)
    before = resource.prlimit(plancton.pid, resource.RLIMIT_NOFILE)
    assert before[0] == before[1], "not all that there may be are allowed"
    resource.prlimit(plancton.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    wait_for("it is said", lambda: plancton.lines("Too many open files", "not everything"))
    woken = wake_ups(plancton.pid)
    wait_for("a slow pass and more", lambda: wake_ups(plancton.pid) >= woken + 12)
    resource.prlimit(plancton.pid, resource.RLIMIT_NOFILE, before)
    plancton.goes_on()
    assert len(plancton.lines("Too many open files", "not everything")) == 1, plancton.log
    assert plancton.full(2) == ids
    assert plancton.status_json()["tier"] == "kernel" and not plancton.lines("tier quota")
