"""How long the history keeps what, and what goes when that is over or the file is too large."""

import sqlite3

from plancton.history.tables import DAY

KEPT = {"minutes": 8 * DAY, "hours": 3 * 365 * DAY, "events": 30 * DAY}
"""Seconds for which each is kept."""
LARGEST = 12 << 20
"""Bytes of the file from which on the oldest rows go even before their time. With the log, and what
is added until this is looked at again, it stays below 16 MiB."""
AT_ONCE = {"minutes": 180, "hours": 3, "events": 100}
"""Rows that are removed in one hour: more than an hour adds. A clock that is years off for an hour
takes no more than this with it."""
SHORTEN_IN_TURN = ("events", "minutes", "hours")
"""Whose oldest rows go first when the file is too large."""


def remove_old(database: sqlite3.Connection, wall: float) -> None:
    for table, seconds in KEPT.items():
        key = _key(table)
        chosen = f"SELECT {key} FROM {table} WHERE time < ? ORDER BY {key} LIMIT ?"
        database.execute(f"DELETE FROM {table} WHERE {key} IN ({chosen})", (wall - seconds, AT_ONCE[table]))


def remove_oldest(database: sqlite3.Connection, table: str) -> bool:
    """Some of them; whether there were any."""
    key = _key(table)
    chosen = f"SELECT {key} FROM {table} ORDER BY {key} LIMIT 1000"
    return database.execute(f"DELETE FROM {table} WHERE {key} IN ({chosen})").rowcount > 0


def used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _key(table: str) -> str:
    return "id" if table == "events" else "time"
