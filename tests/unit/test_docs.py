"""The pages build into a site, and their links work."""

import re
import sys
from pathlib import Path

import pytest
from unit.programs import call

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])


def test_mkdocs(tmp_path: Path) -> None:
    """The pages build into a site: each is in the menu, and every link and anchor between them
    works."""
    site: list[str | Path] = ["--config-file", ROOT / "mkdocs.yml", "--site-dir", tmp_path]
    call(sys.executable, "-m", "mkdocs", "build", "--strict", *site)
    assert (tmp_path / "index.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    """Links lead to existing files and headings; those in docs/ stay there, as a site has nothing
    else."""
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), f"{link}: there is no such file"
        assert page.parent != DOCS or target.resolve().parent == DOCS, f"{link} leaves docs/"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


def anchors(page: Path) -> set[str]:
    """Anchors as hosting sites and mkdocs make them from headings."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_paths_for_developers() -> None:
    """docs/development.md names files and folders that exist."""
    page = (DOCS / "development.md").read_text()
    named = re.findall(r"(?<![\w/.])(?:csrc|docs|plancton|scripts|tests)/[\w./-]*\w", page)
    assert len(named) > 20, named
    missing = [path for path in named if path != "tests/unit/P" and not (ROOT / path).exists()]
    assert not missing, missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose(page: Path) -> None:
    """Prose has at most 100 characters a line; tables, commands and what they print may have
    more."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "    "))]
    long = [line for line in lines if len(line) > 100]
    assert not long, long


def test_threats() -> None:
    """Every test that docs/security.md names exists, and every threat names one or says that there
    is none."""
    rows = re.findall(r"^\| (.+) \|$", (DOCS / "security.md").read_text(), re.MULTILINE)
    named = re.findall(r"`((?:docker|unit|host|htcondor)/[\w/]+\.py)(?:::(\w+))?`", "\n".join(rows))
    assert len(named) > 25, f"the table was not found: {named}"
    tests = ROOT / "tests"
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (tests / file).is_file() or f"def {name or 'test_'}" not in (tests / file).read_text()
    ]
    assert not missing, missing
