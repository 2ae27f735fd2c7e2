"""The image that new workers are made of: found, pulled in the background, refreshed now and then."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Literal

from plancton.docker.auth import AuthError, registry_auth
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, NotFound
from plancton.docker.replies import Image
from plancton.docker.request_queue import Inbox, RequestQueue
from plancton.errors import PlanctonError

log = logging.getLogger(__name__)

NO_IMAGE = "no image is configured: set image.name"
LOCAL = "localhost/"
"""An image with such a name is made on this host and never pulled."""

PROGRESS_INTERVAL = 5.0

Policy = Literal["always", "missing", "never"]
"""When an image is pulled: if it is not here and for each refresh; if it is not here; not at all."""
Pulled = Callable[[Image | None, bool, PlanctonError | None], None]
"""Takes the image, whether it was not here before, and the error."""


class Puller(threading.Thread):
    """Pulls one image, telling the log how far it is, and ends."""

    def __init__(
        self,
        socket: str,
        inbox: Inbox,
        name: str,
        auth_file: str | None,
        done: Pulled,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="pull", daemon=True)
        self._socket, self._inbox, self._image, self._done = socket, inbox, name, done
        self._auth_file = auth_file
        self._clock = clock
        self._said = clock()

    def run(self) -> None:
        try:
            auth = registry_auth(self._image, self._auth_file, os.environ)
            with Docker(self._socket) as docker:
                before = docker.image_ids()
                docker.pull(self._image, self._progress, auth)
                image = docker.image(self._image)
        except (DockerError, AuthError) as error:
            self._inbox.put(partial(self._done, None, False, error))
        else:
            self._inbox.put(partial(self._done, image, image.id not in before, None))

    def _progress(self, step: str) -> None:
        if self._clock() - self._said >= PROGRESS_INTERVAL:
            self._said = self._clock()
            log.info("pulling %s: %s", self._image, step)


class ImageKeeper:
    """Keeps the image that new workers are made of: looks it up, pulls it, refreshes it now and then.

    With the one that is there it goes on when a pull fails. Only the loop calls it.
    """

    FIRST_REFRESH = 300.0
    RETRY, LONGEST_RETRY = 30.0, 1_800.0

    def __init__(
        self,
        socket: str,
        inbox: Inbox,
        request_queue: RequestQueue,
        may_pull: bool = True,
        on_brought: Callable[[str], None] = lambda image: None,
    ) -> None:
        self._socket, self._inbox, self._request_queue = socket, inbox, request_queue
        self._may_pull, self._on_brought = may_pull, on_brought
        self.name: str | None = None
        self.id = ""
        self.problem = NO_IMAGE
        self._refresh = 0.0
        self._policy: Policy = "always"
        self._auth_file: str | None = None
        self._busy = False
        self._due = 0.0
        self._failures = 0

    def want(
        self, name: str | None, refresh: float, policy: Policy = "always", auth_file: str | None = None
    ) -> None:
        """Keep this image from now on, refreshed every so many seconds (0: never), with the credentials in
        this file (None: those of `docker login`)."""
        settings = (refresh, policy, auth_file)
        if settings != (self._refresh, self._policy, self._auth_file):
            self._refresh, self._policy, self._auth_file = settings
            self._due, self._failures = 0.0, 0  # a password that was mended is tried at once
        if name != self.name:
            self.name, self.id, self._due, self._failures = name, "", 0.0, 0
            self.problem = "" if name else NO_IMAGE

    def lost(self) -> None:
        """Docker says that the image isn't there after all."""
        self.id, self._due = "", 0.0

    def step(self, now: float) -> None:
        """Look for the image, or pull it, when that is due."""
        if self.name is None or self._busy or now < self._due:
            return
        self._busy = True
        pulls = self._policy == "always" and not self.name.startswith(LOCAL)
        if self.id and self._refresh and pulls:
            self._pull(self.name, now)
        else:
            name = self.name
            self._request_queue.submit(lambda docker: docker.image(name), partial(self._looked, name, now))

    def _looked(self, name: str, now: float, image: Image | None, error: DockerError | None) -> None:
        self._busy = False
        if name != self.name:
            return
        if image is not None:
            if image.id != self.id:
                log.info("image %s is here (%s)", name, short(image.id))
            self.id, self.problem = image.id, ""
            self._due = now + min(self._refresh, self.FIRST_REFRESH) if self._refresh else math.inf
        elif isinstance(error, NotFound) and (name.startswith(LOCAL) or self._policy == "never"):
            self.id, self.problem = "", not_here(name)
            self._due = now + self.RETRY
        elif isinstance(error, NotFound):
            self.id, self._busy = "", True
            self._pull(name, now)
        else:
            self._due = now + self.RETRY

    def _pull(self, name: str, now: float) -> None:
        if not self._may_pull:
            self._busy, self._due = False, math.inf
            self.problem = "" if self.id else f"image {name} is not here (a dry run does not pull it)"
            return
        if not self.id:
            self.problem = f"pulling image {name}"
            log.info("pulling image %s", name)
        done = partial(self._pulled, name, self._auth_file, now)
        Puller(self._socket, self._inbox, name, self._auth_file, done).start()

    def _pulled(
        self,
        name: str,
        auth_file: str | None,
        now: float,
        image: Image | None,
        brought: bool,
        error: PlanctonError | None,
    ) -> None:
        self._busy = False
        if image is not None and brought:
            self._on_brought(image.id)
        if name != self.name:
            return
        if image is None:
            if auth_file == self._auth_file:  # else another one was set meanwhile, and is tried now
                self._failed(name, now, error)
            return
        if image.id != self.id:
            log.info("image %s is now %s", name, short(image.id))
        self.id, self.problem, self._failures = image.id, "", 0
        self._due = now + self._refresh if self._refresh else math.inf

    def _failed(self, name: str, now: float, error: PlanctonError | None) -> None:
        kept = "; going on with the one that is here" if self.id else ""
        self.problem = f"image {name} can't be pulled: {error}{kept}"
        if self._failures == 0:
            log.warning("%s", self.problem)
        self._failures += 1
        retry = min(self.LONGEST_RETRY, self.RETRY * 2 ** min(self._failures - 1, 10))
        self._due = now + retry


def not_here(name: str) -> str:
    """What is missing, and how it comes here."""
    if name.startswith(LOCAL):
        remedy = "build it here or load it (plancton-worker: scripts/worker-image/build --load)"
        return f"image {name} is not on this host: {remedy}"
    return f"image {name} is not on this host, and image.policy is never: load it, or set missing"


def short(image: str) -> str:
    """The part of an image's or container's id that people see."""
    return image.removeprefix("sha256:")[:12]
