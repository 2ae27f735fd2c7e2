"""Ways to donate every CPU of a host, for scripts/bench-yield. All of them are there at once, and
all but one sleep (frozen or stopped), so that measurements can take turns."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from play.cgroups import cpu_used, freeze
from play.stage import BUSY, Stage, plancton, workers

from bench_yield.figures import ALONE, AT_LENGTH, AT_ONCE, LOADS
from plancton.docker.client import Docker
from plancton.host.cgroup_mounts import PROC, Layout
from plancton.host.process_cgroup import group_of


class Contender:
    """Busy processes that can be put to sleep. ``used`` is their CPU time in seconds; ``loads``:
    the owner's loads it is measured with."""

    def __init__(
        self,
        name: str,
        used: Callable[[], float],
        sleep: Callable[[bool], None],
        loads: Sequence[str] = AT_ONCE,
    ) -> None:
        self.name, self.used, self._sleep, self.loads = name, used, sleep, loads
        self._sleep(True)

    @contextlib.contextmanager
    def awake(self) -> Iterator[None]:
        """Let it work; afterwards it sleeps again."""
        self._sleep(False)
        try:
            yield
        finally:
            self._sleep(True)


def nobody() -> Contender:
    """The owner alone."""
    return Contender(ALONE, lambda: 0.0, lambda _: None, LOADS)


def supervised_name(tier: str, cap: str) -> str:
    """What Plancton so configured is called in the tables."""
    return f"Plancton, tier {tier}" + (f", `yield.cap: {cap}`" if cap != "none" else "")


@contextlib.contextmanager
def supervised(
    directory: Path, tier: str, image: str, layout: Layout, cap: str = "none"
) -> Iterator[Contender]:
    """Plancton itself, with as many workers as there are CPUs."""
    directory.mkdir()
    stage, workers_slice = Stage(directory), f"plancton_bench_{tier}_{cap}"
    # Its patience is not what is measured here; and while it sleeps its clock goes on.
    config = f"""\
image: {{name: "{image}", refresh: 0s}}
worker: {{command: "{BUSY}", memory: 64MB, leave_timeout: 2s}}
pool: {{max_workers: {os.cpu_count()}}}
yield: {{grace_kill: 1d, grace_spawn: 10s, cap: {cap}}}
docker: {{slice: {workers_slice}, tier: {tier}}}
"""
    with plancton(stage, config) as process:
        stage.until("all workers run", 120, lambda status: workers(status) == os.cpu_count())
        assert layout.v2
        group = layout.v2 / workers_slice

        def sleep(asleep: bool) -> None:
            if asleep:
                process.send_signal(signal.SIGSTOP)
            freeze(group, asleep)
            if not asleep:
                process.send_signal(signal.SIGCONT)

        # Limits come a second or two after the owner; they matter where the class falls short.
        loads = AT_LENGTH if cap == "room" else LOADS
        contender = Contender(supervised_name(tier, cap), lambda: cpu_used([group]), sleep, loads)
        try:
            yield contender
        finally:
            contender._sleep(False)


@contextlib.contextmanager
def containers(docker: Docker, layout: Layout, name: str, image: str, **limits: int) -> Iterator[Contender]:
    """Docker containers, a busy process in each, in Docker's default parent."""
    body = {
        "Image": image,
        "Cmd": ["/bin/sh", "-c", BUSY],
        "HostConfig": {"NetworkMode": "none", **limits},
    }
    ids = list[str]()
    try:
        for number in range(os.cpu_count() or 1):
            ids.append(docker.create(f"plancton-bench-{os.getpid()}-{len(limits)}{number}", body))
            docker.start(ids[-1])
        groups = [_group(docker, container, layout) for container in ids]

        def sleep(asleep: bool) -> None:
            for group in groups:
                freeze(group, asleep)

        contender = Contender(name, lambda: cpu_used(groups), sleep)
        yield contender
        contender._sleep(False)
    finally:
        for container in ids:
            docker.remove(container, force=True)


def _group(docker: Docker, container: str, layout: Layout) -> Path:
    group = group_of(PROC, docker.inspect(container).state.pid)
    assert group and layout.v2, f"{container} does not run"
    return layout.v2 / group


@contextlib.contextmanager
def processes(name: str, session: Sequence[Path], prepare: Callable[[], None]) -> Iterator[Contender]:
    """Busy processes without containers in this cgroup; each one prepares itself first."""

    def begin() -> None:
        for group in session:
            (group / "cgroup.procs").write_text(str(os.getpid()))
        prepare()

    load = [subprocess.Popen(["/bin/sh", "-c", BUSY], preexec_fn=begin) for _ in range(os.cpu_count() or 1)]

    def sleep(asleep: bool) -> None:
        for process in load:
            process.send_signal(signal.SIGSTOP if asleep else signal.SIGCONT)

    try:
        yield Contender(name, lambda: sum(_process_used(process.pid) for process in load), sleep)
    finally:
        for process in load:
            process.kill()
            process.wait()


def nice() -> None:
    """As little as nice(1) gives."""
    os.nice(19)


def idle_class() -> None:
    """sched(7): SCHED_IDLE."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@contextlib.contextmanager
def cgroup(layout: Layout, name: str) -> Iterator[tuple[Path, ...]]:
    """A cgroup of normal weight, like a user's session or a service: where it is in the tree with
    the CPU controller and, if that is another one, in that of v2."""
    assert layout.v2
    paths = tuple(root / name for root in dict.fromkeys((layout.v1.get("cpu", layout.v2), layout.v2)))
    for path in paths:
        path.mkdir(exist_ok=True)
    try:
        yield paths
    finally:
        deadline = time.monotonic() + 5
        for path in paths:
            while (path / "cgroup.procs").read_text() and time.monotonic() < deadline:
                time.sleep(0.1)
            path.rmdir()


def _process_used(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
