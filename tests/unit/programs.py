"""Running other programs, which must succeed."""

import os
import subprocess
from pathlib import Path


def call(*command: str | Path, **environ: str) -> str:
    """Run it and return its output; a failure shows all of it."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1", **environ},
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
