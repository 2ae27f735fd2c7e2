"""The walls between the modules, seen in fresh processes and in the sources."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import plancton

PACKAGE = Path(plancton.__file__).parent
ROOT = Path(__file__).parents[2]
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))


def source(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def imports(module: str) -> set[str]:
    """The top-level modules that a source imports anywhere, those only for type checkers left out."""
    found = set[str]()
    for node in walk(source(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return []
    return [node, *(below for child in ast.iter_child_nodes(node) for below in walk(child))]


def top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def loaded_by(module: str) -> set[str]:
    """All modules that a fresh process has after importing this one."""
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["policy", "observe", "window", "model"])
def test_pure_modules_load_nothing(module: str) -> None:
    """Who decides reaches no socket, process or network, not even through what it imports."""
    loaded = loaded_by(f"plancton.{module}")
    for name in ("socket", "subprocess", "requests", "ssl", "urllib3", "yaml", "logging"):
        assert name not in loaded, f"plancton.{module} loads {name}"


@pytest.mark.parametrize("module", ["policy", "observe", "window", "model"])
def test_pure_modules_import_nothing(module: str) -> None:
    """Who decides reads no clock, no file, no chance, and keeps no log."""
    seen = top(imports(module)) & {"time", "os", "datetime", "random", "logging", "pathlib", "io", "sys"}
    assert not seen, f"plancton.{module} imports {seen}"
    names = {
        n.func.id
        for n in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert not names & {"open", "print", "input", "eval", "exec"}, f"plancton.{module} calls {names}"


@pytest.mark.parametrize(
    ("what", "who"),
    [
        ("plancton._sampler", {"sampler"}),
        ("plancton._load", {"load"}),
        ("requests", {"docker"}),
        ("requests_unixsocket", {"docker"}),
        ("urllib3", {"docker"}),
        ("rich", {"top", "keyboard", "cli"}),
        ("typer", {"cli"}),
        ("click", set()),
        ("yaml", {"config"}),
        ("simpleeval", {"config"}),
        ("termios", {"keyboard"}),
    ],
)
def test_who_imports(what: str, who: set[str]) -> None:
    """Each library has one place where it is used."""
    seen = {
        module
        for module in MODULES
        if any(name == what or name.startswith(f"{what}.") for name in imports(module))
    }
    assert seen <= who, f"{what} is imported by {seen - who}, too"


def test_the_long_running_process_is_lean() -> None:
    """The supervisor carries neither the command line nor the screen."""
    seen = top(loaded_by("plancton.supervisor"))
    assert not seen & {"typer", "rich", "click", "subprocess", "asyncio", "prometheus_client"}, seen
    assert not {"plancton.cli", "plancton.top", "plancton.keyboard", "plancton.replay"} & loaded_by(
        "plancton.supervisor"
    )


def test_the_command_line_starts_lean() -> None:
    """What every command loads is only what parsing and `status` need."""
    loaded = loaded_by("plancton.cli")
    assert not top(loaded) & {"yaml", "requests", "rich", "simpleeval", "urllib3", "pydantic", "ssl"}, loaded
    for module in ("config", "docker", "supervisor", "top", "sampler", "policy"):
        assert f"plancton.{module}" not in loaded, f"plancton.cli loads plancton.{module}"


def test_everything_imports_by_itself() -> None:
    """Each module can be imported first: there is no circle."""
    code = "; ".join(
        [
            "import importlib, sys",
            "drop = lambda: [sys.modules.pop(m) for m in list(sys.modules) if m.startswith('plancton.')]",
            "[importlib.import_module(f'plancton.{m}') for m in sys.argv[1:] if drop() or True]",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *(m for m in MODULES if not m.startswith("__"))],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_only_the_loop_knows_all() -> None:
    """No module but the command line imports the supervisor; only 0.6's command imports the command line."""
    for module in MODULES:
        seen = imports(module)
        assert "plancton.cli" not in seen or module == "planctonctl", f"{module} imports the command line"
        assert "plancton.supervisor" not in seen, f"{module} imports the supervisor"


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
