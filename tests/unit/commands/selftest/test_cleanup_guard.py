"""A clean-up that happens whatever becomes of the process; each test uses a separate process."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.wait import wait_for

DEADLINE = 20.0
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from plancton.commands.selftest.cleanup_guard import clean_up_afterwards
from plancton.errors import PlanctonError

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup would have it ignored

def clean_up(orderly):
    if {refuse}:
        raise PlanctonError("can't be removed")
    Path(sys.argv[1]).write_text(str(orderly))

with clean_up_afterwards(clean_up, {seconds}):
    print("in", flush=True)
    {body}
print("out")
"""

KILL_THE_CHILD = """
    child = int(Path(f"/proc/self/task/{os.getpid()}/children").read_text())
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
"""


@contextmanager
def program(
    cleaned: Path, body: str, seconds: float = DEADLINE, refuse: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A process that has entered the block."""
    code = PROGRAM.format(body=body, seconds=seconds, refuse=refuse)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code, cleaned],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "in\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it wrote after it had entered the block, by its end; communicate would miss what
    readline has read ahead."""
    process.wait(DEADLINE)
    assert process.stdout and process.stderr
    return process.stdout.read(), process.stderr.read()


@pytest.fixture
def cleaned(tmp_path: Path) -> Path:
    return tmp_path / "cleaned"


def test_in_order(cleaned: Path) -> None:
    """After the block, everything is cleaned up."""
    with program(cleaned, "pass") as process:
        assert said(process) == ("out\n", "")
        assert (process.returncode, cleaned.read_text()) == (0, "True")


def test_after_an_exception(cleaned: Path) -> None:
    """An exception continues after the clean-up, which knows about it."""
    with program(cleaned, "raise SystemExit(7)") as process:
        assert said(process) == ("", "")
        assert (process.returncode, cleaned.read_text()) == (7, "False")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_after_death(cleaned: Path, number: signal.Signals) -> None:
    """If the process is killed, its child cleans up."""
    with program(cleaned, "time.sleep(60)") as process:
        process.send_signal(number)
        assert process.wait(DEADLINE) == -number
        wait_for("it is cleaned up", lambda: cleaned.exists() and cleaned.read_text() == "False")


def test_not_in_time(cleaned: Path) -> None:
    """A stopped process is ended, and what it held is released."""
    with program(cleaned, "time.sleep(60)", seconds=2.0) as process:
        process.send_signal(signal.SIGSTOP)
        assert process.wait(DEADLINE) == -signal.SIGKILL
        wait_for("it is cleaned up", lambda: cleaned.exists() and cleaned.read_text() == "False")
        assert process.stderr and "given up" in process.stderr.readline()


def test_clean_up_that_fails(cleaned: Path) -> None:
    """Leftovers are reported in one line; the work that was done is not lost."""
    with program(cleaned, "pass", refuse=True) as process:
        assert said(process) == ("out\n", "plancton: can't be removed\n")
        assert process.returncode == 0


def test_child_that_was_killed(cleaned: Path) -> None:
    """If its child was killed, the block ends as usual."""
    with program(cleaned, KILL_THE_CHILD) as process:
        assert said(process) == ("out\n", "")
        assert process.returncode == 0
