"""scripts/install as far as it goes without changing the host: what it refuses, in one line, exit
code 2."""

import io
import os
import re
import subprocess
import tarfile
from itertools import chain
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
        (["--bundle", "/none.tar.gz"], "no such file"),
        (["1.0", "--bundle", str(SCRIPT)], "leave out 1.0"),
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


def test_where_it_is() -> None:
    """A script finds its own files, though CDPATH has `cd` say where it went, or even go elsewhere.
    Those that nobody types are called by their whole path."""
    root, found = SCRIPT.parents[1], set[str]()
    places = (root.glob(each) for each in ("scripts/*", "scripts/*-package/*", "examples/**/*"))
    for script in filter(Path.is_file, chain(*places)):
        for line in re.findall(rb'^.*\bcd "\$\(dirname "\$0"\).*$', script.read_bytes(), re.MULTILINE):
            code = line + b'\nprintf %s "${here:-${clone:-${project:-$PWD}}}"'
            done = subprocess.run(
                ["sh", "-c", code, script.relative_to(root)],
                capture_output=True, text=True, timeout=30, check=True, cwd=root,
                env={**os.environ, "CDPATH": "."},
            )  # fmt: skip
            assert Path(done.stdout) in (root, script.parent), (script, done.stdout)
            found.add(script.name)
    assert "install" in found


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


def make_bundle(tmp_path: Path, command: str, machine: str = os.uname().machine) -> Path:
    """A bundle whose every program is this line of sh."""
    made = tmp_path / "bundle.tar.gz"
    with tarfile.open(made, "w:gz") as archive:
        top = f"plancton-1.0-{machine}"
        directory = tarfile.TarInfo(top)
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
        for name in ("plancton", "planctonctl", "python"):
            member = tarfile.TarInfo(f"{top}/bin/{name}")
            data = f"#!/bin/sh\n{command}\n".encode()
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("exit 127", "needs glibc, which this host does not have"),
        ("echo \"libc.so.6: version 'GLIBC_2.29' not found\" >&2; exit 1", "glibc 2.31 or newer"),
        ("echo what; exit 1", "does not run on this host"),
    ],
)
def test_bundle_that_does_not_run(tmp_path: Path, command: str, words: str) -> None:
    """Where a bundle can't run, one line says what the host lacks, and nothing of the bundle stays."""
    done = run_alone(tmp_path, "--bundle", str(make_bundle(tmp_path, command)))
    assert done.returncode == 2 and words in done.stderr, done
    assert [path.name for path in (tmp_path / "prefix").rglob("*")] == ["installed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_bundle_that_is_none(tmp_path: Path) -> None:
    """A bundle for another processor, a truncated one and any other file are refused before anything
    is made."""
    whole = make_bundle(tmp_path, "true").read_bytes()
    other = make_bundle(tmp_path, "true", machine="s390x")
    truncated, text = tmp_path / "truncated.tar.gz", tmp_path / "text.tar.gz"
    truncated.write_bytes(whole[:-20])
    text.write_text("no archive")
    for file, words in (
        (other, "is for s390x"),
        (truncated, "is truncated or damaged"),
        (text, "is no bundle"),
    ):
        done = run_alone(tmp_path, "--bundle", str(file))
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2 and line.startswith(f"install: {file}: {words}"), done
        assert not (tmp_path / "prefix").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can install")
def test_bundle_and_pip_in_one_prefix(tmp_path: Path) -> None:
    """What pip has installed, no bundle replaces, nor the other way round; a newer bundle replaces an
    older one, which goes when nothing runs from it."""
    prefix = tmp_path / "prefix"
    done = run_alone(tmp_path, "--bundle", str(make_bundle(tmp_path, "echo 1.0")))
    assert done.returncode == 0 and f"+ plancton 1.0 in {prefix}" in done.stdout, done
    done = run_alone(tmp_path, "--bundle", str(make_bundle(tmp_path, "echo 1.1")))
    assert done.returncode == 0 and "(was plancton 1.0)" in done.stdout, done
    (only,) = prefix.glob("bundle-*")
    assert (prefix / "bin/python").resolve() == only / "bin/python"
    done = run_alone(tmp_path, "77.0")
    assert done.returncode == 2 and "a bundle is installed" in done.stderr, done
    (prefix / "bin/python").unlink()
    (prefix / "pyvenv.cfg").touch()
    done = run_alone(tmp_path, "--bundle", str(make_bundle(tmp_path, "echo 1.2")))
    assert done.returncode == 2 and "pip installed the Plancton" in done.stderr, done
