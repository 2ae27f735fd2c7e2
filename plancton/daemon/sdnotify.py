"""Tells a service manager how we are, by systemd's notification protocol, sd_notify(3).

Only the loop calls this, so systemd notices a loop that hangs (WatchdogSec=).
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, MutableMapping

from plancton.units import printable

INTERVAL = 15.0
"""Seconds between changed sentences, at least: each one wakes the manager."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Service:
    """One manager, or none. Takes its variables out of the environment: the programs we start must
    not see them."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self.variables = {name: environ.pop(name) for name in VARIABLES if name in environ}
        self._address = self.variables.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        if not self._address.startswith(("/", "\0")):
            self._address = ""
        self._interval = min(INTERVAL, _watchdog(self.variables) / 2)
        self._next = 0.0
        self._told = ""

    def ticked(self, sentence: Callable[[], str], now: float) -> None:
        """After a tick: we are ready and alive, and this is what we do."""
        if not self._address or now < self._next:
            return
        self._next, said = now + self._interval, printable(sentence())
        words = ["WATCHDOG=1"] if self._told else ["READY=1", "WATCHDOG=1"]
        if said != self._told:
            words.append(f"STATUS={said}")
        self._told = said
        self._tell(*words)

    def stopping(self, seconds: float) -> None:
        """We are stopping, which may take this many seconds."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def reloading(self) -> None:
        """This process is about to run another program, which says when it is ready."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def _tell(self, *words: str) -> None:
        """Never waits and never fails: if the manager does not listen, that is its problem."""
        if self._address:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, kind) as manager:
                manager.sendto("\n".join(words).encode(), self._address)


def _watchdog(variables: dict[str, str]) -> float:
    """Seconds of silence that the manager takes for a hang; infinite unless it watches us."""
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return float("inf")
    microseconds = variables.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdecimal() else float("inf")
