"""Roots of other Debians, each made once by its recipe, and kept as long as it is used."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton"
OLD = 24 * 3600
"""Seconds after which a root that nobody has used goes."""


def kept_root(recipe: Path, suite: str, folder: str) -> Path:
    """What ``recipe SUITE DIRECTORY`` makes, made if there is none by this recipe."""
    cache = CACHE / folder
    made = cache / f"{suite}-{hashlib.sha256(recipe.read_bytes()).hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "complete").exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            _build(recipe, suite, made)
        (made / "complete").touch()
        for other in cache.glob(f"{suite}-*/complete"):  # a checkout beside this one may use a younger one
            if other.stat().st_mtime < time.time() - OLD:
                shutil.rmtree(other.parent)
    return made


def _build(recipe: Path, suite: str, made: Path) -> None:
    done = subprocess.run([recipe, suite, made], capture_output=True, text=True, timeout=600)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"the root of Debian {suite} was not made:\n{last}")
