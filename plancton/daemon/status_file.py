"""What users see: sentences in the log, and status.json."""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple, cast

import msgspec

from plancton import __version__
from plancton.daemon.run_directory import RunDir
from plancton.docker.images import short
from plancton.files import to_json
from plancton.host.slice import Slice
from plancton.model import Decision, Event, Fleet, Observation, Pause, Status, Work, WorkerStatus
from plancton.policy.sentences import headline, mode_of
from plancton.units import printable
from plancton.workers.roster import Roster
from plancton.workers.usage import Usage

log = logging.getLogger("plancton")

INTERVAL = 9.5
"""Seconds after which status.json is replaced even if only its figures have changed."""
EVENTS = 20


class Facts(NamedTuple):
    """What the loop knows besides the observation: the slice, the image's name and id, the state of
    Docker, the work done, which of the workers' file systems can't be looked at, when the last
    worker's token expires, and until when the owner's own pause is (Unix times)."""

    slice: Slice | None
    image: tuple[str, str]
    docker: str
    problems: tuple[str, ...]
    work: Work
    unseen_disks: tuple[str, ...] = ()
    token_expires: float | None = None
    pause_until: float | None = None


class StatusFile:
    """Keeps the last events and writes to ``run_dir`` (None: nowhere). ``keep`` gets each event."""

    def __init__(
        self,
        run_dir: RunDir | None,
        instance: str,
        roster: Roster,
        keep: Callable[[Event], None] = lambda _: None,
    ) -> None:
        self._run_dir, self._instance, self._roster, self._keep = run_dir, instance, roster, keep
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._told = 0
        self._last: tuple[object, ...] = ()
        self._last_time = 0.0
        self._failed = False
        self._shown: tuple[WorkerStatus, ...] = ()
        """In fact its JSON: of a thousand that takes longer than the rest of a tick."""
        self._shown_of: tuple[object, int, object] = (None, 0, None)

    def say(self, text: str) -> None:
        self._tell(log.info, text)

    def warn(self, text: str) -> None:
        self._tell(log.warning, text)

    def _tell(self, write: Callable[..., None], text: str) -> None:
        text = printable(text)
        write("%s", text)
        self._told += 1
        self._events.append(Event(round(time.time(), 3), text))
        self._keep(self._events[-1])

    def publish(
        self, seen: Observation, decision: Decision, usage: dict[str, Usage], facts: Facts, now: float
    ) -> None:
        """Replace status.json if more than its figures has changed, and every few seconds."""
        if self._run_dir is None:
            return
        state = decision.fit, decision.held, mode_of(seen, decision), seen.frozen, decision.cap
        key = (seen.fleet, *state, facts.problems, self._told)
        if key == self._last and now - self._last_time < INTERVAL:
            return
        self._last, self._last_time = key, now
        try:
            self._run_dir.publish(self._status(seen, decision, usage, facts))
        except OSError as error:
            if not self._failed:
                log.warning("%s: status.json can't be written: %s", self._run_dir.path, error.strerror)
            self._failed = True
            return
        if self._failed:
            log.info("%s: can be written again", self._run_dir.path)
        self._failed = False

    def _status(self, seen: Observation, decision: Decision, usage: dict[str, Usage], facts: Facts) -> Status:
        workers_slice, (image, image_id) = facts.slice, facts.image
        return Status(
            version=__version__,
            pid=os.getpid(),
            instance=self._instance,
            time=round(time.time(), 3),
            mode=mode_of(seen, decision),
            sentence=printable(headline(seen, decision)),
            decision=printable(decision.sentence),
            tier=workers_slice.tier if workers_slice else "none",
            tier_reason=printable(workers_slice.tier_reason if workers_slice else "waiting for Docker"),
            slice=workers_slice.path if workers_slice else "",
            capacity=seen.capacity,
            fit=decision.fit,
            max_workers=seen.max_workers,
            owner=_rounded(seen.owner),
            donated=_rounded(seen.donated),
            engine=_rounded(seen.engine),
            stolen=_rounded(seen.stolen),
            idle=_rounded(seen.idle),
            room=_rounded(decision.room),
            memory_total=seen.memory_total,
            memory_available=seen.memory_available,
            memory_donated=seen.slice_anon,
            memory_ceiling=workers_slice.ceiling() if workers_slice else None,
            image=printable(image),
            image_id=printable(short(image_id)),
            docker=printable(facts.docker),
            unprotected=printable(seen.unprotected),
            unseen_disks=tuple(map(printable, facts.unseen_disks)),
            problems=tuple(map(printable, facts.problems)),
            workers=self._worker_statuses(seen, decision, usage),
            events=tuple(self._events),
            work=facts.work,
            token_expires=facts.token_expires,
            pause=_pause(seen, decision, facts.pause_until),
            cap=decision.cap,
        )

    def _worker_statuses(
        self, seen: Observation, decision: Decision, usage: dict[str, Usage]
    ) -> tuple[WorkerStatus, ...]:
        """Rebuilt when usage was read, or when the workers or the fit have changed."""
        fleet, fit, read = self._shown_of
        if seen.fleet is not fleet or decision.fit != fit or usage is not read:
            groups = {entry.worker.name: entry.group for entry in self._roster}
            made = worker_statuses(seen.fleet, decision.fit, seen.boottime, groups, usage)
            self._shown_of = seen.fleet, decision.fit, usage
            self._shown = cast("tuple[WorkerStatus, ...]", msgspec.Raw(to_json(tuple(made))))
        return self._shown


def _pause(seen: Observation, decision: Decision, until: float | None) -> Pause | None:
    if not decision.paused:
        return None
    by: Literal["owner", "rule"] = "owner" if seen.wishes.pause else "rule"
    known = until if by == "owner" and until is not None and math.isfinite(until) else None
    return Pause(by, printable(decision.paused), known, seen.frozen)


def worker_statuses(
    fleet: Fleet, fit: int, boottime: float, groups: Mapping[str, str], usage: Mapping[str, Usage]
) -> Iterable[WorkerStatus]:
    fitting = {w.name for w in fleet.line[:fit]}
    for worker in fleet.workers:
        used = usage.get(worker.name, Usage())
        yield WorkerStatus(
            name=printable(worker.renamed or worker.name),
            id=printable(worker.id[:12]),
            phase=worker.phase,
            cpus=worker.cpus,
            memory_limit=worker.memory,
            age=None if worker.started is None else round(worker.age(boottime), 1),
            cpu=_rounded(used.cpu),
            share=None if used.cpu is None else round(min(1.0, used.cpu / worker.cpus), 3),
            memory=None if used.memory is None else int(used.memory),
            fits=worker.name in fitting,
            cgroup=groups.get(worker.name, ""),
            jobs=None if worker.jobs is None else len(worker.jobs),
            job_age=round(max(0.0, boottime - worker.jobs[0]), 1) if worker.jobs else None,
            paused=worker.paused,
            stuck=worker.stuck,
            image=printable(short(worker.image)),
            restarts=worker.restarts,
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
