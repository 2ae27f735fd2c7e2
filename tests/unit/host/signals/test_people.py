"""Who is logged in and when they last touched anything, by logind's files and answers."""

import os
from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.signals.people import Hint, idle_seconds, parse_hints, session_ids, terminal_inputs

NOW = 1_800_000_000.0


def session(kind: str = "user", state: str = "active", **more: str) -> str:
    lines = {"UID": "1000", "USER": "ann", "STATE": state, "CLASS": kind, **more}
    return "# This is private data. Do not parse.\n" + "".join(f"{k}={v}\n" for k, v in lines.items())


def test_sessions(tmp_path: Path) -> None:
    """People count, at this computer or far away; login screens, services and those who leave
    don't."""
    files = {
        "2": session(TYPE="wayland", REMOTE="0"),
        "5": session("user-early", TYPE="tty", REMOTE="1"),
        "c1": session("greeter"),
        "7": session("background"),
        "8": session("manager"),
        "9": session(state="closing"),
        "10": "",
        "2.ref": "",
    }
    tree(tmp_path, systemd={"sessions": files})
    assert session_ids(tmp_path) == ["2", "5"]


def test_nobody(tmp_path: Path) -> None:
    """Nobody is logged in; or it is unknown, because logind does not run."""
    assert session_ids(tmp_path) is None
    tree(tmp_path, systemd={"sessions": {}})
    assert session_ids(tmp_path) == []


SAID = """\
Id=2
Type=wayland
IdleHint=yes
IdleSinceHint=1799999400000000

Id=5
Type=tty
IdleHint=no
IdleSinceHint=1799999970000000

Id=6
Type=x11
"""


def test_what_logind_says() -> None:
    """A paragraph for each session; one without an answer is left out."""
    assert parse_hints(SAID) == [Hint("wayland", True, NOW - 600), Hint("tty", False, NOW - 30)]
    assert parse_hints("") == [] and parse_hints("Failed to connect\n") == []
    assert parse_hints("Type=x11\nIdleHint=no\nIdleSinceHint=many\n") == [Hint("x11", False, 0.0)]


@pytest.mark.parametrize(
    ("hints", "terminals", "expected"),
    [
        ([], [], None),
        ([], [NOW - 900, NOW - 40], 40),
        ([Hint("x11", True, NOW - 600)], [], 600),
        ([Hint("x11", True, NOW - 600)], [NOW - 20], 20),
        ([Hint("wayland", False, NOW - 600)], [NOW - 20], 0),
        ([Hint("x11", True, NOW - 600), Hint("wayland", False, 0)], [], 0),
        ([Hint("tty", False, NOW - 70)], [], 70),
        ([Hint("tty", False, 0)], [], None),
        ([], [NOW + 3600], 0),
    ],
    ids=[
        *("nothing tells", "terminals", "idle desktop", "and a terminal", "desktop in use", "two desktops"),
        *("console", "nothing known of it", "clock put back"),
    ],
)
def test_idle(hints: list[Hint], terminals: list[float], expected: float | None) -> None:
    """The latest input of anybody counts; a desktop that does not say that it is idle is in use."""
    assert idle_seconds(hints, terminals, NOW) == expected


def test_terminals(tmp_path: Path) -> None:
    """Consoles, serial lines and pseudo-terminals are looked at, and nothing else."""
    tree(tmp_path, {"tty": "", "tty1": "", "ttyS0": "", "null": ""}, pts={"0": "", "12": "", "ptmx": ""})
    for name, age in {"tty": 0, "tty1": 500, "ttyS0": 400, "null": 1, "pts/0": 70, "pts/12": 80}.items():
        os.utime(tmp_path / name, (NOW - age, NOW))
    assert sorted(NOW - atime for atime in terminal_inputs(tmp_path)) == [70, 80, 400, 500]
    assert terminal_inputs(tmp_path / "none") == []
