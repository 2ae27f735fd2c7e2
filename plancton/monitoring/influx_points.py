"""What InfluxDB gets, in its line protocol: the history, and what Plancton 0.6 sent. Pure."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from plancton.history.read import Said
from plancton.history.tables import MINUTE, SUMS, WORDS, Row
from plancton.model import HeldReason

SECOND, MILLISECOND = 1_000_000_000, 1_000_000
Tags = Mapping[str, str]
Field = float | str


class Departure(NamedTuple):
    """A worker that is gone: when (Unix time), after how many seconds of life, whether it had been
    started, and whether it was told to go."""

    time: float
    age: float
    started: bool
    told: bool


def of_minute(row: Row, tags: Tags) -> str:
    """A row of the history, under its own names."""
    fields: dict[str, Field] = {name: float(getattr(row, name)) for name in SUMS}
    fields |= {name: str(getattr(row, name)) for name in WORDS}
    return line("plancton", tags, fields, row.time * SECOND)


def of_event(event: Said, tags: Tags) -> str:
    """Its number makes two events of one millisecond two points."""
    when = round(event.time * 1000) * MILLISECOND + event.id % MILLISECOND
    return line("plancton_events", tags, {"text": event.text}, when)


def as_0_6(row: Row, hostname: str, began: float) -> Iterator[str]:
    """Plancton 0.6's series of a minute. ``began``: when this supervisor did (Unix time); 0.6's uptime
    is not known of those before it."""
    if not row.seconds:
        return
    tags, when = {"hostname": hostname}, row.time * SECOND
    fields: dict[str, Field] = {"containers": float(round(row.workers / row.seconds)), "status": _status(row)}
    if row.time + MINUTE > began:
        fields["uptime"] = row.time + MINUTE - began
    yield line("daemon", tags, fields, when)
    if row.capacity:
        busy = max(0.0, row.capacity - row.idle) / row.capacity
        yield line("measurement", tags, {"cpu_eff": 100.0 * busy}, when)


def _status(row: Row) -> str:
    if row.mode in ("paused", "draining", "stopping"):
        return "draining"
    return "waiting" if row.held == HeldReason.NO_DOCKER else "active"


def departure_as_0_6(gone: Departure, hostname: str) -> str:
    tags = {"hostname": hostname, "started": str(gone.started), "killed": str(gone.told)}
    return line("container", tags, {"uptime": gone.age}, round(gone.time * SECOND))


# ---------------------------------------------------------------- the form


def line(series: str, tags: Tags, fields: Mapping[str, Field], when: int) -> str:
    """One point. Numbers are all of one type: InfluxDB refuses a field that changes it."""
    named = "".join(f",{_tag(name)}={_tag(text)}" for name, text in sorted(tags.items()))
    values = ",".join(f"{name}={_value(value)}" for name, value in fields.items())
    return f"{series}{named} {values} {when}"


def _tag(text: str) -> str:
    return re.sub(r"([,= ])", r"\\\1", text)


def _value(value: Field) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        return f'"{escaped}"'
    return repr(float(value))
