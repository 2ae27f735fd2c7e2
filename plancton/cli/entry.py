"""Where `plancton` begins: errors become one line and an exit code."""

import os
import sys

from plancton.lean_imports import left_out

with left_out():
    from plancton.cli import stdout
    from plancton.errors import PlanctonError

QUICK = ["status"], ["status", "--json"]
"""What needs no parser, which takes longer to load than all the rest."""


def main() -> None:
    """The entry point: exit code 2 and one line for what the user can fix, else a traceback."""
    stdout.guard()
    try:
        _call(sys.argv[1:])
    except stdout.NoReader:
        stdout.end_without_reader()
    except PlanctonError as error:
        for line in error.lines:
            stdout.complain(f"{error.begins}{line}")
        sys.exit(error.exit_code)
    except FileNotFoundError:
        if _is_somewhere():
            raise
        stdout.complain("plancton: the current directory has been removed: change to another one")
        sys.exit(PlanctonError.exit_code)


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _call(words: list[str]) -> None:
    if words in QUICK:
        with left_out():
            from plancton.cli.status import print_status

        sys.exit(print_status(as_json="--json" in words))
    from plancton.cli.app import call

    call()
