"""The configuration in force, while its file and this host's permission change."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from plancton.config import load, repository_limits
from plancton.config.clone import MARK, TREE, write_files
from plancton.config.watch import ConfigFile
from plancton.errors import PlanctonError


def put(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


def test_permission_given_and_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of allow.yaml alone counts at once, and what it no longer permits is reported."""
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid())
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / MARK).write_text("{}")
    write_files(tmp_path / TREE, [])
    path, allow = tmp_path / "config.yaml", tmp_path / "allow.yaml"
    put(path, "worker: {privileged: true}")
    with pytest.raises(PlanctonError, match=r"worker\.privileged"):
        ConfigFile(path, missing_ok=False)
    put(allow, "privileged: true")
    file = ConfigFile(path, missing_ok=False)
    assert not file.changed()
    put(allow, "privileged: false")
    assert not file.changed()
    assert "worker.privileged: needs `privileged: true`" in file.problem
    assert file.problem.endswith("(the last good configuration stays in force)")
    put(allow, "privileged: true")
    assert not file.changed()
    assert file.problem == ""
    allow.chmod(0o666)
    file.changed()
    assert "which does not count" in file.problem


def test_a_linked_file(tmp_path: Path) -> None:
    """A change behind a link is none of the watched directories'."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real/config.yaml").touch()
    assert not ConfigFile(tmp_path.resolve() / "real/config.yaml", missing_ok=False).is_linked
    (tmp_path / "linked").symlink_to("real")
    assert ConfigFile(tmp_path / "linked/config.yaml", missing_ok=False).is_linked


def test_a_file_that_could_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A change that can't be read just now is said once, and is in force as soon as it can be read."""
    path = tmp_path / "config.yaml"
    put(path, "worker: {cpus: 1}")
    file = ConfigFile(path, missing_ok=False)
    put(path, "worker: {cpus: 2}")

    def fails(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as lacking:
        lacking.setattr(load, "read_regular", fails)
        assert not file.changed() and not file.changed()
    assert "Too many open files" in file.problem and caplog.text.count("Too many open files") == 1
    assert file.changed() and file.problem == "" and file.config.worker.cpus == 2.0


def test_a_file_that_becomes_a_link(tmp_path: Path) -> None:
    """A file that a repository's takes the place of is watched as the link that it is from then on."""
    path = tmp_path.resolve() / "config.yaml"
    path.touch()
    file = ConfigFile(path, missing_ok=False)
    path.unlink()
    put(tmp_path / "real.yaml", "worker: {cpus: 2}")
    path.symlink_to("real.yaml")
    assert file.changed() and file.is_linked


def test_a_wrong_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong in a file stays wrong until the file changes: nobody pays for it at each tick."""
    path = tmp_path / "config.yaml"
    put(path, "worker: {cpus: 1}")
    file = ConfigFile(path, missing_ok=False)
    put(path, "worker: {cpus: many}")
    assert not file.changed() and "worker.cpus" in file.problem
    monkeypatch.setattr(load, "read_regular", lambda *_, **__: pytest.fail("it was read again"))
    assert not file.changed() and "worker.cpus" in file.problem
