"""What the loop adds up is written beside it: once, and whatever becomes of the disk."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from plancton.daemon import history_writer as module
from plancton.daemon.history_writer import NO_ANSWER, RETRY, HistoryWriter
from plancton.files import to_json
from plancton.history.read import open_history
from plancton.history.tables import NAME, VERSION, HistoryError, Row
from plancton.history.write import Batch, Store, open_store
from plancton.inbox import Inbox
from plancton.model import Decision, Event, Fleet, Held, HeldReason, Kept, Observation, Phase, Work, Worker

DEADLINE = 30.0
BEGIN = 1_763_845_440.0
FLEET = Fleet.of(
    [Worker("a", "1", Phase.RUNNING, started=1.0), Worker("b", "2", Phase.FINISHING, started=2.0)]
)


class Run:
    """A writer whose clocks a test sets itself."""

    def __init__(self, state: Path) -> None:
        self.state, self.wall, self.now, self.total = state, BEGIN, 100.0, 0.0
        self.it = HistoryWriter(state, Inbox(), self.now, lambda: self.wall)

    def tick(
        self, seconds: float = 5.0, fleet: Fleet = FLEET, held: Held | None = None, jump: float = 0
    ) -> None:
        self.now, self.wall = self.now + seconds, self.wall + seconds + jump
        self.total += seconds
        seen = Observation(
            self.now, self.now, 4.0, interval=seconds, owner=1.0, donated=2.0, engine=0.25, idle=0.5,
            stolen=0.25, memory_total=8, memory_available=4, slice_anon=2, fleet=fleet,
        )  # fmt: skip
        self.it.tick(seen, Decision(3, "said\x1b[31m", held=held), "kernel", "donating", self.now)

    def until(self, true: Callable[[], object]) -> None:
        """Ticks of a second, until a thread has done this."""
        deadline = time.monotonic() + DEADLINE
        while not true():
            assert time.monotonic() < deadline, self.it.problems(self.now)
            self.tick(1.0)
            time.sleep(0.005)

    def rows(self) -> list[Row]:
        try:
            with open_history(self.state) as history:
                return history.rows("minutes", 0, 2e10)
        except HistoryError:
            return []

    @property
    def problem(self) -> str:
        return " ".join(filter(None, self.it.problems(self.now)))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def test_a_minute(run: Run) -> None:
    """A row has the integrals of what was seen in its minute, and what it was like at the end."""
    for _ in range(11):
        run.tick()
    run.tick(held=Held(HeldReason.DRAINING, "draining"))
    run.tick()
    run.until(lambda: sum(row.seconds for row in run.rows()) >= 55.0)
    first = run.rows()[0]
    assert (first.time, first.seconds, first.capacity) == (BEGIN, 55.0, 220.0)
    assert (first.owner, first.donated, first.engine) == (55.0, 110.0, 13.75)
    assert (first.idle, first.stolen, first.memory_total) == (27.5, 13.75, 440.0)
    assert (first.workers, first.fit, first.without) == (110.0, 165.0, 0.0)
    assert (first.tier, first.mode, first.held) == ("kernel", "donating", "")


def test_why_nothing_is_started(run: Run) -> None:
    """The kind of reason and its sentence are kept, and seconds without a worker are counted."""
    run.tick(fleet=Fleet(), held=Held(HeldReason.DRAINING, "draining\x1b[31m: nothing"))
    run.tick(60.0, fleet=Fleet(), held=Held(HeldReason.DRAINING, "draining"))
    run.until(lambda: sum(row.seconds for row in run.rows()) >= 5.0)
    first = run.rows()[0]
    assert (first.held, first.why, first.without) == ("draining", "draining: nothing", 5.0)


def test_nothing_is_lost_between_ticks(run: Run) -> None:
    """However long ticks are and whatever the clock does, all CPU time is in some row."""
    for seconds, jump in ((5, 0), (300, 0), (5, -7200), (5, 86_400), (15, 0), (5, -80_000), (61, 0)):
        run.tick(float(seconds), jump=jump)
    run.it.close()
    assert sum(row.donated for row in run.rows()) == 2.0 * run.total == 2.0 * 396


def test_suspend(run: Run) -> None:
    """What a host does not do while it sleeps is in no row, and the minute in which it wakes has its
    own time."""
    for _ in range(24):
        run.tick()
    run.tick(jump=8 * 3_600.0)
    for _ in range(24):
        run.tick()
    run.it.close()
    rows = run.rows()
    assert sum(row.seconds for row in rows) == run.total == 245.0
    gaps = [later.time - row.time for row, later in pairwise(rows)]
    assert max(gaps) >= 8 * 3_600 and sorted(gaps)[-2] == 60, gaps


def test_once_a_minute(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens, minutes are written when they have ended, and nothing between: each
    write takes a thread and the disk."""
    run.tick()
    run.until(lambda: run.it.accounting.work.cpu_donated)
    written = list[Batch]()
    before = Store.write

    def write(store: Store, batch: Batch, wall: float) -> None:
        before(store, batch, wall)
        written.append(batch)

    monkeypatch.setattr(Store, "write", write)
    for _ in range(60):
        run.tick()
        for thread in threading.enumerate():
            if thread.name == "history":
                thread.join(DEADLINE)
    assert len(written) == 5, written


def test_events_and_jobs(run: Run) -> None:
    """A job that has ended is written at once, with its minute, and so are events."""
    run.it.say(Event(BEGIN, "starting w1"))
    run.it.accounting.reported("c1", b"exit 10\n")

    def work() -> Work | None:
        with open_history(run.state) as history:
            return history.work()

    deadline = time.monotonic() + DEADLINE
    while not (found := work()) or not found.jobs_done:  # without any tick
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert [(row.jobs_done, row.cpu_done) for row in run.rows()] == [(1, 10.0)]
    with open_history(run.state) as history:
        assert [said.text for said in history.events()] == ["starting w1"]


def test_next_supervisor(run: Run) -> None:
    """The totals go on where the last supervisor ended, and so do minutes that it had begun."""
    run.tick()
    run.it.accounting.lost(1, 5.0)
    run.it.close()
    second = Run(run.state)
    assert second.it.accounting.work == run.it.accounting.work
    second.tick(10.0)
    second.it.close()
    assert [(row.donated, row.jobs_evicted) for row in run.rows()] == [(30.0, 1)]


def test_trouble_with_the_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be written is named once, waits, and is written once when it can be."""
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", fails)
        run.tick(61.0)
        run.until(lambda: "disk is full" in run.problem)
        for _ in range(20):
            run.tick(RETRY)
            run.until(lambda: "disk is full" in run.problem)
        run.it.say(Event(BEGIN, "said meanwhile"))
    assert caplog.text.count("disk is full") == 1
    run.tick(RETRY)
    run.until(lambda: not run.problem)
    run.it.close()
    assert sum(row.donated for row in run.rows()) == 2.0 * run.total
    with open_history(run.state) as history:
        assert [said.text for said in history.events()] == ["said meanwhile"]


def fails(*_: object) -> None:
    raise HistoryError("x: can't be written: database or disk is full")


def test_disk_that_hangs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write hangs, ticks go on, and after a while the status says so; nothing is lost."""
    write, gate = Store.write, Inbox()

    def hangs(*arguments: object) -> None:
        gate.get(DEADLINE)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "write", hangs)
    run.tick(61.0)
    run.tick(5.0)
    assert not run.problem
    run.tick(NO_ANSWER)
    assert "has not answered" in run.problem
    monkeypatch.setattr(Store, "write", write)
    gate.put(lambda: None)
    run.until(lambda: not run.problem)
    run.it.close()
    assert sum(row.donated for row in run.rows()) == 2.0 * run.total


@pytest.mark.parametrize("good", [0, 4096])
def test_damaged_file(tmp_path: Path, good: int) -> None:
    """A damaged file is moved aside at the start, the status says so, and another one is begun."""
    Run(tmp_path).it.close()
    data = (tmp_path / NAME).read_bytes()[:good] + b"junk" * 8000
    (tmp_path / NAME).write_bytes(data)
    run = Run(tmp_path)
    assert f"{NAME}.damaged now" in run.problem
    run.tick(61.0)
    run.it.close()
    assert run.rows() and (tmp_path / f"{NAME}.damaged").read_bytes()[4096:] == data[4096:]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE work SET jobs_done = 'abc'",
        "UPDATE work SET cpu_done = 9e999",
        "UPDATE work SET jobs_done = 9223372036854775807",
        "UPDATE work SET since = x'00'",
        "INSERT INTO counted VALUES (CAST(x'63ff' AS TEXT), 1, 0, 0, 1.0, 0.0)",
        "INSERT INTO counted VALUES ('c', 'one', 0, 0, 1.0, 0.0)",
        "INSERT INTO moved VALUES (1, '{')",
        "INSERT INTO moved VALUES (1, 5)",
    ],
)
def test_damaged_totals(run: Run, change: str) -> None:
    """Totals that Plancton did not write move the file aside at the start; they stop no supervisor."""
    run.it.close()
    with closing(sqlite3.connect(run.state / NAME)) as database:
        database.execute(change)
        database.commit()
    (run.state / "work.json").write_bytes(to_json(Kept(Work(1.0))))
    second = Run(run.state)
    assert f"{NAME}.damaged now" in second.problem, second.problem
    second.it.accounting.lost(1, 5.0)
    second.tick(61.0)
    second.it.close()
    assert second.rows() and Run(run.state).it.accounting.work == second.it.accounting.work


def test_damaged_while_it_runs(run: Run) -> None:
    """The totals outlive a file that is found to be damaged."""
    run.it.accounting.lost(3, 5.0)
    run.it.close()
    with closing(sqlite3.connect(run.state / NAME)) as database:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'minutes'"
        (page,) = database.execute(query).fetchone()
    with (run.state / NAME).open("r+b") as file:
        file.seek(4096 * (page - 1))
        file.write(b"\xff" * 4096)
    second = Run(run.state)
    second.it.accounting.lost(1, 1.0)
    second.tick(61.0)
    second.until(lambda: "is damaged" in second.problem or "malformed" in second.problem)
    second.it.close()
    third = Run(run.state)
    assert third.it.accounting.work == second.it.accounting.work
    assert sum(row.donated for row in run.rows()) == 2.0 * second.total


def test_moved_away_while_it_runs(run: Run) -> None:
    """When somebody moves the file away, another one is begun, with the totals."""
    run.it.accounting.lost(1, 5.0)
    run.tick(61.0)
    run.until(lambda: run.rows())
    (run.state / NAME).rename(run.state / "mine")
    for _ in range(3):
        run.tick(RETRY + 1)
        run.until(lambda: True)
        time.sleep(0.1)
    run.tick(RETRY + 1)
    run.until(lambda: run.rows())
    run.it.close()
    assert Run(run.state).it.accounting.work == run.it.accounting.work


def test_newer_version(tmp_path: Path) -> None:
    """With a newer version's file Plancton runs without a history, and takes one up again once the
    file is gone."""
    open_store(tmp_path / NAME).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / NAME).read_bytes()
    run = Run(tmp_path)
    assert "newer version" in run.problem
    run.it.accounting.lost(1, 5.0)
    run.tick(61.0)
    assert (tmp_path / NAME).read_bytes() == before
    (tmp_path / NAME).unlink()
    run.tick(RETRY)
    run.until(lambda: not run.problem)
    run.it.close()
    assert Run(tmp_path).it.accounting.work.jobs_evicted == 1
    assert sum(row.donated for row in run.rows()) == 2.0 * run.total


def test_opened_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file can be opened only later, the totals in it and those since the start add up."""
    store = open_store(tmp_path / NAME)
    store.take_over(kept := Kept(Work(1.0, jobs_done=5)), kept)
    store.close()
    with monkeypatch.context() as patch:
        patch.setattr(module, "open_store", fails)
        run = Run(tmp_path)
        run.it.accounting.reported("c1", b"exit 10\n")
        assert run.problem and run.it.accounting.work.jobs_done == 1
    run.tick(RETRY)
    run.until(lambda: not run.problem)
    assert (run.it.accounting.work.jobs_done, run.it.accounting.work.since) == (6, 1.0)
    run.it.close()
    assert sum(row.jobs_done for row in run.rows()) == 1
