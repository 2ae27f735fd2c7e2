"""What the kernel tells of files and of memory."""

import errno
import os
from pathlib import Path

import pytest

from plancton.files import replace_file
from plancton.host.notices import MEMORY_WAITS, FileNotices, pressure_trigger


@pytest.fixture
def watched(tmp_path: Path) -> FileNotices:
    return FileNotices([tmp_path / "drain", tmp_path / "stop"])


def test_files_of_these_names(tmp_path: Path, watched: FileNotices) -> None:
    """One that is made, replaced or removed is told of once; any other is not, and no reader is."""
    assert watched.complete and not watched.take()
    replace_file(tmp_path / "status.json", b"{}", 0o644)
    assert not watched.take()
    replace_file(tmp_path / "drain", b"", 0o644)
    assert watched.take() and not watched.take()
    for _ in range(10_000):
        assert (tmp_path / "drain").read_bytes() == b""
    assert not watched.take(), "readers wake the loop"
    (tmp_path / "drain").unlink()
    assert watched.take()
    (tmp_path / "stop").touch()
    assert watched.take()


def test_more_than_the_kernel_remembers(tmp_path: Path, watched: FileNotices) -> None:
    """When the kernel had to drop notices, one of these files may have been among them."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most // 3 + 2):  # each makes at least three: two are of one kind
        (tmp_path / f"other-{number}").write_text("x")
        (tmp_path / f"other-{number}").unlink()
    assert watched.take() and not watched.take()


def test_the_directory_is_removed(tmp_path: Path) -> None:
    """Another one in its place is not watched, and it says so."""
    directory = tmp_path / "run"
    directory.mkdir()
    found = FileNotices([directory / "drain"])
    directory.rmdir()
    assert found.take() and not found.complete
    found.close()


def test_no_watch_is_left(tmp_path: Path) -> None:
    """It says so when a directory can't be watched, and works for the others."""
    found = FileNotices([tmp_path / "drain", tmp_path / "missing" / "config.yaml"])
    assert not found.complete
    (tmp_path / "drain").touch()
    assert found.take()
    found.close()
    found.close()


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_memory_triggers(tmp_path: Path, refused: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel refuses a window, the next is tried; where it refuses all, there is none."""
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure/memory").touch()
    asked, write = list[bytes](), os.write

    def refuse(descriptor: int, text: bytes) -> int:
        asked.append(text)
        if len(asked) <= refused:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(descriptor, text)

    monkeypatch.setattr(os, "write", refuse)
    got = pressure_trigger(tmp_path / "pressure/memory", MEMORY_WAITS)
    assert (got is None) == (refused == 2), asked
    if got is not None:
        os.close(got)
    assert all(text.endswith(b"\0") for text in asked)


def test_no_pressure_figures(tmp_path: Path) -> None:
    """A kernel without PSI has no trigger."""
    assert pressure_trigger(tmp_path / "pressure/memory", MEMORY_WAITS) is None
