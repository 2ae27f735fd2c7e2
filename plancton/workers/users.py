"""Which user a worker runs as: one of its own where its image can take any.

The kernel counts inotify instances, pipes, signals and more per user, for all containers and the
host together. Nobody (65534) may also be a service of the host's.
"""

import random
from collections.abc import Collection
from pathlib import Path

import msgspec

from plancton.config.schema import Config
from plancton.config.schema import Worker as Section
from plancton.docker.replies import Image, Info

NOBODY = "65534"
LABEL, ANY = "plancton.user", "any"
"""An image with this label can be run as each of `OWN`. Most can't: files of theirs, of their volumes
or of what is mounted belong to nobody, or their programs ask for their user's name."""
OWN = range(2_100_000_000, 2_100_000_256)
"""Above what subuid, nspawn and directory services give out, below systemd's foreign users
(https://systemd.io/UIDS-GIDS). scripts/worker-image names them."""


def takes_any_user(image: Image | None) -> bool:
    labels = None if image is None else image.config.get("Labels")
    return isinstance(labels, dict) and labels.get(LABEL) == ANY


def has_own_users(info: Info, proc: Path) -> bool:
    """Whether containers can have them: not with a few ids of a user namespace."""
    if any(option.startswith(("name=userns", "name=rootless")) for option in info.security_options):
        return False
    return all(_is_mapped(proc / f"self/{kind}_map") for kind in ("uid", "gid"))


def _is_mapped(file: Path) -> bool:
    try:
        lines = [[int(word) for word in line.split()] for line in file.read_text().splitlines()]
    except (OSError, ValueError):
        return False
    return any(first <= OWN[0] and OWN[-1] < first + count for first, _, count in lines)


def with_user(config: Config, own: bool, taken: Collection[str]) -> Config:
    """The same with the user that a new worker runs as: as configured, one that no other worker has
    (``taken``), or nobody, who also owns what was written to a mount before."""
    worker = config.worker
    if worker.user is not None:
        return config
    user = _free(taken) if own and not any(map(_is_writable, worker.mounts)) else f"{NOBODY}:{NOBODY}"
    return msgspec.structs.replace(config, worker=msgspec.structs.replace(worker, user=user))


def _free(taken: Collection[str]) -> str:
    """By chance: another instance on this host may have some."""
    users = [f"{uid}:{uid}" for uid in OWN]
    return random.choice([user for user in users if user not in taken] or users)


def _is_writable(mount: str) -> bool:
    return "rw" in mount.split(":")[-1].split(",")


def user_of(worker: Section) -> str:
    """UID:GID as Docker is told. Without a uid it takes the image's user, or root; with one alone,
    it takes the group and more groups from the image's own files."""
    uid, _, gid = (worker.user or "").partition(":")
    uid = uid or NOBODY
    return f"{uid}:{gid or uid}" if uid.isdecimal() else str(worker.user)
