"""The id of an installation."""

from pathlib import Path

import pytest
from unit.rundirs import mode

from plancton.instance import instance_id, peek_instance
from plancton.paths import RunDirError


def test_instance_is_stable(tmp_path: Path) -> None:
    """The id is created once, at random, and found again; peeking writes nothing."""
    state = tmp_path / "state"
    assert peek_instance(state) == "none" and not state.exists()
    made = instance_id(state)
    assert made == instance_id(state) == peek_instance(state) and len(made) == 12
    assert (mode(state), mode(state / "instance")) == (0o755, 0o644)
    assert instance_id(tmp_path / "other") != made


@pytest.mark.parametrize("data", [b"\xff\xfe", b"two\nlines", b"../x", b"x" * 100])
def test_instance_that_is_none(tmp_path: Path, data: bytes) -> None:
    """A malformed id is refused: silently making a new one would forget the existing workers."""
    (tmp_path / "instance").write_bytes(data)
    with pytest.raises(RunDirError, match=r"/instance: does not hold an instance id: restore it, or delete"):
        instance_id(tmp_path)
    peek_instance(tmp_path)


def test_empty_instance(tmp_path: Path) -> None:
    """An empty file, as a full disk leaves it, gets an id."""
    (tmp_path / "instance").write_text("\n")
    assert instance_id(tmp_path) == peek_instance(tmp_path) != "none"
