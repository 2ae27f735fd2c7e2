"""The pool's token: read from a private file, packed for one user, and never shown."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from helpers.open_files import open_files

from plancton.workers.token import LARGEST, TokenError, expiry, pack, read_token

NOW = 1_763_845_453.0
SECRET = b"c2lnbmF0dXJlLW9mLXRoZS1wb29s"


def token(claims: str = '{"sub": "worker@pool", "iat": 1}') -> bytes:
    """A JSON Web Token with these claims."""
    head, middle = (
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=") for part in ('{"alg":"HS256"}', claims)
    )
    return b".".join([head, middle, SECRET])


def written(path: Path, data: bytes, mode: int = 0o600) -> str:
    path.write_bytes(data)
    path.chmod(mode)
    return str(path)


def refusal(path: str) -> str:
    """The line with which a token is refused; it shows nothing of the token."""
    with pytest.raises(TokenError) as caught:
        read_token(path, NOW)
    said = str(caught.value)
    assert said.startswith("token file ") and said.isprintable(), f"seen: {said!r}"
    assert SECRET.decode() not in said and "eyJ" not in said, f"the token is in: {said}"
    return said


@pytest.mark.parametrize("around", [b"%b", b"%b\n", b"  %b \r\n\n"])
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_token(tmp_path: Path, around: bytes, mode: int) -> None:
    """A token is read from a private file, and ends in one newline, whatever white space was around
    it."""
    assert read_token(written(tmp_path / "t", around % token(), mode), NOW) == token() + b"\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o677, 0o644])
def test_others_can_read_it(tmp_path: Path, mode: int) -> None:
    """A file that others may open in any way is refused, with the command that fixes it."""
    path = written(tmp_path / "t", token(), mode)
    assert refusal(path) == f"token file {path}: others can read it; chmod 600 {path}"


def test_no_file(tmp_path: Path) -> None:
    """A missing file, or one below a file, is reported with the system's reason."""
    written(tmp_path / "t", token())
    assert "No such file or directory; the user that runs Plancton must" in refusal(str(tmp_path / "none"))
    assert "Not a directory" in refusal(str(tmp_path / "t" / "below"))


def test_not_allowed(tmp_path: Path) -> None:
    """If the file can't be read, the message says which user must be able to."""
    path = written(tmp_path / "t", token())
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    code = (
        "import os, sys; from plancton.workers.token import TokenError, read_token\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "else: os.chmod(sys.argv[1], 0)\n"
        "try: read_token(sys.argv[1], 0.0)\n"
        "except TokenError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, path], capture_output=True, text=True, timeout=60
    )
    said = f"token file {path}: Permission denied; the user that runs Plancton must be able to read it\n"
    assert done.stdout == said, done.stderr


def test_no_regular_file(tmp_path: Path) -> None:
    """A directory, a device and a pipe without a writer are refused at once, without waiting."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    signal.alarm(20)
    try:
        for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
            assert refusal(str(path)) == f"token file {path}: is not a regular file"
    finally:
        signal.alarm(0)


def test_name_with_a_line_break(tmp_path: Path) -> None:
    """Line breaks and escape sequences in a path do not reach the message."""
    assert "No such file" in refusal(str(tmp_path / "a\nb\x1b[31m"))


NO_TOKENS = {
    "empty": b"",
    "a line end": b"\n",
    "a word": b"hello",
    "two parts": b"a.b",
    "four parts": b"a.b.c.d",
    "empty parts": b"..",
    "no base64": b"abc.!!!." + SECRET,
    "a list": token("[1]"),
    "a number": token("5"),
    "cut": token('{"sub": '),
    "deep": token("[" * 5_000),
    "two": token() + b"\n" + token(),
    "binary": bytes(range(256)),
    "zeros": b"\0" * 300,
    "a key": b"-----BEGIN PRIVATE KEY-----\neyJ\n-----END PRIVATE KEY-----\n",
}
TOO_LONG = {"too long": token('{"sub": "' + "x" * LARGEST + '"}'), "megabytes": b"#" * 10_000_000}


@pytest.mark.parametrize("data", NO_TOKENS.values(), ids=NO_TOKENS.keys())
def test_no_token(tmp_path: Path, data: bytes) -> None:
    """Anything but a JSON Web Token is refused without being shown."""
    path = written(tmp_path / "t", data)
    assert refusal(path) == f"token file {path}: holds no token as condor_token_create prints it"


@pytest.mark.parametrize("data", TOO_LONG.values(), ids=TOO_LONG.keys())
def test_too_long(tmp_path: Path, data: bytes) -> None:
    """A file longer than any token is refused as such: its beginning is not taken for the whole."""
    path = written(tmp_path / "t", data)
    assert refusal(path) == f"token file {path}: is longer than 16 KiB"


def test_long_token(tmp_path: Path) -> None:
    """A token with many claims, up to 16 kB, is accepted."""
    long = token(json.dumps({"sub": "x" * 8_000}))
    assert read_token(written(tmp_path / "t", long), NOW) == long + b"\n"


def test_expired(tmp_path: Path) -> None:
    """A token is refused from the second it expires, with how long ago that was."""
    path = written(tmp_path / "t", token(f'{{"exp": {int(NOW) - 3600}}}'))
    assert refusal(path) == (
        f"token file {path}: expired 1h 00m ago; ask the pool's administrator for a new one"
    )
    assert "expired 0s ago" in refusal(written(tmp_path / "t", token(f'{{"exp": {int(NOW)}}}')))


def test_not_expired(tmp_path: Path) -> None:
    """A token that expires later is valid until then, and its expiry is known."""
    data = token(f'{{"exp": {int(NOW) + 60}}}')
    assert read_token(written(tmp_path / "t", data), NOW) == data + b"\n"
    assert expiry(data) == int(NOW) + 60


@pytest.mark.parametrize("end", ["null", '"tomorrow"', "NaN", "1e999", "-1e999", "9" * 400, "-" + "9" * 400])
def test_no_end(tmp_path: Path, end: str) -> None:
    """A token without a valid expiry is used: HTCondor decides."""
    assert expiry(token("{}")) is None
    data = token(f'{{"exp": {end}}}')
    assert expiry(data) is None
    assert read_token(written(tmp_path / "t", data), NOW) == data + b"\n"


@pytest.mark.parametrize(("user", "owner"), [("65534:65534", (65534, 65534)), ("5:6", (5, 6)), ("7", (7, 7))])
def test_pack(user: str, owner: tuple[int, int]) -> None:
    """The tar has the token and a working directory, for that user alone, and nothing else."""
    with tarfile.open(fileobj=io.BytesIO(pack(b"the token\n", user))) as tar:
        seen = {entry.name: (entry.isdir(), entry.mode, entry.uid, entry.gid) for entry in tar}
        assert seen == {
            "tokens.d": (True, 0o700, *owner),
            "work": (True, 0o700, *owner),
            "tokens.d/pool": (False, 0o600, *owner),
        }
        file = tar.extractfile("tokens.d/pool")
        assert file and file.read() == b"the token\n"


def test_no_files_leak(tmp_path: Path) -> None:
    """Neither good nor bad tokens leave a file open."""
    good, bad = written(tmp_path / "t", token()), written(tmp_path / "b", b"x")
    before = open_files()
    for _ in range(20):
        read_token(good, NOW)
        for path in (bad, str(tmp_path), str(tmp_path / "none")):
            refusal(path)
    assert open_files() == before
