"""Where `plancton` begins: errors become one line and an exit code.

What init systems and scripts call is understood here, for the parser takes as long to load as all
the rest, and nothing is loaded that it can do without.
"""

import os
import sys
from typing import NoReturn


def main() -> None:
    match sys.argv[1:]:
        case ["run"] | ["run", "--now"] as words:
            _run(None, now="--now" in words)
        case (
            ["run", "--config" | "-c", file]
            | ["run", "--now", "--config" | "-c", file]
            | ["run", "--config" | "-c", file, "--now"]
        ) if file.startswith("/"):
            _run(file, now="--now" in sys.argv)
        case words:
            _speak(words)


def _run(config: str | None, now: bool) -> NoReturn:
    """In this process, which has loaded nothing yet: to execute another takes a fifth of the time until
    the first tick."""
    from plancton.commands.run import supervisor_options
    from plancton.lean_imports import left_out

    if not sys.flags.safe_path:
        del sys.path[0]  # the current directory, of `python -m plancton`, or the program's own
    with left_out():
        from plancton.daemon.process import main as supervise
    sys.exit(supervise([supervisor_options(config, now=now)]))


def _speak(words: list[str]) -> None:
    """Exit code 2 and one line for what the user can fix, else a traceback."""
    from plancton.lean_imports import left_out

    with left_out():
        from plancton.cli import stdout
        from plancton.errors import PlanctonError
    stdout.guard()
    try:
        _call(words)
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
    if words in (["status"], ["status", "--json"]):
        from plancton.cli.fast_status import print_status

        os._exit(print_status(as_json="--json" in words))  # to clear up would take a tenth of the time
    from plancton.cli.command_options import call

    call()
