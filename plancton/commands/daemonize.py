"""The supervisor in the background, for hosts without an init system that would keep it."""

import os
import subprocess
import time
from pathlib import Path

from plancton.daemon.logs import open_log
from plancton.paths import Paths
from plancton.status_reading import running

PATIENCE = 60.0
"""Seconds for its first word, which takes less than one: it waits for nothing."""


def start_in_background(command: list[str], paths: Paths, log: Path) -> tuple[int, str]:
    """Start this supervisor so that it outlives the terminal; returns when it is up, or has ended:
    an exit code, and what to print.

    It leads a session of its own, has no terminal, and appends to ``log``. `stop`, signals and the
    pid (which stays when it restarts in place) work as in the foreground.
    """
    start, descriptor = 0, open_log(log)
    try:
        start = os.fstat(descriptor).st_size
        supervisor = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            cwd="/",  # so that it keeps nobody from unmounting what they were in
            env=_environment(paths),
        )
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        code = supervisor.poll()
        if code is not None:
            return code or 1, _last_words(log, start)
        status = running(paths)
        if status is not None and status.pid == supervisor.pid:
            supervisor.returncode = 0  # it is nobody's child from now on
            return 0, f"Plancton runs (pid {supervisor.pid}) and logs to {log}"
        time.sleep(0.05)
    supervisor.returncode = 0
    return 1, f"plancton: pid {supervisor.pid} runs but says nothing yet; {log} may say why"


def _environment(paths: Paths) -> dict[str, str]:
    """Ours, with its directories named, since it is elsewhere, and without our journal."""
    journal = {"JOURNAL_STREAM", "INVOCATION_ID"}
    own = {name: value for name, value in os.environ.items() if name not in journal}
    run, state = str(paths.run.absolute()), str(paths.state.absolute())
    return {**own, "PLANCTON_RUN_DIR": run, "PLANCTON_STATE_DIR": state}


def _last_words(log: Path, start: int) -> str:
    """Why it ended: each of its errors, or whatever it said last."""
    with log.open("rb") as file:
        file.seek(start if os.fstat(file.fileno()).st_size >= start else 0)  # a new one meanwhile
        lines = file.read()[-4000:].decode(errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("plancton: ")]
    return "\n".join(errors or lines[-1:]) or f"plancton: ended without a word; {log} has nothing of it"
