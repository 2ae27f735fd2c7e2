"""Plancton's Debian package on a fresh host: installed, upgraded, removed, purged, as dpkg has it.

The tests share one installation and come in the order of its life. There is no network: the
package comes with those it needs (`machine/debs`). They leave the host as `test_install.py` expects
it, but for those.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from docker.harness import Engine, wait_for
from host.harness import DEBS
from host.test_install import FOR_GOOD, HOSTS_CONFIG, PLACES, SLICE, Host, call, ok, status, substate
from install import NEWER, SCRIPT, files

from plancton import __version__

pytestmark = pytest.mark.docker

PLANCTON = "/usr/bin/plancton"


def apt(*words: object) -> tuple[str, float]:
    """What apt-get says, and how long it took."""
    start = time.monotonic()
    said = ok("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qy", "--no-install-recommends", *words)
    return said, time.monotonic() - start


def newer(package: Path, directory: Path) -> Path:
    """The same package, as if it were of another version."""
    tree, made = directory / "tree", directory / "newer.deb"
    ok("dpkg-deb", "--raw-extract", package, tree)
    control, code = tree / "DEBIAN/control", tree / "usr/lib/python3/dist-packages/plancton/__init__.py"
    old = next(line for line in control.read_text().splitlines() if line.startswith("Version: "))
    control.write_text(control.read_text().replace(old, "Version: 99"))
    code.write_text(code.read_text().replace(__version__, NEWER))
    ok("dpkg-deb", "--build", "-Znone", tree, made)
    shutil.rmtree(tree)
    return made


@pytest.fixture(scope="module")
def host(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host(engine, tmp_path_factory.mktemp("package"))
    needed = [file for file in DEBS.glob("*.deb") if not file.name.startswith("plancton_")]
    if needed:  # else they are here already (`machine/build`)
        apt("install", *needed)
    made.files = files(*PLACES)
    try:
        yield made
    finally:
        call("apt-get", "-qy", "purge", "plancton")
        call("userdel", "plancton")


@pytest.fixture(scope="module")
def package() -> Path:
    (found,) = DEBS.glob("plancton_*.deb")
    return found


def test_installed(host: Host, package: Path) -> None:
    """One command makes it a service, which donates in tier kernel as soon as the configuration is
    filled in; the page and the metrics' timer are off."""
    said, seconds = apt("install", package)
    print(f"installed in {seconds:.0f} s")
    assert "Error" not in said and "Traceback" not in said, said
    assert substate() == "running", ok("journalctl", "-u", "plancton", "-n", "30")
    assert ok("stat", "-c", "%U:%G %a", HOSTS_CONFIG) == "root:plancton 640\n"
    HOSTS_CONFIG.write_text(yaml.safe_dump(host.settings))
    worker = host.worker()
    found = status()
    assert found and found.tier == "kernel" and not found.problems, found
    assert (SLICE / "cpu.idle").read_text() == "1\n" and list(SLICE.glob(f"*{worker}*"))
    assert ok("stat", "-c", "%U", f"/proc/{found.pid}") == "plancton\n"
    units = "plancton", "plancton-web", "plancton-metrics.timer"
    enabled = [call("systemctl", "is-enabled", unit).stdout.strip() for unit in units]
    assert enabled == ["enabled", "disabled", "disabled"]
    assert call(PLANCTON, "doctor", "--config", HOSTS_CONFIG).returncode <= 1
    done = call("sh", SCRIPT, "--wheel", host.wheel)
    assert done.returncode == 2 and "is a package of the distribution" in done.stderr, done


def test_upgraded(host: Host, package: Path) -> None:
    """A newer package takes over in place: the same process, the same worker, the configuration as
    it was filled in. What was stopped stays so."""
    worker, pid, config = host.worker(), host.pid, HOSTS_CONFIG.read_text()
    said, seconds = apt("install", newer(package, host.directory))
    print(f"upgraded in {seconds:.0f} s\n{said}")
    wait_for("the newer one has taken over", lambda: (now := status()) and now.version == NEWER, 300)
    assert host.pid == pid and host.worker() == worker and len(host.containers()) == 1
    assert HOSTS_CONFIG.read_text() == config
    ok(PLANCTON, "stop", "--wait")
    wait_for("the service has ended", lambda: substate() in FOR_GOOD, 300)
    apt("install", "--reinstall", host.directory / "newer.deb")
    assert substate() in FOR_GOOD and not host.containers()


def test_removed(host: Host) -> None:
    """Removing it ends all workers, and keeps configuration and history; purging leaves nothing but
    its user, which Debian keeps: what it owned must not become another's."""
    ok("systemctl", "start", "plancton")
    host.worker()
    apt("remove", "plancton")
    assert not host.containers() and not SLICE.exists() and "plancton" not in host.engine.networks()
    assert HOSTS_CONFIG.exists() and Path("/var/lib/plancton/history.sqlite").exists()
    assert all(call("systemctl", "cat", unit).returncode for unit in ("plancton", "plancton.slice"))
    apt("purge", "plancton")
    left = {path for path in files(*PLACES) - host.files if "plancton" in path}
    assert not left, left
    ok("id", "plancton")
