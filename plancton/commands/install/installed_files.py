"""Which files are made on the machine, kept as they are or replaced, and the list of all that was made."""

import os
from collections.abc import Callable
from pathlib import Path

from plancton.files import replace_file


class InstalledFiles:
    """Each change is told to ``did``.

    ``prefix``/installed lists what is made, a line each, before it is made: what failed can be undone, too.
    """

    def __init__(self, prefix: Path, did: Callable[[str], None]) -> None:
        self.list, self._did = prefix / "installed", did

    def record(self, kind: str, what: object) -> None:
        if str(what) not in self.recorded(kind):
            with self.list.open("a") as file:
                file.write(f"{kind} {what}\n")

    def recorded(self, kind: str) -> list[str]:
        lines = self.list.read_text().splitlines()
        return [line.removeprefix(f"{kind} ") for line in lines if line.startswith(f"{kind} ")]

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
        self._did(str(path))

    def _make_directory(self, path: Path) -> None:
        if not path.is_dir():
            self._make_directory(path.parent)
            self.record("dir", path)
            path.mkdir()
