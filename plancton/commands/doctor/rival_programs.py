"""Programs beside Plancton that `plancton doctor` knows: others that take idle CPU, an older Plancton, and
supervisors of other users or files."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.files import read_knob
from plancton.host.cgroup_mounts import PROC
from plancton.host.engine_cpu import command_of
from plancton.host.process_cgroup import group_of
from plancton.model import Status
from plancton.paths import Paths
from plancton.running_supervisors import holders
from plancton.status_reading import running

IDLE_TAKERS = frozenset({"boinc", "boinc_client", "condor_startd"})
OLD_PLANCTON = "planctonctl"
"""The one executable of Plancton 0.6."""


class Process(msgspec.Struct, frozen=True):
    """A process that uses idle CPU as well; ``group`` is its cgroup in the v2 tree."""

    pid: int
    name: str
    group: str = ""


class Supervisors(msgspec.Struct, frozen=True):
    """``pid`` and ``status`` are of the one that uses our paths; ``others`` are anybody's."""

    pid: int | None = None
    status: Status | None = None
    others: tuple[int, ...] = ()


class Command(NamedTuple):
    """A process's name and its command line; of a container's process only the name.

    Anyone may call a process anything. ``has_docker``: it can reach Docker, without which no
    Plancton does anything."""

    pid: int
    name: str
    words: list[str]
    has_docker: bool


def read_commands(proc: Path, socket: str) -> list[Command]:
    found = list[Command]()
    for entry in sorted(proc.glob("[0-9]*")):
        name = read_knob(entry / "comm")
        if name and entry.name.isdigit():
            pid = int(entry.name)
            found.append(Command(pid, name, command_of(proc, pid), _reaches(proc, pid, socket)))
    return found


def _reaches(proc: Path, pid: int, socket: str) -> bool:
    """Whether its user is root, or the socket's, or in the socket's group: those who started it, not
    those of a setuid program."""
    text = read_knob(proc / str(pid) / "status") or ""
    ids: dict[str, str] = dict(re.findall(r"^(Uid|Gid|Groups):[ \t]*([\d \t]*)$", text, re.MULTILINE))
    user, groups = ids.get("Uid", "").split()[:1], ids.get("Gid", "").split()[:1]
    try:
        found = os.stat(socket)
    except OSError:
        return user == ["0"]
    members = [*groups, *ids.get("Groups", "").split()]
    return user in (["0"], [str(found.st_uid)]) or str(found.st_gid) in members


def find_takers(commands: Iterable[Command], proc: Path) -> Iterator[Process]:
    """Others that lend idle CPU: BOINC, HTCondor's own startd, Plancton 0.6."""
    for pid, name, words, has_docker in commands:
        if has_docker and Path(_program(words)).name == OLD_PLANCTON:
            yield Process(pid, OLD_PLANCTON)
        elif name in IDLE_TAKERS and _is_executable(proc / str(pid), name, words):
            yield Process(pid, name, group_of(proc, pid) or "")


def _program(words: list[str]) -> str:
    """What a command line runs; of `python SCRIPT`, the script."""
    if not Path(words[0]).name.startswith("python"):
        return words[0]
    return next((word for word in words[1:] if not word.startswith("-")), "")


def _is_executable(process: Path, name: str, words: list[str]) -> bool:
    """Whether its executable has that name, not only the process, which may call itself anything."""
    try:
        path = os.readlink(process / "exe").removesuffix(" (deleted)")
    except OSError:  # another user's
        path = words[0] or name
    return Path(path).name == name


def find_supervisors(commands: Iterable[Command], paths: Paths, proc: Path = PROC) -> Supervisors:
    """The one that uses these paths, by its lock (its status may be unreadable), and all others:
    they hold a lock as well, and a dry run holds none."""
    status = running(paths)
    held = [status.pid] if status else holders(paths.state)
    named = {each.pid for each in commands if each.has_docker and _is_supervisor(each.words)}
    everywhere = named & _lockers(proc) if named else set()
    return Supervisors(held[0] if held else None, status, tuple(sorted(everywhere - set(held))))


def _is_supervisor(words: list[str]) -> bool:
    """Whether a supervisor is started by these words, or executed again."""
    if words[2:4] == ["-m", "plancton.daemon"]:
        return True
    program = _program(words)
    return Path(program).name == "plancton" and words[words.index(program) + 1 :][:1] == ["run"]


def _lockers(proc: Path) -> set[int]:
    """Who holds a whole file's lock for writing, as a supervisor does (proc_locks(5))."""
    lines = map(str.split, (read_knob(proc / "locks") or "").splitlines())
    return {int(words[4]) for words in lines if words[1:4:2] == ["FLOCK", "WRITE"] and words[4].isdecimal()}
