"""`planctonctl` as Plancton 0.6 had it: its verbs and options, for scripts that call it.

What it prints, and its exit codes, are those of `plancton`.
"""

import os
import sys
from collections.abc import Sequence
from getopt import GetoptError, getopt
from pathlib import Path
from typing import NamedTuple

from plancton.cli import entry
from plancton.host.cgroup_mounts import PROC
from plancton.host.engine_cpu import command_of
from plancton.running_supervisors import user_of

VERBS = {
    "start": ("start",),
    "force-start": ("force-start",),
    "stop": ("stop", "--keep-workers", "--wait"),
    "force-stop": ("stop", "--force"),
    "status": ("status",),
    "drain": ("drain",),
    "resume": ("resume",),
    "drain-stop": ("drain", "--stop"),
    "nodaemon": ("run",),
}
"""0.6's verbs in ours. Its `stop` left the workers running."""
USAGE = (
    "usage: planctonctl [--user] [--logdir DIR] [--rundir DIR] [--pidfile FILE] [--confdir DIR] "
    + "|".join([*VERBS, "help"])
)


class Places(NamedTuple):
    """Where 0.6 had its things. Ours has one more: ``state``, None where it is Plancton's own."""

    run: Path
    log: Path
    config: Path
    pid: Path
    state: Path | None = None


MOVES = {"--logdir": "log", "--rundir": "run", "--pidfile": "pid", "--confdir": "config"}
"""Which of the places each option moves."""


def main() -> None:
    try:
        known = ["user", "logdir=", "rundir=", "pidfile=", "confdir=", "help"]
        options, words = getopt(sys.argv[1:], "", known)
    except GetoptError as error:
        sys.exit(f"planctonctl: {error}")
    if words == ["help"] or ("--help", "") in options:
        sys.exit(print(USAGE, file=sys.stderr))
    if len(words) != 1 or words[0] not in VERBS:
        sys.exit(USAGE)
    where = places(options, _home() if ("--user", "") in options else Path("/"))
    if words[0] in ("start", "force-start", "nodaemon"):
        make(where)
    sys.argv[1:], environment = plancton(words[0], where)
    os.environ.update(environment)
    entry.main()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # HOME is not set, and no list of users has this one
        sys.exit("planctonctl: --user: this user has no home directory: set HOME")


def places(options: Sequence[tuple[str, str]], home: Path) -> Places:
    """0.6's places, in this order of options: a later one moves what an earlier one said."""
    found = Places(
        Path("/run/plancton"), Path("/var/log/plancton"), Path("/etc/plancton"), Path("/run/plancton.pid")
    )
    for name, value in options:
        if name == "--user":
            own = home / ".plancton"
            found = Places(own / "run", own / "log", own / "conf", own / "plancton.pid", own / "state")
        else:
            found = found._replace(**{MOVES[name]: Path(value)})
    run, log, config, pid = (path.absolute() for path in found[:4])
    return Places(run, log, config, pid, found.state)


def make(where: Places) -> None:
    """What a start needs. The pid file is a link to Plancton's: gone with the supervisor."""
    try:
        for directory in (where.pid.parent, where.log):  # the first is --user's, for all the rest
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _link(where.pid, where.run / "plancton.pid")
    except OSError as error:
        sys.exit(f"planctonctl: {error.filename}: {error.strerror}; name another place (planctonctl help)")


def _link(pid: Path, ours: Path) -> None:
    """Nothing gives way to the link but another one, or what an ended 0.6 has left."""
    if (pid.parent.resolve(), pid.name) == (ours.parent.resolve(), ours.name):
        return
    if not pid.is_symlink() and pid.exists():
        number = _start_of(pid).strip()
        if not (number.isascii() and number.isdecimal()):
            sys.exit(f"planctonctl: {pid}: is not a pid file; name another place (planctonctl help)")
        if _is_old(int(number)):
            sys.exit(f"planctonctl: Plancton 0.6 runs and kills our workers; end it first: kill {number}")
    pid.unlink(missing_ok=True)
    pid.symlink_to(ours)


def _start_of(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open(errors="replace") as file:
        return file.read(32)


def _is_old(pid: int) -> bool:
    """Whether this is 0.6, and not any process that has its number now: it is root's or ours."""
    words = command_of(PROC, pid)[:4] if user_of(pid) in (0, os.geteuid()) else []
    return any(os.path.basename(word) == "planctonctl" for word in words)


def plancton(verb: str, where: Places) -> tuple[list[str], dict[str, str]]:
    """The arguments of `plancton` that do it, and what has to be in its environment."""
    words = list(VERBS[verb])
    if verb in ("start", "force-start", "nodaemon"):
        words += ["--config", str(where.config / "config.yaml")]
    if verb in ("start", "force-start"):
        words += ["--log", str(where.log / "plancton.log")]
    environment = {"PLANCTON_RUN_DIR": str(where.run)}
    if where.state:
        environment["PLANCTON_STATE_DIR"] = str(where.state)
    return words, environment
