"""What the owner's rules ask for at each tick."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from plancton.config.load import parse
from plancton.daemon.owner_watch import LASTING, OwnerWatch
from plancton.inbox import Inbox
from plancton.model import Observation, OwnerRules

SEEN = Observation(100.0, 100.0, 8.0, owner=2.5)


class Watch:
    """One with a log of its own."""

    def __init__(self, tree: Path, text: str) -> None:
        self.said: list[str] = []
        self.it = OwnerWatch(tree, "plancton", Inbox(), self.said.append)
        self.it.use(parse(text, "FILE"))


def test_nothing_without_rules(tmp_path: Path) -> None:
    """Without rules nothing is asked for; a configuration that has some changes that."""
    watch = Watch(tmp_path, "")
    assert watch.it.look(SEEN, 100.0) == OwnerRules()
    watch.it.use(parse("owner: {pause_when: owner_cpus > 2, cpu_cap: 25%}", "FILE"))
    found = watch.it.look(SEEN, 105.0)
    assert "2.5 CPUs" in found.pause and found.cap == 2
    watch.it.use(parse("", "FILE"))
    assert watch.it.look(SEEN, 110.0) == OwnerRules()


def test_a_tick_without_figures(tmp_path: Path) -> None:
    """What the owner uses stays what it was while a tick has no figure."""
    watch = Watch(tmp_path, "owner: {leave_when: owner_cpus > 2}")
    watch.it.look(SEEN, 100.0)
    assert watch.it.look(replace(SEEN, owner=None), 105.0).leave


def test_unknown_is_said_once(tmp_path: Path) -> None:
    """A rule that stays unknown is named in the log, once, and not before it has lasted."""
    watch = Watch(tmp_path, "owner: {pause_when: owner_memory_pressure > 5}")
    for now in (100.0, 105.0, 100.0 + LASTING, 105.0 + LASTING):
        assert watch.it.look(SEEN, now).pause == ""
        assert len(watch.said) == (now >= 100.0 + LASTING), watch.said
    assert "owner_memory_pressure is unknown" in watch.said[0]


@pytest.mark.parametrize("text", ["owner: {hours: mon-sun}", "owner: {max_temperature: 90}"])
def test_rules_that_ask_for_nothing(tmp_path: Path, text: str) -> None:
    """Hours that never end and a temperature to watch pause nobody."""
    found = Watch(tmp_path, text).it.look(SEEN, 100.0)
    assert (found.pause, found.leave, found.cap) == ("", "", None)


def test_another_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's local time counts, also after the computer was taken elsewhere."""
    hour = datetime.fromtimestamp(time.time(), UTC).hour
    rule = " or ".join(f"hour == {(hour + later) % 24}" for later in (5, 6))
    watch = Watch(tmp_path, f"owner: {{leave_when: {rule}}}")
    for zone, leaves in (("UTC0", False), ("XXX-5", True), ("UTC0", False)):
        monkeypatch.setenv("TZ", zone)
        assert bool(watch.it.look(SEEN, 100.0).leave) is leaves
    monkeypatch.undo()
    time.tzset()
