"""What a command says on terminals of any kind."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_encoding_without_such_a_character(encoding: str) -> None:
    """What the terminal's encoding does not have is a question mark, and never a traceback."""
    code = "from plancton.cli import stdout; stdout.guard(); print('– 3 × ☃ of 4')"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b""), done
    assert done.stdout == "– 3 × ☃ of 4\n".encode(encoding, "replace")
