"""What root does once for a supervisor without root: makes the slice, and hands over what that one writes.

It holds until the slice is made anew (at the next boot at the latest), and may be done at any time, also
while the supervisor runs: that one notices.
"""

import os
import pwd
from pathlib import Path

from plancton.config import Host, bounds, load
from plancton.docker import Docker
from plancton.errors import PlanctonError
from plancton.rundir import default_paths, hand_over
from plancton.slice import Slice, read_layout


class PrepareError(PlanctonError):
    """This can't be handed over, in one line."""


def prepare(user: str, config_file: Path | None) -> str:
    """Make the slice as a supervisor of root's would, and hand it over; one sentence about it."""
    if os.geteuid() != 0:
        raise PrepareError(f"only root can hand over what is root's: sudo plancton prepare --user {user}")
    entry = _find(user)
    if entry.pw_uid == 0:
        raise PrepareError("root needs no preparation: name the user that will run Plancton")
    own = default_paths({"HOME": entry.pw_dir}, entry.pw_uid).config
    paths = default_paths()
    config = load(
        config_file or (own if os.path.exists(own) else paths.config), missing_ok=config_file is None
    )
    with Docker(config.docker.socket, timeout=5.0) as docker:
        driver = docker.info().cgroup_driver
    slice = Slice(read_layout(), config.docker.slice, driver, config.docker.tier)
    slice.set_up()
    if slice.tier == "quota" and config.docker.tier != "quota":
        raise PrepareError(f"{slice.cpu}: can't be made or set up; `plancton doctor` may say why")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    slice.bound(bounds(config, Host(os.cpu_count() or 1, memory)))
    files = slice.hand_over(entry.pw_uid)
    hand_over(paths, entry.pw_uid)
    return (
        f"{slice.parent} is in tier {slice.tier}; {entry.pw_name} may write its {', '.join(files)},"
        f" and has {paths.run} and {paths.state}"
    )


def _find(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise PrepareError(
            f"there is no user {user!r}: make one (useradd --system --groups docker)"
        ) from None
