"""The process that `plancton run` becomes."""

import json
import sys
from pathlib import Path


def supervisor_command(
    config: Path | None, dry_run: bool, now: bool, record: Path | None, verbose: bool, log: Path | None
) -> list[str]:
    """The process that stays: without the command line, nor (-P) code of the current directory."""
    options = {
        "starts": True,
        "config": str(config.absolute()) if config else None,
        "dry_run": dry_run,
        "now": now,
        "record": str(record.absolute()) if record else None,
        "verbose": verbose,
        "log": str(log) if log else None,
    }
    return [sys.executable, "-P", "-m", "plancton.daemon", json.dumps(options)]
