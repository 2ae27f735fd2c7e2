"""The process that `plancton run` becomes."""

import json
import os
import sys

StrPath = str | os.PathLike[str]
"""pathlib would cost a tenth of the time until the supervisor runs."""


def supervisor_command(
    config: StrPath | None,
    *,
    dry_run: bool = False,
    now: bool = False,
    record: StrPath | None = None,
    verbose: bool = False,
    log: StrPath | None = None,
) -> list[str]:
    """The process that stays: without the command line, nor (-P) code of the current directory."""
    options = {
        "starts": True,
        "config": _absolute(config),
        "dry_run": dry_run,
        "now": now,
        "record": _absolute(record),
        "verbose": verbose,
        "log": _absolute(log),
    }
    return [sys.executable, "-P", "-m", "plancton.daemon", json.dumps(options)]


def _absolute(path: StrPath | None) -> str | None:
    if path is None:
        return None
    return os.path.join("/" if os.path.isabs(path) else os.getcwd(), path)
