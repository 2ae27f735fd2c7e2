"""scripts/parts.sh: what scripts/test runs beside each other."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.wait import wait_for

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[Path]:
    """The file with the pid of a child of the shell that stays, as its dockerd does."""
    pid = tmp_path / "dockerd"
    yield pid
    os.kill(int(pid.read_text()), signal.SIGKILL)


def shell(commands: str, directory: Path) -> subprocess.Popen[str]:
    script = f"""
        . '{SCRIPTS}/prepare.sh'
        . '{SCRIPTS}/parts.sh'
        trap end_parts EXIT
        trap 'exit 130' INT TERM
        sleep 1000 </dev/null >/dev/null 2>&1 &
        echo $! >dockerd
        {commands}
        """
    return subprocess.Popen(
        ["sh", "-c", script],
        cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True, env={**os.environ, "TMPDIR": str(directory)},
    )  # fmt: skip


def test_ends_with_its_parts(dockerd: Path, tmp_path: Path) -> None:
    """When every part has ended, so does the shell, whatever other children it has; what each part said
    and the names of those that failed are there."""
    process = shell(
        "begin good echo fine; begin bad sh -c 'echo wrong; exit 3'; finish_all; cat $logs/failed", tmp_path
    )
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert sorted(said.split("\n")) == ["", "bad", "fine", "wrong"], said
    assert [each.name for each in tmp_path.iterdir()] == ["dockerd"]


SLOW_TO_SAY = 'touch() { sleep 1; command touch "$@"; };'
"""A part has begun before it is known that it has."""


@pytest.mark.parametrize("before", ["", SLOW_TO_SAY], ids=["", "new"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted(name: str, before: str, dockerd: Path, tmp_path: Path) -> None:
    """A shell that is told to end interrupts its parts, lets them end in order, and ends itself."""
    endless = "trap 'echo in order; exit 1' INT; touch begun; while :; do sleep 0.1; done"
    process = shell(f'{before} begin long sh -c "{endless}"; finish_all', tmp_path)
    wait_for("a part that runs", lambda: (tmp_path / "begun").exists())
    process.send_signal(signal.Signals[name])
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "in order\n")
