"""What this host and its Docker add to each worker, beyond what the configuration says."""

import contextlib
from pathlib import Path

import msgspec

from plancton.config.security import own_rules
from plancton.docker.replies import Info
from plancton.files import read_knob, replace_file
from plancton.host.resolvers import resolver_file

LABELS, MAPS_USERS = "name=selinux", "name=userns"
"""With these a container may not read a file of ours."""

OWN_PROFILES = {"name=seccomp,profile=default", "name=seccomp,profile=builtin"}
"""So Docker calls the rules that it has itself. Where the administrator has given it others, they
hold; where the kernel has no seccomp, none can."""


class Surroundings(msgspec.Struct, frozen=True):
    """``resolvers`` is the path of the resolv.conf for it; empty: it asks Docker. ``seccomp`` are
    its rules unless others are configured; empty: Docker's."""

    resolvers: str = ""
    seccomp: str = ""


ORDINARY = Surroundings()
"""As Docker has it."""


def look_around(info: Info, run: Path, root: Path = Path("/")) -> Surroundings:
    """For a worker that is made now; its files are in the run directory."""
    return Surroundings(
        resolvers=_write_resolvers(info, run, root),
        seccomp=own_rules() if OWN_PROFILES & set(info.security_options) else "",
    )


def _write_resolvers(info: Info, run: Path, root: Path) -> str:
    if any(option.startswith((LABELS, MAPS_USERS)) for option in info.security_options):
        return ""
    text, file = resolver_file(root), run / "resolv.conf"
    with contextlib.suppress(OSError):  # a full disk
        if text and text.strip() != read_knob(file):
            replace_file(file, text.encode(), 0o644)
        return str(file) if text else ""
    return ""
