"""Carries decisions out: on Docker through the request queues, on the slice directly.

Removals (removals.py), logs and archives go through a queue of their own: they may be slow, and a
worker that must leave can't wait for them. Everything here runs in the loop's thread; Docker's
answers come back as calls that the loop makes.
"""

import logging
import random
import re
import string
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, time
from typing import Any

import msgspec

from plancton.config.resolve import digest
from plancton.config.schema import Config
from plancton.config.security import SecurityError, read_profiles
from plancton.daemon.lift import Lift
from plancton.daemon.removals import Removals
from plancton.docker.client import Docker
from plancton.docker.errors import (
    Conflict,
    DockerError,
    DockerRefused,
    DockerTimeout,
    DockerUnreachable,
    NotFound,
)
from plancton.docker.replies import Container, Event
from plancton.docker.request_queue import Queued, RequestQueue
from plancton.errors import PlanctonError
from plancton.host.placement import Place, find_worker, to_boottime
from plancton.host.slice import Slice
from plancton.model import (
    LEAST_SHARES,
    Action,
    Finish,
    Freeze,
    Kill,
    Leave,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Thaw,
    Worker,
    full_shares,
)
from plancton.policy.burden import OOM_KILLS, OOM_SECONDS, OUT_OF_MEMORY, OUTPUT
from plancton.policy.decide import lifetime
from plancton.workers.accounting import Accounting
from plancton.workers.container import (
    PERIOD,
    PREFIX,
    UNTIL,
    cpu_quota,
    create_body,
    is_ours,
    label_number,
    promised,
)
from plancton.workers.docker_calls import (
    Remains,
    Unstarted,
    examine,
    flooding,
    how_it_ended,
    read_report,
    send_signal,
    start_worker,
)
from plancton.workers.network import remove_network, wanted_network
from plancton.workers.roster import Entry, Roster, quota_of
from plancton.workers.same_host import NOT_HERE
from plancton.workers.surroundings import ORDINARY, Surroundings
from plancton.workers.token import TokenError, expiry, pack, read_token
from plancton.workers.users import user_of, with_user

log = logging.getLogger(__name__)

KILL_TIMEOUT, LONGEST_KILL_TIMEOUT = 5.0, 300.0
"""A kill that has not worked after this time is repeated; each time it gets twice as long."""
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
        cleanup_queue: RequestQueue,
        workers_slice: Slice,
        instance: str,
        say: Callable[[str], None],
        proc: Path,
        accounting: Accounting,
        on_trouble: Callable[[DockerError], None],
        on_image_lost: Callable[[], None],
        around: Callable[[Config], Surroundings] = lambda _: ORDINARY,
        on_network: Callable[[], None] = lambda: None,
        dry_run: bool = False,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.roster, self.slice, self.accounting = roster, workers_slice, accounting
        self._request_queue, self._cleanup_queue = request_queue, cleanup_queue
        self._instance, self._say, self._proc, self._clock = instance, say, proc, clock
        self._network = workers_slice.unit.removesuffix(".slice")
        self.lift = Lift(roster, request_queue, workers_slice, clock, self._trouble)
        self.removals = Removals(
            roster, cleanup_queue, accounting, say, clock, self.refresh, self._cleanup_trouble, dry_run
        )
        self._asked: dict[str, bool] = {}
        self._left_alone: set[str] = set()
        self._starts: dict[str, Queued] = {}
        self._unread: dict[str, None] = {}
        self._fetching = False
        self._frozen_since = 0.0
        self._lost_image = ""
        self._around, self._on_network = around, on_network
        self._dry_run, self._on_trouble, self._on_image_lost = dry_run, on_trouble, on_image_lost
        self.unprotected = ""
        """Why no worker may be started any more: one was found outside the slice."""
        self.token_expires: float | None = None
        """When the last worker's token does (Unix time), as far as that is known."""

    # ------------------------------------------------------------ decisions

    def act(
        self,
        actions: tuple[Action, ...],
        now: float,
        config: Config,
        image: str,
        newest: str,
        settings: Settings,
    ) -> None:
        """Carry these actions out; ``now`` is CLOCK_MONOTONIC. Workers of ``image`` are made from
        the ``newest`` id that Docker has for it."""
        for action in actions:
            match action:
                case Start(disk=disk):
                    self._start(config, image, newest, settings, disk)
                case Finish(name=name, reason=reason, timeout=timeout):
                    send = partial(send_signal, signal_name=config.worker.finish_signal)
                    self._tell(name, Phase.FINISHING, send, now, timeout, reason)
                case Leave(name=name, reason=reason, timeout=timeout):
                    hurry = timeout < settings.leave_timeout
                    send = partial(send_signal, signal_name=config.worker.leave_signal, again=hurry)
                    self._tell(name, Phase.LEAVING, send, now, timeout, reason)
                case Kill(name=name, reason=reason, at_once=at_once):
                    self._kill(name, now, reason, at_once)
                case Freeze(reason=reason):
                    self._freeze(now, reason)
                case Thaw(reason=reason):
                    self._thaw(now, reason)
                case SetShares(name=name, shares=shares):
                    self._share(name, shares, now)
                case SetQuota(name=name, cpus=cpus):
                    self._limit(name, cpus)
        self.lift.begin(
            [a.name for a in actions if isinstance(a, Leave | Kill) and a.lift], now, settings.lift
        )

    def _freeze(self, now: float, reason: str) -> None:
        if self.slice.freeze():
            self._frozen_since = now
            self._say(f"freezing the workers: {reason}")

    def _thaw(self, now: float, reason: str) -> None:
        """Who was to finish could not meanwhile."""
        was_frozen = self.slice.frozen
        if not self.slice.thaw():
            return
        self._say(f"thawing the workers: {reason}")
        for entry in self.roster:
            if was_frozen and entry.worker.phase is Phase.FINISHING and entry.worker.deadline is not None:
                later = entry.worker.deadline + now - self._frozen_since
                self.roster.change(entry.worker.name, deadline=later)

    def _start(self, config: Config, image: str, newest: str, settings: Settings, disk: int | None) -> None:
        name = PREFIX + "".join(random.choices(string.ascii_lowercase + string.digits, k=6))
        made_of = digest(config)
        worker = Worker(
            name,
            cpus=settings.worker_cpus,
            memory=settings.worker_memory,
            shares=full_shares(config.worker.cpus),
            image=image,
            digest=made_of,
            jobs=() if config.htcondor else None,
        )
        around = self._around(config)
        config = with_user(config, around.own_user, self.roster.users)
        self.roster.request(worker, clock_gettime(CLOCK_BOOTTIME), user_of(config.worker))
        self._say(f"starting {name}")
        network = wanted_network(config, self._instance)
        place = (self._instance, self.slice.parent, network.mode)
        try:
            profiles = read_profiles(config.worker.security_options)
            body = create_body(name, config, image, made_of, *place, profiles, around)
            body["Image"] = newest
            files = self._files(config)
            if config.htcondor:
                self._promise(name, body, settings, disk)
        except (SecurityError, TokenError) as error:
            self._not_started(name, error)
            return
        start = partial(
            start_worker,
            name=name,
            body=body,
            files=files,
            network=network,
            network_made=self._on_network,
        )
        done = partial(self._started, name, newest, self._lost_image)
        self._starts[name] = self._request_queue.submit(start, done)

    def _promise(self, name: str, body: dict[str, Any], settings: Settings, disk: int | None) -> None:
        """Have a pool member tell its pool what it may expect of it."""
        ends = time() + lifetime(self.roster[name].worker, settings)
        if self.token_expires is not None:
            left = self.token_expires - time()
            until = self.token_expires - min(settings.finish_timeout, left / 2)
            self._ends_at(name, until)
            body["Labels"][UNTIL] = repr(until)
            ends = min(ends, until)
        lost, life = self.accounting.lost_part, self.roster.median_life
        body["Env"] += promised(disk, ends, lost, life)

    def _ends_at(self, name: str, until: float) -> None:
        """It is to finish then (Unix time), before its token ends."""
        boottime = clock_gettime(CLOCK_BOOTTIME)
        self.roster.change(name, until=boottime + until - time())

    def _cancel_start(self, name: str) -> bool:
        """Whether its start was still in the queue: then there is nothing to end."""
        start = self._starts.get(name)
        if start is None or not start.take():
            return False
        del self._starts[name]
        self._say(f"{name} is not started after all")
        self.removals.gone(name)
        return True

    def _not_started(self, name: str, error: PlanctonError | None) -> None:
        self._say(f"{name} can't be started: {error}")
        self.roster.failed(name, str(error), clock_gettime(CLOCK_BOOTTIME))

    def _started(
        self,
        name: str,
        image: str,
        lost_before: str,
        made: Container | Unstarted | None,
        error: DockerError | None,
    ) -> None:
        self._starts.pop(name, None)
        if isinstance(made, Unstarted):
            self.removals.discard(made.container)
            self._not_started(name, made.error)
            return
        if made is None:
            if isinstance(error, NotFound) and "no such image" in str(error).lower():
                self._on_image_lost()
                if self._image_moved(name, image, lost_before):
                    return
            self._not_started(name, error)
            self._trouble(error)
            return
        entry = self.arrived(made)
        if entry.worker.phase in (Phase.LEAVING, Phase.KILLED):  # retired while it was being created
            self.removals.remove(name, force=True)

    def _image_moved(self, name: str, image: str, lost_before: str) -> bool:
        """Somebody may have pulled a newer one by hand: that is no failure, unless the same one was
        missing when the start was asked for."""
        if image == lost_before:
            return False
        self._lost_image = image
        self._say(f"{name} is not started: its image has just been replaced or removed")
        self.removals.gone(name)
        return True

    def arrived(self, container: Container) -> Entry:
        """A container of ours is running: find its processes. If it has ended already, record
        that."""
        place = self._find(container)
        entry = self.roster.arrived(container, place.started, place.group, place.shim)
        if not container.state.running:
            code, how = container.state.exit_code, how_it_ended(container)
            self.ended(entry.worker.name, code, how, place.started or 0.0)
        elif not place.group and not self._dry_run:  # it may have ended meanwhile
            look = partial(Docker.inspect, container=container.id)
            self._request_queue.submit(look, partial(self._looked_again, entry.worker.name), urgent=True)
        return entry

    def _find(self, container: Container) -> Place:
        place = find_worker(self.slice, container.id, container.state.pid, self._proc)
        if place.started is None and container.state.running:  # hidden from us: Docker knows as well
            started = to_boottime(container.state.started_at, time(), clock_gettime(CLOCK_BOOTTIME))
            return msgspec.structs.replace(place, started=started)
        return place

    def _looked_again(self, name: str, container: Container | None, error: DockerError | None) -> None:
        """A worker that still runs and is not in the slice goes at once, and none comes after it."""
        entry = self.roster.get(name)
        if container is None or entry is None or entry.worker.id != container.id:
            self._trouble(error)
            return
        place = self._find(container)
        if not container.state.running or entry.worker.phase is Phase.ENDED:
            return  # its event tells the rest
        if place.group:
            self._undo_a_lift(
                self.roster.arrived(container, place.started, place.group, place.shim), container
            )
            return
        if not self.unprotected:
            where = f"{self.slice.parent}, as this Docker should have made it ({place.elsewhere})"
            why = f"nothing would protect the owner: nothing more is started; {NOT_HERE}"
            self.unprotected = f"{name} was not in {where}, so {why}"
            self._say(self.unprotected)
        self.roster.tell(name, Phase.KILLED, self._clock(), KILL_TIMEOUT)
        self.removals.remove(name, force=True)

    def _tell(
        self,
        name: str,
        phase: Phase,
        send: Callable[..., None],
        now: float,
        timeout: float,
        reason: str,
    ) -> None:
        entry = self.roster.get(name)
        if entry is None or self._cancel_start(name):
            return
        verb = "leave" if phase is Phase.LEAVING else "finish"
        self._say(f"asking {name} to {verb}: {reason}")
        starting = entry.worker.phase is Phase.STARTING
        self.roster.tell(name, phase, now, timeout)
        if not starting:
            call = partial(send, container=entry.worker.id, paused=entry.worker.paused)
            self._request_queue.submit(call, partial(self._told, name, entry.worker.id), urgent=True)

    def _told(self, name: str, container: str, _: None, error: DockerError | None) -> None:
        if isinstance(error, NotFound | Conflict):
            self.refresh(container)  # it has ended or gone
        elif isinstance(error, DockerRefused):
            self._say(f"{name} was not told: {error}")
        self._trouble(error)

    def _kill(self, name: str, now: float, reason: str, at_once: bool = False) -> None:
        entry = self.roster.get(name)
        if entry is None or self._cancel_start(name):
            return
        wait = min(LONGEST_KILL_TIMEOUT, KILL_TIMEOUT * 2**entry.kills)
        if entry.worker.phase is Phase.KILLED:
            self._kill_again(entry, now + wait)
        else:
            self._say(f"killing {name}: {reason}")
            self.roster.tell(name, Phase.KILLED, now, wait)
        entry.kills = min(entry.kills + 1, 16)
        container = entry.worker.id
        if container and not entry.killing:
            entry.killing = True
            call = partial(
                send_signal, container=container, signal_name="SIGKILL", paused=entry.worker.paused
            )
            self._request_queue.submit(call, partial(self._killed, container), urgent=True)
        if at_once:
            self.slice.kill(entry.group, entry.worker.id)
        elif self._request_queue.busy_for(now) > HUNG:
            self._kill_without_docker(entry, "Docker does not answer")

    def _kill_again(self, entry: Entry, deadline: float) -> None:
        """One that outlives being killed, whatever Docker said to that."""
        name = entry.worker.name
        self.roster.change(name, deadline=deadline)
        self.slice.kill(entry.group, entry.worker.id)
        if entry.worker.id and not entry.worker.stuck and not self.slice.is_empty(entry.group):
            self.roster.change(name, stuck=True)
            self._say(f"{name} outlives being killed: tried again ever less often")

    def _killed(self, container: str, _: None, error: DockerError | None) -> None:
        entry = self.roster.find(container)
        if entry is not None:
            entry.killing = False
            if isinstance(error, NotFound | Conflict):
                self.refresh(container)  # it has ended or gone
            elif error is not None:
                entry.refused = str(error)
                silent = isinstance(error, DockerUnreachable)
                self._kill_without_docker(entry, "Docker does not answer" if silent else str(error))
        self._trouble(error)

    def _kill_without_docker(self, entry: Entry, why: str) -> None:
        if self.slice.kill(entry.group, entry.worker.id) and not entry.bypassed:
            entry.bypassed = True
            self._say(f"{why}: {entry.worker.name} was killed through its cgroup")

    def _share(self, name: str, shares: int, now: float) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        container = entry.worker.id
        if shares == LEAST_SHARES and entry.checkpoint and entry.worker.jobs:
            self._have_saved(container, entry.checkpoint)
        # Not busy: if Docker hangs on this call, the worker must still be told to leave.
        self.roster.change(name, shares_time=now)
        entry.updates += 1
        self._request_queue.submit(
            lambda docker: docker.set_shares(container, shares), partial(self._shared, container, shares)
        )

    def _have_saved(self, container: str, signal_name: str) -> None:
        """It begins to wait for the owner: what its jobs save now is not lost, whatever comes."""
        self._request_queue.submit(
            lambda docker: docker.signal(container, signal_name), lambda _, error: self._trouble(error)
        )

    def _shared(self, container: str, shares: int, _: None, error: DockerError | None) -> None:
        entry = self.roster.find(container)
        if entry is not None and error is None:
            self.roster.change(entry.worker.name, shares=shares)
        elif entry is not None:
            entry.updates = max(0, entry.updates - 1)
        self._trouble(error)

    def _limit(self, name: str, cpus: float) -> None:
        entry = self.roster.get(name)
        if entry is None:
            return
        container = entry.worker.id
        # Recorded at once, so that it is not requested again while Docker is slow.
        self.roster.change(name, quota=None if cpus == entry.worker.cpus else cpus)
        entry.updates += 1
        self._request_queue.submit(
            lambda docker: docker.set_quota(container, cpu_quota(cpus), PERIOD),
            partial(self._limited, container),
            urgent=True,
        )

    def _limited(self, container: str, _: None, error: DockerError | None) -> None:
        entry = self.roster.find(container)
        if entry is not None and error is not None:
            entry.updates = max(0, entry.updates - 1)
            self.roster.change(entry.worker.name, quota=UNKNOWN)
        self._trouble(error)

    def look_for_floods(self) -> None:
        """Find out whose output keeps the engine busy; only the log lines tell."""
        names = {
            e.worker.id: e.worker.name
            for e in self.roster
            if e.worker.phase in (Phase.RUNNING, Phase.FINISHING)
        }
        since = time() - 1.0
        call = partial(flooding, containers=list(names), since=since)
        self._cleanup_queue.submit(call, partial(self._found_floods, names))

    def accuse(self, found: dict[str, str], hoards: bool = False) -> None:
        """These workers keep others busy, for these reasons: they leave, and soon if it is memory that
        they ``hoard``."""
        for name, reason in found.items():
            self.roster.change(name, flooding=reason, hoards=hoards)

    def _ran_out_of_memory(self, entry: Entry, now: float) -> None:
        """The kernel has killed a process in it: nothing is asked for each of them."""
        entry.oom_kills = [time for time in entry.oom_kills if now - time < OOM_SECONDS] + [now]
        if len(entry.oom_kills) >= OOM_KILLS and not entry.worker.flooding:
            self.accuse({entry.worker.name: OUT_OF_MEMORY})

    def _found_floods(
        self, names: dict[str, str], found: list[str] | None, error: DockerError | None
    ) -> None:
        for container in found or ():
            self.roster.change(names[container], flooding=OUTPUT)
        self._cleanup_trouble(error)

    # ------------------------------------------------------------ what Docker tells

    def on_event(self, event: Event, boottime: float) -> None:
        """Something happened to one of our containers; whether we did it is not said."""
        entry = self.roster.find(event.id, event.name)
        if entry is None:
            if event.action == "start" and event.id:  # made by somebody from one of ours
                self.refresh(event.id)
            return
        name = entry.worker.name
        match event.action:
            case "die":
                # Docker lets a label of the image that is called exitCode take its place.
                code = event.attributes.get("exitCode", "")
                known = re.fullmatch("[0-9]{1,3}", code) is not None
                said = f"exit code {code if known else 'unknown'}"
                self.ended(name, int(code) if known else None, said, boottime)
            case "destroy":
                self.vanished(name, "removed by somebody", boottime)
            case "oom":
                self._ran_out_of_memory(entry, boottime)
            case "update" if entry.updates:
                entry.updates -= 1
            case _ if entry.worker.id:  # else our own start is under way
                self.refresh(entry.worker.id)

    def ended(self, name: str, code: int | None, reason: str, boottime: float, unseen: bool = False) -> None:
        """A worker's container has ended: end its lift, read its last words, say so, remove it.

        ``unseen``: it ended while Docker was away, perhaps because Docker itself ended.
        """
        if not self.roster.ended(name, boottime):
            return
        self.lift.ended(name)
        worker = self.roster[name].worker
        if worker.told is not None and worker.jobs is None:
            self._examined(name, code, reason, unseen, None, None)
            return
        self.roster.change(name, busy=True)
        call = partial(examine, container=worker.id or name, reports=worker.jobs is not None)
        self._cleanup_queue.submit(call, partial(self._examined, name, code, reason, unseen), urgent=True)

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
        report = found.report if found else None
        most = entry.most(clock_gettime(CLOCK_BOOTTIME))
        told = 0 if report is None else self.accounting.reported(entry.worker.id, report, most)
        self._lose(entry, told)
        self._say(self.roster.explain(name, reason, idle=code == NO_WORK, unseen=unseen))
        self._cleanup_trouble(error)
        self.removals.remove(name)

    def _lose(self, entry: Entry, told: int = 0) -> None:
        """This worker will report no more jobs: those that ran are lost, except ``told`` of
        them."""
        jobs = entry.worker.jobs or ()
        if len(jobs) > told:
            lost, cpu = len(jobs) - told, entry.job_cpu * (1 - told / len(jobs))
            most = entry.most(clock_gettime(CLOCK_BOOTTIME))
            self.accounting.lost(lost, cpu, entry.worker.id, most)

    def vanished(self, name: str, reason: str, boottime: float) -> None:
        """A worker's container no longer exists, and nobody can say how it ended."""
        entry = self.roster.get(name)
        if (
            entry is not None
            and entry.worker.phase is Phase.ENDED
            and entry.worker.busy
            and not entry.removing
        ):
            return  # it is being examined: the result of that tells the rest
        if entry is not None and entry.worker.phase is Phase.STARTING and not entry.worker.id:
            return  # its start is under way, or has failed and is being undone
        if entry is not None and self.roster.ended(name, boottime):
            self._lose(entry)
            self._say(self.roster.explain(name, reason))
        self.removals.gone(name)

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
                self._cleanup_queue.submit(call, partial(self._fetched, name))

    def _fetched(self, name: str, report: bytes | None, error: DockerError | None) -> None:
        self._fetching = False
        if report is not None and (entry := self.roster.get(name)):
            most = entry.most(clock_gettime(CLOCK_BOOTTIME))
            self.accounting.reported(entry.worker.id, report, most)
        self._cleanup_trouble(error)

    # ------------------------------------------------------------ making the roster agree

    def refresh(self, container: str) -> None:
        """Ask Docker how this container is now: something has happened to it."""
        if container in self._asked:
            self._asked[container] = True  # the answer may be older than what has happened now
            return
        self._asked[container] = False
        self._request_queue.submit(
            lambda docker: docker.inspect(container), partial(self._refreshed, container)
        )

    def _refreshed(self, container: str, found: Container | None, error: DockerError | None) -> None:
        if self._asked.pop(container):
            self.refresh(container)
        boottime = clock_gettime(CLOCK_BOOTTIME)
        if found is not None:
            self._agree(found, boottime)
        elif isinstance(error, NotFound) and (entry := self.roster.find(container)):
            self.vanished(entry.worker.name, "removed by somebody", boottime)
        self._trouble(error)

    def reconcile(
        self,
        found: list[Container],
        boottime: float,
        asked: float = 0.0,
        as_before: Collection[str] = (),
    ) -> None:
        """Make the roster match what Docker has: adopt new ones, and notice which have gone.

        ``asked`` is when Docker was asked (CLOCK_MONOTONIC): what was removed later may be in it.
        ``as_before`` are the ids of those that are there and have not changed.
        """
        self.removals.forget_before(asked)
        ids = {container.id for container in found}.union(as_before)
        for container in found:
            self._agree(container, boottime)
        for entry in self.roster:
            entry.updates = 0
            # Without an id its start is still under way.
            if entry.worker.id and entry.worker.id not in ids:
                self.vanished(entry.worker.name, "gone while Docker did not answer", boottime)
        self.accounting.keep({entry.worker.id for entry in self.roster})

    def _agree(self, container: Container, boottime: float) -> None:
        """Make the roster match one container."""
        if self.removals.has_removed(container.id):
            return  # this was asked before it was removed
        if not is_ours(container, self._instance, self.slice.parent):
            if container.id not in self._left_alone:
                log.warning("%s has our label but is not in our slice: left alone", container.name)
            self._left_alone.add(container.id)
            return
        entry = self.roster.find(container.id, container.name)
        if entry is None:
            self._adopt(container, boottime)
        elif container.state.running:
            self._agree_running(entry, container)
        else:
            if not entry.worker.id:
                self.roster.arrived(container, boottime, "", 0)
            code, reason = container.state.exit_code, how_it_ended(container)
            self.ended(entry.worker.name, code, reason, boottime, unseen=True)

    def _adopt(self, container: Container, boottime: float) -> None:
        if container.state.running:
            entry = self.arrived(container)
            self._undo_a_lift(entry, container)
            self._say(f"adopted {container.name}")
            if until := label_number(container.config.labels, UNTIL, 0.0):
                self._ends_at(entry.worker.name, until)
            self._note(entry, container)
            return
        name = self.roster.arrived(container, boottime, "", 0).worker.name
        # From an earlier supervisor: its end says nothing about the image.
        self.roster.tell(name, Phase.LEAVING, boottime, 0.0)
        self.ended(name, container.state.exit_code, how_it_ended(container), boottime, unseen=True)

    def _undo_a_lift(self, entry: Entry, container: Container) -> None:
        """One that an earlier supervisor did not end, as it died."""
        if not self._dry_run and not self.slice.lifted:
            quota, paused = container.host_config.cpu_quota, container.state.paused
            self.slice.boost.restore(entry.group, quota, paused)

    def _agree_running(self, entry: Entry, container: Container) -> None:
        name = entry.worker.name
        if not entry.worker.id:
            self.arrived(container)
        elif container.state.pid != entry.pid:
            if entry.worker.phase is Phase.ENDED and entry.worker.busy:
                entry.pid = 0  # it is looked at again when its removal is refused
                return
            if entry.worker.phase is not Phase.ENDED:
                self._lose(entry)
            self.removals.started_again(name)
            self.arrived(container)
            self._say(f"{name} was started again by somebody")
        self._note(entry, container)

    def _note(self, entry: Entry, container: Container) -> None:
        """What others may change on a container that runs."""
        worker, limits = entry.worker, container.host_config
        fields: dict[str, object] = {
            "renamed": "" if container.name == worker.name else container.name,
            "paused": container.state.paused,
        }
        if not entry.updates:  # else these may be older than ours
            fields["shares"] = limits.cpu_shares or worker.shares
            fields["memory"] = limits.memory or worker.memory
            fields["quota"] = quota_of(container, worker.cpus)
        changed = {key: value for key, value in fields.items() if getattr(worker, key) != value}
        if not changed:
            return
        self.roster.change(worker.name, **changed)
        if changed.get("renamed"):
            self._say(f"{worker.name} is called {container.name} now")
        if "paused" in changed:
            self._say(f"{worker.name} was {'paused' if container.state.paused else 'unpaused'}")

    def force_all(self, now: float) -> None:
        """Remove all workers: their processes at once, their containers as soon as Docker
        answers."""
        self.slice.kill_all({entry.worker.id for entry in self.roster if entry.worker.id})
        for entry in self.roster:
            if self._cancel_start(entry.worker.name):
                continue
            self.slice.kill(entry.group, entry.worker.id)
            self._lose(entry)
            self.roster.change(entry.worker.name, jobs=None)
            self.roster.tell(entry.worker.name, Phase.KILLED, now, KILL_TIMEOUT)
            self.roster.change(entry.worker.name, busy=False)
            self.removals.remove(entry.worker.name, force=True)

    def remove_network(self, done: Callable[[], None]) -> None:
        """Remove our network, unless somebody else uses it."""
        self._request_queue.submit(
            lambda docker: remove_network(docker, self._network, self._instance), lambda _, error: done()
        )

    def _files(self, config: Config) -> bytes | None:
        """A tar of what a worker finds in its volume. The token reaches it this way only."""
        self.token_expires = None
        if config.htcondor is None:
            return None
        token = read_token(config.htcondor.token_file, time())
        self.token_expires = expiry(token)
        return pack(token, user_of(config.worker))

    def _trouble(self, error: DockerError | None) -> None:
        if error is not None and not isinstance(error, DockerRefused):
            self._on_trouble(error)

    def _cleanup_trouble(self, error: DockerError | None) -> None:
        """A slow removal or log does not mean that Docker is away."""
        if not isinstance(error, DockerTimeout):
            self._trouble(error)
