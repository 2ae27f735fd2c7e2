"""scripts/bundle, and scripts/install with what it makes, on hosts whose Python is too old or missing.

A host is another Debian's root, with this machine's kernel and the tests' own Docker.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from docker.debian_engine import SCRIPTS
from docker.harness import Engine, wait_for
from docker.installed_host import Done, Host
from helpers.dictated_host import DictatedHost
from helpers.kept_roots import kept_root
from install import NEWER, SCRIPT

import plancton
from plancton.host.slice_inspection import look_at
from plancton.workers.container import INSTANCE

pytestmark = [pytest.mark.docker, pytest.mark.slow]

BUNDLE = SCRIPT.with_name("bundle")
USER = "donor-test"
SETUP = """
set -eu
mount -t tmpfs none /run
uid=$((10000 + $$ % 50000))  # userdel asks whether anybody on this machine runs as that user
printf '%s %s\n' SYS_UID_MIN $uid SYS_UID_MAX $uid SYS_GID_MIN $uid SYS_GID_MAX $uid >>/etc/login.defs
echo "docker:x:$5:" >>/etc/group
touch /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow-  # useradd's copies
mount --bind "$2" /proc/stat
mount --bind "$3" /proc/meminfo
mount --bind "$4" /sys/devices/system/cpu/isolated
echo ready
exec sleep 3600
"""


def build(directory: Path) -> Path:
    subprocess.run([BUNDLE, directory], check=True, stdout=subprocess.DEVNULL, timeout=1800)
    (made,) = directory.glob("*.tar.gz")
    return made


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bundle"))


def newer(bundle: Path, made: Path) -> Path:
    """The same bundle, as if it were another version."""
    with tarfile.open(bundle) as source, tarfile.open(made, "w:gz", compresslevel=1) as target:
        for member in source:
            data = source.extractfile(member)
            content = data.read() if data else b""
            member.name = member.name.replace(plancton.__version__, NEWER, 1)
            if member.name.endswith("/plancton/__init__.py"):
                content = content.replace(plancton.__version__.encode(), NEWER.encode())
                member.size, member.mtime = len(content), member.mtime + 1  # compiled again
            target.addfile(member, io.BytesIO(content))
    return made


class BundleHost(Host):
    """A Debian's root. The script and the bundles are in its directory, as are no others of this
    machine."""

    def __init__(self, engine: Engine, figures: DictatedHost, suite: str) -> None:
        made = kept_root(SCRIPTS / "build-bare", suite, "bare")
        enter = (SCRIPTS / "inside", made, tempfile.gettempdir())
        super().__init__(engine, figures, SETUP, engine.socket.stat().st_gid, enter=enter)
        self.script = self.directory / "install"
        self.script.write_bytes(SCRIPT.read_bytes())

    def donate(self, bundle: Path) -> Done:
        return self.install("--bundle", bundle, "--config", self.config, "--user", USER, "--no-docker")

    def runs_from(self) -> str:
        """The bundle whose interpreter the supervisor is."""
        return Path(os.readlink(f"/proc/{self.pid()}/exe")).parents[1].name

    def bundles(self) -> list[str]:
        return [path.name for path in self.prefix.glob("bundle-*")]


@pytest.fixture(params=["bullseye", "trixie"])
def host(request: pytest.FixtureRequest, engine: Engine, tmp_path: Path) -> Iterator[BundleHost]:
    with DictatedHost(tmp_path) as figures, closing(BundleHost(engine, figures, request.param)) as made:
        version = made("python3", "--version").stdout
        assert version.startswith("Python 3.9.") if request.param == "bullseye" else not version
        yield made


def test_its_life(host: BundleHost, bundle: Path) -> None:
    """Where Python is too old or missing, one command makes the host donate; a reload and a newer
    bundle keep worker and process; uninstalling leaves nothing."""
    archive = host.directory / bundle.name
    archive.write_bytes(bundle.read_bytes())
    done = host.donate(archive)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tier kernel" in done.stdout, done.stdout
    worker, pid, before = host.worker(), host.pid(), host.bundles()
    assert [host.runs_from()] == before

    files = host.listing()
    done = host.donate(archive)
    assert done.stdout.startswith("Nothing to change: plancton 1") and "\n+ " not in done.stdout, done
    assert host.listing() == files

    os.kill(pid, signal.SIGHUP)
    again = f"grep -c 'INFO Plancton .* pid {pid},' /var/lib/plancton/plancton.log"
    wait_for("it runs again", lambda: host("sh", "-c", again).stdout == "2\n")
    assert host.worker() == worker and [host.runs_from()] == before

    done = host.donate(newer(bundle, host.directory / "newer.tar.gz"))
    assert "+ the running Plancton is the new one; its workers stayed" in done.stdout, done
    assert host.pid() == pid and host.worker() == worker
    assert host.bundles() == [host.runs_from()] != before
    assert host("/usr/local/bin/plancton", "--version").stdout == f"plancton {NEWER}\n"
    assert "usage: planctonctl" in host("/usr/local/bin/planctonctl", "help").stderr

    done = host.install("1.0")
    assert done.returncode == 2 and "a bundle is installed" in done.stderr, done
    done = host.install("--uninstall", "--purge")
    assert done.returncode == 0, done
    assert not host.engine.containers(label=INSTANCE) and not look_at(host.slice).exists
    assert host.listing() == host.before and not host.prefix.parent.exists()


def test_same_sources_same_bundle(bundle: Path, tmp_path: Path) -> None:
    """Built again, it is the same to the byte."""
    assert build(tmp_path).read_bytes() == bundle.read_bytes()


def test_anywhere(bundle: Path, tmp_path: Path) -> None:
    """Unpacked, it works wherever it is put and through a link, whatever the environment says of
    Python; with the page's libraries, and a TLS that trusts this host's authorities."""
    place = tmp_path / "a place"
    place.mkdir()
    subprocess.run(["tar", "-xzf", bundle, "-C", place], check=True)
    (tmp_path / "link").symlink_to(next(place.glob("plancton-*")) / "bin/plancton")
    own = {"PATH": "/usr/bin", "PYTHONHOME": "/none", "PYTHONPATH": str(tmp_path)}
    said = subprocess.check_output([tmp_path / "link", "--version"], text=True, env=own)
    assert said == f"plancton {plancton.__version__}\n"
    python = next(place.glob("*/bin/python"))
    code = "import plancton.web.server, ssl; print(ssl.get_default_verify_paths().capath)"
    assert subprocess.check_output([python, "-P", "-c", code], text=True, env={}) == "/etc/ssl/certs\n"


def test_contents(bundle: Path) -> None:
    """scripts/contents writes what is inside: libraries, and what the interpreter was compiled of."""
    subprocess.run([sys.executable, SCRIPT.with_name("contents"), bundle.parent], check=True)
    written = json.loads(bundle.with_name(f"{bundle.name}.spdx.json").read_text())
    names = {part["name"] for part in written["packages"]}
    assert {"plancton", "msgspec", "starlette", "python3.13", "openssl", "libsqlite3-dev"} <= names
