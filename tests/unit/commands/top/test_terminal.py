"""`plancton top` on a real pseudo-terminal: keys, resizing, and that the shell gets its terminal
back.

A small shell (SHELL below) leads the terminal's session and runs top in the foreground, because
Ctrl-Z and Ctrl-C mean something only there.
"""

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from plancton.commands.top.terminal import (
    BACKSPACE,
    DOWN,
    ENTER,
    ESCAPE,
    PAGE_DOWN,
    PAGE_UP,
    RESTORE,
    UP,
    Click,
    Event,
    keys_in,
)

ROOT = Path(__file__).resolve().parents[4]
DEADLINE = 60.0

TOP = """
import os, sys, time
from rich.console import Console
from plancton.model import Phase, Status, WorkerStatus
from plancton.commands.top.app import Sources, run_top

interval, what = float(sys.argv[1]), sys.argv[2]
reads = 0

def read():
    global reads
    reads += 1
    if what == "fails" and reads > 1:
        raise RuntimeError("no luck")
    one = WorkerStatus("worker", "1", Phase.RUNNING, 1.0, 2 * 10**9, age=60.0, cpu=0.5)
    said = ("donating", "All is well.", "nothing to do", "kernel", "idle class", "plancton.slice")
    return Status("1", 1, "i", time.time(), *said, 8.0, 6, workers=(one,) * 300)

sources = Sources(read, lambda days: None, lambda: ())
run_top(sources, None, lambda what: f"asked: {what}", Console(), interval, int(what == "once"))
"""

SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = subprocess.Popen(sys.argv[1:], process_group=0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.tcsetpgrp(0, child.pid)
os.kill(child.pid, signal.SIGCONT)
print(f"[pid {child.pid}]", flush=True)
while True:
    _, status = os.waitpid(child.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpid())
    print("[stopped]", flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, child.pid)
    os.kill(child.pid, signal.SIGCONT)
print(f"[ended {os.waitstatus_to_exitcode(status)}]", flush=True)
"""


class Session:
    """A terminal that runs top."""

    def __init__(self, *args: str, shell: bool = True, size: tuple[int, int] = (80, 24), **env: str) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(*size)
        self.modes = termios.tcgetattr(self.slave)
        top = [sys.executable, "-P", "-c", TOP, *(args or ("0.2", "works"))]
        lead = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        command = [sys.executable, "-P", "-c", SHELL, *top] if shell else [*top[:3], lead + TOP, *top[4:]]
        self.leader = subprocess.Popen(
            command,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "LANG": "C.UTF-8", **env},
        )
        self.output = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, seen: str | Callable[[str], Any], what: str = "") -> str:
        """What was written until it contains the text (or passes the test)."""
        done = seen if callable(seen) else lambda text: seen in text
        end = time.monotonic() + DEADLINE
        while not done(self.output):
            left = end - time.monotonic()
            assert left > 0, (
                f"no {what or seen!r} within {DEADLINE} s; the end of the output: {self.output[-1500:]!r}"
            )
            if select.select([self.master], [], [], left)[0]:
                self.output += os.read(self.master, 65536).decode("utf-8", "replace")
        return self.output

    def forget(self) -> None:
        self.output = ""

    def pid(self) -> int:
        found = re.search(r"\[pid (\d+)\]", self.until("[pid "))
        assert found, self.output
        return int(found[1])

    def until_shown(self) -> None:
        self.until("help", "footer")

    def until_ended(self, code: int) -> None:
        """It exited with this code, and the terminal is as before."""
        output = self.until(lambda text: re.search(r"\[ended -?\d+\]", text), "end")
        assert f"[ended {code}]" in output, output[-1500:]
        assert output.index(RESTORE) < output.index("[ended"), "the screen was not restored"
        assert termios.tcgetattr(self.slave) == self.modes, "the terminal's modes were not restored"
        assert self.leader.wait(DEADLINE) == 0

    def close(self) -> None:
        self.leader.kill()
        self.leader.wait(DEADLINE)
        for fd in (self.master, self.slave):
            try:
                os.close(fd)
            except OSError as error:  # some tests close them
                assert error.errno == errno.EBADF


@pytest.fixture
def session() -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def start(*args: str, **options: Any) -> Session:
        sessions.append(Session(*args, **options))
        return sessions[-1]

    yield start
    for one in sessions:
        one.close()


Start = Callable[..., Session]
SGR = re.compile(r"\x1b\[[0-9;]*m")


def shows(seen: str, output: str) -> bool:
    return seen in SGR.sub("", output)


def picture(output: str) -> dict[int, str]:
    """The lines on the screen, from the last time it was cleared."""
    lines: dict[int, str] = {}
    for row, text in re.findall(
        r"\x1b\[(\d+);1H([^\x1b]*(?:\x1b\[[0-9;]*m[^\x1b]*)*)", output.split("\x1b[2J")[-1]
    ):
        lines[int(row)] = SGR.sub("", text)
    return lines


def test_draws_and_quits(session: Start) -> None:
    """A frame on the alternate screen, the footer in the last line; q ends it and restores the
    terminal."""
    one = session()
    one.until_shown()
    assert "\x1b[?1049h" in one.output, "not on the alternate screen"
    lines = picture(one.output)
    assert max(lines) == 24 and lines[24].lstrip().startswith("q quit"), lines
    one.press("q")
    one.until_ended(0)


def test_keys_work_at_once(session: Start) -> None:
    """Even if it refreshes every 1000 s, keys take effect at once."""
    one = session("1000", "works")
    one.until_shown()
    one.press("s")
    one.until("CPU %▼")
    one.press("r")
    one.until("CPU %▲")
    one.press("?")
    one.until("waits for CPU")
    one.forget()
    one.press("?")
    one.until("more")
    one.press("d")
    one.until("asked: drain")
    one.press("q")
    one.until_ended(0)


def test_arrow_keys_are_not_letters(session: Start) -> None:
    """Escape sequences do nothing, whatever letters they contain."""
    one = session("1000", "works")
    one.until_shown()
    one.press("\x1b[A\x1bOs\x1b[1;2q")
    one.press("r")
    one.until("AGE▲")
    assert "CPU %▼" not in SGR.sub("", one.output), one.output[-500:]
    one.press("q")
    one.until_ended(0)


def test_pages_by_keys(session: Start) -> None:
    """Arrows and Enter show a worker, h the history, e the events, / a filter; Esc goes back."""
    one = session("1000", "works")
    one.until_shown()
    for keys, seen in (
        ("\x1b[B\r", "cgroup"),
        ("\x1b", "more"),
        ("h", "reading it"),
        ("e", "newest first"),
        ("\x1b", "more"),
        ("/q", "none of the workers"),
        ("\r", "/ filter"),
    ):
        one.forget()
        one.press(keys)
        one.until(partial(shows, seen), seen)
    one.press("q")
    one.until_ended(0)


def test_mouse(session: Start) -> None:
    """Two clicks on a worker show it; the terminal stops telling of clicks at the end."""
    one = session("1000", "works")
    one.until_shown()
    assert "\x1b[?1000h" in one.output
    line = next(line for line, text in picture(one.output).items() if text.lstrip().startswith("worker "))
    one.press(f"\x1b[<0;5;{line}M\x1b[<0;5;{line}m" * 2)
    one.until("cgroup")
    one.press("q")
    one.until_ended(0)
    assert "\x1b[?1000l" in RESTORE


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("ab", ["a", "b"]),
        ("\x1b[A\x1bOB\x1b[5~\x1b[6~", [UP, DOWN, PAGE_UP, PAGE_DOWN]),
        ("\x1b", [ESCAPE]),
        ("\r\x7f", [ENTER, BACKSPACE]),
        ("\x1bq\x1b[1;2A\x1b[", []),
        ("\x1b[<0;7;3M\x1b[<0;7;3m", [Click(2, 6)]),
        ("\x1b[<64;7;3M\x1b[<65;7;3M\x1b[<2;7;3M", [UP, DOWN]),
        ("\x1b[<0;99999999999;3M\x1b[<;;M", []),
    ],
)
def test_keys_by_name(text: str, events: list[Event]) -> None:
    """Keys and clicks are known by what terminals send for them; of what is unknown, nothing is
    taken for a letter."""
    assert keys_in(text) == events


def test_follows_the_size(session: Start) -> None:
    """Resized, it is redrawn at once and fills the new size, larger and smaller."""
    one = session("1000", "works")
    one.until_shown()
    for width, height in ((120, 40), (60, 10)):
        one.forget()
        one.resize(width, height)
        one.until(f"\x1b[{height};1H", f"the last line at {width}x{height}")
        one.until("help")
        lines = picture(one.output)
        assert max(lines) == height and "quit" in lines[height], lines
        assert all(len(line) < width for line in lines.values()), lines
    one.press("q")
    one.until_ended(0)


def test_ctrl_c_ends_it(session: Start) -> None:
    """Ctrl-C is a way to quit, without a traceback."""
    one = session()
    one.until_shown()
    one.press("\x03")
    one.until_ended(0)
    assert "Traceback" not in one.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_signal_restores_the_terminal(session: Start, number: int) -> None:
    """Killed by a signal, it cleans up and then dies of the same signal."""
    one = session()
    pid = one.pid()
    one.until_shown()
    os.kill(pid, number)
    one.until_ended(-number)


def test_ctrl_z_gives_the_terminal_back(session: Start) -> None:
    """When stopped, the shell has its screen and line editing; when continued, top and its keys are
    back."""
    one = session("1000", "works")
    one.until_shown()
    one.forget()
    one.press("\x1a")
    output = one.until("[stopped]")
    assert RESTORE in output, "the screen was not restored"
    assert termios.tcgetattr(one.slave) == one.modes, "the terminal's modes were not restored"
    one.forget()
    one.press("\n")
    one.until(lambda text: "\x1b[?1049h" in text and 24 in picture(text), "the screen again")
    one.press("s")
    one.until("CPU %▼")
    one.press("q")
    one.until_ended(0)


def test_an_exception_restores_the_terminal(session: Start) -> None:
    """An error's traceback is readable, on the restored normal screen."""
    one = session("0.1", "fails")
    one.until_ended(1)
    assert one.output.index(RESTORE) < one.output.index("RuntimeError: no luck"), one.output[-1500:]


def test_ends_quietly_when_the_terminal_vanishes(session: Start) -> None:
    """A closed window ends it, silently and with success."""
    one = session("0.05", "works", shell=False)
    one.until_shown()
    os.close(one.slave)
    os.close(one.master)
    assert one.leader.wait(DEADLINE) == 0


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {}], ids=["NO_COLOR", "colours"])
def test_no_color(session: Start, env: dict[str, str]) -> None:
    """NO_COLOR leaves bold and dim, but no colour."""
    one = session(**env)
    one.until_shown()
    colours = re.findall(r"\x1b\[[0-9;]*(?:3[0-8]|9[0-7])[;0-9]*m", one.output)
    assert bool(colours) == (not env), colours[:5]
    one.press("q")
    one.until_ended(0)


@pytest.mark.parametrize(("args", "env"), [(("1", "works"), {"TERM": "dumb"}), (("1", "once"), {})])
def test_one_screen_on_a_dumb_terminal_or_when_asked(
    session: Start, args: tuple[str, str], env: dict[str, str]
) -> None:
    """No cursor movement and no keys if the terminal has none, or with --once."""
    one = session(*args, **env)
    output = one.until("[ended 0]")
    assert "All is well." in output and "… and " in output, output
    assert "\x1b[?" not in output and "H\x1b" not in output and "q quit" not in output, repr(output)


@pytest.mark.parametrize("env", [{}, {"FORCE_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_a_pipe_gets_one_screen(env: dict[str, str]) -> None:
    """Into a pipe it prints once and moves no cursor, whatever the colour settings and encoding."""
    clean = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "PYTHONIOENCODING")}
    done = subprocess.run(
        [sys.executable, "-P", "-c", TOP, "1", "works"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        timeout=DEADLINE,
        env={**clean, **env},
    )
    assert (done.returncode, done.stderr) == (0, b""), done
    assert b"All is well." in done.stdout and b"\x1b[?" not in done.stdout, done.stdout[:500]
    assert done.stdout.isascii() == ("PYTHONIOENCODING" in env), done.stdout[:500]
    assert (b"\x1b[" in done.stdout) == ("FORCE_COLOR" in env), done.stdout[:500]
