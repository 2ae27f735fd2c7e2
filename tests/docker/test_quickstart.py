"""The play of scripts/quickstart, on the tests' own dockerd."""

import subprocess
import sys
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine
from helpers.dictated_host import DictatedHost

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def test_the_play(engine: Engine, host: DictatedHost) -> None:
    """Workers soak up idle CPU, give way to the owner, come back, and leave nothing behind.

    Its owner really loads the machine; Plancton sees of that what this test dictates.
    """
    command = host.command(sys.executable, "-u", "-m", "play.one_host", str(engine.socket))
    said = list[str]()
    with subprocess.Popen(
        command, cwd=ROOT / "scripts", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if "the owner needs the computer" in line:
                host.owner = CPUS
            if "the owner is done" in line:
                host.owner = 0
    text = "".join(said)
    assert process.returncode == 0, text
    assert text.count("exit code 0") >= CPUS and "killing" not in text, text
    assert "No container, process, network or cgroup is left behind" in text, text
    assert not engine.containers(), text
