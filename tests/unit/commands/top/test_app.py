"""plancton.commands.top.app: keys and time change the screen; one screen in a pipe; JSON."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from rich.console import Console
from unit.commands.top.examples import Host, a_status

from plancton.commands.top import app
from plancton.commands.top.app import Top, run_top, top_json
from plancton.commands.top.meter import Meter
from plancton.commands.top.view import HISTORY, SORTS
from plancton.model import Status


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ONCE_INTERVAL", 0.01)


def never_drains(on: bool) -> str:
    raise AssertionError(f"drain({on}) was called")


def test_a_pipe_gets_one_plain_screen(host: Host, quick: None) -> None:
    """Not a terminal: all workers, no control codes, no keys, and it ends by itself."""
    out = io.StringIO()
    run_top(lambda: a_status(300), host.cgroup, never_drains, Console(file=out, width=80), proc=host.proc)
    text = out.getvalue()
    assert text.count("plancton-worker-") == 300, text[-300:]
    assert "\x1b" not in text and "quit" not in text, text[:300]


def test_once_on_a_terminal_is_one_screen(host: Host, quick: None) -> None:
    """--once on a terminal is cut to its height and does not clear it."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system="truecolor")
    run_top(lambda: a_status(300), host.cgroup, never_drains, console, once=True, proc=host.proc)
    text = out.getvalue()
    assert len(text.splitlines()) == 23 and "… and " in text, text
    assert "\x1b[?" not in text and "\x1b[2J" not in text, repr(text)


def test_json_is_one_object(host: Host, quick: None) -> None:
    """--json has the figures and the status as it is."""
    data = json.loads(top_json(lambda: a_status(2), host.cgroup, host.proc))
    assert data["status"]["mode"] == "donating" and data["figures"]["cpus"] == 4, data
    assert abs(data["time"] - time.time()) < 60, data["time"]
    assert json.loads(top_json(lambda: None, host.cgroup, host.proc))["status"] is None


# ---------------------------------------------------------------- keys


@pytest.fixture
def meter(host: Host) -> Iterator[Meter]:
    with closing(Meter(host.proc, host.cgroup)) as made:
        yield made


def a_top(meter: Meter, status: Status | None, drained: list[bool]) -> Top:
    def drain(on: bool) -> str:
        drained.append(on)
        return f"drain {on}"

    made = Top(lambda: status, meter, drain, Console(file=io.StringIO()), 1.0)
    made.sample()
    return made


def test_keys_change_the_screen(meter: Meter) -> None:
    """s walks through the columns, r reverses, ? toggles the help; others do nothing."""
    made = a_top(meter, a_status(), [])
    sorts = []
    for _ in SORTS:
        made.key("s")
        sorts.append(made.screen.sort)
    assert sorts == [*SORTS[1:], "age"], sorts
    made.key("r")
    made.key("?")
    assert made.screen.reverse and made.screen.help
    made.key("?")
    made.key("x")
    made.key("\n")
    assert made.screen.reverse and not made.screen.help


@pytest.mark.parametrize(
    ("status", "asked", "message"),
    [
        (a_status(), [True], "drain True"),
        (a_status(mode="draining"), [False], "drain False"),
        (None, [], "no supervisor runs here: there is nothing to drain"),
    ],
)
def test_d_drains_and_resumes(meter: Meter, status: Status | None, asked: list[bool], message: str) -> None:
    """What d does depends on the mode; the answer is in the footer."""
    drained: list[bool] = []
    made = a_top(meter, status, drained)
    made.key("d")
    assert drained == asked and made.screen.message == message, (drained, made.screen.message)


def test_history_is_two_minutes(host: Host, meter: Meter) -> None:
    """The sparkline keeps two minutes."""
    made = a_top(meter, a_status(), [])
    for _ in range(130):
        host.set_busy(0.01, 0.01)
        made.sample()
    assert len(made.screen.history) == HISTORY == 120 and made.screen.seen == 131, (made.screen.seen,)
