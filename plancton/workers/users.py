"""Which user a worker runs as: one of its own where its image can take any.

The kernel counts inotify instances, pipes, signals and more per user, for all containers and the
host together. Nobody (65534) may also be a service of the host's.
"""

import random
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from plancton.config.schema import Config
from plancton.config.schema import Worker as Section
from plancton.config.value_checks import parse_users
from plancton.docker.replies import Image, Info
from plancton.files import read_regular

NOBODY = "65534"
LABEL, ANY = "plancton.user", "any"
"""With this label an image can be run as any user, or as those of a range, FIRST-LAST. Most can't:
files of theirs, of their volumes or of what is mounted belong to nobody, or their programs ask for
their user's name."""
NAMES, SUBORDINATES = ("passwd", "group"), ("subuid", "subgid")
"""Files of the host that say which ids are somebody's: one each, or a number of them."""
LARGEST_FILE, LONGEST_ID = 16 << 20, 10
FOREIGN = range(2_147_352_576, 2_147_418_112)
"""systemd's, for files of other hosts. The default range is below, and above what subuid, nspawn and
directory services give out (https://systemd.io/UIDS-GIDS)."""


def takes_users(image: Image | None, users: range) -> bool:
    labels = None if image is None else image.config.get("Labels")
    label = labels.get(LABEL) if isinstance(labels, dict) else None
    theirs = parse_users(label) if isinstance(label, str) else range(0)
    return label == ANY or (len(users) > 0 and theirs.start <= users.start and users.stop <= theirs.stop)


def has_own_users(info: Info, users: range, proc: Path) -> bool:
    """Whether containers can have them: not with a few ids of a user namespace."""
    if not users or any(each.startswith(("name=userns", "name=rootless")) for each in info.security_options):
        return False
    return all(_is_mapped(users, proc / f"self/{kind}_map") for kind in ("uid", "gid"))


def _is_mapped(users: range, file: Path) -> bool:
    try:
        lines = [[int(word) for word in line.split()] for line in file.read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return any(first <= users.start and users.stop <= first + count for first, _, count in lines)


def with_user(config: Config, own: bool, taken: Collection[str]) -> Config:
    """The same with the user that a new worker runs as: as configured, one that no other worker has
    (``taken``), or nobody, who also owns what was written to a mount before."""
    worker = config.worker
    if worker.user is not None:
        return config
    own = own and not any(map(_is_writable, worker.mounts))
    user = _free(worker.users, taken) if own else f"{NOBODY}:{NOBODY}"
    return msgspec.structs.replace(config, worker=msgspec.structs.replace(worker, user=user))


def _free(users: range, taken: Collection[str]) -> str:
    """By chance: another instance on this host may have some."""
    names = [f"{uid}:{uid}" for uid in users]
    return random.choice([name for name in names if name not in taken] or names)


def _is_writable(mount: str) -> bool:
    return "rw" in mount.split(":")[-1].split(",")


def user_of(worker: Section) -> str:
    """UID:GID as Docker is told. Without a uid it takes the image's user, or root; with one alone,
    it takes the group and more groups from the image's own files."""
    uid, _, gid = (worker.user or "").partition(":")
    uid = uid or NOBODY
    return f"{uid}:{gid or uid}" if uid.isdecimal() else str(worker.user)


def shared_users(worker: Section, etc: Path = Path("/etc")) -> str:
    """That somebody of the host has ids which workers may get; empty if not."""
    whose = _whose(worker.users, etc) if worker.user is None else ""
    return whose and (
        f"worker.user_range: {worker.user_range} has ids of {whose}, so workers would share limits and"
        " files with others of this host: choose another range"
    )


def _whose(users: range, etc: Path) -> str:
    for name in (*NAMES, *SUBORDINATES):
        for whose, ids in _ids_in(etc / name, name in SUBORDINATES):
            if ids.start < users.stop and users.start < ids.stop:
                return f"{whose} in {etc / name}"
    return "systemd's foreign users" if users.stop > FOREIGN.start and users.start < FOREIGN.stop else ""


def _ids_in(file: Path, subordinate: bool) -> Iterator[tuple[str, range]]:
    try:
        text = read_regular(file, LARGEST_FILE)[0].decode(errors="replace")
    except OSError:  # not there, or nothing that could be read within reason
        return
    for line in text.splitlines():
        name, *words = line.split(":")
        numbers = words[:2] if subordinate else words[1:2]
        if numbers and all(word.isdecimal() and len(word) <= LONGEST_ID for word in numbers):
            first, count = map(int, (*numbers, "1")[:2])
            yield name, range(first, first + count)
