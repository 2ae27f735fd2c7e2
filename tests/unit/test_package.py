"""What `python -m build` makes of a checkout, and that it works without compiler and checkout."""

import hashlib
import json
import runpy
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import msgspec
import pytest
from spdx_tools.spdx.parser.jsonlikedict.json_like_dict_parser import JsonLikeDictParser
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from unit.programs import call

import plancton

ROOT = Path(__file__).parents[2]


class Built(msgspec.Struct, frozen=True):
    """The two archives, and the build's output."""

    sdist: Path
    wheel: Path
    log: str


def tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build from a copy, as a build leaves files in its folder."""
    directory = tmp_path_factory.mktemp("package")
    source, out = directory / "source", directory / "dist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "*.so", "_*.c"))
    log = call(sys.executable, "-m", "build", "--outdir", out, source)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return Built(sdist, wheel, log)


def test_one_wheel_of_the_sdist(built: Built) -> None:
    """One sdist, and from it one wheel for every Python from 3.11 on, both with the package's
    version."""
    assert "Building wheel from sdist" in built.log
    assert built.sdist.name == f"plancton-{plancton.__version__}.tar.gz"
    assert built.wheel.name.startswith(f"plancton-{plancton.__version__}-cp311-abi3-linux_")


def test_all_files_are_in_the_wheel(built: Built) -> None:
    """The wheel has every file of the package, the C as stable-ABI modules, and nothing else."""
    wanted = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "plancton").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".so", ".c")
    }
    assert {"plancton/py.typed", "plancton/share/gitconfig"} <= wanted
    wanted |= {
        "plancton/host/_sampler.abi3.so",
        "plancton/commands/selftest/_owner_load.abi3.so",
    }
    found = {name for name in zipfile.ZipFile(built.wheel).namelist() if ".dist-info/" not in name}
    assert found == wanted, f"missing {wanted - found}, unexpected {found - wanted}"


def test_sdist_has_the_sources(built: Built) -> None:
    """The sdist has everything that the wheel is built from, the C and the licence included."""
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").iterdir() if path.is_file()}
    wanted = {*sources, "LICENSE", "README.md", "pyproject.toml", "setup.py", "plancton/py.typed"}
    assert wanted <= names, f"missing {wanted - names}"


def test_contents(built: Built) -> None:
    """Beside each archive scripts/contents writes what it is and needs, as SPDX, which SPDX's own
    validator takes."""
    call(sys.executable, ROOT / "scripts/contents", built.wheel.parent)
    for file in (built.wheel, built.sdist):
        written = file.with_name(f"{file.name}.spdx.json")
        whole, *needed = json.loads(written.read_text())["packages"]
        assert (whole["name"], whole["versionInfo"]) == ("plancton", plancton.__version__)
        assert whole["licenseDeclared"] == "GPL-3.0-or-later"
        assert whole["checksums"][0]["checksumValue"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert {"msgspec", "cffi", "typer", "uplot"} <= {part["name"] for part in needed}
        assert "pytest" not in {part["name"] for part in needed}
        assert validate_full_spdx_document(parse_file(str(written))) == []


def test_image_contents() -> None:
    """The list of what is inside the worker's image, from dpkg's names, versions and architectures."""
    script = runpy.run_path(str(ROOT / "scripts/worker-image/build"))
    inside = ("r/x:1.0", "0" * 64, "1" * 64, "a+b 1:2.0~rc1+dfsg-1 amd64\nc 1 all\n")
    text = script["spdx"](*inside)
    parsed = json.loads(text)
    names = [part["name"] for part in parsed["packages"]]
    assert names == ["plancton-worker", "plancton-worker-files", "a+b", "c"]
    (place,) = parsed["packages"][2]["externalRefs"]
    assert place["referenceLocator"] == ("pkg:deb/debian/a%2Bb@1%3A2.0~rc1%2Bdfsg-1?arch=amd64&distro=trixie")
    assert text == script["spdx"](*inside)
    parser = JsonLikeDictParser()  # type: ignore[no-untyped-call]
    assert validate_full_spdx_document(parser.parse(parsed)) == []


def test_abi3audit(built: Built) -> None:
    """The C modules use only the stable ABI of Python 3.11, so every later version can load
    them."""
    call(tool("abi3audit"), "--strict", "--assume-minimum-abi3", "3.11", built.wheel)


def test_auditwheel(built: Built) -> None:
    """The wheel needs only the C library, so it runs on any distribution of this age or newer."""
    said = " ".join(call(tool("auditwheel"), "show", built.wheel).split())
    assert 'consistent with the following platform tag: "manylinux_2_' in said, said
    assert "libc.so.6" in said and said.count(".so.") == 1, said


def test_twine(built: Built) -> None:
    """An index would accept both, and can show the description."""
    said = call(tool("twine"), "check", "--strict", built.sdist, built.wheel)
    assert said.count("PASSED") == 2, said


def test_a_host_without_a_compiler_needs_none(built: Built, tmp_path: Path) -> None:
    """The wheel and its dependencies install with no program in PATH, and the C works."""
    call(sys.executable, "-m", "venv", tmp_path / "venv")
    scripts, nothing = tmp_path / "venv/bin", {"PATH": "/nonexistent", "CC": "/nonexistent"}
    call(scripts / "pip", "install", "--quiet", "--only-binary", ":all:", built.wheel, **nothing)
    assert call(scripts / "plancton", "--version", **nothing) == f"plancton {plancton.__version__}\n"
    own = {**nothing, "PLANCTON_RUN_DIR": str(tmp_path), "PLANCTON_STATE_DIR": str(tmp_path)}
    assert '"owner"' in call(scripts / "plancton", "top", "--json", **own)
