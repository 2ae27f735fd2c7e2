"""What the owner's rules ask for at each tick."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plancton.config.owner_rules import Rules
from plancton.config.schema import Config
from plancton.host.signals.catalog import Reference
from plancton.inbox import Inbox, beside
from plancton.model import Observation, OwnerRules

if TYPE_CHECKING:
    from plancton.host.signals.readings import Signals

LASTING = 60.0
"""Seconds after which it is said that a rule can't be judged: some values take a moment to be known."""
NOTHING = OwnerRules()


class OwnerWatch:
    """Only the loop calls it. Without rules it reads nothing."""

    def __init__(self, tree: Path | None, slice_name: str, inbox: Inbox, warn: Callable[[str], None]) -> None:
        self._tree, self._slice_name = tree, slice_name
        self._beside, self._warn = partial(beside, inbox), warn
        self._rules = Rules(Config())
        self._signals: Signals | None = None
        self._owner_cpus: float | None = None
        self._unknown, self._since, self._said = "", 0.0, ""

    def use(self, config: Config) -> None:
        self._rules, self._signals = Rules(config), None
        if self._rules:
            from plancton.host.signals.readings import Signals  # most have no rules, and load none of it

            self._signals = Signals(self._tree, self._slice_name, self._beside)

    @property
    def has_rules(self) -> bool:
        return self._signals is not None

    def look(self, seen: Observation, now: float) -> OwnerRules:
        """What the rules ask for; ``seen`` says what the owner uses."""
        if self._signals is None:
            return NOTHING
        if seen.owner is not None:  # now and then there is a tick without
            self._owner_cpus = seen.owner
        time.tzset()  # people travel: the C library looks for another zone only when it is told to
        unix = time.time()
        local = time.localtime(unix)
        self._signals.look(now, unix, local, self._owner_cpus)
        asked = self._rules.judge(self._signals, seen.capacity, local)
        self._tell(asked.unknown, now)
        return asked

    def read(self, reference: Reference) -> float | None:
        return self._signals.read(reference) if self._signals else None

    def _tell(self, unknown: str, now: float) -> None:
        if unknown != self._unknown:
            self._unknown, self._since = unknown, now
        if unknown and unknown != self._said and now >= self._since + LASTING:
            self._said = unknown
            self._warn(f"{unknown}: what it is for is not done")
