"""Requests that can't be written."""

import errno
import os
from pathlib import Path

import pytest

from plancton import request_files
from plancton.paths import RunDirError
from plancton.request_files import request


def test_request_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no room for a request, the message does not send the user to sudo."""

    def full(path: Path, data: bytes, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(request_files, "replace_file", full)
    with pytest.raises(RunDirError, match=r"/stop: No space left .*; make room there, or .* SIGTERM"):
        request(tmp_path, "stop", "keep-workers")


def test_request_without_a_directory(tmp_path: Path) -> None:
    """If a request can't be written, the message says as which user to run."""
    with pytest.raises(RunDirError, match=r"none/stop: No such file .*; run this as the user that runs"):
        request(tmp_path / "none", "stop")
