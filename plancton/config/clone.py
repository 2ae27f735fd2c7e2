"""What a configuration directory is once `plancton init --repo` has made it: the clone of a repository.

    DIR/.git/plancton                     the mark: where it comes from
    DIR/.git/plancton-trees/COMMIT        the files of a commit
    DIR/.git/plancton-trees/COMMIT.files  their names, as git has them in the commit
    DIR/.git/plancton-tree                -> plancton-trees/COMMIT: the commit in force
    DIR/config.yaml                       -> .git/plancton-tree/config.yaml, and likewise for each
                                          name at the top
    DIR/allow.yaml, DIR/token, …          the host's own

So one link says which version of all files is in force. A repository can neither make nor remove
the mark: git refuses paths below .git, and the git of an owner (etckeeper) does not make one.
What is the repository's is what the commit names, whatever else is in these directories.
"""

import os
import stat
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

import msgspec

from plancton.errors import PlanctonError
from plancton.files import from_json, read_regular

MARK, TREE, TREES = (Path(".git") / name for name in ("plancton", "plancton-tree", "plancton-trees"))
CONFIG, ALLOW, TOKEN = "config.yaml", "allow.yaml", "token"

LARGEST_MARK, LARGEST_RECORD = 64 * 1024, 8 * 1024 * 1024

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
    """The clone at ``root``, with a commit's files in the directory ``tree``: those in force, or others."""

    root: Path
    tree: Path

    def places(self) -> Callable[[str], Place]:
        """Says where a path leads that a configuration names: to a file of the repository's or a directory of
        such files, to none of its files, or elsewhere. ``.git`` and the whole directory are elsewhere."""
        files = files_of(self.tree)
        directories = {name[:end] for name in files for end, char in enumerate(name) if char == "/"}
        known, top = files | directories, top_of(files)

        def place(path: str) -> Place:
            inside = self._inside(path)
            if inside is None or inside.parts[:1] in ((), (".git",)):
                return "outside"
            if str(inside) in known:
                return "inside"
            known_once = inside.parts[0] in top or is_link(self.root / inside.parts[0])
            return "missing" if known_once or self._stays(inside) else "outside"

        return place

    def _stays(self, inside: Path) -> bool:
        """Whether a path that is not the repository's leads to the host's own in the directory."""
        real, root = Path(os.path.realpath(self.root / inside)), Path(os.path.realpath(self.root))
        return real != root and real.is_relative_to(root) and real.relative_to(root).parts[0] != ".git"

    def _inside(self, path: str) -> Path | None:
        if ".." in path.split("/"):
            return None
        found = Path(os.path.abspath(path))
        return found.relative_to(self.root) if found.is_relative_to(self.root) else None


def is_link(path: Path) -> bool:
    """Whether this, in the clone's directory, is a link to a file of the repository's."""
    return path.is_symlink() and os.readlink(path) == str(TREE / path.name)


def files_of(tree: Path) -> frozenset[str]:
    """The names of a commit's files, as they were written down when git put them out."""
    record = record_of(tree)
    try:
        data, _ = read_regular(record, LARGEST_RECORD, follow=False)
        return frozenset(os.fsdecode(name) for name in data.split(b"\0") if name)
    except OSError as error:
        raise CloneError(
            f"{record}: {error.strerror}; it says what is the repository's:"
            f" move all but {ALLOW} and {TOKEN} away and clone again"
        ) from None


def write_files(tree: Path, names: Collection[str]) -> None:
    """Write the names of a commit's files down."""
    record_of(tree).write_bytes(b"\0".join(os.fsencode(name) for name in sorted(names)))


def record_of(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.files")


def top_of(files: Collection[str]) -> set[str]:
    return {name.partition("/")[0] for name in files}


def clone_of(file: Path) -> Clone | None:
    """The clone that a file lies in, with the files in force; None when it lies in none."""
    for path in (Path(os.path.abspath(file)), Path(os.path.realpath(file))):
        for directory in path.parents:
            if _is_marked(directory):
                return Clone(directory, Path(os.path.realpath(directory / TREE)))
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
    try:
        return from_json(read_regular(root / MARK, LARGEST_MARK)[0], Origin)
    except OSError as error:
        raise CloneError(
            f"{root / MARK}: {error.strerror}; it says where the configuration comes from"
        ) from None
    except ValueError:
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
