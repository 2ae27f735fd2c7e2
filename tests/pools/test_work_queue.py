"""A real Work Queue pool: workers exactly as in docs/pools.md, for a manager on the same host."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from docker.harness import CPUS, ApiError, Engine, Plancton, wait_for
from pools.page import example

from plancton.host.cgroup_mounts import read_layout

TITLE = "Work Queue"
USER = 65534
TASK = """\
until [ -e /etc/work_queue/all ] || [ -e /etc/work_queue/$1 ]; do sleep 0.1; done
echo $(($1 * $1)) by $(hostname) >out.$1
"""
"""Waits until the test releases it, then writes the square of its number and where it ran."""

pytestmark = [pytest.mark.docker, pytest.mark.slow]


class Event(NamedTuple):
    """A line of the manager's log of transactions about a task; ``worker`` is HOST:PORT, if it has
    one."""

    time: float
    task: int
    state: str
    worker: str


class Manager:
    """`makeflow -T wq` in a container: it gives tasks to whatever worker connects."""

    def __init__(self, engine: Engine, image: str, directory: Path) -> None:
        self.engine, self.image, self.directory = engine, image, directory
        self.name = f"plancton-test-wq-{secrets.token_hex(3)}"
        self.container = ""
        self.password = directory / "secret" / "password"
        self.password.parent.mkdir(parents=True)
        self.password.write_text(secrets.token_hex())
        self.password.chmod(0o400)
        os.chown(self.password, USER, USER)
        # The gateway of a bridge is an address of the host's own: workers reach it without any NAT.
        engine.call("POST", "/networks/create", {"Name": self.name, "Driver": "bridge"})
        self.address = engine.call("GET", f"/networks/{self.name}")["IPAM"]["Config"][0]["Gateway"]
        self.count = 0

    def start(self, count: int, cores: int = 1) -> None:
        """Have it run this many tasks; returns when workers can connect."""
        self.count = count
        (self.directory / "task.sh").write_text(TASK)
        rules = [f"out.{n}: task.sh\n\tsh task.sh {n}\n" for n in range(1, count + 1)]
        text = "\n".join([f"CORES={cores}", "MEMORY=32", "DISK=16", *rules])
        (self.directory / "flow").write_text(text)
        options = "-Z port -L log -d wq -o debug --password secret/password"
        command = f"cd /flow && exec makeflow -T wq {options} flow >said 2>&1"
        host = {"NetworkMode": "host", "Binds": [f"{self.directory}:/flow"]}
        self.container = self.engine.run(self.name, command, Image=self.image, HostConfig=host)
        wait_for("the manager listens", lambda: self.read("port").strip())

    def release(self, task: str = "all") -> None:
        """Let a task end, wherever it runs, or all of them."""
        self.password.with_name(task).touch()

    def read(self, name: str) -> str:
        file = self.directory / name
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def port(self) -> str:
        return self.read("port").strip()

    def events(self) -> list[Event]:
        """What happened to tasks so far."""
        lines = [line.split() for line in self.read("log.tr").splitlines() if " TASK " in line]
        lines = [words for words in lines if words[0].isdecimal()]
        return [
            Event(int(words[0]) / 1e6, int(words[3]), words[4], words[5] if words[4] == "RUNNING" else "")
            for words in lines
        ]

    def running(self) -> set[int]:
        """The tasks that run now."""
        state = {event.task: event.state for event in self.events()}
        return {task for task, last in state.items() if last == "RUNNING"}

    def runs(self, task: int) -> list[str]:
        """The workers on which a task ran, in order."""
        return [event.worker for event in self.events() if (event.task, event.state) == (task, "RUNNING")]

    def lost(self) -> list[Event]:
        """Tasks that came back without a result."""
        found, ran = [], set[int]()
        for event in self.events():
            if event.state == "WAITING" and event.task in ran:
                found.append(event)
            if event.state == "RUNNING":
                ran.add(event.task)
        return found

    def done(self) -> set[int]:
        return {event.task for event in self.events() if event.state == "DONE"}

    def outputs(self) -> dict[int, str]:
        """What tasks have written, by number, without where they ran."""
        files = {number: self.read(f"out.{number}") for number in range(1, self.count + 1)}
        return {number: text.partition(" by ")[0] for number, text in files.items() if text}

    def hosts(self) -> set[str]:
        """The workers that did something."""
        texts = (self.read(f"out.{number}") for number in range(1, self.count + 1))
        return {text.partition(" by ")[2].strip() for text in texts if text}

    def close(self) -> None:
        if self.container:
            self.engine.remove(self.container)
        with suppress(ApiError):
            self.engine.call("DELETE", f"/networks/{self.name}")

    def describe(self) -> str:
        """A summary for failure messages."""
        transactions = [line for line in self.read("log.tr").splitlines() if not line.startswith("#")]
        words = [*self.read("said").splitlines()[-10:], *transactions[-30:]]
        return "\n".join([f"outputs: {self.outputs()}", *words])


@pytest.fixture
def manager(engine: Engine, work_queue_image: str, tmp_path: Path) -> Iterator[Manager]:
    """A manager that is not running yet."""
    manager = Manager(engine, work_queue_image, tmp_path / "manager")
    try:
        yield manager
    finally:
        manager.close()


def join(plancton: Plancton, manager: Manager, idle: int, workers: int) -> None:
    """Configure workers for this running manager."""
    replaced = {
        "wq.example.org": manager.address,
        "9123": manager.port,
        "IDLE: 300": f"IDLE: {idle}",
        "/etc/plancton/work_queue": str(manager.password.parent),
    }
    quick = {"worthwhile": 0.1, "grace_kill": "3s"}
    plancton.configure(**example(TITLE, replaced), yielding=quick, pool={"max_workers": workers})
    # Two fit on any machine, and have the time that a loaded one takes to let them leave.
    plancton.configure(
        worker={"cpus": 0.25, "leave_timeout": "120s", "network": {"allow": [manager.address]}}
    )


def wait_until_done(manager: Manager) -> None:
    """Wait until the manager has the right output of all tasks."""
    wanted = {number: str(number * number) for number in range(1, manager.count + 1)}
    wait_for(f"all {manager.count} tasks are done", lambda: len(manager.done()) == manager.count)
    wait_for("the manager ends", lambda: manager.outputs() == wanted)


def commands(plancton: Plancton) -> list[str]:
    """The command lines of all processes in workers."""
    tree = read_layout().v2
    assert tree
    found = list[str]()
    for container in plancton.ids():
        for pid in (tree / plancton.group(container) / "cgroup.procs").read_text().split():
            with suppress(OSError):  # it has ended meanwhile
                found.append(Path(f"/proc/{pid}/cmdline").read_bytes().decode())
    return found


def tasks(plancton: Plancton) -> set[str]:
    """The numbers of the tasks whose processes run: the manager is ahead of them."""
    return {number for line in commands(plancton) for number in re.findall(r"task\.sh\0(\d+)", line)}


def waits_for_its_task(plancton: Plancton) -> bool:
    """Whether the only worker knows that it has to finish: the page's script has a second shell then."""
    return sum(line.startswith("/bin/sh") and "finish()" in line for line in commands(plancton)) == 2


def number(plancton: Plancton) -> str:
    """The number of the task that the only worker runs."""
    (found,) = wait_for("a task's process runs", lambda: tasks(plancton))
    return found


def test_a_lost_task_runs_elsewhere(plancton: Plancton, manager: Manager) -> None:
    """The owner comes, a worker drops its task, another runs it, and all results are right."""
    manager.start(count=10)
    join(plancton, manager, idle=600, workers=2)
    plancton.start()
    wait_for("two tasks run", lambda: len(manager.running()) == 2 and len(tasks(plancton)) == 2)
    plancton.host.owner = CPUS - 0.2
    wait_for("a worker is asked to leave", lambda: plancton.lines("asking", "to leave"))
    wait_for("it is gone", lambda: plancton.lines("is gone after", "exit code"))
    assert plancton.lines("is gone after", "exit code 0")
    wait_for("the manager has its task back", manager.lost)
    plancton.host.owner = 0
    wait_for("two tasks run again", lambda: len(manager.running()) == 2)
    manager.release()
    wait_until_done(manager)
    for event in manager.lost():
        ran = manager.runs(event.task)
        assert len(ran) > 1 and len(set(ran)) == len(ran), f"{event}: ran on {ran}"
    assert len(manager.hosts()) >= 2


def test_finishing_ends_the_task_in_hand(plancton: Plancton, manager: Manager) -> None:
    """After `plancton drain`, the running task completes, once; after `resume`, the others run."""
    manager.start(count=3)
    join(plancton, manager, idle=600, workers=1)
    plancton.start()
    (task,) = wait_for("a task runs", manager.running)
    plancton.full(1)
    done = plancton.cli("drain")
    assert done.returncode == 0, done.stderr
    wait_for("the worker is asked to finish", lambda: plancton.lines("asking", "to finish"))
    running = number(plancton)
    wait_for("the worker knows", lambda: waits_for_its_task(plancton))
    manager.release(running)
    wait_for("the worker's end is told", lambda: plancton.lines("is gone after", "exit code 0"))
    assert manager.done() == {task}, f"{task} ran, these are done: {manager.done()}"
    assert len(manager.runs(task)) == 1, f"{task} ran on {manager.runs(task)}"
    plancton.empty()
    done = plancton.cli("resume")
    assert done.returncode == 0, done.stderr
    manager.release()
    wait_until_done(manager)


def test_without_tasks_it_is_left_alone(plancton: Plancton, manager: Manager) -> None:
    """If no task fits, a worker ends by itself and says why; Plancton backs off."""
    manager.start(count=1, cores=64)
    join(plancton, manager, idle=2, workers=1)
    plancton.start()
    wait_for("the worker ends", lambda: plancton.lines("ended after", "exit code 75"))
    (line,) = plancton.lines("ended after", "exit code 75")
    assert "I did not receive any task in 2 seconds" in line, line
    wait_for("Plancton says so", lambda: "found no work" in plancton.cli("status").stdout)
    assert "backing off" in plancton.cli("status").stdout
    plancton.empty()
