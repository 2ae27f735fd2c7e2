"""Carries decisions out: on Docker through the request queue, on the slice directly.

Everything here runs in the loop's thread; Docker's answers come back as calls that the loop makes.
"""

import logging
import random
import string
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, time

from plancton.config.resolve import digest
from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerRefused, DockerUnreachable, NotFound
from plancton.docker.replies import Container, Event
from plancton.docker.request_queue import RequestQueue
from plancton.errors import PlanctonError
from plancton.host.placement import Place, find_worker
from plancton.host.slice import Slice
from plancton.model import Action, Finish, Kill, Leave, Phase, SetQuota, SetShares, Settings, Start, Worker
from plancton.workers.accounting import Accounting
from plancton.workers.container import PERIOD, PREFIX, cpu_quota, create_body, is_ours
from plancton.workers.docker_calls import (
    Remains,
    examine,
    flooding,
    how_it_ended,
    prefer,
    read_report,
    remove_network,
    start_worker,
)
from plancton.workers.roster import Entry, Roster
from plancton.workers.same_host import NOT_HERE
from plancton.workers.token import TokenError, pack, read_token

log = logging.getLogger(__name__)

LIFT_SECONDS = 5.0
"""A lift costs the owner 20 % of a CPU, so it lasts at most this long."""
KILL_TIMEOUT = 5.0
"""A kill that has not worked after this time is repeated."""
NO_WORK = 75
"""Exit code of a worker that found no work."""
UNKNOWN = 0.0
"""As a quota: Docker did not accept the last one, so it is set again."""
HUNG = 3.0
"""A Docker call that takes longer may never end: a worker that must die now dies without Docker."""


class Actuator:
    """Acts for one instance on one slice. ``say`` takes a sentence for the log and the status."""

    def __init__(
        self,
        roster: Roster,
        request_queue: RequestQueue,
        workers_slice: Slice,
        instance: str,
        say: Callable[[str], None],
        proc: Path,
        accounting: Accounting,
        on_trouble: Callable[[DockerError], None],
        on_image_lost: Callable[[], None],
        dry_run: bool = False,
    ) -> None:
        self.roster, self.slice, self.accounting = roster, workers_slice, accounting
        self._request_queue, self._instance, self._say, self._proc = request_queue, instance, say, proc
        self._network = workers_slice.unit.removesuffix(".slice")
        self._lifted_until: float | None = None
        self._lifted: set[str] = set()
        self._unread: dict[str, None] = {}
        self._fetching = False
        self._dry_run, self._on_trouble, self._on_image_lost = dry_run, on_trouble, on_image_lost
        self.unprotected = ""
        """Why no worker may be started any more: one was found outside the slice."""

    # ------------------------------------------------------------ decisions

    def act(
        self, actions: tuple[Action, ...], now: float, config: Config, image: str, settings: Settings
    ) -> None:
        """Carry these actions out; ``now`` is CLOCK_MONOTONIC."""
        lift = [a.name for a in actions if isinstance(a, Leave | Kill) and a.lift]
        for action in actions:
            match action:
                case Start():
                    self._start(config, image, settings)
                case Finish(name=name, reason=reason, timeout=timeout):
                    self._tell(name, Phase.FINISHING, config.worker.finish_signal, now, timeout, reason)
                case Leave(name=name, reason=reason, timeout=timeout):
                    self._tell(name, Phase.LEAVING, config.worker.leave_signal, now, timeout, reason)
                case Kill(name=name, reason=reason):
                    self._kill(name, now, reason)
                case SetShares(name=name, shares=shares):
                    self._share(name, shares, now)
                case SetQuota(name=name, cpus=cpus):
                    self._limit(name, cpus)
        if lift:
            self._lift(now)

    def _start(self, config: Config, image: str, settings: Settings) -> None:
        name = PREFIX + "".join(random.choices(string.ascii_lowercase + string.digits, k=6))
        made_of = digest(config)
        body = create_body(name, config, image, made_of, self._instance, self.slice.parent, self._network)
        shares = body["HostConfig"]["CpuShares"]
        worker = Worker(
            name,
            cpus=settings.worker_cpus,
            memory=settings.worker_memory,
            shares=shares,
            image=image,
            digest=made_of,
            jobs=() if config.htcondor else None,
        )
        self.roster.request(worker, clock_gettime(CLOCK_BOOTTIME))
        self._say(f"starting {name}")
        try:
            files = _files(config)
        except TokenError as error:
            self._not_started(name, error)
            return
        start = partial(
            start_worker, name=name, body=body, files=files, network=self._network, instance=self._instance
        )
        self._request_queue.submit(start, partial(self._started, name))

    def _not_started(self, name: str, error: PlanctonError | None) -> None:
        self._say(f"{name} can't be started: {error}")
        self.roster.failed(name, str(error), clock_gettime(CLOCK_BOOTTIME))

    def _started(self, name: str, container: Container | None, error: DockerError | None) -> None:
        if container is None:
            if isinstance(error, NotFound) and "no such image" in str(error).lower():
                self._on_image_lost()
            self._not_started(name, error)
            self._trouble(error)
            return
        entry = self.arrived(container)
        if entry.worker.phase in (Phase.LEAVING, Phase.KILLED):  # retired while it was being created
            self._remove(name, force=True)

    def arrived(self, container: Container) -> Entry:
        """A container of ours is running: find its processes. If it has ended already, record
        that."""
        place = self._find(container)
        entry = self.roster.arrived(container, place.started, place.group, place.shim)
        if not container.state.running:
            code, how = container.state.exit_code, how_it_ended(container)
            self.ended(container.name, code, how, place.started or 0.0)
        elif not place.group and not self._dry_run:  # it may have ended meanwhile
            look = partial(Docker.inspect, container=container.id)
            self._request_queue.submit(look, partial(self._looked_again, container.name), urgent=True)
        return entry

    def _find(self, container: Container) -> Place:
        return find_worker(self.slice, container.id, container.state.pid, self._proc)

    def _looked_again(self, name: str, container: Container | None, error: DockerError | None) -> None:
        """A worker that still runs and is not in the slice goes at once, and none comes after it."""
        entry = self.roster.get(name)
        if container is None or entry is None or entry.worker.id != container.id:
            self._told(None, error)
            return
        place = self._find(container)
        if not container.state.running or entry.worker.phase is Phase.ENDED:
            return  # its event tells the rest
        if place.group:
            self.roster.arrived(container, place.started, place.group, place.shim)
            return
        if not self.unprotected:
            where = f"{self.slice.parent}, as this Docker should have made it ({place.elsewhere})"
            why = f"nothing would protect the owner: nothing more is started; {NOT_HERE}"
            self.unprotected = f"{name} was not in {where}, so {why}"
            self._say(self.unprotected)
        self.roster.tell(name, Phase.KILLED, monotonic(), KILL_TIMEOUT)
        self._remove(name, force=True)

    def _tell(
        self, name: str, phase: Phase, signal_name: str, now: float, timeout: float, reason: str
    ) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        verb = "leave" if phase is Phase.LEAVING else "finish"
        self._say(f"asking {name} to {verb}: {reason}")
        starting = entry.worker.phase is Phase.STARTING
        self.roster.tell(name, phase, now, timeout)
        if not starting:
            self._signal(entry.worker.id, signal_name)

    def _signal(self, container: str, signal_name: str) -> None:
        self._request_queue.submit(
            lambda docker: docker.signal(container, signal_name), self._told, urgent=True
        )

    def _told(self, _: None, error: DockerError | None) -> None:
        # Gone or ending already (404, 409): the event stream tells the rest.
        if error is not None and not isinstance(error, DockerRefused):
            self._trouble(error)

    def _kill(self, name: str, now: float, reason: str) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        if entry.worker.phase is not Phase.KILLED:  # else it is a repeated kill
            self._say(f"killing {name}: {reason}")
        self.roster.tell(name, Phase.KILLED, now, KILL_TIMEOUT)
        container = entry.worker.id
        if container:
            self._request_queue.submit(
                lambda docker: docker.signal(container, "SIGKILL"), partial(self._killed, name), urgent=True
            )
        if self._request_queue.busy_for(now) > HUNG:
            self._kill_without_docker(name)

    def _killed(self, name: str, _: None, error: DockerError | None) -> None:
        if isinstance(error, DockerUnreachable):
            self._kill_without_docker(name)
        self._told(None, error)

    def _kill_without_docker(self, name: str) -> None:
        entry = self.roster.get(name)
        if entry is not None and self.slice.kill(entry.group, entry.worker.id):
            self._say(f"Docker does not answer: {name} was killed through its cgroup")

    def _share(self, name: str, shares: int, now: float) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        container = entry.worker.id
        # Not busy: if Docker hangs on this call, the worker must still be told to leave.
        self.roster.change(name, shares_time=now)
        self._request_queue.submit(
            lambda docker: docker.set_shares(container, shares), partial(self._shared, name, shares)
        )

    def _shared(self, name: str, shares: int, _: None, error: DockerError | None) -> None:
        if error is None:
            self.roster.change(name, shares=shares)
            return
        self._told(None, error)

    def _limit(self, name: str, cpus: float) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        container = entry.worker.id
        # Recorded at once, so that it is not requested again while Docker is slow.
        self.roster.change(name, quota=None if cpus == entry.worker.cpus else cpus)
        self._request_queue.submit(
            lambda docker: docker.set_quota(container, cpu_quota(cpus), PERIOD),
            partial(self._limited, name),
            urgent=True,
        )

    def _limited(self, name: str, _: None, error: DockerError | None) -> None:
        if error is not None:
            self.roster.change(name, quota=UNKNOWN)
            self._told(None, error)

    def look_for_floods(self) -> None:
        """Find out whose output keeps the engine busy; only the log lines tell."""
        names = {
            e.worker.id: e.worker.name
            for e in self.roster
            if e.worker.phase in (Phase.RUNNING, Phase.FINISHING)
        }
        since = time() - 1.0
        call = partial(flooding, containers=list(names), since=since)
        self._request_queue.submit(call, partial(self._found_floods, names))

    def _found_floods(
        self, names: dict[str, str], found: list[str] | None, error: DockerError | None
    ) -> None:
        for container in found or ():
            self.roster.change(names[container], flooding=True)
        self._told(None, error)

    # ------------------------------------------------------------ the lift

    def _leaving(self) -> list[Entry]:
        return [e for e in self.roster if e.worker.phase in (Phase.LEAVING, Phase.KILLED) and e.group]

    def _lift(self, now: float) -> None:
        """Let all leaving workers leave together."""
        if self.slice.privileged:
            self._raise(now)
        elif self.slice.can_lift:
            # Docker first: with its systemd driver an update makes systemd rewrite the slice's
            # files.
            call = partial(prefer, containers=[entry.worker.id for entry in self._leaving()])
            self._request_queue.submit(call, self._preferred, urgent=True)

    def _preferred(self, _: None, error: DockerError | None) -> None:
        self._told(None, error)
        self._raise(monotonic())

    def _raise(self, now: float) -> None:
        leaving = {entry.worker.name: entry.group for entry in self._leaving()}
        others = [
            e.group for e in self.roster if e.group and e.worker.phase in (Phase.RUNNING, Phase.FINISHING)
        ]
        if not leaving:
            return
        self.slice.drop()
        try:
            self.slice.lift(leaving.values(), others)
        except OSError as error:
            log.warning("%s can't be lifted: %s", self.slice.path, error)
            self.slice.drop()
            return
        self._lifted, self._lifted_until = set(leaving), now + LIFT_SECONDS

    def lift_ends(self) -> float | None:
        """When the lift must end (CLOCK_MONOTONIC); None if there is none."""
        return self._lifted_until

    def step(self, now: float) -> None:
        """End a lift that has lasted long enough."""
        if self._lifted_until is not None and now >= self._lifted_until:
            self.drop_lift()

    def drop_lift(self) -> None:
        self.slice.drop()
        self._lifted, self._lifted_until = set(), None

    # ------------------------------------------------------------ what Docker tells

    def on_event(self, event: Event, boottime: float) -> None:
        """One of our containers died or was removed."""
        if event.name not in self.roster:
            return
        if event.action == "die":
            code = event.attributes.get("exitCode", "unknown")
            self.ended(event.name, int(code) if code.isdecimal() else None, f"exit code {code}", boottime)
        elif event.action == "destroy":
            self.vanished(event.name, "removed by somebody", boottime)

    def ended(self, name: str, code: int | None, reason: str, boottime: float, unseen: bool = False) -> None:
        """A worker's container has ended: end its lift, read its last words, say so, remove it.

        ``unseen``: it ended while Docker was away, perhaps because Docker itself ended.
        """
        if not self.roster.ended(name, boottime):
            return
        self._lifted.discard(name)
        if self._lifted_until is not None and not self._lifted:
            self.drop_lift()
        worker = self.roster[name].worker
        if worker.told is not None and worker.jobs is None:
            self._examined(name, code, reason, unseen, None, None)
            return
        self.roster.change(name, busy=True)
        call = partial(examine, container=worker.id or name, reports=worker.jobs is not None)
        self._request_queue.submit(call, partial(self._examined, name, code, reason, unseen))

    def _examined(
        self,
        name: str,
        code: int | None,
        reason: str,
        unseen: bool,
        found: "Remains | None",
        error: DockerError | None,
    ) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        self.roster.change(name, busy=False)
        if found and found.words:
            reason = f"{reason}: {found.words}"
        told = self.accounting.reported(name, found.report) if found and found.report is not None else 0
        self._lose(entry, told)
        self._say(self.roster.explain(name, reason, idle=code == NO_WORK, unseen=unseen))
        if error is not None:
            self._told(None, error)
        self._remove(name)

    def _lose(self, entry: Entry, told: int = 0) -> None:
        """This worker will report no more jobs: those that ran are lost, except ``told`` of
        them."""
        jobs = entry.worker.jobs or ()
        if len(jobs) > told:
            self.accounting.lost(len(jobs) - told, entry.job_cpu * (1 - told / len(jobs)))

    def vanished(self, name: str, reason: str, boottime: float) -> None:
        """A worker's container no longer exists, and nobody can say how it ended."""
        entry = self.roster.get(name)
        if entry is not None and entry.worker.phase is Phase.ENDED and entry.worker.busy:
            return  # it is being examined or removed: the result of that tells the rest
        if entry is not None and entry.worker.phase is Phase.STARTING and not entry.worker.id:
            return  # its start is under way, or has failed and is being undone
        if entry is not None and self.roster.ended(name, boottime):
            self._lose(entry)
            self._say(self.roster.explain(name, reason))
        self._gone(name)

    def fetch_report(self, name: str) -> None:
        """Soon count the jobs that a running worker reports: a report costs dockerd 55 ms of
        CPU."""
        self._unread[name] = None

    def fetch_next(self) -> None:
        """Read the report that has waited longest, unless one is being read."""
        while self._unread and not self._fetching:
            name = next(iter(self._unread))
            del self._unread[name]
            entry = self.roster.get(name)
            if entry is not None and entry.worker.id and entry.worker.phase is not Phase.ENDED:
                self._fetching = True
                call = partial(read_report, container=entry.worker.id)
                self._request_queue.submit(call, partial(self._fetched, name))

    def _fetched(self, name: str, report: bytes | None, error: DockerError | None) -> None:
        self._fetching = False
        if report is not None and name in self.roster:
            self.accounting.reported(name, report)
        self._told(None, error)

    def _remove(self, name: str, force: bool = False) -> None:
        entry = self.roster.get(name)
        if entry is None or not entry.worker.id or entry.worker.busy or self._dry_run:
            return
        container = entry.worker.id
        self.roster.change(name, busy=True)
        self._request_queue.submit(
            lambda docker: docker.remove(container, force=force), partial(self._removed, name)
        )

    def _removed(self, name: str, _: None, error: DockerError | None) -> None:
        if error is None or isinstance(error, NotFound):
            self._gone(name)
            return
        self.roster.change(name, busy=False)
        self._told(None, error)

    def _gone(self, name: str) -> None:
        """Its container no longer exists, so its report can't be counted twice."""
        self.accounting.forget(name)
        self.roster.gone(name)

    def sweep(self) -> None:
        """Try again to remove containers that have ended."""
        for entry in self.roster:
            if entry.worker.phase is Phase.ENDED:
                self._remove(entry.worker.name)

    def reconcile(self, found: list[Container], boottime: float) -> None:
        """Make the roster match what Docker has: adopt new ones, and notice which have gone."""
        names = set()
        for container in found:
            if not is_ours(container, self._instance, self.slice.parent):
                log.warning("%s has our label but is not in our slice: left alone", container.name)
                continue
            names.add(container.name)
            self._reconcile_one(container, boottime)
        self.accounting.keep(names)
        for entry in self.roster:
            # Without an id its start is still under way.
            if entry.worker.id and entry.worker.name not in names:
                self.vanished(entry.worker.name, "gone while Docker did not answer", boottime)

    def _reconcile_one(self, container: Container, boottime: float) -> None:
        entry = self.roster.get(container.name)
        if container.state.running:
            if entry is None or entry.worker.phase is Phase.STARTING:
                arrived = self.arrived(container)
            if entry is None:
                if not self._dry_run:
                    self.slice.boost.restore_quota(arrived.group, container.host_config.cpu_quota)
                self._say(f"adopted {container.name}")
            return
        if entry is None or not entry.worker.id:
            self.roster.arrived(container, boottime, "", 0)
        if entry is None:
            # From an earlier supervisor: its end says nothing about the image.
            self.roster.tell(container.name, Phase.LEAVING, boottime, 0.0)
        self.ended(container.name, container.state.exit_code, how_it_ended(container), boottime, unseen=True)

    def force_all(self, now: float) -> None:
        """Remove all workers: their processes at once, their containers as soon as Docker
        answers."""
        self.slice.kill_all({entry.worker.id for entry in self.roster if entry.worker.id})
        for entry in self.roster:
            self.slice.kill(entry.group, entry.worker.id)
            self._lose(entry)
            self.roster.change(entry.worker.name, jobs=None)
            self.roster.tell(entry.worker.name, Phase.KILLED, now, KILL_TIMEOUT)
            self.roster.change(entry.worker.name, busy=False)
            self._remove(entry.worker.name, force=True)

    def remove_network(self, done: Callable[[], None]) -> None:
        """Remove our network, unless somebody else uses it."""
        self._request_queue.submit(
            partial(remove_network, name=self._network, instance=self._instance), lambda _, error: done()
        )

    def _trouble(self, error: DockerError | None) -> None:
        if error is not None:
            self._on_trouble(error)


def _files(config: Config) -> bytes | None:
    """A tar of what a worker finds in its volume. The token reaches it this way only."""
    if config.htcondor is None:
        return None
    return pack(read_token(config.htcondor.token_file, time()), config.worker.user)
