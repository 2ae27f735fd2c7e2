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
    before, found = _look(state)
    yield from (event for event in found if event.time >= since)
    while follow:
        while changed(state) == before:
            time.sleep(LOOK)
        # Neither by time, for clocks are put back, nor by number: these begin again where a damaged
        # history was moved aside.
        told = set(found)
        before, found = _look(state)
        yield from (event for event in found if event not in told)


def _look(state: Path) -> tuple[object, list[Said]]:
    """What changes with the history, and all events."""
    before = changed(state)
    with open_history(state) as history:
        return before, history.events()


def event_line(event: Said) -> str:
    return f"{local_time(event.time, '%Y-%m-%d %H:%M:%S')}  {printable(event.text)}"
