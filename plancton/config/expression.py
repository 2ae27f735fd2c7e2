"""Expressions in the configuration: Python's arithmetic, comparisons, `and`, `or`, `not` and `a if
b else c`.

Which names and functions there are is the caller's to say. A text is checked whole before it is
computed: nothing in the grammar reaches further than its numbers, and nothing that short takes
long.
"""

import ast
from collections.abc import Callable, Collection, Mapping

from plancton.units import shown

LONGEST = 1000
"""Characters: far more than any rule needs, and too few to compute for long."""
# fmt: off
GRAMMAR = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.IfExp,
    ast.UnaryOp, ast.UAdd, ast.USub, ast.Not, ast.BoolOp, ast.And, ast.Or,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)
# fmt: on
"""No powers and no shifts, which grow out of hand; no attributes, no text."""
Functions = Mapping[str, Callable[..., float]]
Computed = Callable[[Mapping[str, float]], float]


def compiled(text: str, names: Collection[str], functions: Functions) -> Computed:
    """The expression as a function of its names' values. Raises ValueError, and so does that
    function."""
    tree = _parsed(text)
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for node in ast.walk(tree):
        anonymous = isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)
        if anonymous or not isinstance(node, GRAMMAR):
            raise _foreign(text, type(node).__name__, functions)
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float):
            raise _foreign(text, shown(node.value), functions)
        if isinstance(node, ast.Name):
            what, known = ("function", functions) if node in called else ("name", names)
            if node.id not in known:
                listed = ", ".join(known)
                raise ValueError(f"{shown(text)} uses an unknown {what} {shown(node.id)}; known: {listed}")
    code = compile(tree, "expression", "eval")

    def compute(values: Mapping[str, float]) -> float:
        try:
            return eval(code, {"__builtins__": {}, **functions}, dict(values))  # type: ignore[no-any-return]
        except (ArithmeticError, TypeError, ValueError) as error:
            raise ValueError(f"{shown(text)} fails: {error}") from None

    return compute


def _parsed(text: str) -> ast.Expression:
    if len(text) > LONGEST:
        raise ValueError(f"{shown(text)} is longer than {LONGEST} characters")
    try:
        return ast.parse(text.strip(), mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{shown(text)} is not an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # too deep: Python's parser has many ways
        raise ValueError(f"{shown(text)} is not an expression: {error or 'it is too deep'}") from None


def _foreign(text: str, what: str, functions: Functions) -> ValueError:
    return ValueError(
        f"{shown(text)} is not allowed: an expression has numbers, names, arithmetic, comparisons"
        f" and {', '.join(functions)}, but not {what}"
    )
