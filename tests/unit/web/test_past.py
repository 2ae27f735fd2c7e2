"""What the page shows of the past."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plancton.history.tables import DAY, HOUR, MINUTE, Row
from plancton.web.past import POINTS, STEPS, PastReader, make_chart, step_for

NOW = 1_763_942_400.0 + 13 * HOUR
"""A Monday, 13:00 UTC."""


def test_chart() -> None:
    """Rows of a step become their average, by the seconds for which they are known; sums stay sums,
    and where nothing is known there is nothing."""
    begin = int(NOW) - HOUR
    rows = [
        Row(begin, 60.0, 240.0, owner=60.0, donated=120.0, jobs_done=2),
        Row(begin + 60, 20.0, 80.0, owner=60.0, donated=0.0, jobs_done=1, jobs_evicted=1),
        Row(begin + 300, 60.0, 240.0, owner=30.0),
    ]
    chart = make_chart(rows, begin, begin + 480, 120)
    assert (chart.begin, chart.step) == (begin // 120 * 120, 120)
    assert chart.lines["owner"] == [1.5, None, 0.5, None]
    assert chart.lines["donated"] == [1.5, None, 0.0, None]
    assert chart.lines["capacity"] == [4.0, None, 4.0, None]
    assert chart.lines["jobs_done"] == [3, None, 0, None]
    assert chart.lines["seconds"] == [80.0, None, 60.0, None]


def test_no_row_of_another_time() -> None:
    """Rows before and after are in no step, and a time without any row is one that is unknown."""
    chart = make_chart([Row(int(NOW), 60.0, owner=60.0)], NOW - HOUR, NOW - MINUTE, 60)
    assert set(chart.lines["owner"]) == {None} and len(chart.lines["owner"]) == 59
    assert make_chart([], NOW, NOW + 1, 60).lines["owner"] == [None]


@pytest.mark.parametrize("days", [0.01, 1, 7, 30, 365, 3 * 365])
def test_steps(days: float) -> None:
    """A chart has the finest step that leaves about as many points as a screen has dots; where no
    minutes are kept, that is an hour at least."""
    step = step_for(days * DAY, NOW - days * DAY, NOW)
    assert days * DAY / step <= POINTS
    finer = [each for each in STEPS if each < step and (days <= 7 or each >= HOUR)]
    assert all(days * DAY / each > POINTS for each in finer)
    assert step_for(HOUR, NOW - 30 * DAY, NOW) == HOUR


def test_disk_that_hangs(tmp_path: Path) -> None:
    """While a request waits for the disk, the others are answered, and say why they know nothing."""
    begun, goes_on = threading.Event(), threading.Event()

    def find_state() -> Path:
        begun.set()
        goes_on.wait(90)
        return tmp_path

    reader = PastReader(find_state, patience=0.01)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(reader.read, 0.0, NOW, NOW)
        begun.wait(90)
        assert "disk" in json.loads(reader.read(0.0, NOW, NOW))["problem"]
        goes_on.set()
        assert "no history" in json.loads(first.result())["problem"]
    assert "no history" in json.loads(reader.read(0.0, NOW, NOW))["problem"]
