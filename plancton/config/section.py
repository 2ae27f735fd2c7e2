"""What all sections of the configuration are made of."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of one section; unknown ones are refused."""


def require(holds: bool, message: str) -> None:
    """``message`` is "key: what is wrong"."""
    if not holds:
        raise ValueError(message)


def default(value: T) -> T:
    """A default of a type that only we know: msgspec's schema writer can't show it, so `schema` adds it."""
    return msgspec.field(default_factory=lambda: value)
