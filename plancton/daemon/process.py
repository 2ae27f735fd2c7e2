"""The supervisor as a process: its options, its lock, and the code that it ends with."""

import json
import os
import sys
from pathlib import Path

import msgspec

from plancton.config.watch import ConfigFile
from plancton.daemon.lock import AlreadyRunning, take_lock
from plancton.daemon.logs import log_to_stderr
from plancton.daemon.loop import Options, Supervisor
from plancton.daemon.sdnotify import Service
from plancton.daemon.start_check import check_start
from plancton.errors import PlanctonError
from plancton.files import raise_descriptors
from plancton.instance import instance_id, peek_instance
from plancton.paths import default_paths

EXIT_LOCKED = 75


def main(arguments: list[str]) -> int:
    """One line and an exit code for what the user can fix. That is before the loop runs: later, any
    error is a bug, which ends it with a traceback, and a service manager starts it again."""
    given = json.loads(arguments[0]) if arguments else {}  # not by msgspec: a path need not be UTF-8
    options = msgspec.convert(given, Options)
    os.umask(0o022)
    raise_descriptors()
    log_to_stderr(options.log, options.verbose)
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
