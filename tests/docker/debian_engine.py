"""The Docker Engine of another Debian, natively on this machine, for the tests' own dockerd.

PLANCTON_TEST_ENGINE names it: `forky`, or `forky+containerd` with the containerd image store. Its
root is made once (`root/build`) and kept; `root/inside` runs the Engine there.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from helpers.kept_roots import kept_root

SCRIPTS = Path(__file__).resolve().parent / "root"


class Chosen(NamedTuple):
    """An Engine: Debian's suite that it is from, none for this machine's own, and its image
    store."""

    suite: str = ""
    containerd: bool = False

    def prefix(self) -> tuple[str, ...]:
        """A command that runs dockerd in the suite's root."""
        if not self.suite:
            return ()
        made = kept_root(SCRIPTS / "build", self.suite, "engines")
        return str(SCRIPTS / "inside"), str(made), tempfile.gettempdir()

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
