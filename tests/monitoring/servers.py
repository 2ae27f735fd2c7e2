"""Other people's servers, started for a test and ended with it."""

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.wait import wait_for


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def fetch(url: str) -> str:
    """What is there; empty while nothing answers."""
    with suppress(OSError), urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())
    return ""


def fetch_json(url: str) -> Any:
    """Also what is said of a request that is refused."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


@contextmanager
def running(directory: Path, ready: str, *command: str) -> Iterator[None]:
    """A server's process, from when this address answers."""
    log = directory / f"{Path(command[0]).name}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=directory, start_new_session=True)

    def answers() -> bool:
        if process.poll() is not None:
            pytest.fail(f"{command[0]} ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        return bool(fetch(ready))

    try:
        wait_for(f"{command[0]} answers", answers)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
