"""The image that new workers are made of: found, pulled in the background, and refreshed."""

import logging
import math
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

from plancton.docker.auth import NO_CREDENTIALS, AuthError, registry_auth
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, NotFound
from plancton.docker.replies import Image
from plancton.docker.request_queue import RequestQueue
from plancton.errors import PlanctonError
from plancton.files import to_json
from plancton.inbox import Inbox, beside

log = logging.getLogger(__name__)

NO_IMAGE = "no image is configured: set image.name or htcondor"
LOCAL = "localhost/"
"""An image with such a name is made on this host and never pulled."""
PROGRESS_INTERVAL = 5.0
LARGEST_SETTINGS, MOST_VOLUMES = 64 * 1024, 100
"""Bytes of what an image says of its containers, and how many volumes they get. Docker repeats an
image's labels in each event and list, and takes a millisecond to make a volume: 20 MB keep it busy
for seconds with each worker, and are more than we read."""

Policy = Literal["always", "missing", "never"]
"""When it is pulled: if it is not here and at each refresh; if it is not here; never."""


class Wish(NamedTuple):
    """``refresh`` is in seconds (0: never), ``auth_file`` has credentials (None: `docker login`'s)."""

    name: str | None = None
    refresh: float = 0.0
    policy: Policy = "always"
    auth_file: str | None = None


class Pulled(NamedTuple):
    """What a pull brought; ``new``: the image was not here before."""

    image: Image
    new: bool


class ImageKeeper:
    """Looks the image up, pulls it, and refreshes it now and then.

    When a pull fails it goes on with the one that is there. Only the loop calls it.
    """

    FIRST_REFRESH = 300.0
    RETRY, LONGEST_RETRY = 30.0, 1_800.0

    def __init__(
        self,
        socket: str,
        inbox: Inbox,
        request_queue: RequestQueue,
        may_pull: bool,
        on_brought: Callable[[Image], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket, self._inbox, self._request_queue = socket, inbox, request_queue
        self._may_pull, self._on_brought, self._clock = may_pull, on_brought, clock
        self._wish = Wish()
        self.id, self.problem = "", NO_IMAGE
        self.newest = ""
        """Docker's id for it now. ``id`` stays when all that a worker is made of stays."""
        self._known: Image | None = None
        self._first_id = ""
        self.due, self.busy = 0.0, False
        self._failures = 0
        self._held = ""
        self._pulling: Docker | None = None
        """What a pull under way is made with."""
        self._pulled_name: str | None = None

    @property
    def name(self) -> str | None:
        return self._wish.name

    @property
    def image(self) -> Image | None:
        """All that Docker says of the one that is used."""
        return self._known if self.id else None

    def want(
        self, name: str | None, refresh: float, policy: Policy = "always", auth_file: str | None = None
    ) -> None:
        wish = Wish(name, refresh, policy, auth_file)
        if wish.name != self.name:
            self.id, self.problem = "", "" if name else NO_IMAGE
        if wish != self._wish:  # what failed is tried at once: a password may have been corrected
            self._wish, self.due, self._failures = wish, 0.0, 0

    def lost(self) -> None:
        """Docker says that the image isn't there after all."""
        self.id, self.due = "", 0.0

    def hold(self, reason: str) -> None:
        """While there is a reason (the disk is short) nothing is pulled; a pull under way ends."""
        self._held = reason
        if reason and self._pulling:
            self._pulling.close()

    def step(self, now: float) -> None:
        """Look for the image, or pull it, when that is due; a pull of another one ends."""
        wish = self._wish
        if self._pulling and self._pulled_name != wish.name:
            self._pulling.close()  # at each step: it may just be about to connect
        if wish.name is None or self.busy or now < self.due:
            return
        self.busy = True
        if self.id and wish.refresh and wish.policy == "always" and not wish.name.startswith(LOCAL):
            self._pull(wish)
        else:
            look = partial(Docker.image, name=wish.name)
            self._request_queue.submit(look, partial(self._looked, wish))

    def _looked(self, wish: Wish, image: Image | None, error: DockerError | None) -> None:
        self.busy, now = False, self._clock()
        if wish.name is None or wish.name != self.name:
            return
        self.due = now + self.RETRY
        if image is not None:
            refresh = min(self._wish.refresh, self.FIRST_REFRESH) if self._wish.refresh else math.inf
            self.due = now + (refresh if self._use(image) else self.FIRST_REFRESH)
        elif isinstance(error, NotFound):
            self.id = ""
            if not is_pulled(wish.name, self._wish.policy):
                self.problem = not_here(wish.name)
            else:
                self._pull(self._wish)
        elif not self.id:
            self.problem = f"image {wish.name} can't be used: {error}"

    def _use(self, image: Image) -> bool:
        """Make workers of it from now on, if it can be used."""
        if why := unusable(image):
            problem = f"image {self.name} ({short(image.id)}) can't be used: {why}{self._kept}"
            if problem != self.problem:
                log.warning("%s", problem)
            self.problem = problem
            return False
        if self._known is None or not image.is_same(self._known):
            log.info("image %s is %s (%s)", self.name, "now" if self.id else "here", short(image.id))
            self._first_id = image.id
        elif image.id != self._known.id:
            log.info("image %s is the same as before under another id (%s)", self.name, short(image.id))
        self._known, self.newest = image, image.id
        self.id, self.problem, self._failures = self._first_id, "", 0
        return True

    def _pull(self, wish: Wish) -> None:
        if not self._may_pull:
            self.busy, self.due = False, math.inf
            self.problem = "" if self.id else f"image {wish.name} is not here (a dry run does not pull it)"
            return
        if self._held:
            self.busy, self.due = False, self._clock() + self.RETRY
            self.problem = self._not_pulled(self._held)
            return
        self.busy = True
        if not self.id:
            self.problem = f"pulling image {wish.name}"
            log.info("pulling image %s", wish.name)
        self._pulling, self._pulled_name = Docker(self._socket), wish.name
        work = partial(pull, self._pulling, str(wish.name), wish.auth_file)
        beside(self._inbox, work, partial(self._pulled, wish))

    def _pulled(self, wish: Wish, found: Pulled | PlanctonError) -> None:
        pulled, error = (found, None) if isinstance(found, Pulled) else (None, found)
        self.busy, now = False, self._clock()  # a pull that fails may have taken many minutes
        self._pulling = None
        if pulled is not None and pulled.new:
            self._on_brought(pulled.image)
        if wish.name != self.name:
            return
        if pulled is not None:
            refresh = self._wish.refresh or math.inf
            self.due = now + (refresh if self._use(pulled.image) else self.LONGEST_RETRY)
        elif wish.auth_file == self._wish.auth_file:  # else another is tried now
            self._failed(now, error)

    def _failed(self, now: float, error: object) -> None:
        if self._wish.auth_file == NO_CREDENTIALS:
            error = f"{error} (it was asked for without credentials: see image.auth_file)"
        self.problem = self._not_pulled(self._held or str(error))
        if self._failures == 0:
            log.warning("%s", self.problem)
        self.due = now + min(self.LONGEST_RETRY, self.RETRY * 2 ** min(self._failures, 10))
        self._failures += 1

    def _not_pulled(self, why: str) -> str:
        return f"image {self.name} can't be pulled: {why}{self._kept}"

    @property
    def _kept(self) -> str:
        return "; going on with the one that is here" if self.id else ""


def pull(docker: Docker, name: str, auth_file: str | None) -> Pulled | PlanctonError:
    """Pull an image, telling the log how far it is; or what went wrong."""
    said = time.monotonic()

    def tell(step: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PROGRESS_INTERVAL:
            said = time.monotonic()
            log.info("pulling %s: %s", name, step)

    try:
        with docker:
            auth = registry_auth(name, auth_file, os.environ)
            before = docker.image_ids()
            docker.pull(name, tell, auth)
            image = docker.image(name)
            return Pulled(image, image.id not in before)
    except (DockerError, AuthError) as error:
        return error


def unusable(image: Image) -> str:
    """Why no worker is made of it; empty: it can be used."""
    size, volumes = len(to_json(image.config)), image.config.get("Volumes")
    if size > LARGEST_SETTINGS:
        return f"its labels, environment and so on have {size // 1024} KiB, at most 64 are taken"
    if isinstance(volumes, dict) and len(volumes) > MOST_VOLUMES:
        return f"it asks for {len(volumes)} volumes, at most {MOST_VOLUMES} are made"
    return ""


def is_pulled(name: str, policy: Policy) -> bool:
    """Whether it comes here by itself."""
    return policy != "never" and not name.startswith(LOCAL)


def not_here(name: str) -> str:
    """What is missing, and how it comes here."""
    if name.startswith(LOCAL):
        remedy = "build it here or load it (plancton-worker: scripts/worker-image/build --load)"
        return f"image {name} is not on this host: {remedy}"
    return f"image {name} is not on this host, and image.policy is never: load it, or set missing"


def short(image: str) -> str:
    """The part of an image's or container's id that people see."""
    return image.removeprefix("sha256:")[:12]
