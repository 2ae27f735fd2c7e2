"""The threads that talk to Docker, so that the loop never waits for it.

They share nothing with the loop but its inbox: answers and events come back as calls that the loop
makes itself.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import count
from queue import PriorityQueue
from typing import TypeVar

from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.docker.replies import Event
from plancton.docker.transport import EventStream
from plancton.files import NO_DESCRIPTOR
from plancton.inbox import Inbox, guarded

T = TypeVar("T")
Done = Callable[[T | None, DockerError | None], None]
"""Takes what a call gave, or the error it ended with; called by the loop."""


class Queued:
    """A call that waits for its turn. Who takes it first decides: the thread makes it, or the loop
    cancels it."""

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def take(self) -> bool:
        """Whether it was still waiting."""
        return self._taken.acquire(blocking=False)


class RequestQueue(threading.Thread):
    """Makes one Docker call after the other, in the order given; urgent ones before the others."""

    def __init__(self, socket: str, inbox: Inbox, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="docker", daemon=True)
        self._docker = Docker(socket)
        self._inbox = inbox
        self._clock = clock
        self._work: PriorityQueue[tuple[int, int, Callable[[], None] | None]] = PriorityQueue()
        self._count = count()
        self._since: float | None = None

    def submit(self, call: Callable[[Docker], T], done: Done[T], urgent: bool = False) -> Queued:
        """``urgent``: a worker that must leave can't wait until others have been started. Whoever
        takes what is returned before its turn has cancelled the call; ``done`` never hears of it."""
        queued = Queued()
        work = partial(self._carry_out, queued, call, done)
        self._work.put((0 if urgent else 1, next(self._count), work))
        return queued

    def busy_for(self, now: float) -> float:
        """How long the call under way has taken so far (seconds)."""
        since = self._since
        return 0.0 if since is None else now - since

    def run(self) -> None:
        while (work := self._work.get()[2]) is not None:
            self._since = self._clock()
            guarded(self._inbox, work)
            self._since = None
        self._docker.close()

    def close(self) -> None:
        self._work.put((2, next(self._count), None))

    def _carry_out(self, queued: Queued, call: Callable[[Docker], T], done: Done[T]) -> None:
        if not queued.take():
            return
        try:
            result = call(self._docker)
        except DockerError as error:
            self._inbox.put(partial(done, None, error))
        except OSError as error:  # who waits for an answer gets one, and asks again
            if error.errno not in NO_DESCRIPTOR:
                raise
            self._inbox.put(partial(done, None, DockerError(f"Docker can't be asked: {error.strerror}")))
        else:
            self._inbox.put(partial(done, result, None))


class Follower(threading.Thread):
    """Follows Docker's events until the stream ends, then says why and ends as well."""

    def __init__(
        self,
        socket: str,
        inbox: Inbox,
        filters: dict[str, list[str]],
        since: float,
        on_event: Callable[[Event], None],
        on_end: Callable[[DockerError], None],
    ) -> None:
        super().__init__(name="events", daemon=True)
        self._socket, self._inbox, self._filters, self._since = socket, inbox, filters, since
        self._on_event, self._on_end = on_event, on_end
        self._stream: EventStream | None = None
        self._closed = False

    def run(self) -> None:
        guarded(self._inbox, self._follow)

    def _follow(self) -> None:
        try:
            with closing(Docker(self._socket).events(self._filters, self._since)) as self._stream:
                if self._closed:  # meanwhile
                    return
                for event in self._stream:
                    self._inbox.put(partial(self._on_event, event))
        except DockerError as error:
            if not self._closed:
                self._inbox.put(partial(self._on_end, error))

    def close(self) -> None:
        self._closed = True
        if self._stream is not None:
            self._stream.close()
