"""history.sqlite: whatever happens to it, what was written is there once, and anybody can read it."""

import errno
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plancton.history import tables, totals
from plancton.history.read import open_history, open_in_place
from plancton.history.tables import DAY, HOUR, MINUTE, NAME, SUMS, HistoryError, Row
from plancton.history.totals import merged, take_over
from plancton.history.write import Batch, Damaged, Store, move_aside, open_store
from plancton.model import Event, Kept, Report, Work

BEGIN = 1_763_845_440
"""A whole minute, not a whole hour."""
KEPT = Kept(Work(float(BEGIN)))


def batch(*rows: Row, events: tuple[Event, ...] = (), kept: Kept = KEPT) -> Batch:
    return Batch(rows, events, kept)


def row(minute: int, **more: float) -> Row:
    return Row(BEGIN + minute * MINUTE, seconds=60.0, **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / NAME)


# ---------------------------------------------------------------- written and read


def test_written_and_read(tmp_path: Path, store: Store) -> None:
    """What is written is read as it was, while the writer has the file open."""
    first = row(0, donated=30.5, jobs_done=1)
    first.held, first.why = "no room", "the owner uses 4.0 of 4 CPUs ☃"
    work = Work(1.0, 2, 3, 4.0, 5.0, 6.0)
    store.write(batch(first, events=(Event(BEGIN + 1.5, "starting w1"),), kept=Kept(work)), BEGIN)
    with open_history(tmp_path) as history:
        assert history.rows("minutes", 0, 2e10) == [first]
        assert [(said.time, said.text) for said in history.events()] == [(BEGIN + 1.5, "starting w1")]
        assert history.work() == work
        assert not history.rows("minutes", BEGIN + 1, 2e10)


def test_in_place(tmp_path: Path, store: Store) -> None:
    """A thread of the writer's process reads it without a copy, in pieces, while it is written."""
    rows = [row(minute, donated=1.0) for minute in range(5)]
    said = tuple(Event(BEGIN + n * MINUTE + 0.5, f"event {n}") for n in range(5))
    store.write(batch(*rows, events=said), BEGIN)
    with open_in_place(tmp_path) as history:
        assert history.rows("minutes", BEGIN + MINUTE, 2e10, first=2) == rows[1:3]
        found = history.events(BEGIN + MINUTE, until=BEGIN + 3 * MINUTE)
        assert [event.text for event in found] == ["event 1", "event 2"]
        assert history.totals("hours", 0, ("donated", "idle")) == {"donated": 5.0, "idle": 0.0}
        store.write(batch(row(5, donated=1.0)), BEGIN)
    with open_in_place(tmp_path) as history:
        assert len(history.rows("minutes", 0, 2e10)) == 6
    store.write(batch(row(6)), BEGIN)  # its locks are still there
    assert not list(tmp_path.glob("plancton-*"))


@pytest.mark.parametrize("content", [None, b"no database at all", b""])
def test_nothing_in_place(tmp_path: Path, content: bytes | None) -> None:
    """None, or one that is not ours, is one line, and nothing is made."""
    if content is not None:
        (tmp_path / NAME).write_bytes(content)
    with pytest.raises(HistoryError, match=NAME), open_in_place(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ([] if content is None else [NAME])


def test_parts_of_a_minute(tmp_path: Path, store: Store) -> None:
    """A minute that is written in parts, or twice because the clock was set back, is added up."""
    store.write(batch(row(0, donated=1.0)), BEGIN)
    store.write(batch(row(0, donated=2.0), row(1, donated=4.0)), BEGIN)
    with open_history(tmp_path) as history:
        assert [each.donated for each in history.rows("minutes", 0, 2e10)] == [3.0, 4.0]


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 10_000)), max_size=5), max_size=8),
)
def test_hours_are_sums_of_minutes(
    tmp_path_factory: pytest.TempPathFactory, writes: list[list[tuple[int, int]]]
) -> None:
    """However minutes are written and however the clock jumps meanwhile, an hour is their sum."""
    state = tmp_path_factory.mktemp("state")
    store = open_store(state / NAME)
    for write in writes:
        rows = [row(minute, donated=amount / 8, jobs_done=amount) for minute, amount in write]
        store.write(batch(*rows), BEGIN)
    with open_history(state) as history:
        minutes, hours = history.rows("minutes", 0, 2e10), history.rows("hours", 0, 2e10)
    for hour in hours:
        within = [each for each in minutes if each.time // HOUR * HOUR == hour.time]
        assert all(getattr(hour, name) == sum(getattr(each, name) for each in within) for name in SUMS), hour
    assert sum(each.seconds for each in minutes) == sum(each.seconds for each in hours)
    store.close()


def test_anybody_may_read_and_nobody_may_lock(tmp_path: Path, store: Store) -> None:
    """Others may read the file and its log, but not open its locks."""
    store.write(batch(row(0)), BEGIN)
    modes = {suffix: (tmp_path / f"{NAME}{suffix}").stat().st_mode & 0o777 for suffix in ("", "-wal", "-shm")}
    assert modes == {"": 0o644, "-wal": 0o644, "-shm": 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_holds_locks_and_reads(tmp_path: Path, store: Store) -> None:
    """Another user who locks all that it may open keeps the writer from nothing, and reads it all."""
    store.write(batch(row(0)), BEGIN)
    for directory in (tmp_path, *tmp_path.parents):
        if directory != Path("/tmp"):
            directory.chmod(directory.stat().st_mode | 0o055)
    code = f"""
import fcntl, os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from plancton.history.read import open_history
os.setgid(65534); os.setuid(65534)
held = []
for suffix in ("", "-wal", "-shm"):
    try:
        held.append(open({str(tmp_path / NAME)!r} + suffix, "rb"))
        fcntl.lockf(held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        assert suffix == "-shm" and error.errno == 13, error
print("locked", flush=True)
input()
with open_history(Path({str(tmp_path)!r})) as history:
    print(len(history.rows("minutes", 0, 2e10)))
"""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == "locked\n"
        for minute in range(1, 300):  # checkpoints are among them
            store.write(batch(row(minute)), BEGIN)
        assert other.communicate("\n", timeout=60)[0] == "300\n"


def test_readers_see_whole_transactions(tmp_path: Path) -> None:
    """Whatever the moment, a reader sees each transaction as a whole or not at all, checkpoints
    included."""
    code = f"""
from pathlib import Path
from unit.history.test_history import *
store, minute = open_store(Path({str(tmp_path / NAME)!r})), 0
while True:
    store.write(batch(*(row(minute + i, donated=1.0) for i in range(7))), BEGIN)
    minute += 7
"""
    writer = child(code)
    try:
        deadline, seen = time.monotonic() + 60, 0
        while seen < 1_000:
            assert time.monotonic() < deadline and writer.poll() is None
            try:
                with open_history(tmp_path) as history:
                    rows = history.rows("minutes", 0, 2e10)
                    hours = history.rows("hours", 0, 2e10)
            except HistoryError as error:
                assert "there is no history yet" in str(error) or "changes all the time" in str(error), error
                continue
            assert len(rows) % 7 == 0 and sum(each.donated for each in hours) == len(rows)
            seen = len(rows)
    finally:
        writer.kill()
        writer.communicate()


def child(code: str) -> subprocess.Popen[str]:
    command = f"import sys; sys.path[:0] = {sys.path!r}\n{code}"
    return subprocess.Popen([sys.executable, "-P", "-c", command], stdout=subprocess.PIPE, text=True)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A writer that is killed, at whatever moment, leaves a sound file with every row that it had
    written, and each once."""
    code = f"""
from pathlib import Path
from unit.history.test_history import *
store = open_store(Path({str(tmp_path / NAME)!r}))
minute = int(store.kept().work.cpu_done) if store.kept() else 0
while True:
    minute += 1
    work = Work(0.0, cpu_done=float(minute), cpu_lost=float(minute))
    store.write(batch(row(minute, cpu_done=1.0), kept=Kept(work)), BEGIN)
    print(minute, flush=True)
"""
    chance, last = random.Random(1), 0
    for _ in range(12):
        writer = child(code)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(chance.random() * 0.1)
        writer.send_signal(signal.SIGKILL)
        lines = writer.communicate()[0].split()
        last = max(last, *map(int, lines[-1:]), 0) if lines else last
        with open_history(tmp_path) as history:
            rows, work = history.rows("minutes", 0, 2e10), history.work()
        assert work and work.cpu_done >= last, "a row that was written is lost"
        assert [each.cpu_done for each in rows] == [1.0] * int(work.cpu_done)
        last = int(work.cpu_done)
    store = open_store(tmp_path / NAME)
    store.check()
    store.close()


# ---------------------------------------------------------------- how much is kept


def fill(store: Store, days: int) -> float:
    """Write as a supervisor of that many days, an hour at a time; the Unix time at the end."""
    now = BEGIN
    for hour in range(days * 24):
        rows = []
        for minute in range(60):
            each = Row(now + minute * MINUTE, **dict.fromkeys(SUMS[:13], 1234.567 + minute))  # type: ignore[arg-type]
            each.jobs_done = each.jobs_evicted = 1
            each.tier, each.mode, each.held = "kernel", "donating", "no room"
            each.why = "16 workers, 16 fit, the owner uses 3.7 of 32 CPUs"
            rows.append(each)
        now += HOUR
        said = tuple(Event(now, f"worker-{hour}-{i} is gone: exit code 0: bye") for i in range(10))
        store.write(batch(*rows, events=said), now)
    return now


def test_retention(tmp_path: Path, store: Store) -> None:
    """Minutes are kept for 8 days, events for 30 and hours for years, and the space is given back."""
    now = fill(store, 40)
    with open_history(tmp_path) as history:
        minutes, hours = history.rows("minutes", 0, 2e10), history.rows("hours", 0, 2e10)
        events = history.events()
    assert now - 8 * DAY - 2 * HOUR <= minutes[0].time <= now - 8 * DAY and len(minutes) >= 8 * 24 * 60
    assert now - 30 * DAY - HOUR <= events[0].time <= now - 30 * DAY + HOUR
    assert hours[0].time <= BEGIN and len(hours) >= 40 * 24
    assert (tmp_path / NAME).stat().st_size < 6 << 20


def test_clock_that_is_years_off(tmp_path: Path, store: Store) -> None:
    """A clock that is years ahead for a while, or years behind, takes little of what is there with
    it."""
    now = fill(store, 10)
    for wrong in (now + 20 * 365 * DAY, 0.0):
        for minute in range(0, 60, 6):
            store.write(batch(Row(int(wrong) + minute * MINUTE, 60.0)), wrong + minute * MINUTE)
    store.write(batch(Row(int(now), 60.0)), now)
    with open_history(tmp_path) as history:
        assert len(history.rows("minutes", BEGIN, now)) > 7 * 24 * 60
        assert len(history.events(BEGIN)) > 2_000


def test_flood_of_events(tmp_path: Path, store: Store) -> None:
    """However much is said, the file stays below 16 MiB with all that belongs to it."""
    for hour in range(30):
        said = tuple(Event(BEGIN + hour * HOUR, "x" * 2_000) for _ in range(1_000))
        store.write(batch(row(60 * hour), events=said), BEGIN + hour * HOUR)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sum(sizes) < 16 << 20, sizes
    with open_history(tmp_path) as history:
        assert len(history.rows("minutes", 0, 2e10)) == 30
        assert history.events()[-1].time == BEGIN + 29 * HOUR


# ---------------------------------------------------------------- files that are none of ours


def contents(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.iterdir()}


def test_newer_version(tmp_path: Path) -> None:
    """A newer version's file is left as it is, by the writer and by readers, in one line each."""
    open_store(tmp_path / NAME).close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute(f"PRAGMA user_version = {tables.VERSION + 1}")
    before = contents(tmp_path)
    with pytest.raises(HistoryError, match="newer version") as caught:
        open_store(tmp_path / NAME)
    assert not isinstance(caught.value, Damaged)
    with pytest.raises(HistoryError, match="newer version"), open_history(tmp_path):
        pass
    assert contents(tmp_path) == before


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE precious (a)")


def with_a_trigger(path: Path) -> None:
    open_store(path).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TRIGGER evil AFTER INSERT ON events BEGIN DELETE FROM minutes; END")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"junk" * 5_000),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5_000),
        other_program,
        with_a_trigger,
    ],
    ids=["empty", "junk", "a good beginning", "another program's", "with a trigger"],
)
def test_damaged(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """A file that is none of ours is named as such, can be moved aside, and a new one works."""
    path = tmp_path / NAME
    make(path)
    with pytest.raises(HistoryError), open_history(tmp_path):
        pass
    with pytest.raises(Damaged):
        open_store(path)
    assert move_aside(path).exists() and not path.exists()
    store = open_store(path)
    store.write(batch(row(0)), BEGIN)
    with open_history(tmp_path) as history:
        assert len(history.rows("minutes", 0, 2e10)) == 1


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    """Pages that are overwritten are noticed at the first write, and by readers in one line."""
    path = tmp_path / NAME
    store = open_store(path)
    fill(store, 1)
    store.close()
    with path.open("r+b") as file:
        file.seek(8 * 4096)
        file.write(os.urandom(40 * 4096))
    with pytest.raises(HistoryError, match="damaged"), open_history(tmp_path) as history:
        history.rows("minutes", 0, 2e10)
    store = open_store(path)
    with pytest.raises(Damaged):
        store.write(batch(row(0)), BEGIN)


@pytest.mark.parametrize("value", ["'text'", "1e300", "9e999", "x'00'", "-1e300", "-1"])
def test_values_that_nobody_wrote(tmp_path: Path, store: Store, value: str) -> None:
    """A file with values that Plancton does not write is damaged to a reader, and nothing worse."""
    store.write(batch(row(0)), BEGIN)
    store.close()
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.execute(f"UPDATE minutes SET donated = {value}")
        database.commit()
    with pytest.raises(HistoryError, match=r"damaged; .* move it away"), open_history(tmp_path) as history:
        history.rows("minutes", 0, 2e10)


@pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
def test_something_else_of_that_name(tmp_path: Path, kind: str) -> None:
    """What is no file is neither followed, waited for, nor moved."""
    path = tmp_path / NAME
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path)
    with pytest.raises(HistoryError, match="move it away"), open_history(tmp_path):
        pass
    with pytest.raises(HistoryError):
        open_store(path)
    assert not (tmp_path / "elsewhere").exists()


def test_moved_away(tmp_path: Path, store: Store) -> None:
    """A file that somebody has moved away is not written any more: nobody would find it."""
    (tmp_path / NAME).rename(tmp_path / "mine")
    with pytest.raises(HistoryError):
        store.write(batch(row(0)), BEGIN)


def test_no_history(tmp_path: Path) -> None:
    """Where there is none, one line says so."""
    with pytest.raises(HistoryError, match="no history yet"), open_history(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_full_disk(tmp_path: Path) -> None:
    """On a full disk a write fails as a whole, and the same one is written once there is room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], check=True)
    try:
        store = open_store(tmp_path / NAME)
        store.write(batch(row(0, donated=1.0)), BEGIN)
        ballast = tmp_path / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(1 << 20))
        said = tuple(Event(BEGIN, "x" * 1_000) for _ in range(100))
        with pytest.raises(HistoryError, match=r"full|I/O"):
            store.write(batch(row(1, donated=2.0), events=said), BEGIN)
        ballast.unlink()
        store.write(batch(row(1, donated=2.0), events=said), BEGIN)
        with open_history(tmp_path) as history:
            assert [each.donated for each in history.rows("minutes", 0, 2e10)] == [1.0, 2.0]
            assert len(history.events()) == 100
        store.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_read_only_disk(tmp_path: Path) -> None:
    """On a disk that has become read-only a write fails in words, who reads gets what there is, and
    the same is written once the disk takes it again; without a file none is made."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], check=True)
    try:
        open_store(tmp_path / NAME).close()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        with pytest.raises(HistoryError, match=r"(?i)read-?only"):
            open_store(tmp_path / NAME).write(batch(row(0)), BEGIN)
        with pytest.raises(HistoryError, match=r"(?i)read-?only"):
            open_store(tmp_path / "other.sqlite")
        with open_history(tmp_path) as history:
            assert history.rows("minutes", 0, 2e10) == []
        subprocess.run(["mount", "-o", "remount,rw", tmp_path], check=True)
        store = open_store(tmp_path / NAME)
        store.write(batch(row(0, donated=1.0)), BEGIN)
        store.close()
        with open_history(tmp_path) as history:
            assert [each.donated for each in history.rows("minutes", 0, 2e10)] == [1.0]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


# ---------------------------------------------------------------- the totals and work.json


def old(state: Path, kept: Kept) -> Path:
    path = state / "work.json"
    path.write_bytes(msgspec.json.encode(kept))
    return path


OLD = Kept(Work(1.0, 10, 2, 100.0, 50.0, 5.0), {"c1": Report(3, 1, 0, 9.0, 1.0)})


def test_work_json_moves(tmp_path: Path, store: Store) -> None:
    """An earlier version's totals are all there, counted once however often it is tried, and the
    file goes."""
    path = old(tmp_path, OLD)
    assert take_over(store, path) == (OLD, "") and not path.exists()
    old(tmp_path, OLD)  # as after a crash in between
    assert take_over(store, path) == (OLD, "")
    store.close()
    assert take_over(open_store(tmp_path / NAME), path) == (OLD, "")


def test_downgrade_and_back(tmp_path: Path, store: Store) -> None:
    """What an earlier version counted meanwhile is added, but no job twice that both have read in
    the same worker's report."""
    take_over(store, old(tmp_path, OLD))
    counted = {"c1": Report(4, 1, 0, 12.0, 1.0), "c2": Report(1, 0, 0, 7.0)}
    meanwhile = Kept(Work(500.0, 5, 1, 30.0, 19.0, 1.0), counted)
    kept, problem = take_over(store, old(tmp_path, meanwhile))
    assert kept and not problem
    # c1's three jobs done and one lost were known before.
    assert kept.work == Work(1.0, 12, 2, 130.0, 60.0, 5.0), kept.work
    assert kept.counted == counted


def test_same_work_json_has_more(tmp_path: Path, store: Store) -> None:
    """Of a file that was taken over and has grown since, only the rest is added."""
    take_over(store, old(tmp_path, OLD))
    more = Kept(Work(1.0, 11, 2, 120.0, 53.0, 5.0), {"c1": Report(4, 1, 0, 12.0, 1.0)})
    kept, _ = take_over(store, old(tmp_path, more))
    assert kept == more


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"\0" * 5_000, b'{"work": {"since": 1, "cpu_donated": 1e999}}', b"[" * 10_000,
     b'{"work": {"since": 1, "cpu_donated": -1}}', b'{"work": {"since": 1}, "counted": {"w1": 5}}'],
    ids=lambda data: ascii(data[:30]),
)  # fmt: skip
def test_damaged_work_json(tmp_path: Path, store: Store, data: bytes) -> None:
    """A damaged one is named and kept under another name; counting begins at zero."""
    (tmp_path / "work.json").write_bytes(data)
    kept, problem = take_over(store, tmp_path / "work.json")
    assert kept is None and "work.json" in problem
    assert (tmp_path / "work.json.damaged").read_bytes() == data
    assert take_over(store, tmp_path / "work.json") == (None, "")


def test_work_json_that_could_not_be_read(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that can't be read just now stays where it is, and is taken over at a later start."""
    path = old(tmp_path, OLD)

    def fails(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as faulty:
        faulty.setattr(totals, "read_regular", fails)
        kept, problem = take_over(store, path)
    assert kept is None and "Input/output error" in problem
    assert take_over(store, path) == (OLD, "")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 20), st.integers(0, 20)), max_size=6))
def test_merged(reports: list[tuple[str, int, int]]) -> None:
    """Two counts that began at zero and read the same growing reports are one count of the longer
    reports."""
    ours, theirs = Kept(Work(1.0)), Kept(Work(2.0))
    for container, a, b in reports:
        ours, theirs = with_report(ours, container, a), with_report(theirs, container, b)
    both = merged(ours, theirs)
    assert both.work.jobs_done == sum(report.done for report in both.counted.values())
    assert both.work.since == 1.0
    assert json.loads(msgspec.json.encode(both)), "it can be kept"


def with_report(kept: Kept, container: str, jobs: int) -> Kept:
    before = kept.counted.get(container, Report()).done
    done = max(before, jobs)
    work = msgspec.structs.replace(kept.work, jobs_done=kept.work.jobs_done + done - before)
    return Kept(work, {**kept.counted, container: Report(done)})
