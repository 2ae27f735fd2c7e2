"""The signals' values: what is read, when, and what is asked beside the loop."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.trees import Tree, tree

from plancton.host.signals import readings
from plancton.host.signals.catalog import ASKED, SIGNALS, show_value
from plancton.host.signals.people import Hint
from plancton.host.signals.readings import ANSWER_FRESH, FRESH, Signals

NOW = 1_800_000_000.0
EVENING = time.struct_time((2024, 1, 6, 22, 15, 0, 5, 6, 0))
LAPTOP = {
    "power_supply": {
        "BAT0": {"type": "Battery\n", "status": "Discharging\n", "capacity": "62\n"},
    },
    "hwmon": {"hwmon0": {"name": "k10temp\n", "temp1_input": "71500\n", "temp1_label": "Tctl\n"}},
}


class Later:
    """What is asked beside the loop, answered when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def __call__(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.asked.append((work, done))

    def answer(self) -> None:
        work, done = self.asked.pop(0)
        done(work())


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A laptop's files, with two cgroups and nobody logged in."""
    groups = {
        "user.slice": {
            "cgroup.procs": "",
            "memory.pressure": "some avg10=3.00\n",
            "io.pressure": "some avg10=4.00\n",
        },
        "plancton": {"cgroup.procs": "", "memory.pressure": "some avg10=99.00\n"},
    }
    process = {"comm": "zoom\n", "cgroup": "0::/user.slice\n"}
    parts: Tree = {
        "proc": {"1": {"comm": "init\n"}, "10": process},
        "sys": {"class": LAPTOP},
        "run": {},
        "dev": {},
        "cgroup": groups,
    }
    return tree(tmp_path, parts)


def signals_of(host: Path, beside: Later | None = None) -> Signals:
    roots = {name: host / name for name in ("proc", "sys", "run", "dev")}
    found = Signals(host / "cgroup", "plancton", beside or readings.at_once, **roots)  # type: ignore[arg-type]
    found.look(100.0, NOW, EVENING, 1.5)
    return found


EXPECTED = {
    "on_battery": "yes",
    "battery": "62 %",
    "idle_seconds": "unknown",
    "sessions": "unknown",
    "hour": "22",
    "weekday": "6",
    "temperature": "71.5 °C",
    "throttled": "unknown",
    "power": "unknown",
    "owner_cpus": "1.5",
    "owner_memory_pressure": "3 %",
    "owner_io_pressure": "4 %",
    "metered": "unknown",
}


def test_all(host: Path) -> None:
    """Each signal has a value, or is unknown on this host, and can be shown."""
    signals = signals_of(host)
    assert {name: show_value((name,), signals.read((name,))) for name in SIGNALS} == {
        name: f"{name} = {value}" for name, value in EXPECTED.items()
    }
    asked = {("between", "22:00", "07:00"): "yes", ("running", "zoom"): "yes", ("running", "steam"): "no"}
    assert {ref[0] for ref in asked} == set(ASKED)
    for reference, value in asked.items():
        assert show_value(reference, signals.read(reference)).endswith(f") = {value}")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (("on_battery",), "on battery (62 %)"),
        (("running", "steam", "zoom"), "zoom runs"),
        (("battery",), "the battery has 62 %"),
        (("metered",), "metered is unknown"),
        (("weekday",), "it is Saturday"),
    ],
)
def test_words(host: Path, reference: tuple[str, ...], words: str) -> None:
    """As a reason, a signal says what helps to understand it."""
    assert signals_of(host).describe(reference) == words


def test_read_again(host: Path) -> None:
    """A value is used again for a few seconds, and then read again."""
    signals, file = signals_of(host), host / "sys/class/power_supply/BAT0/capacity"
    assert signals.read(("battery",)) == 62
    file.write_text("61\n")
    signals.look(100.0 + FRESH / 2, NOW, EVENING)
    assert signals.read(("battery",)) == 62
    signals.look(100.0 + FRESH, NOW, EVENING)
    assert signals.read(("battery",)) == 61


def test_nothing_is_read_that_nobody_asks_for(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look alone, and the clock, read no file."""
    monkeypatch.setattr(readings, "on_battery", lambda _: pytest.fail("it was read"))
    monkeypatch.setattr(readings, "find_running", lambda *_: pytest.fail("it was read"))
    signals = signals_of(host)
    assert signals.read(("hour",)) == 22 and signals.read(("battery",)) == 62


def test_asked_beside(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another program knows is unknown until it has answered, and asked one at a time."""
    answers = [True, None]
    monkeypatch.setattr(readings, "ask_metered", lambda: answers.pop(0))
    (host / "run/NetworkManager").mkdir()
    later = Later()
    signals = signals_of(host, later)
    assert signals.read(("metered",)) is None and len(later.asked) == 1
    signals.look(150.0, NOW, EVENING)
    assert signals.read(("metered",)) is None and len(later.asked) == 1, "it is asked already"
    later.answer()
    assert signals.read(("metered",)) is True and not later.asked, "it counts at once"
    signals.look(150.0 + ANSWER_FRESH, NOW, EVENING)
    assert signals.read(("metered",)) is True and len(later.asked) == 1
    later.answer()
    signals.look(170.0, NOW, EVENING)
    assert signals.read(("metered",)) is None, "NetworkManager has gone"


def test_programs_are_looked_for_beside(host: Path) -> None:
    """To look through all processes takes a while on some hosts: nobody waits for it."""
    later = Later()
    signals = signals_of(host, later)
    assert signals.read(("running", "zoom")) is None
    later.answer()
    assert signals.read(("running", "zoom")) is True and signals.describe(("running", "zoom")) == "zoom runs"


def test_idle_desktop(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where people are logged in, logind is asked about their sessions; without its answer nothing
    is known."""
    tree(host / "run", systemd={"sessions": {"2": "CLASS=user\nSTATE=active\nTYPE=wayland\n"}})
    hints = [Hint("wayland", True, NOW - 700)]
    seen: list[list[str]] = []

    def ask(ids: list[str]) -> list[Hint]:
        seen.append(ids)
        return hints

    monkeypatch.setattr(readings, "ask_logind", ask)
    later = Later()
    signals = signals_of(host, later)
    assert signals.read(("sessions",)) == 1
    assert signals.read(("idle_seconds",)) is None
    later.answer()
    signals.look(110.0, NOW + 10, EVENING)
    assert signals.read(("idle_seconds",)) == 710 and seen == [["2"]]


def test_driver_that_is_loaded_late(host: Path) -> None:
    """A sensor that appears later is found."""
    sensor = host / "sys/class/hwmon/hwmon0/name"
    sensor.write_text("nvme\n")
    signals = signals_of(host)
    assert signals.read(("temperature",)) is None
    sensor.write_text("k10temp\n")
    signals.look(110.0, NOW, EVENING)
    assert signals.read(("temperature",)) == 71.5
