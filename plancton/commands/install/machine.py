"""The machine that is changed: where its directories are, and how its programs are run."""

import shutil
import subprocess
from pathlib import Path

from plancton.commands.install.installed_files import InstalledFiles
from plancton.errors import PlanctonError


class Machine:
    """Files are made below ``root``, Plancton's own are in ``prefix``."""

    def __init__(self, prefix: Path, root: Path = Path("/")) -> None:
        self.prefix, self.root = prefix, root
        self.plancton = f"{prefix}/bin/plancton"
        self.etc, self.state = root / "etc/plancton", root / "var/lib/plancton"
        self.installed = InstalledFiles(prefix, self.did)
        self.changes = 0

    def did(self, text: str) -> None:
        self.changes += 1
        print(f"+ {text}")

    def call(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a program, whatever comes of it. No word of ours has a space in it."""
        words = command.split()
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    def succeeds(self, command: str) -> bool:
        return self.call(command).returncode == 0

    def run(self, *commands: str) -> None:
        """Run the first of these whose program is here; it must succeed."""
        command = next((each for each in commands if shutil.which(each.split()[0])), commands[-1])
        done = self.call(command)
        if done.returncode:
            said = (done.stdout + done.stderr).splitlines()[-20:]
            raise PlanctonError(f"failed: {command}", (*said, f"failed: {command}"))
