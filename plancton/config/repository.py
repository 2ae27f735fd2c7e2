"""A repository as configuration directory: cloned once, and followed to commits that may be put in force.

Everything is looked at before it is put in place: the commit by git's objects, its files in a directory
below .git. Files are put in place one by one by renaming, config.yaml after all others: its readers see the
old configuration with its files or the new one with its own, and never a half.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.config.clone import ALLOW, CONFIG, MARK, TOKEN, Clone, CloneError, Origin, read_origin
from plancton.config.git import Git, masked
from plancton.config.load import load_from
from plancton.errors import PlanctonError
from plancton.files import replace_file
from plancton.units import Size, shown

MOST_FILES, MOST_BYTES = 1_000, 16 * 1024 * 1024
"""Of one commit; a configuration has some files and kilobytes."""
PENDING = Path(".git/plancton-pending")
"""Holds the commit that is being put in place, so that what a crash left half done is ended."""
INDEX = Path(".git/plancton-index")
REMOTE = "refs/remotes/origin/"
_URLS = re.compile(r"(/|file:///|https://|ssh://|[\w.-]+@[\w.-]+:)[^\s\x00-\x1f]+", re.ASCII)
_REF = re.compile(r"[\w][\w./+-]*", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


class Entry(NamedTuple):
    """A file of a commit."""

    mode: str
    blob: str
    size: int


Files = dict[str, Entry]


# ---------------------------------------------------------------- cloning


def init(url: str, ref: str | None, directory: Path) -> str:
    """Make ``directory`` a clone of the repository, when its configuration may be put in force; a sentence.

    It changes nothing where that is done already, and leaves nothing where it fails.
    """
    _check_words(url, ref)
    directory = Path(os.path.abspath(directory))
    if os.path.lexists(directory / MARK):
        return _is_there(url, ref, directory)
    made = _make(directory)
    try:
        _require_room(directory)
        with _scratch(directory) as new:
            with _about(masked(url)):
                origin, target = _fetch_first(Git(new), Origin(url, ref, None))
                commit = _fill(Git(new), origin, target)
                _require_no_link_out(new)
                load_from(Clone(directory, new), directory / CONFIG)
            _mark(new, origin)
            _move(new, directory)
    except BaseException as error:
        _unmake(made)
        if isinstance(error, OSError):
            raise CloneError(f"{error.filename or directory}: {error.strerror}") from None
        raise
    what = f"branch {origin.branch}" if origin.branch else f"pinned at {ref}"
    return f"{directory}: a clone of {masked(url)}, {what}, commit {commit[:12]}"


def _check_words(url: str, ref: str | None) -> None:
    if _URLS.fullmatch(url) is None:
        raise CloneError(
            f"{shown(masked(url))} is no repository's address"
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


def _make(directory: Path) -> list[Path]:
    """Make the directory; those that were not there."""
    missing = [path for path in (directory, *directory.parents) if not os.path.lexists(path)]
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        _unmake(missing)
        raise CloneError(f"{directory}: can't be made: {error.strerror}") from None
    return missing


def _unmake(made: list[Path]) -> None:
    for path in made:
        with contextlib.suppress(OSError):
            path.rmdir()


def _require_room(directory: Path) -> None:
    found = sorted(set(os.listdir(directory)) - {ALLOW, TOKEN})
    if found:
        raise CloneError(f"{directory}: is not empty ({found[0]}): move what is there away; {ALLOW} may stay")


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A directory beside the files to come, so that these can be renamed; gone at the end."""
    new = Path(tempfile.mkdtemp(prefix=".plancton-", dir=directory))
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _fetch_first(git: Git, asked: Origin) -> tuple[Origin, str]:
    """Fetch what was asked for; what it is, and what git calls it here."""
    branch = asked.ref
    git.run("init", "-q", "--template=", "-b", "main")
    listed = git.run("ls-remote", "--symref", "--", asked.url).decode(errors="replace")
    if asked.ref is None:
        head = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", listed, re.MULTILINE)
        if head is None or _REF.fullmatch(head[1]) is None:
            raise CloneError("the repository does not say which branch is its own: add --ref")
        branch = head[1]
    refs = set(re.findall(r"\t(refs/\S+)$", listed, re.MULTILINE))
    git.run("remote", "add", "origin", asked.url)
    if f"refs/heads/{branch}" in refs:
        git.run("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        git.run("config", f"branch.{branch}.remote", "origin")
        git.run("config", f"branch.{branch}.merge", f"refs/heads/{branch}")
        _fetch(git, asked.url, f"+refs/heads/{branch}:{REMOTE}{branch}")
        return msgspec.structs.replace(asked, branch=branch), f"{REMOTE}{branch}"
    if f"refs/tags/{branch}" in refs:
        _fetch(git, asked.url, f"+refs/tags/{branch}:refs/tags/{branch}")
        return asked, f"refs/tags/{branch}"
    if asked.ref and _COMMIT.fullmatch(asked.ref):
        _fetch(git, asked.url, f"+refs/heads/*:{REMOTE}*", "+refs/tags/*:refs/tags/*")
        if git.holds("rev-parse", "--verify", "-q", f"{asked.ref}^{{commit}}"):
            return asked, asked.ref
    raise CloneError(f"there is no branch, tag or commit {branch}")


def _fill(git: Git, origin: Origin, target: str) -> str:
    """Put the files of the new clone in place; the commit."""
    commit = git.text("rev-parse", "--verify", f"{target}^{{commit}}")
    _files(git, commit)
    if origin.branch:
        git.run("update-ref", f"refs/heads/{origin.branch}", commit)
    else:
        git.run("update-ref", "--no-deref", "HEAD", commit)
    git.run("read-tree", commit)
    git.run("checkout-index", "-a", "-q")
    return commit


def _mark(root: Path, origin: Origin) -> None:
    secret = masked(origin.url) != origin.url
    (root / MARK).write_bytes(msgspec.json.encode(origin))
    for path in (root / MARK, root / ".git/config"):
        path.chmod(0o600 if secret else 0o644)


def _move(new: Path, directory: Path) -> None:
    """Move what is in one directory into the other: first what says that it is a clone, config.yaml last."""
    names = sorted(os.listdir(new), key=lambda name: (name == CONFIG, name != ".git", name))
    for name in names:
        if os.path.lexists(directory / name):
            raise CloneError(f"{directory / name}: is in the way of the repository's: move it away")
    moved = list[str]()
    try:
        for name in names:
            (new / name).rename(directory / name)
            moved.append(name)
    except BaseException:
        for name in moved:
            (directory / name).rename(new / name)
        raise


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
        old = _end_pending(git)
    with _about(masked(origin.url)):
        _fetch(git, origin.url, f"+refs/heads/{origin.branch}:{REMOTE}{origin.branch}")
        new = git.text("rev-parse", "--verify", f"{REMOTE}{origin.branch}^{{commit}}")
        if new == old:
            return ""
        with _about(f"commit {new[:12]} of branch {origin.branch}"):
            if not git.holds("merge-base", "--is-ancestor", old, new):
                raise CloneError(f"does not follow {old[:12]}, the one here (a forced push?)")
            _require_signed(git, new, signers)
            _require_nothing_in_the_way(git, old, new)
            with _put_out(git, new) as tree:
                _require_no_link_out(tree)
                load_from(Clone(root, tree), root / CONFIG)
                _switch(git, old, new, tree)
    return f"the configuration is commit {new[:12]} of branch {origin.branch} now"


def _require_writable(root: Path) -> None:
    for path in (root, root / ".git"):
        if not os.access(path, os.W_OK | os.X_OK):
            raise CloneError(
                f"{path}: can't be written by this user, so it can't follow the repository"
                " (`plancton prepare --user` as root hands it over)"
            )


def _fetch(git: Git, url: str, *refs: str) -> None:
    git.run(
        "fetch", "-q", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--", url, *refs
    )  # fmt: skip


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


def _require_nothing_in_the_way(git: Git, old: str, new: str) -> None:
    """What somebody changed or added by hand is not ours to overwrite."""
    changed = git.run(
        "status", "--porcelain", "-z", "--untracked-files=no", "--no-renames", "--ignore-submodules"
    )
    if changed:
        name = changed.split(b"\0")[0][3:].decode(errors="replace")
        raise CloneError(f"{git.root / name} was changed on this host: `git checkout` it, or commit it there")
    before = _files(git, old)
    for name in _files(git, new):
        for path in (*map(str, Path(name).parents[:-1]), name):
            if _is_foreign(git.root, path, before, is_parent=path != name):
                raise CloneError(f"{git.root / path} is in the way: move it away")


def _is_foreign(root: Path, name: str, before: Files, is_parent: bool) -> bool:
    """Whether something is there that is not the old commit's, and would have to go."""
    path = root / name
    if name in before or not os.path.lexists(path):
        return False
    if path.is_symlink() or not path.is_dir():
        return True
    held = (Path(top) / file for top, _, files in os.walk(path) for file in files)
    return not is_parent and any(str(file.relative_to(root)) not in before for file in held)


def _files(git: Git, commit: str) -> Files:
    """The files of a commit; refuses one that no configuration is."""
    found = Files()
    for line in git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0")[:-1]:
        about, _, name = line.partition(b"\t")
        mode, kind, blob, size = about.decode().split()
        if kind == "blob":  # not those of submodules
            found[os.fsdecode(name)] = Entry(mode, blob, int(size))
    if ALLOW in found:
        raise CloneError(f"{ALLOW} is in the repository: it must be the host's own")
    if CONFIG not in found:
        raise CloneError(f"there is no {CONFIG} in it")
    if len(found) > MOST_FILES or sum(entry.size for entry in found.values()) > MOST_BYTES:
        raise CloneError(f"has more than {MOST_FILES} files or {Size(MOST_BYTES)}: it is no configuration")
    return found


@contextmanager
def _put_out(git: Git, commit: str) -> Iterator[Path]:
    """The files of a commit, in a directory on the clone's own file system."""
    tree, index = git.root / ".git/plancton-tree", git.root / INDEX
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    try:
        git.run("read-tree", commit, index=index)
        git.run("checkout-index", "-a", "-q", f"--prefix={tree}/", index=index)
        yield tree
    finally:
        shutil.rmtree(tree, ignore_errors=True)
        index.unlink(missing_ok=True)


def _require_no_link_out(tree: Path) -> None:
    """No symbolic link may lead out of the repository, whether the configuration names it or not."""
    top = Path(os.path.realpath(tree))
    for directory, directories, files in os.walk(tree):
        if Path(directory) == tree and ".git" in directories:
            directories.remove(".git")
        for name in (*directories, *files):
            path = Path(directory) / name
            if not path.is_symlink():
                continue
            real = Path(os.path.realpath(path))
            if os.path.isabs(os.readlink(path)) or not real.is_relative_to(top) or _is_git(real, top):
                raise CloneError(f"{path.relative_to(tree)}: is a link out of the repository")


def _is_git(path: Path, top: Path) -> bool:
    return path == top or path.relative_to(top).parts[0] == ".git"


def _switch(git: Git, old: str, new: str, tree: Path) -> None:
    """Put the files of ``tree`` in place of the old commit's, config.yaml after the others."""
    root, before, after = git.root, _files(git, old), _files(git, new)
    replace_file(root / PENDING, new.encode(), 0o644)
    gone = sorted(set(before) - set(after))
    for name in gone:
        if _conflicts(name, after):
            _remove(root, name)
    for name in sorted(after, key=lambda name: (name == CONFIG, name)):
        if before.get(name) != after[name] or not os.path.lexists(root / name):
            (root / name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            os.replace(tree / name, root / name)
    for name in gone:
        _remove(root, name)
    os.replace(root / INDEX, root / ".git/index")
    git.run("update-ref", "HEAD", new)
    (root / PENDING).unlink()


def _conflicts(name: str, after: Files) -> bool:
    """Whether this file is where a directory is to come, or below where a file is."""
    return any(other.startswith(f"{name}/") for other in after) or any(
        str(p) in after for p in Path(name).parents
    )


def _remove(root: Path, name: str) -> None:
    """A file, with the directories that it leaves empty; not what has taken its place already."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        (root / name).unlink()
    for directory in list(Path(name).parents)[:-1]:
        with contextlib.suppress(OSError):
            (root / directory).rmdir()


def _end_pending(git: Git) -> str:
    """End the switch that a crash or a full disk cut short; the commit that is here now."""
    old = git.text("rev-parse", "--verify", "HEAD^{commit}")
    try:
        new = (git.root / PENDING).read_text().strip()
    except FileNotFoundError:
        return old
    with _put_out(git, new) as tree:
        _switch(git, old, new, tree)
    return new


@contextmanager
def _about(thing: str) -> Iterator[None]:
    """Errors of git's and the file system's in one line that begins with what they are about."""
    try:
        yield
    except PlanctonError as error:
        raise CloneError(f"{thing}: {error}", tuple(f"{thing}: {line}" for line in error.lines)) from None
    except OSError as error:
        raise CloneError(f"{thing}: {error.filename or 'this host'}: {error.strerror}") from None
