"""Takes an installed version in place: the process executes itself, and the workers stay."""

import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from plancton.daemon.sdnotify import Service
from plancton.inbox import Inbox, beside


class Upgrade:
    """Only the loop calls it. ``go``: execute the other version now."""

    def __init__(self, inbox: Inbox, say: Callable[[str], None], go: Callable[[], None]) -> None:
        self._inbox, self._say, self._go = inbox, say, go
        self._trying_out = False

    def ask(self) -> None:
        """SIGHUP: take a new version or environment in place, unless it would not start."""
        if not self._trying_out:
            self._trying_out = True
            beside(self._inbox, why_not_again, self._tried_out)

    def _tried_out(self, problem: str) -> None:
        self._trying_out = False
        if problem:
            self._say(f"not running again in place: the installed Plancton does not start ({problem})")
        else:
            self._go()


def why_not_again(seconds: float = 60.0) -> str:
    """Why the installed version would not start; empty if it would."""
    import subprocess  # seldom needed: not worth its memory from the start

    command = [sys.executable, "-P", "-c", "import plancton.daemon.__main__"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"it needs more than {seconds:g} s"
    except OSError as error:
        return f"{error.filename or sys.executable}: {error.strerror}"
    if done.returncode == 0:
        return ""
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def execute_again(service: Service, options: object, signals: Iterable[int], unheard: deque[int]) -> None:
    """Until the program that is executed listens to ``signals`` they would be lost, or end it and leave
    the workers alone: those that are blocked wait for it (execve(2)), and so do the ``unheard`` ones."""
    os.environ.update(service.variables)
    service.reloading()
    words = json.dumps(msgspec.to_builtins(options))
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while unheard:
        signal.raise_signal(unheard.popleft())
    os.execv(sys.executable, [sys.executable, "-P", "-m", "plancton.daemon", words])
