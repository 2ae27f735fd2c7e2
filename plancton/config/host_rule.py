"""A worker's size where it depends on the host that it is on: `max(1, ncpus // 4)`."""

import math
import os
import re
from typing import Self

from plancton.config.expression import compiled
from plancton.units import Size, shown

MOST_CPUS = 4096
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


def host_facts() -> dict[str, float]:
    """What a rule may use, of this host."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"ncpus": os.cpu_count() or 1, "ram_bytes": pages * size}


class HostRule:
    """A value as it is written, or a rule for one; which values will do is its subclasses'."""

    names: tuple[str, ...] = ("ncpus", "ram_bytes")

    def __init__(self, given: float | str) -> None:
        self.given = given

    @classmethod
    def parse(cls, value: object) -> Self:
        """From a value or an expression, which gives one only on a host; ValueError says what is wrong."""
        if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
            compiled(value, cls.names)
            return cls(value.strip())
        return cls(cls.checked(float(value) if isinstance(value, str) else value))

    def on(self, facts: dict[str, float]) -> float:
        """On a host of which these are the facts. Raises ValueError."""
        if not isinstance(self.given, str):
            return self.given
        value = compiled(self.given, self.names).compute(lambda reference: facts[reference[0]])
        if isinstance(value, bool | str) or value is None or not -math.inf < value < math.inf:
            raise ValueError(f"{shown(self.given)} gives {shown(value)}, which is not a number")
        try:
            return self.checked(value)
        except ValueError as error:
            raise ValueError(f"{shown(self.given)}: {error}") from None

    @classmethod
    def checked(cls, value: object) -> float:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.given == other.given


class HostCpus(HostRule):
    """CPUs: a number, or an expression of `ncpus` and `ram_bytes`."""

    @classmethod
    def checked(cls, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST_CPUS:
            raise ValueError(f"must be a number > 0 and ≤ {MOST_CPUS} or an expression, not {shown(value)}")
        return float(value)


class HostMemory(HostRule):
    """Bytes: a size, or an expression, which may also use `cpus`, the worker's."""

    names = (*HostRule.names, "cpus")

    @classmethod
    def parse(cls, value: object) -> Self:
        if isinstance(value, str) and not any(name in value for name in cls.names):
            return cls(Size.parse(value))
        return super().parse(value)

    @classmethod
    def checked(cls, value: object) -> float:
        return Size.parse(int(value) if isinstance(value, float) else value)
