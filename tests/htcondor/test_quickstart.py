"""The play of scripts/quickstart --pool, on the tests' own dockerd."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine
from helpers.dictated_host import DictatedHost

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
ACTS = {"the owner needs the computer": CPUS, "the owner is done": 0}
"""What the play says, and how many CPUs the owner uses from then on: that load is the only one it
sees."""


def test_the_play(engine: Engine, host: DictatedHost, worker_image: str) -> None:
    """A user's twenty jobs are done, even those that the owner's load evicts, and nothing is left
    behind."""
    command = host.command(sys.executable, "-m", "play.with_pool", str(engine.socket))
    said = ""
    with subprocess.Popen(
        command, cwd=ROOT / "scripts", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as play:
        assert play.stdout
        for line in play.stdout:
            said += line
            for words, cpus in ACTS.items():
                if words in line:
                    host.owner = cpus
    assert play.returncode == 0, said
    assert re.search(r"^jobs done +20$", said, re.MULTILINE), said
    evicted = re.search(r"^jobs evicted +(\d+)$", said, re.MULTILINE)
    assert evicted and int(evicted[1]) >= 1, said
    went_on = re.search(r"^jobs that went on where they had been evicted +(\d+)$", said, re.MULTILINE)
    assert went_on and int(went_on[1]) >= 1, said
    assert re.search(r"job \S+ runs again, on plancton-worker-", said), said
    assert "the output of all jobs is right" in said, said
    assert "No container, process, network, volume or cgroup is left behind" in said, said
    assert not engine.containers(), said
