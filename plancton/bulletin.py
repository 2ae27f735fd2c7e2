"""What people are told: sentences for the log, and status.json when something in it has changed."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from plancton import __version__
from plancton.image import short
from plancton.model import Decision, Event, Observation, Status, Work, WorkerStatus
from plancton.publish import Reading, with_rates, worker_statuses
from plancton.roster import Roster
from plancton.rundir import RunDir
from plancton.slice import Slice

log = logging.getLogger("plancton")

INTERVAL = 4.5
"""status.json is replaced this often (seconds) even when nothing but its figures has changed."""
EVENTS = 20


class Facts(NamedTuple):
    """What the loop knows beside the observation: the slice, the image's name and id, how Docker is, what
    work was done."""

    slice: Slice | None
    image: tuple[str, str]
    docker: str
    problems: tuple[str, ...]
    work: Work


class Bulletin:
    """Keeps the last events, and writes to ``run_dir`` (None: nowhere)."""

    def __init__(self, run_dir: RunDir | None, instance: str, roster: Roster) -> None:
        self._run_dir, self._instance, self._roster = run_dir, instance, roster
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._told = 0
        self._last: tuple[object, ...] = ()
        self._last_time = 0.0
        self._failed = False
        self._workers: tuple[tuple[object, ...], tuple[WorkerStatus, ...]] | None = None

    def say(self, text: str) -> None:
        self._tell(log.info, text)

    def warn(self, text: str) -> None:
        self._tell(log.warning, text)

    def _tell(self, write: Callable[..., None], text: str) -> None:
        write("%s", text)
        self._told += 1
        self._events.append(Event(round(time.time(), 3), text))

    def publish(
        self, seen: Observation, decision: Decision, readings: dict[str, Reading], facts: Facts, now: float
    ) -> None:
        """Replace status.json when something but the figures has changed, and every few seconds."""
        if self._run_dir is None:
            return
        key = (seen.fleet, decision.fit, decision.held, facts.problems, _mode(seen), self._told)
        if key == self._last and now - self._last_time < INTERVAL:
            return
        self._last, self._last_time = key, now
        try:
            self._run_dir.publish(self._status(seen, decision, readings, facts))
        except OSError as error:
            if not self._failed:
                log.warning("%s: status.json can't be written: %s", self._run_dir.path, error.strerror)
            self._failed = True
            return
        if self._failed:
            log.info("%s: can be written again", self._run_dir.path)
        self._failed = False

    def _status(
        self, seen: Observation, decision: Decision, readings: dict[str, Reading], facts: Facts
    ) -> Status:
        slice, (image, image_id) = facts.slice, facts.image
        status = Status(
            version=__version__,
            pid=os.getpid(),
            instance=self._instance,
            time=round(time.time(), 3),
            mode=_mode(seen),
            sentence="",
            decision="",
            tier=slice.tier if slice else "none",
            tier_reason=slice.tier_reason if slice else "waiting for Docker",
            slice=slice.path if slice else "",
            memory_ceiling=slice.ceiling() if slice else None,
            capacity=seen.capacity,
            fit=decision.fit,
            image=image,
            image_id=short(image_id),
            docker=facts.docker,
            problems=facts.problems,
            workers=self._worker_statuses(seen, decision, readings),
            events=tuple(self._events),
            work=facts.work,
        )
        return with_rates(status, seen, decision)

    def _worker_statuses(
        self, seen: Observation, decision: Decision, readings: dict[str, Reading]
    ) -> tuple[WorkerStatus, ...]:
        """Made anew when the workers were read, or when they or the fit have changed."""
        key = (seen.fleet, decision.fit, readings)
        if self._workers is None or any(a is not b for a, b in zip(key, self._workers[0], strict=True)):
            groups = {entry.worker.name: entry.group for entry in self._roster}
            made = worker_statuses(seen.fleet, decision.fit, seen.boottime, groups, readings)
            self._workers = key, tuple(made)
        return self._workers[1]


def _mode(seen: Observation) -> str:
    if seen.stopping:
        return "stopping"
    return "draining" if seen.draining else "donating"
