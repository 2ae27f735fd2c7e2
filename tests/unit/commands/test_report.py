"""`plancton report` and `plancton events`, of a history that is there."""

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from plancton.commands.events import read_events
from plancton.history.tables import HOUR, MINUTE, NAME, Row
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Work

PLANCTON = str(Path(sys.executable).with_name("plancton"))


def written(state: Path, *events: Event) -> None:
    """Two hours up to now: a worker in the first one, and none in the second."""
    now = int(time.time()) // MINUTE * MINUTE
    rows = [
        Row(
            now - 2 * HOUR + n * MINUTE,
            60.0,
            240.0,
            owner=60.0,
            donated=120.0 if n < 60 else 0.0,
            idle=60.0 if n < 60 else 180.0,
            without=0.0 if n < 60 else 60.0,
            jobs_done=1 if n == 5 else 0,
            held="" if n < 60 else "draining",
            why="" if n < 60 else "draining: nothing new is started",
        )
        for n in range(120)
    ]
    store = open_store(state / NAME)
    store.write(Batch(tuple(rows), events, Kept(Work(float(now)))), now)
    store.close()


def said(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PLANCTON_STATE_DIR": str(state),
        "PLANCTON_RUN_DIR": str(state / "run"),
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.run([PLANCTON, *arguments], capture_output=True, text=True, env=environment, timeout=60)


def test_report(tmp_path: Path) -> None:
    """It says what was donated, of what was idle, the jobs, and why nothing was."""
    now = time.time()
    written(tmp_path, Event(now - 3.0, "draining"))
    text = said(tmp_path, "report", "--since", "3h").stdout
    first, *lines = text.splitlines()
    assert "donated 2h 00m of CPU time, 33% of what was idle" in first, text
    assert any("1 job done, 0 evicted" in line for line in lines), text
    day = next(line for line in lines if line.startswith(time.strftime("%a", time.localtime(now - 7200))))
    assert "5" in day and text.isascii(), text  # of 4 CPUs, 2 were donated
    assert any("1h 00m  draining: nothing new is started" in line for line in lines), text
    assert "draining" in lines[-1], text


def test_report_in_json(tmp_path: Path) -> None:
    """Programs get the same figures."""
    written(tmp_path, Event(time.time() - 3.0, "draining"))
    found = json.loads(said(tmp_path, "report", "--json", "--since", "1d").stdout)
    assert found["donated"] == 7200 and found["part_of_idle"] == pytest.approx(1 / 3), found
    assert found["pauses"][0]["reason"] == "draining", found["pauses"]
    assert [event["text"] for event in found["events"]] == ["draining"]
    assert len(found["week"]) == 7 and all(len(day) == 24 for day in found["week"])


def test_events(tmp_path: Path) -> None:
    """Those of the last two hours, or of as long as one likes; nothing in them rules a terminal."""
    now = round(time.time(), 3)
    old, new = Event(now - 5.0 * HOUR, "starting w1"), Event(now - 5.0, "asking w1 to leave\x1b[2J")
    written(tmp_path, old, new)
    assert "starting" not in said(tmp_path, "events").stdout
    lines = said(tmp_path, "events", "--since", "6h").stdout.splitlines()
    assert len(lines) == 2 and "starting w1" in lines[0] and "\x1b" not in lines[1], lines
    found = [json.loads(line) for line in said(tmp_path, "events", "--json").stdout.splitlines()]
    assert [event["time"] for event in found] == [new.time], found


def test_followed(tmp_path: Path) -> None:
    """What comes is told as well, once, also where a damaged history was replaced meanwhile."""
    now = time.time()
    written(tmp_path, Event(now - 2.0, "one"))
    events = read_events(tmp_path, 0.0, follow=True)
    assert next(events).text == "one"
    (tmp_path / NAME).unlink()
    written(tmp_path, Event(now - 1.0, "two"), Event(now - 1.0, "three"))
    assert [next(events).text, next(events).text] == ["two", "three"]
    events.close()


def test_followed_while_the_clock_is_put_back(tmp_path: Path) -> None:
    """What comes is told also when it has an earlier time than what was there."""
    now = time.time()
    with closing(open_store(tmp_path / NAME)) as store:
        store.write(Batch((), (Event(now + 2 * HOUR, "booted"),), Kept(Work(now))), now)
        events = read_events(tmp_path, now, follow=True)
        assert next(events).text == "booted"
        store.write(Batch((), (Event(now - HOUR, "in sync"),), Kept(Work(now))), now)
        assert next(events).text == "in sync"
    events.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report"], "no history yet"),
        (["events", "--since", "soon"], "--since"),
        (["report", "--since", "-1h"], "--since"),
        (["report", "--since", "1e999d"], "--since"),
    ],
)
def test_what_can_not_be_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    """One line says why."""
    done = said(tmp_path, *arguments)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done
