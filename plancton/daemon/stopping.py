"""How the supervisor ends: who asks for it, what is waited for, and for how long."""

import time
from collections.abc import Callable

from plancton.daemon.docker_link import DockerLink
from plancton.daemon.host_settings import HostSettings
from plancton.daemon.run_directory import RunDir
from plancton.daemon.sdnotify import Service
from plancton.request_files import KEEP_WORKERS
from plancton.workers.roster import Roster

LOOK_BEFORE_STOP = 5.0
"""Told to stop right after the start, Plancton waits this long to learn which workers there are."""
LEAVING, AT_ONCE = 15.0, 15.0
"""Seconds for all to be gone: beyond `worker.leave_timeout`, and when they are removed at once."""
CLEAN_UP = 45.0
"""Ending in order takes at most this long: when Docker hangs and all workers had to be waited for."""


class Stopping:
    """Only the loop calls it. ``wanted``: the end is asked for, ``when_empty``: once the last worker has
    finished; ``forced``: all workers are removed at once, ``keep_workers``: they stay. ``by_request``:
    somebody has asked for it, which is no reason to be started again. ``again``: this process executes
    itself, and ends for that."""

    def __init__(
        self,
        docker: DockerLink,
        roster: Roster,
        in_force: HostSettings,
        service: Service,
        say: Callable[[str], None],
        remove_all: Callable[[], None],
        dry_run: bool,
    ) -> None:
        self._docker, self._roster, self._in_force, self._service = docker, roster, in_force, service
        self._say, self._remove_all, self._dry_run = say, remove_all, dry_run
        self.wanted = self.when_empty = self.forced = self.keep_workers = False
        self.by_request = self.again = False
        self._look_until = self._deadline = 0.0
        self._verify_until: float | None = None
        self._verified = False

    @property
    def is_near(self) -> bool:
        """Whether the end comes by itself from here on."""
        return self.wanted or self.when_empty

    # ------------------------------------------------------------ who asks

    def read(self, run_dir: RunDir) -> None:
        stop, force = run_dir.take_request("stop"), run_dir.take_request("force-stop")
        finish = run_dir.take_request("finish")
        self.by_request |= any(request is not None for request in (stop, force, finish))
        if force is not None:
            self._force()
        elif stop is not None:
            self.keep_workers = stop == KEEP_WORKERS
            self._begin()
        elif finish is not None:
            self._say("finishing: Plancton stops when the workers have ended")
            self.when_empty = True

    def signalled(self) -> None:
        """SIGTERM or SIGINT: end; the second time at once."""
        if self.wanted:
            self._force()
        else:
            self._begin()

    def go_alone(self) -> None:
        """SIGUSR1: end, the workers stay; `docker stop` sends it to our image's container."""
        self.keep_workers = True
        self._begin()

    def run_again(self) -> None:
        """Take a new version or environment in place."""
        if not self.wanted:
            self._say("running again in place, the workers stay")
            self.again = True

    def _begin(self) -> None:
        now = time.monotonic()
        if not self.wanted:
            stay = self.keep_workers or self._dry_run
            self._say(f"stopping{', the workers stay' if stay else ': all workers leave'}")
        self.wanted, self._look_until = True, now + LOOK_BEFORE_STOP
        self._deadline = now + self._in_force.settings.leave_timeout + LEAVING
        self._service.stopping(self._deadline - now + CLEAN_UP)

    def _force(self) -> None:
        self._say("stopping at once: all workers are removed")
        self.wanted = self.forced = True
        self.keep_workers, self._deadline = False, time.monotonic() + AT_ONCE
        self._remove_all()

    # ------------------------------------------------------------ what is waited for

    def done(self) -> bool:
        if self.again or (self.wanted and (self.keep_workers or self._dry_run)):
            return True
        if self.wanted or (self.when_empty and self._docker.ready):
            now = time.monotonic()
            if not self._docker.looked and now < self._look_until:
                return False
            return self._nothing_left(now) or (self.wanted and now > self._deadline)
        return False

    def _nothing_left(self, now: float) -> bool:
        """No worker is known, and Docker knows none either, as far as it answers."""
        late = self._verify_until is not None and now > self._verify_until
        return len(self._roster) == 0 and (self._verified or late or not self._docker.ready)

    def step(self) -> None:
        """Once no worker is known, Docker is asked whether there is one all the same: a container that
        was restarted by others, or whose start took too long, is found by this."""
        if not self.is_near:
            return
        if len(self._roster) or self._dry_run:
            self._verify_until, self._verified = None, False
        elif self._verify_until is None:
            self._verify_until = time.monotonic() + LOOK_BEFORE_STOP
            self._docker.look_again()

    def listed(self) -> None:
        """The roster has all workers that Docker has listed."""
        since = None if self._verify_until is None else self._verify_until - LOOK_BEFORE_STOP
        self._verified = since is not None and self._docker.asked_at >= since and len(self._roster) == 0
        if self.forced:
            self._remove_all()
