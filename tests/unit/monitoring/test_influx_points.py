"""InfluxDB's line protocol: what is escaped, and what 0.6's dashboards count on."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plancton.history.read import Said
from plancton.history.tables import Row
from plancton.monitoring.influx_points import (
    Departure,
    as_0_6,
    departure_as_0_6,
    line,
    of_event,
    of_minute,
)

ROW = Row(
    1_795_000_020, 60.0, 240.0, owner=30.0, donated=120.0, idle=60.0, workers=118.0, tier="kernel",
    mode="donating", held="no room", why='the owner "needs" it',
)  # fmt: skip


def test_a_minute() -> None:
    """A row has all its columns under their names, numbers as floats, and its time in nanoseconds."""
    text = of_minute(ROW, {"host": "h 1,a=b"})
    assert text.startswith(r"plancton,host=h\ 1\,a\=b seconds=60.0,capacity=240.0,owner=30.0,donated=120.0,")
    assert r'held="no room",why="the owner \"needs\" it" 1795000020000000000' in text
    assert "jobs_done=0.0" in text and not re.search(r"\d i?,", text)


def test_events_of_one_moment() -> None:
    """Two events of one millisecond are two points."""
    one, two = (of_event(Said(number, 1.5, "x"), {}) for number in (7, 8))
    assert one == 'plancton_events text="x" 1500000007' and two != one


@given(st.text())
def test_whatever_it_says(text: str) -> None:
    """A field of any text is one line, whose quotes end where it ends."""
    made = line("s", {"host": "h"}, {"text": text}, 1)
    assert "\n" not in made
    inner = made.partition('text="')[2][:-3]
    assert not re.search(r'(?<!\\)(\\\\)*"', inner)


@pytest.mark.parametrize(
    ("mode", "held", "status"),
    [
        ("donating", "", "active"),
        ("donating", "no docker", "waiting"),
        ("draining", "draining", "draining"),
        ("stopping", "stopping", "draining"),
    ],
)
def test_series_of_0_6(mode: str, held: str, status: str) -> None:
    """Names, tags and types are 0.6's: a float for each number, a short host name."""
    row = Row(ROW.time, 60.0, 240.0, idle=60.0, workers=118.0, mode=mode, held=held)
    daemon, measurement = as_0_6(row, "desk1", ROW.time - 40.0)
    assert (
        daemon == f'daemon,hostname=desk1 containers=2.0,status="{status}",uptime=100.0 {ROW.time}000000000'
    )
    assert measurement == f"measurement,hostname=desk1 cpu_eff=75.0 {ROW.time}000000000"


def test_before_this_supervisor() -> None:
    """Of an earlier supervisor's minutes the uptime is not known, and left out; a minute of which
    nothing is known is none."""
    daemon, _ = as_0_6(ROW, "desk1", ROW.time + 600.0)
    assert "uptime" not in daemon
    assert not list(as_0_6(Row(ROW.time), "desk1", 0.0))


def test_departure_of_0_6() -> None:
    """The end of a worker has 0.6's words for true and false."""
    text = departure_as_0_6(Departure(1.5, 30.25, True, False), "desk1")
    assert text == "container,hostname=desk1,killed=False,started=True uptime=30.25 1500000000"
