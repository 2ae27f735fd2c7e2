"""What this host and its Docker add to each worker, beyond what the configuration says."""

import contextlib
from pathlib import Path

import msgspec

from plancton.docker.replies import Info
from plancton.files import read_knob, replace_file
from plancton.host.resolvers import resolver_file

LABELS, MAPS_USERS = "name=selinux", "name=userns"
"""With these a container may not read a file of ours."""


class Surroundings(msgspec.Struct, frozen=True):
    """``resolvers`` is the path of the resolv.conf for it; empty: it asks Docker."""

    resolvers: str = ""


ORDINARY = Surroundings()
"""As Docker has it."""


def look_around(info: Info, run: Path, root: Path = Path("/")) -> Surroundings:
    """For a worker that is made now; its files are in the run directory."""
    return Surroundings(resolvers=_write_resolvers(info, run, root))


def _write_resolvers(info: Info, run: Path, root: Path) -> str:
    if any(option.startswith((LABELS, MAPS_USERS)) for option in info.security_options):
        return ""
    text, file = resolver_file(root), run / "resolv.conf"
    with contextlib.suppress(OSError):  # a full disk
        if text and text.strip() != read_knob(file):
            replace_file(file, text.encode(), 0o644)
        return str(file) if text else ""
    return ""
