"""Expressions: what they give, and that nothing expensive or dangerous is computed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plancton.config.expression import LONGEST, compiled

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
    values = {"a": 4, "b": 10}
    assert compiled(text, ["a", "b"]).compute(lambda ref: values[ref[0]]) == GOOD[text]


BAD = {
    "a -": "is not an expression",
    "": "is not an expression",
    "a\nb": "is not an expression",
    "x = 5": "is not an expression",
    "import os": "is not an expression",
    "(" * LONGEST: "is not an expression",
    "c": "unknown name 'c'; known: a, b",
    "mim(a, b)": "unknown function 'mim'; did you mean 'min'?",
    "a if a else c": "unknown name 'c'",
    "min": "unknown name 'min'",
    "a(1)": "unknown function 'a'; known: min, max, int, round",
    "__import__(1)": "unknown function '__import__'",
    "a.real": "not 'a.real'",
    "().__class__.__bases__": "not '().__class__",
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
        compiled(text, ["a", "b"])
    said = str(caught.value)
    assert BAD[text] in said and len(said) < 300 and "\n" not in said


@pytest.mark.parametrize("text", ["-" * 500 + "1", "1" + "+1" * 450, "min(1," * 90 + ")" * 90])
def test_deep(text: str) -> None:
    """However deeply nested, it is computed or refused, but never crashes."""
    try:
        compiled(text, []).compute(lambda ref: None)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["1 / (a - 4)", "1 % (a - 4)", "round(1, 2)", "round(9e999)"])
def test_fails(text: str) -> None:
    """What can't be computed with these values raises ValueError, too."""
    with pytest.raises(ValueError):
        compiled(text, ["a"]).compute(lambda ref: 4)


# ---------------------------------------------------------------- what is unknown

UNKNOWN: dict[str, float | None] = {
    "x": None,
    "not x": None,
    "x < 3": None,
    "min(x, 3)": None,
    "-x + 1": None,
    "x and t": None,
    "x and f": False,
    "f and x": False,
    "x or t": True,
    "t or x": True,
    "x or f": None,
    "5 < x < 3": None,
    "3 < 1 < x": False,
    "1 if x else 2": None,
    "1 if x or t else 2": 1,
    "x if t else 2": None,
    "x if f else 2": 2,
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown(text: str) -> None:
    """What depends on an unknown value is unknown; what the known ones decide is not."""
    values = {"x": None, "t": True, "f": False}
    assert compiled(text, values).compute(lambda ref: values[ref[0]]) is UNKNOWN[text]


def test_only_what_counts_is_read() -> None:
    """A value that can't change the result is not read."""
    asked: list[tuple[str, ...]] = []

    def read(reference: tuple[str, ...]) -> bool:
        asked.append(reference)
        return reference == ("a",)

    assert compiled("a or b", ["a", "b"]).compute(read) is True
    assert asked == [("a",)]


# ---------------------------------------------------------------- questions, texts, reasons


def check(texts: tuple[str, ...]) -> None:
    if "bad" in texts:
        raise ValueError("'bad' is bad")


QUESTIONS = {"asks": check}


def test_questions() -> None:
    """A function that is asked about texts is read like a name, by its texts."""
    rule = compiled('a > 1 and asks("x", "y")', ["a"], QUESTIONS)
    assert rule.references == (("a",), ("asks", "x", "y"))
    values = {("a",): 2.0, ("asks", "x", "y"): False}
    assert rule.compute(values.__getitem__) is False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('asks("bad")', "asks: 'bad' is bad"),
        ("asks(a)", "texts in quotes only"),
        ("asks(1)", "texts in quotes only"),
        ('asks("x", key="y")', "not "),
        ("asks", "unknown name 'asks'"),
        ('min("x", "y")', "not 'x'"),
        ('"25%"', "not '25%'"),
        ('"x" if a else 1', "not 'x'"),
        ('ask("x")', "did you mean 'asks'?"),
    ],
)
def test_bad_questions(text: str, said: str) -> None:
    """Texts are allowed as what a function is asked about, and nowhere else."""
    with pytest.raises(ValueError) as caught:
        compiled(text, ["a"], QUESTIONS)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_text_as_a_result() -> None:
    """Where the caller allows it, the whole expression may give a text, and says which."""
    rule = compiled('"25%" if a else "50%" if b else 3', ["a", "b"], may_give_text=True)
    assert set(rule.results) == {"25%", "50%"}
    assert rule.compute(lambda ref: ref == ("b",)) == "50%"
    for text in ('a + "25%"', '"25%" < a', '"x" and a', 'min("1", a)', '"%9d" % a', "b'25%'"):
        with pytest.raises(ValueError):
            compiled(text, ["a"], may_give_text=True)


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("t or f", "t"),
        ("f or t or u", "t"),
        ("t and u", "t u"),
        ("f and t", "f"),
        ("f or x", "f x"),
        ("not f", "f"),
        ("n > 2 and t", "n t"),
        ("t if u else f", "u t"),
        ("t and (f or n > 1)", "t n"),
        ("3 > 2", ""),
        ("t or 1 / z > 1", "t"),
        ("f and 1 / z > 1", "f"),
    ],
)
def test_reasons(text: str, reasons: str) -> None:
    """It tells which names its value is because of."""
    values = {"t": True, "u": True, "f": False, "n": 3, "x": None, "z": 0}
    rule = compiled(text, values)
    assert rule.reasons(lambda ref: values[ref[0]]) == tuple((name,) for name in reasons.split())


NAMES = {"t": True, "f": False, "n": 3, "z": 0, "h": 2.5}
ATOMS = st.sampled_from([*NAMES, "0", "1", "7", "0.5"])


def larger(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = ["+", "-", "*", "/", "//", "%", "<", "<=", ">", ">=", "==", "!=", "and", "or"]
    binary = st.builds("({} {} {})".format, part, st.sampled_from(operators), part)
    chain = st.builds("({} < {} <= {})".format, part, part, part)
    choice = st.builds("({} if {} else {})".format, part, part, part)
    return st.one_of(binary, chain, choice, st.builds("(not {})".format, part), st.builds("-{}".format, part))


@given(st.recursive(ATOMS, larger, max_leaves=12))
def test_as_python_does(text: str) -> None:
    """With all values known, an expression gives what Python gives, and its reasons are of it."""
    try:
        rule = compiled(text, NAMES)
    except ValueError as error:
        assert "longer than" in str(error)
        return
    try:
        expected = eval(text, {}, dict(NAMES))
    except ArithmeticError:
        with pytest.raises(ValueError):
            rule.compute(lambda ref: NAMES[ref[0]])
        return
    seen = rule.compute(lambda ref: NAMES[ref[0]])
    assert seen == expected and bool(seen) is bool(expected)
    assert set(rule.reasons(lambda ref: NAMES[ref[0]])) <= set(rule.references)


@given(st.recursive(ATOMS, larger, max_leaves=12), st.dictionaries(st.sampled_from([*NAMES]), st.none()))
def test_unknown_changes_nothing_that_is_decided(text: str, hidden: dict[str, None]) -> None:
    """With some values unknown, the result is unknown or the same as with all of them."""
    some = {**NAMES, **hidden}
    try:
        rule = compiled(text, NAMES)
        whole = rule.compute(lambda ref: NAMES[ref[0]])
        seen = rule.compute(lambda ref: some[ref[0]])
    except ValueError:
        return
    assert seen is None or bool(seen) is bool(whole)
    rule.reasons(lambda ref: some[ref[0]])
