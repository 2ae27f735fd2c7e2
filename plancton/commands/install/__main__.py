"""The order of the steps; `scripts/install` has found, made and checked all that they need."""

import argparse
import os
import sys
from pathlib import Path

from plancton import __version__
from plancton.commands.install import steps
from plancton.commands.install.init_systems import init_system
from plancton.commands.install.machine import Machine
from plancton.errors import PlanctonError


def make_service(machine: Machine, options: argparse.Namespace) -> int:
    init = init_system(machine)
    if not options.no_docker:
        steps.need_docker(machine, init)
    user = steps.need_user(machine, options.user)
    steps.need_command(machine)
    steps.need_config(machine, user, options.config, options.config_repo, options.ref)
    steps.need_service(machine, init, options.user)
    if not options.no_start:
        steps.need_start(machine, init, options.upgraded)
    if not machine.changes and not options.changed:
        print(f"Nothing to change: plancton {__version__} is installed in {machine.prefix}")
    print()
    return steps.run_doctor(machine, options.user)


def remove_service(machine: Machine, purge: bool) -> int:
    steps.remove(machine, init_system(machine))
    if not purge:
        steps.hand_back(machine)
    steps.remove_user(machine)
    return 0


def main() -> int:
    """0: done, 2: stopped, and said why, 4: done, but the doctor found something broken."""
    os.umask(0o022)
    parser = argparse.ArgumentParser(prog="install", allow_abbrev=False)
    for name in ("--prefix", "--config"):
        parser.add_argument(name, type=Path)
    for name in ("--user", "--config-repo", "--ref"):
        parser.add_argument(name)
    for name in ("--no-docker", "--no-start", "--changed", "--upgraded", "--uninstall", "--purge"):
        parser.add_argument(name, action="store_true")
    options = parser.parse_args()
    machine = Machine(options.prefix)
    try:
        return remove_service(machine, options.purge) if options.uninstall else make_service(machine, options)
    except (PlanctonError, OSError) as error:
        lines = error.lines if isinstance(error, PlanctonError) else [f"{error.filename}: {error.strerror}"]
        print("\n".join(f"install: {line}" for line in lines), file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
