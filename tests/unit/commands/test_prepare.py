"""What root hands over, on fixture trees and a scripted Docker."""

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.scripted_docker import ScriptedDocker, reply
from unit.trees import tree

from plancton.commands import prepare as module
from plancton.commands.prepare import PrepareError, prepare_host, usual_driver
from plancton.config import repository_limits
from plancton.config.clone import TREE, write_files
from plancton.host.cgroup_mounts import Layout

USER = pwd.getpwnam("daemon")
KNOBS = {
    "cpu.idle": "0",
    "cpu.weight": "100",
    "cpu.max": "max 100000",
    "memory.max": "max",
    "io.weight": "100",
}


class Host:
    """A host with cgroup v2, on which root prepares."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, root / "config.yaml"
        self.slice = (
            tree(root / "v2", plancton={**KNOBS, "cgroup.freeze": "0", "cgroup.procs": ""}) / "plancton"
        )
        self.chowned: dict[str, int] = {}
        self.unheld: tuple[str, ...] = ()
        self.docker: ScriptedDocker

    def configure(self, text: str = "") -> Path:
        self.config.write_text(f"docker: {{socket: {self.root}/d.sock{text}}}")
        return self.config


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    host = Host(tmp_path)
    host.configure()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "enforce", lambda config, docker: host.unheld)
    monkeypatch.setattr(module, "read_layout", lambda: Layout(tmp_path / "v2"))
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, **_: host.chowned.update({path.name: uid}))
    monkeypatch.setenv("PLANCTON_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("PLANCTON_STATE_DIR", str(tmp_path / "state"))
    info = reply(json.dumps({"CgroupDriver": "cgroupfs"}).encode())
    with ScriptedDocker(tmp_path / "d.sock", {"GET /info": info}) as host.docker:
        yield host


def test_prepare(host: Host) -> None:
    """The slice has its tier and bounds, the user owns its files and our directories; one line says
    so."""
    said = prepare_host("daemon", host.config)
    assert said == (
        "/plancton is in tier kernel; daemon may write its cpu.idle, cpu.weight, cpu.max, memory.max,"
        f" cgroup.freeze, and has {host.root}/run and {host.root}/state"
    )
    names = ("cpu.idle", "cpu.weight", "cpu.max", "memory.max", "cgroup.freeze", "run", "state")
    assert host.chowned == dict.fromkeys(names, USER.pw_uid)
    assert (host.slice / "cpu.idle").read_text() == "1"
    assert int((host.slice / "memory.max").read_text()) > 0
    assert prepare_host(str(USER.pw_uid), host.config) == said, "by number, and once more"


def test_a_clone_that_is_followed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user also gets a configuration that follows a repository, except allow.yaml."""
    monkeypatch.setattr(repository_limits, "HOSTS", host.root / "clone/allow.yaml")
    root = host.root / "clone"
    subprocess.run(["git", "init", "-q", root], check=True)
    for name, text in {
        ".git/plancton": "{}",
        "allow.yaml": f"sockets: [{host.root}/d.sock]",
        "pool.conf": "",
        "secret": "",
        "config.yaml": host.config.read_text() + "\n",
    }.items():
        (root / name).write_text(text)
    write_files(root / TREE, [])
    (root / "link").symlink_to("pool.conf")
    os.link(root / "secret", host.root / "secret")
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid())
    assert prepare_host("daemon", root / "config.yaml").endswith("/state")
    host.chowned.clear()
    with (root / "config.yaml").open("a") as file:
        file.write("config: {refresh: 1h}")
    assert prepare_host("daemon", root / "config.yaml").endswith(f"/state and {root}")
    theirs = {"clone", ".git", "plancton", "config.yaml", "pool.conf", "link"}
    assert theirs <= set(host.chowned)
    assert not {"allow.yaml", "secret"} & set(host.chowned)


def test_before_docker(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """At boot it works without Docker, for the cgroup driver that Docker will choose."""
    said = prepare_host("daemon", host.config)
    host.chowned.clear()
    host.config.write_text(f"docker: {{socket: {host.root}/none.sock}}")
    monkeypatch.setattr(module, "DAEMON_JSON", host.root / "none.json")
    monkeypatch.setattr(module, "SYSTEMD", host.root / "none")
    without = prepare_host("daemon", host.config)
    assert without == f"{said}; Docker does not answer: this assumes its cgroup driver is cgroupfs"
    assert {"cpu.idle", "run", "state"} <= set(host.chowned)


def test_what_does_not_hold(host: Host) -> None:
    """What keeps the rules of the workers' network from holding is said in the same line."""
    host.unheld = ("there is no nft here",)
    assert prepare_host("daemon", host.config).endswith("; there is no nft here")


def test_a_network_for_the_rates(host: Host) -> None:
    """Rates are the bridge's, so root makes the network for whoever could not bound it."""
    bodies = list[dict[str, object]]()

    def create(body: bytes) -> list[bytes | str]:
        bodies.append(json.loads(body))
        return reply(b'{"Id":"n"}', "201 Created")

    host.docker.script |= {
        "GET /networks/plancton": reply(b'{"message":"not found"}', "404 Not Found"),
        "GET /networks": reply(b"[]"),
        "POST /networks/create": create,
    }
    prepare_host("daemon", host.configure())
    assert bodies == [], "without rates, the first worker's start makes it"
    host.config.write_text(host.config.read_text() + "\nworker: {network: {rate_up: 8Mbit}}")
    prepare_host("daemon", host.config)
    assert [body["Labels"] for body in bodies] == [{"plancton.instance": "prepared"}]


@pytest.mark.parametrize(
    ("settings", "unified", "systemd", "driver"),
    [
        ("", True, True, "systemd"),
        ("", True, False, "cgroupfs"),
        ("", False, True, "cgroupfs"),
        ('{"exec-opts": ["native.cgroupdriver=systemd"]}', False, True, "systemd"),
        ('{"exec-opts": ["a=b", "native.cgroupdriver=cgroupfs"], "data-root": "/d"}', True, True, "cgroupfs"),
        ('{"data-root": "/d"}', True, True, "systemd"),
        ('{"exec-opts": null}', True, True, "systemd"),
        ('{"exec-opts": ["?"]}', True, True, "systemd"),
        ("[]", True, True, "systemd"),
        ("{", True, True, "systemd"),
    ],
)
def test_usual_driver(settings: str, unified: bool, systemd: bool, driver: str) -> None:
    """Docker's own choice, unless daemon.json names one; a file that Docker would reject does not
    count."""
    assert usual_driver(settings, unified, systemd) == driver


def test_tier_that_is_asked_for(host: Host) -> None:
    """The configuration's tier is prepared."""
    assert "tier weight;" in prepare_host("daemon", host.configure(", tier: weight"))
    assert ((host.slice / "cpu.idle").read_text(), (host.slice / "cpu.weight").read_text()) == ("0", "1")


@pytest.mark.parametrize("user", ["nobody-has-this-name", "4294967290", "9" * 40, "9" * 5000, ""])
def test_no_such_user(host: Host, user: str) -> None:
    """An unknown user is named, with the command that creates one."""
    with pytest.raises(PrepareError, match=r"^there is no user '.*: make one \(useradd --system"):
        prepare_host(user, host.config)
    assert not host.chowned


def test_root_is_prepared(host: Host) -> None:
    """Root needs no preparation."""
    with pytest.raises(PrepareError, match=r"^root needs no preparation"):
        prepare_host("root", host.config)


def test_only_root_prepares(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else is told how."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PrepareError, match=r": sudo plancton prepare --user daemon$"):
        prepare_host("daemon", host.config)
    assert not host.chowned


def test_slice_that_cannot_be_made(host: Host) -> None:
    """A slice that even root can't set is not handed over."""
    (host.slice / "cpu.idle").unlink()
    (host.slice / "cpu.idle").mkdir()
    with pytest.raises(PrepareError, match=r"/v2/plancton: can't be made or set up"):
        prepare_host("daemon", host.config)
    assert not host.chowned
