"""What `check` says of file systems below a worker's mounts."""

from pathlib import Path

import pytest

from plancton.config.load import parse
from plancton.docker.replies import Info
from plancton.workers.submounts import submount_warnings

OLD = Info(server_version="20.10.24", kernel_version="6.1.0")
NEW = Info(server_version="28.0.0", kernel_version="6.1.0")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "self").mkdir()
    lines = ["1 0 8:1 / / rw - ext4 /dev/sda rw", "2 1 8:2 / /data/more rw - ext4 /dev/sdb rw"]
    (tmp_path / "self/mountinfo").write_text("\n".join(lines))
    return tmp_path


def said(proc: Path, mount: str, info: Info = OLD) -> str:
    config = parse(f"worker: {{mounts: ['{mount}']}}", "FILE")
    return "\n".join(submount_warnings(config, info, proc))


def test_left_out(proc: Path) -> None:
    """With an older Docker, what is below a read-only mount is not in the workers."""
    assert "don't see /data/more" in said(proc, "/data:/data")


@pytest.mark.parametrize("options", ["ro,rslave", "ro,z"])
def test_writable(proc: Path, options: str) -> None:
    """Where a propagation or a label has it there all the same, jobs can write to it."""
    assert "can write to /data/more" in said(proc, f"/data:/data:{options}")


def test_nothing_to_say(proc: Path) -> None:
    """Nothing is said of a writable mount, of one with nothing below, and of a newer Docker."""
    assert said(proc, "/data:/data:rw") == said(proc, "/data/more:/data") == said(proc, "/srv:/data") == ""
    assert said(proc, "/data:/data", NEW) == ""
    assert said(proc / "missing", "/data:/data") == ""
