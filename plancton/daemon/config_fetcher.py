"""Follows the configuration's repository in the background."""

import logging
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from plancton.config.clone import clone_of
from plancton.config.git import Git
from plancton.config.repository import refresh
from plancton.config.schema import Repository
from plancton.errors import PlanctonError
from plancton.inbox import Inbox, beside

log = logging.getLogger(__name__)

FIRST = 5.0
"""Seconds after the start: a host that was off for long is soon up to date."""


class ConfigFetcher:
    """Fetches the configuration's branch at intervals. Only the loop calls it.

    A file that it puts in place is read like any other change of the file.
    """

    def __init__(
        self,
        path: Path,
        inbox: Inbox,
        say: Callable[[str], None],
        may_fetch: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._inbox, self._say, self._may_fetch = path, inbox, say, may_fetch
        self._clock = clock
        self.problem = ""
        self._interval = 0.0
        self._signers: list[str] = []
        self._due: float | None = None
        self._git: Git | None = None

    @property
    def busy(self) -> bool:
        return self._git is not None

    def want(self, settings: Repository) -> None:
        """Use these settings from now on: those of the configuration in force."""
        self._interval, self._signers = float(settings.refresh), settings.signers
        if not self._interval:
            self.problem, self._due = "", None

    def step(self, now: float) -> None:
        if not self._interval or not self._may_fetch or self.busy:
            return
        self._due = now + FIRST if self._due is None else min(self._due, now + 1.1 * self._interval)
        if now < self._due:
            return
        clone = clone_of(self._path)
        if clone is None:
            self._due = now + self._interval
            self._is_now(f"config.refresh: {self._path} is not from a repository (`plancton init --repo`)")
            return
        self._git = Git(clone.root)
        beside(self._inbox, partial(_fetch, self._git, self._signers), self._fetched)

    def _fetched(self, found: str | PlanctonError) -> None:
        said, error = (found, None) if isinstance(found, str) else ("", found)
        self._git = None
        # Hosts that were started together should not keep asking the server together.
        self._due = self._clock() + self._interval * random.uniform(0.9, 1.1)
        if said:
            self._say(said)
        kept = "(the running configuration stays in force)"
        self._is_now(f"config.refresh: {error} {kept}" if error and self._interval else "")

    def _is_now(self, problem: str) -> None:
        if problem and problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem

    def close(self) -> None:
        """End the fetch under way; the next start completes it."""
        if self._git is not None:
            self._git.end()


def _fetch(git: Git, signers: list[str]) -> str | PlanctonError:
    try:
        return refresh(git, signers)
    except PlanctonError as error:
        return error
