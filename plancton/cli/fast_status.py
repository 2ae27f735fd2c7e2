"""`plancton status`, which scripts ask for on every host: it loads nothing that it can do without."""

import time

import msgspec

from plancton.cli import stdout
from plancton.commands.status import status_lines
from plancton.running_supervisors import NotRunning, holder, paths_in_use
from plancton.status_reading import no_status, running


def print_status(as_json: bool) -> int:
    """The exit code: 0 if Plancton runs."""
    paths = paths_in_use()
    found, pid = running(paths), holder(paths)
    problem = "" if found or pid is None else no_status(paths, pid)
    if as_json:
        unread = {"pid": pid, "message": problem} if problem else {}
        known = msgspec.to_builtins(found) if found else unread
        stdout.say_json({"running": pid is not None, **known})
    elif found is None:
        stdout.say(problem or str(NotRunning()))
    else:
        stdout.say("\n".join(status_lines(found, time.time())))
    return NotRunning.exit_code if pid is None else 0
