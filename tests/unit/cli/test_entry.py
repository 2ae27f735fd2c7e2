"""What `plancton` understands without its parser."""

import subprocess
import sys

import pytest

TOLD = """
import os, sys
from plancton.daemon import process
def tell(options):
    print(options, "typer" in sys.modules)
    sys.exit()
os.execv = lambda path, command: tell(command[-1])
process.main = lambda arguments: tell(arguments[0])
from plancton.cli.entry import main
main()
"""


def told(*words: str) -> tuple[str, bool]:
    """What a supervisor is told by `plancton run`, and whether the parser was loaded."""
    said = subprocess.check_output([sys.executable, "-P", "-c", TOLD, *words], text=True, timeout=60)
    options, _, parsed = said.strip().rpartition(" ")
    return options, parsed == "True"


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["run"], ["run", "--log", "/x"]),
        (["run", "--now"], ["run", "--now", "--log", "/x"]),
        (["run", "--config", "/a b.yaml"], ["run", "--config", "/a b.yaml", "--log", "/x"]),
        (["run", "-c", "/--now"], ["run", "-c", "/--now", "--log", "/x"]),
        (["run", "-c", "/a", "--now"], ["run", "-c", "/a", "--now", "--log", "/x"]),
        (["run", "--now", "--config", "/a"], ["run", "--now", "--config", "/a", "--log", "/x"]),
    ],
    ids=["run", "now", "config", "short", "now last", "now first"],
)
def test_means_what_the_parser_takes_it_for(words: list[str], parsed: list[str]) -> None:
    """The supervisor is told the same whether or not the parser has read the words."""
    assert (told(*words), told(*parsed)) == ((told(*parsed)[0], False), (told(*words)[0], True))


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
