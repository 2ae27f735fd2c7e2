"""What the configuration in force means on this host, worked out again when either of them changes."""

import logging
from collections.abc import Callable

import msgspec

from plancton.config.resolve import Host, MaxWorkers, digest, policy_settings
from plancton.config.schema import Config
from plancton.host.signals.catalog import Reference
from plancton.host.slice import Slice
from plancton.host.slice_bounds import NO_LIMITS
from plancton.model import Settings

log = logging.getLogger("plancton")

PATIENCE_WITHOUT_LIFT = 120.0
"""Where leavers can't be given CPU, leaving takes this long: the owner is protected, nothing is urgent."""

ONE_LOOK = 1.0
"""Seconds between two ticks at the start: less tells nothing of the owner's load."""


class HostSettings:
    """``max_workers`` None: no maximum. ``problem`` says what is wrong with its expression.
    ``start_now``: the first workers start after one look at the host."""

    def __init__(self, start_now: bool = False) -> None:
        self.start_now = start_now
        self.settings, self.digest = Settings(), ""
        self.max_workers: int | None = 0
        self.problem = ""
        self.host: Host | None = None
        self._most: MaxWorkers | None = None
        self._is_known = False

    def update(self, config: Config, host: Host, workers_slice: Slice | None) -> None:
        """To be called when the configuration, the host's figures or the slice's tier have changed."""
        self.host, self.digest = host, digest(config)
        self.settings = policy_settings(config, host, workers_slice.limits if workers_slice else NO_LIMITS)
        if self.start_now:
            self.settings = msgspec.structs.replace(self.settings, first_start=ONE_LOOK)
        if workers_slice is not None and workers_slice.v1:
            self.settings = msgspec.structs.replace(self.settings, nested_quotas=False)
        if workers_slice is not None and not workers_slice.can_lift:
            self.settings = msgspec.structs.replace(
                self.settings,
                leave_timeout=max(PATIENCE_WITHOUT_LIFT, self.settings.leave_timeout),
                uses_quota=self.settings.uses_quota or workers_slice.tier == "quota",
                quota_alone=workers_slice.tier == "quota",
                caps_waiting=self.settings.caps_waiting and workers_slice.tier != "quota",
            )
        self._most = MaxWorkers(config)
        self._is_known = False

    def look(self, read: Callable[[Reference], float | None]) -> None:
        """Work out ``max_workers`` with the signals as they are; nothing to do where it depends on none."""
        if self.host is None or self._most is None or self._is_known:
            return
        before, self._is_known = self.problem, not self._most.references
        try:
            self.max_workers, self.problem = self._most.on(self.host, read), ""
        except ValueError as error:
            self.problem = f"pool.max_workers: {error} (the last good value stays)"
            if self.problem != before:
                log.warning("%s", self.problem)
