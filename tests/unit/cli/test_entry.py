"""What `plancton` understands without its parser."""

import subprocess
import sys

import pytest

BECOMES = """
import os, sys
def execv(path, command):
    print(command, "typer" in sys.modules)
    sys.exit()
os.execv = execv
from plancton.cli.entry import main
main()
"""


def becomes(*words: str) -> tuple[str, bool]:
    """The process that `plancton run` becomes, and whether the parser was loaded."""
    said = subprocess.check_output([sys.executable, "-P", "-c", BECOMES, *words], text=True, timeout=60)
    command, _, parsed = said.strip().rpartition(" ")
    return command, parsed == "True"


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["run"], ["run", "--log", "/x"]),
        (["run", "--now"], ["run", "--now", "--log", "/x"]),
        (["run", "--config", "/a b.yaml"], ["run", "-c", "/a b.yaml"]),
    ],
    ids=["run", "now", "config"],
)
def test_means_what_the_parser_takes_it_for(words: list[str], parsed: list[str]) -> None:
    """The process is the same whether or not the parser has read the words."""
    assert (becomes(*words), becomes(*parsed)) == ((becomes(*parsed)[0], False), (becomes(*words)[0], True))


@pytest.mark.parametrize("words", [["run", "--config", "-h"], ["run", "--nonsense"], ["run", "--config"]])
def test_what_it_does_not_know(words: list[str]) -> None:
    """Anything else is the parser's, which says what is wrong with it."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "plancton", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 or "Usage" in done.stdout, done
