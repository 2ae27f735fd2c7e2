"""What values of the configuration must be, and how that is said."""

import math
import re
from collections.abc import Callable
from ipaddress import ip_network

from plancton.units import shown


def require(holds: bool, message: str) -> None:
    """``message`` is "key: what is wrong"."""
    if not holds:
        raise ValueError(message)


def require_each(section: object, keys: str, fits: Callable[[str], object], what: str) -> None:
    """Whether what these keys hold, or each item of it, is ``what``."""
    for key in keys.split():
        value = getattr(section, key)
        for item in value if isinstance(value, list | dict) else [value]:
            require(item is None or bool(fits(item)), f"{key}: {shown(item)} is not {what}")


def require_secret_file(path: str | None, key: str) -> None:
    """Somebody may have written the secret itself there: it is not shown."""
    require(path is None or path.startswith("/"), f"{key}: is not a path that begins with /")


def is_path(text: str) -> bool:
    return text.startswith("/")


def is_line(text: str) -> bool:
    return text.strip() != "" and text.isprintable()


MOUNT_OPTIONS = (("ro", "rw"), ("shared", "rshared", "slave", "rslave", "private", "rprivate"), ("z", "Z"))
"""What may follow a mount, one of each: access, propagation, SELinux label (Docker's `--volume`)."""


def is_mount(text: str) -> bool:
    host, inside, options = [*text.split(":", 2), "", ""][:3]
    given = options.split(",") if text.count(":") > 1 else []
    groups = [group for option in given for group in MOUNT_OPTIONS if option in group]
    return is_path(host) and is_path(inside) and len(given) == len(groups) == len(set(groups))


def is_limit(text: str) -> bool:
    """Docker's `--ulimit`: the soft limit, which the hard one is not below."""
    found = re.fullmatch(r"(-1|\d{1,18})(?::(-1|\d{1,18}))?", text, re.ASCII)
    if found is None:
        return False
    soft, hard = (math.inf if limit == "-1" else int(limit) for limit in (found[1], found[2] or found[1]))
    return soft <= hard


_USERS = re.compile(r"(\d{1,10})-(\d{1,10})", re.ASCII)


def parse_users(text: str) -> range:
    """FIRST-LAST as numbers; empty if it is not that."""
    found = _USERS.fullmatch(text)
    return range(int(found[1]), int(found[2]) + 1) if found else range(0)


def is_network(text: str) -> bool:
    """Whether it is an address, or a network without an address in it."""
    try:
        ip_network(text)
    except ValueError:
        return False
    return True
