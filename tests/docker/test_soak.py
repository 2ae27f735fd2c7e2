"""scripts/soak works: a supervisor is disturbed and watched, and nothing is left of it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SOAK = Path(__file__).parents[2] / "scripts" / "soak"


@pytest.fixture
def short_path() -> Iterator[Path]:
    """The path of a socket has at most 107 characters, and pytest's directories are deep ones."""
    with TemporaryDirectory(prefix="plancton-test-") as directory:
        yield Path(directory)


@pytest.mark.slow
def test_soak(short_path: Path) -> None:
    """In half a minute, with its one trouble of Docker's, each figure is there next to its budget,
    and the exit code says whether all fit. What they are after so short a time says nothing."""
    command: list[str | Path] = [sys.executable, SOAK, "30"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR": str(short_path)},
    )
    lines = [line for line in done.stdout.splitlines() if " budget " in line]
    assert done.returncode in (0, 1) and len(lines) == 6, (done.stdout, done.stderr)
    assert (done.returncode == 1) == any(line.endswith("OVER") for line in lines), done.stdout
    left = [path.name for path in short_path.iterdir() if not path.name.startswith("plancton-soak-log-")]
    assert not left
