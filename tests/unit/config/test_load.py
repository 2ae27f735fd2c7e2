"""Reading a configuration: which files are accepted, and what is said about the others."""

import os
import signal
from pathlib import Path

import pytest

from plancton.config.load import load_config
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config


def test_no_file(tmp_path: Path) -> None:
    """A missing file is an error that mentions init if it was named, and the defaults if not."""
    path = tmp_path / "none.yaml"
    with pytest.raises(
        ConfigError, match=r"none\.yaml: no such file; `plancton init .*none\.yaml` writes one$"
    ):
        load_config(path)
    assert load_config(path, missing_ok=True) == Config()


def test_empty_file(tmp_path: Path) -> None:
    """An empty file, only comments, or empty sections mean the defaults."""
    path = tmp_path / "config.yaml"
    for text in ("", "# nothing\n", "worker:\npool:\n", "\ufeffpool: {}\r\n"):
        path.write_text(text)
        assert load_config(path) == Config(), f"seen with {text!r}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00binary", "is not UTF-8 text"),
        ("user: é".encode("latin-1"), "is not UTF-8 text"),
        (b"#" * 300_000, "is longer than 256 KiB"),
    ],
)
def test_file_that_is_no_text(tmp_path: Path, data: bytes, words: str) -> None:
    """Binary and huge files are refused by name, without parsing."""
    path = tmp_path / "my config.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=rf"my config\.yaml: .*{words}"):
        load_config(path)


def test_no_regular_file(tmp_path: Path) -> None:
    """A directory, a device and a pipe are refused at once: a pipe without a writer must not
    block."""
    os.mkfifo(tmp_path / "pipe")
    signal.alarm(20)
    try:
        for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(ConfigError, match="is not a regular file"):
                load_config(path)
    finally:
        signal.alarm(0)
    with pytest.raises(ConfigError, match="Not a directory"):
        load_config(tmp_path / "pipe" / "x")


def test_name_with_a_line_break(tmp_path: Path) -> None:
    """Line breaks and escape sequences in a path do not reach the message."""
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "a\nb\x1b[31m.yaml")
    assert str(caught.value).isprintable(), f"seen: {caught.value!r}"
