"""What a configuration directory is when `plancton init --repo` has made it: the clone of a repository.

A mark below .git says so. Nothing in a repository can put it there, or take it away: git refuses paths below
.git, and an owner's own git (etckeeper) does not make it.
"""

import os
import stat
from pathlib import Path
from typing import Literal

import msgspec

from plancton.errors import PlanctonError

MARK = Path(".git/plancton")
CONFIG, ALLOW, TOKEN = "config.yaml", "allow.yaml", "token"

Place = Literal["inside", "missing", "outside"]


class CloneError(PlanctonError):
    """A clone that can't be made or used, in one line."""


class Origin(msgspec.Struct, frozen=True):
    """Where a clone comes from. ``ref`` as it was asked for, None: whatever the repository calls HEAD.

    ``branch`` is what it follows, None for a tag or commit.
    """

    url: str
    ref: str | None
    branch: str | None


class Clone(msgspec.Struct, frozen=True):
    """The clone at ``root``, with its files as they are in ``tree``: there, or not yet put there."""

    root: Path
    tree: Path

    def now(self, path: Path) -> Path:
        """Where the file of this path is now."""
        inside = self._inside(str(path))
        return path if inside is None or not os.path.lexists(self.tree / inside) else self.tree / inside

    def place(self, path: str) -> Place:
        """Where a path leads that a configuration names. ``.git`` and the whole directory are outside."""
        inside = self._inside(path)
        if inside is None or inside.parts[:1] in ((), (".git",)):
            return "outside"
        for top in (self.tree, self.root):
            if os.path.lexists(top / inside):
                real, real_top = Path(os.path.realpath(top / inside)), Path(os.path.realpath(top))
                below = real.is_relative_to(real_top) and real != real_top
                return "inside" if below and real.relative_to(real_top).parts[0] != ".git" else "outside"
        return "missing"

    def name(self, path: str) -> str:
        """What git calls the file that a path inside leads to."""
        top = os.path.realpath(self.tree)
        return os.path.relpath(os.path.realpath(self.now(Path(path))), top)

    def _inside(self, path: str) -> Path | None:
        if ".." in path.split("/"):
            return None
        found = Path(os.path.abspath(path))
        return found.relative_to(self.root) if found.is_relative_to(self.root) else None


def clone_of(file: Path) -> Path | None:
    """The clone that a file lies in; None when it lies in none."""
    for path in (Path(os.path.abspath(file)), Path(os.path.realpath(file))):
        for directory in path.parents:
            if _is_marked(directory):
                return directory
    return None


def _is_marked(directory: Path) -> bool:
    try:
        (directory / MARK).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it can't be seen, so it may be there
        return os.path.lexists(directory / ".git")
    return True


def read_origin(root: Path) -> Origin:
    """Where this clone comes from."""
    try:
        return msgspec.json.decode((root / MARK).read_bytes(), type=Origin)
    except OSError as error:
        raise CloneError(
            f"{root / MARK}: {error.strerror}; it says where the configuration comes from"
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CloneError(f"{root / MARK}: is damaged: move {root} away and clone again") from None


def hand_over(root: Path, uid: int) -> None:
    """Make the clone this user's, who then may follow its branch; allow.yaml stays root's."""
    try:
        for path in (root, *root.rglob("*")):
            found = path.lstat()
            # A second name of a file may be one of a file elsewhere.
            mine = stat.S_ISDIR(found.st_mode) or found.st_nlink == 1
            if path != root / ALLOW and found.st_uid != uid and mine:
                os.chown(path, uid, -1, follow_symlinks=False)
    except OSError as error:
        raise CloneError(f"{error.filename or root}: can't be handed over: {error.strerror}") from None
