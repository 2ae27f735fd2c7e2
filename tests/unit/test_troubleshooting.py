"""docs/troubleshooting.md compared with the source of `plancton doctor`."""

import ast
from pathlib import Path

from plancton.commands import doctor

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def findings() -> dict[str, set[str]]:
    """For each subject of doctor, its messages that are not ok: each one's longest fixed part."""
    found: dict[str, set[str]] = {}
    parts = ("findings", "on_docker", "on_kernel")
    files = (Path(doctor.__path__[0], f"{part}.py") for part in parts)
    functions = [node for file in files for node in ast.parse(file.read_text()).body]
    for function in functions:
        if isinstance(function, ast.FunctionDef):
            names = assigned(function, "subject", "text")
            for call in sorted(calls(function), key=lambda call: call.lineno):
                subject, text, *_ = (latest(names, argument) for argument in call.args)
                said = found.setdefault(texts(subject)[0], set())
                if ast.unparse(call.func) != "ok":
                    said.add(max(texts(text), key=len, default="").strip(" ,:();"))
    return found


def calls(function: ast.FunctionDef) -> list[ast.Call]:
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    return [node for node in nodes if ast.unparse(node.func) in ("ok", "better", "broken")]


def assigned(function: ast.FunctionDef, *names: str) -> list[tuple[str, int, ast.expr]]:
    """What is assigned to these names, and on which line."""
    found: list[tuple[str, int, ast.expr]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            assert isinstance(node.value, ast.Tuple)
            pairs = zip(node.targets[0].elts, node.value.elts, strict=True)
            found += [(ast.unparse(name), node.lineno, value) for name, value in pairs]
        elif isinstance(node, ast.Assign):
            found.append((ast.unparse(node.targets[0]), node.lineno, node.value))
        elif isinstance(node, ast.AugAssign):
            found.append((ast.unparse(node.target), node.lineno, node.value))
    return [each for each in found if each[0] in names]


def latest(names: list[tuple[str, int, ast.expr]], argument: ast.expr) -> ast.expr:
    """The value of a name there; anything else stands for itself."""
    before = [each for each in names if each[0] == ast.unparse(argument) and each[1] < argument.lineno]
    return max(before, key=lambda each: each[1])[2] if before else argument


def texts(expression: ast.expr) -> list[str]:
    nodes = [node for node in ast.walk(expression) if isinstance(node, ast.Constant)]
    return [node.value for node in nodes if isinstance(node.value, str)]


def test_every_finding_of_the_doctor_is_explained() -> None:
    """docs/troubleshooting.md has a heading for each thing that `plancton doctor` has a line about,
    and in it each message that is not ok."""
    page = PAGE.read_text()
    sections = {part.partition("`")[0]: part for part in page.split("\n## `")[1:]}
    expected = findings()
    assert set(sections) == set(expected), set(sections) ^ set(expected)
    for subject, messages in expected.items():
        for message in messages:
            assert message in sections[subject], f"{subject}: {message}"
