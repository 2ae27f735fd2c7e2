"""What a real supervisor keeps of what it did, and `plancton events` and `plancton report` of it."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from docker.harness import CPUS, Plancton, wait_for

from plancton.history.tables import NAME

pytestmark = pytest.mark.docker


def events(plancton: Plancton) -> list[str]:
    done = plancton.cli("events", "--json")
    return [json.loads(line)["text"] for line in done.stdout.splitlines()]


def test_a_crash_forgets_nothing_that_was_written(plancton: Plancton) -> None:
    """After SIGKILL and another start, what both supervisors did is told once, in its order."""
    plancton.calm(1)
    plancton.start()
    plancton.full(1)
    wait_for("the start is kept", lambda: any("starting" in text for text in events(plancton)))
    plancton.crash()
    before = events(plancton)
    plancton.start()
    plancton.full(1)
    wait_for("the adoption is kept", lambda: any("adopted" in text for text in events(plancton)))
    after = events(plancton)
    assert after[: len(before)] == before, "what was told is told again"
    assert sum("starting" in text for text in after) == 1, after
    with closing(sqlite3.connect(plancton.paths.state / NAME)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_report_of_what_was_donated(plancton: Plancton) -> None:
    """CPU seconds, the time for which they are known, and the events are those of a real run."""
    plancton.calm(1)
    plancton.start()
    plancton.full(1)

    def report() -> dict[str, Any]:
        done = plancton.cli("report", "--since", "1h", "--json")
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    wait_for("the first figures are kept", lambda: report().get("donated", 0) > 0)
    found = report()
    assert found["capacity"] == pytest.approx(CPUS * found["seconds"]) and found["idle"] > 0, found
    assert found["donated"] > 0, found
    assert any("starting" in event["text"] for event in found["events"]), found["events"]
    assert not plancton.cli("report").stderr
