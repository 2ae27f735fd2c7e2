"""A dockerd of the tests' own, a real `plancton run` on it, an owner who loads the host."""

import http.client
import io
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from docker.debian_engine import chosen
from helpers.addresses import claim_addresses
from helpers.dictated_host import CPUS, DictatedHost
from helpers.own_cgroups import own_cgroups
from helpers.wait import PATIENCE, wait_for

from plancton.host.cgroup_mounts import read_layout
from plancton.host.process_cgroup import group_of
from plancton.host.slice import Slice
from plancton.host.slice_bounds import PERIOD
from plancton.model import Phase, Status
from plancton.paths import Paths
from plancton.status_reading import read_status, running
from plancton.workers.container import INSTANCE
from plancton.workers.reach_and_rates import bridges_of, undo

__all__ = ["CPUS", "wait_for"]

IMAGE = "plancton-test-busybox:1"
BUSYBOX = Path("/usr/bin/busybox")
"""Debian's busybox-static: a whole image in one file."""
APPLETS = ("sh", "sleep", "true", "cat", "echo", "ping")

BUSY = "trap 'exit 0' TERM; while :; do :; done"
"""A worker that uses all CPU that it gets and leaves when told to."""
STUBBORN = "trap '' TERM; while :; do :; done"
LEAVE_CPU = 0.1
"""Seconds of CPU that a leaver needs: what HTCondor's daemons take to end in order."""
HELD = "trap 'while [ ! -e /test/go ]; do :; done; exit 0' TERM; while :; do sleep 1 & wait; done"
"""A worker that uses all CPU that it gets when it is told to leave, and leaves when the test lets
it go."""
IDLE = "trap 'exit 0' TERM; while :; do sleep 1 & wait; done"
QUICK = "1s"
"""Between two ticks: what a test waits for is often seen by the next one. The plays, the examples
and some tests keep the default, which is longer when nothing happens (policy/tick_interval.py)."""


# ---------------------------------------------------------------- Docker


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class ApiError(Exception):
    """The Engine refuses."""


class Engine:
    """One dockerd that shares nothing with the machine's own but the kernel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = directory / "docker.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.options: tuple[str, ...] = ()
        self._chosen = chosen()
        self.prefix = self._chosen.prefix()
        """A command that runs it somewhere else."""
        self._own = ExitStack()
        # Engines beside each other that choose a network's addresses at the same time choose the
        # same ones.
        self.addresses = self._own.enter_context(claim_addresses())
        self._log = (directory / "dockerd.log").open("ab")

    # No bridge and no firewall rules: the machine's own dockerd has docker0 and the chains.
    def start(self, *options: str) -> None:
        """Start it; returns when it answers."""
        self.options = options
        self.process = subprocess.Popen(
            [
                *self.prefix,
                "dockerd",
                f"--data-root={self.directory}/data",
                f"--exec-root={self.directory}/exec",
                f"--pidfile={self.directory}/docker.pid",
                f"--host=unix://{self.socket}",
                "--bridge=none",
                "--iptables=false",
                "--ip-forward=false",
                "--ip-masq=false",
                "--userland-proxy=false",
                f"--default-address-pool=base={self.addresses},size=24",
                *self._chosen.options(self.directory),
                *options,
            ],
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops it in order
        )
        wait_for("the tests' dockerd answers", self.answers)

    def answers(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            tail = (self.directory / "dockerd.log").read_text(errors="replace")[-2000:]
            pytest.fail(f"the tests' dockerd ended with {self.process.returncode}:\n{tail}")
        with suppress(OSError, http.client.HTTPException, ApiError):
            self.call("GET", "/_ping", timeout=2)
            return True
        return False

    def send(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as a crash would."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def heal(self) -> None:
        """Get it running with the usual options, whatever a test did to it."""
        assert self.process
        with suppress(ProcessLookupError):
            self.send(signal.SIGCONT)
        if self.process.poll() is None and not self.options:
            wait_for("the tests' dockerd answers", self.answers)
            return
        self.terminate()
        self.start()

    def terminate(self) -> None:
        assert self.process
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.kill()

    def close(self) -> None:
        """End it and everything it owns: networks, containerd, shims, mounts, files."""
        with suppress(OSError, http.client.HTTPException, ApiError):
            for name in self.networks() - {"bridge", "host", "none"}:
                self.call("DELETE", f"/networks/{name}")
        if self.process:
            self.terminate()
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for("the tests' containerd is gone", lambda: not self.processes())
        self._log.close()
        self._own.close()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for point in sorted((m for m in mounts if m.startswith(f"{self.directory}/")), reverse=True):
            subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)

    def processes(self) -> list[int]:
        """dockerd, containerd and shims: their command lines name our directory, nobody else's do."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                ours = any(str(self.directory) in word for word in words)
                if ours and Path(words[0]).name.startswith(("containerd", "dockerd")):
                    found.append(int(entry.name))
        return found

    # ------------------------------------------------------------ its API, without Plancton's client

    def call(self, method: str, path: str, body: object = None, timeout: float = 30) -> Any:
        raw = isinstance(body, bytes)
        connection = _Connection(self.socket, timeout)
        try:
            data = body if raw else None if body is None else json.dumps(body).encode()
            kind = "application/x-tar" if raw else "application/json"
            connection.request(method, path, data, {"Content-Type": kind})  # type: ignore[arg-type]
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status >= 400:
                raise ApiError(f"{method} {path}: {answer.status} {text}")
            lines = [line for line in text.splitlines() if line.startswith(("{", "["))]
            return [json.loads(line) for line in lines] if len(lines) != 1 else json.loads(lines[0])
        finally:
            connection.close()

    def import_image(
        self,
        name: str = IMAGE,
        *,
        label: str = "1",
        platform: str = "",
        changes: str = "",
        files: dict[str, str] | None = None,
    ) -> str:
        """Make an image of busybox and return its id; another label makes another id. It is called
        one for the ``platform``, or else for this machine's. ``changes``: a line of a
        Dockerfile; ``files``: more of them, by path."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.add(BUSYBOX, "bin/busybox")
            for applet in APPLETS:
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            for path, text in {"label": label, **(files or {})}.items():
                info = tarfile.TarInfo(path)
                info.size = len(text.encode())
                tar.addfile(info, io.BytesIO(text.encode()))
        repo, _, tag = name.rpartition(":")
        query = f"fromSrc=-&repo={quote(repo)}&tag={tag}&platform={quote(platform)}"
        query += f"&changes={quote(changes)}" if changes else ""
        self.call("POST", f"/images/create?{query}", data.getvalue())
        return str(self.call("GET", f"/images/{name}/json")["Id"])

    def containers(self, **filters: str) -> list[dict[str, Any]]:
        chosen = quote(json.dumps({key: [value] for key, value in filters.items()}))
        found = self.call("GET", f"/containers/json?all=1&filters={chosen}")
        return list(found)

    def inspect(self, container: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/containers/{container}/json"))

    def run(self, name: str, command: str, **body: Any) -> str:
        """Create and start a container that no supervisor owns; its id."""
        whole = {"Image": IMAGE, "Cmd": ["sh", "-c", command], **body}
        whole["HostConfig"] = {"Init": True, "NetworkMode": "none", **whole.get("HostConfig", {})}
        made = self.call("POST", f"/containers/create?name={name}", whole)["Id"]
        self.call("POST", f"/containers/{made}/start")
        return str(made)

    def remove(self, container: str) -> None:
        with suppress(ApiError):
            self.call("DELETE", f"/containers/{container}?force=1&v=1")

    def events(self, since: float) -> list[dict[str, Any]]:
        """What happened to containers since then (Unix time)."""
        chosen = quote(json.dumps({"type": ["container"]}))
        path = f"/events?since={since:.6f}&until={time.time():.6f}&filters={chosen}"
        found = self.call("GET", path)
        return found if isinstance(found, list) else [found]

    def networks(self) -> set[str]:
        return {network["Name"] for network in self.call("GET", "/networks")}


@contextmanager
def private_engine() -> Iterator[Engine]:
    """Such a dockerd in cgroup trees of our own, with the image that workers are made of."""
    if os.geteuid() != 0 or not shutil.which("dockerd") or not BUSYBOX.exists():
        pytest.fail("needs root, dockerd (docker.io) and /usr/bin/busybox (busybox-static)")
    with own_cgroups():
        # Short and not below pytest's own directory: a unix socket's path has 108 bytes at most.
        engine = Engine(Path(tempfile.mkdtemp(prefix="plancton-test-")))
        try:
            engine.start()
            engine.import_image()
            yield engine
        finally:
            engine.close()


# ---------------------------------------------------------------- the owner


class Load:
    """The owner's work: busy processes outside of any slice."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, count: int = CPUS) -> None:
        command = [str(BUSYBOX), "sh", "-c", "while :; do :; done"]
        self._processes += [subprocess.Popen(command) for _ in range(count)]

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes = []


def busybox_loop(seconds: float) -> str:
    """Shell code that uses this many seconds of CPU here."""
    count = 200_000
    loop = "i=0; while [ $i -lt {} ]; do i=$((i+1)); done"
    before = os.times()
    subprocess.run([str(BUSYBOX), "sh", "-c", loop.format(count)], check=True)
    after = os.times()
    taken = after.children_user + after.children_system - before.children_user - before.children_system
    return loop.format(int(count * seconds / taken))


def leaver(seconds: float = LEAVE_CPU) -> str:
    """A busy worker that needs some CPU to end cleanly."""
    return f"trap '{busybox_loop(seconds)}; exit 0' TERM; while :; do :; done"


# ---------------------------------------------------------------- Plancton


class Plancton:
    """A supervisor, its files and its workers. It sees the figures of ``host``, or else this
    machine's."""

    def __init__(self, directory: Path, engine: Engine, host: DictatedHost | None = None) -> None:
        self.directory, self.engine, self._host = directory, engine, host
        self.name = f"plancton_test_{secrets.token_hex(3)}"
        self.config = directory / "config.yaml"
        self.paths = Paths(self.config, directory / "run", directory / "state")
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file = directory / "log"
        self.environment = {
            **os.environ,
            "PLANCTON_RUN_DIR": str(self.paths.run),
            "PLANCTON_STATE_DIR": str(self.paths.state),
        }
        self._go = directory / "held"
        self.strangers: set[str] = set()
        """Names, with Docker's slash, of containers that have our label but are not ours."""
        self.slice = Slice(read_layout(), self.name, engine.call("GET", "/info")["CgroupDriver"])
        self.settings: dict[str, dict[str, object]] = {
            "image": {"name": IMAGE},
            "worker": {"command": IDLE, "memory": "64MiB"},
            "yield": {"grace_kill": "10s", "grace_spawn": "1s"},
            "owner": {"reserve_disk": "0%", "reserve_memory": "0%"},
            "docker": {"socket": str(engine.socket), "slice": self.name, "tick": QUICK},
        }
        self.configure()

    def calm(self, count: int = 2) -> None:
        """Configure workers that need almost no CPU, for tests that are not about CPU."""
        self.configure(
            worker={"command": IDLE, "cpus": 0.1},
            pool={"max_workers": count},
            yielding={"worthwhile": 0.1, "grace_kill": "1h"},
        )

    def hold(self, count: int = 2) -> None:
        """Workers that leave when `let_go` says so. Next to an owner who leaves 0.2 CPUs one of
        them fits."""
        self._go.mkdir()
        self.configure(
            worker={"command": HELD, "mounts": [f"{self._go}:/test"], "leave_timeout": "10m"},
            pool={"max_workers": count},
            yielding={"worthwhile": 0.1, "grace_kill": "6s"},
        )

    def let_go(self) -> None:
        (self._go / "go").touch()

    # ------------------------------------------------------------ running it

    def configure(self, **sections: dict[str, object]) -> None:
        """Write the configuration with these settings changed (`yielding` is the section yield)."""
        for name, section in sections.items():
            self.settings.setdefault("yield" if name == "yielding" else name, {}).update(section)
        self.write_config(yaml.safe_dump(self.settings))

    def write_config(self, text: str) -> None:
        part = self.config.with_suffix(".part")
        part.write_text(text)
        part.replace(self.config)

    @property
    def host(self) -> DictatedHost:
        assert self._host, "this supervisor sees the figures of this machine"
        return self._host

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).parent / "plancton"), *arguments]

    def on_host(self, command: list[str]) -> list[str]:
        """The same command where the host's figures are the dictated ones."""
        return self._host.command(*command) if self._host else command

    def start(self, *arguments: str) -> None:
        """Run `plancton run`; returns after its first line of log."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.on_host(self.command("run", "--config", str(self.config), *arguments)),
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        count = self.log.count("instance ")
        process = self.process
        wait_for(
            "`plancton run` starts",
            lambda: self.log.count("instance ") > count or process.poll() is not None,
        )

    def cli(self, *arguments: str, timeout: float = 2 * PATIENCE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=timeout,
            check=False,
        )

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def send(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def crash(self) -> None:
        """End the supervisor as kill -9 does."""
        assert self.process
        self.process.kill()
        self.process.wait()

    def ended(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        assert self.process
        process = self.process
        wait_for("the supervisor ends", lambda: process.poll() is not None, timeout)
        return int(process.returncode)

    # ------------------------------------------------------------ what it says

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def lines(self, *words: str, start: int = 0) -> list[str]:
        """The lines of the log that contain all these words."""
        return [line for line in self.log[start:].splitlines() if all(word in line for word in words)]

    @property
    def status(self) -> Status | None:
        """The running supervisor's status."""
        return running(self.paths)

    def status_json(self) -> dict[str, Any]:
        done = self.cli("status", "--json")
        return dict(json.loads(done.stdout))

    def goes_on(self, seconds: float = 4.0) -> None:
        """Wait until the supervisor has been deciding for so long."""
        begin = time.time()
        wait_for("it goes on", lambda: (s := self.status) is not None and s.time > begin + seconds, every=0.2)

    def problems(self) -> str:
        status = self.status
        return "; ".join(status.problems) if status else ""

    @property
    def instance(self) -> str:
        return (self.paths.state / "instance").read_text().strip()

    # ------------------------------------------------------------ its workers

    def workers(self) -> list[dict[str, Any]]:
        """The running workers, as Docker lists them."""
        if not (self.paths.state / "instance").exists():
            return []
        found = self.engine.containers(label=f"{INSTANCE}={self.instance}")
        return [c for c in found if c["State"] == "running" and c["Names"][0] not in self.strangers]

    def ids(self) -> set[str]:
        return {worker["Id"] for worker in self.workers()}

    def full(self, count: int = CPUS, timeout: float = PATIENCE) -> set[str]:
        """Wait until this many workers run and the supervisor knows; their ids."""

        def there() -> bool:
            status = self.status
            known = status.workers if status else ()
            return len(known) == count == len(self.ids()) and all(w.phase is Phase.RUNNING for w in known)

        wait_for(f"{count} workers run", there, timeout, every=0.1)
        return self.ids()

    def empty(self, timeout: float = PATIENCE) -> None:
        wait_for("no worker runs", lambda: not self.workers(), timeout, every=0.1)

    def group(self, container: str) -> str:
        """A worker's cgroup in the v2 tree."""
        found = group_of(Path("/proc"), self.engine.inspect(container)["State"]["Pid"])
        assert found
        return found

    def quotas_in_docker(self) -> list[float]:
        """CPUs that Docker gives each of them, most first."""
        found = [self.engine.inspect(each)["HostConfig"] for each in self.ids()]
        return sorted((each["CpuQuota"] / each["CpuPeriod"] for each in found), reverse=True)

    def wait_for_trap(self, container: str, number: int = signal.SIGTERM) -> None:
        """Wait until a worker's shell catches or ignores this signal: as the first it does."""
        group = self.slice.tree / self.group(container)
        wait_for("its trap is set", lambda: _handles(group, number))

    # ------------------------------------------------------------ the kernel's files

    @property
    def yields(self) -> bool:
        """Whether the slice yields according to the kernel's files."""
        idle = self.slice.cpu / "cpu.idle"
        if idle.exists():
            return idle.read_text().strip() == "1"
        name, least = ("cpu.shares", "2") if self.slice.v1 else ("cpu.weight", "1")
        file = self.slice.cpu / name
        return file.exists() and file.read_text().strip() == least

    def quota(self, group: str) -> str:
        name = "cpu.cfs_quota_us" if self.slice.v1 else "cpu.max"
        return (self.slice.cpu.parent / group / name).read_text().strip()

    def way_out(self, group: str) -> float:
        """CPUs that a leaver in this cgroup may use while the slice is lifted; 0 when it is not."""
        if self.yields:
            return 0.0
        quota, *period = self.quota(group if self.slice.v1 else self.slice.path).split()
        return 0.0 if quota in ("-1", "max") else int(quota) / int((period or [str(PERIOD)])[0])

    def frozen(self) -> list[str]:
        return [p.parent.name for p in self.slice.directory.glob("*/cgroup.freeze") if "1" in p.read_text()]

    def used(self) -> float:
        """Seconds of CPU that the slice has used, by the kernel's cpu.stat."""
        text = (self.slice.directory / "cpu.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6

    def directories(self) -> list[Path]:
        """The slice's directories in any cgroup tree."""
        layout = read_layout()
        roots = {layout.v2, *layout.v1.values()}
        return [root / self.slice.path for root in roots if root and (root / self.slice.path).exists()]

    # ------------------------------------------------------------ when it goes wrong, and afterwards

    def describe(self) -> str:
        status = read_status(self.paths.run)
        text = json.dumps(_plain(status), indent=1) if status else "no status.json"
        return "\n".join([*self.log.splitlines()[-40:], text])

    def close(self) -> None:
        """Remove everything, whatever the test did."""
        if self.process and self.process.poll() is None:
            self.crash()
        self.slice.drop(everything=True)
        self.engine.heal()
        for container in self.engine.containers():
            with suppress(ApiError):  # what the test asked for may remove it at this moment
                if self.engine.inspect(container["Id"])["HostConfig"]["CgroupParent"] == self.slice.parent:
                    self.engine.remove(container["Id"])
        if self.name in self.engine.networks():
            self.engine.call("DELETE", f"/networks/{self.name}")
        self.slice.remove()
        undo(self.name, bridges_of(None, self.name))
        for directory in self.directories():
            for inner in sorted((d for d in directory.rglob("*") if d.is_dir()), reverse=True):
                with suppress(OSError):
                    inner.rmdir()
            with suppress(OSError):
                directory.rmdir()


class WithoutRoot(Plancton):
    """The same, run by a user who has nothing but the group of Docker's socket."""

    USER = "daemon"
    """Each Debian has it."""

    def __init__(self, directory: Path, engine: Engine, host: DictatedHost | None = None) -> None:
        self.account = pwd.getpwnam(self.USER)
        super().__init__(directory, engine, host)
        directory.chmod(0o755)
        os.chown(directory, self.account.pw_uid, -1)
        self.prefix: tuple[str, ...] = (
            "setpriv",
            f"--reuid={self.account.pw_uid}",
            f"--regid={self.account.pw_gid}",
            f"--groups={engine.socket.stat().st_gid}",
            "--no-new-privs",
        )
        reached = subprocess.run([*self.prefix, "env", sys.executable, "-c", ""], stderr=subprocess.DEVNULL)
        if reached.returncode != 0:  # a Python below /root: that it may be read is all that this adds
            self.prefix += ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")

    def command(self, *arguments: str) -> list[str]:
        return [*self.prefix, *super().command(*arguments)]

    def prepare(self) -> str:
        """Prepare as root; the output."""
        done = subprocess.run(
            super().command("prepare", "--user", self.USER, "--config", str(self.config)),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def handed(self) -> set[str]:
        """What the user owns in the cgroup trees, at or below the slice: paths below the tree's
        root."""
        found = {path for root in self.directories() for path in (root, *root.rglob("*"))}
        mine = {path for path in found if path.stat().st_uid == self.account.pw_uid}
        return {f"{path.parent.name}/{path.name}" for path in mine}


def _handles(group: Path, number: int) -> bool:
    """Whether a shell in this cgroup does (proc_pid_status(5), SigCgt and SigIgn)."""
    for pid in (group / "cgroup.procs").read_text().split():
        with suppress(OSError):  # it has ended meanwhile
            text = Path(f"/proc/{pid}/status").read_text()
            fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            handled = int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16)
            if fields["Name"].strip() in ("sh", "busybox") and handled & 1 << number - 1:
                return True
    return False


def _plain(status: Status) -> object:
    import msgspec

    return msgspec.to_builtins(status)
