"""Small files: what is written can always be read again."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from plancton.files import from_json, replace_file, replace_named_file, set_mode, to_json
from plancton.model import Event, Status, Tier, WorkerStatus

HALF = b"/sys/fs/cgroup/\xff".decode(errors="surrogateescape")


def test_json_of_half_a_character() -> None:
    """A path that is not UTF-8 costs a character of the status, not the supervisor."""
    worker = WorkerStatus("w", "1", "running", 1.0, 1, cgroup=HALF)  # type: ignore[arg-type]
    status = Status(
        "1", 1, "i", 1.0, "donating", HALF, HALF, "kernel", HALF, HALF, 2.0, 1,
        workers=(worker,), events=(Event(1.0, HALF),), problems=(HALF,),
    )  # fmt: skip
    read = msgspec.json.decode(to_json(status), type=Status)
    assert read.workers[0].cgroup == read.problems[0] == "/sys/fs/cgroup/?", read
    assert read.capacity == 2.0, read


def test_json_in_json() -> None:
    """What is JSON already is taken as it is, also beside half of a character."""
    part = msgspec.Raw(b'[{"b":1}]')
    assert to_json({"a": part}) == b'{"a":[{"b":1}]}'
    assert msgspec.json.decode(to_json({"a": part, "c": "\udc80"})) == {"a": [{"b": 1}], "c": "?"}


def test_mode_whatever_the_umask(tmp_path: Path) -> None:
    """What others have to read is theirs to read, also when root's umask is narrow: a request, and
    a textfile of metrics."""
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "drain", b"", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "drain").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("number", [2**64, -(2**70), float("nan"), float("inf"), 1e308])
def test_json_of_odd_numbers(number: float) -> None:
    """No number prevents the rest from being written."""
    assert msgspec.json.decode(to_json({"a": number, "b": 1}))["b"] == 1


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"[" * 100_000, b'{"tier":"' + b"x" * 100_000 + b'"}', b"9" * 100_000]
)
def test_json_that_is_none(data: bytes) -> None:
    """Whatever is wrong with a text, it is one kind of error, and a short one."""
    with pytest.raises(ValueError) as error:
        from_json(data, dict[str, Tier])
    assert len(str(error.value)) <= 200


RAISE = """
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from plancton.files import most_kept_open, raise_descriptors
setrlimit(RLIMIT_NOFILE, (64, 800))
raise_descriptors()
print(*getrlimit(RLIMIT_NOFILE), most_kept_open())
"""


def test_descriptors_are_raised() -> None:
    """A process allows itself all descriptors that it may have, and keeps a part for each kind."""
    done = subprocess.run([sys.executable, "-P", "-c", RAISE], capture_output=True, text=True, check=True)
    assert done.stdout == "800 800 100\n"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("name", ["pipe", "link", "directory", "", "/"])
def test_a_name_of_no_file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody names is replaced only if it is a file: never a device, as /dev/stdout."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is not a regular file"):
        replace_named_file(Path(name), b"new", 0o644)
    assert not (tmp_path / "file").exists() and (tmp_path / "link").is_symlink()


def test_mode_of_a_link(tmp_path: Path) -> None:
    """Only a file's own mode is set: not that of one that a link leads to, of a pipe or directory."""
    secret, link, pipe = tmp_path / "secret", tmp_path / "link", tmp_path / "pipe"
    secret.touch(0o600)
    link.symlink_to(secret)
    os.mkfifo(pipe, 0o600)
    for other in (link, pipe, tmp_path, tmp_path / "none"):
        with pytest.raises(OSError):
            set_mode(other, 0o644)
    assert mode(secret) == mode(pipe) == 0o600
    set_mode(secret, 0o644)
    assert mode(secret) == 0o644


def test_mode_of_a_locked_file(tmp_path: Path) -> None:
    """A file that this process has locked stays locked."""
    file = tmp_path / "file"
    with file.open("w") as locked:
        fcntl.lockf(locked, fcntl.LOCK_EX)
        set_mode(file, 0o600)
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'w'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=False)
    assert "BlockingIOError" in done.stderr, done
