"""Carries decisions out: on Docker through the request queue, on the slice directly.

Everything here runs in the loop's thread; Docker's answers come back as calls that the loop makes.
"""

from collections.abc import Callable
from functools import partial
from time import time

from plancton.config.schema import Config
from plancton.daemon.context import Context
from plancton.daemon.endings import Endings
from plancton.daemon.lift import Lift
from plancton.daemon.reconciler import KILL_TIMEOUT, Reconciler
from plancton.daemon.removals import Removals
from plancton.daemon.starter import Starter
from plancton.docker.errors import Conflict, DockerError, DockerRefused, DockerUnreachable, NotFound
from plancton.host.cgroup_kill import is_empty, kill_all, kill_worker
from plancton.host.slice_bounds import PERIOD, cpu_quota
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
)
from plancton.policy.burden import OUTPUT
from plancton.workers.docker_calls import flooding, send_signal
from plancton.workers.network import remove_network
from plancton.workers.roster import Entry

LONGEST_KILL_TIMEOUT = 300.0
"""A kill is repeated after twice the time of the one before, at most after this."""
UNKNOWN = 0.0
"""As a quota: Docker did not accept the last one, so it is set again."""
HUNG = 3.0
"""A Docker call that takes longer may never end: a worker that must die now dies without Docker."""


class Actuator:
    """Acts for one instance on one slice, and has all that belongs to it."""

    def __init__(self, context: Context) -> None:
        self._context, self._roster, self._slice = context, context.roster, context.slice
        self.lift = Lift(context)
        self.removals = Removals(context, lambda container: self.reconciler.refresh(container))
        self.endings = Endings(context, self.lift, self.removals)
        self.reconciler = Reconciler(context, self.endings, self.removals)
        self.starter = Starter(context, self.reconciler, self.removals)
        self._frozen_since = 0.0

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
                    self.starter.start(config, image, newest, settings, disk)
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
        lifted = [a.name for a in actions if isinstance(a, Leave | Kill) and a.lift]
        self.lift.begin(lifted, now, settings.lift)

    # ------------------------------------------------------------ all of them

    def _freeze(self, now: float, reason: str) -> None:
        if self._slice.freezer.freeze():
            self._frozen_since = now
            self._context.say(f"freezing the workers: {reason}")

    def _thaw(self, now: float, reason: str) -> None:
        """Who was to finish could not meanwhile."""
        was_frozen = self._slice.freezer.is_frozen
        if not self._slice.freezer.thaw():
            return
        self._context.say(f"thawing the workers: {reason}")
        for entry in self._roster:
            if was_frozen and entry.worker.phase is Phase.FINISHING and entry.worker.deadline is not None:
                later = entry.worker.deadline + now - self._frozen_since
                self._roster.change(entry.worker.name, deadline=later)

    def force_all(self, now: float) -> None:
        """Remove all workers: their processes at once, their containers as soon as Docker answers."""
        kill_all(self._slice, {entry.worker.id for entry in self._roster if entry.worker.id})
        for entry in self._roster:
            name = entry.worker.name
            if self.starter.cancel(name):
                continue
            if entry.worker.phase is Phase.ENDED:  # one that is being examined is removed after that
                self.removals.remove(name, force=True)
                continue
            kill_worker(self._slice, entry.group, entry.worker.id)
            self.endings.lose(entry)
            self._roster.change(name, jobs=None)
            self._roster.tell(name, Phase.KILLED, now, KILL_TIMEOUT)
            self._roster.change(name, busy=False)
            self.removals.remove(name, force=True)

    def look_for_floods(self) -> None:
        """Find out whose output keeps the engine busy; only the log lines tell."""
        phases = (Phase.RUNNING, Phase.FINISHING)
        names = {e.worker.id: e.worker.name for e in self._roster if e.worker.phase in phases}
        call = partial(flooding, containers=list(names), since=time() - 1.0)
        self._context.cleanup_queue.submit(call, partial(self._found_floods, names))

    def _found_floods(
        self, names: dict[str, str], found: list[str] | None, error: DockerError | None
    ) -> None:
        self._roster.accuse({names[container]: OUTPUT for container in found or ()})
        self._context.cleanup_trouble(error)

    def remove_network(self, done: Callable[[], None]) -> None:
        """Remove our network, unless somebody else uses it."""
        name = self._slice.unit.removesuffix(".slice")
        self._context.request_queue.submit(
            lambda docker: remove_network(docker, name, self._context.instance), lambda _, error: done()
        )

    # ------------------------------------------------------------ those that must go

    def _tell(
        self, name: str, phase: Phase, send: Callable[..., None], now: float, timeout: float, reason: str
    ) -> None:
        entry = self._roster.get(name)
        if entry is None or self.starter.cancel(name):
            return
        verb = "leave" if phase is Phase.LEAVING else "finish"
        self._context.say(f"asking {name} to {verb}: {reason}")
        starting = entry.worker.phase is Phase.STARTING
        self._roster.tell(name, phase, now, timeout)
        if not starting:
            call = partial(send, container=entry.worker.id, paused=entry.worker.paused)
            done = partial(self._told, name, entry.worker.id)
            self._context.request_queue.submit(call, done, urgent=True)

    def _told(self, name: str, container: str, _: None, error: DockerError | None) -> None:
        if isinstance(error, NotFound | Conflict):
            self.reconciler.refresh(container)  # it has ended or gone
        elif isinstance(error, DockerRefused):
            self._context.say(f"{name} was not told: {error}")
        self._context.trouble(error)

    def _kill(self, name: str, now: float, reason: str, at_once: bool = False) -> None:
        entry = self._roster.get(name)
        if entry is None or self.starter.cancel(name):
            return
        wait = min(LONGEST_KILL_TIMEOUT, KILL_TIMEOUT * 2**entry.kills)
        if entry.worker.phase is Phase.KILLED:
            self._kill_again(entry, now + wait)
        else:
            self._context.say(f"killing {name}: {reason}")
            self._roster.tell(name, Phase.KILLED, now, wait)
        entry.kills = min(entry.kills + 1, 16)
        container, queue = entry.worker.id, self._context.request_queue
        if container and not entry.killing:
            entry.killing = True
            paused = entry.worker.paused
            call = partial(send_signal, container=container, signal_name="SIGKILL", paused=paused)
            queue.submit(call, partial(self._killed, container), urgent=True)
        if at_once:
            kill_worker(self._slice, entry.group, entry.worker.id)
        elif queue.busy_for(now) > HUNG:
            self._kill_without_docker(entry, "Docker does not answer")

    def _kill_again(self, entry: Entry, deadline: float) -> None:
        """One that outlives being killed, whatever Docker said to that."""
        name = entry.worker.name
        self._roster.change(name, deadline=deadline)
        kill_worker(self._slice, entry.group, entry.worker.id)
        if entry.worker.id and not entry.worker.stuck and not is_empty(self._slice, entry.group):
            self._roster.change(name, stuck=True)
            self._context.say(f"{name} outlives being killed: tried again ever less often")

    def _killed(self, container: str, _: None, error: DockerError | None) -> None:
        entry = self._roster.find(container)
        if entry is not None:
            entry.killing = False
            if isinstance(error, NotFound | Conflict):
                self.reconciler.refresh(container)  # it has ended or gone
            elif error is not None:
                entry.refused = str(error)
                silent = isinstance(error, DockerUnreachable)
                self._kill_without_docker(entry, "Docker does not answer" if silent else str(error))
        self._context.trouble(error)

    def _kill_without_docker(self, entry: Entry, why: str) -> None:
        if kill_worker(self._slice, entry.group, entry.worker.id) and not entry.bypassed:
            entry.bypassed = True
            self._context.say(f"{why}: {entry.worker.name} was killed through its cgroup")

    # ------------------------------------------------------------ what each gets

    def _share(self, name: str, shares: int, now: float) -> None:
        entry = self._roster.get(name)
        if entry is None:
            return
        container, queue = entry.worker.id, self._context.request_queue
        if shares == LEAST_SHARES and entry.checkpoint and entry.worker.jobs:
            # It begins to wait for the owner: what its jobs save now is not lost, whatever comes.
            save = entry.checkpoint
            queue.submit(
                lambda docker: docker.signal(container, save), lambda _, error: self._context.trouble(error)
            )
        # Not busy: if Docker hangs on this call, the worker must still be told to leave.
        self._roster.change(name, shares_time=now)
        entry.updates += 1
        done = partial(self._shared, container, shares)
        queue.submit(lambda docker: docker.set_shares(container, shares), done)

    def _shared(self, container: str, shares: int, _: None, error: DockerError | None) -> None:
        self._updated(container, error, "shares", shares if error is None else None)

    def _limit(self, name: str, cpus: float) -> None:
        entry = self._roster.get(name)
        if entry is None:
            return
        container = entry.worker.id
        # Recorded at once, so that it is not requested again while Docker is slow.
        self._roster.change(name, quota=None if cpus == entry.worker.cpus else cpus)
        entry.updates += 1
        quota, done = cpu_quota(cpus), partial(self._limited, container)
        self._context.request_queue.submit(
            lambda docker: docker.set_quota(container, quota, PERIOD), done, urgent=True
        )

    def _limited(self, container: str, _: None, error: DockerError | None) -> None:
        self._updated(container, error, "quota", None if error is None else UNKNOWN)

    def _updated(self, container: str, error: DockerError | None, field: str, value: float | None) -> None:
        """Note what holds now; None: as noted. After an error no event of Docker's is to come."""
        if entry := self._roster.find(container):
            if error is not None:
                entry.updates = max(0, entry.updates - 1)
            if value is not None:
                self._roster.change(entry.worker.name, **{field: value})
        self._context.trouble(error)
