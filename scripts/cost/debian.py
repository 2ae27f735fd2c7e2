"""Programs of Debian's without installing them, so that no service of theirs is left or started."""

import os
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton" / "peers"


class NotAvailable(Exception):
    """Why there is no such program here, in a few words."""


class Unpacked:
    """A package and what it needs beyond what is installed, unpacked in a directory of its own."""

    def __init__(self, package: str) -> None:
        self.root = CACHE / package
        if not (self.root / "unpacked").exists():
            self._unpack(package)
        libraries = sorted({file.parent for file in self.root.glob("usr/lib/**/*.so*")})
        self.environment = {"LD_LIBRARY_PATH": ":".join(map(str, libraries))}

    def path(self, name: str) -> Path:
        """A file of the package's."""
        return self.root / name

    def _unpack(self, package: str) -> None:
        archives = self.root / "archives"
        (archives / "partial").mkdir(parents=True, exist_ok=True)
        options = ["-o", f"Dir::Cache::archives={archives}", "-o", "APT::Sandbox::User=root"]
        command = ["apt-get", "install", "-qy", "--download-only", "--reinstall", "--no-install-recommends"]
        done = subprocess.run([*command, *options, package], capture_output=True, text=True, check=False)
        files = sorted(archives.glob("*.deb"))
        if done.returncode != 0 or not files:
            raise NotAvailable("this Debian has no such package")
        for file in files:
            subprocess.run(["dpkg-deb", "-x", file, self.root], check=True)
        (self.root / "unpacked").touch()


def from_pypi(requirement: str) -> Path:
    """A package of PyPI's in a virtual environment of its own; the directory of its programs."""
    root = CACHE / requirement.partition("[")[0]
    if not (root / "unpacked").exists():
        python = root / "bin" / "python"
        commands: list[list[str | Path]] = [
            ["python3", "-m", "venv", root],
            [python, "-m", "pip", "install", "-q", requirement],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NotAvailable("PyPI has no such package that can be installed here")
        (root / "unpacked").touch()
    return root / "bin"
