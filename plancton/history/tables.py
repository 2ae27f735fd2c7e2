"""The tables of history.sqlite, for the writer and for readers.

| table          | what                                                                      |
|----------------|---------------------------------------------------------------------------|
| minutes, hours | a `Row` for each minute and hour in which the supervisor ran              |
| events         | what it said, oldest first; ``id`` only ever grows                        |
| work           | one row: this host's totals (`model.Work`)                                |
| counted        | how much of each worker's report is in them (`model.Report`)              |
| moved          | the work.json of an earlier version, as it was when it was taken over     |

All times are Unix times. ``PRAGMA user_version`` is the version of the tables. Whoever changes them
does it outside of WAL mode: a version that does not know them yet reads the number from the file.
"""

import sqlite3
from typing import Any, TypeVar

import msgspec

from plancton.errors import PlanctonError

T = TypeVar("T")

NAME = "history.sqlite"
VERSION = 1
APPLICATION = 0x504C4E43
"""PLNC: ``PRAGMA application_id``, by which file(1) and we know it."""
MINUTE, HOUR, DAY = 60, 3600, 86_400
MOST = 1e18
"""Byte seconds of all hosts' memory in an hour are fewer."""
NO_ROOM = "no room"
"""What `Row.held` says when there is none for another worker."""


class HistoryError(PlanctonError):
    """There is no history that could be used, in one line."""


class Row(msgspec.Struct):
    """A minute or an hour, which begins at ``time``.

    All numbers are sums over the ``seconds`` for which the host's figures were known: divided by
    them they are averages, and added up they are those of an hour, a day or a year. ``owner`` to
    ``stolen`` are CPU seconds, ``capacity`` those that there were; ``memory_*`` are byte seconds,
    ``workers`` (that run or start) and ``fit`` worker seconds, and ``without`` the seconds in which there
    was no worker. ``cpu_done`` and ``cpu_lost`` are the CPU seconds of the jobs done and evicted.

    ``tier`` and ``mode`` are those at the end. ``held`` is the kind of reason for which nothing was
    started (`model.HeldReason`; NO_ROOM: nothing else held it; empty: workers could start or
    all that fit were running), and ``why`` the sentence about it.
    """

    time: int
    seconds: float = 0.0
    capacity: float = 0.0
    owner: float = 0.0
    donated: float = 0.0
    engine: float = 0.0
    idle: float = 0.0
    stolen: float = 0.0
    memory_total: float = 0.0
    memory_available: float = 0.0
    memory_donated: float = 0.0
    workers: float = 0.0
    fit: float = 0.0
    without: float = 0.0
    jobs_done: int = 0
    jobs_evicted: int = 0
    cpu_done: float = 0.0
    cpu_lost: float = 0.0
    tier: str = ""
    mode: str = ""
    held: str = ""
    why: str = ""


COLUMNS = Row.__struct_fields__
WORDS = ("tier", "mode", "held", "why")
SUMS = tuple(name for name in COLUMNS if name not in ("time", *WORDS))
WORK = ("since", "jobs_done", "jobs_evicted", "cpu_donated", "cpu_done", "cpu_lost")
REPORT = ("done", "evicted", "withdrawn", "cpu_done", "cpu_lost")


def _kind(name: str) -> str:
    if name in WORDS:
        return "TEXT"
    return "INTEGER" if name.startswith("jobs_") or name in REPORT[:3] else "REAL"


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {_kind(name)} NOT NULL" for name in names)


TABLES = {
    **{name: f"(time INTEGER PRIMARY KEY, {_columns(COLUMNS[1:])})" for name in ("minutes", "hours")},
    "events": "(id INTEGER PRIMARY KEY, time REAL NOT NULL, text TEXT NOT NULL)",
    "work": f"(id INTEGER PRIMARY KEY CHECK (id = 1), {_columns(WORK)})",
    "counted": f"(container TEXT PRIMARY KEY, {_columns(REPORT)}) WITHOUT ROWID",
    "moved": "(id INTEGER PRIMARY KEY CHECK (id = 1), work_json BLOB NOT NULL)",
}
SCHEMA = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"
CREATE = tuple(f"CREATE TABLE {name} {columns}" for name, columns in TABLES.items())


def are_ours(schema: list[tuple[str, str]]) -> bool:
    """Whether these are the tables that we make, and no view or trigger is there that somebody
    wants us to run; ``schema`` is what the query SCHEMA found."""
    return sorted(schema) == sorted(zip(TABLES, CREATE, strict=True))


class Header(msgspec.Struct, frozen=True):
    """What the file's first bytes say, without opening it as a database."""

    application: int
    version: int

    @staticmethod
    def read(data: bytes) -> "Header | None":
        """None if this is no database (https://sqlite.org/fileformat2.html)."""
        if len(data) < 100 or not data.startswith(b"SQLite format 3\0"):
            return None
        return Header(int.from_bytes(data[68:72]), int.from_bytes(data[60:64]))


def of_kind(values: dict[str, Any], kind: type[T]) -> T:
    """SQLite takes anything in any column, and not everybody's file was written by us. Raises
    sqlite3.DatabaseError."""
    if not all(0 <= value < MOST for value in values.values() if isinstance(value, int | float)):
        raise sqlite3.DatabaseError("a number is not one that Plancton writes")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise sqlite3.DatabaseError(str(error)) from None
