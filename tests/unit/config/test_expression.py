"""Expressions: what they give, and that nothing expensive or dangerous is computed."""

import math

import pytest

from plancton.config.expression import LONGEST, Functions, compiled

FUNCTIONS: Functions = {"min": min, "round": lambda number: round(number)}
GOOD = {
    "a - 1": 3,
    " a ": 4,
    "min(a, b // 3)": 3,
    "round(a * 0.6) % 2": 0,
    "-a + +b / 2": 1.0,
    "0 if a > 2 and not b == 1 or a != 4 else 5": 0,
    "1 < a <= 4": True,
    "True": True,
    "9e999": math.inf,
}


@pytest.mark.parametrize("text", GOOD)
def test_good(text: str) -> None:
    """Numbers, names, arithmetic, comparisons, conditions and calls work as in Python."""
    assert compiled(text, ["a", "b"], FUNCTIONS)({"a": 4, "b": 10}) == GOOD[text]


BAD = {
    "a -": "is not an expression",
    "": "is not an expression",
    "a\nb": "is not an expression",
    "x = 5": "is not an expression",
    "import os": "is not an expression",
    "(" * LONGEST: "is not an expression",
    "c": "unknown name 'c'; known: a, b",
    "a if a else c": "unknown name 'c'",
    "min": "unknown name 'min'",
    "a(1)": "unknown function 'a'; known: min, round",
    "__import__(1)": "unknown function '__import__'",
    "a.real": "not Attribute",
    "().__class__.__bases__": "not Attribute",
    "a[0]": "not Subscript",
    "9**9**9": "not Pow",
    "1 << 999999999": "not LShift",
    "'x' * 3": "not 'x'",
    "'%999999999d' % 1": "not '%999999999d'",
    "b'x'": "not b'x'",
    "f'{1:>999999999}'": "not JoinedStr",
    "[1, 2]": "not List",
    "[x for x in (1,)]": "not ListComp",
    "(lambda: 1)()": "not Call",
    "lambda: 1": "not Lambda",
    "1(2)": "not Call",
    "(x := 1)": "not NamedExpr",
    "min(*a)": "not Starred",
    "min(1, key=a)": "not keyword",
    "1j": "not 1j",
    "None": "not None",
    "...": "not Ellipsis",
    "1" + "+1" * LONGEST: f"longer than {LONGEST}",
    "-" * 90_000 + "1": f"longer than {LONGEST}",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:30])
def test_bad(text: str) -> None:
    """Anything expensive or dangerous is refused in a short line, before it is computed."""
    with pytest.raises(ValueError) as caught:
        compiled(text, ["a", "b"], FUNCTIONS)
    said = str(caught.value)
    assert BAD[text] in said and len(said) < 300 and "\n" not in said


@pytest.mark.parametrize("text", ["-" * 500 + "1", "1" + "+1" * 450, "min(1," * 90 + ")" * 90])
def test_deep(text: str) -> None:
    """However deeply nested, it is computed or refused, but never crashes."""
    try:
        compiled(text, [], FUNCTIONS)({})
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["1 / (a - 4)", "1 % (a - 4)", "round(1, 2)", "round(9e999)"])
def test_fails(text: str) -> None:
    """What can't be computed with these values raises ValueError, too."""
    with pytest.raises(ValueError):
        compiled(text, ["a"], FUNCTIONS)({"a": 4})
