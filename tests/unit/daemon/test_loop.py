"""The loop with a scripted Docker and a slice of plain files: it never waits, and survives
faults."""

import errno
import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.scripted_docker import CUT, HANG, Script, ScriptedDocker, reply
from unit.trees import tree

from plancton.config.watch import ConfigFile
from plancton.daemon import loop, upgrade
from plancton.daemon.docker_link import LONGEST_RETRY
from plancton.daemon.history_writer import HistoryWriter
from plancton.daemon.loop import Options, Supervisor
from plancton.daemon.reconciler import Reconciler
from plancton.daemon.recorder import Recorder
from plancton.host.cgroup_mounts import Layout
from plancton.host.sampler import Sampler
from plancton.host.slice import Slice
from plancton.model import Header, Status, Tick
from plancton.paths import Paths
from plancton.policy.replay import read_recording, replay
from plancton.request_files import request
from plancton.status_reading import read_status
from plancton.workers.usage import Usage

DEADLINE = 20.0
INFO = reply(json.dumps({"CgroupDriver": "cgroupfs", "DockerRootDir": "/"}).encode())
WORKING: Script = {"GET /info": INFO, "GET /containers/json": reply(b"[]"), "GET /events": [HANG]}


class Run:
    """A supervisor whose ticks a test makes itself, one second apart on its own clock."""

    def __init__(self, root: Path, script: Script | None, config: str = "", **options: Any) -> None:
        self.root = root
        self.server = ScriptedDocker(root / "d.sock", script).__enter__() if script is not None else None
        self.config = root / "config.yaml"
        self.configure(config)
        paths = Paths(self.config, root / "run", root / "state")
        if not options.get("dry_run"):
            paths.state.mkdir(exist_ok=True)  # the instance's id is in it
        self.it = Supervisor(Options(**options), paths, ConfigFile(self.config, missing_ok=False), "i")
        self.it.request_queue.start()
        self.it.cleanup_queue.start()
        self.it.configure()
        self.now = time.monotonic()

    def configure(self, text: str) -> None:
        self.config.write_text(f"docker: {{socket: {self.root / 'd.sock'}}}\n{text}")

    def tick(self, seconds: float = 1.0) -> None:
        """One tick, and the calls that have come back by then."""
        self.now += seconds
        while call := self.it.inbox.take():
            with self.it._despite_no_descriptor():
                call()
        with self.it._despite_no_descriptor():
            self.it.tick(self.now)
        for thread in threading.enumerate():
            if thread.name == "history":  # its disk is real, and the clock here is not
                thread.join(DEADLINE)

    def until(self, true: Callable[[], object], what: str) -> None:
        end = time.monotonic() + DEADLINE
        self.tick(0.05)
        while not true():
            assert time.monotonic() < end, f"waited in vain for {what}; problems: {self.status().problems}"
            self.tick(0.05)
            time.sleep(0.005)

    def status(self) -> Status:
        found = read_status(self.root / "run")
        assert found is not None
        return found

    def ready(self) -> None:
        self.until(lambda: self.it.docker.ready, "Docker")

    def close(self) -> None:
        self.it.docker.close()
        if self.server:
            self.server.__exit__(None, None, None)
        for queue in (self.it.request_queue, self.it.cleanup_queue):
            queue.close()
            queue.join(DEADLINE)
        self.it.figures.close()
        if self.it.recorder:
            self.it.recorder.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    tree(tmp_path, v2={})
    monkeypatch.setattr("plancton.daemon.loop.read_layout", lambda proc: Layout(tmp_path / "v2"))
    made: list[Run] = []

    def make(script: Script | None = None, config: str = "", **options: Any) -> Run:
        made.append(Run(tmp_path, script, config, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


# ---------------------------------------------------------------- the host


class Clocks(Sampler):
    """Whose host has been asleep for some seconds."""

    asleep = 0.0

    def clocks(self) -> tuple[float, float]:
        monotonic, boottime = super().clocks()
        return monotonic, boottime + self.asleep


def test_a_suspended_host(run: Callable[..., Run]) -> None:
    """When it wakes, status says once how long it slept, and the workers are looked at."""
    it = run({**WORKING})
    it.ready()
    it.it.figures.sampler = clocks = Clocks()
    it.tick()
    clocks.asleep = 2.5 * 3600.0
    for _ in range(3):
        it.tick()
    said = [event.text for event in it.status().events if "suspended" in event.text]
    assert len(said) == 1 and "2h" in said[0], it.status().events


@pytest.mark.parametrize(("battery", "seconds"), [(False, 5.0), (True, 15.0)])
def test_on_battery(
    run: Callable[..., Run], battery: bool, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop on its battery is woken a third as often."""
    monkeypatch.setattr("plancton.daemon.loop.on_battery", lambda: battery)
    it = run({**WORKING})
    it.tick()
    assert it.it.longest_tick == seconds


# ---------------------------------------------------------------- Docker in trouble


def test_docker_that_hangs(run: Callable[..., Run]) -> None:
    """While a call to Docker hangs, ticks continue, and after a while the status says so."""
    it = run({**WORKING, "GET /info": [HANG]})
    it.tick()
    assert it.server and it.server.reached.wait(DEADLINE)
    for _ in range(60):
        it.tick()
    assert it.it.docker.looking, "the ticks waited for the call"
    assert "Docker has not answered for a while" in it.status().problems
    assert it.status().capacity > 0 and it.status().owner is not None, "the host is no longer seen"


def test_hang_after_a_while(run: Callable[..., Run]) -> None:
    """A Docker that stops answering does not prevent draining and stopping."""
    it = run(
        {**WORKING, "GET /events": reply(b""), "GET /images/busybox/json": [HANG]}, "image: {name: busybox}"
    )
    it.until(lambda: it.server and it.server.reached.is_set(), "the hang")
    request(it.root / "run", "drain", "finish")
    it.tick()
    assert it.status().mode == "draining"
    request(it.root / "run", "stop")
    it.until(it.it.stopping.done, "the end: with no worker there is not much to wait for")
    assert it.it.stopping.wanted


def test_another_cgroup_driver(run: Callable[..., Run]) -> None:
    """When dockerd comes back with another cgroup driver, nothing is started, and the status says
    that Plancton must be restarted; when it comes back as it was, all is well."""
    it = run({**WORKING}, "image: {name: busybox}")
    it.ready()

    def comes_back_with(driver: str) -> None:
        assert it.server
        it.until(it.server.reached.is_set, "the events: who does not follow them sees no end of them")
        info = {"CgroupDriver": driver, "DockerRootDir": "/"}
        it.server.script["GET /info"] = reply(json.dumps(info).encode())
        it.server.reached.clear()
        it.server.hang_up()

    comes_back_with("systemd")
    it.until(lambda: it.status().unprotected, "the problem")
    assert any("restart Plancton" in problem for problem in it.status().problems)
    comes_back_with("cgroupfs")
    it.until(lambda: not it.status().unprotected, "its end")
    assert not any("restart Plancton" in problem for problem in it.status().problems)


def test_disks(run: Callable[..., Run], tmp_path: Path) -> None:
    """All that workers write to is looked at; what can't be is a problem, and said to doctor."""
    hidden = tmp_path / "hidden"
    info = {"CgroupDriver": "cgroupfs", "DockerRootDir": str(hidden)}
    it = run({**WORKING, "GET /info": reply(json.dumps(info).encode())})
    it.ready()
    it.now += 10
    it.until(lambda: it.status().unseen_disks == (str(hidden),), "the disk")
    assert any("reserve_disk" in problem and str(hidden) in problem for problem in it.status().problems)
    hidden.mkdir()
    it.now += 10
    it.until(lambda: not it.status().unseen_disks, "the disk")
    assert it.it.disk_guard.disks.least and it.it.disk_guard.disks.least.path == str(hidden)


def test_no_docker(run: Callable[..., Run]) -> None:
    """Without a socket the loop looks for it less and less often, at most every 10 s, and says so
    once."""
    it = run(None)
    it.until(lambda: "there is no Docker socket" in it.status().docker, "the problem")
    waits = []
    for _ in range(7):
        it.it.docker.retry_at = 0.0
        before = it.it.docker.retry_after
        it.until(lambda before=before: it.it.docker.retry_after != before or before == LONGEST_RETRY, "a try")  # type: ignore[misc]
        waits.append(it.it.docker.retry_after)
    assert waits == sorted(waits) and waits[-1] == LONGEST_RETRY, waits
    assert sum("no Docker socket" in event.text for event in it.status().events) == 1, it.status().events


def test_docker_comes_later(run: Callable[..., Run]) -> None:
    """A Docker that starts after Plancton is found."""
    it = run(None)
    it.until(lambda: "there is no Docker socket" in it.status().docker, "the problem")
    it.server = ScriptedDocker(it.root / "d.sock", dict(WORKING)).__enter__()
    it.it.docker.retry_at = 0.0
    it.ready()
    it.until(lambda: it.status().docker == "answers", "the status")
    assert (it.root / "v2/plancton").is_dir(), "the slice is not made"
    assert any(event.text == "Docker answers" for event in it.status().events)


def test_docker_restarts(run: Callable[..., Run]) -> None:
    """When the event stream is cut, the containers are listed and the events followed again."""
    it = run(dict(WORKING))
    it.ready()
    assert it.server and it.server.reached.wait(DEADLINE)

    def asked(what: str) -> int:
        assert it.server
        return sum(what in each for each in it.server.requests)

    lists, events = asked("/containers/json"), asked("/events")
    it.server.hang_up()
    it.until(
        lambda: asked("/containers/json") > lists and asked("/events") > events, "the list and the events"
    )
    it.ready()


@pytest.mark.parametrize("where", ["GET /info", "GET /containers/json"])
def test_docker_that_is_cut(run: Callable[..., Run], where: str) -> None:
    """If Docker cuts connections or answers nonsense, the loop tries again until it works."""
    answers: list[Any] = [
        [CUT],
        reply(b"<html>"),
        reply(b'{"message":"starting"}', "503 Service Unavailable"),
    ]
    good = WORKING[where]
    it = run({**WORKING, where: lambda _: answers.pop(0) if answers else good})
    for _ in range(4):
        it.it.docker.retry_at = 0.0
        it.until(lambda: it.it.docker.ready or not it.it.docker.looking, "an answer")
    for _ in range(2):
        it.it.docker.retry_at = 0.0
        it.until(lambda: it.it.docker.ready or not it.it.docker.looking, "an answer")
    assert it.it.docker.ready and answers == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks systemd")
def test_systemd_that_hangs(run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While systemd hangs, ticks continue, both as the slice is made and as it is repaired; what
    others change in it meanwhile is put back all the same."""
    group, answers = tmp_path / "v2/plancton.slice", tmp_path / "answers"
    program = tmp_path / "systemctl"
    program.write_text(
        f"#!/bin/sh\n: >'{tmp_path}/asked'\nwhile [ ! -e '{answers}' ]; do sleep 0.05; done\n"
        f"mkdir -p '{group}'\n[ -e '{group}/cpu.idle' ] || echo 0 >'{group}/cpu.idle'\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    info = {"CgroupDriver": "systemd", "DockerRootDir": "/"}
    it = run({**WORKING, "GET /info": reply(json.dumps(info).encode())})
    it.until((tmp_path / "asked").exists, "systemctl")
    for _ in range(30):
        it.tick()
    assert not it.it.docker.ready and it.status().tier_reason == "waiting for Docker"
    answers.touch()
    it.ready()
    assert (group / "cpu.idle").read_text().strip() == "1"
    answers.unlink()
    (group / "cpu.idle").write_text("0")
    for _ in range(30):
        it.tick()
    assert (group / "cpu.idle").read_text().strip() == "1" and it.status().tier == "kernel"
    answers.touch()


def test_trying_out() -> None:
    """What is installed here would start; what takes too long to try out is said as that."""
    assert upgrade.why_not_again() == ""
    assert "more than 0.001 s" in upgrade.why_not_again(0.001)


# ---------------------------------------------------------------- configuration


def test_broken_reload(run: Callable[..., Run]) -> None:
    """A configuration broken at reload is a problem with file and key; the last good one stays in
    force."""
    it = run(dict(WORKING), "worker: {cpus: 2}")
    it.ready()
    for text, words in (
        ("wroker: {}", "did you mean 'worker'?"),
        ("worker: {cpus: 1", "line 2, column 17"),
        ("pool: {max_workers: 1 / 0}", "division by zero"),
        ("#" * 300_000, "is longer than"),
    ):
        it.configure(text)
        it.tick()
        (problem,) = (p for p in it.status().problems if "config.yaml" in p)
        assert words in problem and problem.endswith("(the last good configuration stays in force)"), problem
        assert it.it.file.config.worker.cpus == 2 and it.it.in_force.settings.worker_cpus == 2
    it.configure("worker: {cpus: 3}")
    it.tick()
    it.tick()
    assert not any("config.yaml" in p for p in it.status().problems), it.status().problems
    assert it.it.in_force.settings.worker_cpus == 3


def test_configuration_that_vanishes(run: Callable[..., Run]) -> None:
    """A file that vanishes, or becomes a directory, leaves the last good one in force."""
    it = run(dict(WORKING), "worker: {cpus: 2}")
    it.ready()
    it.config.unlink()
    it.tick()
    assert any("no such file" in p for p in it.status().problems) and it.it.file.config.worker.cpus == 2
    it.config.mkdir()
    it.tick()
    assert any("is not a regular file" in p for p in it.status().problems)


def test_expression_that_fails_here(run: Callable[..., Run]) -> None:
    """An expression that fails only on this host leaves the last good value, and says so."""
    it = run(dict(WORKING), "pool: {max_workers: 7}")
    it.ready()
    it.tick()
    assert it.status().max_workers == 7
    it.configure("pool: {max_workers: 7 / (1 if ram_bytes == 8000000000 else 0)}")
    it.tick()
    it.tick()
    assert it.status().max_workers == 7
    assert any("division by zero (the last good value stays)" in p for p in it.status().problems)


# ---------------------------------------------------------------- requests and files


@pytest.mark.parametrize("content", [b"", b"finish", b"\xff\x00\n", b"x" * 1000])
def test_drain(run: Callable[..., Run], content: bytes) -> None:
    """A drain file counts, whatever it contains, until it is removed."""
    it = run(dict(WORKING))
    it.ready()
    (it.root / "run/drain").write_bytes(content)
    it.tick()
    assert it.status().mode == "draining"
    (it.root / "run/drain").unlink()
    it.tick()
    assert it.status().mode == "donating"


def test_pause(run: Callable[..., Run]) -> None:
    """A pause is taken up at the next tick, and is in the status with its end until it is ended."""
    it = run(dict(WORKING))
    it.ready()
    request(it.root / "run", "pause", f"{time.time() + 600:.0f}")
    it.tick()
    status = it.status()
    assert status.mode == "paused" and status.pause and status.pause.by == "owner" and status.pause.until
    assert any("paused by the owner until" in event.text for event in status.events)
    request(it.root / "run", "resume")
    it.tick()
    assert it.status().mode == "donating" and it.status().pause is None


def test_status_that_cannot_be_written(run: Callable[..., Run], caplog: pytest.LogCaptureFixture) -> None:
    """If status.json can't be written, the loop continues, says so once, and says when it can
    again."""
    it = run(dict(WORKING))
    it.tick()
    blocked = it.root / "run" / ".status.json.part"
    blocked.mkdir()
    with caplog.at_level("INFO"):
        for _ in range(20):
            it.tick()
        blocked.rmdir()
        for _ in range(12):
            it.tick()
    said = [record.getMessage() for record in caplog.records if "written" in record.getMessage()]
    assert len(said) == 2 and "can't be written" in said[0] and "can be written again" in said[1], said


def test_recording_that_ends(run: Callable[..., Run], tmp_path: Path) -> None:
    """A recording that fails (a full disk) ends with a warning; the loop continues."""
    it = run(dict(WORKING))
    it.it.recorder = Recorder(Path("/dev/full"), it.it.status_file.warn)
    it.tick()
    it.tick()
    assert any(
        "/dev/full: No space left on device; recording has ended" in e.text for e in it.status().events
    )


def test_recording_says_what_it_was_decided_with(run: Callable[..., Run], tmp_path: Path) -> None:
    """Ticks are recorded below the settings in force, which are repeated when they change."""
    it = run(dict(WORKING))
    it.it.recorder = Recorder(tmp_path / "rec", it.it.status_file.warn)
    it.tick()
    it.configure("yield: {grace_kill: 77s}")
    it.tick()
    it.tick()
    lines = list(read_recording(tmp_path / "rec"))
    headers = [line for line in lines if isinstance(line, Header)]
    assert [(h.settings.grace_kill, h.continued) for h in headers] == [(600.0, False), (77.0, True)], headers
    total = next(line.observation.memory_total for line in lines if isinstance(line, Tick))
    assert headers[0].settings.reserve_memory == total // 10, headers[0]
    assert all(not tick.differs for tick in replay(iter(lines))), lines


def test_change_of_docker_needs_a_restart(run: Callable[..., Run]) -> None:
    """A new socket in the file is not used until a restart, and the status says so."""
    it = run(dict(WORKING))
    it.ready()
    it.config.write_text("docker: {socket: /nowhere}")
    it.tick()
    assert "docker: the change needs a restart (kill -HUP keeps the workers)" in it.status().problems


def test_slice_is_repaired(run: Callable[..., Run]) -> None:
    """What somebody changes in the slice is restored within seconds, and reported."""
    it = run(dict(WORKING))
    it.ready()
    knob = it.root / "v2/plancton/cpu.weight"
    assert knob.read_text() == "1"
    knob.write_text("100")
    for _ in range(7):
        it.tick()
    assert knob.read_text() == "1"
    assert any("put back to tier" in event.text for event in it.status().events), it.status().events


def lacks_a_descriptor_once(monkeypatch: pytest.MonkeyPatch, kind: type, method: str) -> None:
    whole, failed = getattr(kind, method), list[bool]()

    def lacks(*args: Any) -> None:
        if not failed:
            failed.append(True)
            raise OSError(errno.EMFILE, "Too many open files")
        whole(*args)

    monkeypatch.setattr(kind, method, lacks)


def test_no_descriptor_for_the_slice(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice that can't be set up for want of a descriptor is set up as soon as there is one."""
    lacks_a_descriptor_once(monkeypatch, Slice, "take")
    it = run(dict(WORKING))
    it.ready()
    assert (it.root / "v2/plancton/cpu.weight").read_text() == "1"


def test_no_descriptor_for_a_list(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that were listed when there was no descriptor are adopted as soon as there is one."""
    lacks_a_descriptor_once(monkeypatch, Reconciler, "reconcile")
    it = run(with_a_pilot())
    it.until(lambda: "w1" in it.it.roster, "the worker")


# ---------------------------------------------------------------- going on in place


def test_request_before_a_restart(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that comes too late to be obeyed is there for the program that is executed."""
    it, executed = run(dict(WORKING)), list[object]()
    monkeypatch.setattr(it.it, "_begin", lambda: None)
    monkeypatch.setattr(it.it, "_end", lambda: None)
    monkeypatch.setattr(loop, "execute_again", lambda *given: executed.append(given))
    request(it.root / "run", "stop")
    it.it.inbox.put(it.it.stopping.run_again)
    it.it.next_tick = it.it.last_tick = 0.0
    it.it.run()
    assert executed and (it.root / "run/stop").exists()


def test_dry_run_touches_nothing(run: Callable[..., Run]) -> None:
    """A dry run makes no slice, no run directory and no request that changes anything."""
    it = run(dict(WORKING), "image: {name: busybox}", dry_run=True)
    end = time.monotonic() + DEADLINE
    while not it.it.docker.ready:
        assert time.monotonic() < end
        it.tick(0.05)
        time.sleep(0.005)
    for _ in range(30):
        it.tick()
    assert not list((it.root / "v2").iterdir()) and not (it.root / "run").exists()
    assert it.server is not None
    assert all(each.startswith("GET ") for each in it.server.requests), it.server.requests


# ---------------------------------------------------------------- work and jobs

ID = "c0ffee" * 8


def with_a_pilot(report: bytes = b"") -> Script:
    """A Docker with one pool worker, whose jobs have reported this."""
    labels = {"plancton.instance": "i", "plancton.pool": "htcondor"}
    inspected = {
        "Id": ID,
        "Name": "/w1",
        "State": {"Running": True, "Pid": 0},
        "Config": {"Labels": labels},
        "HostConfig": {"CgroupParent": "/plancton"},
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo("jobs")
        entry.size = len(report)
        tar.addfile(entry, io.BytesIO(report))
    return {
        **WORKING,
        "GET /containers/json": reply(json.dumps([{"Id": ID, "Names": ["/w1"], "Labels": labels}]).encode()),
        f"GET /containers/{ID}/json": reply(json.dumps(inspected).encode()),
        f"GET /containers/{ID}/archive": reply(made.getvalue()),
    }


def test_job_that_ends_is_counted(run: Callable[..., Run]) -> None:
    """When a job has ended, its worker's report is read, and the status has the totals."""
    it = run(with_a_pilot(b"exit 10.0\n"))
    assert it.it.layout.v2
    tree(it.it.layout.v2, plancton={ID: {}})
    it.ready()
    it.until(lambda: len(it.it.roster) == 1, "the worker")
    assert it.it.usage is not None
    looks = [Usage(jobs=(5.0,), job_cpu=1.0), Usage(jobs=(5.0,), job_cpu=2.0), Usage(jobs=())]
    for look in looks:
        it.it.usage.read = lambda *_: None  # type: ignore[method-assign]
        it.it.usage.by_name = {"w1": look, "gone": Usage(jobs=(1.0,))}
        it.it.next_slow = it.it.last_reading = 0.0
        assert it.it.accounting.work.jobs_done == 0
        it.tick()
    it.until(lambda: it.it.accounting.work.jobs_done == 1, "the report")
    for _ in range(12):
        it.tick()
    work, (worker,) = it.status().work, it.status().workers
    assert work is not None and (work.jobs_done, work.cpu_done) == (1, 10.0), work
    assert worker.jobs == 0, worker


def test_a_job_that_was_asleep_for_too_long(run: Callable[..., Run]) -> None:
    """After a suspend that was longer than its job's lease a worker is told to leave, and status says
    why."""
    it = run(
        {**with_a_pilot(), f"POST /containers/{ID}/kill": reply(b"", "204 No Content")},
        "htcondor: {central_manager: cm, token_file: /t}",
    )
    assert it.it.layout.v2
    tree(it.it.layout.v2, plancton={ID: {}})
    it.ready()
    it.until(lambda: len(it.it.roster) == 1, "the worker")
    assert it.it.usage is not None
    it.it.figures.sampler = clocks = Clocks()
    it.it.usage.read = lambda *_: None  # type: ignore[method-assign]
    it.it.usage.by_name = {"w1": Usage(jobs=(5.0,))}
    it.it.next_slow = it.it.last_reading = 0.0
    it.tick()
    it.tick()
    clocks.asleep = 3 * 3600.0
    it.tick()
    server = it.server
    assert server
    it.until(lambda: any(f"/{ID}/kill?" in each for each in server.requests), "the signal")
    said = [event.text for event in it.status().events if "lease" in event.text]
    assert len(said) == 1 and "w1" in said[0], it.status().events


@pytest.mark.parametrize("hours", [5.0, -5.0, -500_000.0, 700_000.0])
def test_a_clock_that_is_set(run: Callable[..., Run], hours: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the computer's clock is set to, no lease and no deadline goes by it."""
    it = run(with_a_pilot(), "htcondor: {central_manager: cm, token_file: /t}")
    assert it.it.layout.v2
    tree(it.it.layout.v2, plancton={ID: {}})
    it.ready()
    it.until(lambda: len(it.it.roster) == 1, "the worker")
    assert it.it.usage is not None
    it.it.usage.read = lambda *_: None  # type: ignore[method-assign]
    it.it.usage.by_name = {"w1": Usage(jobs=(5.0,))}
    for _ in range(20):
        it.tick()
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + hours * 3600.0)
    for _ in range(20):
        it.tick()
    after = it.status()
    assert abs(after.time - time.time()) < 600.0, "the status goes on"
    said = [event.text for event in after.events]
    assert not any("suspended" in text or "leave" in text or "kill" in text for text in said), said
    assert [worker.phase for worker in after.workers] == ["running"], after.workers


def test_work_outlives_plancton(run: Callable[..., Run]) -> None:
    """The totals are kept in the state directory, where the next run finds them."""
    it = run(dict(WORKING))
    it.it.accounting.lost(2, 33.0)
    it.tick()
    assert it.status().work == it.it.accounting.work
    it.it.history.close()
    kept = HistoryWriter(it.root / "state", it.it.inbox, 0.0).accounting.work
    assert (kept.jobs_evicted, kept.cpu_lost) == (2, 33.0), kept


def test_dry_run_keeps_no_book(run: Callable[..., Run]) -> None:
    """A dry run neither reads nor writes the totals."""
    it = run(dict(WORKING), dry_run=True)
    it.it.accounting.lost(1, 1.0)
    it.tick()
    it.it.history.close()
    assert not (it.root / "state").exists()
