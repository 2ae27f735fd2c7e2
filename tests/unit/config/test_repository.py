"""Cloning and following a repository, with the real git."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
from unit.repositories import GOOD, Repository, tree

from plancton.config import git as git_module
from plancton.config import permission
from plancton.config import repository as module
from plancton.config.clone import CONFIG, MARK, Origin
from plancton.config.git import Git
from plancton.config.load import load_config
from plancton.config.repository import init, refresh
from plancton.errors import PlanctonError

NEW = "image: {name: registry.example.org/worker:2.0}\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.setattr(permission, "HOSTS", tmp_path / "none/allow.yaml")
    monkeypatch.setattr(permission, "ROOT", os.getuid())
    return Repository(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A configuration directory that does not exist yet."""
    return tmp_path / "etc/plancton"


def head(root: Path) -> str:
    return Git(root).text("rev-parse", "HEAD")


def clean(root: Path) -> bool:
    """Whether git sees the commit's files and none of ours."""
    return Git(root).run("status", "--porcelain") == b"" and not list((root / ".git").glob("plancton-*"))


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
    commit = repository.push({CONFIG: GOOD, "pool.d/site.conf": "x", "link": "-> pool.d/site.conf"})
    assert init(url, None, root) == f"{root}: a clone of {url}, branch main, commit {commit[:12]}"
    assert tree(root) == {CONFIG: GOOD, "pool.d/site.conf": "x", "link": "-> pool.d/site.conf"}
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
    "a link out": ({"a/b": "-> ../../x"}, "a/b: is a link out of the repository"),
    "an absolute link": ({"a": "-> /etc/passwd"}, "a: is a link out of the repository"),
    "a link to git's files": ({"a": "-> .git/config"}, "a: is a link out of the repository"),
    "config.yaml a link out": ({CONFIG: "-> /etc/passwd"}, "config.yaml: is a link out of the repository"),
    "a link in a circle": ({CONFIG: "-> config.yaml"}, "ROOT/config.yaml: can't be read: Too many levels"),
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
    with pytest.raises(PlanctonError, match=r"is not empty \(config.yaml\): move what is there away"):
        init(str(repository.bare), None, root)
    assert tree(root) == {"config.yaml": "mine"}
    (root / "config.yaml").rename(root / "token")
    repository.push({"token": "theirs"})
    with pytest.raises(PlanctonError, match="token: is in the way of the repository's"):
        init(str(repository.bare), None, root)
    assert tree(root) == {"token": "mine"}


BAD_WORDS = {
    ("config", None): "'config' is no repository's address",
    ("http://example.org/x", None): "is no repository's address",
    ("ext::sh -c id", None): "is no repository's address",
    ("git://example.org/x", None): "is no repository's address",
    ("--upload-pack=id", None): "is no repository's address",
    ("/none", None): "/none: '/none' does not appear to be a git repository",
    ("https://u:pw@127.0.0.1:9/x", None): "https://127.0.0.1:9/x: unable to access 'https://127.0.0.1:9/x/'",
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


def test_a_password_is_for_its_owner(repository: Repository, root: Path) -> None:
    """An address with a password is stored in files that only their owner can read."""
    origin = Origin("https://u:pw@example.org/x", None, "main")
    init(str(repository.bare), None, root)
    assert (root / MARK).stat().st_mode & 0o777 == 0o644
    module._mark(root, origin)
    assert {(root / path).stat().st_mode & 0o777 for path in (MARK, ".git/config")} == {0o600}


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
    (root / "a/mine").write_text("mine")
    assert refresh(Git(root), []) == ""
    new = {CONFIG: NEW, "a/old": None, "a/kept": "2", "b": None, "b/is/deep": "2", "c/d": None, "c": "2"}
    for gone in ("a/old", "b", "c/d"):
        (repository.work / gone).unlink()
    (repository.work / "c").rmdir()
    commit = repository.push(new)
    assert refresh(Git(root), []) == f"the configuration is commit {commit[:12]} of branch main now"
    assert tree(root) == {
        CONFIG: NEW, "a/kept": "2", "a/mine": "mine", "allow.yaml": "", "b/is/deep": "2", "c": "2",
    }  # fmt: skip
    assert head(root) == commit
    assert Git(root).run("status", "--porcelain") == b"?? a/mine\n?? allow.yaml\n"
    assert refresh(Git(root), []) == ""


def test_config_comes_last(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When config.yaml is renamed into place, the new files are there, and the old ones still are."""
    repository.push({CONFIG: GOOD, "old": "", "zz": "1"})
    init(str(repository.bare), None, root)
    repository.push({CONFIG: NEW, "old": None, "a": "2", "zz": "2"})
    seen = list[dict[str, str]]()
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        if target == root / CONFIG:
            seen.append(tree(root))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    refresh(Git(root), [])
    assert seen == [{CONFIG: GOOD, "old": "", "a": "2", "zz": "2"}]
    assert tree(root) == {CONFIG: NEW, "a": "2", "zz": "2"}


def test_a_switch_cut_short(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a switch is interrupted, for example by a full disk, the next refresh completes it."""
    repository.push({CONFIG: GOOD, "old": "", "zz": "1"})
    init(str(repository.bare), None, root)
    commit = repository.push({CONFIG: NEW, "old": None, "a": "2", "zz": "2"})
    replace = os.replace
    left = 0

    def failing(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    cut = 0
    for steps in range(10):
        left = steps
        try:
            refresh(Git(root), [])
        except PlanctonError as error:
            assert "No space left on device" in str(error)
            cut += 1
        else:
            break
    assert cut >= 4
    assert tree(root) == {CONFIG: NEW, "a": "2", "zz": "2"}
    assert head(root) == commit
    assert clean(root)


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
    repository.push({CONFIG: GOOD, "d/x": ""})
    init(str(repository.bare), None, root)
    repository.push({CONFIG: NEW})
    (root / CONFIG).write_text("pool: {max_workers: 1}")
    assert_refused(root, f"{root}/config.yaml was changed on this host")
    (root / CONFIG).write_text(GOOD)
    (root / "a").write_text("mine")
    repository.push({"a": "theirs"})
    assert_refused(root, f"{root}/a is in the way: move it away")
    repository.push({"a": None})
    repository.push({"a/b": "theirs"})
    assert_refused(root, f"{root}/a is in the way: move it away")
    (root / "a").unlink()
    (root / "d/mine").write_text("mine")
    (repository.work / "d/x").unlink()
    (repository.work / "d").rmdir()
    repository.push({"d": "a file now"})
    assert_refused(root, f"{root}/d is in the way: move it away")
    (root / "d/mine").unlink()
    refresh(Git(root), [])
    assert tree(root) == {CONFIG: NEW, "a/b": "theirs", "d": "a file now"}


def test_tracked_by_hand(repository: Repository, root: Path) -> None:
    """An allow.yaml that git tracks permits nothing, however it got there."""
    init(str(repository.bare), None, root)
    (root / "allow.yaml").write_text("")
    load_config(root / CONFIG)
    Git(root).run("add", "allow.yaml")
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
    (root / "allow.yaml").write_text("")
    with pytest.raises(PlanctonError, match=r"git can't be run: .*: No such file or directory"):
        load_config(root / CONFIG)


def test_the_largest_file(repository: Repository, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository can't fill the disk: git may not write files larger than any configuration."""
    monkeypatch.setattr(git_module, "LARGEST", 512 * 1024)
    (repository.work / "large").write_bytes(os.urandom(2 * 1024 * 1024))
    repository.push({})
    with pytest.raises(PlanctonError):
        init(str(repository.bare), None, root)
    assert not root.parent.exists()
