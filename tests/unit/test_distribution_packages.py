"""The Debian package and the RPM spec, as far as they can be compared with what they repeat.

`tests/host/test_debian_package.py` builds and installs the former.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from plancton.commands.install.init_systems import UNITS
from plancton.files import SHARE

ROOT = Path(__file__).parents[2]
DEBIAN, SPEC = ROOT / "scripts/debian-package/debian", ROOT / "scripts/rpm-package/plancton.spec"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
Needs = set[tuple[str, str, str]]
"""Names, with a relation and a version each."""


def needed(requirements: list[str], names: dict[str, str]) -> Needs:
    """What these requirements are where some packages have other names."""
    found = [re.fullmatch(r"([\w-]+)(.+)", each) for each in requirements]
    pairs = [(match[1], bound) for match in found if match for bound in match[2].split(",")]
    split = [(name, *re.split(r"(?<=[=<])(?=\d)", bound)) for name, bound in pairs]
    return {(f"python3-{names.get(name, name)}", relation, version) for name, relation, version in split}


def field(name: str) -> Needs:
    """Python's packages in a field of debian/control."""
    (text,) = re.findall(
        rf"^{name}:\n((?:[ #].*\n)+)", (DEBIAN / "control").read_text().partition("Package:")[2], re.M
    )
    found = re.findall(r"^ (python3-[\w-]+) \((>=|<<) (.+)\),$", text, re.M)
    return {(package, relation.replace("<<", "<"), version) for package, relation, version in found}


def test_debian_dependencies() -> None:
    """debian/control has the dependencies of pyproject.toml and their versions."""
    wanted = needed(PROJECT["dependencies"], {"PyYAML": "yaml", "cffi": "cffi-backend"})
    wanted -= {("python3-requests-unixsocket", ">=", "0.4.1")}
    wanted |= {("python3-requests-unixsocket", ">=", "0.3.0-5")}  # Debian's has what that brought
    assert field("Depends") == wanted
    assert field("Suggests") == needed(PROJECT["optional-dependencies"]["web"], {})


def test_rpm_dependencies() -> None:
    """And so has the RPM spec."""
    wanted = needed(PROJECT["dependencies"], {"PyYAML": "pyyaml"})
    lines = re.findall(r"^Requires: +(.+)$", SPEC.read_text(), re.M)
    assert set(re.findall(r"(python3-[\w-]+) (>=|<) ([\d.]+)", "\n".join(lines))) == wanted


def test_units() -> None:
    """Both bring the units that scripts/install brings: all that are there."""
    found = {path.name for pattern in ("*.service", "*.slice", "*.timer") for path in SHARE.glob(pattern)}
    assert found == set(UNITS)
    for recipe in (DEBIAN / "rules", SPEC):
        assert re.search(r"for unit in (\S+)/\*.service \1/\*.slice \1/\*.timer", recipe.read_text()), recipe


def test_source_of_the_minified() -> None:
    """The Debian package has the source of the page's minified library, of the same version."""
    version = r"uPlot \(v([\d.]+)\)"
    minified, source = ROOT / "plancton/web/static/uplot.js", DEBIAN / "missing-sources/uplot.js"
    found = [re.findall(version, path.read_text()) for path in (minified, source)]
    assert found[0] and found[0] == found[1]


@pytest.mark.parametrize(
    "script",
    [
        *(DEBIAN / f"plancton.{name}" for name in ("preinst", "postinst", "prerm", "postrm")),
        *(DEBIAN / "tests" / name for name in ("command", "host")),
        DEBIAN.parent / "build",
        SPEC.parent / "build",
        ROOT / "tests/host/machine/debs",
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_shell(script: Path) -> None:
    """shellcheck finds no fault in the scripts, which are POSIX sh."""
    done = subprocess.run(
        ["shellcheck", "-x", "--shell=sh", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout
