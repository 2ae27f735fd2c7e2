"""`plancton events`: what the supervisor did and why, from its history."""

import time
from collections.abc import Generator
from pathlib import Path

from plancton.history.read import Said, changed, open_history
from plancton.units import local_time, printable

LOOK = 1.0
"""Seconds between two looks at whether there is something new."""


def read_events(state: Path, since: float, follow: bool) -> Generator[Said]:
    """Those from this Unix time on, oldest first; with ``follow`` also those that come, for ever.
    Raises HistoryError."""
    told = set[Said]()
    while True:
        before = changed(state)
        with open_history(state) as history:
            found = history.events(since)
        yield from (event for event in found if event not in told)
        if not follow:
            return
        # By time: numbers begin again where a damaged history was moved aside.
        since = max([since, *(event.time for event in found)])
        told = {event for event in found if event.time == since}
        while changed(state) == before:
            time.sleep(LOOK)


def event_line(event: Said) -> str:
    return f"{local_time(event.time, '%Y-%m-%d %H:%M:%S')}  {printable(event.text)}"
