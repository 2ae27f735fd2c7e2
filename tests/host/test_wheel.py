"""The wheel on the host's own Python, which is newer than the one that it was built with."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import plancton


def test_the_wheel_runs_on_this_python() -> None:
    """These tests run a wheel for Python 3.11 and newer, and its C modules read this host."""
    found = distribution("plancton")
    assert "Tag: cp311-abi3-" in (found.read_text("WHEEL") or ""), "it is not installed from a wheel"
    assert Path(plancton.__file__) == Path(str(found.locate_file("plancton/__init__.py")))
    command = Path(sys.executable).with_name("plancton")
    done = subprocess.run(
        [command, "top", "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and '"owner"' in done.stdout, done
    print(f"the wheel runs on Python {sys.version.split()[0]}")
