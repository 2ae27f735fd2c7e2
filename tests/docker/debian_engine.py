"""The Docker Engine of another Debian, natively on this machine, for the tests' own dockerd.

PLANCTON_TEST_ENGINE names it: `forky`, or `forky+containerd` with the containerd image store. Its
root is made once (`root/build`) and kept; `root/inside` runs the Engine there.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).resolve().parent / "root"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton" / "engines"
OLD = 24 * 3600
"""Seconds after which a root that nobody has used goes."""


class Chosen(NamedTuple):
    """An Engine: Debian's suite that it is from, none for this machine's own, and its image
    store."""

    suite: str = ""
    containerd: bool = False

    def prefix(self) -> tuple[str, ...]:
        """A command that runs dockerd in the suite's root."""
        if not self.suite:
            return ()
        return str(SCRIPTS / "inside"), str(_made(self.suite)), tempfile.gettempdir()

    def options(self, directory: Path) -> tuple[str, ...]:
        """dockerd's, beside the usual ones; they may need files in this directory."""
        if not self.containerd:
            return ()
        file = directory / "daemon.json"
        file.write_text(json.dumps({"features": {"containerd-snapshotter": True}}))
        return (f"--config-file={file}",)


def chosen() -> Chosen:
    suite, _, store = os.environ.get("PLANCTON_TEST_ENGINE", "").partition("+")
    if store not in ("", "containerd"):
        raise ValueError(f"PLANCTON_TEST_ENGINE: {store} is no image store; leave it out or say containerd")
    return Chosen(suite, containerd=bool(store))


def _made(suite: str) -> Path:
    """The suite's root, made if there is none by this recipe."""
    recipe = (SCRIPTS / "build").read_bytes()
    made = CACHE / f"{suite}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            _build(suite, made)
        (made / "complete").touch()
        for other in CACHE.glob(f"{suite}-*/complete"):  # a checkout beside this one may use a younger one
            if other.stat().st_mtime < time.time() - OLD:
                shutil.rmtree(other.parent)
    return made


def _build(suite: str, made: Path) -> None:
    done = subprocess.run([SCRIPTS / "build", suite, made], capture_output=True, text=True, timeout=600)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"the root of Debian {suite} was not made:\n{last}")
