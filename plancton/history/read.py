"""The readers' side of history.sqlite: any user may read it, and no reader holds up the writer.

A reader takes no lock and needs no right to write: it copies the file and its log, and opens the
copy. In WAL mode that is enough: whatever a checkpoint was writing into the file meanwhile is still
in the log, unless the log was begun again, and then its first bytes have changed.
"""

import errno
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from plancton.files import Unsuitable, read_regular
from plancton.history import tables
from plancton.history.tables import COLUMNS, MOST, WORK, HistoryError, Row, of_kind
from plancton.model import Work

LARGEST = 64 << 20
"""Bytes of a file or log that is ours."""
LOG_HEADER = 32
"""The log's first bytes, which change when it is begun again."""
ALL = -1
"""As a LIMIT of SQLite's."""
TRIES = 20
IN_MEMORY = Path("/dev/shm")
"""Where the copy goes for the moment, if that is there; else to TMPDIR."""


class Said(msgspec.Struct, frozen=True):
    """An event: its number, Unix time and one sentence."""

    id: int
    time: float
    text: str


class History:
    """A copy of the file as it was at one moment. `open_history` makes one."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def rows(self, table: str, since: float, until: float, first: int = ALL) -> list[Row]:
        """The ``minutes`` or ``hours`` that begin in this time, oldest first; only the ``first`` of
        them. The last one may not be complete yet."""
        where = "WHERE time >= ? AND time < ? ORDER BY time LIMIT ?"
        query = f"SELECT {', '.join(COLUMNS)} FROM {table} {where}"
        found = self._database.execute(query, (since, until, first))
        return [of_kind(dict(zip(COLUMNS, row, strict=True)), Row) for row in found]

    def totals(self, table: str, since: float, names: Sequence[str]) -> dict[str, float]:
        """These columns of the ``minutes`` or ``hours`` that begin at this time or later, added up."""
        sums = ", ".join(f"TOTAL({name})" for name in names)
        found = self._database.execute(f"SELECT {sums} FROM {table} WHERE time >= ?", (since,)).fetchone()
        return of_kind(dict(zip(names, found, strict=True)), dict[str, float])

    def events(self, since: float = 0.0, until: float = MOST, last: int = ALL) -> list[Said]:
        """Those in this time, oldest first; only the ``last`` of them."""
        names = Said.__struct_fields__
        where = "WHERE time >= ? AND time < ? ORDER BY id DESC LIMIT ?"
        query = f"SELECT {', '.join(names)} FROM events {where}"
        found = self._database.execute(query, (since, until, last)).fetchall()
        return [of_kind(dict(zip(names, row, strict=True)), Said) for row in reversed(found)]

    def work(self) -> Work | None:
        row = self._database.execute(f"SELECT {', '.join(WORK)} FROM work").fetchone()
        return of_kind(dict(zip(WORK, row, strict=True)), Work) if row else None


@contextmanager
def open_history(state: Path) -> Iterator[History]:
    """The history in this state directory. Raises HistoryError: none, or none that can be read."""
    path = state / tables.NAME
    data, log = _copy(path)
    header = tables.Header.read(data)
    if header is None or header.application != tables.APPLICATION:
        raise _damaged(path)
    if header.version > tables.VERSION:
        raise HistoryError(f"{path}: is of a newer version of Plancton: upgrade this one to read it")
    try:
        directory = IN_MEMORY if os.access(IN_MEMORY, os.W_OK) else None
        with tempfile.TemporaryDirectory(prefix="plancton-", dir=directory) as name:
            copy = Path(name) / path.name
            copy.write_bytes(data)
            Path(f"{copy}-wal").write_bytes(log)
            database = sqlite3.connect(copy, isolation_level=None)
            with closing(database):
                database.execute("PRAGMA trusted_schema = OFF")
                if not tables.are_ours(database.execute(tables.SCHEMA).fetchall()):
                    raise _damaged(path)
                yield History(database)
    except sqlite3.DatabaseError:
        raise _damaged(path) from None
    except OSError as error:
        raise HistoryError(f"{path}: can't be copied to read it: {error.strerror}; set TMPDIR") from None


@contextmanager
def open_in_place(state: Path) -> Iterator[History]:
    """The same for a thread of the process that writes it: nothing is copied. Raises HistoryError.

    Only that process, for others may not open the file with the locks. And it must not open the file
    itself meanwhile: to close it would drop SQLite's locks (fcntl(2)).
    """
    path = state / tables.NAME
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        with closing(database):
            for setting in ("cache_size = -64", "trusted_schema = OFF"):
                database.execute(f"PRAGMA {setting}")
            if not tables.are_ours(database.execute(tables.SCHEMA).fetchall()):
                raise _damaged(path)
            yield History(database)
    except sqlite3.Error as error:
        raise HistoryError(f"{path}: can't be read: {error}") from None


def _damaged(path: Path) -> HistoryError:
    return HistoryError(
        f"{path}: is damaged; where the supervisor does not move it aside by its next start, move it away"
        " yourself: it begins another"
    )


def changed(state: Path) -> object:
    """Another value than before when there may be something new."""
    found = list[object]()
    for name in (tables.NAME, f"{tables.NAME}-wal"):
        try:
            status = (state / name).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return found


def _copy(path: Path) -> tuple[bytes, bytes]:
    """The file and its log, which belong together."""
    for _ in range(TRIES):
        begun = _log(path)[:LOG_HEADER]
        try:
            data, _ = read_regular(path, LARGEST, follow=False)
        except FileNotFoundError:
            raise _missing(path) from None
        except OSError as error:
            raise _unreadable(path, error) from None
        log = _log(path)
        if log[:LOG_HEADER] == begun == _log(path)[:LOG_HEADER]:
            return data, log
        time.sleep(0.01)
    raise HistoryError(f"{path}: changes all the time; try again")


def _log(path: Path) -> bytes:
    """Empty if there is none."""
    log = Path(f"{path}-wal")
    try:
        return read_regular(log, LARGEST, follow=False)[0]
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unreadable(log, error) from None


def _missing(path: Path) -> HistoryError:
    return HistoryError(
        f"{path}: there is no history yet; a supervisor that runs writes it, the first minute at the latest"
    )


def _unreadable(path: Path, error: OSError) -> HistoryError:
    remedy = f"run this as a user who may read {path.parent}"
    if isinstance(error, Unsuitable) or error.errno == errno.ELOOP:  # a link
        remedy = "move it away"
    return HistoryError(f"{path}: can't be read: {error.strerror}; {remedy}")
