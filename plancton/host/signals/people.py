"""Who is logged in, and when they last touched a keyboard or a mouse.

Sessions are logind's (or elogind's), from the files that sd-login(3) reads. A graphical session's
input is known to its desktop only, which tells logind that it is idle (IdleHint), most of them
after five minutes; a session on a terminal is as idle as that terminal, by its atime.
"""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from plancton.files import read_knob
from plancton.host.signals.programs import output_of

TERMINALS = {"": re.compile(r"(tty|ttyS|ttyAMA|hvc)\d+"), "pts": re.compile(r"\d+")}
"""Which files of these directories in /dev: consoles, serial lines, pseudo-terminals."""
GRAPHICAL = frozenset({"x11", "wayland", "mir", "web"})
PROPERTIES = ("Id", "Type", "IdleHint", "IdleSinceHint")
MOST = 500
"""Sessions that are looked at."""


class Hint(NamedTuple):
    """What logind says of a session: since when it is idle (Unix time; 0: never used)."""

    kind: str
    idle: bool
    since: float


def session_ids(run: Path) -> list[str] | None:
    """People's sessions, local and remote, without those of services (cron), login screens and such;
    None where logind does not run."""
    try:
        names = [name for name in os.listdir(run / "systemd/sessions") if "." not in name]
    except OSError:
        return None
    return [name for name in sorted(names)[:MOST] if _is_somebodys(run / "systemd/sessions" / name)]


def _is_somebodys(file: Path) -> bool:
    keys = dict(re.findall(r"^(\w+)=(.*)$", read_knob(file) or "", re.MULTILINE))
    return keys.get("CLASS", "").startswith("user") and keys.get("STATE") != "closing"


def ask_logind(ids: Iterable[str]) -> list[Hint] | None:
    """What it says of these sessions; None if it does not answer. This may wait for a second."""
    said = output_of(["loginctl", "show-session", *(f"-p{name}" for name in PROPERTIES), *ids])
    return None if said is None else parse_hints(said)


def parse_hints(text: str) -> list[Hint]:
    """What loginctl prints, a paragraph for each session."""
    found = []
    for paragraph in text.split("\n\n"):
        keys = dict(re.findall(r"^(\w+)=(.*)$", paragraph, re.MULTILINE))
        since = keys.get("IdleSinceHint", "")
        if keys.get("IdleHint") in ("yes", "no"):
            seconds = int(since) / 1e6 if re.fullmatch(r"\d{1,18}", since, re.ASCII) else 0.0
            found.append(Hint(keys.get("Type", ""), keys["IdleHint"] == "yes", seconds))
    return found


def idle_seconds(hints: list[Hint], terminals: Iterable[float], wall: float) -> float | None:
    """Seconds since the last input, ``wall`` being the time now; None where nothing tells."""
    last = list(terminals)
    for hint in hints:
        if hint.kind in GRAPHICAL and not hint.idle:
            return 0.0  # its desktop says when it has become idle, not when a key was pressed
        if hint.since:
            last.append(hint.since)
    return max(0.0, wall - max(last)) if last else None


def terminal_inputs(dev: Path) -> list[float]:
    """When something was last typed on each terminal (Unix times): what is typed changes its atime
    (tty_update_time in drivers/tty/tty_io.c), to eight seconds."""
    found = list[float]()
    for directory, pattern in TERMINALS.items():
        for name in filter(pattern.fullmatch, _names(dev / directory)):
            with contextlib.suppress(OSError):  # it has just gone
                found.append(os.stat(f"{dev}/{directory}/{name}").st_atime)
    return found


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []
