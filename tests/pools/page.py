"""The examples of docs/pools.md: what is tested is what is printed there."""

import re
from pathlib import Path
from typing import Any

import yaml

PAGE = Path(__file__).parents[2] / "docs" / "pools.md"


def block(title: str, language: str) -> str:
    """The first block in this language below this heading."""
    section = PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found, f"docs/pools.md has no {language} below {title!r}"
    return found[1]


def example(title: str, replaced: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The configuration below this heading, with these replacements for the test."""
    text = block(title, "yaml")
    for old, new in replaced.items():
        assert old in text, f"{old} is not in the example {title!r}:\n{text}"
        text = text.replace(old, new)
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


def image_of(title: str) -> str:
    """The image that the example names."""
    return str(example(title, {})["image"]["name"])


def packages(title: str) -> tuple[str, list[str]]:
    """Debian's suite, and the packages that the Dockerfile below this heading installs."""
    text = block(title, "Dockerfile")
    suite = re.search(r"^FROM debian:(\w+)-slim$", text, re.MULTILINE)
    install = re.search(r"--no-install-recommends (.*)$", text, re.MULTILINE)
    assert suite and install, f"not understood:\n{text}"
    return suite[1], install[1].split()
