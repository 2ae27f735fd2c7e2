"""status.json as others read it."""

import json
from pathlib import Path

import msgspec
import pytest
from unit.rundirs import status

from plancton.status_reading import read_status


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"version": "\xff"}',
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'{"version": 1}',
        msgspec.json.encode(status())[:-1],
        msgspec.json.encode(status()).replace(b'"kernel"', b'"other"'),
    ],
    ids=["empty", "binary", "latin", "other", "list", "deep", "type", "cut", "tier"],
)
def test_garbage_as_status(tmp_path: Path, data: bytes) -> None:
    """A malformed status.json, or one of another version, counts as none."""
    (tmp_path / "status.json").write_bytes(data)
    assert read_status(tmp_path) is None


def test_status_of_a_newer_version(tmp_path: Path) -> None:
    """An older `plancton status` can read a status with a newer Plancton's fields."""
    newer = {**msgspec.to_builtins(status()), "something": "new"}
    (tmp_path / "status.json").write_text(json.dumps(newer))
    assert read_status(tmp_path) == status()
