"""Making a service and removing it, in a root directory of the test's own; no program is run."""

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plancton.commands.install import steps
from plancton.commands.install.__main__ import main
from plancton.commands.install.init_systems import InitSystem, init_system
from plancton.commands.install.machine import Machine
from plancton.errors import PlanctonError

GOOD = "image: {name: registry.example.org/worker:1.0}\n"
Done = subprocess.CompletedProcess[str]


class Dummy(Machine):
    """Commands in ``failing`` fail; none is run."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "opt/plancton", root)
        self.prefix.mkdir(parents=True)
        self.installed.list.touch()
        self.ran: list[str] = []
        self.failing = {f"{self.plancton} status", "false"}
        self.output: dict[str, str] = {}

    def call(self, command: str) -> Done:
        self.ran.append(command)
        return Done([], int(command in self.failing), self.output.get(command, ""), "why it failed\n")

    def files(self) -> set[str]:
        """All but what is in the prefix, without directories."""
        found = (path for path in self.root.rglob("*") if path.is_symlink() or path.is_file())
        return {str(path.relative_to(self.root)) for path in found if self.prefix not in path.parents}

    def ours(self) -> set[str]:
        return {str(Path(name).relative_to(self.root)) for name in self.installed.recorded("file")}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dummy:
    """Its programs are those of a Debian: which program there is decides what is called."""
    programs = tmp_path / "programs"
    for name in ("useradd", "usermod", "userdel", "groupdel", "gpasswd"):
        add_program(programs, name)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: account(name))
    return Dummy(tmp_path / "root")


def add_program(directory: Path, name: str) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_text("#!/bin/sh\n")
    (directory / name).chmod(0o755)


def account(name: str, uid: int = 7) -> pwd.struct_passwd:
    """A user of that name whose files this process may make: their number is its own."""
    return pwd.struct_passwd((name, "x", uid, os.getgid(), "", "/", "/bin/false"))


def me() -> pwd.struct_passwd:
    return account("me", os.getuid())


# ---------------------------------------------------------------- the user


def test_a_user_is_made(machine: Dummy) -> None:
    """A user that is missing is made, in the group docker, and both are listed for the way back."""
    machine.failing.add("id donor")
    assert steps.need_user(machine, "donor").pw_name == "donor"
    changing = [command for command in machine.ran if command.startswith("user")]
    assert [command.split()[0] for command in changing] == ["useradd", "usermod"]
    assert all(command.endswith(" donor") for command in changing)
    for kind in ("made-user", "user", "member"):
        assert machine.installed.recorded(kind) == ["donor"]


def test_a_user_who_is_there(machine: Dummy) -> None:
    """Nothing is done for one that exists and is in the group; the user can't become another one
    later."""
    machine.output["id -nG donor"] = "donor docker\n"
    steps.need_user(machine, "donor")
    assert not machine.changes and machine.installed.recorded("made-user") == []
    with pytest.raises(PlanctonError, match="--user donor"):
        steps.need_user(machine, "other")


def test_a_user_on_busybox(machine: Dummy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where useradd is missing, adduser does it."""
    add_program(tmp_path / "busybox", "adduser")
    add_program(tmp_path / "busybox", "addgroup")
    monkeypatch.setenv("PATH", str(tmp_path / "busybox"))
    machine.failing.add("id donor")
    steps.need_user(machine, "donor")
    assert [c.split()[0] for c in machine.ran if c.startswith("add")] == ["addgroup", "adduser", "addgroup"]


def test_root_by_another_name(machine: Dummy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user with root's number is refused."""
    monkeypatch.setattr(pwd, "getpwnam", lambda name: account(name, 0))
    with pytest.raises(PlanctonError, match="root by another name"):
        steps.need_user(machine, "toor")


def test_without_a_group_docker(machine: Dummy, capsys: pytest.CaptureFixture[str]) -> None:
    """Who has no group docker is told what the user needs."""
    machine.failing.add("grep -q ^docker: /etc/group")
    steps.need_user(machine, "donor")
    assert "no group docker" in capsys.readouterr().out and machine.installed.recorded("member") == []


def test_the_user_goes(machine: Dummy) -> None:
    """A user that was made is removed; one that was there only leaves the group."""
    machine.installed.record("member", "donor")
    steps.remove_user(machine)
    assert [c for c in machine.ran if "donor" in c] == ["gpasswd --delete donor docker"]
    machine.ran.clear()
    machine.installed.record("made-user", "donor")
    steps.remove_user(machine)
    assert "userdel donor" in machine.ran and not any("gpasswd" in c for c in machine.ran)


# ---------------------------------------------------------------- files


def test_the_command(machine: Dummy) -> None:
    """Completions and manual are put where there is a program for them; a second time changes
    nothing."""
    steps.need_command(machine)
    assert machine.files() == {"usr/local/bin/plancton", "usr/local/bin/planctonctl"}
    assert (machine.root / "usr/local/bin/plancton").readlink() == machine.prefix / "bin/plancton"
    for name in ("bash-completion/completions", "zsh/site-functions", "fish/vendor_completions.d", "man"):
        (machine.root / "usr/share" / name).mkdir(parents=True)
    steps.need_command(machine)
    assert len(machine.files()) == 6 and machine.files() == machine.ours()
    changes = machine.changes
    steps.need_command(machine)
    assert machine.changes == changes == 6


def test_what_is_there_is_left(machine: Dummy, capsys: pytest.CaptureFixture[str]) -> None:
    """A file or link that is somebody else's is named, and neither changed nor listed."""
    theirs, dangling = (machine.root / "usr/local/bin" / name for name in ("planctonctl", "plancton"))
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    dangling.symlink_to("/none")
    steps.need_command(machine)
    said = capsys.readouterr().out
    assert f"{theirs} is there already" in said and f"{dangling} is there already" in said
    assert theirs.read_text() == "theirs" and os.readlink(dangling) == "/none" and machine.ours() == set()


def test_a_changed_file_of_ours(machine: Dummy) -> None:
    """What was made is made again when a newer version has another one, with its mode."""
    file = machine.root / "etc/x"
    machine.installed.put(file, b"1")
    machine.installed.put(file, b"2", 0o755)
    assert file.read_bytes() == b"2" and file.stat().st_mode & 0o777 == 0o755
    assert machine.installed.recorded("file") == [str(file)]
    assert list(file.parent.iterdir()) == [file]


def test_directories_are_listed(machine: Dummy) -> None:
    """Each directory that was missing is listed, the outer one first."""
    machine.installed.put(machine.root / "a/b/c", b"")
    assert machine.installed.recorded("dir")[-2:] == [str(machine.root / "a"), str(machine.root / "a/b")]


# ---------------------------------------------------------------- the configuration


def test_a_configuration(machine: Dummy, tmp_path: Path) -> None:
    """The file that was given is put in place when it is valid, for its user's group only."""
    given = tmp_path / "given.yaml"
    given.write_text(GOOD)
    config = machine.etc / "config.yaml"
    steps.need_config(machine, me(), given, None, None)
    assert config.read_text() == GOOD and config.stat().st_mode & 0o777 == 0o640
    assert machine.changes == 1
    steps.need_config(machine, me(), given, None, None)
    assert machine.changes == 1
    given.write_text("worker: {cpu: 1}")
    with pytest.raises(PlanctonError, match="cpu"):
        steps.need_config(machine, me(), given, None, None)
    assert config.read_text() == GOOD


def test_a_configuration_where_a_clone_is(machine: Dummy, tmp_path: Path) -> None:
    """A file takes no place among a repository's, whose commits would be refused from then on."""
    given, config = tmp_path / "given.yaml", machine.etc / "config.yaml"
    given.write_text(GOOD)
    (machine.etc / ".git").mkdir(parents=True)
    (machine.etc / ".git/plancton").touch()
    config.symlink_to(".git/plancton-tree/config.yaml")
    with pytest.raises(PlanctonError, match=r"is a clone.*leave out --config, or move all"):
        steps.need_config(machine, me(), given, None, None)
    assert config.is_symlink() and machine.changes == 0


def test_a_configuration_to_be_filled_in(machine: Dummy) -> None:
    """Without a file an example is put there, once; what is there stays."""
    config = machine.etc / "config.yaml"
    steps.need_config(machine, me(), None, None, None)
    assert "image" in config.read_text() and machine.changes == 1
    config.write_text(GOOD)
    steps.need_config(machine, me(), None, None, None)
    assert config.read_text() == GOOD and machine.changes == 1


# ---------------------------------------------------------------- the service


def system(machine: Dummy, kind: str, programs: Path) -> InitSystem:
    """The machine's init system, when it has what tells this one from others."""
    if kind == "systemd":
        (machine.root / "run/systemd/system").mkdir(parents=True)
    if kind == "openrc":
        (machine.root / "run/openrc").mkdir(parents=True)
        add_program(programs, "openrc-run")
    if kind == "cron":
        (machine.root / "etc/cron.d").mkdir(parents=True)
        add_program(programs, "cron")
    return init_system(machine)


SERVICES = {
    "systemd": {
        f"etc/systemd/system/plancton{name}"
        for name in (".service", ".slice", "-metrics.service", "-metrics.timer", "-web.service")
    },
    "openrc": {"etc/init.d/plancton"},
    "cron": {"etc/cron.d/plancton"},
    "none": set[str](),
}
AT_BOOT = {
    "systemd": "etc/systemd/system/multi-user.target.wants/plancton.service",
    "openrc": "etc/runlevels/default/plancton",
}


@pytest.mark.parametrize("kind", SERVICES)
def test_service(machine: Dummy, tmp_path: Path, kind: str) -> None:
    """Its files name prefix and user, it starts at boot where that is possible, and all of it goes
    again."""
    init = system(machine, kind, tmp_path / "programs")
    before = machine.files()
    steps.need_service(machine, init, "donor")
    made = machine.files() - before
    assert made == SERVICES[kind]
    for name in made:
        text = (machine.root / name).read_text()
        assert str(machine.prefix) in text or name.endswith((".slice", ".timer"))
        assert "@PREFIX@" not in text and "@USER@" not in text
    listed = {name for name in machine.ours() if not name.startswith("opt/")}
    assert listed == made | ({AT_BOOT[kind]} if kind in AT_BOOT else set())
    for name in AT_BOOT.values():
        (machine.root / name).parent.mkdir(parents=True, exist_ok=True)
    if kind in AT_BOOT:
        (machine.root / AT_BOOT[kind]).touch()  # what `enable` does
    changes = machine.changes
    machine.ran.clear()
    steps.need_service(machine, init, "donor")
    assert machine.changes == changes
    assert not [command for command in machine.ran if not command.startswith("systemd-run")], machine.ran
    steps.remove(machine, init)
    assert machine.files() == before


def test_no_way_to_start_at_boot(machine: Dummy, capsys: pytest.CaptureFixture[str]) -> None:
    """Without an init system and cron it is said what has to be run."""
    steps.need_service(machine, init_system(machine), "donor")
    start = machine.prefix / "bin/plancton-start"
    assert f"run {start}" in capsys.readouterr().out and os.access(start, os.X_OK)


@pytest.mark.parametrize("kind", ["systemd", "openrc"])
def test_docker_is_started(machine: Dummy, tmp_path: Path, kind: str) -> None:
    """The distribution's Docker is started when it does not run, and else left alone."""
    init = system(machine, kind, tmp_path / "programs")
    runs, is_here, *start = init.docker
    steps.need_docker(machine, init)
    assert machine.ran == [runs]
    machine.failing |= {runs, is_here}
    steps.need_docker(machine, init)
    assert not set(start) & set(machine.ran)
    machine.failing.remove(is_here)
    steps.need_docker(machine, init)
    assert machine.ran[-len(start) :] == start


def test_it_is_started_once(machine: Dummy, capsys: pytest.CaptureFixture[str]) -> None:
    """It is started when it is installed; what somebody stopped afterwards stays stopped."""
    init = init_system(machine)
    steps.need_start(machine, init, upgraded=True)
    assert init.start in machine.ran
    machine.ran.clear()
    steps.need_start(machine, init, upgraded=True)
    assert init.start not in machine.ran and init.restart in capsys.readouterr().out


def test_after_a_failure_it_is_started_again(machine: Dummy, tmp_path: Path) -> None:
    """A service that systemd calls failed was not stopped by anybody."""
    init = system(machine, "systemd", tmp_path)
    machine.installed.record("started", "yes")
    machine.failing.add(init.has_failed)
    steps.need_start(machine, init, upgraded=False)
    assert init.start not in machine.ran
    machine.failing.remove(init.has_failed)
    steps.need_start(machine, init, upgraded=False)
    assert init.start in machine.ran


def test_a_command_that_fails(machine: Dummy) -> None:
    """What it said is shown, and its own line says which one it was."""
    machine.failing.add("false x")
    with pytest.raises(PlanctonError, match="failed: false x") as error:
        machine.run("false x")
    assert "why it failed" in error.value.lines


def test_removing_stops_everything_first(machine: Dummy) -> None:
    """The supervisor and what a crash left end before any file goes; without Docker it goes on."""
    file = machine.root / "etc/x"
    machine.installed.put(file, b"")
    force = f"{machine.plancton} stop --force"
    machine.failing.add(force)
    steps.remove(machine, init_system(machine))
    assert force in machine.ran and not file.exists()
    machine.failing.remove(f"{machine.plancton} status")
    machine.installed.put(file, b"")
    with pytest.raises(PlanctonError, match="stop --force"):
        steps.remove(machine, init_system(machine))
    assert file.exists()


def test_removing_without_libraries(tmp_path: Path) -> None:
    """It works with a Python that has no library that Plancton needs: its own may be gone."""
    package = tmp_path / "plancton"
    shutil.copytree(Path(steps.__file__).parents[2], package)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import plancton.commands.install.__main__"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_stops_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the file system or a program refuses is said with what it is about; exit code 2."""
    monkeypatch.setattr(
        "sys.argv", ["install", "--prefix", str(tmp_path / "none"), "--user", "donor", "--no-docker"]
    )
    assert main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("install: ") and str(tmp_path / "none") in line


# ---------------------------------------------------------------- what a host can't do, or must not

RUN = "systemd-run --quiet --wait"


@pytest.mark.parametrize("failing", [(), (f"{RUN} --property=PrivateUsers=yes true",), (f"{RUN} true",)])
def test_host_without_user_namespaces(
    machine: Dummy, capsys: pytest.CaptureFixture[str], failing: tuple[str, ...]
) -> None:
    """Where services can have no user namespace, ours goes without, so that it starts, and that is
    said; where even that can't be tried, the sandbox stays whole."""
    (machine.root / "run/systemd/system").mkdir(parents=True)
    machine.failing |= set(failing)
    if len(failing) and "PrivateUsers" not in failing[0]:
        machine.failing.add(f"{RUN} --property=PrivateUsers=yes true")
    steps.need_service(machine, init_system(machine), "donor")
    lines = (machine.root / "etc/systemd/system/plancton.service").read_text().splitlines()
    without = bool(failing) and "PrivateUsers" in failing[0]
    assert ("PrivateUsers=yes" in lines) is not without
    assert ("no user namespaces" in capsys.readouterr().out) is without


def test_links_are_not_followed(machine: Dummy, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that belongs to a user, root gives away no file that a name there leads to."""
    outside = machine.root / "shadow"
    outside.write_text(GOOD)
    outside.chmod(0o640)
    machine.etc.mkdir(parents=True)
    (machine.etc / "token").symlink_to(outside)
    os.link(outside, machine.etc / "config.yaml")
    given = []
    monkeypatch.setattr(os, "chown", lambda path, *_, **__: given.append(path))
    steps.need_config(machine, account("donor"), None, None, None)
    assert given == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may signal everybody")
def test_pid_that_a_user_wrote(machine: Dummy) -> None:
    """An upgrade sends a signal to no process but one of the user to whom the pid file belongs."""
    machine.failing.clear()
    file = machine.root / "run/plancton/plancton.pid"
    file.parent.mkdir(parents=True)
    for text in ("", "none", "1", str(2**30)):
        file.write_text(text)
        os.chown(file, 65534, -1)
        with pytest.raises(PlanctonError, match="names no running Plancton"):
            steps.need_start(machine, init_system(machine), upgraded=True)
