"""Makes the roster match what Docker tells: its events, its lists, and single containers."""

import logging
import re
from collections.abc import Collection
from functools import partial
from time import CLOCK_BOOTTIME, clock_gettime, time

import msgspec

from plancton.daemon.context import Context
from plancton.daemon.endings import Endings
from plancton.daemon.removals import Removals
from plancton.docker.errors import DockerError, NotFound
from plancton.docker.replies import Container, Event
from plancton.host.worker_cgroup import Place, find_worker, to_boottime
from plancton.model import Phase
from plancton.policy.burden import OOM_APART, OOM_KILLS, OOM_SECONDS, OUT_OF_MEMORY
from plancton.workers.container import UNTIL, is_ours, label_number
from plancton.workers.docker_calls import how_it_ended
from plancton.workers.roster import Entry, quota_of
from plancton.workers.same_host import NOT_HERE

log = logging.getLogger(__name__)

KILL_TIMEOUT = 5.0
"""A kill that has not worked after this time is repeated."""


class Reconciler:
    """Only the loop calls it."""

    def __init__(self, context: Context, endings: Endings, removals: Removals) -> None:
        self._context, self._roster, self._slice = context, context.roster, context.slice
        self._endings, self._removals = endings, removals
        self._asked: dict[str, bool] = {}
        self._left_alone: set[str] = set()
        self.unprotected = ""
        """Why no worker may be started any more: one was found outside the slice."""

    # ------------------------------------------------------------ one that runs

    def arrived(self, container: Container) -> Entry:
        """A container of ours is running: find its processes. If it has ended already, record that."""
        place = self._find(container)
        entry = self._roster.arrived(container, place.started, place.group, place.shim)
        if not container.state.running:
            code, how = container.state.exit_code, how_it_ended(container)
            self._endings.ended(entry.worker.name, code, how, place.started or 0.0)
        elif not place.group and not self._context.dry_run:  # it may have ended meanwhile
            done = partial(self._looked_again, entry.worker.name)
            self._context.request_queue.submit(lambda docker: docker.inspect(container.id), done, urgent=True)
        return entry

    def _find(self, container: Container) -> Place:
        place = find_worker(self._slice, container.id, container.state.pid, self._context.proc)
        if place.started is None and container.state.running:  # hidden from us: Docker knows as well
            started = to_boottime(container.state.started_at, time(), clock_gettime(CLOCK_BOOTTIME))
            return msgspec.structs.replace(place, started=started)
        return place

    def _looked_again(self, name: str, container: Container | None, error: DockerError | None) -> None:
        """A worker that still runs and is not in the slice goes at once, and none comes after it."""
        entry = self._roster.get(name)
        if container is None or entry is None or entry.worker.id != container.id:
            self._context.trouble(error)
            return
        place = self._find(container)
        if not container.state.running or entry.worker.phase is Phase.ENDED:
            return  # its event tells the rest
        if place.group:
            entry = self._roster.arrived(container, place.started, place.group, place.shim)
            self._undo_a_lift(entry, container)
            return
        if not self.unprotected:
            where = f"{self._slice.parent}, as this Docker should have made it ({place.elsewhere})"
            why = f"nothing would protect the owner: nothing more is started; {NOT_HERE}"
            self.unprotected = f"{name} was not in {where}, so {why}"
            self._context.say(self.unprotected)
        self._roster.tell(name, Phase.KILLED, self._context.clock(), KILL_TIMEOUT)
        self._removals.remove(name, force=True)

    def _undo_a_lift(self, entry: Entry, container: Container) -> None:
        """One that an earlier supervisor did not end, as it died."""
        if not self._context.dry_run and not self._slice.lifted:
            quota, paused = container.host_config.cpu_quota, container.state.paused
            self._slice.boost.restore(entry.group, quota, paused)

    # ------------------------------------------------------------ what Docker tells by itself

    def on_event(self, event: Event, boottime: float) -> None:
        """Something happened to one of our containers; whether we did it is not said."""
        container, attributes = event.actor.id, event.actor.attributes
        entry = self._roster.find(container, attributes.get("name", ""))
        if entry is None:
            if event.action == "start" and container:  # made by somebody from one of ours
                self.refresh(container)
            return
        name = entry.worker.name
        match event.action:
            case "die":
                # Docker lets a label of the image that is called exitCode take its place.
                code = attributes.get("exitCode", "")
                known = re.fullmatch("[0-9]{1,3}", code) is not None
                said = f"exit code {code if known else 'unknown'}"
                self._endings.ended(name, int(code) if known else None, said, boottime)
            case "destroy":
                self._endings.vanished(name, "removed by somebody", boottime)
            case "oom":
                self._ran_out_of_memory(entry, boottime)
            case "update" if entry.updates:
                entry.updates -= 1
            case _ if entry.worker.id:  # else our own start is under way
                self.refresh(entry.worker.id)

    def _ran_out_of_memory(self, entry: Entry, now: float) -> None:
        """The kernel has killed a process in it: nothing is asked for each of them."""
        if entry.oom_kills and now - entry.oom_kills[-1] < OOM_APART:
            return
        entry.oom_kills = [time for time in entry.oom_kills if now - time < OOM_SECONDS] + [now]
        if len(entry.oom_kills) >= OOM_KILLS and not entry.worker.flooding:
            self._roster.accuse({entry.worker.name: OUT_OF_MEMORY})

    # ------------------------------------------------------------ what it says when it is asked

    def refresh(self, container: str) -> None:
        """Ask Docker how this container is now: something has happened to it."""
        if container in self._asked:
            self._asked[container] = True  # the answer may be older than what has happened now
            return
        self._asked[container] = False
        done = partial(self._refreshed, container)
        self._context.request_queue.submit(lambda docker: docker.inspect(container), done)

    def _refreshed(self, container: str, found: Container | None, error: DockerError | None) -> None:
        if self._asked.pop(container):
            self.refresh(container)
        boottime = clock_gettime(CLOCK_BOOTTIME)
        if found is not None:
            self._agree(found, boottime)
        elif isinstance(error, NotFound) and (entry := self._roster.find(container)):
            self._endings.vanished(entry.worker.name, "removed by somebody", boottime)
        self._context.trouble(error)

    def reconcile(
        self, found: list[Container], boottime: float, asked: float = 0.0, as_before: Collection[str] = ()
    ) -> None:
        """Make the roster match what Docker has: adopt new ones, and notice which have gone.

        ``asked`` is when Docker was asked (CLOCK_MONOTONIC): what was removed later may be in it.
        ``as_before`` are the ids of those that are there and have not changed.
        """
        self._removals.forget_before(asked)
        ids = {container.id for container in found}.union(as_before)
        for container in found:
            self._agree(container, boottime)
        for entry in self._roster:
            entry.updates = 0
            # Without an id its start is still under way.
            if entry.worker.id and entry.worker.id not in ids:
                self._endings.vanished(entry.worker.name, "gone while Docker did not answer", boottime)
        self._context.accounting.keep({entry.worker.id for entry in self._roster})

    def _agree(self, container: Container, boottime: float) -> None:
        if self._removals.has_removed(container.id):
            return  # this was asked before it was removed
        if not is_ours(container, self._context.instance, self._slice.parent):
            if container.id not in self._left_alone:
                log.warning("%s has our label but is not in our slice: left alone", container.name)
            self._left_alone.add(container.id)
            return
        entry = self._roster.find(container.id, container.name)
        if entry is None:
            self._adopt(container, boottime)
        elif container.state.running:
            self._agree_running(entry, container)
        else:
            if not entry.worker.id:
                self._roster.arrived(container, boottime, "", 0)
            self._has_ended(entry.worker.name, container, boottime)

    def _has_ended(self, name: str, container: Container, boottime: float) -> None:
        self._endings.ended(name, container.state.exit_code, how_it_ended(container), boottime, unseen=True)

    def _adopt(self, container: Container, boottime: float) -> None:
        if container.state.running:
            entry = self.arrived(container)
            self._undo_a_lift(entry, container)
            self._context.say(f"adopted {container.name}")
            if until := label_number(container.config.labels, UNTIL, 0.0):
                self._roster.ends_at(entry.worker.name, until)
            self._note(entry, container)
            return
        name = self._roster.arrived(container, boottime, "", 0).worker.name
        # From an earlier supervisor: its end says nothing about the image.
        self._roster.tell(name, Phase.LEAVING, boottime, 0.0)
        self._has_ended(name, container, boottime)

    def _agree_running(self, entry: Entry, container: Container) -> None:
        name = entry.worker.name
        if not entry.worker.id:
            self.arrived(container)
        elif container.state.pid != entry.pid:
            if entry.worker.phase is Phase.ENDED and entry.worker.busy:
                entry.pid = 0  # it is looked at again when its removal is refused
                return
            if entry.worker.phase is not Phase.ENDED:
                self._endings.lose(entry)
            self._removals.started_again(name)
            self.arrived(container)
            self._context.say(f"{name} was started again by somebody")
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
        self._roster.change(worker.name, **changed)
        if changed.get("renamed"):
            self._context.say(f"{worker.name} is called {container.name} now")
        if "paused" in changed:
            self._context.say(f"{worker.name} was {'paused' if container.state.paused else 'unpaused'}")
