"""The play of scripts/quickstart, on the tests' own dockerd."""

import re
import subprocess
import sys
from pathlib import Path

from docker.harness import CPUS, Engine

ROOT = Path(__file__).resolve().parents[2]


def test_the_play(engine: Engine) -> None:
    """Workers soak up idle CPU, give way to the owner, come back, and leave nothing behind."""
    done = subprocess.run(
        [sys.executable, "-m", "play.one_host", engine.socket],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    kept, before, after = (float(n) for n in re.findall(r"(\d+\.\d)%", said))
    assert kept >= 95 and before >= 95 and after >= 95, said
    times = re.search(r"left (\d+) to (\d+) s after the load came and were back (\d+) s", said)
    assert times and int(times[2]) <= 25 and int(times[3]) <= 25, said
    assert said.count("exit code 0") >= CPUS and "killing" not in said, said
    assert "No container, process, network or cgroup is left behind" in said, said
    assert not engine.containers(), said
