"""docs/tour.md names files and functions, and sources name each other: they exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import plancton

ROOT = Path(__file__).parents[2]
PACKAGE = Path(plancton.__file__).parent
PAGE = (ROOT / "docs" / "tour.md").read_text()
PYTHONS = {"hashlib.py", "shutil.py", "zipfile.py"}
NAME = re.compile(r"(?:(?P<file>[\w/]+\.(?:py|c))(?:: |$))?(?P<name>[A-Za-z_][\w.]*)?(?P<call>\(\))?")


def named() -> Iterator[tuple[str, str]]:
    """Each file on the page, and each function and class with the file named last before it."""
    file = ""
    for text in re.findall(r"`([^`\n]+)`", PAGE):
        match = NAME.fullmatch(text)
        if match is None:
            continue
        if match["file"]:
            file = match["file"]
            yield file, ""
        name = match["name"]
        if name and (match["file"] or match["call"] or name[0].isupper()):
            yield file, name


def path_of(file: str) -> Path:
    return ROOT / file if file.startswith("csrc/") else PACKAGE / file


def defined(file: str) -> set[str]:
    """The functions, classes, methods and attributes of a source, and what it assigns."""
    if file.endswith(".c"):
        return set(re.findall(r"^\w[\w *]*\b(\w+)\(", path_of(file).read_text(), re.MULTILINE))
    found = set[str]()
    for node in ast.parse(path_of(file).read_text()).body:
        found |= {name.id for name in targets(node)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{member}" for member in members(node)}
    return found


def targets(node: ast.stmt) -> list[ast.Name]:
    if isinstance(node, ast.Assign):
        return [target for target in node.targets if isinstance(target, ast.Name)]
    return [node.target] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else []


def members(owner: ast.ClassDef) -> set[str]:
    """Its methods, and what they assign to `self`."""
    stored = (node for node in ast.walk(owner) if isinstance(node, ast.Attribute))
    methods = {node.name for node in owner.body if isinstance(node, ast.FunctionDef)}
    return methods | {node.attr for node in stored if isinstance(node.ctx, ast.Store)}


def test_files_exist() -> None:
    """Each file that the tour names exists."""
    files = {file for file, _ in named()}
    assert len(files) >= 15, f"the page's files were not found: {files}"
    missing = sorted(file for file in files if not path_of(file).is_file())
    assert not missing, f"docs/tour.md names {missing}"


def test_names_exist() -> None:
    """Each function and class is in the file that the tour names it with."""
    names = {(file, name) for file, name in named() if name}
    assert len(names) >= 30, f"the page's names were not found: {names}"
    data = defined("model.py")  # may be named anywhere
    missing = sorted(f"{file}: {name}" for file, name in names if name not in defined(file) | data)
    assert not missing, f"docs/tour.md names {missing}"


@pytest.mark.parametrize("source", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_files_that_sources_name(source: Path) -> None:
    """A source names others of ours as they are called now: beside it, or with their folder."""
    ours = {path.name for path in [*PACKAGE.rglob("*.py"), *(ROOT / "csrc").glob("*.c")]}
    text = source.read_text()
    folders = "|".join(sorted(path.name for path in PACKAGE.iterdir() if path.is_dir()))
    alone = re.findall(r"(?<![\w./-])\w+\.py\b", text)
    assert not {name for name in alone if name not in ours | PYTHONS}
    placed = re.findall(rf"(?<![\w./-])(?:plancton/)?((?:{folders})/[\w/]+\.py)\b", text)
    assert not [path for path in placed if not (PACKAGE / path).is_file()]
