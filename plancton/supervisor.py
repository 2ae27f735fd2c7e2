"""The loop: the one place where sample, observe, decide and act meet.

Run as `python -P -m plancton.supervisor OPTIONS` (JSON) by `plancton run`, so that the process that
stays does not carry the command line.
"""

import contextlib
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec

from plancton import __version__
from plancton.actuator import Actuator, list_workers
from plancton.config import Config, ConfigError, Host, digest, limits, load, worker_limit
from plancton.containers import INSTANCE
from plancton.docker import Container, DockerError, DockerTimeout, DockerUnreachable, Event, Info, NotDocker
from plancton.engine import find_engine
from plancton.errors import PlanctonError
from plancton.image import ImageKeeper, short
from plancton.lane import Follower, Inbox, Lane
from plancton.model import Decision, Header, Limits, Observation, Sample, Status, Tick, WorkerStatus
from plancton.model import Event as Happened
from plancton.observe import observe
from plancton.policy import State, decide
from plancton.publish import with_rates, worker_statuses
from plancton.readings import WorkerReadings
from plancton.roster import Roster
from plancton.rundir import (
    KEEP_WORKERS,
    AlreadyRunning,
    Paths,
    RunDir,
    default_paths,
    instance_id,
    peek_instance,
    take_lock,
)
from plancton.sampler import Sampler
from plancton.slice import PROC, Slice, read_layout

log = logging.getLogger("plancton")

TICK = 1.0
SLOW_PASS = 5.0
"""Workers are read one by one, the slice is verified and status.json is refreshed this often (seconds)."""
READ_PER_WORKER = 0.06
"""With many workers they are read less often than that, so that a second does not cost more with them."""
ENGINE_SCAN = 60.0
LONGEST_RETRY = 10.0
"""Docker is looked for again after 1, 2, 4 … seconds, this at the most."""
LOOK_BEFORE_STOP = 5.0
"""Told to stop right after the start, Plancton waits so long to learn which workers there are."""
NO_ANSWER = 10.0
"""A Docker call under way for longer means that Docker does not answer."""
EXIT_BAD_INPUT, EXIT_LOCKED = 2, 75


class Options(msgspec.Struct, frozen=True):
    """What `plancton run` was asked for. ``config`` None: the default file, which need not exist."""

    config: str | None = None
    dry_run: bool = False
    record: str | None = None
    verbose: bool = False


class ConfigFile:
    """The configuration in force, read again when its file changes; a broken one is refused."""

    def __init__(self, path: Path, missing_ok: bool) -> None:
        self.path, self._missing_ok = path, missing_ok
        self._seen = self._signature()
        self.config = load(path, missing_ok)
        self.problem = ""

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def changed(self) -> bool:
        """Whether there is a new configuration in force; says so, or why the last good one stays."""
        signature = self._signature()
        if signature == self._seen:
            return False
        self._seen = signature
        try:
            config = load(self.path, self._missing_ok)
        except ConfigError as error:
            self.problem = f"{error} (the last good configuration stays in force)"
            log.error("%s", self.problem)
            return False
        self.problem = ""
        if config == self.config:
            return False
        self.config = config
        return True


class Supervisor:
    """One run. Everything here happens in one thread; Docker's answers arrive through the inbox."""

    def __init__(self, options: Options, paths: Paths, file: ConfigFile, instance: str) -> None:
        self.options, self.paths, self.file, self.instance = options, paths, file, instance
        self.layout = read_layout(PROC)
        self.run_dir = None if options.dry_run else RunDir(paths.run)
        self.inbox: Inbox = SimpleQueue()
        self.socket = file.config.docker.socket
        self.lane = Lane(self.socket, self.inbox)
        self.image = ImageKeeper(self.socket, self.inbox, self.lane, may_pull=not options.dry_run)
        self.roster = Roster()
        self.slice: Slice | None = None
        self.actuator: Actuator | None = None
        self.sampler = Sampler(PROC)
        self.previous: Sample | None = None
        self.state = State()
        self.follower: Follower | None = None
        self.connecting = False
        self.docker_ready = False
        self.docker_problem = "Docker has not answered yet"
        self.retry_at, self.retry_after = 0.0, 1.0
        self.stopping = self.keep_workers = self.stop_when_empty = self.forced = self.again = False
        self.looked = False
        """Whether Docker was asked once for the workers there are, or could not be."""
        self.look_until = self.stop_deadline = 0.0
        self.events: deque[Happened] = deque(maxlen=20)
        self.readings: WorkerReadings | None = None
        self.disk: tuple[int, int] | None = None
        self.disk_path = "/"
        self.next_slow = self.next_scan = self.next_reading = 0.0
        self.host = Host(1, 0)
        self.limits = Limits()
        self.digest = ""
        self.limit_of: Callable[[Host], int | None] = worker_limit(file.config)
        self.max_workers: int | None = None
        self.limit_problem = ""
        self.published: tuple[object, ...] = ()
        self.listed: tuple[tuple[object, ...], tuple[WorkerStatus, ...]] | None = None
        self.published_at = 0.0
        self.publish_failed = False
        self.record: BinaryIO | None = None
        self.last_said = ""

    # ------------------------------------------------------------ the loop

    def run(self) -> int:
        """Until it is told to stop; the exit code."""
        self._begin()
        try:
            next_tick = time.monotonic()
            while not self._done():
                self._wait(next_tick)
                now = time.monotonic()
                if self.actuator:
                    self.actuator.step(now)
                if now >= next_tick:
                    self._tick(now)
                    next_tick = max(next_tick + TICK, now)
        finally:
            self._end()
        if self.again:
            self._execute_again()
        return 0

    def _begin(self) -> None:
        self.lane.start()
        if self.run_dir:
            self.run_dir.clear_requests()
        self._configure()
        if self.options.record:
            self.record = open(self.options.record, "ab", buffering=0)  # noqa: SIM115
            self._write_record(Header(__version__, self.limits))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.inbox.put(self._asked_to_stop))
        signal.signal(signal.SIGHUP, lambda *_: self.inbox.put(self._asked_to_run_again))
        log.info("Plancton %s, pid %d, instance %s", __version__, os.getpid(), self.instance)
        if not (PROC / "pressure").exists():
            log.info("this kernel has no pressure figures (psi=1 at boot may bring them): going on without")

    def _wait(self, next_tick: float) -> None:
        """Make the calls that arrive until something else is due."""
        while True:
            lift_ends = self.actuator.lift_ends() if self.actuator else None
            until = next_tick if lift_ends is None else min(next_tick, lift_ends)
            remaining = until - time.monotonic()
            try:
                call = self.inbox.get(timeout=remaining) if remaining > 0 else self.inbox.get_nowait()
            except Empty:
                return
            call()
            if self._done():
                return

    def _done(self) -> bool:
        if self.again or (self.stopping and (self.keep_workers or self.options.dry_run)):
            return True
        if self.stopping or (self.stop_when_empty and self.docker_ready):
            now = time.monotonic()
            if not self.looked and now < self.look_until:
                return False
            return len(self.roster) == 0 or (self.stopping and now > self.stop_deadline)
        return False

    def _tick(self, now: float) -> None:
        sample = self.sampler.sample()
        seen = observe(self.previous, sample, self.readings.shims if self.readings else 0.0)
        self.previous = sample
        if now >= self.next_slow:
            self._slow_pass(now, seen)
        if self.run_dir:
            self._requests(now)
            if self._done():  # before anything is decided: workers that are to stay are told nothing
                return
        if self.file.changed():
            self._configure()
            self._say("the configuration has changed")
        if not self.docker_ready and not self.connecting and now >= self.retry_at:
            self._connect()
        if self.docker_ready:
            self.image.step(now)
        seen = self._completed(seen, now)
        decision, self.state = decide(seen, self.state, self.limits)
        self._act(decision, now)
        if self.record:
            self._write_record(Tick(seen, decision))
        self._publish(seen, decision, now)

    def _completed(self, seen: Observation, now: float) -> Observation:
        """The observation with all that is not a rate."""
        self.max_workers = self._max_workers(seen)
        draining, finish = self._drain_state()
        return msgspec.structs.replace(
            seen,
            disk_free=self.disk[0] if self.disk else None,
            disk_total=self.disk[1] if self.disk else None,
            max_workers=self.max_workers,
            image=self.image.id,
            digest=self.digest,
            docker=self.docker_ready and self.lane.busy_for(now) < NO_ANSWER,
            draining=draining,
            finish=finish,
            stopping=self.stopping,
            ended=self.roster.take_ended(),
            fleet=self.roster.fleet,
        )

    def _drain_state(self) -> tuple[bool, bool]:
        """Whether nothing may be started, and whether workers are asked to finish."""
        if self.stop_when_empty:
            return True, True
        content = self.run_dir.drain() if self.run_dir else None
        return content is not None, content == "finish"

    def _max_workers(self, seen: Observation) -> int | None:
        host = Host(int(seen.capacity), seen.memory_total, seen.swap_total, self.disk[1] if self.disk else 0)
        if host == self.host:
            return self.max_workers
        self.host = host
        self.limits = self._limits()
        try:
            value = self.limit_of(host)
        except ValueError as error:
            self.limit_problem = f"pool.max_workers: {error} (the last good value stays)"
            log.warning("%s", self.limit_problem)
            return self.max_workers
        self.limit_problem = ""
        return value

    def _limits(self) -> Limits:
        made = limits(self.file.config, self.host)
        if self.slice is not None and self.slice.tier == "none":
            # The leavers can't be given CPU to leave with, and nothing but memory is urgent.
            return msgspec.structs.replace(made, leave_timeout=max(120.0, made.leave_timeout))
        return made

    def _act(self, decision: Decision, now: float) -> None:
        if self.options.dry_run:
            self._say_what_would_be(decision)
        elif self.actuator:
            self.actuator.act(decision.actions, now, self.file.config, self.image.id, self.limits)

    def _say_what_would_be(self, decision: Decision) -> None:
        kinds = [type(a).__name__.lower() for a in decision.actions]
        said = ", ".join(f"{kind} ({a.reason})" for kind, a in zip(kinds, decision.actions, strict=True))
        if ",".join(kinds) != self.last_said:
            self.last_said = ",".join(kinds)
            log.info("dry run: would %s; %s", said or "do nothing", decision.sentence)

    # ------------------------------------------------------------ every few seconds

    def _slow_pass(self, now: float, seen: Observation) -> None:
        self.next_slow = now + SLOW_PASS
        self._read_disk()
        if self.readings and now >= self.next_reading:
            self.next_reading = now + READ_PER_WORKER * len(self.roster)
            self.readings.read(now, self.roster.fleet, self.roster)
        if self.actuator and self.slice and not self.options.dry_run:
            repaired = self.slice.repair()
            if repaired:
                self._say(repaired)
            if self.docker_ready:
                self.actuator.sweep()
        if now >= self.next_scan:
            self.next_scan = now + ENGINE_SCAN
            self.sampler.watch_engine(find_engine(PROC, self.layout.v2))

    def _read_disk(self) -> None:
        try:
            stat = os.statvfs(self.disk_path)
        except OSError:
            self.disk = None
            return
        self.disk = stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize

    # ------------------------------------------------------------ configuration and requests

    def _configure(self) -> None:
        """Put the configuration in force to use."""
        config = self.file.config
        self.limit_of = worker_limit(config)
        self.host = Host(1, 0)  # so that limits and max_workers are made anew at the next tick
        self.limits = limits(config, self.host)
        self.digest = digest(config)
        self.image.want(config.image.name, float(config.image.refresh))

    def _requests(self, now: float) -> None:
        assert self.run_dir
        stop, force = self.run_dir.take_request("stop"), self.run_dir.take_request("force-stop")
        finish = self.run_dir.take_request("finish")
        if force is not None:
            self._force_stop()
        elif stop is not None:
            self.keep_workers = stop == KEEP_WORKERS
            self._stop(now)
        elif finish is not None:
            self._say("finishing: no new workers, and Plancton stops when the running ones have ended")
            self.stop_when_empty = True

    def _asked_to_stop(self) -> None:
        if self.stopping:
            self._force_stop()
        else:
            self._stop(time.monotonic())

    def _stop(self, now: float) -> None:
        if not self.stopping:
            self._say("stopping, the workers stay" if self.keep_workers else "stopping: all workers leave")
        self.stopping = True
        self.look_until = now + LOOK_BEFORE_STOP
        self.stop_deadline = now + self.limits.leave_timeout + 15.0

    def _force_stop(self) -> None:
        now = time.monotonic()
        self._say("stopping at once: all workers are removed")
        self.stopping, self.forced, self.keep_workers, self.stop_deadline = True, True, False, now + 15.0
        if self.actuator and not self.options.dry_run:
            self.actuator.force_all(now)

    def _asked_to_run_again(self) -> None:
        """SIGHUP: take a new version or environment in place, unless it would not start."""
        import subprocess  # seldom needed: not worth its memory from the start

        check = [sys.executable, "-P", "-c", "import plancton.supervisor"]
        done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode == 0:
            self._say("running again in place, the workers stay")
            self.again = True
        else:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            self._say(f"not running again in place: the installed Plancton does not start ({reason})")

    # ------------------------------------------------------------ Docker

    def _connect(self) -> None:
        """Find Docker, then our workers in it."""
        self.connecting = True
        self.lane.submit(lambda docker: docker.info(), self._connected)

    def _connected(self, info: Info | None, error: DockerError | None) -> None:
        if info is None:
            self.connecting = False
            if error is not None:
                self._docker_down(error)
            return
        self.disk_path = info.docker_root_dir or "/"
        if self.slice is None:
            self._make_slice(info)
        if self.follower:
            self.follower.close()
        filters = {
            "type": ["container"],
            "event": ["die", "died", "destroy"],
            "label": [f"{INSTANCE}={self.instance}"],
        }
        self.follower = Follower(
            self.socket, self.inbox, filters, time.time(), self._on_event, self._events_ended
        )
        self.follower.start()
        self.lane.submit(lambda docker: list_workers(docker, self.instance), self._listed)

    def _make_slice(self, info: Info) -> None:
        self.slice = Slice(self.layout, self.file.config.docker.slice, info.cgroup_driver)
        if not self.options.dry_run:
            self.slice.set_up()
            say = self._say if self.slice.tier == "kernel" else self._warn
            say(f"tier {self.slice.tier}: {self.slice.tier_reason}")
        self.sampler.close()
        self.sampler = Sampler(PROC, self.slice.directory, self.slice.memory_stat)
        self.sampler.watch_engine(find_engine(PROC, self.layout.v2))
        self.previous = None
        self.host = Host(1, 0)
        self.readings = WorkerReadings(self.slice, PROC)
        self.actuator = Actuator(self.roster, self.lane, self.slice, self.instance, self._say, PROC)
        self.actuator.dry_run = self.options.dry_run
        self.actuator.on_trouble = self._docker_trouble
        self.actuator.on_image_lost = self.image.lost

    def _listed(self, found: list[Container] | None, error: DockerError | None) -> None:
        self.connecting = False
        if found is None:
            if error is not None:
                self._docker_down(error)
            return
        if self.docker_problem and not self.docker_ready:
            self._say("Docker answers")
        self.docker_ready, self.docker_problem, self.retry_after = True, "", 1.0
        self.looked = True
        if self.actuator:
            self.actuator.reconcile(found, time.clock_gettime(time.CLOCK_BOOTTIME))
            if self.forced and not self.options.dry_run:
                self.actuator.force_all(time.monotonic())

    def _docker_trouble(self, error: DockerError) -> None:
        """A call went wrong: when that is Docker's absence, look for it again."""
        if isinstance(error, DockerUnreachable | NotDocker):
            self._docker_down(error)

    def _docker_down(self, error: DockerError) -> None:
        if self.docker_ready or self.docker_problem != str(error):
            self._warn(f"{error}; looking for it again until it answers")
        self.docker_ready, self.docker_problem = False, str(error)
        self.looked = True
        self.retry_at = time.monotonic() + self.retry_after
        self.retry_after = min(LONGEST_RETRY, self.retry_after * 2)

    def _on_event(self, event: Event) -> None:
        if self.actuator:
            self.actuator.on_event(event, time.clock_gettime(time.CLOCK_BOOTTIME))

    def _events_ended(self, error: DockerError) -> None:
        """The stream is cut, or was silent for long: list again, then go on following."""
        log.log(logging.DEBUG if isinstance(error, DockerTimeout) else logging.INFO, "events: %s", error)
        if not self.connecting:
            self._connect()

    # ------------------------------------------------------------ saying it

    def _say(self, text: str) -> None:
        log.info("%s", text)
        self.events.append(Happened(round(time.time(), 3), text))

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        self.events.append(Happened(round(time.time(), 3), text))

    def _write_record(self, line: Header | Tick) -> None:
        assert self.record
        try:
            self.record.write(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            self._warn(f"{self.options.record}: {error.strerror}; recording has ended")
            self.record.close()
            self.record = None

    def _publish(self, seen: Observation, decision: Decision, now: float) -> None:
        """Replace status.json when something but the figures has changed, and every few seconds."""
        if self.run_dir is None:
            return
        problems = self._problems(decision, now)
        key = (
            seen.fleet,
            decision.fit,
            decision.held,
            problems,
            self._mode(seen),
            len(self.events) and self.events[-1],
        )
        if key == self.published and now - self.published_at < SLOW_PASS - TICK / 2:
            return
        self.published, self.published_at = key, now
        try:
            self.run_dir.publish(self._status(seen, decision, problems))
            if self.publish_failed:
                log.info("%s: can be written again", self.paths.run)
            self.publish_failed = False
        except OSError as error:
            if not self.publish_failed:
                log.warning("%s: status.json can't be written: %s", self.paths.run, error.strerror)
            self.publish_failed = True

    def _status(self, seen: Observation, decision: Decision, problems: tuple[str, ...]) -> Status:
        status = Status(
            version=__version__,
            pid=os.getpid(),
            instance=self.instance,
            time=round(time.time(), 3),
            mode=self._mode(seen),
            sentence="",
            decision="",
            tier=self.slice.tier if self.slice else "none",
            tier_reason=self.slice.tier_reason if self.slice else "waiting for Docker",
            slice=self.slice.path if self.slice else "",
            capacity=seen.capacity,
            fit=decision.fit,
            image=self.image.name or "",
            image_id=short(self.image.id),
            docker=self.docker_problem or "answers",
            problems=problems,
            workers=self._worker_statuses(seen, decision),
            events=tuple(self.events),
        )
        return with_rates(status, seen, decision)

    def _worker_statuses(self, seen: Observation, decision: Decision) -> tuple[WorkerStatus, ...]:
        """Made anew when the workers were read, or when they or the fit have changed."""
        readings = self.readings.by_name if self.readings else {}
        key = (seen.fleet, decision.fit, readings)
        if self.listed is None or any(a is not b for a, b in zip(key, self.listed[0], strict=True)):
            groups = {entry.worker.name: entry.group for entry in self.roster}
            made = worker_statuses(seen.fleet, decision.fit, seen.boottime, groups, readings)
            self.listed = key, tuple(made)
        return self.listed[1]

    def _mode(self, seen: Observation) -> str:
        if seen.stopping:
            return "stopping"
        return "draining" if seen.draining else "donating"

    def _problems(self, decision: Decision, now: float) -> tuple[str, ...]:
        busy = self.lane.busy_for(now)
        found = [
            self.docker_problem,
            "Docker has not answered for a while" if busy >= NO_ANSWER else "",
            self.file.problem,
            self.limit_problem,
            self.image.problem,
            self.slice.tier_reason if self.slice and self.slice.tier == "none" else "",
            decision.held if decision.held.startswith("backing off") or "disk" in decision.held else "",
        ]
        return tuple(text for text in found if text)

    # ------------------------------------------------------------ the end

    def _end(self) -> None:
        """Leave nothing half done; with no worker left, leave no trace either."""
        if self.follower:
            self.follower.close()
        if self.actuator and self.slice and not self.options.dry_run:
            self.actuator.drop_lift()
            if self.stopping or self.stop_when_empty:
                self._clean_up()
        if self.run_dir and not self.again:
            self.run_dir.retract()
        if self.record:
            self.record.close()
        self.sampler.close()
        if self.readings:
            self.readings.close()

    def _clean_up(self) -> None:
        assert self.actuator and self.slice
        if not self.docker_ready and not self.keep_workers:
            log.warning("Docker does not answer: workers that it has stay, under the slice")
            return
        if len(self.roster):
            if not self.keep_workers:
                log.warning("%d workers could not be removed: they stay under the slice", len(self.roster))
            return
        removed: list[bool] = []
        self.actuator.remove_network(lambda: removed.append(True))
        deadline = time.monotonic() + 5.0
        while not removed and (remaining := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self.inbox.get(timeout=remaining)()
        self.slice.remove()
        log.info("stopped, nothing is left behind")

    def _execute_again(self) -> None:
        os.execv(sys.executable, [sys.executable, "-P", "-m", "plancton.supervisor", *sys.argv[1:]])


def main(arguments: list[str]) -> int:
    """The process that stays. One line and an exit code for what the user can mend."""
    options = msgspec.json.decode(arguments[0] if arguments else "{}", type=Options)
    os.umask(0o022)
    _log_to_stderr(options.verbose)
    paths = default_paths()
    try:
        path = Path(options.config) if options.config else paths.config
        file = ConfigFile(path, missing_ok=options.config is None)
        instance = peek_instance(paths.state) if options.dry_run else instance_id(paths.state)
        lock = None if options.dry_run else _lock(paths, file.config, instance)
        code = Supervisor(options, paths, file, instance).run()
    except PlanctonError as error:
        print(f"plancton: {error}", file=sys.stderr)
        return EXIT_LOCKED if isinstance(error, AlreadyRunning) else EXIT_BAD_INPUT
    if lock is not None:
        os.close(lock)
    return code


def _lock(paths: Paths, config: Config, instance: str) -> int:
    return take_lock(paths.state, config.docker.socket, instance, config.docker.slice)


def _log_to_stderr(verbose: bool) -> None:
    journal = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    layout = "%(levelname)s %(message)s" if journal else "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(format=layout, level=logging.DEBUG if verbose else logging.INFO, stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
