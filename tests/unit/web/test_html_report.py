"""The page with its data inside."""

import base64
import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from helpers.web_page import PLANCTON, Home

from plancton.web.html_report import MODULES, written_page
from plancton.web.page import STATIC


def report(home: Home, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [PLANCTON, "report", *arguments]
    return subprocess.run(command, env=home.environ, capture_output=True, text=True, timeout=60)


def test_only_its_own_scripts_run() -> None:
    """Its policy names each script and style in it by what is in it, and the data can't end its
    place."""
    text = written_page(b'{"text": "</script><script>alert(1)</script>"}')
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "unsafe" not in policy[1] and "default-src 'none'" in policy[1]
    inside = re.findall(r"<(?:script|style)(?: type=\"module\")?>(.*?)</(?:script|style)>", text, re.DOTALL)
    assert len(inside) == 3 and "alert(1)" not in "".join(inside)
    for each in inside:
        assert base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() in policy[1]


def test_modules_become_one() -> None:
    """No import or export is left of them, and none imports what comes after it."""
    text = written_page(b"{}")
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    for place, name in enumerate(MODULES):
        source = (STATIC / f"{name}.js").read_text()
        imported = re.findall(r'^import \{[^}]*\} from "\./(\w+)\.js";$', source, re.MULTILINE)
        assert len(imported) == len(re.findall(r"^import\b", source, re.MULTILINE))
        assert set(imported) <= set(MODULES[:place]), name


def test_license() -> None:
    """The library that draws the charts comes with its license, and says which version it is."""
    assert "MIT License" in (STATIC / "uplot.LICENSE").read_text()
    assert "uPlot (v1.6.32)" in (STATIC / "uplot.js").read_text()[:100]


@pytest.mark.parametrize("place", ["none/report.html", ".", "/proc/report.html", "link.html"])
def test_where_it_cannot_be_written(home: Home, tmp_path: Path, place: str) -> None:
    """One line names the file. A link, as /dev/stdout is one, is neither followed nor replaced."""
    home.write_history(1)
    (tmp_path / "link.html").symlink_to(tmp_path / "other")
    done = report(home, "--html", tmp_path / place)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "--html" in line and "can't be written" in line, done
    assert (tmp_path / "link.html").is_symlink() and not (tmp_path / "other").exists()


def test_without_a_history(home: Home, tmp_path: Path) -> None:
    """Without a history there is nothing to write, and nothing is."""
    done = report(home, "--html", tmp_path / "report.html")
    assert done.returncode == 2 and "no history yet" in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_without_a_supervisor(home: Home, tmp_path: Path) -> None:
    """The past is told whether a supervisor runs now or not."""
    home.write_history(2)
    done = report(home, "--html", tmp_path / "report.html")
    assert done.returncode == 0 and done.stdout.startswith("Wrote "), done
    assert "not running" in (tmp_path / "report.html").read_text()
