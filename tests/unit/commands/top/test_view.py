"""plancton.commands.top.view: a screen as a frame."""

import io
import itertools
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import SegmentLines
from unit.commands.top.examples import GB, LONG, NOW, a_status, a_worker

from plancton.commands.top.drawing import Page, Screen
from plancton.commands.top.meter import Figures
from plancton.commands.top.past import STEPS, Past
from plancton.commands.top.view import render
from plancton.commands.top.workers import in_order
from plancton.history.summary import summarize
from plancton.history.tables import Row
from plancton.model import Event, Pause, Phase, Status, Work
from plancton.units import human_seconds

FIGURES = Figures(
    cpus=8,
    owner=1.3,
    donated=6.0,
    idle=0.7,
    memory_total=32 * GB,
    memory_available=19 * GB,
    memory_donated=3 * GB,
)


def a_screen(width: int = 80, height: int = 24, **changes: Any) -> Screen:
    screen = Screen(
        width,
        height,
        NOW,
        figures=FIGURES,
        status=a_status(),
        history=((1.0, 6.0),) * 120,
        seen=120,
        host="forge",
    )
    return msgspec.structs.replace(screen, **changes)


def text_of(screen: Screen) -> str:
    """The frame as rich prints it, without colours."""
    out = io.StringIO()
    Console(file=out, width=max(screen.width, 1)).print(
        SegmentLines(render(screen), new_lines=True), soft_wrap=True, end=""
    )
    return out.getvalue()


def a_past(days: int, **changes: Any) -> Past:
    """Half of the time known: nobody there, then an owner who works ever more."""
    rows = [Row(n * 60, 60.0, 480.0, owner=n * 0.3, donated=480 - n * 0.3, idle=1.0) for n in range(720)]
    steps = 288 if days == 1 else 192
    half = (None,) * (steps // 2)
    owner = tuple(8 * n / steps for n in range(steps // 2))
    sums = msgspec.structs.replace(summarize([], rows, 0.0, 86_400.0), **changes)
    return Past(days, int(NOW) - days * 86_400, STEPS[days], half + owner, half + owner[::-1], sums)


PAGES: list[dict[str, Any]] = [
    {"page": Page.HELP},
    {"page": Page.EVENTS},
    {"page": Page.EVENTS, "said": (Event(NOW, LONG),) * 50, "filter": "o", "scrolled": 3},
    {"page": Page.EVENTS, "no_history": LONG, "typing": True, "filter": LONG},
    {"page": Page.WORKER, "picked": "plancton-worker-000"},
    {"page": Page.WORKER, "picked": LONG},
    {"page": Page.PAST, "past": a_past(1)},
    {"page": Page.PAST, "past": a_past(8, seconds=0.0)},
    {"page": Page.PAST, "no_history": LONG},
    {"filter": "00", "picked": "plancton-worker-005"},
    {"filter": "no such"},
]


STATUSES = {
    "no status": None,
    "0 workers": a_status(0),
    "1 worker": a_status(1),
    "6 workers": a_status(6),
    "300 workers": a_status(300),
    "all at its longest": a_status(
        300,
        mode="draining",
        tier="none",
        tier_reason=LONG,
        sentence=LONG,
        decision=LONG + "!",
        problems=(LONG,) * 9,
        time=NOW - 100,
    ),
    "jobs": a_status(
        300,
        workers=tuple(a_worker(n, jobs=n % 4, job_age=3e7 * (n % 4) or None) for n in range(300)),
        work=Work(0.0, jobs_done=10**12, jobs_evicted=10**12, cpu_donated=1e15, cpu_done=1e15, cpu_lost=1e15),
    ),
    "wide letters": a_status(1, sentence="仕事" * 100, workers=(a_worker(name="働く" * 30),)),
}


@pytest.mark.parametrize("status", STATUSES.values(), ids=STATUSES.keys())
@pytest.mark.parametrize("height", [1, 5, 10, 16, 24, 50])
@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120, 200])
def test_fits_the_terminal(width: int, height: int, status: Status | None) -> None:
    """No line is wider than the terminal, and the frame is exactly as high, whatever it shows."""
    for changes in ({}, *PAGES, {"figures": Figures()}, {"message": LONG}, {"history": ()}):
        lines = text_of(a_screen(width, height, status=status, **changes)).removesuffix("\n").split("\n")
        assert len(lines) == height, f"{changes}: {len(lines)} lines on {height}"
        too_wide = [line for line in lines if cell_len(line) > width]
        assert not too_wide, f"{changes}: wider than {width}: {too_wide}"


@pytest.mark.parametrize("height", [10, 24, 50])
def test_cuts_the_table_and_says_so(height: int) -> None:
    """The workers shown plus those counted as hidden are all there are."""
    text = text_of(a_screen(height=height, status=a_status(300)))
    shown = text.count("plancton-worker-")
    assert shown >= 1, text
    assert f"… and {300 - shown} more" in text, text


def test_shows_all_workers_when_there_is_no_height() -> None:
    """In a pipe, no worker is left out."""
    text = text_of(a_screen(height=0, live=False, status=a_status(300)))
    assert text.count("plancton-worker-") == 300 and "more" not in text, text[-500:]


def test_header_has_the_state_in_words() -> None:
    """Mode, tier, sentence, last decision and the host's figures all fit in 80 columns."""
    text = text_of(a_screen())
    said = [
        "forge",
        "donating",
        "tier kernel",
        "Donating 6 of 8 CPUs; the owner uses 1.3",
        "decision: nothing",
    ]
    for words in [*said, "1.3 CPUs", "6.0 CPUs", "0.7 CPUs", "last 2 min", "of 32 GB"]:
        assert words in text, f"{words!r} is not in\n{text}"


@pytest.mark.parametrize(("width", "height"), [(60, 24), (80, 24), (80, 12), (120, 40)])
def test_says_what_its_cpu_means(width: int, height: int) -> None:
    """The screen itself says that 100 % is one CPU."""
    text = text_of(a_screen(width, height))
    assert "100 % = one CPU" in text, text


def test_unknown_figures_are_dashes() -> None:
    """Unknown figures are not shown as numbers."""
    worker = a_worker(age=None, cpu=None, share=None, memory=None)
    text = text_of(a_screen(figures=Figures(cpus=8), status=a_status(1)))
    assert "0.0 CPUs" not in text and "owner –" in text, text
    row = next(
        line
        for line in text_of(a_screen(120, status=a_status(0, workers=(worker,)))).splitlines()
        if "plancton-worker" in line
    )
    assert row.split()[1:] == ["–", "–", "–", "–", "of", "2", "GB", "running"], row


def test_takes_names_as_text() -> None:
    """rich's markup and control codes in names and sentences have no effect."""
    evil = "[red]x[/red]\x1b[2J\r\n\u202e"
    worker = a_worker(name=evil)
    status = a_status(0, workers=(worker,), sentence=evil, problems=(evil,), events=(Event(NOW, evil),))
    text = text_of(a_screen(120, 40, status=status))
    assert text.count("[red]x[/red]?[2J") == 4, text
    assert all(c.isprintable() or c == "\n" for c in text), repr(text)


def test_says_when_the_supervisor_is_silent() -> None:
    """An old status is marked as such, a fresh one is not."""
    assert "has said nothing for 53s" in text_of(a_screen(status=a_status(time=NOW - 53)))
    assert "has said nothing" not in text_of(a_screen(status=a_status(time=NOW - 34)))


def test_shows_the_host_without_a_supervisor() -> None:
    """A missing status is mentioned, the host's figures stay, and keys that need one are not
    offered."""
    text = text_of(a_screen(status=None))
    assert "No supervisor's status" in text and "1.3 CPUs" in text, text
    assert "drain" not in text and "pause" not in text, text


def test_shows_three_problems_at_most() -> None:
    """Each problem has a line, with a mark that needs no colour."""
    text = text_of(a_screen(status=a_status(problems=("one", "two", "three", "four"))))
    assert [line.strip() for line in text.splitlines() if line.startswith(" ! ")] == [
        "! one",
        "! two",
        "! three",
    ]


def test_shows_the_tiers_reason_when_it_is_weak() -> None:
    """If the owner is less than fully protected, the screen says why."""
    assert "tier weight: old kernel" in text_of(
        a_screen(status=a_status(tier="weight", tier_reason="old kernel"))
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, "running"),
        ({"fits": False}, "waits for CPU"),
        ({"fits": False, "phase": Phase.LEAVING}, "leaving"),
        ({"phase": Phase.FINISHING}, "finishing"),
        ({"phase": Phase.STARTING}, "starting"),
        ({"jobs": None}, "running"),
        ({"jobs": 0}, "no job"),
        ({"jobs": 1, "job_age": 723.0}, "job 12m 03s"),
        ({"jobs": 3, "job_age": 723.0}, "3 jobs"),
        ({"jobs": 1, "job_age": 723.0, "fits": False}, "waits for CPU"),
        ({"jobs": 1, "job_age": 723.0, "phase": Phase.LEAVING}, "leaving"),
        ({"jobs": 1, "job_age": 723.0, "paused": True}, "paused"),
        ({"phase": Phase.KILLED, "stuck": True}, "stuck"),
        ({"jobs": 0, "phase": Phase.STARTING}, "starting"),
    ],
)
def test_states_are_words(changes: dict[str, Any], word: str) -> None:
    """A worker's state is in words, not colours; a running one shows its job, if known."""
    text = text_of(a_screen(status=a_status(0, workers=(a_worker(1, **changes),))))
    line = next(line for line in text.splitlines() if "plancton-worker" in line)
    assert line.endswith(word), line


def test_counts_jobs() -> None:
    """The totals of jobs are above the workers, once there are any."""
    for work in (None, Work(0.0, cpu_donated=5.0)):
        assert "jobs:" not in text_of(a_screen(120, status=a_status(work=work)))
    text = text_of(a_screen(120, status=a_status(work=Work(0.0, jobs_done=12, jobs_evicted=1))))
    assert "workers: 6, 6 fit; jobs: 12 done, 1 evicted" in text, text


def order(**changes: Any) -> list[str]:
    workers = (
        a_worker(1, age=10.0, cpu=0.3, share=0.3, memory=5),
        a_worker(2, age=30.0, cpu=0.1, share=0.2, memory=9, phase=Phase.LEAVING),
        a_worker(3, age=None, cpu=None, share=None, memory=None, phase=Phase.STARTING),
        a_worker(4, age=20.0, cpu=0.2, share=0.9, memory=7),
    )
    screen = a_screen(status=a_status(0, workers=workers), **changes)
    return [row.name[-1] for row in in_order(screen)]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("age", "2413"),
        ("cpu", "1423"),
        ("share", "4123"),
        ("memory", "2413"),
        ("name", "1234"),
        ("state", "2143"),
    ],
)
def test_sorts(sort: str, expected: str) -> None:
    """Oldest and greatest first, words from A; the unknown comes last in both directions."""
    assert "".join(order(sort=sort)) == expected
    known = [n for n in expected if n != "3" or sort in ("name", "state")]
    reverse = order(sort=sort, reverse=True)
    if sort == "state":
        assert reverse[0] == "3", reverse
    else:
        assert reverse == [*reversed(known), *(n for n in expected if n not in known)], reverse


def test_marks_the_sorted_column() -> None:
    """The sorted heading has an arrow, and the footer names it."""
    text = text_of(a_screen(sort="cpu", reverse=True))
    assert "CPU %▲" in text and "sort: CPU" in text, text


def test_sparkline_is_scaled_to_the_host() -> None:
    """All CPUs busy is a full block, none the lowest, half of them half."""
    screen = a_screen(history=((0.0, 8.0), (4.0, 8.0), (8.0, 0.0)), seen=3, width=200)
    text = text_of(screen)
    assert "▁▄█\n" in text and "██▁\n" in text, text


def sparkline(history: tuple[tuple[float, float], ...], seen: int) -> str:
    """The owner's, which has 30 columns at this width."""
    text = text_of(a_screen(76, history=history, seen=seen))
    return next(line for line in text.splitlines() if line.startswith(" owner"))[-30:]


def test_sparkline_moves_by_whole_columns() -> None:
    """A column keeps its height while newer ones arrive: no flicker."""
    values = tuple((float(n * 7 % 9), 0.0) for n in range(140))
    lines = [sparkline(values[seen - 120 : seen], seen) for seen in range(121, 141)]
    for before, after in itertools.pairwise(lines):
        assert after[1:-1] == before[1:-1] or after[1:-2] == before[2:-1], f"{before!r} then {after!r}"


def test_ascii_where_the_terminal_knows_no_more() -> None:
    """Without UTF-8, everything is there in ASCII."""
    text = text_of(a_screen(width=120, ascii=True, status=a_status(0, workers=(a_worker(name="wörker"),))))
    assert text.isascii() and "###" in text and "w?rker" in text, text


def test_colour_is_not_needed() -> None:
    """Without colours the text is the same: nothing is shown by colour alone."""
    frames = []
    for no_color in (True, False):
        out = io.StringIO()
        console = Console(force_terminal=True, color_system="truecolor", no_color=no_color, file=out)
        console.print(SegmentLines(render(a_screen()), new_lines=True))
        frames.append(out.getvalue())
    assert "38;2;" not in frames[0] and "38;2;" in frames[1], "colours are there just when they may be"
    used = [text for text in ("━", "┅", "·") if text in frames[0]]
    assert used == ["━", "┅", "·"], "owner, donated and free have shapes of their own"


def test_help_has_all_keys_in_80_by_24() -> None:
    """Help explains every key and word without scrolling."""
    text = text_of(a_screen(page=Page.HELP))
    for word in (
        "owner",
        "donated",
        "tier",
        "share",
        "waits for CPU",
        "leaving",
        "finishing",
        "reverse the",
        "back",
    ):
        assert word in text, f"{word!r} is not in\n{text}"


def test_offers_to_resume() -> None:
    """The labels of the keys say what they will do."""
    assert "d resume" in text_of(a_screen(status=a_status(mode="draining")))
    assert "d drain" in text_of(a_screen()) and "p pause" in text_of(a_screen())
    paused = text_of(a_screen(status=a_status(mode="paused", pause=Pause("owner", "paused"))))
    assert "p resume" in paused and " paused " in paused


def test_age_as_people_say_it() -> None:
    """Ages are shown in hours and minutes."""
    assert human_seconds(11_520) in text_of(a_screen(status=a_status(0, workers=(a_worker(age=11_520.0),))))


def test_history_is_two_curves() -> None:
    """Owner and donated above each other over a day, with hours below and the sums; what is not
    known stays empty."""
    lines = text_of(a_screen(page=Page.PAST, past=a_past(1))).splitlines()
    owner = next(n for n, line in enumerate(lines) if line.startswith(" owner"))
    donated = next(
        n for n, line in enumerate(lines) if line.startswith(" donated") and "CPU time" not in line
    )
    axis = next(line for line in lines if ":00 " in line and "plancton" not in line)
    curve = lines[owner:donated]
    assert all(not line[10:40].strip() for line in curve), curve
    assert curve[-1].rstrip().endswith("█") and curve[0].strip() == "owner", curve
    below = lines[donated : donated + len(curve)]
    assert "█" in below[-1] and not below[-1].endswith("█") and "of CPU time" in "".join(lines), lines
    assert len(axis.split()) >= 6, axis


def test_days_below_a_week() -> None:
    """Over eight days the axis names the days."""
    text = text_of(a_screen(page=Page.PAST, past=a_past(8)))
    days = sum(text.count(f" {day} ") for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
    assert "the last 8 days" in text and days >= 7, text
