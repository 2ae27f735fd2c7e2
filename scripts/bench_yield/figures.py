"""The measurements of scripts/bench-yield as tables. Pure."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

import msgspec

from bench_yield.owner import STEP, Result
from plancton.commands.selftest.figures import percentile

ALONE = "owner alone"
LOADS = (
    *("steady", "half", "bursty", "interactive", "compile", "third second", "compiling on", "stints"),
    "memory",
)
AT_LENGTH = ("steady", "half", "bursty", "compile", "third second", "compiling on", "stints")
"""The loads that tell what a limit gives and costs, which comes and goes within seconds."""
AT_ONCE = tuple(load for load in LOADS if load not in ("third second", "compiling on", "stints"))
"""The loads that tell whether somebody yields at once, or never."""
FULL_SPEED, WINDOW = 0.95, 0.5
"""CPU is back when the owner has this part of what they have alone, over this many seconds."""


class Measurement(msgspec.Struct, frozen=True):
    """One load next to one contender. ``donated`` and ``idle`` are CPU seconds meanwhile,
    ``recovery`` is how many seconds the contender took before to use the CPUs again."""

    round: int
    contender: str
    load: str
    result: Result
    donated: float
    idle: float
    recovery: float


Pair = tuple[Measurement, Measurement]
"""The owner alone, and in the same round next to a contender."""
Figure = Callable[[Measurement, Measurement], float]
"""A figure of such a pair; NaN if there is none."""


class Spread(msgspec.Struct, frozen=True):
    """A median, and its 95 % confidence interval."""

    middle: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread | None:
    """From order statistics (the sign test's interval), for any distribution."""
    found = sorted(value for value in values if not math.isnan(value))
    if not found:
        return None
    count, below, chance = len(found), 0, 0.5 ** len(found)
    # The interval may leave out as many at each end as are outside with a chance of 2.5 % at the
    # most.
    while below < (count - 1) // 2 and chance <= 0.025:
        below += 1
        chance += math.comb(count, below) * 0.5**count
    below = max(0, below - 1)
    return Spread(median(found), found[below], found[count - 1 - below])


# ---------------------------------------------------------------- figures of one pair


def cpu_kept(alone: Measurement, beside: Measurement) -> float:
    """The part of their CPU time that the owner keeps."""
    a, b = alone.result, beside.result
    return (b.cpu / b.wall) / (a.cpu / a.wall)


def work_kept(alone: Measurement, beside: Measurement) -> float:
    """The part of their throughput that the owner keeps."""
    return beside.result.work / (alone.result.work or math.nan)


def delay(_: Measurement, beside: Measurement) -> float:
    """The part of the time wanting a CPU that the owner waits for it."""
    waited = beside.result.waited
    return math.nan if waited is None else waited / beside.result.wall


def late(percent: float) -> Figure:
    """Seconds from when a sleeper should run until it does."""
    return lambda _, beside: percentile(beside.result.late, percent) if beside.result.late else math.nan


def later(percent: float) -> Figure:
    """The same, relative to the owner alone."""
    return lambda alone, beside: late(percent)(alone, beside) / late(percent)(beside, alone)


def back(alone: Measurement, beside: Measurement) -> float:
    """Seconds until the owner's speed is back; infinite if it never is."""
    series = (0.0, *beside.result.cpu_series)
    window = round(WINDOW / STEP)
    wanted = FULL_SPEED * alone.result.cpu * window / len(alone.result.cpu_series or [0])
    for start in range(len(series) - window):
        if series[start + window] - series[start] >= wanted:
            return start * STEP
    return math.inf


def harvest(_: Measurement, beside: Measurement) -> float:
    """The part of the CPU that the owner leaves that is used."""
    return beside.donated / (beside.donated + beside.idle)


# ---------------------------------------------------------------- tables


def tables(measured: list[Measurement]) -> Iterator[str]:
    """All of them, in Markdown."""
    per_load: list[tuple[str, Figure, Sequence[str]]] = [
        ("CPU time that the owner keeps", cpu_kept, LOADS),
        ("Throughput that the owner keeps", work_kept, LOADS),
        ("Run delay: waiting for a CPU, of the time that the owner wants one", delay, LOADS),
        (
            "Harvest: of the CPU time that the owner leaves",
            harvest,
            ("half", "bursty", "interactive", "stints"),
        ),
    ]
    for title, figure, loads in per_load:
        yield from table(title, measured, [(name, name, figure, percent) for name in loads])
    yield from table(
        "Wake-ups in the interactive load, and a steady owner's CPU",
        measured,
        [
            ("p50", "interactive", late(50), microseconds),
            ("p90", "interactive", late(90), microseconds),
            ("p99", "interactive", late(99), microseconds),
            ("p50, of alone", "interactive", later(50), times),
            ("p90, of alone", "interactive", later(90), times),
            ("95 % of solo speed after", "steady", back, seconds),
        ],
    )


Column = tuple[str, str, Figure, Callable[[float], str]]
"""Heading, load, figure, and its format."""


def table(title: str, measured: list[Measurement], columns: list[Column]) -> Iterator[str]:
    """One line for each contender measured: medians over the rounds, with their intervals. Loads that
    were not measured have no column."""
    measured_loads = {each.load for each in measured}
    columns = [column for column in columns if column[1] in measured_loads]
    if not columns:
        return
    yield f"**{title}**"
    yield ""
    yield "| | " + " | ".join(heading for heading, *_ in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for contender in sorted({each.contender for each in measured}, key=lambda name: (name != ALONE, name)):
        found = [
            spread(figure(*pair) for pair in pairs(measured, contender, load))
            for _, load, figure, _ in columns
        ]
        if any(found):
            cells = [cell(each, show) for each, (*_, show) in zip(found, columns, strict=True)]
            yield f"| {contender} | " + " | ".join(cells) + " |"
    yield ""


def median_kept(measured: list[Measurement], contender: str, load: str) -> float | None:
    """The part of their CPU time that the owner keeps; None if it was not measured."""
    found = spread(cpu_kept(*pair) for pair in pairs(measured, contender, load))
    return None if found is None else found.middle


def pairs(measured: list[Measurement], contender: str, load: str) -> list[Pair]:
    """By round; a contender that the round did not reach has none."""
    alone = {each.round: each for each in measured if (each.contender, each.load) == (ALONE, load)}
    beside = [each for each in measured if (each.contender, each.load) == (contender, load)]
    return [(alone[each.round], each) for each in beside if each.round in alone]


def cell(found: Spread | None, show: Callable[[float], str]) -> str:
    """ "99.1 % (98.8–99.3)"; the unit only once."""
    if found is None:
        return "–"
    low, high = (show(value).split(" ")[0] for value in (found.low, found.high))
    if low == high == show(found.middle):
        return low
    return f"{show(found.middle)} ({low}–{high})"


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def microseconds(value: float) -> str:
    return f"{1e6 * value:.0f} µs"


def times(value: float) -> str:
    return f"{value:.2f} ×"


def seconds(value: float) -> str:
    return f"{value:.2f} s" if math.isfinite(value) else "never"
