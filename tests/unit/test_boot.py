"""How the emulated host of tests/host is run, with a QEMU that is a script."""

import os
from pathlib import Path

import pytest
from host.machine import boot

QEMU = """#!/bin/sh
for argument; do
  case $argument in file:*/output) output=${argument#file:} ;; esac
done
say() { echo "$1" >>"$output"; }
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for programs that take the place of QEMU's."""
    for name in ("qemu-img", "mke2fs"):
        write(tmp_path / name, "#!/bin/sh\n")
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(boot, "CACHE", tmp_path)
    return tmp_path


def write(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


def run(host: Path, does: str) -> int:
    write(host / "qemu-system-x86_64", f"{QEMU}{does}\nexec sleep 60\n")
    return boot.run(host / "made", host / "project", ["true"])


def test_exit_code(host: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The command's output and exit code are its own."""
    assert run(host, "say one; say '@@ exit=3'") == 3
    assert capfd.readouterr().out == "one\n"


@pytest.mark.parametrize(
    ("does", "silent"),
    [
        ("exit 1", True),
        ("exit 0", True),
        ("say one; exit 0", False),
        ("say one; kill -9 $$", False),
        ("kill -9 $$", False),
    ],
)
def test_host_that_dies(host: Path, does: str, silent: bool) -> None:
    """Only a host that ends by itself before it has said anything may have a broken state, and is
    made again."""
    with pytest.raises(boot.Died) as died:
        run(host, does)
    assert died.value.silent == silent, str(died.value)


def test_host_that_takes_too_long(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that hangs may have a broken state if it has said nothing."""
    monkeypatch.setattr(boot, "RUN_SECONDS", 0.5)
    for does, silent in (("exec sleep 60", True), ("say one; exec sleep 60", False)):
        with pytest.raises(boot.Died) as died:
            run(host, does)
        assert died.value.silent == silent, does
