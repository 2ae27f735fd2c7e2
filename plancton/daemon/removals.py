"""Removes containers that have ended, and tries again what Docker refuses, ever less often.

Removals go through the cleanup queue: they may be slow, and a worker that must leave can't wait
for them. Everything here runs in the loop's thread; Docker's answers come back as calls that the
loop makes.
"""

from collections.abc import Callable
from functools import partial

from plancton.docker.errors import Conflict, DockerError, DockerRefused, DockerTimeout, NotFound
from plancton.docker.request_queue import RequestQueue
from plancton.model import Phase
from plancton.workers.accounting import Accounting
from plancton.workers.roster import Roster

FIRST_REMOVAL, LONGEST_REMOVAL = 5.0, 600.0
"""A removal that fails is tried again after this time; each time it gets twice as long."""


class Removals:
    """Removals of one instance. ``refresh`` asks Docker how a container is now."""

    def __init__(
        self,
        roster: Roster,
        cleanup_queue: RequestQueue,
        accounting: Accounting,
        say: Callable[[str], None],
        clock: Callable[[], float],
        refresh: Callable[[str], None],
        on_trouble: Callable[[DockerError | None], None],
        dry_run: bool = False,
    ) -> None:
        self._roster, self._cleanup_queue, self._accounting = roster, cleanup_queue, accounting
        self._say, self._clock, self._refresh, self._on_trouble = say, clock, refresh, on_trouble
        self._dry_run = dry_run
        self._removed_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def remove(self, name: str, force: bool = False) -> None:
        """Remove this worker's container, unless something else is done with it now."""
        entry = self._roster.get(name)
        if entry is None or not entry.worker.id or entry.worker.busy or self._dry_run:
            return
        container = entry.worker.id
        entry.removing = True
        self._roster.change(name, busy=True)
        self._cleanup_queue.submit(
            lambda docker: docker.remove(container, force=force), partial(self._removed, container)
        )

    def discard(self, container: str) -> None:
        """Remove one that no worker has. If this fails, the next list of all containers has it."""
        self._cleanup_queue.submit(
            lambda docker: docker.remove(container, force=True), lambda _, error: self._on_trouble(error)
        )

    def sweep(self, now: float) -> None:
        """Try again to remove containers that have ended, each ever less often."""
        for entry in self._roster:
            if entry.worker.phase is Phase.ENDED and now >= entry.next_removal:
                self.remove(entry.worker.name)

    def _removed(self, container: str, _: None, error: DockerError | None) -> None:
        entry = self._roster.find(container)
        if entry is None:
            return
        name = entry.worker.name
        if error is None or isinstance(error, NotFound):
            self.gone(name)
            return
        entry.removing = False
        self._roster.change(name, busy=False)
        entry.refused = str(error)
        entry.next_removal = self._clock() + min(LONGEST_REMOVAL, FIRST_REMOVAL * 2**entry.removals)
        entry.removals = min(entry.removals + 1, 16)
        if isinstance(error, Conflict):
            entry.pid = 0  # somebody has started it again, or is removing it, too
        elif isinstance(error, DockerRefused | DockerTimeout):
            if name not in self._refused:
                self._say(f"{name} can't be removed: {error}")
            self._refused[name] = str(error)
        if entry.pid == 0:
            self._refresh(container)
        self._on_trouble(error)

    def gone(self, name: str) -> None:
        """A worker's container no longer exists, so its report can't be counted twice."""
        self._refused.pop(name, None)
        if entry := self._roster.get(name):
            self._accounting.forget(entry.worker.id)
            self._removed_at[entry.worker.id] = self._clock()
        self._roster.gone(name)

    def started_again(self, name: str) -> None:
        """This one runs once more: whatever kept it from being removed is over."""
        self._refused.pop(name, None)

    def has_removed(self, container: str) -> bool:
        """Whether it is gone, so that an older list which still has it is wrong."""
        return container in self._removed_at

    def forget_before(self, asked: float) -> None:
        """No list that is still to come was asked for before this time (CLOCK_MONOTONIC)."""
        self._removed_at = {cid: time for cid, time in self._removed_at.items() if time >= asked}

    @property
    def problems(self) -> list[str]:
        """What can't be removed, in sentences for the status."""
        if not self._refused:
            return []
        count, reason = len(self._refused), next(reversed(self._refused.values()))
        which = f"{count} containers" if count > 1 else next(iter(self._refused))
        return [f"{which} can't be removed: {reason}"]
