"""plancton.commands.top.app: keys and time change the screen; one screen in a pipe; JSON."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from unit.commands.top.examples import Host, a_status

from plancton.commands.top import app
from plancton.commands.top.app import Sources, Top, run_top, sources_of, top_json
from plancton.commands.top.drawing import Page
from plancton.commands.top.host_bars_and_curves import HISTORY
from plancton.commands.top.meter import Meter
from plancton.commands.top.past import Past
from plancton.commands.top.terminal import BACKSPACE, DOWN, ENTER, ESCAPE, PAGE_DOWN, UP, Click
from plancton.commands.top.view import render
from plancton.commands.top.workers import SORTS
from plancton.history.tables import NAME, HistoryError, Row
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Pause, Status, Work
from plancton.paths import Paths


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "ONCE_INTERVAL", 0.01)


def just(status: Status | None, events: tuple[Event, ...] = ()) -> Sources:
    """A status that stays, and no past."""

    def past(days: int) -> Past:
        raise HistoryError("there is no history yet")

    return Sources(lambda: status, past, lambda: events)


def never_drains(what: str) -> str:
    raise AssertionError(f"{what} was asked")


def test_a_pipe_gets_one_plain_screen(host: Host, quick: None) -> None:
    """Not a terminal: all workers, no control codes, no keys, and it ends by itself."""
    out = io.StringIO()
    run_top(just(a_status(300)), host.cgroup, never_drains, Console(file=out, width=80), proc=host.proc)
    text = out.getvalue()
    assert text.count("plancton-worker-") == 300, text[-300:]
    assert "\x1b" not in text and "quit" not in text, text[:300]


def test_once_on_a_terminal_is_one_screen(host: Host, quick: None) -> None:
    """--once on a terminal is cut to its height and does not clear it."""
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, force_terminal=True, color_system="truecolor")
    run_top(just(a_status(300)), host.cgroup, never_drains, console, screens=1, proc=host.proc)
    text = out.getvalue()
    assert len(text.splitlines()) == 23 and "… and " in text, text
    assert "\x1b[?" not in text and "\x1b[2J" not in text, repr(text)


def test_json_is_one_object(host: Host, quick: None) -> None:
    """--json has the figures and the status as it is."""
    (line,) = top_json(lambda: a_status(2), host.cgroup, host.proc)
    data = json.loads(line)
    assert data["status"]["mode"] == "donating" and data["figures"]["cpus"] == 4, data
    assert abs(data["time"] - time.time()) < 60, data["time"]
    (line,) = top_json(lambda: None, host.cgroup, host.proc)
    assert json.loads(line)["status"] is None


# ---------------------------------------------------------------- keys


@pytest.fixture
def meter(host: Host) -> Iterator[Meter]:
    with closing(Meter(host.proc, host.cgroup)) as made:
        yield made


def a_top(meter: Meter, status: Status | None, asked: list[str], events: tuple[Event, ...] = ()) -> Top:
    def ask(what: str) -> str:
        asked.append(what)
        return f"asked: {what}"

    made = Top(just(status, events), meter, ask, Console(file=io.StringIO()), 1.0)
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
    pages = []
    for key in ("r", "?", "?", "x", ENTER):
        made.key(key)
        pages.append(made.screen.page)
    assert made.screen.reverse and pages == [Page.WORKERS, Page.HELP, *[Page.WORKERS] * 3], pages


@pytest.mark.parametrize(
    ("key", "status", "asked", "message"),
    [
        ("d", a_status(), ["drain"], "asked: drain"),
        ("d", a_status(mode="draining"), ["resume"], "asked: resume"),
        ("d", None, [], "no supervisor runs here: there is nothing to drain"),
        ("p", a_status(), ["pause"], "asked: pause"),
        ("p", a_status(mode="draining"), ["pause"], "asked: pause"),
        ("p", a_status(mode="paused", pause=Pause("owner", "paused")), ["resume"], "asked: resume"),
        ("p", a_status(mode="paused", pause=Pause("rule", "on battery")), ["pause"], "asked: pause"),
        ("p", None, [], "no supervisor runs here: there is nothing to pause"),
    ],
)
def test_keys_that_ask(meter: Meter, key: str, status: Status | None, asked: list[str], message: str) -> None:
    """What d and p do depends on the mode; the answer is in the footer."""
    found: list[str] = []
    made = a_top(meter, status, found)
    made.key(key)
    assert found == asked and made.screen.message == message, (found, made.screen.message)


def test_history_is_two_minutes(host: Host, meter: Meter) -> None:
    """The sparkline keeps two minutes."""
    made = a_top(meter, a_status(), [])
    for _ in range(130):
        host.set_busy(0.01, 0.01)
        made.sample()
    assert len(made.screen.history) == HISTORY == 120 and made.screen.seen == 131, (made.screen.seen,)


def press(made: Top, *keys: str) -> None:
    for key in keys:
        made.key(key)


def text_of(made: Top) -> str:
    screen = msgspec.structs.replace(made.screen, width=80, height=24)
    return "\n".join("".join(segment.text for segment in line) for line in render(screen))


def test_a_filter_is_typed(meter: Meter) -> None:
    """After / letters are no commands: workers with them in their names stay, until Esc."""
    made = a_top(meter, a_status(30), [])
    press(made, "/", "0", "0", "2", "d", BACKSPACE, ENTER)
    assert not made.screen.typing and made.screen.filter == "002" and not made.screen.message
    shown = text_of(made)
    assert "worker-002" in shown and "of 30" in shown and "worker-003" not in shown, shown
    press(made, ESCAPE)
    assert made.screen.filter == "" and "and 22 more" in text_of(made), text_of(made)


def test_a_filter_without_a_match(meter: Meter) -> None:
    """Nothing is left: the screen says so, and picking does nothing."""
    made = a_top(meter, a_status(3), [])
    press(made, "/", *"nobody", ENTER, DOWN, ENTER)
    assert "none of the workers" in text_of(made) and made.screen.page is Page.WORKERS, text_of(made)


def test_a_worker_is_picked_and_shown(meter: Meter) -> None:
    """Arrows pick one of all, also beyond what fits on the screen; Enter shows what is known of it
    and what was said of it, Esc goes back."""
    said = Event(1.0, "started plancton-worker-001: there has been room"), Event(2.0, "another one")
    made = a_top(meter, a_status(100, image="pool/worker:1", image_id="1234"), [], said)
    press(made, DOWN, *[PAGE_DOWN] * 20, *[UP] * 3)
    names = [line for line in text_of(made).splitlines() if "plancton-worker-" in line]
    assert made.screen.picked and any(made.screen.picked in line for line in names), (
        made.screen.picked,
        names,
    )
    press(made, "s", "s", "s", "s")
    made.screen = msgspec.structs.replace(made.screen, picked="plancton-worker-001")
    press(made, ENTER)
    shown = text_of(made)
    assert "pool/worker:1" in shown and "of 2 GB" in shown and "started plancton-worker-001" in shown, shown
    assert "another one" not in shown, shown
    press(made, ESCAPE)
    assert made.screen.page is Page.WORKERS and made.screen.picked == "plancton-worker-001"


def test_a_picked_worker_that_ends(meter: Meter) -> None:
    """Its page stays, with what was said of it last."""
    made = a_top(meter, a_status(3), [], (Event(1.0, "plancton-worker-gone ended after 3 s: no pool"),))
    made.screen = msgspec.structs.replace(made.screen, picked="plancton-worker-gone")
    press(made, ENTER)
    assert "has ended" in text_of(made) and "no pool" in text_of(made), text_of(made)


def test_clicks(meter: Meter) -> None:
    """A click on a worker picks it, a second one shows it; one on a heading sorts by it, one
    elsewhere does nothing."""
    made = a_top(meter, a_status(6), [])
    made.screen = msgspec.structs.replace(made.screen, width=80, height=24)
    lines = text_of(made).splitlines()
    place = next(n for n, line in enumerate(lines) if "worker-003" in line)
    heading = next(n for n, line in enumerate(lines) if "MEMORY" in line)
    for where in (Click(0, 0), Click(23, 3), Click(400, 3)):
        made.click(where)
    assert not made.screen.picked and made.screen.sort == "age"
    made.click(Click(heading, lines[heading].index("MEMORY")))
    assert made.screen.sort == "memory" and not made.screen.reverse
    made.click(Click(heading, lines[heading].index("MEMORY")))
    assert made.screen.reverse
    press(made, "s", "s", "s")
    assert made.screen.sort == "age", made.screen.sort
    made.click(Click(place, 5))
    assert made.screen.picked == "plancton-worker-003"
    made.click(Click(place, 5))
    assert made.screen.page is Page.WORKER


def test_events_are_searched(meter: Meter) -> None:
    """e shows all events that the history has, / those with a text, arrows go on to older ones."""
    said = tuple(Event(float(n), f"event number {n:03}") for n in range(100))
    made = a_top(meter, a_status(1), [], said)
    press(made, "e")
    assert "event number 099" in text_of(made) and "event number 050" not in text_of(made), text_of(made)
    press(made, *[PAGE_DOWN] * 5)
    assert "event number 049" in text_of(made) and "event number 099" not in text_of(made), text_of(made)
    press(made, *[PAGE_DOWN] * 20)
    assert "event number 000" in text_of(made), "scrolled beyond the last one"
    press(made, "/", *"077", ENTER, *[PAGE_DOWN] * 2)
    assert "event number 077" in text_of(made) and "event number 049" not in text_of(made), text_of(made)
    press(made, "e")
    assert made.screen.page is Page.WORKERS and made.screen.filter == "" and made.screen.said == ()


def test_no_history(meter: Meter) -> None:
    """Without one h says why, and e shows what the status has."""
    made = a_top(meter, a_status(1), [])
    press(made, "h")
    assert "there is no history yet" in text_of(made), text_of(made)
    press(made, "e")
    assert "event 0" in text_of(made), text_of(made)


def test_a_real_history(meter: Meter, tmp_path: Path) -> None:
    """What a supervisor wrote: h shows the curves and sums of 24 hours, then of 8 days, e the
    events."""
    now = time.time()
    minute = int(now) // 60 * 60
    rows = (
        Row(minute - 60 * n, seconds=60.0, capacity=480.0, owner=120.0, donated=240.0, idle=120.0)
        for n in range(5)
    )
    said = Event(now - 100, "retired worker-9: the owner is back")
    store = open_store(tmp_path / NAME)
    store.write(Batch(tuple(rows), (said,), Kept(Work(0.0))), now)
    store.close()
    sources = sources_of(Paths(tmp_path / "config.yaml", tmp_path / "run", tmp_path))
    made = Top(sources, meter, never_drains, Console(file=io.StringIO()), 1.0)
    press(made, "h")
    shown = text_of(made)
    assert "the last 24 hours" in shown and "donated 20m 00s of CPU time" in shown, shown
    assert "67 % of what was idle" in text_of(made), text_of(made)
    press(made, "h")
    assert "the last 8 days" in text_of(made), text_of(made)
    press(made, "e")
    assert "the owner is back" in text_of(made), text_of(made)


def test_a_width_that_makes_no_sense(host: Host, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """COLUMNS may say anything: a job of CI without a terminal has 0."""
    longest = dict[str, int]()
    for columns in ("0", "99999999999"):
        monkeypatch.setenv("COLUMNS", columns)
        out = io.StringIO()
        run_top(just(a_status(1)), host.cgroup, never_drains, Console(file=out), 0.01, 1, host.proc)
        longest[columns] = max(map(len, out.getvalue().splitlines()))
    assert 60 < longest["0"] <= 80 < longest["99999999999"] <= app.WIDEST, longest


def test_many_screens(host: Host, quick: None) -> None:
    """--batch prints so many, in a pipe too; --json with an interval goes on for ever, with a number
    stops there."""
    out = io.StringIO()
    run_top(just(a_status(1)), host.cgroup, never_drains, Console(file=out, width=80), 0.01, 3, host.proc)
    assert out.getvalue().count("plancton top") == 3, out.getvalue()
    lines = list(top_json(lambda: a_status(1), host.cgroup, host.proc, 0.01, 3))
    assert len(lines) == 3 and all(json.loads(line)["status"] for line in lines)
    endless = top_json(lambda: a_status(1), host.cgroup, host.proc, 0.01, 0)
    assert len(list(islice(endless, 20))) == 20
