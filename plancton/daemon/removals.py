"""Removes containers that have ended, and tries again what Docker refuses, ever less often."""

from collections.abc import Callable
from functools import partial

from plancton.daemon.context import Context
from plancton.docker.errors import Conflict, DockerError, DockerRefused, DockerTimeout, NotFound
from plancton.model import Phase

FIRST_REMOVAL, LONGEST_REMOVAL = 5.0, 600.0
"""A removal that fails is tried again after this time; each time it gets twice as long."""


class Removals:
    """Removals of one instance. ``refresh`` asks Docker how a container is now."""

    def __init__(self, context: Context, refresh: Callable[[str], None]) -> None:
        self._context, self._roster, self._refresh = context, context.roster, refresh
        self._removed_at: dict[str, float] = {}
        self._refused: dict[str, str] = {}

    def remove(self, name: str, force: bool = False) -> None:
        """Remove this worker's container, unless something else is done with it now."""
        entry = self._roster.get(name)
        if entry is None or not entry.worker.id or entry.worker.busy or self._context.dry_run:
            return
        container = entry.worker.id
        entry.removing = True
        self._roster.change(name, busy=True)
        done = partial(self._removed, container)
        self._context.cleanup_queue.submit(lambda docker: docker.remove(container, force), done)

    def discard(self, container: str) -> None:
        """Remove one that no worker has. If this fails, the next list of all containers has it."""
        self._context.cleanup_queue.submit(
            lambda docker: docker.remove(container, force=True),
            lambda _, error: self._context.cleanup_trouble(error),
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
        entry.next_removal = self._context.clock() + min(LONGEST_REMOVAL, FIRST_REMOVAL * 2**entry.removals)
        entry.removals = min(entry.removals + 1, 16)
        if isinstance(error, Conflict):
            entry.pid = 0  # somebody has started it again, or is removing it, too
        elif isinstance(error, DockerRefused | DockerTimeout):
            if name not in self._refused:
                self._context.say(f"{name} can't be removed: {error}")
            self._refused[name] = str(error)
        if entry.pid == 0:
            self._refresh(container)
        self._context.cleanup_trouble(error)

    def gone(self, name: str) -> None:
        """A worker's container no longer exists, so its report can't be counted twice."""
        self._refused.pop(name, None)
        if entry := self._roster.get(name):
            self._context.accounting.forget(entry.worker.id)
            self._removed_at[entry.worker.id] = self._context.clock()
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
        if not self._refused:
            return []
        count, reason = len(self._refused), next(reversed(self._refused.values()))
        which = f"{count} containers" if count > 1 else next(iter(self._refused))
        return [f"{which} can't be removed: {reason}"]
