"""Expressions in the configuration: Python's arithmetic, comparisons, `and`, `or`, `not` and `a if b else c`.

Which names there are is the caller's to say. A text is checked whole before it is computed: nothing in the
grammar reaches further than its numbers, and nothing that short takes long.

A value may be unknown (None), and then so is what depends on it, as in SQL and in HTCondor's ClassAds:
`battery < 20` is unknown where there is no battery, `battery < 20 or hour < 8` is true before eight all the
same, and `battery < 20 and hour < 8` is false after it. A condition that is unknown does not hold.
"""

import ast
import operator
from collections.abc import Callable, Collection, Iterator, Mapping

from plancton.host.signals.catalog import Reference
from plancton.units import did_you_mean, shown

LONGEST = 1000
"""Characters: far more than any rule needs, and too few to compute for long."""
OPERATORS: Mapping[type[ast.AST], Callable[..., float]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
"""No powers and no shifts, which grow out of hand."""
GRAMMAR = (
    *(ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.IfExp),
    *(ast.UnaryOp, ast.BinOp, ast.Compare, ast.BoolOp, ast.And, ast.Or),
    *OPERATORS,
)
"""No attributes."""
Value = float | str | None
"""None: unknown. Text is a result only, such as "25%"."""
Read = Callable[[Reference], Value]


def _round(number: float) -> int:
    """Without digits: with them it can be made to compute forever."""
    return round(number)


FUNCTIONS: Mapping[str, Callable[..., float]] = {"min": min, "max": max, "int": int, "round": _round}
"""Those of numbers that the configuration's expressions have."""
SAMPLE = 0.7310585
"""A value that no rule is written for: with it, what can never be computed fails when it is read."""
Questions = Mapping[str, Callable[[tuple[str, ...]], None]]
"""Functions that only take texts, and what checks those (ValueError). Their answers are read, as
names' values are."""


class Expression:
    """A text that has been checked. ``references`` are all that it refers to, in order; ``results``
    the texts that it may give; ``root`` is Python's syntax tree."""

    def __init__(self, text: str, tree: ast.Expression, questions: Questions) -> None:
        self.text, self.root, self._questions = text, tree.body, questions
        self.references = tuple(dict.fromkeys(self.referred(self.root)))
        self.results = tuple(node.value for node in _results(self.root) if isinstance(node.value, str))

    def compute(self, read: Read) -> Value:
        """Its value, for what ``read`` gives; only what counts is read. Raises ValueError."""
        try:
            return self.value_of(self.root, read)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValueError(f"{shown(self.text)} fails: {error}") from None
        except RecursionError:
            raise ValueError(f"{shown(self.text)} is not an expression: it is too deep") from None

    def reasons(self, read: Read) -> tuple[Reference, ...]:
        """What its value, which can be computed, is because of: of `on_battery or hour < 8` only what
        is true."""
        try:
            return tuple(dict.fromkeys(self._reasons(self.root, read)))
        except RecursionError:
            return self.references

    def value_of(self, node: ast.AST, read: Read) -> Value:
        match node:
            case ast.Constant():
                return node.value  # type: ignore[return-value]  # see GRAMMAR
            case ast.Name():
                return read((node.id,))
            case ast.Call(func=ast.Name(id=name)):
                if name in self._questions:
                    return read(_asked(node))
                return _known(FUNCTIONS[name], *[self.value_of(each, read) for each in node.args])
            case ast.UnaryOp():
                return _known(OPERATORS[type(node.op)], self.value_of(node.operand, read))
            case ast.BinOp():
                left, right = self.value_of(node.left, read), self.value_of(node.right, read)
                return _known(OPERATORS[type(node.op)], left, right)
            case ast.Compare():
                return self._compared(node, read)
            case ast.BoolOp():
                return self._joined(node, read)
            case ast.IfExp():
                holds = self.value_of(node.test, read)
                return None if holds is None else self.value_of(node.body if holds else node.orelse, read)
        raise AssertionError(node)

    def _compared(self, node: ast.Compare, read: Read) -> Value:
        left, unknown = self.value_of(node.left, read), False
        for sign, other in zip(node.ops, node.comparators, strict=True):
            right = self.value_of(other, read)
            holds = _known(OPERATORS[type(sign)], left, right)
            if holds is not None and not holds:
                return False
            left, unknown = right, unknown or holds is None
        return None if unknown else True

    def _joined(self, node: ast.BoolOp, read: Read) -> Value:
        """The first value that decides it; unknown if none does and one is unknown."""
        decides, unknown, value = isinstance(node.op, ast.Or), False, None
        for each in node.values:
            value = self.value_of(each, read)
            unknown |= value is None
            if value is not None and bool(value) is decides:
                return value
        return None if unknown else value

    def _reasons(self, node: ast.AST, read: Read) -> Iterator[Reference]:
        match node:
            case ast.BoolOp():
                decides = isinstance(node.op, ast.Or)
                values = ((each, self.value_of(each, read)) for each in node.values)
                deciding = (each for each, value in values if value is not None and bool(value) is decides)
                first = next(deciding, None)  # what comes after it need not be computable
                for each in node.values if first is None else [first]:
                    yield from self._reasons(each, read)
            case ast.IfExp():
                yield from self._reasons(node.test, read)
                yield from self._reasons(node.body if self.value_of(node.test, read) else node.orelse, read)
            case ast.UnaryOp(op=ast.Not()):
                yield from self._reasons(node.operand, read)
            case _:
                yield from self.referred(node)

    def referred(self, node: ast.AST) -> Iterator[Reference]:
        match node:
            case ast.Name():
                yield (node.id,)
            case ast.Call(func=ast.Name(id=name)) if name in self._questions:
                yield _asked(node)
            case _:
                called = node.func if isinstance(node, ast.Call) else None
                for child in ast.iter_child_nodes(node):
                    if child is not called:
                        yield from self.referred(child)


def compiled(
    text: str, names: Collection[str], questions: Questions | None = None, may_give_text: bool = False
) -> Expression:
    """The expression in a text. Raises ValueError."""
    questions = questions or {}
    tree = _parsed(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    called = {id(node.func) for node in calls}
    asked = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id in questions]
    texts = {id(each) for node in asked for each in node.args}
    if may_give_text:
        texts |= {id(node) for node in _results(tree.body) if _is_text(node)}
    for node in ast.walk(tree):
        anonymous = isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)
        if anonymous or not isinstance(node, GRAMMAR):
            part = ast.get_source_segment(text.strip(), node) if isinstance(node, ast.Attribute) else None
            raise _foreign(text, shown(part) if part else type(node).__name__)
        if (
            isinstance(node, ast.Constant)
            and not isinstance(node.value, int | float)
            and id(node) not in texts
        ):
            raise _foreign(text, shown(node.value))
        if isinstance(node, ast.Name) and id(node) not in texts:
            is_called = id(node) in called
            what, known = ("function", [*FUNCTIONS, *questions]) if is_called else ("name", list(names))
            if node.id not in known:
                near = did_you_mean(node.id, known)
                raise ValueError(f"{shown(text)} uses an unknown {what} {shown(node.id)}; {near}")
    for node in asked:
        _check_question(text, node, questions)
    try:
        return Expression(text, tree, questions)
    except RecursionError:
        raise ValueError(f"{shown(text)} is not an expression: it is too deep") from None


def _parsed(text: str) -> ast.Expression:
    if len(text) > LONGEST:
        raise ValueError(f"{shown(text)} is longer than {LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{shown(text)} is not an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # too deep: Python's parser has many ways
        raise ValueError(f"{shown(text)} is not an expression: {error or 'it is too deep'}") from None


def _check_question(text: str, node: ast.Call, questions: Questions) -> None:
    asked = _asked(node)
    if node.keywords or not all(map(_is_text, node.args)):
        raise ValueError(f'{shown(text)}: {asked[0]} takes texts in quotes only, such as {asked[0]}("…")')
    try:
        questions[asked[0]](asked[1:])
    except ValueError as error:
        raise ValueError(f"{shown(text)}: {asked[0]}: {error}") from None


def _asked(node: ast.Call) -> Reference:
    assert isinstance(node.func, ast.Name)
    return (node.func.id, *(str(each.value) for each in node.args if isinstance(each, ast.Constant)))


def _results(node: ast.AST) -> Iterator[ast.Constant]:
    """The constants that the whole expression may give."""
    if isinstance(node, ast.IfExp):
        yield from _results(node.body)
        yield from _results(node.orelse)
    elif isinstance(node, ast.Constant):
        yield node


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _known(function: Callable[..., float], *values: Value) -> Value:
    return None if None in values else function(*values)


def _foreign(text: str, what: str) -> ValueError:
    return ValueError(
        f"{shown(text)} is not allowed: an expression has numbers, names, arithmetic, comparisons"
        f" and {', '.join(FUNCTIONS)}, but not {what}"
    )
