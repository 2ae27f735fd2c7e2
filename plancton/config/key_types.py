"""What a key of the configuration takes, by its type: sections, alternatives, and all of it in words."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from plancton.config.host_rule import HostCpus, HostMemory
from plancton.config.hours import Hours
from plancton.config.schema import Section
from plancton.units import Duration, Portion, Rate, Size

WORDS: dict[object, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "NAME: value lines",
    Duration: "a duration",
    Size: "a size",
    HostCpus: "a number > 0 and ≤ 4096 or an expression",
    HostMemory: "a size or an expression",
    Portion: "a size or a percentage",
    Hours: "hours and days",
    Rate: "a rate",
}
_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def section_of(kind: Any) -> type[Section] | None:
    """The section that a key of this type holds; None where it holds a value."""
    sections = (part for part in alternatives(kind) if isinstance(part, type) and issubclass(part, Section))
    return next(sections, None)


def section_in_list(kind: Any) -> type[Section] | None:
    """The section that each item of a key's list is; None where they are values."""
    lists = (part for part in alternatives(kind) if get_origin(part) is list)
    return next((section_of(get_args(part)[0]) for part in lists), None)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The types that a key of this type takes, null aside: that is always its default."""
    if get_origin(kind) is Annotated:
        return alternatives(get_args(kind)[0])
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return tuple(part for part in parts if part is not NoneType and not (part is int and float in parts))


def takes_null(kind: Any) -> bool:
    return NoneType in get_args(get_args(kind)[0] if get_origin(kind) is Annotated else kind)


def takes(kind: Any) -> str:
    """What a key of this type takes: `a number > 0 and ≤ 1`."""
    words = [
        " or ".join(get_args(part)) if get_origin(part) is Literal else WORDS[get_origin(part) or part]
        for part in alternatives(kind)
    ]
    meta = get_args(kind)[1] if get_origin(kind) is Annotated else None
    bounds = {sign: getattr(meta, name, None) for name, sign in _SIGNS.items()}
    said = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)
    return " ".join(filter(None, [" or ".join(words), said]))
