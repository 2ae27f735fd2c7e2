"""What is done to the machine, step by step. A step that is done already changes nothing."""

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

from plancton import __version__
from plancton.commands.install.init_systems import InitSystem
from plancton.commands.install.machine import Machine
from plancton.errors import PlanctonError
from plancton.files import SHARE, read_regular, replace_file
from plancton.units import printable

UPGRADE_TIMEOUT = 60.0
USERS = "PrivateUsers=yes"


def need_docker(machine: Machine, init: InitSystem) -> None:
    """Start it where the distribution's package has not done so."""
    runs, is_here, *start = init.docker
    if not machine.succeeds(runs) and machine.succeeds(is_here):
        for command in start:
            machine.run(command)


def need_user(machine: Machine, name: str) -> pwd.struct_passwd:
    """A user of the group docker, who is not root."""
    for was in set(machine.installed.recorded("user")) - {name}:
        raise PlanctonError(f"it was installed for the user {was}: give --user {was}, or --uninstall first")
    if not machine.succeeds(f"id {name}"):
        machine.installed.record("made-user", name)
        home, shell = machine.state, shutil.which("nologin") or "/bin/false"
        if not shutil.which("useradd"):  # busybox
            machine.call(f"addgroup -S {name}")
        machine.run(
            f"useradd --system --user-group --home-dir {home} --no-create-home --shell {shell} {name}",
            f"adduser -S -D -H -h {home} -s {shell} -G {name} {name}",
        )
        machine.did(f"user {name}")
    machine.installed.record("user", name)
    user = pwd.getpwnam(name)
    if user.pw_uid == 0:
        raise PlanctonError(f"--user {name}: is root by another name")
    if not machine.succeeds("grep -q ^docker: /etc/group"):
        print(f"There is no group docker: add {name} to the group of Docker's socket")
    elif "docker" not in machine.call(f"id -nG {name}").stdout.split():
        machine.installed.record("member", name)
        machine.run(f"usermod --append --groups docker {name}", f"addgroup {name} docker")
        machine.did(f"{name} is in the group docker")
    return user


def need_command(machine: Machine) -> None:
    """The command; its completion and its manual where there are programs for them."""
    local, share = machine.root / "usr/local", machine.root / "usr/share"
    for name in ("plancton", "planctonctl"):
        machine.installed.put(local / "bin" / name, machine.prefix / "bin" / name)
    debians = share / "zsh/vendor-completions"
    for name, path in (
        ("plancton.bash", share / "bash-completion/completions/plancton"),
        ("_plancton", (debians if debians.is_dir() else share / "zsh/site-functions") / "_plancton"),
        ("plancton.fish", share / "fish/vendor_completions.d/plancton.fish"),
        ("plancton.1", local / "share/man/man1/plancton.1"),
    ):
        if path.parent.is_dir() or (name == "plancton.1" and (share / "man").is_dir()):
            machine.installed.put(path, (SHARE / name).read_bytes())


def need_config(
    machine: Machine, user: pwd.struct_passwd, file: Path | None, url: str | None, ref: str | None
) -> None:
    """The configuration that was asked for, else the one that is there, else one to be filled in."""
    from plancton.config.clone import ALLOW, MARK, TOKEN, hand_over
    from plancton.config.load import load_config
    from plancton.config.repository import init
    from plancton.config.show import example

    config, token = machine.etc / "config.yaml", machine.etc / "token"
    new, told = b"", ""
    if url is not None:
        known = os.path.lexists(machine.etc / MARK)
        told = init(url, ref, machine.etc)
        if not known:
            hand_over(machine.etc, user.pw_uid)  # who fetches it again
            machine.did(told)
    elif file is not None and os.path.lexists(machine.etc / MARK):
        raise PlanctonError(
            f"{machine.etc}: is a clone, and its configuration comes from its repository: leave out --config,"
            f" or move all but {ALLOW} and {TOKEN} away first"
        )
    elif file is not None:
        load_config(file)
        new, told = file.read_bytes(), f"from {file}"
    elif not config.exists():
        new, told = example().encode(), "fill in what Plancton donates to: image or htcondor"
    if new and not (config.exists() and config.read_bytes() == new):
        machine.etc.mkdir(parents=True, exist_ok=True)
        replace_file(config, new, 0o640, user.pw_gid)  # it may hold secrets
        machine.did(f"{config}: {told}")
    # What was there before this user was.
    _give(token, user.pw_uid, -1)
    found = config.lstat()
    if not found.st_mode & 0o004 and found.st_uid != user.pw_uid:
        _give(config, -1, user.pw_gid)


def _give(path: Path, uid: int, gid: int) -> None:
    """Change a file's owner or group, unless it is only a name of a file elsewhere: the directory
    may be the user's already."""
    if os.path.lexists(path) and stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1:
        os.chown(path, uid, gid, follow_symlinks=False)


def need_service(machine: Machine, init: InitSystem, user: str) -> None:
    """The init system has its files, and starts Plancton at boot."""
    before = machine.changes
    for path, name in init.files.items():
        text = (SHARE / name).read_text(encoding="utf-8")
        text = text.replace("@PREFIX@", str(machine.prefix)).replace("@USER@", user)
        if USERS in text and not _can_have_users(machine):
            text = text.replace(USERS, f"# Not on this host, which gives it no user namespace: {USERS}")
        machine.installed.put(machine.root / path, text.encode(), 0o755 if text.startswith("#!") else 0o644)
    if machine.changes != before:
        machine.run(init.reload)
        if not init.enable and len(init.files) == 1:
            print(f"Nothing starts services at boot here: run {init.start} then, as root")
    at_boot = machine.root / init.at_boot
    if init.enable and not os.path.lexists(at_boot):
        machine.installed.record("file", at_boot)
        machine.run(init.enable)
        machine.did(f"starts at boot: {at_boot}")


def _can_have_users(machine: Machine) -> bool:
    """Whether services can have user namespaces; else systemd would start ours in vain, for ever.
    user.max_user_namespaces may be 0, and so may a container's rights."""
    if not machine.succeeds("systemd-run --quiet --wait true"):
        return True  # that says nothing
    if machine.succeeds(f"systemd-run --quiet --wait --property={USERS} true"):
        return True
    print("This host gives services no user namespaces: Plancton's goes without (PrivateUsers)")
    return False


def need_start(machine: Machine, init: InitSystem, upgraded: bool) -> None:
    """It runs, by the version that is installed; but what somebody has stopped stays stopped."""
    if machine.succeeds(f"{machine.plancton} status"):
        if upgraded:
            _take_over(machine)
            machine.did("the running Plancton is the new one; its workers stayed")
    elif not machine.installed.recorded("started") or machine.succeeds(init.has_failed):
        machine.run(init.start)
        machine.did("Plancton runs")
    else:
        print(f"Plancton was stopped, and stays stopped; {init.restart} starts it")
    machine.installed.record("started", "yes")
    if upgraded:
        machine.call(init.upgraded)


def _take_over(machine: Machine) -> None:
    os.kill(_pid_of_the_service(machine), signal.SIGHUP)
    deadline = time.monotonic() + UPGRADE_TIMEOUT
    while time.monotonic() < deadline:
        status = machine.call(f"{machine.plancton} status --json").stdout or "{}"
        if json.loads(status).get("version") == __version__:
            return
        time.sleep(0.5)
    raise PlanctonError(f"{__version__} has not taken over: `plancton status` and the log say why")


def _pid_of_the_service(machine: Machine) -> int:
    """The file is the user's, who may have written any number: root signals only who is theirs."""
    from plancton.running_supervisors import user_of

    file = machine.root / "run/plancton/plancton.pid"
    data, found = read_regular(file, 32, follow=False)
    pid = int(data) if data.strip().isdigit() else 0
    if not pid or user_of(pid) != found.st_uid:
        raise PlanctonError(f"{file}: names no running Plancton: restart its service")
    return pid


def run_doctor(machine: Machine, user: str) -> int:
    """As the user: what only root can read would serve nobody. 4 where something is broken, else 0."""
    command = f"exec {machine.plancton} doctor --config {machine.etc}/config.yaml"
    code = subprocess.run(["su", "-s", "/bin/sh", user, "-c", command], check=False).returncode
    return code if code > 1 else 0


# ---------------------------------------------------------------- the way back


def remove(machine: Machine, init: InitSystem) -> None:
    """All workers leave; then what is listed goes, except packages, directories and ``prefix``."""
    for command in init.stop:
        machine.call(command)
    if machine.succeeds(f"{machine.plancton} status"):
        machine.run(f"{machine.plancton} stop --force")
    # Also the workers of one that crashed; without Docker there are none.
    done = machine.call(f"{machine.plancton} stop --force")
    if done.returncode:
        print(printable((done.stdout + done.stderr).strip().rpartition("\n")[2]))
    for file in map(Path, machine.installed.recorded("file")):
        if os.path.lexists(file):
            file.unlink()
            machine.did(f"removed {file}")
    for command in init.forget:
        machine.call(command)
    shutil.rmtree(machine.root / "run/plancton", ignore_errors=True)


def remove_user(machine: Machine) -> None:
    """The user if it was made, else its membership."""
    made = machine.installed.recorded("made-user")
    for name in filter(lambda name: machine.succeeds(f"id {name}"), made):
        machine.run(f"userdel {name}", f"deluser {name}")
        if machine.succeeds(f"grep -q ^{name}: /etc/group"):
            machine.run(f"groupdel {name}", f"delgroup {name}")
        machine.did(f"removed the user {name}")
    for name in set(machine.installed.recorded("member")) - set(made):
        machine.run(f"gpasswd --delete {name} docker", f"delgroup {name} docker")
        machine.did(f"{name} is no longer in the group docker")


def hand_back(machine: Machine) -> None:
    """What is kept becomes root's: the user may be gone, and its number be somebody else's one day."""
    for top in filter(os.path.exists, (machine.etc, machine.state)):
        machine.run(f"chown -Rh 0:0 {top}")
        print(f"{top} stays (--purge removes it)")
