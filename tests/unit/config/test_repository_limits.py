"""What a repository may not do on a host: the rules alone, and with files on a real disk."""

import json
import os
from pathlib import Path

import pytest
import yaml

from plancton.config import repository_limits
from plancton.config.clone import MARK, TREE, Clone, clone_of, files_of, write_files
from plancton.config.load import load_config, parse
from plancton.config.repository_limits import Allow, problems
from plancton.config.safe_yaml import ConfigError
from plancton.docker.auth import NO_CREDENTIALS
from plancton.errors import PlanctonError

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGmZ0m0b2dxrS9r2SxXHJAlIfVSqmzb4nTCE0mNT8i1r admin"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration directory that is a clone, with a file for workers in it."""
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid())
    root = tmp_path / "plancton"
    (root / TREE).mkdir(parents=True)
    (root / MARK).write_text("{}")
    write_files(root / TREE, [])
    track(root, "pool.d/site.conf")
    return root


def track(root: Path, name: str) -> None:
    """A file of the repository's."""
    path = root / TREE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    write_files(root / TREE, files_of(root / TREE) | {name})
    top = Path(name).parts[0]
    if not os.path.lexists(root / top):
        (root / top).symlink_to(TREE / top)


def refused(root: Path, text: str) -> list[str]:
    """The lines that `check` shows for this configuration, without their common part."""
    (root / "config.yaml").write_text(text.replace("ROOT", str(root)))
    try:
        load_config(root / "config.yaml")
    except ConfigError as error:
        return [
            line.removeprefix(f"{root}/config.yaml: ")
            .partition(" in this host's own ")[0]
            .replace(str(root), "ROOT")
            for line in error.lines
        ]
    return []


RULES = [
    # The configuration, the key that is refused, what permits it.
    ("worker: {privileged: true}", "worker.privileged", "privileged: true"),
    ("worker: {user: '0:0'}", "worker.user", "root: true"),
    ("worker: {user: condor}", "worker.user", "root: true"),
    ("worker: {user: ''}", "worker.user", "root: true"),
    ("worker: {user: '00'}", "worker.user", "root: true"),
    ("worker: {user: '99999999999'}", "worker.user", "root: true"),
    ("worker: {user: '65534:0'}", "worker.user", "root: true"),
    ("worker: {user: '65534:docker'}", "worker.user", "root: true"),
    ("worker: {user: '65534:999'}", "worker.user", "users: ['65534:999']"),
    ("worker: {user: '1000'}", "worker.user", "users: ['1000:1000']"),
    ("image: {name: localhost/owners:1}", "image.name", "images: [localhost/owners]"),
    ("worker: {devices: ['/dev/fuse:/dev/f:r']}", "worker.devices", "devices: [/dev/fuse]"),
    ("worker: {capabilities: [cap_sys_admin]}", "worker.capabilities", "capabilities: [SYS_ADMIN]"),
    (
        "worker: {security_options: [seccomp=unconfined]}",
        "worker.security_options",
        "security_options: ['seccomp=unconfined']",
    ),
    (
        "worker: {security_options: ['no-new-privileges:false']}",
        "worker.security_options",
        "security_options: ['no-new-privileges=false']",
    ),
    (
        "worker: {security_options: ['seccomp=ROOT/pool.d/rules.json']}",
        "worker.security_options",
        "security_options: ['seccomp=ROOT/pool.d/rules.json']",
    ),
    ("worker: {runtime: runsc}", "worker.runtime", "runtimes: [runsc]"),
    ("worker: {ulimits: {core: -1}}", "worker.ulimits", "ulimits: [core]"),
    ("worker: {mounts: ['/cvmfs:/cvmfs']}", "worker.mounts", "mounts: [/cvmfs]"),
    ("worker: {mounts: ['/data:/data:rw']}", "worker.mounts", "mounts: ['/data:rw']"),
    ("worker: {mounts: ['ROOT/.git:/x']}", "worker.mounts", "mounts: [ROOT/.git]"),
    ("worker: {mounts: ['ROOT:/x']}", "worker.mounts", "mounts: [ROOT]"),
    ("htcondor: {central_manager: cm, token_file: /root/t}", "htcondor.token_file", "files: [/root/t]"),
    (
        "htcondor: {central_manager: cm, token_file: ROOT/token, config_dir: /etc/condor}",
        "worker.mounts",
        "mounts: [/etc/condor]",
    ),
    ("worker: {user_range: 100000-100255}", "worker.user_range", "users: ['100000-100255']"),
    (
        "monitoring: {influxdb: [{url: 'http://h', org: o, bucket: b, token_file: /etc/plancton/token}]}",
        "monitoring.influxdb",
        "files: [/etc/plancton/token]",
    ),
    (
        "monitoring: {influxdb: [{url: 'http://h', database: d, user: u, password_file: ROOT/t}]}",
        "monitoring.influxdb",
        "files: [ROOT/t]",
    ),
    ("docker: {socket: /run/other.sock}", "docker.socket", "sockets: [/run/other.sock]"),
    (
        "worker: {network: {allow: [10.1.0.0/16]}}",
        "worker.network.allow",
        "networks: ['10.1.0.0/16']",
    ),
    ("worker: {network: {allow: ['fd00::1']}}", "worker.network.allow", "networks: ['fd00::1']"),
    ("worker: {network: {host: true}}", "worker.network.host", "host_network: true"),
    ("docker: {slice: other}", "docker.slice", "slices: [other]"),
]


@pytest.mark.parametrize(("text", "key", "permit"), RULES, ids=[text for text, _, _ in RULES])
def test_rules(root: Path, text: str, key: str, permit: str) -> None:
    """Root in a container, or access to the host, is refused until it is permitted as the message
    says."""
    (line,) = refused(root, text)
    assert line.startswith(f"{key}: ")
    assert line.endswith(f" needs `{permit}`")
    (root / "allow.yaml").write_text(permit.replace("ROOT", str(root)))
    assert refused(root, text) == []


def test_networks_within(root: Path) -> None:
    """A network that is permitted opens those within it, and no larger one."""
    (root / "allow.yaml").write_text("networks: [10.1.0.0/16, '::/0']")
    assert refused(root, "worker: {network: {allow: [10.1.2.3, 10.1.0.0/24, 'fd00::/8']}}") == []
    assert len(refused(root, "worker: {network: {allow: [10.0.0.0/8, 0.0.0.0/0]}}")) == 2


IMAGES = {
    # The name, entries that permit it, and some that do not.
    "busybox:1.36": (["docker.io", "library", "docker.io/library/busybox"], ["busybox", "library/busy"]),
    "docker.io/busybox": (["docker.io", "library/busybox"], ["docker.io/busybox", "docker.io/lib"]),
    "index.docker.io/me/x@sha256:" + "0" * 64: (["docker.io/me", "me", "me/x"], ["docker.io/m", "x"]),
    "r.example.org/a/b:1": (["r.example.org", "r.example.org/a", "r.example.org/a/b"], ["a", "r.example"]),
    "r.example.org:5000/a": (["r.example.org:5000"], ["r.example.org", "docker.io"]),
    "r.example.org.evil.net/a": (["r.example.org.evil.net"], ["r.example.org"]),
    "localhost/own": (["localhost", "localhost/own"], ["localhost/ow", "docker.io"]),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(root: Path, name: str) -> None:
    """Where the host says which images, only those of a registry or path that it names are used, and
    only they get credentials."""
    permit, refuse = IMAGES[name]
    text = f"image: {{name: '{name}'}}"
    for entry in permit:
        (root / "allow.yaml").write_text(f"images: ['{entry}']")
        assert refused(root, text) == []
        assert load_config(root / "config.yaml").image.auth_file is None
    for entry in refuse:
        (root / "allow.yaml").write_text(f"images: ['{entry}']")
        (line,) = refused(root, text)
        assert line.startswith(f"image.name: {name} needs `images: [")
    (root / "allow.yaml").write_text("images: []")
    assert len(refused(root, text)) == 1


def test_no_credentials_for_any_image(root: Path) -> None:
    """An image that allow.yaml does not name gets no credentials: not the user's own, and a file
    only where both the file and the image are permitted."""
    assert refused(root, "image: {name: registry.example.org/x}") == []
    assert load_config(root / "config.yaml").image.auth_file == NO_CREDENTIALS
    text = "image: {name: registry.example.org/x, auth_file: /root/auth.json}"
    assert [line.partition(" needs ")[2] for line in refused(root, text)] == [
        "`images: [registry.example.org]`", "`files: [/root/auth.json]`",
    ]  # fmt: skip
    (root / "allow.yaml").write_text("images: [registry.example.org]\nfiles: [/root/auth.json]")
    assert refused(root, text) == []
    assert load_config(root / "config.yaml").image.auth_file == "/root/auth.json"


@pytest.mark.parametrize("path", ["/a'], x, ['/etc", "/a]", "/*a", "/a, /b", "/{a", "/a #", '/"'])
def test_what_a_message_offers(root: Path, path: str) -> None:
    """Whoever copies the line that a message offers permits what was asked for, and nothing else."""
    text = json.dumps({"worker": {"mounts": [f"{path}:/x"]}})
    (line,) = refused(root, text)
    offered = line.partition(" needs `")[2].removesuffix("`")
    assert yaml.safe_load(offered) == {"mounts": [path]}
    (root / "allow.yaml").write_text(offered)
    assert refused(root, text) == []


def test_users(root: Path) -> None:
    """A number may be a user or group of the host's: only those that the host names are used."""
    (root / "allow.yaml").write_text("users: ['1000:1000', 2000, 70000-70255]")
    for user in ("1000:1000", "1000", "01000", "2000:2000", "65534"):
        assert refused(root, f"worker: {{user: '{user}'}}") == []
    assert refused(root, "worker: {user_range: 70000-70255}") == []
    assert len(refused(root, "worker: {user_range: 70000-70256}")) == 1
    for user in ("70000", "70000:70255", "1000:999", "1001", "1001:1000", "999:1000"):
        assert len(refused(root, f"worker: {{user: '{user}'}}")) == 1


def test_an_entry_permits_what_is_below(root: Path) -> None:
    """A directory may be read with everything in it."""
    (root / "allow.yaml").write_text("mounts: [/cvmfs]")
    assert refused(root, "worker: {mounts: ['/cvmfs/grid.cern.ch:/grid']}") == []


def test_others_are_not_asked(tmp_path: Path) -> None:
    """The host's own configuration may do all of that, even in a directory that the owner keeps in
    git."""
    (tmp_path / ".git").mkdir()
    for text, _, _ in RULES:
        (tmp_path / "config.yaml").write_text(text.replace("ROOT", str(tmp_path)))
        load_config(tmp_path / "config.yaml")


HARMLESS = [
    "worker: {mounts: ['ROOT/pool.d:/etc/pool.d']}",
    "worker: {user: '65534'}",
    "image: {name: registry.example.org/any:1}",
    "image: {name: localhost/plancton-worker:latest}",
    "image: {auth_file: ''}",
    "worker: {init: false, shm_size: 1GB, ulimits: {nofile: 100000}}",
    "worker: {security_options: ['no-new-privileges:true']}",
    "htcondor: {central_manager: cm, token_file: ROOT/token, config_dir: ROOT/pool.d}",
    "htcondor: {central_manager: cm, token_file: /etc/plancton/token}",
    "docker: {socket: /run/docker.sock, tier: quota}",
    "owner: {reserve_memory: 0%}",
    f"config: {{refresh: 1h, signers: ['{KEY}']}}",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_needs_no_permission(root: Path, text: str) -> None:
    """The repository's own files, the host's token, and everything about how much is donated."""
    assert refused(root, text) == []


ESCAPES = {
    "ROOT/missing:/x": "worker.mounts: ROOT/missing: the repository has no such file",
    "ROOT/pool.d:/x:rw": "worker.mounts: ROOT/pool.d: it can only be mounted read-only",
    "ROOT/pool.d/../../x:/x": "is outside the repository",
    "ROOT/pool.d/../pool.d/site.conf:/x": "is outside the repository",
    "ROOT/pool.d/out:/x": "ROOT/pool.d/out: the repository has no such file",
    "ROOT/pool.d/out/passwd:/x": "ROOT/pool.d/out/passwd: the repository has no such file",
    "ROOT/.git/plancton-tree/pool.d:/x": "is outside the repository",
    "ROOT/POOL.D:/x": "ROOT/POOL.D: the repository has no such file",
    "/ROOT/pool.d:/x": "is outside the repository",
    "ROOT/pool.d/../.git:/x": "is outside the repository",
}


@pytest.mark.parametrize("mount", ESCAPES)
def test_paths_out_of_the_clone(root: Path, mount: str) -> None:
    """A path that leaves the clone by `..` is outside, and so are git's own files. A link among the
    repository's files is none of them."""
    (root / TREE / "pool.d/out").symlink_to("/etc")
    (line,) = refused(root, f"worker: {{mounts: ['{mount}']}}")
    assert ESCAPES[mount] in line


@pytest.mark.parametrize(
    ("mount", "allow"),
    [
        ("/data/x:/x", "['/data:rw']"),  # a worker that may write to /data could make x a link
        ("/data/x:/x:rw", "['/data:rw']"),
        ("/data/x:/x", "['/data:rw', '/data/x']"),
        ("/data:/x:rw", "[/data]"),
        ("/database:/x", "[/data]"),
        ("/data/../etc:/x", "[/etc, /data]"),
    ],
)
def test_what_an_entry_does_not_permit(root: Path, mount: str, allow: str) -> None:
    """An entry permits no writing unless it says so, and nothing below a place that workers may
    write."""
    (root / "allow.yaml").write_text(f"mounts: {allow}")
    assert len(refused(root, f"worker: {{mounts: ['{mount}']}}")) == 1


def test_the_hosts_own_in_the_directory(root: Path) -> None:
    """The host's permission counts for its own files in the directory, too."""
    (root / "secret").write_text("")
    (root / "allow.yaml").write_text(f"mounts: [{root}/secret, '{root}/pool.d:rw']")
    assert refused(root, "worker: {mounts: ['ROOT/secret:/x', 'ROOT/pool.d:/y:rw']}") == []


def test_what_git_does_not_know(root: Path) -> None:
    """The host's own files in the directory are not for workers."""
    (root / "secret").write_text("")
    assert refused(root, "worker: {mounts: ['ROOT/secret:/x']}") == [
        "worker.mounts: ROOT/secret: the repository has no such file"
    ]
    track(root, "known")
    assert refused(root, "worker: {mounts: ['ROOT/known:/x']}") == []
    (root / TREE / "pool.d/added").write_text("")
    assert refused(root, "worker: {mounts: ['ROOT/pool.d/added:/x', 'ROOT/pool.d/*:/y']}") == [
        "worker.mounts: ROOT/pool.d/added: the repository has no such file",
        "worker.mounts: ROOT/pool.d/*: the repository has no such file",
    ]


def test_every_problem_has_its_line(root: Path) -> None:
    """Each refused setting has a line; if there is room for only one line, it says how many."""
    text = "worker: {privileged: true, capabilities: [ALL], user: root}"
    (root / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"privileged: true` in .*\(and 2 more\)") as error:
        load_config(root / "config.yaml")
    assert [line.split(": ")[1] for line in error.value.lines] == [
        "worker.privileged", "worker.user", "worker.capabilities",
    ]  # fmt: skip


# ---------------------------------------------------------------- whose allow.yaml it is


def test_allow_of_others_does_not_count(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that anyone but root may have written permits nothing, and the refusal says so."""
    allow = root / "allow.yaml"
    allow.write_text("privileged: true")
    allow.chmod(0o664)
    (root / "config.yaml").write_text("worker: {privileged: true}")
    only_root = "which does not count: only root may be able to write it"
    with pytest.raises(ConfigError, match=only_root):
        load_config(root / "config.yaml")
    allow.chmod(0o644)
    load_config(root / "config.yaml")
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid() + 1)
    with pytest.raises(ConfigError, match=only_root):
        load_config(root / "config.yaml")


def test_allow_is_a_file(root: Path) -> None:
    """A link or a directory in place of allow.yaml permits nothing."""
    (root / "real.yaml").write_text("privileged: true")
    (root / "config.yaml").write_text("worker: {privileged: true}")
    (root / "allow.yaml").symlink_to("real.yaml")
    with pytest.raises(ConfigError, match="does not count: Too many levels of symbolic links"):
        load_config(root / "config.yaml")
    (root / "allow.yaml").unlink()
    (root / "allow.yaml").mkdir()
    with pytest.raises(ConfigError, match="does not count: it is not a regular file"):
        load_config(root / "config.yaml")


def test_allow_that_is_too_long(root: Path) -> None:
    """A long file is refused as a whole: a truncated entry would permit everything above it."""
    (root / "config.yaml").write_text("worker: {mounts: [/data/secret:/x]}")
    line = "mounts:\n- /data/scratch  "
    text = "#" * (repository_limits.LARGEST - len("\nmounts:\n- /data")) + f"\n{line}"
    assert text[: repository_limits.LARGEST].endswith("- /data")
    (root / "allow.yaml").write_text(text)
    with pytest.raises(ConfigError, match="does not count: it is longer than 64 KiB"):
        load_config(root / "config.yaml")


def test_a_broken_allow(root: Path) -> None:
    """A broken file is named with what is wrong."""
    (root / "config.yaml").write_text("")
    for text, said in {
        "privilegd: true": "allow.yaml: privilegd: unknown key; did you mean 'privileged'?",
        "mounts: [cvmfs]": "allow.yaml: mounts: 'cvmfs' is not a path that begins with /",
        "images: ['*']": "allow.yaml: images: '*' is not a registry or REGISTRY/PATH",
        "users: [me]": "allow.yaml: users: 'me' is neither UID:GID nor FIRST-LAST",
        "mounts: [/a/../b]": "allow.yaml: mounts: '/a/../b' is not a path that begins with /",
    }.items():
        (root / "allow.yaml").write_text(text)
        with pytest.raises(ConfigError) as error:
            load_config(root / "config.yaml")
        assert str(error.value).endswith(said)


def test_the_hosts_allow(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone elsewhere without an allow.yaml of its own uses the one in /etc/plancton."""
    other = root.parent / "etc-allow.yaml"
    other.write_text("privileged: true")
    monkeypatch.setattr(repository_limits, "HOSTS", other)
    assert refused(root, "worker: {privileged: true}") == []
    (root / "allow.yaml").write_text("")
    assert len(refused(root, "worker: {privileged: true}")) == 1


# ---------------------------------------------------------------- what a clone is


def test_clone_of(root: Path) -> None:
    """Any file below the mark belongs to the clone, even through a link; a file next to it does
    not."""
    (root / "config.yaml").write_text("")
    link = root.parent / "link.yaml"
    link.symlink_to(root / "config.yaml")
    of_root = Clone(root, root / TREE)
    assert clone_of(root / "config.yaml") == clone_of(root / "a/b.yaml") == clone_of(link) == of_root
    assert clone_of(root / "../config.yaml") is None
    assert clone_of(root.parent / "config.yaml") is None


def test_a_clone_that_does_not_know_its_files(root: Path) -> None:
    """Without the record of its files, the file system is not asked instead: one line says so."""
    (root / f"{TREE}.files").unlink()
    with pytest.raises(PlanctonError, match=r"move all but allow.yaml and token away and clone again"):
        refused(root, "")


def test_a_link_of_the_hosts(root: Path) -> None:
    """A link that the host keeps in the directory does not open what it leads to."""
    (root / "out").symlink_to("/etc")
    (line,) = refused(root, "htcondor: {central_manager: cm, token_file: ROOT/out/shadow}")
    assert line.startswith("htcondor.token_file: ")
    (line,) = refused(root, "worker: {mounts: ['ROOT/out/passwd:/x']}")
    assert "is outside the repository" in line


def test_a_tree_that_is_to_come(root: Path, tmp_path: Path) -> None:
    """Paths are looked up in the commit that is looked at, before it is put in force."""
    new = tmp_path / "new"
    write_files(new, ["data"])
    in_force = clone_of(root / "config.yaml")
    assert in_force and in_force.places()(f"{root}/pool.d") == "inside"
    assert Clone(root, new).places()(f"{root}/pool.d") != "inside"
    assert in_force.places()(f"{root}/data") == "missing"
    assert Clone(root, new).places()(f"{root}/data") == "inside"


def test_pure() -> None:
    """The rules do not look at the disk: they are told what a path is."""
    config = parse("worker: {mounts: ['/a:/a']}", "FILE")
    assert not list(problems(config, Allow(), lambda path: "inside", lambda path: path))
    assert len(list(problems(config, Allow(), lambda path: "outside", lambda path: path))) == 1
