"""What the owner has asked for until later: a pause, and a drain.

A pause is taken up as a request, and kept in the state directory: with the wall clock's time at
which it ends it holds across a restart of the host.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from plancton.daemon.run_directory import RunDir
from plancton.files import read_regular, replace_file
from plancton.model import NO_WISHES, Wishes
from plancton.paths import LARGEST_FILE, RunDirError
from plancton.request_files import DRAIN, PAUSE, withdraw
from plancton.units import day_and_time

UNTIL_RESUMED = float("inf")


class Drain(NamedTuple):
    """``finish``: workers are asked to; ``until``: the Unix time at which it ends by itself."""

    finish: bool
    until: float


def parse_until(content: str) -> float:
    """Of a file that people may write as well: whatever else it holds, it counts until it goes."""
    found = re.search(r"\b[0-9]{1,11}\b", content)
    return float(found[0]) if found else UNTIL_RESUMED


class OwnerRequests:
    """Only the loop calls it. ``run_dir`` None: nobody is asked. ``say`` takes a sentence."""

    def __init__(
        self,
        run_dir: RunDir | None,
        state: Path,
        say: Callable[[str], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._run_dir, self._state, self._say, self._wall = run_dir, state, say, wall
        self.drain: Drain | None = None
        self.pause_until: float | None = None if run_dir is None else self._kept_pause()
        """The Unix time at which the pause ends, infinite if it does not; None: there is none."""
        if self.pause_until is not None:
            self._say(self._words("still paused by the owner", self.pause_until))

    def read(self) -> None:
        if self._run_dir is None:
            return
        drain = self._run_dir.drain()
        self.drain = None if drain is None else Drain("finish" in drain.split(), parse_until(drain))
        if self._run_dir.take_request("resume") is not None and self.pause_until is not None:
            self._end_pause("the owner has ended the pause")
        if (asked := self._run_dir.take_request("pause")) is not None:
            self._begin_pause(parse_until(asked))

    def wishes(self) -> Wishes:
        """What holds now; what is over has ended."""
        if self.pause_until is None and self.drain is None:
            return NO_WISHES
        now = self._wall()
        if self.pause_until is not None and now >= self.pause_until:
            self._end_pause("the owner's pause is over")
        if self.drain and now >= self.drain.until:
            self._end_drain()
        pause = "" if self.pause_until is None else self._words("paused by the owner", self.pause_until)
        drain = self._words("draining", self.drain.until) if self.drain else ""
        until = min(self.pause_until or UNTIL_RESUMED, self.drain.until if self.drain else UNTIL_RESUMED)
        return Wishes(pause, drain, None if until == UNTIL_RESUMED else until - now)

    # ------------------------------------------------------------ the pause

    def _begin_pause(self, until: float) -> None:
        said = self._words("paused by the owner", until)
        try:
            replace_file(self._state / PAUSE, f"{until:.0f}".encode(), 0o644)
        except OSError as error:
            said += f", but not beyond a restart: {self._state / PAUSE} can't be written ({error.strerror})"
        self.pause_until = until
        self._say(said)

    def _end_pause(self, said: str) -> None:
        self.pause_until = None
        self._say(said)
        self._withdraw(self._state, PAUSE)

    def _kept_pause(self) -> float | None:
        """That of before a restart. One that can't be read counts: the owner wanted peace."""
        try:
            data, _ = read_regular(self._state / PAUSE, LARGEST_FILE, follow=False)
        except FileNotFoundError:
            return None
        except OSError:
            return UNTIL_RESUMED
        return parse_until(data.decode(errors="replace"))

    # ------------------------------------------------------------ the drain

    def _end_drain(self) -> None:
        self.drain = None
        self._say("the drain is over")
        if self._run_dir:
            self._withdraw(self._run_dir.path, DRAIN)

    def _withdraw(self, directory: Path, name: str) -> None:
        try:
            withdraw(directory, name)
        except RunDirError as error:  # it is over all the same
            self._say(str(error))

    def _words(self, what: str, until: float) -> str:
        return what if until == UNTIL_RESUMED else f"{what} until {day_and_time(until, self._wall())}"
