"""Debian's packages for tests that must not install them: installed, they would be this host's
services."""

import subprocess
from pathlib import Path

DOWNLOAD = """
cd "$1"
shift
apt-get download -qq "$@" 2>/dev/null && exit
flock /var/lib/apt/lists apt-get update -qq
apt-get download -qq "$@"
"""


def unpack(packages: Path, *names: str) -> Path:
    """Download these to a directory, and unpack them all below it: where that is."""
    packages.chmod(0o777)  # apt downloads as a user of its own
    subprocess.run(["sh", "-ec", DOWNLOAD, "sh", packages, *names], check=True, timeout=300)
    root = packages / "root"
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root
