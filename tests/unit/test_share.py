"""The package's completions and man page: up to date, and accepted by the programs that read
them."""

import os
import re
import sys
from pathlib import Path

from unit.programs import call

ROOT = Path(__file__).parents[2]
SHARE, BIN = ROOT / "plancton" / "share", Path(sys.executable).parent
MAN = SHARE / "plancton.1"
PATH = f"{BIN}:{os.environ['PATH']}"
"""Where shells find the plancton that they ask."""


def test_generated_files_are_up_to_date() -> None:
    """The generated files are what scripts/docs makes of the schema and the command line."""
    call(sys.executable, ROOT / "scripts" / "docs", "--check")


# ---------------------------------------------------------------- the man page


def test_man_page() -> None:
    """groff and mandoc accept it without a complaint, and it has all commands."""
    assert call("groff", "-ww", "-z", "-k", "-man", "-T", "utf8", MAN) == ""
    assert call("mandoc", "-T", "lint", "-W", "error", MAN) == ""
    shown = call("man", "-l", MAN, MANWIDTH="80", MANPAGER="cat", LC_ALL="C.UTF-8")
    for command in ("run", "check", "doctor", "status", "stop"):
        assert re.search(rf"^   {command}\b", shown, re.MULTILINE), shown


# ---------------------------------------------------------------- completion


def test_completion_in_bash() -> None:
    """bash completes a command's name."""
    script = (
        'source "$1"; complete -p plancton;'
        'COMP_WORDS=(plancton st) COMP_CWORD=1; _plancton_completion plancton; echo "${COMPREPLY[@]}"'
    )
    assert (
        call("bash", "--norc", "-c", script, "bash", SHARE / "plancton.bash", PATH=PATH).splitlines()[-1]
        == "status stop"
    )


def test_completion_in_fish(tmp_path: Path) -> None:
    """fish completes a command's name, and a command's options."""
    script = "source $argv[1]; complete -C 'plancton st'; complete -C 'plancton status --'"
    file = SHARE / "plancton.fish"
    # Where the locale is not installed, fish gives programs another PATH if that is not ASCII.
    environ = {"HOME": str(tmp_path), "PATH": PATH, "LC_ALL": "C.UTF-8"}
    lines = call("fish", "--no-config", "-c", script, file, **environ).splitlines()
    assert [line.partition("\t")[0] for line in lines] == ["status", "stop", "--help", "--json"]


ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=(${(q)1} \\$fpath); autoload -Uz compinit; compinit -u -d ${(q)2}; echo READ''Y"
zpty -r -m shell out '*READY*'
zpty -w -n shell $'plancton self\\t'
for i in {1..200}; do
  sleep 0.1
  zpty -r -t shell part && out+=$part
  [[ $out == *selftest* ]] && exit 0
done
print -r -- $out
exit 1
"""


def test_completion_in_zsh(tmp_path: Path) -> None:
    """zsh finds the file by its first line, and completes at the first TAB."""
    call("zsh", "-f", "-c", ZSH, "zsh", SHARE, tmp_path / "dump", TERM="dumb", PATH=PATH)
