"""What this host, its Docker and the image add to each worker, beyond what the configuration says."""

import contextlib
import re
from pathlib import Path

import msgspec

from plancton.config.security import own_rules
from plancton.docker.replies import Image, Info
from plancton.files import read_knob, replace_file
from plancton.host.resolvers import resolver_file
from plancton.workers.users import has_own_users, takes_users

RESOLV_CONF = "resolv.conf"
LABELS, MAPS_USERS = "name=selinux", "name=userns"
"""With these a container may not read a file of ours."""

OWN_PROFILES = {"name=seccomp,profile=default", "name=seccomp,profile=builtin"}
"""So Docker calls the rules that it has itself. Where the administrator has given it others, they
hold; where the kernel has no seccomp, none can."""


class Surroundings(msgspec.Struct, frozen=True):
    """``resolvers`` is the path of the resolv.conf for it; empty: it asks Docker. ``seccomp`` are
    its rules unless others are configured; empty: Docker's. ``read_only_below``: whether Docker
    can make what is mounted below a mount read-only with it; ``own_user``: whether it can run as a
    user that nobody else is."""

    resolvers: str = ""
    seccomp: str = ""
    read_only_below: bool = False
    own_user: bool = False


ORDINARY = Surroundings()
"""As Docker has it."""


def look_around(
    info: Info, run: Path, image: Image | None = None, users: range = range(0), root: Path = Path("/")
) -> Surroundings:
    """For a worker that is made now; its files are in the run directory."""
    return Surroundings(
        resolvers=_write_resolvers(info, run, root),
        seccomp=own_rules() if OWN_PROFILES & set(info.security_options) else "",
        read_only_below=makes_read_only_below(info),
        own_user=takes_users(image, users) and has_own_users(info, users, root / "proc"),
    )


def makes_read_only_below(info: Info) -> bool:
    """Docker can from API 1.44 on, the kernel since mount_setattr(2) is there."""
    docker, kernel = _version(info.server_version), _version(info.kernel_version)
    return docker >= (25, 0) and kernel >= (5, 12)


def _version(text: str) -> tuple[int, int]:
    found = re.match(r"(\d{1,6})\.(\d{1,6})", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def forget(run: Path) -> None:
    """Remove what was written there: no worker is left that has it."""
    with contextlib.suppress(OSError):
        (run / RESOLV_CONF).unlink()


def _write_resolvers(info: Info, run: Path, root: Path) -> str:
    if any(option.startswith((LABELS, MAPS_USERS)) for option in info.security_options):
        return ""
    text, file = resolver_file(root), run / RESOLV_CONF
    with contextlib.suppress(OSError):  # a full disk
        if text and text.strip() != read_knob(file):
            replace_file(file, text.encode(), 0o644)
        return str(file) if text else ""
    return ""
