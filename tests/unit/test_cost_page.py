"""scripts/cost/page.py: measurements as a table, a picture and the README's sentence."""

import re
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest
from cost.page import BEGIN, BEGIN_SCALE, END, claimed, curves, filled, picture, scale_table, table
from cost.turns import NOBODY, Measurement

ROOT = Path(__file__).parents[2]
MEASURED = [
    Measurement(1, NOBODY, 0.0, 0.2, 0.0, 0.0, 0.0),
    Measurement(1, "`loud` & co", 2.0, 5.2, 40.0, 12.0, 900.0),
    Measurement(2, "`loud` & co", 3.0, 5.4, 40.0, 12.0, 900.0),
    Measurement(1, "Plancton", 0.02, 0.1, 28.0, 0.25, 200.0),
]


def test_table() -> None:
    """The cheapest is first, dockerd's CPU is what nobody's turn does not have, and who is missing
    is named."""
    rows = list(table(MEASURED, {"other": "no such package"}))[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| Plancton", "| `loud` & co", "| other"]
    assert "| 0.02 (0.02–0.02) | 0 (0–0) | 28 (28–28) | 0.25 (0.25–0.25) |" in rows[0]
    assert "| 2.5 (2–3) | 5.1 (5–5.2) |" in rows[1] and "no such package" in rows[2]


def test_picture() -> None:
    """It is well-formed, and has a dot for each value on the scale."""
    root = xml.fromstring(picture(MEASURED))
    dots = [each for each in root.iter() if each.tag.endswith("circle")]
    assert len(dots) == 3 + 2, "two of the loud one, one of ours, and the two that say what they are"


def test_filled() -> None:
    """What was between the marks is replaced; a page without them is refused."""
    page = filled(f"a\n{BEGIN}\nold\n{END}\nb\n", ["new"])
    assert "old" not in page and filled(page, ["new"]) == page and page.endswith(f"{END}\nb\n")
    with pytest.raises(ValueError, match="lacks"):
        filled("a", ["new"])


def test_scale() -> None:
    """Each number of workers and of CPUs has its column, and its dot in the picture, on which
    more is higher."""
    ticks = {"workers": {1: 200.0, 1000: 900.0}, "CPUs": {2: 210.0, 64: 220.0, 256: 240.0}}
    assert "| CPUs | 2 | 64 | 256 |" in list(scale_table(ticks))
    root = xml.fromstring(curves(ticks))
    heights = [float(each.attrib["cy"]) for each in root.iter() if each.tag.endswith("circle")]
    assert len(heights) == 5 and heights[0] > heights[1] and heights[2] > heights[4], heights


def test_the_page_takes_both() -> None:
    """docs/cost.md has a place for each of the tables."""
    page = (ROOT / "docs/cost.md").read_text()
    assert filled(filled(page, ["one"]), ["two"], BEGIN_SCALE).count("one\n") == 1


def test_claimed() -> None:
    """The README has the sentence that is filled in."""
    readme = (ROOT / "README.md").read_text()
    assert "**: 0.77 % of one core and " in claimed(readme, 0.77)


def test_the_claim_is_the_table_s() -> None:
    """What the README says of CPU is what the page's table has."""
    page = (ROOT / "docs/cost.md").read_text()
    row = re.search(r"^\| Plancton \| ([\d.]+) ", page, re.M)
    assert row, "docs/cost.md has no line of ours"
    assert f"**: {row[1]} % of one core" in (ROOT / "README.md").read_text()
