"""A pool for tests: supervisors that join it, faults between the two, places a secret could be."""

import json
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from docker.harness import Engine, Plancton, wait_for
from play.personal_pool import HOME, Event, Pool, Slot

from plancton.config.condor_environment import VOLUME
from plancton.config.load import load_config
from plancton.docker.client import Docker
from plancton.workers.container import create_body
from plancton.workers.token import pack
from plancton.workers.users import user_of

__all__ = ["HOME", "Event", "Pool", "Slot"]

BUILD = Path(__file__).parents[2] / "scripts" / "worker-image" / "build"
HOST = "host.test"
"""What the tests' supervisors call their host."""
SPEED = {"KFlops": 5_000_000, "Mips": 40_000}
HELD = f'until [ -e {VOLUME}/go ]; do sleep 0.2; done; echo "job $1, user $(id -u)"'
"""A job that lasts until the test releases it."""


def build_image(engine: Engine) -> str:
    """Make the worker image, or take it from the cache, and give it to this dockerd; its tag."""
    done = subprocess.run([BUILD, "--load", engine.socket], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{BUILD} failed: {done.stderr}"
    return done.stdout.splitlines()[1]


def load_image(engine: Engine, name: str) -> str:
    """Give this dockerd an image that the host's own has; its name."""
    with subprocess.Popen(["docker", "save", name], stdout=subprocess.PIPE) as saved:
        loaded = ["docker", "-H", f"unix://{engine.socket}", "load", "--quiet"]
        subprocess.run(loaded, stdin=saved.stdout, stdout=subprocess.DEVNULL, check=True)
    assert saved.returncode == 0, f"docker save {name} failed"
    return name


def write_token(plancton: Plancton, token: bytes) -> Path:
    """Put a token where only the supervisor can read it."""
    file = plancton.directory / "token"
    file.touch(0o600)
    file.write_bytes(token)
    return file


def join(plancton: Plancton, pool: Pool, image: str) -> None:
    """Configure the supervisor for workers that join this pool, on a host whose speed is known."""
    plancton.settings.pop("worker")
    known = {"image": plancton.engine.call("GET", f"/images/{image}/json")["Id"], "figures": SPEED}
    plancton.paths.state.mkdir(exist_ok=True)
    (plancton.paths.state / "speed.json").write_text(json.dumps(known))
    plancton.configure(
        image={"name": image, "refresh": "0s"},
        htcondor={
            "central_manager": pool.address,
            "token_file": str(write_token(plancton, pool.token())),
            "idle_shutdown": "2m",
            "retirement": "1h",
            "memory": "400MB",
            "attributes": {"PlanctonHost": HOST},
        },
        yielding={"grace_kill": "10s", "grace_spawn": "1s"},
    )


def calm(plancton: Plancton, count: int = 1) -> None:
    """Workers that stay whatever else this machine does, and may take long to go: for tests that are
    not about time."""
    plancton.configure(
        worker={"leave_timeout": "20m"},
        htcondor={"cpus": 0.5, "vacate": "10m"},
        pool={"max_workers": count},
        yielding={"worthwhile": 0.1, "grace_kill": "1h"},
    )


def started(plancton: Plancton) -> list[str]:
    """Names of the workers that the supervisor has started, in order."""
    return [line.rpartition(" ")[2] for line in plancton.lines(" starting plancton-worker-")]


def first_workers(plancton: Plancton, count: int) -> list[str]:
    """Wait until this many workers are started: their names."""
    wait_for(f"{count} workers are started", lambda: len(started(plancton)) >= count)
    return started(plancton)


def slot_appears(pool: Pool, worker: str) -> None:
    """Wait until a worker's slot is in the collector."""
    wait_for(f"{worker} is in the pool", lambda: any(slot.worker == worker for slot in pool.slots()))


def running(pool: Pool, count: int) -> dict[str, str]:
    """Wait until this many jobs run: the worker that each slot's job is on."""

    def jobs() -> dict[str, str]:
        found = {slot.name: slot.worker for slot in pool.slots() if slot.activity == "Busy"}
        return found if len(found) == count else {}

    return wait_for(f"{count} jobs run", jobs, every=0.3)


def known_jobs(plancton: Plancton) -> dict[str, int | None]:
    """What status says about each worker."""
    status = plancton.status
    return {worker.name: worker.jobs for worker in status.workers} if status else {}


def knows_of_jobs(plancton: Plancton, count: int) -> None:
    wait_for(
        f"status shows {count} running jobs",
        lambda: sum(jobs or 0 for jobs in known_jobs(plancton).values()) == count,
        every=0.2,
    )


def release(engine: Engine, worker: str) -> None:
    """Let the held jobs on this worker end."""
    pid = engine.inspect(worker)["State"]["Pid"]
    Path(f"/proc/{pid}/root{VOLUME}/go").touch()


def wait_for_done(pool: Pool, count: int) -> None:
    """Wait until this many jobs have ended by themselves."""
    wait_for(f"{count} jobs are done", lambda: pool.queue().completed >= count, every=0.3)


def wait_for_event(pool: Pool, kind: str, count: int = 1) -> Event:
    """Wait until there are this many events of a kind: the last of them."""
    wait_for(f"{count} × {kind}", lambda: len(events(pool, kind)) >= count, every=0.2)
    return events(pool, kind)[count - 1]


def signal_shadows(pool: Pool, name: str) -> None:
    """Send a signal to the submit host's processes that receive jobs' output."""
    pool.run("sh", "-c", f"kill -{name} $(grep -ls condor_shadow /proc/[0-9]*/comm | cut -d / -f 3)")


def events(pool: Pool, kind: str) -> list[Event]:
    return [event for event in pool.events() if event.kind == kind]


def close_door(engine: Engine, container: str) -> None:
    """Drop everything that comes into a container's network unless it was requested from inside."""
    pid = engine.inspect(container)["State"]["Pid"]
    for rule in (
        "-A INPUT -i lo -j ACCEPT",
        "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-P INPUT DROP",
    ):
        command = ["nsenter", f"--target={pid}", "--net", "iptables", "-w", *rule.split()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def drops(engine: Engine, container: str) -> int:
    """How many packets the closed door has kept out."""
    pid = engine.inspect(container)["State"]["Pid"]
    command = ["nsenter", f"--target={pid}", "--net", "iptables", "-w", "-nvxL", "INPUT"]
    head = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    return int(head.partition("policy DROP ")[2].split()[0])


def knock(engine: Engine, container: str) -> bool:
    """Whether a connection gets through to the port that HTCondor listens on in a container."""
    (network,) = engine.inspect(container)["NetworkSettings"]["Networks"].values()
    try:
        socket.create_connection((network["IPAddress"], 9618), timeout=2).close()
    except TimeoutError:
        return False
    return True


def run_worker(plancton: Plancton, engine: Engine, pool: Pool, image: str, token: bytes) -> tuple[int, str]:
    """Run a worker of this configuration, with this token, until it ends: its exit code and
    output."""
    config, name = load_config(plancton.config), f"by-hand-{plancton.name[-6:]}"
    body = create_body(name, config, image, "", "", "", pool.name)
    body["Labels"] = {}
    with Docker(engine.socket) as docker:
        container = docker.create(name, body)
        try:
            docker.put_archive(container, VOLUME, pack(token, user_of(config.worker)))
            docker.start(container)
            wait_for("the worker ends", lambda: not docker.inspect(container).state.running, every=0.2)
            return docker.inspect(container).state.exit_code, docker.logs(container, 20)
        finally:
            docker.remove(container, force=True)


def open_to_all(directory: Path, since: float) -> Iterator[Path]:
    """Files anywhere below, made or changed since then, that anybody can read."""
    for file in directory.rglob("*"):
        with suppress(OSError):  # it may be gone again
            found = file.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mode & 0o004 and found.st_ctime >= since:
                yield file
