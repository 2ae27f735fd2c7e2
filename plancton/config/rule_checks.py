"""Finds rules that were not meant so: `hour >= 22 and hour < 7` is never true.

A rule that only compares each signal with numbers can change its mind nowhere but at those numbers,
so it is tried at, below and above each of them, with all combinations of the other signals' values.
Of a rule that computes with its signals nothing is said, nor of one with too many combinations.
"""

import ast
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise, product
from math import ceil, floor, prod

from plancton.config.expression import Expression, Value
from plancton.config.owner_rules import Rules, cap_of
from plancton.host.signals.catalog import SIGNALS, WHOLE, Reference
from plancton.host.signals.day_times import DAY, is_between, minutes_of
from plancton.units import shown

MOST_TRIALS = 30_000
CLOCK = frozenset({"hour", "weekday", "between"})
MINUTE = ("minute",)
ORDINARY_CPUS = 4.0
OVER_MIDNIGHT = '; over midnight write between("22:00", "07:00")'


def doubtful_rules(rules: Rules) -> Iterator[str]:
    """What is wrong with them, a line for each."""
    for key, rule in rules.expressions.items():
        if key == "cpu_cap":
            if wrong := next(_wrong_caps(rule), ""):
                yield f"owner.{key}: {wrong}"
        elif _is_exact(rule, rule.root):
            found = {bool(value) for value in _values(rule)}
            if found == {False}:
                hint = OVER_MIDNIGHT if ("hour",) in rule.references else ""
                yield f"owner.{key}: {shown(rule.text)} can never be true{hint}"
            elif found == {True}:
                yield f"owner.{key}: {shown(rule.text)} is always true: no worker ever runs"


def _wrong_caps(rule: Expression) -> Iterator[str]:
    for value in _values(rule):
        try:
            wanted = cap_of(value, ORDINARY_CPUS)
        except ValueError as error:
            yield f"{shown(rule.text)} may give {error}"
        else:
            if wanted is not None and wanted <= 0:
                yield f"{shown(rule.text)} may give {wanted:g}: to let workers have nothing, use pause_when"


def _values(rule: Expression) -> Iterator[Value]:
    """What it gives for each combination of its signals' values; nothing if there are too many."""
    choices = _choices(rule)
    if prod(map(len, choices.values())) > MOST_TRIALS:
        return
    for combination in product(*choices.values()):
        with suppress(ValueError):  # such as a division by zero, which is said when it happens
            yield rule.compute(partial(_read, dict(zip(choices, combination, strict=True))))


def _read(values: dict[Reference, float], reference: Reference) -> float:
    minute = int(values.get(MINUTE, 0))
    match reference:
        case ("hour",):
            return minute % DAY // 60
        case ("weekday",):
            return minute // DAY + 1
        case ("between", begin, end):
            return is_between(minute % DAY, begin, end)
    return values[reference]


# ---------------------------------------------------------------- what is tried


def _choices(rule: Expression) -> dict[Reference, list[float]]:
    numbers = {0.0, *_constants(rule)}
    found = {ref: _of_signal(ref, numbers) for ref in rule.references if ref[0] not in CLOCK}
    if any(ref[0] in CLOCK for ref in rule.references):
        found[MINUTE] = _minutes(rule.references)
    return found


def _of_signal(reference: Reference, numbers: set[float]) -> list[float]:
    signal = SIGNALS.get(reference[0])
    if reference == ("ncpus",):
        return [ORDINARY_CPUS]
    if signal is None or signal.low is None:
        return [True, False]
    inside = {number for number in numbers if signal.low <= number <= signal.high}
    points = sorted({signal.low, *inside, min(signal.high, max(inside, default=signal.low) + 1)})
    between = [(one + other) / 2 for one, other in pairwise(points)]
    if reference[0] in WHOLE:
        return sorted({float(side(each)) for each in (*points, *between) for side in (floor, ceil)})
    return [*points, *between]


def _minutes(references: tuple[Reference, ...]) -> list[float]:
    """Of the week: those at which a signal of the clock changes."""
    names = {ref[0] for ref in references}
    of_day = {60 * hour for hour in range(24)} if "hour" in names else {0}
    of_day |= {minutes_of(text) % DAY for ref in references if ref[0] == "between" for text in ref[1:]}
    return [day * DAY + minute for day in (range(7) if "weekday" in names else [0]) for minute in of_day]


def _constants(rule: Expression) -> Iterator[float]:
    """The numbers that something is compared with."""
    for node in ast.walk(rule.root):
        for part in [node.left, *node.comparators] if isinstance(node, ast.Compare) else []:
            if not any(rule.referred(part)):
                with suppress(ArithmeticError, TypeError, ValueError):
                    value = rule.value_of(part, lambda _: None)
                    if isinstance(value, int | float):
                        yield float(value)


def _is_exact(rule: Expression, node: ast.AST) -> bool:
    """Whether trying tells all: each signal that may be any number is compared with numbers only."""
    match node:
        case ast.BoolOp() | ast.IfExp() | ast.UnaryOp(op=ast.Not()):
            return all(_is_exact(rule, each) for each in ast.iter_child_nodes(node))
        case ast.Compare():
            parts = [node.left, *node.comparators]
            numbers = [part for part in parts if any(map(_is_any_number, rule.referred(part)))]
            return len(numbers) < 2 and all(isinstance(part, ast.Name) for part in numbers)
        case ast.Name():
            return True
    return not any(map(_is_any_number, rule.referred(node)))


def _is_any_number(reference: Reference) -> bool:
    signal = SIGNALS.get(reference[0])
    return signal is not None and signal.low is not None and reference[0] not in CLOCK
