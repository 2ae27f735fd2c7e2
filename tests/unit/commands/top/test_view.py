"""plancton.commands.top.view: figures from two samples, the frame from the figures, one screen and JSON."""

import io
import itertools
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from plancton.commands.top import view as top
from plancton.commands.top.view import Figures, Meter, Screen, Top, render, run_top, size, top_json
from plancton.model import Event, Phase, Status, Work, WorkerStatus
from plancton.units import human_seconds

NOW = 1_763_845_453.0
GB = 1_000_000_000
LONG = "The owner compiles a very large program and so " + "nothing is started " * 30


def a_worker(n: int = 0, **changes: Any) -> WorkerStatus:
    worker = WorkerStatus(
        name=f"plancton-worker-{n:03}",
        id=f"{n:064x}",
        phase=Phase.RUNNING,
        cpus=1.0,
        memory_limit=2 * GB,
        age=60.0 * n,
        cpu=0.5,
        share=0.5,
        memory=512_000_000,
    )
    return msgspec.structs.replace(worker, **changes)


def a_status(count: int = 6, /, **changes: Any) -> Status:
    status = Status(
        version="1",
        pid=1,
        instance="i",
        time=NOW,
        mode="donating",
        sentence="Donating 6 of 8 CPUs; the owner uses 1.3; 6 workers running, 6 fit.",
        decision="nothing to do",
        tier="kernel",
        tier_reason="the slice is idle class",
        slice="plancton.slice",
        capacity=8.0,
        fit=6,
        owner=1.3,
        donated=6.0,
        workers=tuple(a_worker(n) for n in range(count)),
        events=tuple(Event(NOW - n, f"event {n}") for n in range(20)),
    )
    return msgspec.structs.replace(status, **changes)


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
    Console(file=out, width=max(screen.width, 1)).print(render(screen), soft_wrap=True, end="")
    return out.getvalue()


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
    """No line is wider than the terminal and the frame is exactly as long as it, help or not."""
    for changes in ({}, {"help": True}, {"figures": Figures()}, {"message": LONG}, {"history": ()}):
        lines = text_of(a_screen(width, height, status=status, **changes)).removesuffix("\n").split("\n")
        assert len(lines) == height, f"{changes}: {len(lines)} lines on {height}"
        too_wide = [line for line in lines if cell_len(line) > width]
        assert not too_wide, f"{changes}: wider than {width}: {too_wide}"


@pytest.mark.parametrize("height", [10, 24, 50])
def test_cuts_the_table_and_says_so(height: int) -> None:
    """Workers shown plus those said to be missing are all there are."""
    text = text_of(a_screen(height=height, status=a_status(300)))
    shown = text.count("plancton-worker-")
    assert shown >= 1, text
    assert f"… and {300 - shown} more" in text, text


def test_shows_all_workers_when_there_is_no_height() -> None:
    """In a pipe nothing is left out."""
    text = text_of(a_screen(height=0, live=False, status=a_status(300)))
    assert text.count("plancton-worker-") == 300 and "more" not in text, text[-500:]


def test_header_has_the_state_in_words() -> None:
    """Mode, tier, sentence, last decision and the host's figures are all there in 80 columns."""
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
    """100 % = one CPU is on the screen, not only in a manual."""
    text = text_of(a_screen(width, height))
    assert "100 % = one CPU" in text, text


def test_unknown_figures_are_dashes() -> None:
    """What isn't known is not shown as a number."""
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
    """Neither rich's markup nor a terminal's control codes in names and sentences do anything."""
    evil = "[red]x[/red]\x1b[2J\r\n\u202e"
    worker = a_worker(name=evil)
    status = a_status(0, workers=(worker,), sentence=evil, problems=(evil,), events=(Event(NOW, evil),))
    text = text_of(a_screen(120, 40, status=status))
    assert text.count("[red]x[/red]?[2J") == 4, text
    assert all(c.isprintable() or c == "\n" for c in text), repr(text)


def test_says_when_the_supervisor_is_silent() -> None:
    """An old status is marked as one, a fresh one isn't."""
    assert "has said nothing for 23s" in text_of(a_screen(status=a_status(time=NOW - 23)))
    assert "has said nothing" not in text_of(a_screen(status=a_status(time=NOW - 14)))


def test_shows_the_host_without_a_supervisor() -> None:
    """No status is said in words, the host's figures stay, and keys that need one are not offered."""
    text = text_of(a_screen(status=None))
    assert "No supervisor runs here" in text and "1.3 CPUs" in text, text
    assert "drain" not in text, text


def test_shows_three_problems_at_most() -> None:
    """Problems have a line each, with a mark that needs no colour."""
    text = text_of(a_screen(status=a_status(problems=("one", "two", "three", "four"))))
    assert [line.strip() for line in text.splitlines() if line.startswith(" ! ")] == [
        "! one",
        "! two",
        "! three",
    ]


def test_shows_the_tiers_reason_when_it_is_weak() -> None:
    """An owner who is less than fully protected reads why."""
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
        ({"jobs": 0, "phase": Phase.STARTING}, "starting"),
    ],
)
def test_states_are_words(changes: dict[str, Any], word: str) -> None:
    """A worker's state is a few words, never a colour; of one that runs it is its job, if that is known."""
    text = text_of(a_screen(status=a_status(0, workers=(a_worker(1, **changes),))))
    line = next(line for line in text.splitlines() if "plancton-worker" in line)
    assert line.endswith(word), line


def test_counts_jobs() -> None:
    """What became of the jobs is above the workers, once there were any."""
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
    return [row.name[-1] for row in top.rows(screen)]


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
    """Oldest and greatest first, words from A; what is unknown comes last either way."""
    assert "".join(order(sort=sort)) == expected
    known = [n for n in expected if n != "3" or sort in ("name", "state")]
    reverse = order(sort=sort, reverse=True)
    if sort == "state":
        assert reverse[0] == "3", reverse
    else:
        assert reverse == [*reversed(known), *(n for n in expected if n not in known)], reverse


def test_marks_the_sorted_column() -> None:
    """The heading that sorts carries an arrow, the footer names it."""
    text = text_of(a_screen(sort="cpu", reverse=True))
    assert "CPU %▲" in text and "sort: CPU" in text, text


def test_sparkline_is_scaled_to_the_host() -> None:
    """All CPUs busy is a full block, none the lowest, and half of them half."""
    screen = a_screen(history=((0.0, 8.0), (4.0, 8.0), (8.0, 0.0)), seen=3, width=200)
    text = text_of(screen)
    assert "▁▄█\n" in text and "██▁\n" in text, text


def test_sparkline_moves_by_whole_columns() -> None:
    """A column keeps its height while newer ones come: no shimmer."""
    values = tuple(float(n * 7 % 9) for n in range(140))
    lines = [top._sparkline(values[seen - 120 : seen], 30, a_screen(seen=seen)) for seen in range(121, 141)]
    for before, after in itertools.pairwise(lines):
        assert after[1:-1] == before[1:-1] or after[1:-2] == before[2:-1], f"{before!r} then {after!r}"


def test_ascii_where_the_terminal_knows_no_more() -> None:
    """Without UTF-8 everything is still there, in ASCII."""
    text = text_of(a_screen(width=120, ascii=True, status=a_status(0, workers=(a_worker(name="wörker"),))))
    assert text.isascii() and "###" in text and "w?rker" in text, text


def test_colour_is_not_needed() -> None:
    """Without colours the very same text appears: colour carries nothing alone."""
    frames = []
    for no_color in (True, False):
        console = Console(
            force_terminal=True, color_system="truecolor", no_color=no_color, file=io.StringIO()
        )
        frames.append("\n".join(top.styled_lines(console, list(render(a_screen()).lines))))
    assert "38;2;" not in frames[0] and "38;2;" in frames[1], "colours are there just when they may be"
    used = [text for text in ("━", "┅", "·") if text in frames[0]]
    assert used == ["━", "┅", "·"], "owner, donated and free have shapes of their own"


def test_help_has_all_keys_in_80_by_24() -> None:
    """Help explains every key and word without scrolling."""
    text = text_of(a_screen(help=True))
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


def test_offers_to_resume_while_draining() -> None:
    """The key says what it will do."""
    assert "d resume" in text_of(a_screen(status=a_status(mode="draining")))
    assert "d drain" in text_of(a_screen())


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 MB"),
        (512_000_000, "512 MB"),
        (999_700_000, "1 GB"),
        (1_640_000_000, "1.6 GB"),
        (2 * GB, "2 GB"),
        (31_400_000_000, "31.4 GB"),
        (2_000 * GB, "2 TB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    """Sizes are short and never wider than eight columns."""
    assert size(count) == text


def test_age_as_people_say_it() -> None:
    """Ages come as hours and minutes."""
    assert human_seconds(11_520) in text_of(a_screen(status=a_status(0, workers=(a_worker(age=11_520.0),))))


# ---------------------------------------------------------------- figures


class Host:
    """A fixture host: /proc and a v2 tree, whose counters a test moves."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroup = root / "proc", root / "cgroup"
        self.proc.mkdir()
        self.cgroup.mkdir()
        self.busy, self.idle = 100_000, 200_000
        self.set_busy(0.0, 0.0)
        (self.proc / "meminfo").write_text(
            "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   20000000 kB\n"
            "SwapTotal:             0 kB\nSwapFree:              0 kB\n"
        )

    def set_busy(self, busy: float, idle: float) -> None:
        """CPU seconds more than before."""
        self.busy += round(busy * 100)
        self.idle += round(idle * 100)
        cpus = "".join(f"cpu{n} {self.busy // 4} 0 0 {self.idle // 4} 0 0 0 0 0 0\n" for n in range(4))
        rewrite(self.proc / "stat", f"cpu  {self.busy} 0 0 {self.idle} 0 0 0 0 0 0\n{cpus}intr 0\n")

    def use(self, path: str, seconds: float) -> None:
        (self.cgroup / path).mkdir(parents=True, exist_ok=True)
        rewrite(
            self.cgroup / path / "cpu.stat",
            f"usage_usec {round(seconds * 1e6)}\nuser_usec 0\nsystem_usec 0\n",
        )


def rewrite(path: Path, text: str) -> None:
    """In place, as /proc does: an open descriptor sees the new text."""
    with path.open("r+" if path.exists() else "w") as file:
        file.write(text)
        file.truncate()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def measure(host: Host, status: Status | None, change: Any) -> Figures:
    """The figures after a change, scaled to exactly one second."""
    meter = Meter(host.proc, host.cgroup)
    try:
        meter.read(status)
        change()
        assert meter._before is not None
        sampler = meter._sampler
        assert sampler is not None
        before, sample = meter._before, sampler.sample
        fixed = msgspec.structs.replace(sample(), monotonic=before.monotonic + 1.0)
        sampler.sample = lambda: fixed  # type: ignore[method-assign]
        return meter.read(status)
    finally:
        meter.close()


def test_owner_is_what_slice_and_engine_leave(host: Host) -> None:
    """owner = busy - slice - engine; donated is the slice's own figure; a worker's is its cgroup's."""
    status = a_status(0, engine=0.1, workers=(a_worker(1, cgroup="plancton.slice/docker-1.scope"),))
    host.use("plancton.slice", 10.0)
    host.use("plancton.slice/docker-1.scope", 5.0)

    def a_second() -> None:
        host.set_busy(3.0, 1.0)
        host.use("plancton.slice", 11.5)
        host.use("plancton.slice/docker-1.scope", 5.75)

    figures = measure(host, status, a_second)
    seen = (figures.owner, figures.donated, figures.idle, figures.workers)
    assert figures.owner == pytest.approx(1.4), seen
    assert figures.donated == pytest.approx(1.5), seen
    assert figures.idle == pytest.approx(1.0), seen
    assert figures.workers == {"plancton-worker-001": pytest.approx(0.75)}, seen
    assert figures.cpus == 4 and figures.memory_available == 20_000_000 * 1024, figures


def test_owner_is_never_negative(host: Host) -> None:
    """The kernel's counters are of different grain; the difference stops at nothing."""
    host.use("plancton.slice", 1.0)
    figures = measure(host, a_status(0, engine=0.5), lambda: host.use("plancton.slice", 3.0))
    assert figures.owner == 0.0, figures


def test_finds_a_slice_that_was_left_behind(host: Host) -> None:
    """After a crash of the supervisor the workers' CPU isn't taken for the owner's."""
    host.use("plancton.slice", 1.0)

    def a_second() -> None:
        host.set_busy(2.0, 2.0)
        host.use("plancton.slice", 2.5)

    figures = measure(host, None, a_second)
    assert figures.donated == pytest.approx(1.5) and figures.owner == pytest.approx(0.5), figures


def test_donated_is_unknown_without_slice_and_supervisor(host: Host) -> None:
    """Nobody says what is donated, so nothing is claimed."""
    figures = measure(host, None, lambda: host.set_busy(2.0, 2.0))
    assert figures.donated is None and figures.owner == pytest.approx(2.0), figures


def test_sums_workers_where_there_is_no_slice(host: Host) -> None:
    """In tier none the workers' own cgroups say what is donated."""
    status = a_status(0, slice="", workers=(a_worker(1, cgroup="docker/1"), a_worker(2, cgroup="docker/2")))
    host.use("docker/1", 1.0)
    host.use("docker/2", 1.0)

    def a_second() -> None:
        host.set_busy(3.0, 1.0)
        host.use("docker/1", 1.5)
        host.use("docker/2", 1.75)

    figures = measure(host, status, a_second)
    assert figures.donated == pytest.approx(1.25) and figures.owner == pytest.approx(1.75), figures


def test_takes_the_statuses_figures_at_first(host: Host) -> None:
    """Before there are two samples, the supervisor's word is shown."""
    meter = Meter(host.proc, host.cgroup)
    figures = meter.read(a_status())
    meter.close()
    assert (figures.owner, figures.donated, figures.cpus) == (1.3, 6.0, 4), figures


def test_a_worker_that_ended_has_no_figure(host: Host) -> None:
    """A cgroup that isn't there is unknown, not an error."""
    status = a_status(0, workers=(a_worker(1, cgroup="plancton.slice/gone"),))
    figures = measure(host, status, lambda: host.set_busy(1.0, 3.0))
    assert figures.workers == {}, figures


def test_works_without_a_v2_tree(host: Host) -> None:
    """A host without cgroup v2 still shows itself."""
    meter = Meter(host.proc, None)
    meter.read(a_status())
    host.set_busy(1.0, 1.0)
    figures = meter.read(a_status())
    meter.close()
    assert figures.owner is not None and figures.workers == {}, figures


# ---------------------------------------------------------------- without a terminal


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "ONCE_INTERVAL", 0.01)


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
    """--once on a terminal is cut to its height, and doesn't clear it."""
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


def a_top(host: Host, status: Status | None, drained: list[bool]) -> Top:
    def drain(on: bool) -> str:
        drained.append(on)
        return f"drain {on}"

    made = Top(lambda: status, Meter(host.proc, host.cgroup), drain, Console(file=io.StringIO()), 1.0)
    made.sample()
    return made


def test_keys_change_the_screen(host: Host) -> None:
    """s walks through the columns, r turns round, ? opens and closes the help; others do nothing."""
    made = a_top(host, a_status(), [])
    sorts = []
    for _ in top.SORTS:
        made.key("s")
        sorts.append(made.screen.sort)
    assert sorts == [*top.SORTS[1:], "age"], sorts
    made.key("r")
    made.key("?")
    assert made.screen.reverse and made.screen.help
    made.key("?")
    made.key("x")
    made.key("\n")
    assert made.screen.reverse and not made.screen.help
    made._meter.close()


@pytest.mark.parametrize(
    ("status", "asked", "message"),
    [
        (a_status(), [True], "drain True"),
        (a_status(mode="draining"), [False], "drain False"),
        (None, [], "no supervisor runs here: there is nothing to drain"),
    ],
)
def test_d_drains_and_resumes(host: Host, status: Status | None, asked: list[bool], message: str) -> None:
    """What d does depends on the mode, and its answer is in the footer."""
    drained: list[bool] = []
    made = a_top(host, status, drained)
    made.key("d")
    assert drained == asked and made.screen.message == message, (drained, made.screen.message)
    made._meter.close()


def test_history_is_two_minutes(host: Host) -> None:
    """The sparkline's memory is bounded."""
    made = a_top(host, a_status(), [])
    for _ in range(130):
        host.set_busy(0.01, 0.01)
        made.sample()
    assert len(made.screen.history) == 120 and made.screen.seen == 131, (made.screen.seen,)
    made._meter.close()
