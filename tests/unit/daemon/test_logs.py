"""A background supervisor's log, written by a process whose stderr it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plancton.commands.daemonize import start_in_background
from plancton.daemon.logs import open_log
from plancton.paths import Paths, RunDirError

WRITER = """
import logging, sys
from pathlib import Path
from plancton.commands.daemonize import start_in_background
from plancton.daemon.logs import LogFile
logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[LogFile(Path(sys.argv[1]), 1000)])
for number in range(int(sys.argv[2])):
    logging.info("line %d %s", number, "." * 80)
print("the last word", file=sys.stderr)
"""


def write(log: Path, count: int, path: Path | None = None) -> None:
    """Write this many lines of about 90 bytes to ``log``, which the writer believes to be
    ``path``."""
    descriptor = open_log(log)
    try:
        subprocess.run(
            [sys.executable, "-P", "-c", WRITER, path or log, str(count)],
            stdout=descriptor,
            stderr=descriptor,
            timeout=30,
            check=True,
        )
    finally:
        os.close(descriptor)


def numbers(log: Path) -> list[int]:
    return [int(line.split()[1]) for line in log.read_text().splitlines() if line.startswith("line ")]


def test_it_begins_again(tmp_path: Path) -> None:
    """A full log is kept until the next one is full; no line is lost in between or at the end."""
    log, kept = tmp_path / "plancton.log", tmp_path / "plancton.log.1"
    write(log, 5)
    assert numbers(log) == [0, 1, 2, 3, 4] and not kept.exists()
    log.unlink()
    write(log, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [log.name, kept.name]
    assert 1000 <= kept.stat().st_size < 1100 and log.stat().st_size < 1100
    both = numbers(kept) + numbers(log)
    assert both == list(range(both[0], 100)) and len(numbers(kept)) > 9
    assert log.read_text().endswith("the last word\n")


def test_it_was_moved(tmp_path: Path) -> None:
    """A log that somebody has moved is written to until it is full, then left as it is."""
    log, theirs = tmp_path / "plancton.log", tmp_path / "plancton.log-old"
    write(theirs, 15, log)
    assert theirs.stat().st_size >= 1000 and numbers(theirs) + numbers(log) == list(range(15))


def test_it_cannot_be_kept(tmp_path: Path) -> None:
    """A log that can't be renamed is emptied, so it is still bounded."""
    log = tmp_path / "plancton.log"
    (tmp_path / "plancton.log.1").mkdir()
    write(log, 100)
    assert log.stat().st_size < 1100 and numbers(log)[-1] == 99


def test_it_begins_again_at_the_start(tmp_path: Path) -> None:
    """An error at the start is reported even if it lands in a new log."""
    log = tmp_path / "plancton.log"
    log.write_text("." * 1000 + "\n")
    command = ["sh", "-c", 'mv "$0" "$0.1"; echo why >"$0"; exit 2', str(log)]
    assert start_in_background(command, Paths(tmp_path, tmp_path, tmp_path), log) == (2, "why")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in place of the log is not followed."""
    (tmp_path / "plancton.log").symlink_to(tmp_path / "precious")
    with pytest.raises(RunDirError, match=r"plancton.log: can't be written"):
        open_log(tmp_path / "plancton.log")
    write(tmp_path / "moved", 100, tmp_path / "plancton.log")
    assert not (tmp_path / "precious").exists()
    assert (tmp_path / "moved").stat().st_size < 1100
