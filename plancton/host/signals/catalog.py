"""All signals: what each is, which values it has, and how one is said."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plancton.host.signals.day_times import WEEKDAYS, check_between
from plancton.host.signals.programs import check_names
from plancton.units import human_seconds

INFINITE = float("inf")
Reference = tuple[str, ...]
"""A signal's name (`("hour",)`), or a function with the texts that it is asked about
(`("running", "steam", "zoom")`)."""


class Signal(NamedTuple):
    """``low`` and ``high``: all its values are between; None: it is true or false. ``yes`` and ``no``
    say its value in words; ``unit`` follows it in a list."""

    description: str
    low: float | None = None
    high: float = INFINITE
    yes: str = "{0:g}"
    no: str = ""
    unit: str = ""


SIGNALS: Mapping[str, Signal] = {
    "on_battery": Signal("the computer runs on its battery", yes="on battery", no="on mains power"),
    "battery": Signal("how full the battery is, in percent", 0, 100, "the battery has {0:.0f} %", unit="%"),
    "idle_seconds": Signal("seconds since the owner's last input", 0, yes="last input {1} ago"),
    "sessions": Signal("how many sessions people have, here or remotely", 0, yes="logged in: {0:g}"),
    "hour": Signal("the hour of the day, 0 to 23", 0, 23, "it is {0:g} o'clock"),
    "weekday": Signal("the day of the week, 1 (Monday) to 7 (Sunday)", 1, 7, "it is {2}"),
    "temperature": Signal("the CPU package's, in °C", -273, yes="the CPU has {0:.0f} °C", unit="°C"),
    "throttled": Signal(
        "the CPU slows down because of its heat", yes="the CPU is too hot", no="the CPU is not too hot"
    ),
    "power": Signal("what the CPU takes, in watts", 0, yes="the CPU takes {0:.0f} W", unit="W"),
    "owner_cpus": Signal("CPUs that the owner uses", 0, yes="the owner uses {0:.1f} CPUs"),
    "owner_memory_pressure": Signal(
        "percent of the time in which the owner waits for memory",
        0,
        100,
        "the owner waits for memory {0:.0f} % of the time",
        unit="%",
    ),
    "owner_io_pressure": Signal(
        "percent of the time in which the owner waits for disks",
        0,
        100,
        "the owner waits for disks {0:.0f} % of the time",
        unit="%",
    ),
    "metered": Signal(
        "the network is paid for by what goes over it",
        yes="the network is metered",
        no="the network is not metered",
    ),
}
"""By name, as expressions have them."""
ASKED: Mapping[str, Signal] = {
    "between": Signal("it is between two times of day", yes="between {0} and {1}", no="not {0} to {1}"),
    "running": Signal("one of the owner's processes has such a name", yes="{0} runs", no="{0} does not run"),
}
"""Those that are asked about texts."""
CHECKS: Mapping[str, Callable[[tuple[str, ...]], None]] = {"between": check_between, "running": check_names}
WHOLE = frozenset({"hour", "weekday", "sessions"})
"""Whose values are whole numbers."""


def say(reference: Reference, value: float) -> str:
    """A known value in words, as the reason for something."""
    name, *texts = reference
    if name in ASKED:
        said = ASKED[name].yes if value else ASKED[name].no
        return said.format(*texts) if name == "between" else said.format(" or ".join(texts))
    signal = SIGNALS[name]
    if signal.low is None:
        return signal.yes if value else signal.no
    day = WEEKDAYS[int(value - 1) % len(WEEKDAYS)]
    return signal.yes.format(value, human_seconds(value), day)


def written(reference: Reference) -> str:
    """As an expression has it."""
    name, *texts = reference
    asked = ", ".join(f'"{text}"' for text in texts)
    return f"{name}({asked})" if name in ASKED else name


def show_value(reference: Reference, value: float | None) -> str:
    """`battery = 62 %`, for a list."""
    signal = ASKED.get(reference[0]) or SIGNALS[reference[0]]
    said = "unknown"
    if value is not None and signal.low is None:
        said = "yes" if value else "no"
    elif value is not None:
        number = f"{value:.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")
        said = f"{number} {signal.unit}".rstrip()
    return f"{written(reference)} = {said}"
