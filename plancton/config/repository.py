"""A repository as configuration directory: cloned once, and followed to commits that may be put in force.

git puts the files of a commit into a new directory. When they have been looked at there, one rename of the
link to that directory (clone.py) puts all of them in force: whoever reads sees the old version or the new
one, and so does the next start after a crash. Running workers keep the files that they were started with.
"""

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from plancton.config.clone import (
    ALLOW,
    CONFIG,
    MARK,
    TOKEN,
    TREE,
    TREES,
    Clone,
    CloneError,
    Origin,
    files_of,
    is_link,
    read_origin,
    record_of,
    top_of,
    write_files,
)
from plancton.config.git import Git, GitError, masked
from plancton.config.load import load_from
from plancton.errors import PlanctonError
from plancton.units import Size, shown

MOST_FILES, MOST_BYTES = 1_000, 16 * 1024 * 1024
"""Of one commit; a configuration has some files and kilobytes."""
KEPT = 7 * 86_400
"""Seconds for which the files of an older commit stay: workers that mount them may still run."""
MOST_KEPT = 20
"""Of the older commits, whose files are 320 MiB at most."""
REMOTE = "refs/remotes/origin/"
_URLS = re.compile(r"/[^\x00-\x1f]+|(file:///|https://|ssh://|[\w.-]+@[\w.-]+:)[^\s\x00-\x1f]+", re.ASCII)
_REF = re.compile(r"[\w][\w./+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


# ---------------------------------------------------------------- cloning


def init(url: str, ref: str | None, directory: Path) -> str:
    """Make ``directory`` a clone of the repository, when its configuration may be put in force; a sentence.

    It changes nothing where that is done already, and leaves nothing where it fails.
    """
    _check_words(url, ref)
    directory = Path(os.path.abspath(directory))
    if os.path.lexists(directory / MARK):
        return _is_there(url, ref, directory)
    try:
        _require_room(directory)
        nearest = next(path for path in (directory, *directory.parents) if path.is_dir())
        with tempfile.TemporaryDirectory(prefix=".plancton-", dir=nearest) as new:
            origin, commit = _clone(Git(Path(new)), Origin(url, ref, None), directory)
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            (Path(new) / ".git").rename(directory / ".git")
        _link(directory, directory / TREES / commit)
    except OSError as error:
        raise CloneError(f"{error.filename or directory}: {error.strerror}") from None
    what = f"branch {origin.branch}" if origin.branch else f"pinned at {ref}"
    return f"{directory}: a clone of {masked(url)}, {what}, commit {commit[:12]}"


def _check_words(url: str, ref: str | None) -> None:
    if _URLS.fullmatch(url) is None:
        raise CloneError(
            f"{shown(masked(url))} is not the address of a repository"
            " (https://…, ssh://…, user@host:path, file:///… or /path)"
        )
    if ref is not None and (_REF.fullmatch(ref) is None or ".." in ref):
        raise CloneError(f"{shown(ref)} is not the name of a branch, tag or commit")


def _is_there(url: str, ref: str | None, directory: Path) -> str:
    origin = read_origin(directory)
    at, wanted = _named(origin.url, origin.ref), _named(url, ref)
    if (origin.url, origin.ref) != (url, ref):
        other = wanted if wanted != at else "the same with another user or password"
        raise CloneError(
            f"{directory}: is a clone of {at} already, and not of {other}:"
            f" move all but {ALLOW} and {TOKEN} away to clone that"
        )
    if not (directory / CONFIG).exists():
        raise CloneError(f"{directory}: is a clone of {at} without {CONFIG}: move it away to clone it again")
    return f"{directory}: is a clone of {at} already; nothing to do"


def _named(url: str, ref: str | None) -> str:
    return f"{masked(url)} at {ref or 'its own branch'}"


def _require_room(directory: Path) -> None:
    found = sorted(set(os.listdir(directory)) - {ALLOW, TOKEN}) if os.path.lexists(directory) else []
    if found:
        raise CloneError(
            f"{directory}: is not empty ({found[0]}): move what is there away; {ALLOW} and {TOKEN} may stay"
        )


def _clone(git: Git, asked: Origin, directory: Path) -> tuple[Origin, str]:
    """A clone of what was asked for, as it will be in ``directory``; what it is, and its commit."""
    with _about(masked(asked.url)):
        branch, commit = _fetch_first(git, asked)
        tree = _put_out(git, commit)
        _require_good(Clone(directory, tree))
    if branch is None:
        git.run("update-ref", "--no-deref", "HEAD", commit)
    git.run("read-tree", commit)
    git.run("config", "core.worktree", TREE.name)
    (git.root / TREE).symlink_to(tree.relative_to(git.root / ".git"))
    origin = Origin(asked.url, asked.ref, branch)
    (git.root / MARK).write_bytes(msgspec.json.encode(origin))
    for path in (git.root / MARK, git.root / ".git/config"):
        path.chmod(0o600 if masked(origin.url) != origin.url else 0o644)
    return origin, commit


def _fetch_first(git: Git, asked: Origin) -> tuple[str | None, str]:
    """The branch, if it is one, and the commit."""
    # By the protocol from a directory, too, so that git looks at the objects and shares none.
    words = ("clone", "-q", "--no-checkout", "--no-local", "--template=")
    at = "HEAD"
    try:
        git.run(*words, *(("--branch", asked.ref) if asked.ref else ()), "--", asked.url, ".")
    except GitError as error:
        if asked.ref is None or "not found in upstream" not in str(error):
            raise
        if _COMMIT.fullmatch(asked.ref) is None:
            raise CloneError(f"there is no branch, tag or commit {asked.ref}") from None
        git.run(*words, "--", asked.url, ".")
        at = asked.ref
    if not git.holds("rev-parse", "--verify", "-q", f"{at}^{{commit}}"):
        raise CloneError(f"there is no branch, tag or commit {asked.ref or 'yet'}")
    branch = None
    if at == "HEAD" and git.holds("symbolic-ref", "-q", "HEAD"):
        branch = git.text("symbolic-ref", "--short", "HEAD")
    if branch is None and asked.ref is None:
        raise CloneError("the repository does not say which branch is its own: add --ref")
    return branch, git.text("rev-parse", f"{at}^{{commit}}")


# ---------------------------------------------------------------- following


def refresh(git: Git, signers: list[str]) -> str:
    """Take the branch's newest commit, when it may be put in force: what was done, empty when nothing was.

    Raises PlanctonError when it may not. ``signers`` are those of the configuration in force.
    """
    root = git.root
    origin = read_origin(root)
    if origin.branch is None:
        return ""
    _require_writable(root)
    with _about(str(root)):
        old = _settle(git)
    with _about(masked(origin.url)):
        with git.apart():
            new = _fetch(git, origin.url, origin.branch)
            if new == old:
                return ""
            with _about(f"commit {new[:12]} of branch {origin.branch}"):
                tree = _accepted(git, old, new, signers)
            git.keep()
        git.run("update-ref", f"{REMOTE}{origin.branch}", new)
        _switch(root, tree)
        _settle(git)
        git.holds("gc", "--auto", "-q")  # if it fails, the configuration is in force all the same
    return f"the configuration is commit {new[:12]} of branch {origin.branch} now"


def _accepted(git: Git, old: str, new: str, signers: list[str]) -> Path:
    """The files of a new commit, when they may be put in force."""
    if not git.holds("merge-base", "--is-ancestor", old, new):
        raise CloneError(f"does not follow {old[:12]}, the one here (a forced push?)")
    _require_signed(git, new, signers)
    _require_untouched(git)
    tree = _put_out(git, new)
    try:
        _require_good(Clone(git.root, tree))
    except BaseException:
        _remove(tree)
        raise
    return tree


def _require_writable(root: Path) -> None:
    for path in (root, root / ".git"):
        if not os.access(path, os.W_OK | os.X_OK):
            raise CloneError(
                f"{path}: can't be written by this user, so it can't follow the repository"
                " (`plancton prepare --user` as root hands it over)"
            )


def _fetch(git: Git, url: str, branch: str) -> str:
    """Bring the branch's newest commit, which nothing refers to yet."""
    try:
        options = ("-q", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--refmap=")
        git.run("fetch", *options, "--", url, f"refs/heads/{branch}")
        return git.text("rev-parse", "--verify", "FETCH_HEAD^{commit}")
    finally:
        (git.root / ".git/FETCH_HEAD").unlink(missing_ok=True)


def _require_signed(git: Git, commit: str, signers: list[str]) -> None:
    if not signers:
        return
    if shutil.which("ssh-keygen") is None:
        raise CloneError("can't be verified: ssh-keygen is not installed")
    with tempfile.NamedTemporaryFile("w", prefix="plancton-signers-") as file:
        for key in signers:
            kind, data, *_ = key.split()
            file.write(f'plancton namespaces="git" {kind} {data}\n')
        file.flush()
        if not git.holds("-c", f"gpg.ssh.allowedSignersFile={file.name}", "verify-commit", commit):
            raise CloneError("is not signed by one of config.signers")


def _require_untouched(git: Git) -> None:
    """What somebody changed or added by hand would no longer be in force."""
    options = (
        "--porcelain",
        "-z",
        "--untracked-files=all",
        "--ignored",
        "--no-renames",
        "--ignore-submodules",
    )
    changed = git.run("status", *options).split(b"\0")[0]
    if changed:
        raise CloneError(
            f"{git.root / os.fsdecode(changed[3:])} was changed on this host: undo that, or move it away"
        )


# ---------------------------------------------------------------- the files of a commit


def _put_out(git: Git, commit: str) -> Path:
    """The files of a commit in a directory of their own, with their names beside it."""
    names = _require_files(git, commit)
    tree = git.root / TREES / commit
    _remove(tree)
    tree.mkdir(parents=True)
    index = git.root / ".git/plancton-index"
    try:
        git.run(f"--work-tree={tree}", "read-tree", "--reset", "-u", commit, index=index)
        _require_written(tree, names)
        write_files(tree, names)
    except BaseException:
        _remove(tree)
        raise
    finally:
        index.unlink(missing_ok=True)
    return tree


def _remove(tree: Path) -> None:
    shutil.rmtree(tree, ignore_errors=True)
    record_of(tree).unlink(missing_ok=True)


FILES = {"100644", "100755"}
"""git's modes of files; other entries are no part of a configuration."""
OTHERS = {"120000": "a symbolic link", "160000": "a submodule"}


def _require_files(git: Git, commit: str) -> set[str]:
    """The names of a commit's files. Refuses a commit that can't be a configuration before anything
    of it is written."""
    sizes = dict[str, int]()
    for line in git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0")[:-1]:
        about, _, raw = line.partition(b"\t")
        mode, _, _, size = about.decode().split()
        name = os.fsdecode(raw)
        if mode not in FILES:
            kind = OTHERS.get(mode, f"of git's mode {mode}")
            raise CloneError(f"{name}: is {kind}: a configuration has only files and directories")
        sizes[name] = int(size)
    if ALLOW in top_of(sizes):
        raise CloneError(f"{ALLOW} is in the repository: it must be the host's own")
    if CONFIG not in sizes:
        raise CloneError(f"there is no {CONFIG} in it")
    if len(sizes) > MOST_FILES or sum(sizes.values()) > MOST_BYTES:
        raise CloneError(f"has more than {MOST_FILES} files or {Size(MOST_BYTES)}: it is not a configuration")
    return set(sizes)


def _require_written(tree: Path, names: set[str]) -> None:
    """These files, and nothing else, are there. Names that differ in case only are one file on some disks."""
    found = set[str]()
    for directory, directories, files in os.walk(tree):
        for path in (Path(directory) / name for name in (*directories, *files)):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                found.add(str(path.relative_to(tree)))
    if found != names:
        name = min(found ^ names)
        raise CloneError(f"{name}: can't be written to this disk as it is in the repository: rename it there")


def _require_good(clone: Clone) -> None:
    """These files may be put in force on this host."""
    for name in sorted(top_of(files_of(clone.tree))):
        if os.path.lexists(clone.root / name) and not is_link(clone.root / name):
            raise CloneError(f"{clone.root / name}: is in the way of the repository's: move it away")
    load_from(clone, clone.root / CONFIG, clone.tree / CONFIG)


def _switch(root: Path, tree: Path) -> None:
    """Put the files of ``tree`` in force: the last step does it, those before lead nowhere yet."""
    _link(root, tree)
    os.utime(root / TREE)  # the time when its files were last in force
    new = root / f"{TREE}.new"
    new.unlink(missing_ok=True)
    new.symlink_to(tree.relative_to(new.parent))
    new.replace(root / TREE)


def _settle(git: Git) -> str:
    """Do what comes after a switch, also after one that a crash cut short: git's own records, and
    the end of what is no longer needed. The commit in force."""
    root = git.root
    commit = (root / TREE).readlink().name
    if git.text("rev-parse", "HEAD") != commit:
        _link(root, root / TREES / commit)
        _unlink_dangling(root, top_of(files_of(root / TREES / commit)))
        _remove_old(root, commit)
        git.run("read-tree", commit)
        git.run("update-ref", "HEAD", commit)
    return commit


def _remove_old(root: Path, commit: str) -> None:
    """Remove the files of commits that no worker uses any more, and in any case of all but the newest
    ones."""
    trees = [path for path in (root / TREES).iterdir() if path.is_dir() and path.name != commit]
    trees.sort(key=lambda tree: tree.stat().st_mtime, reverse=True)
    for number, tree in enumerate(trees):
        if number >= MOST_KEPT or tree.stat().st_mtime < time.time() - KEPT:
            _remove(tree)


def _link(root: Path, tree: Path) -> None:
    """Make the links for what is at the top of these files."""
    for name in sorted(top_of(files_of(tree))):
        if not os.path.lexists(root / name):
            (root / name).symlink_to(TREE / name)


def _unlink_dangling(root: Path, top: set[str]) -> None:
    """Remove the links for what is not at the top any more."""
    for path in root.iterdir():
        if is_link(path) and path.name not in top:
            path.unlink()


@contextmanager
def _about(thing: str) -> Iterator[None]:
    """Errors of git's and the file system's in one line that begins with what they are about."""
    try:
        yield
    except PlanctonError as error:
        raise CloneError(f"{thing}: {error}", tuple(f"{thing}: {line}" for line in error.lines)) from None
    except OSError as error:
        raise CloneError(f"{thing}: {error.filename or 'this host'}: {error.strerror}") from None
