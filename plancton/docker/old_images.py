"""Old versions of the image that we pulled: removed once no container is made of them.

Only what a pull of ours brought is remembered, with the names it had then; what somebody has given
another name since is theirs.
"""

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, DockerError, NotFound
from plancton.docker.replies import Image
from plancton.docker.request_queue import RequestQueue
from plancton.files import from_json, read_regular, replace_file, to_json

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""How often one that Docker would not remove is tried again (seconds)."""
LARGEST = 1 << 20
"""Bytes of the file of what we pulled."""


class OldImages:
    """The ids of what we pulled, in one file (None: nowhere). Only the loop calls it."""

    def __init__(self, file: Path | None, request_queue: RequestQueue, say: Callable[[str], None]) -> None:
        self._file, self._request_queue, self._say = file, request_queue, say
        self._pulled = dict[str, list[str]]()
        if file:
            with contextlib.suppress(OSError, ValueError):
                self._pulled = from_json(read_regular(file, LARGEST, follow=False)[0], dict[str, list[str]])
        self._due = 0.0
        self.busy = False

    def brought(self, image: Image) -> None:
        """A pull brought this one, which was not here before."""
        self._pulled[image.id] = image.repo_tags
        self._save()
        self._due = 0.0

    def step(self, now: float, current: str, used: frozenset[str] = frozenset()) -> None:
        """When due, remove those that are neither the current one nor our workers'."""
        kept = {current, *used}
        old = {image: names for image, names in self._pulled.items() if image not in kept}
        if self.busy or not current or not old or now < self._due:
            return
        self.busy, self._due = True, now + INTERVAL
        self._request_queue.submit(partial(_remove, old), self._removed)

    def _removed(self, gone: dict[str, bool] | None, error: DockerError | None) -> None:
        self.busy = False
        for image, removed in (gone or {}).items():
            del self._pulled[image]
            if removed:
                self._say(f"removed an old version of the image ({image.removeprefix('sha256:')[:12]})")
        if gone:
            self._save()

    def _save(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):  # a full disk: an image more stays
                replace_file(self._file, to_json(self._pulled), 0o644)


def _remove(images: dict[str, list[str]], docker: Docker) -> dict[str, bool]:
    gone = dict[str, bool]()
    for image, ours in images.items():
        try:
            names = docker.image(image).repo_tags
            if not set(names) <= set(ours):
                gone[image] = False  # it has another name: somebody wants it
                continue
            for name in names or [image]:
                docker.remove_image(name, force=False)
            gone[image] = True
        except NotFound:
            gone[image] = False
        except Conflict:
            continue  # a container is made of it
    return gone
