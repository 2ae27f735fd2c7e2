"""scripts/install as far as it goes without changing the host: what it refuses, in one line, exit
code 2."""

import subprocess
from pathlib import Path

import pytest
from install import SCRIPT

SHARE = Path(__file__).resolve().parents[2] / "plancton/share"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bogus"], "no option --bogus"),
        (["1.0", "1.1"], "one version: 1.0 or 1.1"),
        (["--wheel"], "--wheel needs a value"),
        (["--config", ""], "--config needs a value"),
        (["--wheel", "/none.whl"], "no such file"),
        (["--config", "/none.yaml"], "no such file"),
        (["1.0", "--wheel", str(SCRIPT)], "leave out 1.0"),
        (["--config", str(SCRIPT), "--config-repo", "file:///x"], "not both"),
        (["--ref", "main"], "of which repository?"),
        (["--purge"], "--uninstall"),
        (["--user", "root"], "not root"),
        (["--user", "0"], "letter"),
        (["--user", "a b"], "a-z"),
        (["--user", "$(id)"], "a-z"),
        (["--prefix", "opt"], "absolute"),
        (["--prefix", "/"], "--prefix"),
        (["--prefix", "/opt/../etc"], "/../"),
        (["--prefix", "/opt/a|b"], "only letters"),
    ],
)
def test_refused(arguments: list[str], words: str) -> None:
    """Bad options are refused before anything is examined or made."""
    done = subprocess.run(["sh", SCRIPT, *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("install: ") and words in line, line


def test_shell() -> None:
    """shellcheck finds no fault in the scripts, which are POSIX sh."""
    for script, but in (
        (SCRIPT, []),
        (SHARE / "plancton.start", []),
        (SHARE / "plancton.openrc", ["-eSC2034"]),
    ):
        done = subprocess.run(
            ["shellcheck", "--shell=sh", *but, script],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout
