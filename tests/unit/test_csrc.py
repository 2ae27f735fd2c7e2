"""The C on its own: scripts/check-c builds it with sanitizers and feeds it mutated texts."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "scripts" / "check-c"


@pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("valgrind"), reason="needs gcc and valgrind")
def test_c_is_clean_under_analyzer_sanitizers_and_valgrind() -> None:
    """No warning, no analyzer finding, and no misuse of memory on mutated texts."""
    done = subprocess.run([CHECK, "100000"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"scripts/check-c ended with {done.returncode}:\n{done.stdout}{done.stderr}"
