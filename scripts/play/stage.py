"""Shared by the plays of scripts/quickstart: Plancton, an owner's load, figures."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.engine_cpu import find_engine
from plancton.host.sampler import Sampler, read_process
from plancton.model import Observation, Phase, Sample, Status
from plancton.paths import Paths
from plancton.policy.observe import observe
from plancton.status_reading import running

BUSY = "while :; do :; done"


class Row(NamedTuple):
    """CPUs over a period of time."""

    name: str
    owner: float
    donated: float
    idle: float


class Stage:
    """The stage of one performance: a directory of its own, a clock, and a narrator."""

    def __init__(self, directory: Path) -> None:
        self.paths = Paths(directory / "config.yaml", directory / "run", directory / "state")
        self.started = time.monotonic()
        self.layout = read_layout()
        self.told = set[tuple[float, str]]()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", flush=True)

    def fail(self, text: str) -> NoReturn:
        log = self.paths.config.with_name("log")
        lines = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else []
        print("\n".join([*lines, f"quickstart: {text}"]), file=sys.stderr)
        sys.exit(1)

    def status(self) -> Status:
        """Plancton's status; prints what has happened since the last call."""
        status = running(self.paths)
        if status is None:
            self.fail("Plancton does not run")
        for event in status.events:
            if (event.time, event.text) not in self.told:
                self.told.add((event.time, event.text))
                self.say(f"plancton: {event.text}")
        return status

    def until(self, what: str, seconds: float, holds: Callable[[Status], bool]) -> float:
        """Watch until this holds; how long it took."""
        begin = time.monotonic()
        while not holds(status := self.status()):
            if time.monotonic() - begin > seconds:
                self.fail(f"not within {seconds:.0f} s: {what}; Plancton says: {status.sentence}")
            time.sleep(0.2)
        return time.monotonic() - begin

    def gather(self, most: int) -> int:
        """Wait for this many workers, or fewer on a computer in use. How many there are."""
        patience = time.monotonic() + 30
        self.until(
            "a worker runs",
            120,
            lambda s: workers(s) == most or (workers(s) > 0 and time.monotonic() > patience),
        )
        return workers(self.status())

    def sampler(self) -> Sampler:
        path = self.status().slice
        memory = self.layout.v1.get("memory", self.layout.v2)
        assert self.layout.v2 and memory
        sampler = Sampler(PROC, self.layout.v2 / path, memory / path / "memory.stat")
        sampler.watch_engine(find_engine(PROC, self.layout.v2, None, path))
        return sampler

    def measure(self, name: str, sampler: Sampler, seconds: float) -> Row:
        before = sampler.sample()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.status()
            time.sleep(0.2)
        return row(name, before, sampler.sample())


def row(name: str, before: Sample, after: Sample) -> Row:
    seen: Observation = observe(before, after)
    return Row(name, seen.owner or 0.0, seen.donated or 0.0, seen.idle or 0.0)


def workers(status: Status) -> int:
    return sum(w.phase is Phase.RUNNING for w in status.workers)


@contextlib.contextmanager
def owner_load(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One busy process for each CPU, ended afterwards."""
    load = [subprocess.Popen(["/bin/sh", "-c", BUSY]) for _ in range(count)]
    try:
        yield load
    finally:
        for process in load:
            process.kill()
            process.wait()


def cpu_seconds(load: list[subprocess.Popen[bytes]]) -> float:
    found = [read_process(process.pid) for process in load]
    return sum(process.cpu for process in found if process)


def load_rate(load: list[subprocess.Popen[bytes]], seconds: float, look: Callable[[], object]) -> float:
    """CPUs that the load gets over this many seconds."""
    cpu, begin = cpu_seconds(load), time.monotonic()
    while time.monotonic() - begin < seconds:
        look()
        time.sleep(0.1)
    return (cpu_seconds(load) - cpu) / (time.monotonic() - begin)


@contextlib.contextmanager
def plancton(stage: Stage, config: str) -> Iterator[subprocess.Popen[bytes]]:
    """Plancton in the background; its workers end with it whatever happens."""
    environment = {
        **os.environ,
        "PLANCTON_RUN_DIR": str(stage.paths.run),
        "PLANCTON_STATE_DIR": str(stage.paths.state),
    }
    command = [str(Path(sys.executable).with_name("plancton"))]
    stage.paths.config.write_text(config)
    with stage.paths.config.with_name("log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "run", "--config", str(stage.paths.config)], stdout=log, stderr=log, env=environment
        )
        try:
            begin = time.monotonic()
            while running(stage.paths) is None:
                if time.monotonic() - begin > 20:
                    stage.fail("Plancton does not start")
                time.sleep(0.1)
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    process.kill()
            subprocess.run(
                [*command, "stop", "--force"], env=environment, stdout=log, stderr=log, check=False
            )


def cgroups_left(workers_slice: str) -> list[str]:
    """A slice's directories in any cgroup tree."""
    layout = read_layout()
    roots = {layout.v2, *layout.v1.values()} - {None}
    return [str(root / workers_slice) for root in roots if root and (root / workers_slice).exists()]
