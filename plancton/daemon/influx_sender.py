"""Sends the history to InfluxDB in a thread, which is there only while a database is configured."""

import logging
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plancton.config.schema import InfluxDB
from plancton.inbox import Inbox, guarded

if TYPE_CHECKING:
    from plancton.monitoring.influx_client import Destination, Progress
    from plancton.monitoring.influx_points import Departure

log = logging.getLogger("plancton")

BETWEEN_PIECES = 0.5
"""Seconds: whoever catches up with a week leaves the loop its time."""
LAST_WORD = 1.0
"""How long the supervisor's end waits for the thread. What was not sent is sent by the next one."""
MOST_DEPARTURES = 5_000


class InfluxSender:
    """Only the loop calls it. ``state`` None: nothing is sent."""

    def __init__(self, state: Path | None, inbox: Inbox) -> None:
        self._state, self._inbox = state, inbox
        self._began = time.time()
        self._settings: list[InfluxDB] = []
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._departures: deque[Departure] = deque(maxlen=MOST_DEPARTURES)
        self.problems: tuple[str, ...] = ()

    def want(self, settings: list[InfluxDB]) -> None:
        if settings == self._settings or self._state is None:
            return
        self._stop.set()
        self._settings, self._stop, self.problems = settings, threading.Event(), ()
        before, self._thread = self._thread, None
        if settings:
            work = partial(self._send, self._state, settings, self._stop, before)
            self._thread = threading.Thread(
                target=guarded, args=(self._inbox, work), name="influxdb", daemon=True
            )
            self._thread.start()

    def departed(self, age: float, started: bool, told: bool) -> None:
        if any(each.compatible for each in self._settings):
            from plancton.monitoring.influx_points import Departure

            self._departures.append(Departure(time.time(), age, started, told))

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(LAST_WORD)

    # ------------------------------------------------------------ in the thread

    def _send(
        self, state: Path, settings: list[InfluxDB], stop: threading.Event, before: threading.Thread | None
    ) -> None:
        from plancton.monitoring.influx_client import Destination, Progress, this_host

        if before is not None:
            before.join()
        progress, host = Progress(state), this_host(self._began)
        places = [Destination(each, host, progress) for each in settings]
        keys = [place.key for place in places]
        while not stop.wait(max(0.0, min(place.due for place in places) - time.monotonic())):
            place = min(places, key=lambda each: each.due)
            self._take_departures(progress)
            more = _send_piece(place, state)
            place.due = time.monotonic() + (BETWEEN_PIECES if more else place.settings.every)
            progress.save(keys)
            if not stop.is_set():
                self.problems = tuple(each.problem for each in places if each.problem)
        self._take_departures(progress)
        progress.save(keys)

    def _take_departures(self, progress: "Progress") -> None:
        while self._departures:
            progress.departures.append(self._departures.popleft())


def _send_piece(place: "Destination", state: Path) -> bool:
    """Whether there is more to send at once."""
    before = place.problem
    more = place.send_piece(state, time.time())
    if place.problem and place.problem != before:
        log.warning("%s", place.problem)
    elif before and not place.problem:
        log.info("monitoring.influxdb: %s takes it again", place.name)
    return more
