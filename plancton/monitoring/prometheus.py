"""`plancton metrics`: this host's figures for Prometheus, from status.json and the history.

The text is written here: prometheus_client takes four times as long to import as all else that the
command needs, for an HTTP server and a registry that nobody would use. Its parser reads what is written
in the tests. `/metrics` has OpenMetrics; node_exporter's textfile collector reads nothing but the
older text format, whose counters and infos have other headings.

No label has a value that is not in this file, except for the version.
"""

import calendar
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from plancton.errors import PlanctonError
from plancton.files import replace_named_file
from plancton.history.read import open_history
from plancton.history.tables import MINUTE, NO_ROOM, HistoryError
from plancton.model import HeldReason, Phase, Status, Tier, Work
from plancton.paths import Paths
from plancton.running_supervisors import holder
from plancton.status_reading import STALE, running

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
USES = ("owner", "donated", "engine", "idle", "stolen")
MODES = ("donating", "paused", "draining", "stopping")
REASONS = (*map(str, HeldReason), NO_ROOM)
FRESH = 5 * MINUTE
"""Seconds for which the history's last minute tells what holds now."""
TextFormat = Literal["openmetrics", "textfile"]


class TextfileError(PlanctonError):
    """The collector's file can't be written, in one line."""


class Facts(msgspec.Struct, frozen=True):
    """What there is to tell. ``status`` is that of a supervisor that runs and answers; ``work`` are
    the host's totals, and ``year`` the sums since this year began (UTC); ``held`` is the kind of
    reason for which nothing is started (`history.tables.Row`)."""

    status: Status | None = None
    work: Work | None = None
    year: Mapping[str, float] | None = None
    held: str | None = None


class Found(NamedTuple):
    """The facts, whether a supervisor runs, and what is wrong with its history."""

    facts: Facts
    runs: bool
    problem: str = ""


def look(paths: Paths, now: float) -> Found:
    """Read what there is; ``now`` is Unix time."""
    runs, status = holder(paths) is not None, running(paths)
    if status is not None and now - status.time > STALE:
        status = None
    try:
        with open_history(paths.state) as history:
            last = history.rows("minutes", now - FRESH, now + MINUTE)[-1:]
            year = history.totals("hours", beginning_of_year(now), USES)
            held = last[0].held if last else None
            return Found(Facts(status, history.work(), year, held if status else None), runs)
    except HistoryError as error:
        return Found(Facts(status), runs, str(error))


def beginning_of_year(now: float) -> float:
    """A counter may begin again, but must not lose a part: hours are not kept for ever, and so they
    are summed from here."""
    return float(calendar.timegm((time.gmtime(now).tm_year, 1, 1, 0, 0, 0)))


def write_textfile(path: Path, facts: Facts, now: float) -> None:
    """Replace the file of node_exporter's textfile collector, which may run as anybody."""
    try:
        replace_named_file(path, exposition(facts, now, "textfile").encode(), 0o644)
    except OSError as error:
        raise TextfileError(
            f"{path}: can't be written: {error.strerror}; name a file that this user may write"
        ) from None


# ---------------------------------------------------------------- the text


class Family(NamedTuple):
    """A metric, ``name`` without prefix and suffix, and its samples by label."""

    name: str
    kind: Literal["counter", "gauge", "info"]
    meaning: str
    samples: Iterable[tuple[Mapping[str, str], float | None]]


def exposition(facts: Facts, now: float, form: TextFormat = "openmetrics") -> str:
    """All metrics as text. Pure; ``now`` is Unix time."""
    lines = [line for family in _families(facts, now) for line in _lines(family, form)]
    if form == "openmetrics":
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _lines(family: Family, form: TextFormat) -> Iterator[str]:
    """None of a metric of which nothing is known."""
    samples = [(labels, value) for labels, value in family.samples if value is not None]
    if not samples:
        return
    plain = f"plancton_{family.name}"
    name = plain + {"counter": "_total", "info": "_info", "gauge": ""}[family.kind]
    kind = "gauge" if family.kind == "info" and form == "textfile" else family.kind
    heading = name if form == "textfile" else plain
    yield f"# HELP {heading} {family.meaning}"
    yield f"# TYPE {heading} {kind}"
    for labels, value in samples:
        pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _families(facts: Facts, now: float) -> Iterator[Family]:
    up = 1 if facts.status else 0
    yield Family("up", "gauge", "1: a supervisor runs here and says what it does.", _one(up))
    yield Family("collected_timestamp_seconds", "gauge", "When these metrics were made.", _one(now))
    if facts.status is not None:
        yield from _of_supervisor(facts.status, facts.held)
        yield from _of_host(facts.status)
        yield from _of_workers(facts.status)
    yield from _of_history(facts)


def _of_supervisor(status: Status, held: str | None) -> Iterator[Family]:
    yield Family("build", "info", "Which Plancton runs.", [({"version": status.version}, 1)])
    tiers = _one_of("tier", get_args(Tier), status.tier)
    yield Family("tier", "gauge", "1: the tier in which this host yields; kernel is the strongest.", tiers)
    yield Family("mode", "gauge", "1: what the supervisor does.", _one_of("mode", MODES, status.mode))
    frozen = int(status.pause is not None and status.pause.frozen)
    yield Family("frozen", "gauge", "1: the workers are frozen, for the owner.", _one(frozen))
    if held is not None:
        reasons = _one_of("reason", REASONS, held)
        yield Family("held", "gauge", "1: why no worker is started.", reasons)
    yield Family("problems", "gauge", "What is wrong: plancton status names it.", _one(len(status.problems)))
    expires = "When the pool's token expires, as the last worker got it."
    yield Family("token_expiry_timestamp_seconds", "gauge", expires, _one(status.token_expires))


def _of_host(status: Status) -> Iterator[Family]:
    yield Family("capacity_cpus", "gauge", "CPUs of this host that count.", _one(status.capacity))
    cpus = [({"use": use}, getattr(status, use)) for use in USES]
    yield Family("cpus", "gauge", "CPUs in use now, by whom or by nobody.", cpus)
    yield Family("memory_bytes", "gauge", "Memory of this host.", _one(status.memory_total))
    available, donated = status.memory_available, status.memory_donated
    yield Family("memory_available_bytes", "gauge", "Memory that is available.", _one(available))
    yield Family("memory_donated_bytes", "gauge", "Memory that workers use.", _one(donated))


def _of_workers(status: Status) -> Iterator[Family]:
    phases = [worker.phase for worker in status.workers]
    found = [({"phase": str(phase)}, phases.count(phase)) for phase in Phase]
    yield Family("workers", "gauge", "Workers, by where they are in their life.", found)
    yield Family("workers_fit", "gauge", "Workers that fit beside the owner.", _one(status.fit))
    cap = status.cap.cpus if status.cap else None
    yield Family("cap_cpus", "gauge", "CPUs that the owner lets all workers use, if less.", _one(cap))
    yield Family("workers_allowed", "gauge", "pool.max_workers, if it is set.", _one(status.max_workers))
    stuck = sum(worker.stuck for worker in status.workers)
    yield Family("workers_stuck", "gauge", "Workers that outlive being killed.", _one(stuck))
    known = [worker.jobs for worker in status.workers if worker.jobs is not None]
    jobs = sum(known) if known or not status.workers else None
    yield Family("jobs_running", "gauge", "Jobs that workers run, where the pool tells.", _one(jobs))


def _of_history(facts: Facts) -> Iterator[Family]:
    """Counters, which go on while nothing runs."""
    if facts.year is not None:
        used = [({"use": use}, facts.year[use]) for use in USES]
        meaning = "CPU time by who used it, or nobody; from 0 again each year (UTC)."
        yield Family("cpu_seconds", "counter", meaning, used)
    if (work := facts.work) is not None:
        jobs = [({"outcome": "done"}, work.jobs_done), ({"outcome": "evicted"}, work.jobs_evicted)]
        yield Family("jobs", "counter", "Jobs that ended by themselves or were not allowed to.", jobs)
        cpu = [({"outcome": "done"}, work.cpu_done), ({"outcome": "evicted"}, work.cpu_lost)]
        yield Family("jobs_cpu_seconds", "counter", "CPU time of those jobs.", cpu)


def _one(value: float | None) -> list[tuple[Mapping[str, str], float | None]]:
    return [({}, value)]


def _one_of(label: str, names: Iterable[str], found: str) -> list[tuple[Mapping[str, str], float | None]]:
    """A sample for each name: 1 for the one that is, 0 for all others."""
    return [({label: name}, 1 if name == found else 0) for name in names]
