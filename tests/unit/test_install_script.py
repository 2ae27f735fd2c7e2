"""scripts/install as far as it goes without changing the host: what it refuses, in one line, exit
code 2."""

import io
import os
import subprocess
import tarfile
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


def run_alone(
    tmp_path: Path, *arguments: str, prefix: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The script without its clone, called in a directory whose Python files leave a trace when they
    run."""
    script, poisoned = tmp_path / "alone/scripts/install", tmp_path / "poisoned"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_bytes(SCRIPT.read_bytes())
    poisoned.mkdir(exist_ok=True)
    for name in ("venv", "pip", "ensurepip", "sys", "plancton", "encodings"):
        (poisoned / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    return subprocess.run(
        ["sh", script, "--no-docker", "--no-start", "--prefix", tmp_path / "prefix", *arguments],
        capture_output=True, text=True, timeout=300, check=False, cwd=poisoned,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "wheels"},
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_directory_with_poisoned_modules(tmp_path: Path) -> None:
    """Called in a directory that holds a venv.py and a pip.py, it runs none of them; it comes as far
    as a version that no index has."""
    done = run_alone(tmp_path, "77.0")
    assert done.returncode == 2 and "plancton==77.0" in done.stderr, done
    assert (tmp_path / "prefix/bin/python").exists(), "it came no further than that"
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_no_version(tmp_path: Path) -> None:
    """Outside of a clone, without a version, it takes nothing from an index."""
    done = run_alone(tmp_path)
    assert done.returncode == 2 and "give a VERSION or --wheel" in done.stderr, done
    assert not (tmp_path / "prefix/bin").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_older_plancton_in_the_way(tmp_path: Path) -> None:
    """An older Plancton where this one would go is named, and nothing of it is touched."""
    (tmp_path / "prefix/bin").mkdir(parents=True)
    (tmp_path / "prefix/bin/planctonctl").write_text("0.5")
    done = run_alone(tmp_path, "77.0")
    assert done.returncode == 2 and "older Plancton" in done.stderr and "crontab" in done.stderr, done
    assert [path.name for path in (tmp_path / "prefix").rglob("*")] == ["bin", "planctonctl"]


NOEXEC = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
mount -t tmpfs -o noexec none /tmp
exec sh /mnt/scripts/install --no-docker --no-start --prefix /mnt/prefix --wheel /mnt/plancton-77.0.tar.gz
"""
BACKEND = """
import os, subprocess, tempfile, zipfile

def build_wheel(directory, settings=None, metadata=None):
    program = os.path.join(tempfile.mkdtemp(), "program")
    open(program, "w").write("#!/bin/sh\\n")
    os.chmod(program, 0o755)
    subprocess.check_call([program])
    with zipfile.ZipFile(os.path.join(directory, "plancton-77.0-py3-none-any.whl"), "w") as wheel:
        wheel.writestr("plancton/__init__.py", "__version__ = '77.0'\\ndef main(): pass\\n")
        wheel.writestr("plancton/commands/install/__main__.py", "print('it is installed')")
        info = "plancton-77.0.dist-info/"
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: plancton\\nVersion: 77.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(info + "entry_points.txt", "[console_scripts]\\nplancton = plancton:main\\n")
        wheel.writestr(info + "RECORD", "")
    return "plancton-77.0-py3-none-any.whl"
"""
"""Builds a Plancton that does nothing, and runs a program of its own for that, as compilers do."""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_tmp_without_programs(tmp_path: Path) -> None:
    """Where no program in /tmp may run (noexec), it installs all the same."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/install").write_bytes(SCRIPT.read_bytes())
    with tarfile.open(tmp_path / "plancton-77.0.tar.gz", "w:gz") as archive:
        for name, text in (("backend.py", BACKEND), ("pyproject.toml", PROJECT)):
            member = tarfile.TarInfo(f"plancton-77.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", NOEXEC, "sh", tmp_path],
        capture_output=True, text=True, timeout=300, check=False, cwd="/",
        env={**os.environ, "PIP_NO_INDEX": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "it is installed" in done.stdout, done
