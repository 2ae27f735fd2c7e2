"""Keeps track of Docker: finds it, lists our workers, follows its events, finds it again."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from plancton.daemon.status_file import StatusFile
from plancton.docker.client import EVENT_TIMEOUT
from plancton.docker.errors import DockerError, DockerTimeout, DockerUnreachable, NotDocker
from plancton.docker.replies import Event, Info
from plancton.docker.request_queue import Follower, RequestQueue
from plancton.inbox import Inbox
from plancton.workers.container import INSTANCE
from plancton.workers.docker_calls import Known, Listing, list_changed
from plancton.workers.same_host import require

log = logging.getLogger(__name__)

LONGEST_RETRY = 10.0
"""Seconds between attempts to find Docker again: 1, 2, 4 … up to this."""
LIST_EVERY = EVENT_TIMEOUT
"""Seconds after which all workers are listed again, whatever the events say; after silence they are."""
NO_ANSWER = 10.0
"""A call that is under way for longer than this (seconds) means that Docker does not answer."""
FOLLOWED = ["start", "die", "rename", "pause", "unpause", "update", "destroy", "oom"]
"""What happens to containers."""


class DockerLink:
    """Only the loop calls it. ``ready``: Docker answers and its workers are known, else ``problem`` says why.

    It calls ``on_info`` when Docker is found, and once that has called `follow`, then or later,
    ``on_listed`` with all containers that have our label, and ``on_event`` for whatever happens to one.
    While no event can have been missed, the workers that are ``known`` are listed in short.
    """

    def __init__(
        self,
        socket: str,
        instance: str,
        inbox: Inbox,
        request_queue: RequestQueue,
        status_file: StatusFile,
        on_info: Callable[[Info], None],
        on_listed: Callable[[Listing], None],
        on_event: Callable[[Event], None],
        known: Callable[[], Mapping[str, Known]] = dict,
    ) -> None:
        self._socket, self._instance, self._inbox = socket, instance, inbox
        self._request_queue, self._status_file = request_queue, status_file
        self._on_info, self._on_listed, self._on_event = on_info, on_listed, on_event
        self._known = known
        self.ready = self.looking = False
        self.looked = False
        """Whether Docker has been asked once which workers there are, or could not be."""
        self.problem = "Docker has not answered yet"
        self.retry_at, self.retry_after = 0.0, 1.0
        self._list_at = 0.0
        self.asked_at = 0.0
        """When Docker was asked for the last list of workers (CLOCK_MONOTONIC)."""
        self._following = False
        self._follower: Follower | None = None
        self._since = 0.0
        """From when on its events are (Unix time)."""

    def step(self, now: float) -> None:
        if self.looking:
            return
        if (self.ready and not self._following) or (not self.ready and now >= self.retry_at):
            self._look()
        elif self.ready and now >= self._list_at:
            self.looking = True
            self._list(self._known())

    def trouble(self, error: DockerError) -> None:
        """A call failed: if Docker is gone, look for it again."""
        if isinstance(error, DockerUnreachable | NotDocker):
            self._down(error)

    def silence(self, now: float) -> str:
        """What to say of a call that gets no answer; empty: there is none."""
        busy = self._request_queue.busy_for(now)
        return "Docker has not answered for a while" if busy >= NO_ANSWER else ""

    def close(self) -> None:
        if self._follower:
            self._follower.close()

    def look_again(self) -> None:
        """Ask which workers there are, whatever is known of them."""
        self._list_at = 0.0  # the next step asks, as soon as no list is under way

    def _look(self) -> None:
        self.looking = True
        self._request_queue.submit(require, self._found)

    def _found(self, info: Info | None, error: DockerError | None) -> None:
        if info is None:
            self._lost(error)
        else:
            self._on_info(info)

    def follow(self) -> None:
        """Follow events and list the workers of the Docker that was found."""
        self._follow(time.time())
        self._list({})

    def _follow(self, since: float) -> None:
        self.close()
        filters = {"type": ["container"], "event": FOLLOWED, "label": [f"{INSTANCE}={self._instance}"]}
        # Follow events before listing, so that nothing is missed in between.
        self._follower = Follower(self._socket, self._inbox, filters, since, self._on_event, self._cut)
        self._follower.start()
        self._following, self._since = True, since

    def _list(self, known: Mapping[str, Known]) -> None:
        self.asked_at = time.monotonic()
        self._list_at = self.asked_at + LIST_EVERY
        ask = partial(list_changed, instance=self._instance, known=known)
        self._request_queue.submit(ask, self._listed)

    def _listed(self, found: Listing | None, error: DockerError | None) -> None:
        if found is None:
            self._lost(error)
            return
        if not self.ready:
            self._status_file.say("Docker answers")
        self.looking, self.looked = False, True
        self.ready, self.problem, self.retry_after = True, "", 1.0
        self._on_listed(found)

    def _lost(self, error: DockerError | None) -> None:
        self.looking = False
        if error is not None:
            self._down(error)

    def _down(self, error: DockerError) -> None:
        if self.ready or self.problem != str(error):
            self._status_file.warn(f"{error}; looking for it again until it answers")
        self.ready, self.looked, self.problem = False, True, str(error)
        self.retry_at = time.monotonic() + self.retry_after
        self.retry_after = min(LONGEST_RETRY, self.retry_after * 2)

    def _cut(self, error: DockerError) -> None:
        """The stream has ended: look for Docker again, list, and keep following. One that was only
        silent is asked for what it may not have told; the list in short shows whether Docker answers."""
        if isinstance(error, DockerTimeout) and self.ready and not self.looking:
            log.debug("events: %s", error)
            self.looking = True
            # No earlier than the stream itself: what it has told must not be told twice.
            self._follow(max(self._since, time.time() - EVENT_TIMEOUT))
            self._list(self._known())
            return
        log.info("events: %s", error)
        self._following = False  # while workers are being listed, the next step looks again
        if not self.looking:
            self._look()
