"""What goes on now, measured while somebody looks, with the meter of `plancton top`."""

import socket
import threading
import time

import msgspec

from plancton import __version__
from plancton.commands.top.meter import Figures, Meter, figures_of
from plancton.files import to_json
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.sampler import SamplerError
from plancton.model import Status
from plancton.paths import Paths
from plancton.running_supervisors import NotRunning, holder, paths_in_use
from plancton.status_reading import no_status, running

FRESH = 0.5
"""Seconds for which figures are told again: several pages cost no more than one."""
LOOKED_AWAY = 5.0
"""Seconds after which figures since the last look would be of another time."""


class Now(msgspec.Struct, frozen=True):
    """``time`` is Unix time; ``message`` is why there is no status, or no figures."""

    time: float
    host: str
    version: str
    figures: Figures
    status: Status | None = None
    message: str = ""


class Watch:
    """Looks when it is asked to, and does nothing in between."""

    def __init__(self) -> None:
        self._root = read_layout().v2
        self._lock = threading.Lock()
        self._meter: Meter | None = None
        self._looked = 0.0
        self._seen = b""
        self._rests = False

    def look(self) -> bytes:
        with self._lock:
            since = time.monotonic() - self._looked
            if self._seen and since < FRESH:
                return self._seen
            if since > LOOKED_AWAY:
                self.close()
            self._seen, self._looked = to_json(self._look()), time.monotonic()
            if not self._rests:
                self._rests = True
                self._rest_later()
            return self._seen

    def _rest_later(self) -> None:
        timer = threading.Timer(LOOKED_AWAY, self._rest)
        timer.daemon = True
        timer.start()

    def _rest(self) -> None:
        """Nobody looks any more: keep no file open, as that of a worker that is gone."""
        with self._lock:
            self._rests = time.monotonic() - self._looked < LOOKED_AWAY
            if self._rests:
                self._rest_later()
            else:
                self.close()

    def close(self) -> None:
        if self._meter is not None:
            self._meter.close()
        self._meter = None

    def _look(self) -> Now:
        status, message = supervisor_now(paths_in_use())
        if self._meter is None:
            self._meter = Meter(PROC, self._root)
        try:
            figures = self._meter.read(status)
        except SamplerError as error:
            figures, message = Figures(), message or str(error)
        return Now(time.time(), socket.gethostname(), __version__, figures, status, message)


def supervisor_now(paths: Paths) -> tuple[Status | None, str]:
    """What the supervisor says, or why it says nothing."""
    status, pid = running(paths), holder(paths)
    if status is not None:
        return status, ""
    return None, str(NotRunning()) if pid is None else no_status(paths, pid)


def written_now(paths: Paths) -> Now:
    """The same without measuring, for a page that is kept."""
    status, message = supervisor_now(paths)
    figures = figures_of(status) if status else Figures()
    return Now(time.time(), socket.gethostname(), __version__, figures, status, message)
