"""What `plancton check` and `plancton doctor` say of the signals and the owner's rules."""

import time
from collections.abc import Iterator

import msgspec

from plancton.config.hours import Hours
from plancton.config.owner_rules import Rules
from plancton.config.rule_checks import doubtful_rules
from plancton.config.schema import Config
from plancton.host.signals.catalog import SIGNALS, Reference, show_value, written
from plancton.host.signals.day_times import WEEKDAYS
from plancton.host.signals.readings import Signals
from plancton.model import OwnerRules
from plancton.units import human_seconds


class OwnerReport(msgspec.Struct, frozen=True):
    """The signals with their ``values``, what the ``rules`` ask for now, what is wrong with
    them, and the CPUs of ``owner.cpu_cap`` (None: all)."""

    values: tuple[tuple[Reference, float | None], ...] = ()
    rules: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    cap: float | None = None

    @property
    def signals(self) -> dict[str, float | None]:
        """The values by name, as an expression has it."""
        return {written(reference): value for reference, value in self.values}

    @property
    def lines(self) -> list[str]:
        return [*(show_value(reference, value) for reference, value in self.values), *self.rules]


class OwnerLook:
    """Two looks at the signals: of the rules, or ``all_signals`` and those."""

    def __init__(self, config: Config, signals: Signals, all_signals: bool = False) -> None:
        self.rules, self.signals = Rules(config), signals
        known = [(name,) for name in SIGNALS] if all_signals else []
        self.references = list(dict.fromkeys([*known, *self.rules.references]))
        self._look(None)
        for reference in self.references:
            self.signals.read(reference)

    def _look(self, owner_cpus: float | None) -> float:
        unix = time.time()
        self.signals.look(time.monotonic(), unix, time.localtime(unix), owner_cpus)
        return unix

    def report(self, cpus: float, owner_cpus: float | None) -> OwnerReport:
        """The second look, a moment later."""
        unix = self._look(owner_cpus)
        values = tuple((reference, self.signals.read(reference)) for reference in self.references)
        asked = self.rules.judge(self.signals, cpus, time.localtime(unix))
        said = tuple(_sentences(self.rules, asked, cpus, unix))
        unknown = asked.unknown.split("; ") if asked.unknown else []
        return OwnerReport(values, said, (*doubtful_rules(self.rules), *unknown), asked.cap)


def hours_sentence(hours: Hours, now: float) -> str:
    """When it donates next, or for how long yet."""
    change = hours.next_change(now)
    if change is None:
        return "owner.hours is the whole week: it always donates"
    then = time.localtime(change)
    when = f"{WEEKDAYS[then.tm_wday]} at {then.tm_hour}:{then.tm_min:02}, in {human_seconds(change - now)}"
    if hours.contains(time.localtime(now)):
        return f"by owner.hours it donates now, until {when}"
    return f"by owner.hours it does not donate now, and next on {when}"


def _sentences(rules: Rules, asked: OwnerRules, cpus: float, unix: float) -> Iterator[str]:
    if rules.hours:
        yield hours_sentence(rules.hours, unix)
    if asked.leave:
        yield f"now all workers would leave: {asked.leave}"
    elif asked.pause:
        yield f"now all workers would be paused: {asked.pause}"
    if asked.cap is not None:
        yield f"now all workers together may use {asked.cap:.1f} of {cpus:g} CPUs"
