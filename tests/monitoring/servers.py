"""Other people's servers, started for a test and ended with it."""

import json
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.wait import wait_for

ANY_CERTIFICATE = ssl.create_default_context()
ANY_CERTIFICATE.check_hostname, ANY_CERTIFICATE.verify_mode = False, ssl.CERT_NONE


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fetch(url: str) -> str:
    """What is there; empty while nothing answers."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())
    return ""


def fetch_json(url: str, body: bytes | None = None) -> Any:
    """Also what is said of a request that is refused. With a body, even an empty one, it is a POST."""
    try:
        with urllib.request.urlopen(url, body, timeout=20, context=ANY_CERTIFICATE) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return json.load(error)


def answers(url: str) -> bool:
    """Whatever it says."""
    with suppress(OSError, json.JSONDecodeError):
        fetch_json(url)
        return True
    return False


@contextmanager
def running(
    directory: Path, ready: str, *command: str, environment: dict[str, str] | None = None
) -> Iterator[None]:
    """A server's process, from when this address answers."""
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=file, cwd=directory, env=environment, start_new_session=True
        )

    def is_up() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        return bool(fetch(ready)) or answers(ready)

    try:
        wait_for(f"{command[0]} answers", is_up)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
