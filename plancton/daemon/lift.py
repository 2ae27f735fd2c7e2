"""Lets workers that leave have CPU for that, within bounds: in time, and in how often.

How a slice is lifted is host/slice.py's. Everything here runs in the loop's thread.
"""

import logging
from collections.abc import Iterable
from functools import partial

from plancton.daemon.context import Context
from plancton.docker.errors import DockerError
from plancton.model import Phase
from plancton.workers.docker_calls import prefer
from plancton.workers.roster import Entry

log = logging.getLogger(__name__)


class Lift:
    """The slice's lift. ``until`` is when it must end (CLOCK_MONOTONIC); None: there is none."""

    def __init__(self, context: Context) -> None:
        self._context, self._roster, self._slice = context, context.roster, context.slice
        self._lifted: set[str] = set()
        self.until: float | None = None

    def begin(self, names: Iterable[str], now: float, seconds: float) -> None:
        """Let all leaving workers leave together for that long at most, if one of these has not had
        its lift yet."""
        first = [name for name in names if self._is_first(name)]  # each of them has had it now
        if not first:
            return
        if self._slice.privileged:
            self._raise(now, seconds)
        elif self._slice.can_lift:
            # Docker first: with its systemd driver an update makes systemd rewrite the slice's
            # files.
            call = partial(prefer, containers=[entry.worker.id for entry in self._leaving()])
            self._context.request_queue.submit(call, partial(self._preferred, seconds), urgent=True)

    def step(self, now: float) -> None:
        """End a lift that has lasted long enough."""
        if self.until is not None and now >= self.until:
            self.drop()

    def ended(self, name: str) -> None:
        """A worker has ended: with the last that left, the lift does."""
        self._lifted.discard(name)
        if self.until is not None and not self._lifted:
            self.drop()

    def drop(self) -> None:
        self._slice.drop()
        self._lifted, self.until = set(), None

    def _is_first(self, name: str) -> bool:
        """A worker gets one lift to leave and one to die, not more: one that can't die would lift
        the slice without end."""
        entry = self._roster.get(name)
        if entry is None or entry.worker.phase in entry.lifted:
            return False
        entry.lifted.add(entry.worker.phase)
        return True

    def _leaving(self) -> list[Entry]:
        return [
            e
            for e in self._roster
            if e.worker.phase in (Phase.LEAVING, Phase.KILLED) and e.group and not e.worker.stuck
        ]

    def _preferred(self, seconds: float, _: None, error: DockerError | None) -> None:
        self._context.trouble(error)
        self._raise(self._context.clock(), seconds)

    def _raise(self, now: float, seconds: float) -> None:
        leaving = {entry.worker.name: entry.group for entry in self._leaving()}
        others = [  # one that is paused is frozen already, and must stay so afterwards
            e.group
            for e in self._roster
            if e.group and e.worker.phase in (Phase.RUNNING, Phase.FINISHING) and not e.worker.paused
        ]
        if not leaving:
            return
        self._slice.drop()
        try:
            self._slice.lift(leaving.values(), others)
        except OSError as error:
            log.warning("%s can't be lifted: %s", self._slice.path, error)
            self._slice.drop()
            return
        self._lifted, self.until = set(leaving), now + seconds
