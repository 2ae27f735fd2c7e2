"""The machine that is changed: its programs and files, and the list of all that was made on it."""

import os
import shutil
import subprocess
from pathlib import Path

from plancton.errors import PlanctonError
from plancton.files import replace_file


class Machine:
    """Files are made below ``root``, Plancton's own are in ``prefix``.

    ``prefix``/installed lists what is made, a line each, before it is made: what failed can be undone, too.
    """

    def __init__(self, prefix: Path, root: Path = Path("/")) -> None:
        self.prefix, self.root = prefix, root
        self.plancton = f"{prefix}/bin/plancton"
        self.etc, self.state = root / "etc/plancton", root / "var/lib/plancton"
        self.changes = 0

    def did(self, text: str) -> None:
        self.changes += 1
        print(f"+ {text}")

    def record(self, kind: str, what: object) -> None:
        if str(what) not in self.recorded(kind):
            with (self.prefix / "installed").open("a") as file:
                file.write(f"{kind} {what}\n")

    def recorded(self, kind: str) -> list[str]:
        lines = (self.prefix / "installed").read_text().splitlines()
        return [line.removeprefix(f"{kind} ") for line in lines if line.startswith(f"{kind} ")]

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

    def put(self, path: Path, content: bytes | Path, mode: int = 0o644) -> None:
        """Make this file, or a link to that path, unless it is there or somebody else's."""
        if os.path.lexists(path):
            if (path.readlink() if path.is_symlink() else path.read_bytes()) == content:
                return
            if str(path) not in self.recorded("file"):
                print(f"{path} is there already and not ours: left as it is")
                return
        self._make_directory(path.parent)
        self.record("file", path)
        if isinstance(content, Path):
            path.symlink_to(content)
        else:
            replace_file(path, content, mode)
        self.did(str(path))

    def _make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self._make_directory(path.parent)
            self.record("dir", path)
            path.mkdir()
