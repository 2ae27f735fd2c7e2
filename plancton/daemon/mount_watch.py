"""Watches whether the host has what `worker.mounts` names: a file server may be late at boot.

A look may wait for that server for ever, so it runs beside the loop, one at a time for each
configuration.
"""

from collections.abc import Callable
from functools import partial

from plancton.config.resolve import missing_mounts
from plancton.config.schema import Config
from plancton.inbox import Inbox, beside

INTERVAL, RETRY = 60.0, 5.0
"""Seconds between looks; the shorter one while something is missing."""
PATIENCE = 10.0
"""A look that takes longer waits for a file server, and so would Docker."""
OWN = ("/dev", "/tmp", "/var/tmp")
"""Directories of which a service's sandbox (PrivateTmp=, PrivateDevices=) shows its own. What the
host has there only Docker knows; it refuses a worker whose mount is missing."""


class MountWatch:
    """Only the loop calls it. ``problem`` says why no worker could start; empty: nothing is missing."""

    def __init__(self, inbox: Inbox, say: Callable[[str], None], warn: Callable[[str], None]) -> None:
        self._inbox, self._say, self._warn = inbox, say, warn
        self._config: Config | None = None
        self._asked: float | None = None
        self._due = 0.0
        self.problem = ""

    def want(self, config: Config) -> None:
        if self._config is None or config.worker.mounts != self._config.worker.mounts:
            self._config, self._asked, self._due = config, None, 0.0
            if not config.worker.mounts:
                self._is_now("")

    def step(self, now: float) -> None:
        if self._config is None or not self._config.worker.mounts:
            return
        if self._asked is not None:
            if now - self._asked > PATIENCE:
                self._is_now("worker.mounts: to look at them takes long: a file server may not answer")
        elif now >= self._due:
            self._asked = now
            work = partial(missing_mounts, self._config, OWN)
            beside(self._inbox, work, partial(self._looked, self._config))

    def _looked(self, config: Config, missing: str | None) -> None:
        if config is not self._config:
            return
        asked, self._asked = self._asked or 0.0, None
        self._due = asked + (RETRY if missing else INTERVAL)
        self._is_now(missing or "")

    def _is_now(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._warn(f"{problem}; nothing is started meanwhile")
        elif self.problem and not problem:
            self._say("worker.mounts: all are there now")
        self.problem = problem
