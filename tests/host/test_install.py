"""scripts/install on a host with systemd: one command makes it donate, and one leaves it as it was.

The tests share one installation and come in the order of its life. There is no network: pip has a
folder.
"""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import yaml
from docker.harness import IDLE, IMAGE, Engine, wait_for
from host.harness import KEPT, RESTARTS
from install import NEWER, SCRIPT, files, newer

from plancton.model import Phase, Status
from plancton.paths import ROOTS
from plancton.status_reading import running
from plancton.workers.container import INSTANCE

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
PLANCTON = "/usr/local/bin/plancton"
SLICE = Path("/sys/fs/cgroup/plancton.slice")
HOSTS_CONFIG = Path("/etc/plancton/config.yaml")
BOOT = Path("/proc/sys/kernel/random/boot_id")
FOR_GOOD = ("dead", "failed")
"""States of a service that systemd does not start again by itself."""
EXPOSURE = 1.4
NODE_EXPORTER = Path("/var/lib/prometheus/node-exporter")
PLACES = ("/etc", "/opt", "/usr", "/var", "/root", "/home", "/srv", "/run/plancton", "/run/systemd/system")
Done = subprocess.CompletedProcess[str]


def call(*command: object) -> Done:
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
        env={
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(ROOT / "wheels"),
            "PIP_NO_COMPILE": "1",  # a quarter of a minute where all is emulated
        },
    )


def ok(*command: object) -> str:
    done = call(*command)
    journal = "" if done.returncode == 0 else call("journalctl", "-u", "plancton", "-n", "30").stdout
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}\n{journal}"
    return done.stdout


def install(*arguments: object) -> tuple[str, float]:
    """The output, and how long it took; doctor may find that things could be better."""
    start = time.monotonic()
    said = ok("sh", SCRIPT, *arguments)
    return said, time.monotonic() - start


def substate() -> str:
    """The service's state in systemd's words: it has others before it starts a service again."""
    return ok("systemctl", "show", "--value", "--property=SubState", "plancton").strip()


def status() -> Status | None:
    return running(ROOTS)


class Host:
    """What was there before, and what the tests learn about the installation."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        (self.wheel,) = (ROOT / "wheels").glob("plancton-*.whl")
        self.boot = BOOT.read_text()
        self.accounts = self._accounts()
        self.files = files(*PLACES)
        self.settings = {
            "image": {"name": IMAGE},
            "worker": {"command": IDLE, "cpus": 0.5, "memory": "64MiB"},
            "owner": {"reserve_disk": "0%", "reserve_memory": "0%"},
            "yield": {"grace_spawn": "1s", "grace_kill": "1h"},
            "pool": {"max_workers": 1},
        }
        self.config = directory / "config.yaml"
        self.config.write_text(yaml.safe_dump(self.settings))

    def keep(self) -> None:
        """For the tests after the restart."""
        KEPT.write_text(json.dumps([self.boot, self.accounts, sorted(self.files)]))

    def remember(self) -> None:
        self.boot, self.accounts, files = json.loads(KEPT.read_text())
        self.files = set(files)

    @staticmethod
    def _accounts() -> str:
        return Path("/etc/passwd").read_text() + Path("/etc/group").read_text()

    def is_as_before(self) -> None:
        made = files(*PLACES) - self.files
        assert not made, sorted(made)
        assert not self.files - files(*PLACES), sorted(self.files - files(*PLACES))
        assert self._accounts() == self.accounts

    @property
    def pid(self) -> int:
        """The supervisor's pid; 0 if none runs."""
        found = status()
        return found.pid if found else 0

    def worker(self) -> str:
        """The id of the worker that runs and that the supervisor knows."""

        def there() -> str:
            known = found.workers if (found := status()) else ()
            return known[0].id if len(known) == 1 and known[0].phase is Phase.RUNNING else ""

        return wait_for("a worker runs", there, 300)

    def containers(self) -> list[dict[str, Any]]:
        return self.engine.containers(label=INSTANCE)


@pytest.fixture(scope="module")
def host(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Host]:
    made = Host(engine, tmp_path_factory.mktemp("install"))
    if KEPT.exists():
        made.remember()
    try:
        yield made
        if pytestconfig.stash.get(RESTARTS, False):
            made.keep()
    finally:
        if not pytestconfig.stash.get(RESTARTS, False):
            call("sh", SCRIPT, "--uninstall", "--purge")


def test_one_command(host: Host) -> None:
    """It leaves a service that donates in tier kernel under a user of its own, and starts at
    boot."""
    said, seconds = install("--wheel", host.wheel, "--config", host.config)
    print(f"installed in {seconds:.0f} s")
    print("\n".join(sorted(f for f in files(*PLACES) - host.files if not f.startswith("/opt/plancton/"))))
    assert "This host yields in tier kernel" in said, said
    worker = host.worker()
    found = status()
    assert found and found.tier == "kernel" and not found.problems, found
    assert Path(f"/proc/{found.pid}").stat().st_uid == pwd.getpwnam("plancton").pw_uid
    assert (SLICE / "cpu.idle").read_text() == "1\n" and list(SLICE.glob(f"*{worker}*"))
    assert ok("systemctl", "show", "plancton", "--property=StatusText").startswith("StatusText=Donating")
    assert ok("systemctl", "is-enabled", "plancton") == "enabled\n"


def test_exposure(host: Host) -> None:
    """systemd's own measure of what the service could do to the host."""
    said = ok("systemd-analyze", "security", "plancton", "--no-pager")
    (line,) = [line for line in said.splitlines() if "Overall exposure" in line]
    print(line)
    assert float(line.split(":")[1].split()[0]) <= EXPOSURE, said


def test_metrics_and_page(host: Host) -> None:
    """The timer and the page are there and off, and work when they are enabled: the page also
    passes on what is asked for there."""
    units = "plancton-metrics.timer", "plancton-web.service"
    assert [call("systemctl", "is-enabled", unit).stdout for unit in units] == ["disabled\n"] * 2
    host.worker()
    NODE_EXPORTER.mkdir(parents=True)
    ok("systemctl", "enable", "--now", units[0])
    ok("systemctl", "start", "plancton-metrics.service")
    text = NODE_EXPORTER / "plancton.prom"
    assert "\nplancton_up 1" in text.read_text() and text.stat().st_mode & 0o777 == 0o644, text.read_text()
    ok("/opt/plancton/bin/pip", "install", "-q", "starlette", "uvicorn")
    ok("systemctl", "enable", "--now", units[1])
    now = json.loads(wait_for("the page answers", lambda: page("/api/now"), 300))
    assert now["status"]["mode"] == "donating" and now["figures"]["cpus"], now
    token = re.search(r'<meta name="plancton-token" content="([^"]+)"', page("/"))
    assert token, page("/")
    assert "Draining" in page("/api/drain", token[1])
    wait_for("it drains", lambda: (found := status()) and found.mode == "draining", 300)
    page("/api/resume", token[1])
    wait_for("it donates again", lambda: (found := status()) and found.mode == "donating", 300)
    ok("systemctl", "disable", "--now", *units)
    shutil.rmtree(NODE_EXPORTER.parent)


def page(path: str, token: str = "") -> str:
    """What it says; empty if it does not answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asked = Request(f"http://127.0.0.1:8642{path}", b"" if token else None, headers)
    try:
        with urlopen(asked, timeout=60) as answer:
            return str(answer.read().decode())
    except URLError:
        return ""


def test_second_time(host: Host) -> None:
    """Running it again changes nothing, and it says so."""
    before, pid = files("/etc", "/opt"), host.pid
    said, seconds = install("--wheel", host.wheel, "--config", host.config)
    print(f"nothing to change in {seconds:.0f} s")
    assert said.startswith("Nothing to change: plancton ") and "\n+ " not in said, said
    assert files("/etc", "/opt") == before and host.pid == pid


def test_broken_configuration(host: Host) -> None:
    """If a restart would not help, the service stays down, and the journal says what is wrong."""
    before = HOSTS_CONFIG.read_text()
    HOSTS_CONFIG.write_text("pool: {max_workers: many}")
    call("systemctl", "restart", "plancton")
    wait_for("it has ended", lambda: substate() in FOR_GOOD, 300)
    assert substate() == "failed"
    assert "pool.max_workers: 'many'" in ok("journalctl", "-u", "plancton", "-n", "20")
    HOSTS_CONFIG.write_text(before)
    ok("systemctl", "start", "plancton")
    host.worker()


def test_upgrade(host: Host) -> None:
    """A newer version takes over in place: the same process, the same worker."""
    worker, pid = host.worker(), host.pid
    said, seconds = install("--wheel", newer(host.wheel, host.directory), "--config", host.config)
    print(f"upgraded in {seconds:.0f} s")
    assert f"+ plancton {NEWER} in /opt/plancton (was plancton " in said, said
    found = status()
    assert found and (found.version, found.pid) == (NEWER, pid)
    assert host.worker() == worker and len(host.containers()) == 1
    shown = ok("systemctl", "show", "plancton", "--property=MainPID,ActiveState,NRestarts").split()
    assert set(shown) == {f"MainPID={pid}", "ActiveState=active", "NRestarts=0"}


def test_dies_and_hangs(host: Host) -> None:
    """systemd starts it again after a crash, and after a hang by its watchdog; it adopts its
    worker."""
    worker, pid = host.worker(), host.pid
    drop_in = Path("/run/systemd/system/plancton.service.d/test.conf")
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nWatchdogSec=10\nRestartSec=0\n")
    ok("systemctl", "daemon-reload")
    ok("systemctl", "kill", "--signal=KILL", "plancton")
    again = wait_for("it runs again", lambda: host.pid not in (0, pid) and host.pid, 300)
    assert host.worker() == worker
    os.kill(again, signal.SIGSTOP)
    wait_for("it runs once more", lambda: host.pid not in (0, again), 300)
    assert host.worker() == worker and len(host.containers()) == 1
    assert "watchdog" in ok("journalctl", "-u", "plancton", "-n", "50").lower()
    shutil.rmtree(drop_in.parent)
    ok("systemctl", "daemon-reload")


def test_docker_comes_later(host: Host) -> None:
    """At boot (nothing in /run, no slice), Docker may start after it: the slice is prepared all the
    same."""
    ok("systemctl", "stop", "plancton", "docker.service", "docker.socket", "plancton.slice")
    ok("sh", "-c", "rm -rf /run/plancton /run/systemd/system.control/plancton.slice*")
    ok("systemctl", "daemon-reload")
    assert not SLICE.exists() and not host.pid
    ok("systemctl", "mask", "--runtime", "docker.service", "docker.socket")
    try:
        ok("systemctl", "start", "plancton")
    finally:
        ok("systemctl", "unmask", "--runtime", "docker.service", "docker.socket")
    assert (SLICE / "cpu.idle").stat().st_uid == pwd.getpwnam("plancton").pw_uid
    ok("systemctl", "start", "docker.socket", "multi-user.target")
    donates(host)


def test_stop_stays(host: Host) -> None:
    """After `plancton stop`, systemd does not start it again."""
    ok(PLANCTON, "stop", "--wait")
    wait_for("the service has ended", lambda: substate() in FOR_GOOD, 300)
    assert substate() == "dead"
    assert not host.containers()


@pytest.mark.restarted
def test_restart(host: Host) -> None:
    """After a restart of the host (if not emulated: of the service), it donates as before."""
    if BOOT.read_text() == host.boot:
        ok("systemctl", "start", "plancton")
    donates(host)


def donates(host: Host) -> None:
    host.worker()
    found = status()
    assert found and found.tier == "kernel" and (SLICE / "cpu.idle").read_text() == "1\n", found
    assert (SLICE / "cpu.idle").stat().st_uid == pwd.getpwnam("plancton").pw_uid


@pytest.mark.restarted
def test_uninstall(host: Host) -> None:
    """No file, user, unit, cgroup, container or network is left."""
    host.worker()
    said, seconds = install("--uninstall", "--purge")
    print(f"uninstalled in {seconds:.0f} s")
    host.is_as_before()
    assert (
        call("systemctl", "cat", "plancton").returncode
        and call("systemctl", "cat", "plancton.slice").returncode
    )
    assert not list(Path("/run/systemd/system.control").glob("plancton*"))
    assert not SLICE.exists() and not host.containers()
    assert "plancton" not in host.engine.networks()
    assert "plancton" not in ok("systemctl", "list-units", "--all"), said
