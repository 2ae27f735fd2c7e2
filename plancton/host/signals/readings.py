"""The signals' values now. Only what somebody asks for is read, and at most every few seconds."""

import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from plancton.host.signals.battery import on_battery, read_charge
from plancton.host.signals.catalog import Reference, say
from plancton.host.signals.cpu_temperature import PowerMeter, Throttle, find_sensors, read_temperature
from plancton.host.signals.day_times import is_between
from plancton.host.signals.metered import ask_metered, runs_network_manager
from plancton.host.signals.people import Hint, ask_logind, idle_seconds, session_ids, terminal_inputs
from plancton.host.signals.pressure import owner_groups, read_pressure
from plancton.host.signals.programs import find_running

PROC, SYS, RUN, DEV = Path("/proc"), Path("/sys"), Path("/run"), Path("/dev")
FRESH = 4.0
"""Seconds for which a value is used again: each tick at the usual pace has new ones, and ticks a
second apart have not."""
ANSWER_FRESH = 15.0
"""The same for what another program is asked."""
PAUSES = 200
"""What takes CPU beside the loop is not done again for this many times as long as it took."""

T = TypeVar("T")
Beside = Callable[[Callable[[], Any], Callable[[Any], None]], None]
"""Does some work in a thread, and gives its result to the second function in the caller's."""


def at_once(work: Callable[[], T], done: Callable[[T], None]) -> None:
    done(work())


class Signals:
    """``tree`` is the mounted cgroup v2 tree, ``slice_name`` the workers' by configuration. What has
    to be asked of other programs is asked ``beside`` the caller."""

    def __init__(
        self,
        tree: Path | None,
        slice_name: str,
        beside: Beside = at_once,
        *,
        fresh: float = FRESH,
        proc: Path = PROC,
        sys: Path = SYS,
        run: Path = RUN,
        dev: Path = DEV,
    ) -> None:
        self._tree, self._slices = tree, {slice_name, f"{slice_name}.slice"}
        self._beside, self._fresh = beside, fresh
        self._proc, self._sys, self._run, self._dev = proc, sys, run, dev
        self._values = dict[Reference, float | None]()
        self._until = dict[Reference, float]()
        self._answers = dict[Reference, Any]()
        self._ask_again = dict[Reference, float]()
        self.look(0.0, 0.0, time.gmtime(0))

    def look(self, now: float, unix: float, local: time.struct_time, owner_cpus: float | None = None) -> None:
        """A look at the host begins: monotonic, Unix and local time, and what the owner uses now."""
        self._now, self._unix, self._local, self._owner_cpus = now, unix, local, owner_cpus

    def read(self, reference: Reference) -> float | None:
        """Its value; None: unknown on this host, or not known yet."""
        clock = self._local
        match reference:
            case ("hour",):
                return clock.tm_hour
            case ("weekday",):
                return clock.tm_wday + 1
            case ("between", begin, end):
                return is_between(clock.tm_hour * 60 + clock.tm_min, begin, end)
            case ("owner_cpus",):
                return self._owner_cpus
        if self._now >= self._until.get(reference, self._now):
            self._values[reference] = self._read(reference)
            self._until[reference] = self._now + self._fresh
        return self._values[reference]

    def describe(self, reference: Reference) -> str:
        """What it is now, in words, as the reason for something."""
        value = self.read(reference)
        if value is None:
            return f"{reference[0]} is unknown"
        if reference[0] == "running" and value:
            return say(("running", *self._answers[reference]), value)
        if reference[0] == "on_battery" and value and (charge := self.read(("battery",))) is not None:
            return f"{say(reference, value)} ({charge:.0f} %)"
        return say(reference, value)

    def _read(self, reference: Reference) -> float | None:
        match reference:
            case ("on_battery",):
                return on_battery(self._sys)
            case ("battery",):
                return read_charge(self._sys)
            case ("idle_seconds",):
                return self._idle_seconds(reference)
            case ("sessions",):
                ids = session_ids(self._run)
                return None if ids is None else len(ids)
            case ("running", *names):
                look = partial(find_running, self._proc, names, self._slices)
                found = self._answer(reference, look, self._fresh)
                return None if found is None else bool(found)
            case ("temperature",):
                return self._temperature()
            case ("throttled",):
                return self._throttle.read()
            case ("power",):
                return self._meter.read(self._now)
            case ("owner_memory_pressure",):
                return self._pressure("memory")
            case ("owner_io_pressure",):
                return self._pressure("io")
            case ("metered",):
                runs = runs_network_manager(self._run)
                return self._answer(reference, ask_metered) if runs else None
        raise AssertionError(reference)

    def _idle_seconds(self, reference: Reference) -> float | None:
        hints = list[Hint]()
        if ids := session_ids(self._run):
            hints = self._answer(reference, partial(ask_logind, ids))
            if hints is None:
                return None
        return idle_seconds(hints, terminal_inputs(self._dev), self._unix)

    def _temperature(self) -> float | None:
        celsius = read_temperature(self._sensors)
        if celsius is None:
            del self._sensors  # their driver may be loaded late: look for them again the next time
        return celsius

    @cached_property
    def _sensors(self) -> list[Path]:
        return find_sensors(self._sys)

    @cached_property
    def _throttle(self) -> Throttle:
        return Throttle(self._sys)

    @cached_property
    def _meter(self) -> PowerMeter:
        return PowerMeter(self._sys)

    def _pressure(self, kind: str) -> float | None:
        return read_pressure(owner_groups(self._tree, self._slices), kind) if self._tree else None

    def _answer(self, reference: Reference, ask: Callable[[], Any], fresh: float = ANSWER_FRESH) -> Any:
        """What the last answer was, None before the first. What takes long is not asked again meanwhile."""
        if self._now >= self._ask_again.get(reference, self._now):
            self._ask_again[reference] = float("inf")
            self._beside(partial(_timed, ask), partial(self._answered, reference, fresh))
        return self._answers.get(reference)

    def _answered(self, reference: Reference, fresh: float, answer: tuple[Any, float]) -> None:
        self._answers[reference], used = answer
        self._ask_again[reference] = self._now + (max(fresh, PAUSES * used) if self._fresh else 0.0)
        self._until.pop(reference, None)


def _timed(ask: Callable[[], T]) -> tuple[T | None, float]:
    """The answer, and the CPU seconds that it took here."""
    before = time.thread_time()
    try:
        answer = ask()
    except OSError:  # no descriptor is left: it is asked again
        answer = None
    return answer, time.thread_time() - before
