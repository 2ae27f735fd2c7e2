"""How fast this host's CPUs are, by HTCondor's own benchmarks, so that a pool can compare hosts.

One worker measures it when it begins (scripts/worker-image/pilot), in the idle class like all that
workers do. Those after it, of the same image, are given the figures.
"""

import contextlib
import math
import re
from pathlib import Path

import msgspec

from plancton.files import from_json, read_regular, replace_file, to_json

TAKES = 60.0
"""Seconds after which a worker has measured, unless it got next to no CPU."""
_LINE = re.compile(r"^(KFlops|Mips) ([1-9][0-9]{0,11})$", re.MULTILINE)


class Speed(msgspec.Struct, frozen=True):
    """Measured with this image: figures by their names in HTCondor."""

    image: str = ""
    figures: dict[str, int] = {}


class HostSpeed:
    """What is known of it, kept in a file (None: nowhere). Only the loop calls it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known, self._due = Speed(), math.inf
        self.measurer = ""
        """The worker that was told to measure last."""
        if file:
            with contextlib.suppress(OSError, ValueError):
                self._known = from_json(read_regular(file, 4096, follow=False)[0], Speed)

    def of(self, image: str) -> dict[str, int]:
        return self._known.figures if image == self._known.image else {}

    def ask(self, name: str, now: float) -> None:
        """This worker is to measure it from ``now`` on (CLOCK_MONOTONIC)."""
        self.measurer, self._due = name, now + TAKES

    def is_due(self, now: float) -> bool:
        """Once: whether the measurer's report should have it by now."""
        due = now >= self._due
        self._due = math.inf if due else self._due
        return due

    def reported(self, name: str, image: str, report: bytes) -> None:
        """The measurer's lines come before those of its jobs, which can write anything there."""
        if name != self.measurer:
            return
        lines = _LINE.findall(report.decode(errors="replace"))
        found = {what: int(number) for what, number in reversed(lines)}
        if len(found) == 2:
            self._known, self.measurer = Speed(image, found), ""
            if self._file:
                with contextlib.suppress(OSError):  # a full disk: it is measured once more
                    replace_file(self._file, to_json(self._known), 0o644)
