"""The architecture: which way imports go, and what each process has to load."""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import plancton

PACKAGE = Path(plancton.__file__).parent
ROOT = Path(__file__).parents[2]
RANKS = (
    {"__init__", "errors", "units", "files", "model", "inbox", "lean_imports", "paths"},
    {"running_supervisors", "request_files", "instance", "policy", "host", "docker", "history"},
    {"status_reading", "config"},
    {"workers", "monitoring"},
    {"daemon"},
    {"commands"},
    {"web"},
    {"cli"},
    {"__main__"},
)
"""Bottom first: a module imports what is below it, or in its own package."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def imports(tree: ast.AST) -> Iterator[str]:
    """Everything that a source imports, with full names: `a.b` and `a.b.c` for `from a.b import
    c`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own(tree: ast.AST) -> set[str]:
    """Our own modules among them, without the package's name."""
    return {name for name in (full.removeprefix("plancton.") for full in imports(tree)) if name in MODULES}


def part(module: str) -> str:
    return module.partition(".")[0]


def rank(module: str) -> int:
    return next(i for i, parts in enumerate(RANKS) if part(module) in parts)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    """A module imports only from below it, or from its own package."""
    up = [name for name in own(MODULES[module]) if part(name) != part(module) and rank(name) >= rank(module)]
    if rank(module) == 0:
        up = [name for name in up if rank(name) > 0]
    assert not up, f"{module} imports {up}"


def test_no_circle() -> None:
    """Imports have no circle."""
    try:
        graphlib.TopologicalSorter({name: own(tree) - {name} for name, tree in MODULES.items()}).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"imports go round: {' → '.join(error.args[1])}")


def test_everything_has_a_room() -> None:
    """Each module and package has exactly one rank."""
    places = [name for parts in RANKS for name in parts]
    assert sorted(places) == sorted({part(module) for module in MODULES} | {"__init__"})
    assert not any(a & b for a, b in pairwise(RANKS))


PURE = sorted({name for name in MODULES if name.startswith("policy.")} | {"model"})
READS = {"policy.replay", "policy.traces"}
"""They read recordings and traces, given as lines or files."""


@pytest.mark.parametrize("module", sorted(set(PURE) - READS))
def test_deciding_is_pure(module: str) -> None:
    """The policy uses no clock, file, socket, chance or log, nor anything that could open one."""
    allowed = {
        "bisect", "collections", "dataclasses", "enum", "functools", "itertools", "math", "msgspec",
        "plancton", "typing", "zlib",
    }  # fmt: skip
    seen = {part(name) for name in imports(MODULES[module])}
    assert seen <= allowed, f"{module} imports {seen - allowed}"
    calls = {
        n.func.id
        for n in ast.walk(MODULES[module])
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "eval", "exec"}, f"{module} calls {calls}"


@pytest.mark.parametrize(
    ("library", "users"),
    [
        ("plancton.host._sampler", {"host.notices", "host.sampler"}),
        ("plancton.commands.selftest._owner_load", {"commands.selftest.owner_load"}),
        ("requests", {"docker.transport"}),
        ("requests_unixsocket", {"docker.transport"}),
        ("urllib3", {"docker.transport"}),
        ("rich", {"commands.top", "cli.command_options"}),
        ("typer", {"cli.command_options"}),
        ("click", set()),
        ("yaml", {"config.safe_yaml", "config.show"}),
        ("sqlite3", {"history"}),
        ("ssl", {"monitoring.influx_client"}),
        ("starlette", {"web.server"}),
        ("uvicorn", {"web.server"}),
        ("termios", {"commands.top.terminal"}),
    ],
)
def test_who_uses_a_library(library: str, users: set[str]) -> None:
    """Each library has one place where it is used."""
    seen = {
        module
        for module, tree in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imports(tree))
    }
    foreign = {module for module in seen if not any(f"{module}.".startswith(f"{user}.") for user in users)}
    assert not foreign, f"{library} is imported by {foreign}, too"


def loaded_by(module: str) -> set[str]:
    """All modules that a fresh process has loaded after importing this one."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


def test_the_process_that_stays_is_lean() -> None:
    """The supervisor loads neither the command line nor the screen."""
    loaded = loaded_by("plancton.daemon.__main__")
    libraries = {part(name) for name in loaded}
    assert not libraries & {"typer", "rich", "click", "subprocess", "asyncio", "prometheus_client"}, libraries
    unwanted = ("plancton.cli", "plancton.commands", "plancton.monitoring", "plancton.web")
    foreign = {name for name in loaded if name.startswith(unwanted)}
    assert not foreign | (loaded & {"plancton.policy.replay"}), foreign
    unneeded = loaded & {"ssl", "_hashlib", "bz2", "lzma", "typing_extensions", "charset_normalizer"}
    assert not unneeded, f"{unneeded} must be left out, see lean_imports.py"


def test_the_command_line_starts_lean() -> None:
    """Every command loads only what parsing and `status` need."""
    loaded = loaded_by("plancton.cli.command_options")
    libraries = {part(name) for name in loaded}
    assert not libraries & {"yaml", "requests", "rich", "urllib3", "pydantic", "ssl"}, libraries
    rooms = ("config", "docker", "host", "policy", "workers", "daemon")
    heavy = {name for name in loaded if name.startswith(tuple(f"plancton.{room}." for room in rooms))}
    assert not heavy, f"plancton.cli.command_options loads {heavy}"


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__main__", "daemon.__main__"}))
def test_a_module_and_a_function_have_different_names(module: str) -> None:
    """No function is named like a module, except those that are all that their module is for."""
    words = {name.rpartition(".")[2] for name in MODULES} - {"observe", "decide", "replay", "init"}
    functions = {node.name for node in ast.walk(MODULES[module]) if isinstance(node, ast.FunctionDef)}
    methods = {
        node.name
        for owner in ast.walk(MODULES[module])
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef)
    }
    commands = {
        "status",
        "force_stop",
        "check",
        "prepare",
        "migrate",
        "doctor",
        "events",
        "report",
        "metrics",
        "selftest",
        "top",
        "web",
        "init",
        "run",
    }
    allowed = methods | (commands if module == "cli.command_options" else set())
    assert not functions & words - allowed, f"{module} has {functions & words - allowed}"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only the checkout has all folders")
def test_folders() -> None:
    """The top level has no folder in git but these."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", ROOT, "ls-files"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    folders = {line.partition("/")[0] for line in done.stdout.splitlines() if "/" in line}
    wanted = {"plancton", "csrc", "tests", "scripts", "docs", "examples", ".ci"}
    assert folders <= wanted, f"unexpected: {folders - wanted}"


def test_unit_tests_mirror_the_house() -> None:
    """Each unit test's directory corresponds to one in plancton/."""
    here = Path(__file__).parent
    rooms = {path.relative_to(here).parent for path in here.rglob("test_*.py")} - {Path()}
    missing = [room for room in sorted(rooms) if not (PACKAGE / room).is_dir()]
    assert not missing, f"tests/unit has rooms that plancton/ does not have: {missing}"
