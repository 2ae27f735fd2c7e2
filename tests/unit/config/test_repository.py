"""Cloning and following a repository, with the real git."""

import errno
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from unit.repositories import GOOD, Repository, tree

from plancton.config import git as git_module
from plancton.config import repository_limits
from plancton.config.clone import CONFIG, MARK, TREE, TREES, Origin
from plancton.config.git import Git
from plancton.config.load import load_config
from plancton.config.repository import MOST_KEPT, init, refresh
from plancton.errors import PlanctonError

NEW = "image: {name: registry.example.org/worker:2.0}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid())
    return Repository(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A configuration directory that does not exist yet."""
    return tmp_path / "etc/plancton"


def head(root: Path) -> str:
    return Git(root).text("rev-parse", "HEAD")


def clean(root: Path) -> bool:
    """Whether git sees the commit's files unchanged, and nothing is left of what was refused or
    begun."""
    ours = {path.name for path in (root / ".git").glob("plancton-*")}
    in_force = os.readlink(root / TREE)
    return (
        Git(root).run("status", "--porcelain") == b""
        and ours == {TREE.name, TREES.name}
        and in_force == f"{TREES.name}/{head(root)}"
    )


def assert_refused(root: Path, said: str, signers: list[str] | None = None) -> None:
    """Assert that a refresh is refused with this message and changes nothing."""
    before = tree(root), head(root)
    with pytest.raises(PlanctonError) as error:
        refresh(Git(root), signers or [])
    assert said in str(error.value)
    assert (tree(root), head(root)) == before


# ---------------------------------------------------------------- cloning


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_init(repository: Repository, root: Path, form: str) -> None:
    """A repository's branch becomes the configuration directory; a second init changes nothing."""
    url = form.format(repository.bare)
    commit = repository.push({CONFIG: GOOD, "pool.d/site.conf": "x"})
    assert init(url, None, root) == f"{root}: a clone of {url}, branch main, commit {commit[:12]}"
    assert tree(root) == {CONFIG: GOOD, "pool.d/site.conf": "x"}
    assert load_config(root / CONFIG).image.name == "registry.example.org/worker:1.0"
    assert clean(root)
    assert head(root) == commit
    assert root.stat().st_mode & 0o777 == 0o755
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert init(url, None, root) == f"{root}: is a clone of {url} at its own branch already; nothing to do"
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


@pytest.mark.parametrize(
    ("url", "ref", "other"),
    [
        ("https://b.example.org/x", "main", "https://b.example.org/x at main"),
        ("https://me:one@a.example.org/x", "v1", "https://a.example.org/x at v1"),
        ("https://me:one@a.example.org/x", None, "https://a.example.org/x at its own branch"),
        ("https://me:two@a.example.org/x", "main", "the same with another user or password"),
    ],
)
def test_init_of_another(root: Path, url: str, ref: str | None, other: str) -> None:
    """A clone is never replaced by another: both are named, without a password, with the remedy."""
    (root / MARK).parent.mkdir(parents=True)
    origin = msgspec.json.encode(Origin("https://me:one@a.example.org/x", "main", "main"))
    (root / MARK).write_bytes(origin)
    with pytest.raises(PlanctonError) as error:
        init(url, ref, root)
    assert str(error.value) == (
        f"{root}: is a clone of https://a.example.org/x at main already, and not of {other}:"
        " move all but allow.yaml and token away to clone that"
    )
    assert (root / MARK).read_bytes() == origin


def test_init_at_a_ref(repository: Repository, tmp_path: Path) -> None:
    """A branch is followed; a tag or a commit, even an abbreviated one, stays."""
    old = repository.first
    repository.git("tag", "-a", "-m", "one", "v1")
    repository.git("checkout", "-q", "-b", "site/a")
    side = repository.push({CONFIG: NEW})
    for ref, commit in {"main": old, "site/a": side, "v1": old, old: old, side[:10]: side}.items():
        root = tmp_path / f"clone-{ref.replace('/', '-')}"
        said = init(str(repository.bare), ref, root)
        assert head(root) == commit
        assert clean(root)
        assert (f"branch {ref}" if ref in ("main", "site/a") else f"pinned at {ref}") in said
        assert f"at {ref} already" in init(str(repository.bare), ref, root)
    repository.push({CONFIG: GOOD})
    repository.git("tag", "-f", "v1")
    repository.send()
    for ref, commit in {"v1": old, old: old, side[:10]: side}.items():
        assert refresh(Git(tmp_path / f"clone-{ref}"), []) == ""
        assert head(tmp_path / f"clone-{ref}") == commit


def test_init_keeps_what_is_the_hosts(repository: Repository, root: Path) -> None:
    """allow.yaml and the token may be there before, and stay; what allow.yaml permits counts."""
    root.mkdir(parents=True)
    (root / "allow.yaml").write_text("privileged: true")
    (root / "token").write_text("secret")
    repository.push({CONFIG: "worker: {privileged: true}"})
    init(str(repository.bare), None, root)
    assert tree(root) == {
        CONFIG: "worker: {privileged: true}",
        "allow.yaml": "privileged: true",
        "token": "secret",
    }


BAD: dict[str, tuple[dict[str, str | None], str]] = {
    "not valid": ({CONFIG: "worker: {cpu: 1}"}, "ROOT/config.yaml: worker.cpu: unknown key"),
    "not permitted": ({CONFIG: "worker: {privileged: true}"}, "worker.privileged: needs `privileged: true`"),
    "none": ({CONFIG: None, "x": ""}, "there is no config.yaml in it"),
    "brings its own allow.yaml": ({"allow.yaml": "privileged: true"}, "allow.yaml is in the repository"),
    "a directory allow.yaml": ({"allow.yaml/x": ""}, "allow.yaml is in the repository"),
    "a link": ({"a/b": "-> ../pool.d"}, "a/b: is a symbolic link: a configuration has only files"),
    "a link out": ({"a": "-> /etc/passwd"}, "a: is a symbolic link"),
    "a link to a host's file": ({"a": "-> ../../token"}, "a: is a symbolic link"),
    "config.yaml a link": ({CONFIG: "-> config.yaml"}, "config.yaml: is a symbolic link"),
    "many files": ({f"f{n}": "" for n in range(1001)}, "has more than 1000 files or 16MiB"),
    "large": ({"large": "0" * (16 * 1024 * 1024 + 1)}, "has more than 1000 files or 16MiB"),
}  # fmt: skip


@pytest.mark.parametrize("why", BAD)
def test_init_refuses(repository: Repository, root: Path, why: str) -> None:
    """What may not be put in force is not cloned, and the host stays as it was."""
    files, said = BAD[why]
    repository.push(files)
    for there in (False, True):
        if there:
            root.mkdir(parents=True)
            (root / "allow.yaml").write_text("")
        with pytest.raises(PlanctonError) as error:
            init(str(repository.bare), None, root)
        assert said.replace("ROOT", str(root)) in str(error.value)
        assert root.parent.exists() == there
        assert not there or os.listdir(root) == ["allow.yaml"]


@pytest.mark.parametrize("why", BAD)
def test_refresh_refuses(repository: Repository, root: Path, why: str) -> None:
    """The same commits are not put in force over an older one, but a good one after them is."""
    init(str(repository.bare), None, root)
    files, said = BAD[why]
    commit = repository.push(files)
    assert_refused(root, said.replace("ROOT", str(root)))
    assert_refused(root, f"{repository.bare}: commit {commit[:12]} of branch main: ")
    assert clean(root)
    repository.push({**dict.fromkeys(files), CONFIG: NEW})
    refresh(Git(root), [])
    assert tree(root) == {CONFIG: NEW}


def test_init_where_something_is(repository: Repository, root: Path) -> None:
    """Anything in the directory, or in the way of a file, is named and stays."""
    root.mkdir(parents=True)
    (root / "config.yaml").write_text("mine")
    said = r"is not empty \(config.yaml\): move what is there away; allow.yaml and token may stay"
    with pytest.raises(PlanctonError, match=said):
        init(str(repository.bare), None, root)
    assert tree(root) == {"config.yaml": "mine"}
    (root / "config.yaml").rename(root / "token")
    repository.push({"token": "theirs"})
    with pytest.raises(PlanctonError, match="token: is in the way of the repository's"):
        init(str(repository.bare), None, root)
    assert tree(root) == {"token": "mine"}


BAD_WORDS = {
    ("config", None): "'config' is not the address",
    ("http://example.org/x", None): "is not the address",
    ("ext::sh -c id", None): "is not the address",
    ("git://example.org/x", None): "is not the address",
    ("--upload-pack=id", None): "is not the address",
    ("/none", None): "/none: repository '/none' does not exist",
    ("https://u:pw@127.0.0.1:9/x", None): "https://127.0.0.1:9/x: unable to access 'https://127.0.0.1:9/x/'",
    ("https://u:p@pw@127.0.0.1:9/x", None): "https://127.0.0.1:9/x: unable to access 'https://127.0.0.1:9/",
    ("BARE", "--force"): "'--force' is not the name of a branch, tag or commit",
    ("BARE", "a..b"): "'a..b' is not the name of a branch, tag or commit",
    ("BARE", "none"): "there is no branch, tag or commit none",
    ("BARE", "abcdef1234"): "there is no branch, tag or commit abcdef1234",
}


@pytest.mark.parametrize(("url", "ref"), BAD_WORDS)
def test_init_from_nowhere(repository: Repository, root: Path, url: str, ref: str | None) -> None:
    """A wrong address or name is reported, without its password, and nothing is left."""
    with pytest.raises(PlanctonError) as error:
        init(url.replace("BARE", str(repository.bare)), ref, root)
    assert BAD_WORDS[url, ref] in str(error.value)
    assert "pw" not in str(error.value)
    assert not root.parent.exists()


def test_without_git(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing git is reported."""
    empty = root.parents[1] / "bin"
    empty.mkdir()
    (empty / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(empty))
    with pytest.raises(PlanctonError, match="git is not installed"):
        init("/none", None, root)
    assert not root.parent.exists()


def test_hostile_surroundings(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program from the user's settings, hooks or the repository's attributes is run."""
    home = root.parents[1] / "settings"
    home.mkdir()
    ran = home / "ran"
    program = home / "program"
    program.write_text(f"#!/bin/sh\necho $0 >>{ran}\ncat\n")
    program.chmod(0o755)
    (home / ".gitconfig").write_text(
        f"[core]\nhooksPath={home}\nfsmonitor={program}\n"
        f"[filter \"x\"]\nsmudge={program}\nprocess={program}\n"
        f"[init]\ntemplateDir={home}\n"
        f"[uploadpack]\npackObjectsHook={program}\n"
    )  # fmt: skip
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "post-merge"):
        shutil.copy(program, home / hook)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(repository.work / ".git"))
    repository.push({".gitattributes": "* filter=x", ".gitmodules": '[submodule "s"]\npath=s\nurl=/x\n'})
    init(str(repository.bare), None, root)
    shutil.copytree(home, root / ".git/hooks")
    repository.push({CONFIG: NEW})
    refresh(Git(root), [])
    assert not ran.exists()


# ---------------------------------------------------------------- following


def test_refresh(repository: Repository, root: Path) -> None:
    """Files are added, changed and removed as in the commit, and the host's own files stay."""
    repository.push({CONFIG: GOOD, "a/old": "1", "a/kept": "1", "b": "1", "c/d": "1"})
    init(str(repository.bare), None, root)
    (root / "allow.yaml").write_text("")
    (root / "mine").mkdir()
    (root / "mine/file").write_text("mine")
    assert refresh(Git(root), []) == ""
    new = {CONFIG: NEW, "a/old": None, "a/kept": "2", "b": None, "b/is/deep": "2", "c/d": None, "c": "2"}
    for gone in ("a/old", "b", "c/d"):
        (repository.work / gone).unlink()
    (repository.work / "c").rmdir()
    commit = repository.push(new)
    assert commit[:12] in refresh(Git(root), [])
    assert tree(root) == {
        CONFIG: NEW, "a/kept": "2", "mine/file": "mine", "allow.yaml": "", "b/is/deep": "2", "c": "2",
    }  # fmt: skip
    assert head(root) == commit
    assert clean(root)
    assert refresh(Git(root), []) == ""


def seen_by_readers(root: Path) -> dict[str, str]:
    """The files by their paths, without links that lead nowhere (yet, or any more)."""
    return {name: (root / name).read_text() for name in (CONFIG, "old", "a", "zz") if (root / name).exists()}


OLD_FILES = {CONFIG: GOOD, "old": "", "zz": "1"}
NEW_FILES = {CONFIG: NEW, "a": "2", "zz": "2"}


@pytest.mark.parametrize("call", ["symlink", "utime", "replace", "unlink", "mkdir"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_refresh_cut_short(
    repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    """Wherever it is cut short, readers see the old files or the new ones, and the next one
    completes it."""
    repository.push(OLD_FILES)
    init(str(repository.bare), None, root)
    commit = repository.push({**NEW_FILES, "old": None})
    really = getattr(os, call)
    left = 0

    class Crash(BaseException):
        pass

    def crashing(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and when == "before":
            raise Crash
        result = really(*arguments, **options)
        if left < 0:
            raise Crash
        return result

    cut = 0
    for steps in range(20):
        left = steps
        with monkeypatch.context() as patched:
            patched.setattr(os, call, crashing)
            try:
                refresh(Git(root), [])
                break
            except Crash:
                cut += 1
        assert seen_by_readers(root) in (OLD_FILES, NEW_FILES)
    assert cut
    refresh(Git(root), [])
    assert seen_by_readers(root) == tree(root) == NEW_FILES
    assert head(root) == commit
    assert clean(root)


def test_a_full_disk(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room leaves the old version in force, and it is said."""
    repository.push(OLD_FILES)
    init(str(repository.bare), None, root)
    repository.push(NEW_FILES)

    def full(source: object, target: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    with monkeypatch.context() as patched:
        patched.setattr(os, "symlink", full)
        assert_refused(root, "No space left on device")
    assert clean(root)


def test_files_of_running_workers(repository: Repository, root: Path) -> None:
    """The files of an older commit stay for some days, in which workers may have them mounted."""
    repository.push(OLD_FILES)
    init(str(repository.bare), None, root)
    first = (root / TREE).resolve()
    repository.push(NEW_FILES)
    refresh(Git(root), [])
    assert (first / "zz").read_text() == "1"
    os.utime(first, (0, 0))
    repository.push({"zz": "3"})
    second = (root / TREE).resolve()
    refresh(Git(root), [])
    assert not first.exists() and (second / "zz").read_text() == "2"


def test_a_forced_push(repository: Repository, root: Path) -> None:
    """A branch that was rewritten or reset is not followed."""
    repository.push({CONFIG: NEW})
    init(str(repository.bare), None, root)
    repository.git("commit", "-q", "--amend", "-m", "other")
    repository.send()
    assert_refused(root, "(a forced push?)")
    repository.git("reset", "-q", "--hard", repository.first)
    repository.send()
    assert_refused(root, "(a forced push?)")


def stored(root: Path) -> int:
    """Bytes below .git, without the files that were put out."""
    top = root / ".git"
    return sum(path.lstat().st_size for path in top.rglob("*") if not path.is_relative_to(root / TREES))


def test_refused_commits_leave_nothing(repository: Repository, root: Path) -> None:
    """However many forced, unsigned or too large commits are refused, the clone does not grow, and a
    good one after them is put in force."""
    init(str(repository.bare), None, root)
    signers = [repository.key("ours").with_suffix(".pub").read_text().strip()]
    good, before = repository.first, stored(root)
    for number in range(3):
        repository.git("checkout", "-q", "--orphan", f"forced{number}")
        (repository.work / "large").write_bytes(os.urandom(512 * 1024))
        repository.push({})
        repository.git("push", "-q", "--force", str(repository.bare), "HEAD:main")
        assert_refused(root, "(a forced push?)")
        assert stored(root) < before + 4096
    repository.git("checkout", "-q", "-f", "main")
    repository.push({"large": "0" * (17 * 1024 * 1024), "more": os.urandom(512 * 1024).hex()})
    assert_refused(root, "has more than 1000 files or 16MiB")
    assert_refused(root, "is not signed", signers)
    assert stored(root) < before + 4096
    repository.git("reset", "-q", "--hard", good)
    commit = repository.push({CONFIG: NEW})
    refresh(Git(root), [])
    assert head(root) == commit and clean(root)
    assert stored(root) < before + 64 * 1024
    assert Git(root).run("fsck", "--connectivity-only") == b""


def test_a_fetch_cut_short_leaves_nothing(repository: Repository, root: Path) -> None:
    """What a crash has left of a fetch is gone after the next one."""
    init(str(repository.bare), None, root)
    before = stored(root)
    (root / ".git/plancton-objects").mkdir()
    (root / ".git/plancton-objects/junk").write_bytes(b"0" * 1024 * 1024)
    refresh(Git(root), [])
    assert stored(root) < before + 4096 and clean(root)


def test_trees_without_end(repository: Repository, root: Path) -> None:
    """A hundred million files in a few hundred bytes of nested directories are refused."""
    init(str(repository.bare), None, root)
    before = stored(root)
    entries = [f"100644 blob {repository.git('rev-parse', 'HEAD:config.yaml')}\t{n}" for n in range(10)]
    for _ in range(8):
        made = repository.git("mktree", text="\n".join(entries) + "\n")
        entries = [f"040000 tree {made}\t{n}" for n in range(10)]
    commit = repository.git("commit-tree", made, "-p", "HEAD", "-m", "bomb")
    repository.git("update-ref", "refs/heads/main", commit)
    repository.send()
    assert_refused(root, str(repository.bare))
    assert stored(root) < before + 4096 and clean(root)


def test_a_blob_of_zeros(repository: Repository, root: Path) -> None:
    """A few kilobytes that stand for many megabytes are refused before they are written."""
    init(str(repository.bare), None, root)
    before = stored(root)
    with (repository.work / "zeros").open("wb") as file:
        file.truncate(40 * 1024 * 1024)
    repository.push({})
    assert_refused(root, "has more than 1000 files or 16MiB")
    assert stored(root) < before + 4096 and clean(root)


def test_a_server_that_is_gone(repository: Repository, root: Path) -> None:
    """If the repository or its branch is gone, the configuration stays as it is."""
    init(str(repository.bare), "main", root)
    repository.git("push", "-q", str(repository.bare), "HEAD:other")
    subprocess.run(["git", "-C", repository.bare, "update-ref", "-d", "refs/heads/main"], check=True)
    assert_refused(root, f"{repository.bare}: couldn't find remote ref refs/heads/main")
    shutil.rmtree(repository.bare)
    assert_refused(root, f"{repository.bare}: '{repository.bare}' does not appear to be a git repository")


def test_changed_by_hand(repository: Repository, root: Path) -> None:
    """Manual changes and additions are never overwritten; they are named."""
    repository.push({CONFIG: GOOD, "d/x": "", ".gitignore": "*.log"})
    init(str(repository.bare), None, root)
    repository.push({CONFIG: NEW})
    (root / CONFIG).write_text("pool: {max_workers: 1}")
    assert load_config(root / CONFIG).pool.max_workers == 1
    assert_refused(root, f"{root}/config.yaml was changed on this host")
    (root / CONFIG).write_text(GOOD)
    (root / "d/x").unlink()
    assert_refused(root, f"{root}/d/x was changed on this host")
    (root / "d/x").write_text("")
    for name in ("mine", "mine.log"):
        (root / "d" / name).write_text("mine")
        assert_refused(root, f"{root}/d/{name} was changed on this host")
        (root / "d" / name).unlink()
    (root / "a").write_text("mine")
    repository.push({"a/b": "theirs"})
    assert_refused(root, f"{root}/a: is in the way of the repository's: move it away")
    (root / "a").unlink()
    refresh(Git(root), [])
    assert tree(root) == {CONFIG: NEW, ".gitignore": "*.log", "a/b": "theirs", "d/x": ""}


def test_replaced_by_hand(repository: Repository, root: Path) -> None:
    """A file of the host's own in place of the repository's is what counts, and stays."""
    init(str(repository.bare), None, root)
    (root / CONFIG).unlink()
    (root / CONFIG).write_text("pool: {max_workers: 1}")
    assert load_config(root / CONFIG).pool.max_workers == 1
    repository.push({CONFIG: NEW})
    assert_refused(root, f"{root}/config.yaml: is in the way")


def test_an_allow_of_the_repositorys(repository: Repository, root: Path) -> None:
    """An allow.yaml among the repository's files permits nothing, however it came there."""
    init(str(repository.bare), None, root)
    (root / "allow.yaml").write_text("")
    load_config(root / CONFIG)
    (root / TREE / "allow.yaml").write_text("")
    with pytest.raises(PlanctonError, match=r"allow.yaml: comes from the repository"):
        load_config(root / CONFIG)


def test_a_user_who_may_not_write(
    repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who does not own the clone is told how to get it handed over."""
    init(str(repository.bare), None, root)
    repository.push({CONFIG: NEW})
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert_refused(root, f"{root}: can't be written by this user")


# ---------------------------------------------------------------- whose a file is


UNTRACKED = f"""{GOOD}worker:
  mounts: ["ROOT/NAME:/stolen"]
"""


@pytest.mark.parametrize("name", ["token", "secret.d/key", "TOKEN", "secret.d", ".git/config", "."])
def test_a_file_of_the_hosts_is_not_mounted(repository: Repository, root: Path, name: str) -> None:
    """A pushed commit that mounts a file which the host keeps in the directory is not put in force,
    and the next start finds the old one."""
    root.mkdir(parents=True)
    (root / "token").write_text("mine")
    init(str(repository.bare), None, root)
    (root / "secret.d").mkdir()
    (root / "secret.d/key").write_text("mine")
    repository.push({CONFIG: UNTRACKED.replace("ROOT", str(root)).replace("NAME", name)})
    assert_refused(root, "worker.mounts: ")
    assert load_config(root / CONFIG).worker.mounts == []
    assert clean(root)


def entry(repository: Repository, mode: str, name: str) -> None:
    """Commit an entry of any mode and name, as no git of an honest user would."""
    known = repository.git("rev-parse", "HEAD" if mode == "160000" else "HEAD:config.yaml")
    repository.git("update-index", "--add", "--cacheinfo", f"{mode},{known},{name}")
    repository.git("commit", "-q", "-m", "entry")
    repository.send()


@pytest.mark.parametrize("name", ["token", "pool.d/token", "allow.yaml"])
def test_a_submodule_in_place_of_a_file(repository: Repository, root: Path, name: str) -> None:
    """A submodule is no file of the repository's: the commit is refused, and nothing is put out."""
    init(str(repository.bare), None, root)
    entry(repository, "160000", name)
    assert_refused(root, f"{name}: is a submodule")
    assert clean(root)


@pytest.mark.parametrize("name", ["..", ".git", "pool.d"])
def test_names_that_leave_the_tree(repository: Repository, root: Path, name: str) -> None:
    """A tree whose entries are named like another place, or twice alike, is refused."""
    init(str(repository.bare), None, root)
    tree_of = repository.git("rev-parse", "HEAD^{tree}")
    blob = repository.git("rev-parse", "HEAD:config.yaml")
    raw = b"".join(
        f"{mode} {each}\0".encode() + bytes.fromhex(known)
        for mode, each, known in (
            ("40000", name, tree_of), ("100644", CONFIG, blob), ("100644", name, blob)
        )
    )  # fmt: skip
    (repository.home / "tree").write_bytes(raw)
    made = repository.git("hash-object", "-t", "tree", "-w", "--literally", str(repository.home / "tree"))
    commit = repository.git("commit-tree", made, "-p", "HEAD", "-m", "entry")
    repository.git("update-ref", "refs/heads/main", commit)
    repository.send()
    assert_refused(root, str(repository.bare))
    assert load_config(root / CONFIG).image.name == "registry.example.org/worker:1.0"
    assert clean(root)


def test_a_file_that_is_no_longer_tracked(repository: Repository, root: Path) -> None:
    """What a commit no longer has is no longer the repository's, although its file may still be
    there, and .gitignore changes nothing."""
    mounting = f"{GOOD}worker: {{mounts: ['{root}/data:/data']}}\n"
    repository.push({CONFIG: mounting, "data": "1"})
    init(str(repository.bare), None, root)
    assert len(load_config(root / CONFIG).worker.mounts) == 1
    repository.git("rm", "-q", "--cached", "data")
    (repository.work / ".gitignore").write_text("data\n")
    repository.git("add", ".gitignore")
    repository.git("commit", "-q", "-m", "untracked")
    repository.send()
    assert_refused(root, f"worker.mounts: {root}/data: the repository has no such file")
    repository.push({CONFIG: NEW})
    refresh(Git(root), [])
    (root / "data").write_text("mine")
    repository.push({CONFIG: mounting})
    assert_refused(root, f"worker.mounts: {root}/data: the repository has no such file")
    assert load_config(root / CONFIG).image.name == "registry.example.org/worker:2.0"


def test_names_that_differ_in_case(
    repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk takes two names for one, the commit is refused, and not put out by half."""
    init(str(repository.bare), None, root)
    repository.push({"a/Readme": "1", "a/README": "2"})
    really = os.walk

    def folding(top: Any, *arguments: Any, **options: Any) -> Any:
        for directory, directories, files in really(top, *arguments, **options):
            yield directory, directories, list({name.casefold(): name for name in files}.values())

    with monkeypatch.context() as patched:
        patched.setattr(os, "walk", folding)
        assert_refused(root, "can't be written to this disk as it is in the repository")
    refresh(Git(root), [])
    assert tree(root)["a/Readme"] == "1" and tree(root)["a/README"] == "2"


def test_old_commits_are_few(repository: Repository, root: Path) -> None:
    """However often somebody pushes, the files of a bounded number of older commits stay."""
    init(str(repository.bare), None, root)
    for number in range(MOST_KEPT + 4):
        repository.push({"data": str(number)})
        refresh(Git(root), [])
    kept = [path for path in (root / TREES).iterdir() if path.is_dir()]
    assert len(kept) == MOST_KEPT + 1
    assert {f"{path.name}.files" for path in kept} == {p.name for p in (root / TREES).glob("*.files")}


# ---------------------------------------------------------------- signers


def test_signers(repository: Repository, root: Path) -> None:
    """Only a commit signed by one of the previous configuration's signers is put in force."""
    init(str(repository.bare), None, root)
    ours, theirs = repository.key("ours"), repository.key("theirs")
    signers = [repository.key("another").with_suffix(".pub").read_text().strip()]
    signers.append(ours.with_suffix(".pub").read_text().strip())
    repository.push({CONFIG: NEW})
    assert_refused(root, "of branch main: is not signed by one of config.signers", signers)
    repository.sign_with(theirs)
    public = theirs.with_suffix(".pub").read_text().strip()
    repository.push({CONFIG: f"{NEW}config: {{signers: ['{public}']}}"})
    assert_refused(root, "is not signed by one of config.signers", signers)
    repository.sign_with(ours)
    repository.push({CONFIG: f"{NEW}pool: {{max_workers: 1}}"})
    refresh(Git(root), signers)
    assert load_config(root / CONFIG).pool.max_workers == 1


def test_a_signature_of_something_else(repository: Repository, root: Path) -> None:
    """A signature is valid for its commit only, and a key for git's signatures only."""
    init(str(repository.bare), None, root)
    key = repository.key("ours")
    signers = [key.with_suffix(".pub").read_text().strip()]
    repository.sign_with(key)
    repository.push({})
    repository.git("config", "commit.gpgSign", "false")
    text = repository.git("cat-file", "commit", "HEAD")
    (repository.work / CONFIG).write_text(NEW)
    repository.git("add", "-A")
    wrong = repository.git("write-tree")
    forged = text.replace(repository.git("rev-parse", "HEAD^{tree}"), wrong)
    file = repository.home / "forged"
    file.write_text(forged + "\n")
    commit = repository.git("hash-object", "-t", "commit", "-w", str(file))
    repository.git("reset", "-q", "--hard", commit)
    repository.send()
    assert_refused(root, "is not signed by one of config.signers", signers)


# ---------------------------------------------------------------- git as a tool


def test_git_has_its_time(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent server is given up on, and no git process is left."""
    (tmp_path / "ssh").write_text("#!/bin/sh\necho $$ >>" + f"{tmp_path}/pids\nexec sleep 60\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(tmp_path / "ssh"))
    monkeypatch.setattr(git_module, "TIMEOUT", 0.5)
    with pytest.raises(PlanctonError, match=r"^ssh://example.org/x: no answer within 0.5 s$"):
        init("ssh://example.org/x", None, root)
    assert not root.parent.exists()
    (pid,) = (tmp_path / "pids").read_text().split()
    status = Path(f"/proc/{pid}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


def test_no_place_for_files(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lack of room for temporary files is reported."""
    init(str(repository.bare), None, root)
    monkeypatch.setattr(tempfile, "tempdir", "/none")
    with pytest.raises(PlanctonError, match=r"git can't be run: .*: No such file or directory"):
        refresh(Git(root), [])


def test_the_largest_file(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository can't fill the disk: git may not write files larger than any configuration."""
    monkeypatch.setattr(git_module, "LARGEST", 512 * 1024)
    (repository.work / "large").write_bytes(os.urandom(2 * 1024 * 1024))
    repository.push({})
    with pytest.raises(PlanctonError):
        init(str(repository.bare), None, root)
    assert not root.parent.exists()
