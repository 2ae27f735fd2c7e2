"""The loop: the one place where sample, observe, decide and act meet.

`plancton run` executes it as a process of its own (daemon/__main__.py), so that what stays does not
carry the command line.
"""

import contextlib
import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import Empty

import msgspec

from plancton import __version__
from plancton.config.schema import Config
from plancton.config.watch import ConfigFile
from plancton.daemon.actuator import Actuator
from plancton.daemon.burden_guard import BurdenGuard
from plancton.daemon.config_fetcher import ConfigFetcher
from plancton.daemon.contention_watch import ContentionWatch
from plancton.daemon.context import Context
from plancton.daemon.disk_guard import DiskGuard
from plancton.daemon.docker_link import DockerLink
from plancton.daemon.dry_run import DryRun
from plancton.daemon.history_writer import HistoryWriter
from plancton.daemon.host_figures import HostFigures
from plancton.daemon.host_settings import HostSettings
from plancton.daemon.influx_sender import InfluxSender
from plancton.daemon.mount_watch import MountWatch
from plancton.daemon.network_guard import NetworkGuard
from plancton.daemon.owner_requests import OwnerRequests
from plancton.daemon.owner_watch import OwnerWatch
from plancton.daemon.recorder import Recorder
from plancton.daemon.run_directory import RunDir
from plancton.daemon.sdnotify import Service
from plancton.daemon.sleep import Sleep, Woken
from plancton.daemon.slice_keeper import SliceKeeper
from plancton.daemon.status_file import Facts, StatusFile
from plancton.daemon.stopping import Stopping
from plancton.daemon.upgrade import Upgrade, execute_again
from plancton.docker.images import ImageKeeper
from plancton.docker.old_images import OldImages
from plancton.docker.replies import Event, Info
from plancton.docker.request_queue import RequestQueue
from plancton.files import NO_DESCRIPTOR
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.engine_cpu import listener
from plancton.host.sampler import read_process
from plancton.host.signals.battery import on_battery
from plancton.host.slice import Slice
from plancton.inbox import Call, Inbox, beside
from plancton.model import Decision, Observation, OwnerRules, Wishes
from plancton.paths import Paths
from plancton.policy.decide import decide
from plancton.policy.disk import disk_shortage
from plancton.policy.memory_reserve import is_short_of_memory
from plancton.policy.sentences import headline, mode_of
from plancton.policy.state import State, slept
from plancton.policy.tick_interval import BRISK, changes_nothing, next_tick, stretched
from plancton.request_files import DRAIN, REQUESTS
from plancton.units import human_seconds
from plancton.workers.as_container import stay_stopped
from plancton.workers.cpu_benchmark import HostSpeed
from plancton.workers.disks import not_kept
from plancton.workers.docker_calls import Listing
from plancton.workers.refusals import no_quota
from plancton.workers.roster import Entry, Roster
from plancton.workers.surroundings import Surroundings, forget, look_around
from plancton.workers.usage import WorkerUsage, between_readings

log = logging.getLogger("plancton")

SLOW_PASS = 3.5
"""Workers are read one by one and the slice is verified at the first tick after this (seconds), so
at each one that is calm: short jobs would be missed otherwise."""
LOOK_AT_CPUS = 30.0
ENGINE_SCAN, ENGINE_SCAN_AGAIN = 600.0, 60.0
"""The engine's processes are looked for this often (seconds), all of the host's being looked at; the
second: while some may be missing."""
NEEDS_RESTART = "docker: the change needs a restart (kill -HUP keeps the workers)"


class Options(msgspec.Struct, frozen=True):
    """What `plancton run` was asked for. ``config`` None: the default file, which need not exist.
    ``log`` is the file that stderr is in the background. ``starts`` is false for one that goes on in
    place of another: what keeps a supervisor from starting is no reason to leave workers alone.
    ``finishing``: that one was asked to end once the last worker has finished."""

    starts: bool = False
    config: str | None = None
    dry_run: bool = False
    now: bool = False
    record: str | None = None
    verbose: bool = False
    log: str | None = None
    finishing: bool = False


class Supervisor:
    """One run. Everything here happens in one thread; Docker's answers arrive through the inbox."""

    actuator: Actuator | None = None
    usage: WorkerUsage | None = None
    info: Info | None = None
    made: Slice | None = None
    """The slice from when it is made until all that takes to act is there."""
    recorder: Recorder | None = None
    state = State()
    next_slow = next_cpus = last_reading = 0.0
    next_glance, longest_tick, last_scan = math.inf, BRISK, -ENGINE_SCAN
    needs_restart = ""
    look_at_files, one_may_leave, lacked_descriptor = True, False, False

    def __init__(
        self, options: Options, paths: Paths, file: ConfigFile, instance: str, service: Service | None = None
    ) -> None:
        self.options, self.paths, self.file, self.instance = options, paths, file, instance
        self.engine, acts, now = file.config.docker, not options.dry_run, time.monotonic()
        self.service, self.layout = service or Service({}), read_layout(PROC)
        self.run_dir, state = RunDir(paths.run) if acts else None, paths.state if acts else None
        self.inbox = inbox = Inbox()
        requests = (paths.run / name for name in (*REQUESTS, DRAIN)) if acts else ()
        self.sleep = Sleep(inbox, (*requests, *file.watched), PROC)
        socket = self.engine.socket
        self.request_queue, self.cleanup_queue = RequestQueue(socket, inbox), RequestQueue(socket, inbox)
        self.influx, self.history = InfluxSender(state, inbox), HistoryWriter(state, inbox, now)
        self.accounting = self.history.accounting
        self.roster = Roster(self.influx.departed)
        self.status_file = StatusFile(self.run_dir, instance, self.roster, self.history.say)
        say, warn = self.status_file.say, self.status_file.warn
        self.owner_requests = OwnerRequests(self.run_dir, paths.state, say)
        self.old_images = OldImages(state and state / "pulled-images.json", self.cleanup_queue, say)
        self.image = ImageKeeper(socket, inbox, self.request_queue, acts, self.old_images.brought)
        self.repo = ConfigFetcher(file.path, inbox, say, may_fetch=acts)
        self.mounts = MountWatch(inbox, say, warn)
        hears = self._docker_found, self._docker_listed, self._docker_event
        known = partial(getattr, self.roster, "known")
        self.docker = DockerLink(socket, instance, inbox, self.request_queue, self.status_file, *hears, known)
        self.network = NetworkGuard(inbox, socket, warn, may=acts and os.geteuid() == 0)
        self.figures = HostFigures(PROC, self.layout.v2, say, warn)
        self.in_force, self.contention = HostSettings(options.now), ContentionWatch(self.sleep.watch_owner)
        self.keeper = SliceKeeper(
            file, self.roster, self.in_force, self.figures, self.contention, say, self.sleep.watch_slice, acts
        )
        self.owner_watch = OwnerWatch(self.layout.v2, self.engine.slice, inbox, warn)
        self.disk_guard, self.burden = DiskGuard(socket, instance, inbox), BurdenGuard(self.roster, PROC)
        self.stopping = Stopping(
            self.docker, self.roster, self.in_force, self.service, say, self._remove_all, not acts
        )
        self.stopping.when_empty = self.stopping.by_request = options.finishing
        self.upgrade, self.dry_run = Upgrade(inbox, say, self.stopping.run_again), DryRun()
        self.next_tick = self.last_tick = now
        self.signals: dict[int, Call] = {
            signal.SIGTERM: self.stopping.signalled,
            signal.SIGINT: self.stopping.signalled,
            signal.SIGUSR1: self.stopping.go_alone,
            signal.SIGHUP: self.upgrade.ask,
        }
        self.unheard = deque[int]()

    # ------------------------------------------------------------ the loop

    def run(self) -> int:
        """Until it is told to stop; the exit code."""
        self._begin()
        try:
            while not self.stopping.done():
                self._wait()
                if self.stopping.again:  # what is asked for from here on is the next program's
                    break
                now = time.monotonic()
                if self.actuator:
                    self.actuator.lift.step(now)
                if self.next_glance <= now < self.next_tick:
                    self._glance(now)
                if now >= self.next_tick:
                    self.last_tick, self.next_tick = now, now + BRISK
                    with self._despite_no_descriptor():
                        self.next_tick = now + self.tick(now)
                    self.next_glance = now + BRISK if self.in_force.settings.uses_quota else math.inf
        finally:
            self._end()
        if self.stopping.again:
            finishing = self.stopping.when_empty
            options = msgspec.structs.replace(self.options, starts=False, finishing=finishing)
            execute_again(self.service, options, self.signals, self.unheard)
        return 0

    def _begin(self) -> None:
        self._listen()  # before there are threads, whose programs would be deaf to what is blocked
        self.request_queue.start()
        self.cleanup_queue.start()
        if self.run_dir:
            process = read_process(os.getpid(), PROC)
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - process.started if process else 0.0
            self.run_dir.begin(time.time() - age)
        self.configure()
        if self.options.record:
            self.recorder = Recorder(Path(self.options.record), self.status_file.warn)
        log.info("Plancton %s, pid %d, instance %s", __version__, os.getpid(), self.instance)

    def _listen(self) -> None:
        """Hear signals from here on, and those that have waited since `execute_again`."""

        def heard(number: int, _: object) -> None:
            self.unheard.append(number)
            self.inbox.put(lambda: self.signals[self.unheard.popleft()]())

        self.inbox.woken_by_signals()
        for number in self.signals:
            signal.signal(number, heard)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.signals)

    def _wait(self) -> None:
        """Sleep until something is due, and make the calls that arrive meanwhile."""
        while True:
            while call := self.inbox.take():
                with self._despite_no_descriptor():
                    call()
                self._tick_soon()  # something has changed
                if self.stopping.done():
                    return
            lift_ends = self.actuator.lift.until if self.actuator else None
            until = min(self.next_tick, self.next_glance, math.inf if lift_ends is None else lift_ends)
            match self.sleep.until(until - time.monotonic()):
                case Woken.TIME:
                    return
                case Woken.FILE:
                    self.look_at_files, self.next_tick = True, self.last_tick
                case Woken.SLICE:
                    self.keeper.touched()
                    self._tick_soon()
                case Woken.MEMORY:
                    self._tick_soon()
                case Woken.OWNER:
                    self.contention.woken(time.monotonic())
                    self._tick_soon()

    def _glance(self, now: float) -> None:
        """Look at the owner only, and tick if the quota has to follow them."""
        self.next_glance = now + BRISK
        fleet, state, settings = self.roster.fleet, self.state, self.in_force.settings
        if not self.figures.glance(
            self._shims, lambda lately: changes_nothing(lately, fleet, state, settings)
        ):
            self.next_tick = now

    @property
    def _shims(self) -> float:
        return self.usage.shims if self.usage else 0.0

    def _tick_soon(self) -> None:
        self.next_tick = min(self.next_tick, self.last_tick + BRISK)

    @contextlib.contextmanager
    def _despite_no_descriptor(self) -> Iterator[None]:
        """While files can't be opened for want of a descriptor, ticks end early; go on all the same."""
        try:
            yield
        except OSError as error:
            if error.errno not in NO_DESCRIPTOR:
                raise
            if not self.lacked_descriptor:
                text = f"{error.strerror}: until that is over, not everything is read or done"
                self.status_file.warn(text)
            self.lacked_descriptor = True
            self.docker.look_again()  # it may have been Docker's answer that was not heard
            self.service.ticked(lambda: "Too many files are open.", time.monotonic())

    def tick(self, now: float) -> float:
        """Look at the host, decide, act, and tell. Seconds until the next tick."""
        if self.made:  # there was no descriptor
            self._use_slice(self.made)
        if now >= self.next_cpus:
            self.next_cpus = now + LOOK_AT_CPUS
            self.keeper.look_at_cpus()
            self.sleep.watch_files()
            self.look_at_files = True  # the kernel does not tell of what another host has written (NFS)
            tick = float(self.file.config.docker.tick)
            self.longest_tick = stretched(tick) if on_battery() else tick
        seen = self.figures.look(self._shims, now)
        short = is_short_of_memory(seen, self.in_force.settings)
        if now >= self.next_slow or short or self.keeper.is_touched:
            self._slow_pass(now, seen, short)
        self.look_at_files |= self.sleep.file_has_changed() or self.file.is_linked or not self.sleep.told
        if self.look_at_files:
            self.look_at_files = False
            self._read_files()
            if self.stopping.done():  # before anything is decided: workers that are to stay are told nothing
                return BRISK
        self.repo.step(now)
        self.mounts.step(now)
        self.docker.step(now)
        self.stopping.step()
        seen = self._completed(seen, now)
        if self.docker.ready:
            self.image.hold(disk_shortage(seen, self.in_force.settings))
            self.image.step(now)
            self.old_images.step(now, self.image.newest, self.roster.fleet.images)
        if asleep := slept(seen, self.state):
            self._woke(asleep)
        decision, self.state = decide(seen, self.state, self.in_force.settings)
        self.one_may_leave = decision.fit < len(seen.fleet.line)
        self._act(decision, now)
        self.contention.settle(seen, self.state.contention.capped)
        if self.recorder:
            self.recorder.write(seen, decision, self.in_force.settings)
        tier = self.keeper.slice.tier if self.keeper.slice else "none"
        self.history.tick(seen, decision, tier, mode_of(seen, decision), now)
        usage = self.usage.by_name if self.usage else {}
        self.status_file.publish(seen, decision, usage, self._facts(decision, now), now)
        self.service.ticked(lambda: headline(seen, decision), now)
        return self._until_next_tick(seen, decision)

    def _woke(self, seconds: float) -> None:
        """The host has been suspended: workers may have lost their jobs meanwhile, and it may be in
        another network."""
        self.status_file.say(f"this host was suspended for {human_seconds(seconds)}")
        self.next_slow = self.last_reading = 0.0
        self.network.may_have_moved()

    def _until_next_tick(self, seen: Observation, decision: Decision) -> float:
        if self.sleep.file_has_changed():  # while we ticked
            self.look_at_files = True
            return 0.0
        if self.stopping.when_empty or not self.sleep.told or self.contention.reads:
            return BRISK
        # What a rule of the owner's reads is read at ticks only.
        calm = self.longest_tick
        steady = calm if self.owner_watch.has_rules else stretched(calm)
        pace = next_tick(seen, decision, self.state, self.in_force.settings, calm, steady)
        return max(BRISK, min(pace, self.disk_guard.look_due - seen.time))

    def _completed(self, seen: Observation, now: float) -> Observation:
        """The observation with all that is not a rate."""
        self.disk_guard.step(now, self.file.config.owner.reserve_disk, self.roster)
        seen = self.contention.completed(self.disk_guard.completed(seen))
        self.keeper.resolve(seen)
        rules = self.owner_watch.look(seen, now)
        self.in_force.look(self.owner_watch.read)
        wishes = self._wishes(rules)
        drain, when_empty = self.owner_requests.drain, self.stopping.when_empty
        return msgspec.structs.replace(
            seen,
            max_workers=self.in_force.max_workers,
            image=self.image.id,
            digest=self.in_force.digest,
            docker=self.docker.ready and not self.docker.silence(now),
            draining=when_empty or drain is not None,
            finish=when_empty or (drain is not None and drain.finish),
            stopping=self.stopping.wanted,
            ended=self.roster.take_ended(),
            unexplained=self.roster.unexplained,
            unprotected=self._why_unprotected(),
            burden="" if self.image.busy else self.burden.busy,
            mounts=self.mounts.problem,
            fleet=self.roster.fleet,
            rules=rules,
            wishes=wishes,
            frozen=self.keeper.slice is not None and self.keeper.slice.freezer.is_frozen,
        )

    def _wishes(self, rules: OwnerRules) -> Wishes:
        """What the owner has asked for, and whether it can be done here."""
        wishes = self.owner_requests.wishes()
        pauses = wishes.pause or rules.pause or self.state.standing.is_paused
        if not pauses or self.keeper.slice is None or self.keeper.slice.freezer.can_freeze:
            return wishes
        return msgspec.structs.replace(wishes, freezable=False)

    def _why_unprotected(self) -> str:
        """Why a new worker would not be in the slice, or have no quota, as far as that is known."""
        driver = self.info.cgroup_driver if self.info else ""
        made = self.keeper.slice
        if made is not None and made.systemd != (driver == "systemd"):
            return f"Docker's cgroup driver is {driver} now, the slice is for another: restart Plancton"
        outside = self.actuator.reconciler.unprotected if self.actuator else ""
        return outside or (no_quota(self.file.config, self.info) if self.info else "")

    def _act(self, decision: Decision, now: float) -> None:
        if self.options.dry_run:
            self.dry_run.tell(decision)
        elif self.actuator:
            self.keeper.keep_to(decision.cap)
            image = self.image.id, self.image.newest
            self.actuator.act(decision.actions, now, self.file.config, *image, self.in_force.settings)

    # ------------------------------------------------------------ every few seconds

    def _slow_pass(self, now: float, seen: Observation, short: bool) -> None:
        self.next_slow, self.keeper.is_touched = now + SLOW_PASS, False
        if self.actuator and self.docker.ready:
            if not self.file.config.worker.network.host:
                self.burden.look(now, seen, short)
            if self.burden.suspects_output(seen):
                self.actuator.look_for_floods()
            # Of a job that had ended by the last pass: its line is written by now.
            self.actuator.endings.fetch_next()
        wait = between_readings(self.roster.fleet, seen.donated, self.one_may_leave)
        if self.usage and now >= self.last_reading + wait:
            self.last_reading = now
            self._read_workers(now, seen.boottime)
        if self.actuator and not self.options.dry_run:
            self.keeper.verify(now)
            if self.docker.ready:
                self.actuator.removals.sweep(now)
                self.network.step(now)
        if now >= self.last_scan + (ENGINE_SCAN_AGAIN if self.figures.engine_changed else ENGINE_SCAN):
            self.last_scan = now
            self.figures.watch_engine(listener(self.engine.socket))
            self.keeper.look_for_owner()

    def _read_workers(self, now: float, boottime: float) -> None:
        assert self.usage
        self.usage.read(now, boottime, self.roster.fleet, self.roster)
        for name, reading in self.usage.by_name.items():
            if reading.used is not None:
                self.roster.note_used(name, reading.used, boottime)
            ended = reading.jobs is not None and self.roster.note_jobs(name, reading.jobs, reading.job_cpu)
            if ended and self.actuator:
                self.actuator.endings.fetch_report(name)

    # ------------------------------------------------------------ configuration and requests

    def configure(self) -> None:
        config = self.file.config
        engine = msgspec.structs.replace(config.docker, tick=self.engine.tick)  # which needs none
        self.needs_restart = NEEDS_RESTART if engine != self.engine else ""
        self.in_force.host = None  # the next tick works out what it means here
        image = config.image
        if self.info:
            self.disk_guard.watch(self.info, config)
        self.image.want(image.name, float(image.refresh), image.policy, image.auth_file)
        self.repo.want(config.config)
        self.influx.want(config.monitoring.influxdb)
        self.mounts.want(config)
        self.owner_watch.use(config)
        self.network.want(config)

    def _read_files(self) -> None:
        """See what was asked for, and whether the configuration is another one."""
        if self.run_dir:
            self.stopping.read(self.run_dir)
        self.owner_requests.read()
        if self.file.changed():
            self.configure()
            self.status_file.say("the configuration has changed")

    def _remove_all(self) -> None:
        if self.actuator and not self.options.dry_run:
            self.actuator.force_all(time.monotonic())

    # ------------------------------------------------------------ Docker

    def _docker_found(self, info: Info) -> None:
        self.info = info
        self.disk_guard.watch(info, self.file.config)
        if self.keeper.slice is not None:
            self.last_scan = -ENGINE_SCAN  # another dockerd may answer
            self.network.look_again()
            if problem := self._why_unprotected():
                self.status_file.warn(problem)
            self.docker.follow()
            return
        workers_slice = Slice(self.layout, self.engine.slice, info.cgroup_driver, self.engine.tier)
        workers_slice.manager.run_what_waits = lambda work: beside(self.inbox, work, lambda _: None)
        if self.options.dry_run:
            self._use_slice(workers_slice)
            return

        def make() -> None:
            self.network.enforce()  # before the first worker
            workers_slice.make()

        beside(self.inbox, make, lambda _: self._use_slice(workers_slice))

    def _use_slice(self, workers_slice: Slice) -> None:
        """With the slice there is all that it takes to act: Docker can be followed from here on."""
        self.made = self.keeper.slice = workers_slice
        if not self.options.dry_run:
            workers_slice.take()
            best = workers_slice.tier == "kernel" and workers_slice.ours
            say = self.status_file.say if best else self.status_file.warn
            say(f"tier {workers_slice.tier}: {workers_slice.tier_reason}")
        self.figures.watch_slice(workers_slice)
        self.figures.watch_engine(listener(self.engine.socket))
        self.figures.look(0.0, time.monotonic())  # the next tick tells what has been since
        self.in_force.host = None
        self.usage = WorkerUsage(workers_slice, PROC)
        self.disk_guard.watch_slice(workers_slice)
        context = Context(
            self.roster,
            self.request_queue,
            self.cleanup_queue,
            workers_slice,
            self.instance,
            self.status_file.say,
            PROC,
            self.accounting,
            on_trouble=self.docker.trouble,
            on_image_lost=self.image.lost,
            around=self._around,
            on_network=self.network.enforce,
            speed=HostSpeed(None if self.options.dry_run else self.paths.state / "speed.json"),
            dry_run=self.options.dry_run,
        )
        self.actuator = Actuator(context)
        self.made = None
        self.docker.follow()

    def _around(self, config: Config) -> Surroundings:
        return look_around(self.info or Info(), self.paths.run, self.image.image, config.worker.users)

    def _docker_listed(self, found: Listing) -> None:
        assert self.actuator
        asked = self.docker.asked_at
        boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.actuator.reconciler.reconcile(found.changed, boottime, asked, found.as_before)
        self.stopping.listed()
        self.image.step(time.monotonic())  # it is known at the next tick, not at the one after

    def _docker_event(self, event: Event) -> None:
        assert self.actuator
        self.actuator.reconciler.on_event(event, time.clock_gettime(time.CLOCK_BOOTTIME))

    # ------------------------------------------------------------ saying it

    def _facts(self, decision: Decision, now: float) -> Facts:
        image = (self.image.name or "", self.image.id)
        docker = self.docker.problem or "answers"
        problems, unseen = self._problems(decision, now), self.disk_guard.disks.unseen
        expires = self.actuator.starter.token_expires if self.actuator else None
        work, until = self.accounting.work, self.owner_requests.pause_until
        return Facts(self.keeper.slice, image, docker, problems, work, unseen, expires, until)

    def _problems(self, decision: Decision, now: float) -> tuple[str, ...]:
        made = self.keeper.slice
        found = [
            self.figures.problem,
            self.docker.problem,
            self.docker.silence(now),
            self.file.problem,
            self.repo.problem,
            self.needs_restart,
            self.in_force.problem,
            self.image.problem,
            made.tier_reason if made and (made.tier == "quota" or not made.ours) else "",
            made.boost.problem if made else "",
            not_kept(self.disk_guard.disks.unseen, self.file.config.owner.reserve_disk),
            decision.held.sentence if decision.held and decision.held.reason.is_problem else "",
            *(self.actuator.removals.problems if self.actuator else ()),
            *self.network.problems,
            *self.history.problems(now),
            *self.influx.problems,
        ]
        return tuple(text for text in found if text)

    # ------------------------------------------------------------ the end

    def _end(self) -> None:
        """Leave nothing half done; with no worker left, leave no trace either."""
        self.history.close()
        self.influx.close()
        self.repo.close()
        self.docker.close()
        stopping, made = self.stopping, self.keeper.slice
        if self.actuator and made and not self.options.dry_run:
            self.actuator.lift.drop()
            made.freezer.thaw()
            if stopping.is_near:
                self._clean_up(self.actuator, made)
        if self.run_dir and not stopping.again:
            self.run_dir.retract()
            if len(self.roster) and stopping.is_near and not stopping.keep_workers:
                self.run_dir.leave({entry.worker.name: self._why_left(entry) for entry in self.roster})
        if self.recorder:
            self.recorder.close()
        self.figures.close()
        self.sleep.close()
        if self.usage:
            self.usage.close()
        if stopping.by_request and not stopping.again:
            stay_stopped(self.engine.socket)

    def _why_left(self, entry: Entry) -> str:
        return entry.refused or self.docker.problem or "it did not end in time"

    def _clean_up(self, actuator: Actuator, made: Slice) -> None:
        if not self.docker.ready and not self.stopping.keep_workers:
            log.warning("Docker does not answer: workers that it has stay, under the slice")
            return
        if len(self.roster):
            if not self.stopping.keep_workers:
                log.warning("%d workers could not be removed: they stay under the slice", len(self.roster))
                for entry in self.roster:
                    log.warning("%s is left: %s", entry.worker.name, self._why_left(entry))
            return
        removed: list[bool] = []
        actuator.remove_network(lambda: removed.append(True))
        deadline = time.monotonic() + 5.0
        while not removed and (remaining := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self.inbox.get(timeout=remaining)()
        made.remove()
        self.network.remove(self.engine.slice)
        forget(self.paths.run)
        log.info("stopped, nothing is left behind")
