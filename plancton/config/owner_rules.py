"""What the configuration's rules ask for, with the signals as they are now.

A rule is an expression of `owner`: `pause_when`, `leave_when`, `cpu_cap`. One with an unknown value
does not hold, and it is said why.
"""

import math
import re
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from plancton.config.expression import SAMPLE, Expression, Value, compiled
from plancton.config.hours import Hours
from plancton.config.resolve import MaxWorkers
from plancton.config.schema import Config
from plancton.host.signals.catalog import CHECKS, SIGNALS, Reference
from plancton.model import OwnerRules
from plancton.units import shown

LEAST_CAP = 0.01
"""CPUs: the kernel takes no smaller limit (cpu.max)."""
HOST_NAMES = ("ncpus",)
Read = Callable[[Reference], float | None]
V = TypeVar("V")
TEMPERATURE = ("temperature",)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


class Source(Protocol):
    """Where the signals are read: `plancton.host.signals.readings.Signals`."""

    def read(self, reference: Reference) -> float | None: ...

    def describe(self, reference: Reference) -> str: ...


class Rules:
    """A configuration's rules, checked. Raises ValueError, which begins with the key.
    ``max_workers`` may depend on signals as well."""

    def __init__(self, config: Config) -> None:
        owner = config.owner
        self.hours: Hours | None = owner.hours
        try:
            self.max_workers = MaxWorkers(config)
        except ValueError as error:
            raise ValueError(f"pool.max_workers: {error}") from None
        self.watches_temperature = owner.max_temperature is not None
        self.expressions = dict[str, Expression]()
        for key in ("pause_when", "leave_when", "cpu_cap"):
            setting = getattr(owner, key)
            try:
                if setting is not None:
                    self.expressions[key] = _expression(setting, key == "cpu_cap")
            except ValueError as error:
                raise ValueError(f"owner.{key}: {error}") from None

    def __bool__(self) -> bool:
        """Whether there is any: without one, nothing is read."""
        return bool(self.references or self.expressions or self.hours)

    @property
    def references(self) -> tuple[Reference, ...]:
        found = [ref for each in self.expressions.values() for ref in each.references]
        found += self.max_workers.references
        found += [TEMPERATURE] if self.watches_temperature else []
        return tuple(dict.fromkeys(ref for ref in found if ref[0] not in HOST_NAMES))

    def judge(self, signals: Source, cpus: float, local: time.struct_time) -> OwnerRules:
        """What they ask for now, on a host with so many ``cpus``."""

        def read(reference: Reference) -> float | None:
            return cpus if reference == ("ncpus",) else signals.read(reference)

        unknown = list[str]()
        pause, leave = (self._reason(key, read, signals, unknown) for key in ("pause_when", "leave_when"))
        if self.hours and not self.hours.contains(local):
            leave = f"outside owner.hours ({self.hours})"
        cap = self._cap(read, cpus, unknown)
        celsius = signals.read(TEMPERATURE) if self.watches_temperature else None
        if self.watches_temperature and celsius is None:
            unknown.append("owner.max_temperature: temperature is unknown")
        return OwnerRules(pause, leave, cap, celsius, "; ".join(unknown))

    def _reason(self, key: str, read: Read, signals: Source, unknown: list[str]) -> str:
        """Why this condition holds; empty if it does not."""
        rule = self.expressions.get(key)
        if rule is None or not self._computed(key, rule.compute, read, unknown):
            return ""
        reasons = [ref for ref in rule.reasons(read) if ref[0] not in HOST_NAMES]
        return " and ".join(signals.describe(ref) for ref in reasons) or f"owner.{key} is {shown(rule.text)}"

    def _cap(self, read: Read, cpus: float, unknown: list[str]) -> float | None:
        """CPUs; None: no cap, or one that is no less than all."""
        if (rule := self.expressions.get("cpu_cap")) is None:
            return None
        wanted = self._computed("cpu_cap", lambda read: cap_of(rule.compute(read), cpus), read, unknown)
        return None if wanted is None or wanted >= cpus else max(LEAST_CAP, wanted)

    def _computed(self, key: str, value: Callable[[Read], V], read: Read, unknown: list[str]) -> V | None:
        """None, and said why, where it can't be known."""
        try:
            found = value(read)
        except ValueError as error:
            unknown.append(f"owner.{key}: {error}")
            return None
        if found is None:
            names = [ref[0] for ref in self.expressions[key].references if read(ref) is None]
            unknown.append(f"owner.{key}: {' and '.join(names)} {'is' if len(names) == 1 else 'are'} unknown")
        return found


def cap_of(value: Value, cpus: float) -> float | None:
    """A cap's value in CPUs; None: unknown. Raises ValueError."""
    if isinstance(value, str):
        return _percent(value) / 100 * cpus
    if isinstance(value, bool) or (value is not None and not -math.inf < value < math.inf):
        raise ValueError(f"{shown(value)} is neither a number of CPUs nor a percentage")
    return value


def _percent(text: str) -> float:
    found = _PERCENT.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise ValueError(f'{shown(text)} is not a percentage of the CPUs: write "1%" to "100%"')
    return float(found[1])


def _expression(setting: float | str, is_cap: bool) -> Expression:
    """``setting`` is an expression, or of a cap a number or a percentage alone."""
    text = str(setting)
    if is_cap and _PERCENT.fullmatch(text.strip()):
        text = f'"{text.strip()}"'
    names = [*SIGNALS, *(HOST_NAMES if is_cap else ())]
    rule = compiled(text, names, CHECKS, may_give_text=is_cap)
    for result in rule.results:
        _percent(result)
    value = rule.compute(lambda _: SAMPLE)
    if is_cap and not rule.references and isinstance(value, float | int) and value <= 0:
        raise ValueError(f"{shown(setting)} leaves the workers nothing: write pause_when or leave_when")
    return rule
