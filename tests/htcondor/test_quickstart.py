"""The play of scripts/quickstart --pool, on the tests' own dockerd."""

import re
import subprocess
import sys
from pathlib import Path

from docker.harness import Engine

ROOT = Path(__file__).resolve().parents[2]


def test_the_play(engine: Engine, worker_image: str) -> None:
    """A user's twenty jobs are done, even those that the owner's load evicts, and nothing is left behind."""
    done = subprocess.run(
        [sys.executable, "-m", "play.with_pool", engine.socket],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    said = done.stdout + done.stderr
    print(said)
    assert done.returncode == 0, said
    assert re.search(r"^jobs done +20$", said, re.MULTILINE), said
    evicted = re.search(r"^jobs evicted +(\d+)$", said, re.MULTILINE)
    assert evicted and int(evicted[1]) >= 1, said
    assert re.search(r"job \S+ runs again, on plancton-worker-", said), said
    assert "the output of all jobs is right" in said, said
    assert "No container, process, network, volume or cgroup is left behind" in said, said
    assert not engine.containers(), said
