"""The process that `plancton run` is, or becomes."""

import json
import os
import sys

StrPath = str | os.PathLike[str]
"""pathlib would cost a tenth of the time until the supervisor runs."""


def supervisor_options(
    config: StrPath | None,
    *,
    dry_run: bool = False,
    now: bool = False,
    record: StrPath | None = None,
    verbose: bool = False,
    log: StrPath | None = None,
) -> str:
    """What it is told (JSON)."""
    options = {
        "starts": True,
        "config": _absolute(config),
        "dry_run": dry_run,
        "now": now,
        "record": _absolute(record),
        "verbose": verbose,
        "log": _absolute(log),
    }
    return json.dumps(options)


def supervisor_command(options: str) -> list[str]:
    """Another process: without the command line, nor (-P) code of the current directory."""
    return [sys.executable, "-P", "-m", "plancton.daemon", options]


def _absolute(path: StrPath | None) -> str | None:
    if path is None:
        return None
    return os.path.join("/" if os.path.isabs(path) else os.getcwd(), path)
