"""Windows: what they know, what they forget, and that they stay small."""

import pytest

from plancton.policy.sliding_window import ENTRIES, SlidingWindow, Span


def filled(length: float, seconds: int, room: float = 1.0, step: float = 1.0) -> SlidingWindow:
    """A window that has seen this many steps of constant room."""
    window = SlidingWindow(length)
    for n in range(seconds):
        window = window.add(Span(n * step, (n + 1) * step, room, 0.0, 9.0), length)
    return window


def test_empty() -> None:
    """An empty window is not covered, and nothing held in it."""
    window = SlidingWindow(10.0)
    assert window.known == 0.0 and not window.covered
    assert window.part(lambda s: True) == 0.0


@pytest.mark.parametrize(("seconds", "covered"), [(1, False), (9, False), (10, True), (50, True)])
def test_covered(seconds: int, covered: bool) -> None:
    """A window is covered once its whole length is known."""
    assert filled(10.0, seconds).covered is covered


def test_covered_with_little_missing() -> None:
    """Ticks that are a little early still cover it: half a second may be missing."""
    assert filled(10.0, 10, step=0.96).covered
    assert not filled(10.0, 10, step=0.94).covered


@pytest.mark.parametrize(("hole", "covered"), [(1, True), (2, False)])
def test_covered_with_a_hole(hole: int, covered: bool) -> None:
    """A tenth of its time may be unknown, no more."""
    window = filled(10.0, 5)
    for n in range(5 + hole, 10):
        window = window.add(Span(n, n + 1, 1.0, 0.0, 9.0), 10.0)
    assert window.covered is covered


def test_old_spans_are_forgotten() -> None:
    """Spans that ended before the window began are gone."""
    window = filled(10.0, 100)
    assert window.known == 10.0 and len(window.spans) == 10
    assert window.spans[0].start == 90.0


def test_a_span_that_is_partly_older() -> None:
    """Of a span that began before the window does, the rest is averaged: ticks that are far apart
    don't make it longer."""
    window = SlidingWindow(10.0).add(Span(0, 15, 1.0, 0, 9), 10.0)
    window = window.add(Span(15, 20, 4.0, 0, 9), 10.0)
    assert window.average and window.average.room == 2.5, window


def test_part() -> None:
    """The part for which something held is counted by time, not by spans."""
    window = SlidingWindow(100.0)
    for span in (Span(0, 6, 1.0, 0, 9), Span(6, 8, 3.0, 0, 9), Span(8, 10, 1.0, 0, 9)):
        window = window.add(span, 100.0)
    assert window.part(lambda s: s.room > 2) == 0.2
    assert window.part(lambda s: s.room < 2) == 0.8


def test_unknown_time_is_not_counted() -> None:
    """Unknown time in between counts neither for nor against."""
    window = SlidingWindow(100.0).add(Span(0, 2, 1.0, 0, 9), 100.0).add(Span(6, 8, 3.0, 0, 9), 100.0)
    assert window.part(lambda s: s.room > 2) == 0.5


def test_shorter_and_longer() -> None:
    """A changed length applies from the next span on; a longer window has to be covered first."""
    window = filled(10.0, 10).add(Span(10, 11, 1.0, 0, 9), 5.0)
    assert window.length == 5.0 and window.known == 5.0 and window.covered
    assert not window.add(Span(11, 12, 1.0, 0, 9), 8.0).covered


@pytest.mark.parametrize("length", [60.0, 1_800.0, 86_400.0])
def test_bounded(length: float) -> None:
    """Long windows are stored more coarsely: never many more entries than ENTRIES."""
    window, most = SlidingWindow(length), 0
    for n in range(min(round(length * 2), 20_000)):
        window = window.add(Span(n, n + 1, float(n % 2), float(n), 9.0), length)
        most = max(most, len(window.spans))
    assert most <= ENTRIES * 2, most
    assert window.spans[-1].end - window.spans[0].start == window.known


def test_coarse_spans_are_averages() -> None:
    """Merged spans are averaged by time; the later limit is kept."""
    window = (
        SlidingWindow(2_560.0)
        .add(Span(0, 2, 1.0, 10.0, 5.0), 2_560.0)
        .add(Span(2, 8, 5.0, 50.0, 7.0), 2_560.0)
    )
    assert window.spans == (Span(0, 8, 4.0, 40.0, 7.0),), window.spans
    window = window.add(Span(8, 12, 1.0, 0.0, 7.0), 2_560.0)
    assert len(window.spans) == 2, "more than ten seconds are not merged"


def test_coarse_windows_still_cover() -> None:
    """Merging never makes a window forget more than it should."""
    window = filled(1_800.0, 5_000)
    assert window.covered and 1_800 <= window.known <= 1_810, window.known
