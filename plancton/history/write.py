"""The writer's side of history.sqlite. There is one writer, which has the supervisor's lock.

The file is in WAL mode: a transaction is in it as a whole or not at all, whenever the writer is
killed. It is written without fsync(2), which would keep a disk awake; the checkpoint that SQLite
makes about once an hour has one. So a power cut may take the last minutes, but never breaks it.

Nobody else can hold a lock that we would have to wait for: the file with the locks (-shm) is the
owner's alone, and other users copy what they read (read.py). Every call may block as long as the disk
does: none of them is for the loop's thread.
"""

import contextlib
import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from plancton.files import from_json, set_mode, to_json
from plancton.history import tables
from plancton.history.retention import LARGEST, SHORTEN_IN_TURN, remove_old, remove_oldest, used_bytes
from plancton.history.tables import (
    COLUMNS,
    HOUR,
    REPORT,
    SUMS,
    VERSION,
    WORDS,
    WORK,
    HistoryError,
    Row,
    of_kind,
)
from plancton.model import Event, Kept, Report, Work

PAGES_IN_WAL = 256
"""Pages (of 4 KiB) after which the log's content goes into the file: an hour's or more."""
SETTINGS = ("cache_size = -64", "synchronous = NORMAL", "temp_store = MEMORY", "trusted_schema = OFF")
"""A cache of 64 KiB is enough for a row a minute; NORMAL: no fsync(2) but at checkpoints."""
BUSY = 1.0
"""Seconds to wait for the owner's own other programs."""
NO_DATABASE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Damaged(HistoryError):
    """The file is none of ours, or broken."""


class Replaced(HistoryError):
    """The file that is open is not the one of that name any more."""


class Batch(msgspec.Struct, frozen=True):
    """What is written in one transaction. Rows are added to those of the same minute."""

    rows: tuple[Row, ...]
    events: tuple[Event, ...]
    kept: Kept


class Store:
    """The open file. `open_store` makes one."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path, self._database = path, database
        self._inode = path.stat().st_ino
        self._counted: Mapping[str, Report] | None = None
        self._checked = False
        self._looked_after = 0

    def kept(self) -> Kept | None:
        """What an earlier supervisor has kept."""
        with _explained(self.path):
            rows = self._database.execute(f"SELECT {', '.join(WORK)} FROM work").fetchall()
            counted = self._database.execute(f"SELECT container, {', '.join(REPORT)} FROM counted").fetchall()
            if not rows:
                return None
            self._counted = {
                container: of_kind(dict(zip(REPORT, report, strict=True)), Report)
                for container, *report in counted
            }
            return Kept(of_kind(dict(zip(WORK, rows[0], strict=True)), Work), dict(self._counted))

    def moved(self) -> Kept | None:
        """What was taken over from an earlier version."""
        with _explained(self.path):
            row = self._database.execute("SELECT work_json FROM moved").fetchone()
        try:
            return from_json(row[0], Kept) if row else None
        except (TypeError, ValueError) as error:
            raise Damaged(f"{self.path}: {error}") from None

    def take_over(self, kept: Kept, moved: Kept) -> None:
        """Keep these sums, which have those of ``moved`` in them."""
        with self._transaction():
            self._keep(kept)
            self._database.execute("INSERT OR REPLACE INTO moved VALUES (1, ?)", (to_json(moved),))

    def write(self, batch: Batch, wall: float) -> None:
        """All or nothing; ``wall`` is the Unix time. Raises HistoryError if it can't be written."""
        self._require_our_file()
        if not self._checked:
            self.check()
            self._checked = True
        with self._transaction():
            for row in batch.rows:
                self._add("minutes", row, row.time)
                self._add("hours", row, row.time // HOUR * HOUR)
            said = [(each.time, each.text) for each in batch.events]
            self._database.executemany("INSERT INTO events (time, text) VALUES (?, ?)", said)
            self._keep(batch.kept)
        if int(wall) // HOUR != self._looked_after:
            self._looked_after = int(wall) // HOUR
            with contextlib.suppress(HistoryError):  # the batch is written, and must not be again
                self._look_after(wall)

    def check(self) -> None:
        """Read all of it once. Raises Damaged."""
        with _explained(self.path):
            found = self._database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise Damaged(f"{self.path}: is damaged: {found}")

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _add(self, table: str, row: Row, time: int) -> None:
        self._database.execute(_ADD[table], (time, *msgspec.structs.astuple(row)[1:]))

    def _keep(self, kept: Kept) -> None:
        marks = ", ".join("?" * (1 + len(WORK)))
        work = msgspec.structs.astuple(kept.work)
        self._database.execute(f"INSERT OR REPLACE INTO work VALUES ({marks})", (1, *work))
        if kept.counted != self._counted:
            self._database.execute("DELETE FROM counted")
            marks = ", ".join("?" * (1 + len(REPORT)))
            rows = [(each, *msgspec.structs.astuple(report)) for each, report in kept.counted.items()]
            self._database.executemany(f"INSERT INTO counted VALUES ({marks})", rows)
            self._counted = dict(kept.counted)

    def _look_after(self, wall: float) -> None:
        """Once an hour: remove what is too old, and give the space back."""
        with self._transaction():
            remove_old(self._database, wall)
        for table in SHORTEN_IN_TURN:
            while self._is_too_large() and self._removed_oldest(table):
                pass
        with _explained(self.path):
            # Each row that it returns is a page freed.
            self._database.execute("PRAGMA incremental_vacuum").fetchall()

    def _is_too_large(self) -> bool:
        with _explained(self.path):
            return used_bytes(self._database) > LARGEST

    def _removed_oldest(self, table: str) -> bool:
        with self._transaction():
            return remove_oldest(self._database, table)

    def _require_our_file(self) -> None:
        """What is written to a file that was moved away or replaced is lost."""
        try:
            found = self.path.lstat().st_ino
        except OSError as error:
            raise Replaced(f"{self.path}: {error.strerror}: a new one is begun") from None
        if found != self._inode:
            raise Replaced(f"{self.path}: was replaced: what is there now is used from here on")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:  # whatever it was, nothing of it stays
                self._counted = None
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise


def _upsert(table: str) -> str:
    sums = [f"{name} = {name} + excluded.{name}" for name in SUMS]
    words = [f"{name} = excluded.{name}" for name in WORDS]
    marks = ", ".join("?" * len(COLUMNS))
    names = ", ".join(COLUMNS)
    change = ", ".join([*sums, *words])
    return f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT (time) DO UPDATE SET {change}"


_ADD = {table: _upsert(table) for table in ("minutes", "hours")}


def open_store(path: Path) -> Store:
    """Open the file, or begin one. Raises HistoryError if it can't be used, and leaves it alone then;
    Damaged if it has to be moved aside first."""
    header = _header(path)
    if header is None:
        _create(path)
    elif header.application != tables.APPLICATION:
        raise Damaged(f"{path}: is another program's")
    elif header.version > VERSION:
        raise HistoryError(
            f"{path}: is of a newer version of Plancton: it is left alone, and no history is kept"
            " (upgrade, or move the file away)"
        )
    with _explained(path):
        # Nobody else may open the locks, which get the file's mode: then all may read the rest.
        set_mode(path, 0o600)
        database = _connect(path)
        database.execute(f"PRAGMA wal_autocheckpoint = {PAGES_IN_WAL}")
        database.execute(f"PRAGMA journal_size_limit = {PAGES_IN_WAL * 4096}")
        if not tables.are_ours(database.execute(tables.SCHEMA).fetchall()):
            database.close()
            raise Damaged(f"{path}: has other tables than Plancton makes")
        # The log and the locks are there now.
        set_mode(Path(f"{path}-wal"), 0o644)
        set_mode(path, 0o644)
        return Store(path, database)


def move_aside(path: Path) -> Path:
    """Make room for a new one; where the damaged file is now. Raises HistoryError."""
    aside = path.with_name(f"{path.name}.damaged")
    with _explained(path):
        for suffix in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
    return aside


def _header(path: Path) -> tables.Header | None:
    """None if there is no file."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise HistoryError(f"{path}: is not a regular file: no history is kept until it is gone")
            header = tables.Header.read(os.read(descriptor, 100))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"{path}: can't be read: {error.strerror}; no history is kept") from None
    if header is None:
        raise Damaged(f"{path}: is no database")
    return header


def _create(path: Path) -> None:
    """Under another name first: it is there as a whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    with _explained(path):
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{part}{suffix}").unlink(missing_ok=True)
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.closing(_connect(part)) as database:
            database.execute("PRAGMA auto_vacuum = INCREMENTAL")
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("BEGIN")
            for statement in tables.CREATE:
                database.execute(statement)
            database.execute(f"PRAGMA application_id = {tables.APPLICATION}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("COMMIT")
            database.execute("PRAGMA journal_mode = WAL")
        for suffix in ("-wal", "-shm"):  # an earlier one's, which would be taken for ours
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        part.replace(path)


def _connect(path: Path) -> sqlite3.Connection:
    """One thread after the other uses it, never two at once."""
    database = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    for setting in SETTINGS:
        database.execute(f"PRAGMA {setting}")
    return database


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say in one line what is wrong with the disk or the file. Any other error is a bug: a statement
    that makes no sense, or values that no table takes."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
        raise
    except sqlite3.Error as error:
        # Not SQLite's own: text that is none, or a value that is not of its kind.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in NO_DATABASE:
            raise Damaged(f"{path}: {error}") from None
        if code == sqlite3.SQLITE_ERROR or not isinstance(error, sqlite3.OperationalError):
            raise
        raise HistoryError(f"{path}: can't be written: {error}") from None
    except OSError as error:
        raise HistoryError(f"{path}: can't be written: {error.strerror}") from None
