"""A bounded memory of the last seconds: which part of them something held. Pure."""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import msgspec

ENTRIES = 256
"""A window keeps at most about this many entries: longer ones are kept more coarsely, not at more cost."""
LONG_ENOUGH = 2 / 3
"""Part of a window for which a thing must have held before anything is done about it."""
SLACK = 0.5
"""Ticks are not exactly a second apart: a window is covered when this little is missing (seconds)."""
KNOWN = 0.9
"""And this part of it is known: a tick without figures now and then must not stop all decisions."""


class Span(NamedTuple):
    """What was so from ``start`` to ``end``: room in CPUs and in bytes, and the maximum of workers."""

    start: float
    end: float
    room: float
    memory_room: float
    max_workers: float


class SlidingWindow(msgspec.Struct, frozen=True, dict=True):
    """Spans of the last ``length`` seconds, oldest first. Its sums are computed once."""

    length: float
    spans: tuple[Span, ...] = ()

    def add(self, span: Span, length: float) -> "SlidingWindow":
        """With one more span, and what is older than ``length`` seconds forgotten."""
        spans = self.spans
        if spans and span.end - spans[-1].start <= length / ENTRIES:
            span, spans = SlidingWindow(length, (spans[-1], span)).average or span, spans[:-1]
        oldest = next((i for i, s in enumerate(spans) if s.end > span.end - length), len(spans))
        return SlidingWindow(length, (*spans[oldest:], span))

    @property
    def covered(self) -> bool:
        return self.covers(self.length)

    def covers(self, length: float) -> bool:
        """Whether it reaches back that many seconds, and knows most of them."""
        reach = self.spans[-1].end - self.spans[0].start if self.spans else 0.0
        return reach >= length - SLACK and self.known >= KNOWN * length

    @cached_property
    def known(self) -> float:
        """Seconds of the past that it knows: what can't be measured leaves holes."""
        return sum(s.end - s.start for s in self.spans)

    def seconds(self, length: float, holds: Callable[[Span], bool]) -> float:
        """For how many of the last ``length`` seconds ``holds`` is known to have been true."""
        begin = self.spans[-1].end - length if self.spans else 0.0
        return sum(s.end - max(s.start, begin) for s in self.spans if s.end > begin and holds(s))

    @cached_property
    def average(self) -> Span | None:
        """Its ``length`` as one span, averaged by time, with the last maximum; None while it knows
        nothing. Of the first span only what is within counts, or distant ticks would make it longer."""
        if self.known <= 0:
            return None
        last = self.spans[-1]
        begin = last.end - self.length
        inside = [s.end - max(s.start, begin) for s in self.spans]
        known = sum(inside)
        room = sum(s.room * seconds for s, seconds in zip(self.spans, inside, strict=True)) / known
        memory_room = (
            sum(s.memory_room * seconds for s, seconds in zip(self.spans, inside, strict=True)) / known
        )
        return Span(self.spans[0].start, last.end, room, memory_room, last.max_workers)

    def earliest(self, length: float, part: float, holds: Callable[[Span], bool]) -> float:
        """Seconds until at the earliest ``length`` seconds are covered and ``holds`` has been true
        for that part of them. It is true from now on; what is forgotten meanwhile does not count."""
        reach = self.spans[-1].end - self.spans[0].start if self.spans else 0.0
        held = sum(s.end - s.start for s in self.spans if holds(s))
        return max(length - SLACK - reach, part * length - held)

    def part(self, holds: Callable[[Span], bool]) -> float:
        """The part (0 to 1) of what it knows for which ``holds`` is true."""
        known = self.known
        return sum(s.end - s.start for s in self.spans if holds(s)) / known if known > 0 else 0.0
