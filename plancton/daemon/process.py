"""The supervisor as a process: its options, its lock, its log, and the code that it ends with."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from plancton.config.watch import ConfigFile
from plancton.daemon.lock import AlreadyRunning, take_lock
from plancton.daemon.log_file import LogFile
from plancton.daemon.loop import Options, Supervisor
from plancton.daemon.run_directory import instance_id
from plancton.daemon.sdnotify import Service
from plancton.daemon.start_check import check_start
from plancton.errors import PlanctonError
from plancton.files import raise_descriptors
from plancton.rundir import default_paths, peek_instance
from plancton.units import printable

EXIT_LOCKED = 75


def main(arguments: list[str]) -> int:
    """One line and an exit code for what the user can fix. That is before the loop runs: later, any
    error is a bug, which ends it with a traceback, and a service manager starts it again."""
    given = json.loads(arguments[0]) if arguments else {}  # not by msgspec: a path need not be UTF-8
    options = msgspec.convert(given, Options)
    os.umask(0o022)
    raise_descriptors()
    _log_to_stderr(options)
    service = Service(os.environ)
    paths = default_paths()
    try:
        path = Path(options.config) if options.config else paths.config
        file = ConfigFile(path, missing_ok=options.config is None)
        if options.starts:
            check_start(file.config, paths, Path(options.record) if options.record else None)
        lock = None
        if options.dry_run:
            instance = peek_instance(paths.state)
        else:
            instance, docker = instance_id(paths.state), file.config.docker
            lock = take_lock(paths.state, docker.socket, instance, docker.slice, paths.run)
        supervisor = Supervisor(options, paths, file, instance, service)
    except PlanctonError as error:
        for line in error.lines:
            print(f"plancton: {line}", file=sys.stderr)
        return EXIT_LOCKED if isinstance(error, AlreadyRunning) else error.exit_code
    code = supervisor.run()
    if lock is not None:
        os.close(lock)
    return code


class Formatter(logging.Formatter):
    """Each message is one line, whoever's words are in it; a traceback follows it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


def _log_to_stderr(options: Options) -> None:
    journal = "JOURNAL_STREAM" in os.environ or "INVOCATION_ID" in os.environ
    layout = "%(levelname)s %(message)s" if journal else "%(asctime)s %(levelname)s %(message)s"
    level = logging.DEBUG if options.verbose else logging.INFO
    handler = LogFile(Path(options.log)) if options.log else logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter(layout))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("urllib3").setLevel(logging.WARNING)
