"""scripts/install on a host without an init system, and what it asks of a distribution.

All runs in a mount namespace with an /etc, /run, /var/lib and /usr/local of its own, so that no
file or user of this machine changes; Docker is the tests' own, and so is the slice. tests/host does
the same with systemd.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from docker.harness import Engine, wait_for
from docker.installed_host import Done, Host
from helpers.debian import unpack
from helpers.dictated_host import DictatedHost
from install import NEWER, newer

from plancton.host.slice_inspection import look_at
from plancton.workers.container import INSTANCE

pytestmark = pytest.mark.docker

ROOT = Path(__file__).resolve().parents[2]
WHEELHOUSE = ROOT / "tests/host/machine/wheelhouse"
USER = "donor-test"
OWN = """
set -eu
mount --make-rprivate /
for place in /etc /usr/local; do
  mkdir -p "$1$place"
  cp -a "$place/." "$1$place"
  mount --bind "$1$place" "$place"
done
mkdir -p /etc/cron.d
uid=$((10000 + $$ % 50000))  # userdel asks whether anybody on this machine runs as that user
printf '%s %s\n' SYS_UID_MIN $uid SYS_UID_MAX $uid SYS_GID_MIN $uid SYS_GID_MAX $uid >>/etc/login.defs
ln -sf /bin/true /usr/local/bin/cron
for place in /run /var/lib /usr/share/bash-completion /usr/share/zsh /usr/share/fish; do
  [ ! -d "$place" ] || mount -t tmpfs none "$place"
done
[ ! -d /usr/share/bash-completion ] || mkdir /usr/share/bash-completion/completions
mount --bind "$2" /proc/stat
mount --bind "$3" /proc/meminfo
mount --bind "$4" /sys/devices/system/cpu/isolated
eval "$5"
echo ready
exec sleep 3600
"""
OPENRC = """
mkdir -p /run/above /run/work /run/openrc /etc/runlevels/default
mount -t overlay -o lowerdir=/usr,upperdir=/run/above,workdir=/run/work none /usr
cp -a "$6"/sbin/. /usr/sbin
cp -a "$6"/lib/. /usr/lib
cp -a "$6"/etc/. /etc
for place in daemons exclusive failed inactive options scheduled started starting stopping tmp; do
  mkdir /run/openrc/$place
done
touch /run/openrc/softlevel /etc/insserv.conf
"""
"""Debian's OpenRC and what its boot would have made."""


@pytest.fixture(scope="session")
def wheels() -> Path:
    """Plancton's wheel and what it needs, for the distribution's Python, which is what the script
    takes."""
    say = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.check_output(["/usr/bin/python3", "-c", say], text=True).strip()
    # Whoever comes first makes it, the others wait.
    command = ["flock", str(WHEELHOUSE), str(WHEELHOUSE), version]
    return Path(subprocess.check_output(command, text=True).strip()) / "wheels"


class PipHost(Host):
    """This machine, with files of its own, and wheels for pip."""

    def __init__(
        self, engine: Engine, wheels: Path, figures: DictatedHost, openrc: Path | None = None
    ) -> None:
        (self.wheel,) = wheels.glob("plancton-*dev0-*.whl")
        self.environment = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        super().__init__(engine, figures, OWN, OPENRC if openrc else "", openrc or "")

    def donate(self, wheel: Path | None = None) -> Done:
        return self.install("--wheel", wheel or self.wheel, "--config", self.config, "--user", USER)


@pytest.fixture
def host(engine: Engine, wheels: Path, tmp_path: Path) -> Iterator[PipHost]:
    with DictatedHost(tmp_path) as figures:
        made = PipHost(engine, wheels, figures)
        try:
            yield made
        finally:
            made.close()


def test_its_life(host: PipHost, tmp_path: Path) -> None:
    """One command makes it donate; the same again changes nothing; a newer version takes over in
    place with its worker; what was stopped stays so; uninstalling ends the workers, also those that
    a crash left, and leaves configuration and history, or nothing."""
    done = host.donate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"+ user {USER}" in done.stdout and "tier kernel" in done.stdout, done.stdout
    worker, pid = host.worker(), host.pid()
    assert host("stat", "-c", "%U", f"/proc/{pid}").stdout == f"{USER}\n"
    assert host("cat", "/etc/cron.d/plancton").stdout == f"@reboot root {host.prefix}/bin/plancton-start\n"
    assert host("stat", "-c", "%a %G", "/etc/plancton/config.yaml").stdout == f"640 {USER}\n"

    before = host.listing()
    done = host.donate()
    assert done.stdout.startswith("Nothing to change: plancton 1") and "\n+ " not in done.stdout, done
    assert host.listing() == before and host.pid() == pid

    wheel = newer(host.wheel, tmp_path)
    done = host.donate(wheel)
    assert "+ the running Plancton is the new one; its workers stayed" in done.stdout, done
    assert host.pid() == pid and host.worker() == worker
    assert host("plancton", "--version", path="/usr/local/bin:/usr/bin").stdout == f"plancton {NEWER}\n"
    assert "usage: planctonctl" in host("planctonctl", "help", path="/usr/local/bin:/usr/bin").stderr

    assert host(host.prefix / "bin/plancton", "stop", "--wait").returncode == 0
    done = host.donate(wheel)
    assert "Plancton was stopped, and stays stopped" in done.stdout and not host.pid(), done
    assert host(host.prefix / "bin/plancton-start").returncode == 0
    host.worker()
    os.kill(host.pid(), signal.SIGKILL)

    done = host.install("--uninstall")
    assert done.returncode == 0 and "/etc/plancton stays (--purge removes it)" in done.stdout, done
    assert not host.engine.containers(label=INSTANCE) and not look_at(host.slice).exists
    left = set(host.listing().splitlines()) - set(host.before.splitlines())
    assert all(line.startswith(("/etc/plancton", "/var/lib/plancton")) for line in left), left
    assert host.install("--uninstall", "--purge").returncode == 0
    assert host.listing() == host.before and not host.prefix.parent.exists()
    done = host.install("--uninstall", "--purge")
    assert done.stdout.startswith("Nothing to change") and done.returncode == 0, done


@pytest.fixture(scope="module")
def openrc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's packages of it; where they are installed they are the init system."""
    return unpack(tmp_path_factory.mktemp("openrc"), "openrc", "libeinfo1", "librc1")


@pytest.mark.slow
def test_openrc(engine: Engine, wheels: Path, openrc: Path, tmp_path: Path) -> None:
    """OpenRC starts it, knows of `plancton stop`, runs the installed version in place, and forgets
    it."""
    with DictatedHost(tmp_path) as figures, closing(PipHost(engine, wheels, figures, openrc)) as host:
        done = host.install("--wheel", host.wheel, "--config", host.config, "--user", USER, "--no-docker")
        assert done.returncode == 0 and "+ starts at boot" in done.stdout, done.stdout + done.stderr
        worker, pid = host.worker(), host.pid()
        assert host("rc-service", "plancton", "status").returncode == 0
        assert host("rc-service", "plancton", "reload").returncode == 0
        log = "/var/lib/plancton/plancton.log"
        again = f"grep -c 'INFO Plancton .* pid {pid},' {log}"
        wait_for("it runs again", lambda: host("sh", "-c", again).stdout == "2\n")
        assert host.worker() == worker and host.pid() == pid
        assert host(host.prefix / "bin/plancton", "stop", "--wait").returncode == 0
        assert host("rc-service", "plancton", "status").returncode == 3
        assert host("rc-service", "plancton", "restart").returncode == 0
        host.worker()
        assert host("rc-service", "plancton", "stop").returncode == 0
        assert not engine.containers(label=INSTANCE)
        assert host.install("--uninstall", "--purge").returncode == 0
        left = host(
            "sh", "-c", "ls -d /etc/init.d/plancton /etc/runlevels/*/plancton /var/lib/plancton"
        ).stdout
        assert left == "" and not host.prefix.exists()


def test_failure(host: PipHost) -> None:
    """When it can't go on it says why, what it has done, and how to undo that; which leaves nothing
    but what was there, such as 0.6's planctonctl."""
    theirs = "/usr/local/bin/planctonctl"
    assert host("sh", "-c", f"echo theirs >{theirs}").returncode == 0
    host.before = host.listing()
    host.configure(wroker={})
    done = host.donate()
    assert done.returncode == 2 and "+ user" in done.stdout, done
    assert f"{theirs} is there already and not ours: left as it is" in done.stdout, done
    assert "did you mean 'worker'?" in done.stderr, done.stderr
    assert f"--uninstall --prefix {host.prefix}" in done.stderr, done.stderr
    assert host.install("--uninstall").returncode == 0
    assert host.listing() == host.before and not host.prefix.exists()
    assert host("cat", theirs).stdout == "theirs\n"


@pytest.mark.slow
def test_repository(host: PipHost) -> None:
    """A configuration from a repository is the user's who fetches it again; what the host allows is
    not. One from elsewhere is refused, and named, as long as that one is there."""
    git = ["git", "-C", str(host.directory), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q", "-b", "main"], ["add", "config.yaml"], ["commit", "-qm", "1"]):
        subprocess.run([*git, *words], check=True)
    where = ("--config-repo", f"file://{host.directory}", "--ref", "main")
    arguments = ("--wheel", host.wheel, *where, "--user", USER)
    allow = yaml.safe_dump({"sockets": [str(host.engine.socket)], "slices": [host.name]})
    assert host("sh", "-c", f"mkdir /etc/plancton; echo '{allow}' >/etc/plancton/allow.yaml").returncode == 0
    done = host.install(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"+ /etc/plancton: a clone of file://{host.directory}, branch main" in done.stdout, done.stdout
    host.worker()
    assert host("stat", "-c", "%U", "/etc/plancton/config.yaml").stdout == f"{USER}\n"
    assert host("stat", "-c", "%U", "/etc/plancton/allow.yaml").stdout == "root\n"
    assert host.install(*arguments).stdout.startswith("Nothing to change")
    before = host.listing()
    done = host.install(*arguments[:3], "file:///elsewhere", *arguments[4:])
    told = f"is a clone of file://{host.directory} at main already, and not of file:///elsewhere"
    assert done.returncode == 2 and f"install: /etc/plancton: {told}" in done.stderr, done
    assert host.listing() == before


def test_not_ours(host: PipHost) -> None:
    """A directory with something else in it is not taken, and never removed."""
    host.prefix.mkdir(parents=True)
    (host.prefix / "precious").touch()
    done = host.donate()
    assert done.returncode == 2 and "is there already, and not Plancton's" in done.stderr, done
    assert "is not installed" in host.install("--uninstall").stdout
    assert (host.prefix / "precious").exists() and host.listing() == host.before


@pytest.fixture
def without_docker(host: PipHost, tmp_path: Path) -> Callable[..., Done]:
    """A host whose dockerd is not there until apt-get, a script in its place, is asked for it."""
    apt = tmp_path / "apt-get"
    apt.write_text('#!/bin/sh\necho "$@" >>/run/asked\n')
    apt.chmod(0o755)
    hidden = "mount --bind /dev/null $(command -v dockerd); mount --bind {} /usr/bin/apt-get"
    assert host("sh", "-ec", hidden.format(apt)).returncode == 0
    return host.install


def test_brings_docker(host: PipHost, without_docker: Callable[..., Done]) -> None:
    """Docker Engine comes from the distribution where it is missing; --no-docker leaves that to
    others."""
    broken = host.directory / "plancton-1-py3-none-any.whl"  # it gets no further than that, which is enough
    broken.touch()
    done = without_docker("--wheel", broken, "--user", USER, "--no-docker")
    assert done.returncode == 2 and host("cat", "/run/asked").returncode != 0, done
    done = without_docker("--wheel", broken, "--user", USER)
    assert done.returncode == 2 and "+ package docker.io" in done.stdout, done
    asked = host("cat", "/run/asked").stdout.splitlines()
    assert asked == ["update -q", "install -yq --no-install-recommends docker.io iptables nftables"]
    done = host.install("--uninstall", "--purge")
    assert "packages were installed for Plancton and stay" in done.stdout and "docker.io" in done.stdout, done
