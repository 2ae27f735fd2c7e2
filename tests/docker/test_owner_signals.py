"""What the owner does on a real host, and what Plancton makes of it."""

import shutil
import subprocess
from pathlib import Path

import pytest
from docker.harness import IDLE, Plancton, wait_for

pytestmark = pytest.mark.docker

GAME = "plancton-game"
"""Its name has no more characters than the kernel keeps."""


def has_name(plancton: Plancton, container: str) -> bool:
    pids = (plancton.slice.tree / plancton.group(container) / "cgroup.procs").read_text().split()
    names = [comm.read_text() for pid in pids if (comm := Path(f"/proc/{pid}/comm")).exists()]
    return f"{GAME}\n" in names


@pytest.mark.slow
def test_a_game(plancton: Plancton, tmp_path: Path) -> None:
    """While the owner's game runs, workers leave and none is started. A worker's process of that name
    is no game."""
    plancton.calm(1)
    job = tmp_path / "job"
    job.mkdir()
    (job / GAME).write_text(f"#!/bin/sh\n{IDLE}\n")
    (job / GAME).chmod(0o755)
    plancton.configure(worker={"command": f"/job/{GAME}", "mounts": [f"{job}:/job"]})
    plancton.configure(owner={"leave_when": f'running("{GAME}")'})
    plancton.start()
    (container,) = plancton.full(1)
    wait_for("a worker calls itself a game", lambda: has_name(plancton, container))
    plancton.goes_on(12.0)
    assert plancton.ids() == {container}
    program = shutil.copy("/bin/sleep", tmp_path / GAME)
    with subprocess.Popen([program, "600"]) as game:
        try:
            plancton.empty()
            assert plancton.lines(f"{GAME} runs") and not plancton.lines("killing"), plancton.log
            starts = len(plancton.lines("starting"))
            plancton.goes_on()
            assert len(plancton.lines("starting")) == starts
        finally:
            game.kill()
    wait_for("another one is started", lambda: len(plancton.lines("starting")) > starts)
