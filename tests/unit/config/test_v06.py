"""Configurations of Plancton 0.6: understood, translated, and reported once."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plancton.cli import entry
from plancton.cli.planctonctl import VERBS, Places, main, make, places, plancton
from plancton.commands.migrate import MigrateError, translate_file
from plancton.config.load import load_config, parse, warning
from plancton.config.resolve import Host, MaxWorkers
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config, InfluxDB
from plancton.config.show import effective
from plancton.config.v06 import translate
from plancton.config.watch import ConfigFile
from plancton.workers.container import create_body

INFN = """\
cpus_per_dock: 1
max_docks: ncpus - 1
grace_kill: 10
grace_spawn: 20
main_sleep: 5
max_ttl: 500
updateconfig: 10
binds:
 - /opt/plancton/.plancton/conf/condor_config:/etc/condor/condor_config
devices:
 - PathOnHost: /dev/fuse
   PathInContainer: /dev/fuse
   CgroupPermissions: rw
capabilities:
 - SYS_ADMIN
secopt:
 - apparmor:docker-cvmfs
docker_cmd: [ /tmp/condor-container-pilot ]
docker_image: plancton/slc6-fuse-ab:latest
docker_privileged: False
"""
"""As the project's own plancton-conf had it."""
MORE = """\
cpus_per_dock: 0.5
docker_cmd: /bin/sh  -c /pilot
user_group: "1000:100"
max_dock_mem: 3000000000
max_dock_swap: 1000000000
docks_per_loop: 2
image_expiration: 3600
influxdb_url: "http://user:secret@metrics.example.org#plancton"
binds: ["/cvmfs:/cvmfs:ro,shared", "/data:/data:rw,Z"]
devices: ["/dev/fuse:/dev/fuse:rw", "/dev/kvm"]
capabilities: ["+SYS_ADMIN", "-CHOWN"]
security_opts: ["seccomp=unconfined"]
"""
PROGRAMS = Path(sys.executable).parent
HOST = Host(cpus=8, ram=16_000_000_000, swap=4_000_000_000)


def test_a_file_of_the_time() -> None:
    """A file that 0.6 ran with is understood as it was meant."""
    config = parse(INFN, "config.yaml")
    worker = config.worker
    assert (worker.cpus, worker.command) == (1, ["/tmp/condor-container-pilot"])
    assert worker.mounts == ["/opt/plancton/.plancton/conf/condor_config:/etc/condor/condor_config"]
    assert (worker.devices, worker.capabilities) == (["/dev/fuse:/dev/fuse:rw"], ["SYS_ADMIN"])
    assert (worker.security_options, worker.privileged) == (["apparmor=docker-cvmfs"], False)
    times = (worker.lifetime, config.yielding.grace_kill, config.yielding.grace_spawn)
    assert [float(time) for time in times] == [500, 10, 20]
    assert config.image.name == "plancton/slc6-fuse-ab:latest"
    assert MaxWorkers(config).on(HOST) == 7


def test_every_other_key() -> None:
    """So are the keys and forms that this file lacks."""
    config = parse(MORE, "config.yaml")
    worker = config.worker
    assert (worker.cpus, worker.command, worker.user) == (0.5, ["/bin/sh", "-c", "/pilot"], "1000:100")
    assert (int(worker.memory), int(worker.swap)) == (3_000_000_000, 1_000_000_000)
    assert worker.mounts == ["/cvmfs:/cvmfs:ro,shared", "/data:/data:rw,Z"]
    assert worker.devices == ["/dev/fuse:/dev/fuse:rw", "/dev/kvm"]
    assert (worker.capabilities, worker.security_options) == (["SYS_ADMIN"], ["seccomp=unconfined"])
    assert (config.pool.spawn_per_tick, float(config.image.refresh)) == (2, 3600)


def test_what_0_6_did_by_default() -> None:
    """Without the keys: 0.6's image, command and two CPUs left free, but not root or its
    grace_kill."""
    config = parse("main_sleep: 30", "config.yaml")
    assert (config.image.name, config.worker.command) == ("busybox", ["/bin/sleep", "60"])
    assert MaxWorkers(config).on(HOST) == 6
    assert config.worker.user == Config().worker.user
    assert config.yielding.grace_kill == Config().yielding.grace_kill


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ncpus / 3 * 2", 4),  # 8 / 3 is 2 in Python 2
        ("ram_bytes / max_dock_mem", 5),
        ("min(ncpus, (ram_bytes + swap_bytes) // (max_dock_mem + max_dock_swap))", 5),
        ("ncpus * 0.5 / 2", 2),
        ("3", 3),
        (4, 4),
    ],
)
def test_max_docks(expression: object, expected: int) -> None:
    """An expression means what Python 2 made of it, with 0.6's names."""
    old = {"max_docks": expression, "max_dock_mem": 3_000_000_000, "max_dock_swap": 1_000_000_000}
    assert MaxWorkers(parse(yaml.safe_dump(old), "config.yaml")).on(HOST) == expected


def test_no_docks_per_loop() -> None:
    """If 0.6 started nothing, nothing is started."""
    assert MaxWorkers(parse("docks_per_loop: 0\nmax_docks: 4", "config.yaml")).on(HOST) == 0


def test_a_key_given_twice(tmp_path: Path) -> None:
    """The last one counts, as with PyYAML, and the warning names it."""
    file = tmp_path / "config.yaml"
    file.write_text("max_docks: ncpus - 1\ndocker_cmd: [ /bin/sleep, 0123 ]\nmax_docks: 1\n")
    config = load_config(file)
    assert config.pool.max_workers == 1
    assert config.worker.command == ["/bin/sleep", "83"], "as 0.6 understood it"
    assert "'max_docks' is given twice" in (warning(file) or "")


OLD_04 = "cpus_per_dock: 1\nmorbidity: hard\npilot_dock: example/worker\n"


@pytest.mark.parametrize(
    ("text", "key", "version", "remedy"),
    [
        (OLD_04, "pilot_dock", "0.4", "docker_image"),
        ("pilot_entrypoint: /bin/pilot\nmax_docks: 1", "pilot_entrypoint", "0.4", "docker_cmd"),
        ("rigidity: soft", "rigidity", "0.4", "grace_kill"),
        ("influxdb_address: monitor.example.org:8086", "influxdb_address", "before 0.6", "influxdb_url"),
    ],
)
def test_keys_older_than_0_6(text: str, key: str, version: str, remedy: str) -> None:
    """A file that 0.6 would not have understood either is refused: the version and the remedy."""
    with pytest.raises(ConfigError) as raised:
        parse(text, "FILE")
    assert str(raised.value).startswith(f"FILE: {key}: ")
    assert version in str(raised.value) and remedy in str(raised.value)


def test_keys_older_than_0_6_that_were_left_over() -> None:
    """In a file that 0.6 understood they are ignored, and `migrate` names their version."""
    data = {"docker_image": "a", "pilot_dock": "b", "cputhresh": 100, "zebra": 1}
    notes = translate(data).notes
    assert parse("docker_image: a\npilot_dock: b", "F").image.name == "a"
    assert any(note.startswith("cputhresh: ") and "0.4" in note for note in notes), notes
    assert any(note.startswith("zebra: ") and "not a key of 0.6" in note for note in notes), notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cpus_per_dock: many", "config.yaml: cpus_per_dock: 'many' is not what Plancton 0.6 took there"),
        ("grace_kill: [1]", "config.yaml: grace_kill: "),
        ("binds: /a:/b", "config.yaml: binds: '/a:/b' is not what Plancton 0.6 took there"),
        ("docker_cmd: 7", "config.yaml: docker_cmd: 7 is not what Plancton 0.6 took there"),
        ("devices: [{Path: /dev/fuse}]", "config.yaml: devices: "),
        ("devices: [{PathOnHost: [/dev/fuse]}]", "config.yaml: devices: "),
        ("docker_cmd: [[/bin/sh]]", "config.yaml: docker_cmd: "),
        ("max_docks: [1]", "config.yaml: max_docks: "),
        ("capabilities: ['+']", "config.yaml: capabilities: "),
        ("docks_per_loop: .inf", "config.yaml: docks_per_loop: "),
        ("docks_per_loop: two", "config.yaml: docks_per_loop: "),
        ("max_dock_mem: .inf", "config.yaml: max_dock_mem: "),
        ("max_ttl: .nan", "config.yaml: max_ttl: "),
        (f"cpus_per_dock: 1{400 * '0'}", "config.yaml: cpus_per_dock: "),
        ("max_dock_swap: lots", "config.yaml: max_dock_swap: 'lots' is not what Plancton 0.6 took there"),
        ("user_group: 1000", "config.yaml: user_group: 1000 is not what Plancton 0.6 took there"),
        ("docker_image: 7", "config.yaml: docker_image: "),
        ("docker_privileged: 1", "config.yaml: docker_privileged: "),
        ("max_docks: sum(x)", "config.yaml: pool.max_workers: 'sum(x)' uses an unknown"),
        ("max_docks: 1\nworker: {cpus: 1}", "config.yaml: max_docks: is a key of Plancton 0.6, but"),
    ],
)  # fmt: skip
def test_what_can_not_be_used(text: str, said: str) -> None:
    """One line names the file, the key as written there, and what is wrong."""
    with pytest.raises(ConfigError) as raised:
        parse(text, "config.yaml")
    assert str(raised.value).startswith(said), raised.value


@given(
    st.fixed_dictionaries(
        {"cpus_per_dock": st.floats(0.01, 64) | st.integers(1, 64)},
        optional={
            "max_docks": st.integers(0, 100) | st.sampled_from(["ncpus - 2", "ncpus / 2", "max(ncpus, 1)"]),
            "grace_kill": st.integers(0, 10**6),
            "grace_spawn": st.floats(0, 10**6),
            "max_ttl": st.integers(0, 10**6),
            "docks_per_loop": st.integers(0, 1000),
            "image_expiration": st.integers(0, 10**6),
            "max_dock_mem": st.integers(6 * 2**20, 2**40),
            "docker_cmd": st.just("/bin/sleep 60") | st.lists(st.sampled_from(["/bin/sh", "-c"]), min_size=1),
            "influxdb_url": st.none() | st.sampled_from(["http://a#b", ["insecure_https://a:1/#b", "http://c#b"]]),
            "somebody_elses": st.booleans(),
        },
    )
)  # fmt: skip
def test_whatever_0_6_took(old: dict[str, object]) -> None:
    """Any values that 0.6 accepted make a configuration, and the translation is equivalent."""
    config = parse(yaml.safe_dump(old), "old")
    assert parse(yaml.safe_dump(translate(old).sections), "new") == config
    assert parse(effective(config), "effective").worker == config.worker


def test_migrate(tmp_path: Path) -> None:
    """The printed file is the same configuration, says what differs, and has no secret of the old
    one: a password is in a file, which a note names."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(MORE)
    text, _, notes = translate_file(old)
    new.write_text(text)
    migrated, understood = load_config(new), load_config(old)
    assert msgspec.structs.replace(migrated, monitoring=understood.monitoring) == understood
    (database,) = migrated.monitoring.influxdb
    assert (database.url, database.user) == ("http://metrics.example.org", "user")
    assert any(database.password_file and database.password_file in note for note in notes)
    assert warning(new) is None and "secret" not in text
    for key in ("influxdb_url", "binds", "-CHOWN", "docks_per_loop", "AppArmor", "privileges", "grace_kill"):
        assert any(key in note for note in notes), f"{key}: {notes}"
    with pytest.raises(MigrateError, match="is not of Plancton"):
        translate_file(new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("http://h:8086#db", {"url": "http://h:8086", "database": "db"}),
        ("https://u:p%40@h:8086/#my db", {"url": "https://u:p%40@h:8086", "database": "my db"}),
        ("insecure_https://h/#a#b", {"url": "https://h", "database": "a#b", "insecure": True}),
    ],
)
def test_influxdb(old: str, new: dict[str, object]) -> None:
    """0.6's address of an InfluxDB is understood as it is, alone or in a list."""
    for written in (old, [old], [old, old, "http://ignored"]):
        (found,) = parse(yaml.safe_dump({"influxdb_url": written}), "FILE").monitoring.influxdb
        assert found == InfluxDB(**new, compatible=True)  # type: ignore[arg-type]
    assert parse("influxdb_url: []\nmax_docks: 1", "FILE").monitoring.influxdb == []


@pytest.mark.parametrize(
    "old", ["http://me:s3cr3t@h", [7], {"a": 1}, "ftp://me:s3cr3t@h/#db", "http://me:s3cr3t@:x#"]
)
def test_influxdb_that_is_none(old: object) -> None:
    """What 0.6 could not have used either is refused, without the password that may be in it."""
    with pytest.raises(ConfigError) as raised:
        parse(yaml.safe_dump({"influxdb_url": old}), "FILE")
    assert "influxdb" in str(raised.value) and "s3cr3t" not in str(raised.value)


def test_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A supervisor warns about such a file when it loads it, and again only if the file changes."""
    path = tmp_path / "config.yaml"
    path.write_text(INFN)
    with caplog.at_level(logging.WARNING):
        file = ConfigFile(path, missing_ok=False)
        assert not file.changed()
    (record,) = caplog.records
    assert f"`plancton migrate {path}`" in record.message
    path.write_text("image: {name: worker}\n")
    assert file.changed() and len(caplog.records) == 1


@pytest.mark.parametrize("later", [None, "max_docks: [", "image: {name: x}"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, later: str | None) -> None:
    """A file that changes between reading and warning does not end the supervisor."""
    path = tmp_path / "config.yaml"
    if later is not None:
        path.write_text(later)
    assert warning(path) is None


def test_mounts_keep_their_options() -> None:
    """Propagation and SELinux labels reach Docker; a mount is read-only unless it says
    otherwise."""
    mounts = {
        "/a:/a": "/a:/a:ro",
        "/a:/b:rslave": "/a:/b:ro,rslave",
        "/a:/c:ro,shared,z": "/a:/c:ro,shared,z",
        "/a:/d:rw,Z": "/a:/d:rw,Z",
    }
    config = parse(yaml.safe_dump({"worker": {"mounts": list(mounts)}}), "config.yaml")
    body = create_body("x", config, "image", "", "", "", "plancton")
    host = body["HostConfig"]
    assert host["Binds"] == [text for text in mounts.values() if "z" in text.lower()]
    unlabelled = [(m["Target"], m["ReadOnly"], m.get("BindOptions")) for m in host["Mounts"]]
    assert unlabelled == [("/a", True, {"NonRecursive": True}), ("/b", True, {"Propagation": "rslave"})]


@pytest.mark.parametrize("options", ["", "ro,rw", "ro,ro", "shared,slave", "ro:Z", "no"])
def test_mounts_that_docker_would_refuse(options: str) -> None:
    """One of each kind of option, and nothing else."""
    mount = f"/a:/b:{options}"
    with pytest.raises(ConfigError, match="is not /host/path"):
        parse(yaml.safe_dump({"worker": {"mounts": [mount]}}), "config.yaml")


# ---------------------------------------------------------------- planctonctl


def test_places() -> None:
    """0.6's own paths, a user's, and those given as options."""
    assert places([], Path("/root")).log == Path("/var/log/plancton")
    own = places([("--user", ""), ("--rundir", "/x")], Path("/home/me"))
    home = Path("/home/me/.plancton")
    assert own == Places(Path("/x"), home / "log", home / "conf", home / "plancton.pid", home / "state")


def test_make(tmp_path: Path) -> None:
    """A user's directory is their own; the pid file, replacing an ended 0.6's, links to
    Plancton's."""
    where = places([("--user", "")], tmp_path)
    make(where)
    assert (tmp_path / ".plancton").stat().st_mode & 0o777 == 0o700
    where.pid.unlink()
    where.pid.write_text(f"{2**22}\n")  # above any pid
    for _ in range(2):
        make(where)
        assert where.pid.readlink() == where.run / "plancton.pid"


def test_a_pid_file_that_is_plancton_s(tmp_path: Path) -> None:
    """If both are the same file, by whatever name, it stays as the supervisor wrote it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    pid = tmp_path / "run" / "plancton.pid"
    pid.write_text("7\n")
    for name in ("run", "link"):
        make(Places(tmp_path / "run", tmp_path / "log", tmp_path, tmp_path / name / "plancton.pid"))
        assert pid.read_text() == "7\n"


def test_a_pid_file_that_is_something_else(tmp_path: Path) -> None:
    """No other file is replaced by a pid file, nor is that of a running Plancton 0.6."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    with pytest.raises(SystemExit, match="is not a pid file"):
        make(Places(tmp_path, tmp_path, tmp_path, precious))
    assert precious.read_text() == "precious"
    with subprocess.Popen(["sleep", "60"], executable="/bin/sleep") as other:
        precious.write_text(str(other.pid))
        make(Places(tmp_path, tmp_path, tmp_path, precious))
        assert precious.is_symlink(), "another process has the number now"
        other.kill()
    old = tmp_path / "planctonctl"
    old.write_text("import time; print(flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, old], stdout=subprocess.PIPE) as runs:
        assert runs.stdout and runs.stdout.readline()
        pid = tmp_path / "old.pid"
        pid.write_text(f"{runs.pid}\n")
        with pytest.raises(SystemExit, match=f"end it first: kill {runs.pid}"):
            make(Places(tmp_path, tmp_path, tmp_path, pid))
        assert pid.read_text() == f"{runs.pid}\n"
        runs.kill()


@pytest.mark.parametrize("verb", VERBS)
def test_verbs(verb: str) -> None:
    """Each verb is one of Plancton's; its `stop` leaves the workers running."""
    words, environment = plancton(verb, places([("--rundir", "/x")], Path("/")))
    assert environment == {"PLANCTON_RUN_DIR": "/x"}
    asked = [str(PROGRAMS / "plancton"), words[0], "--help"]
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
    assert ("--keep-workers" in words) == (verb == "stop")


@pytest.mark.parametrize("arguments", [[], ["restart"], ["start", "now"], ["--no-such", "start"]])
def test_what_planctonctl_does_not_know(arguments: list[str]) -> None:
    """Exit code 1, as in 0.6, and the usage."""
    called = [str(PROGRAMS / "planctonctl"), *arguments]
    done = subprocess.run(called, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "planctonctl" in done.stderr and "Traceback" not in done.stderr, done


def test_planctonctl_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has none is told so where 0.6 would look there, and only then."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("PLANCTON_RUN_DIR", "")
    monkeypatch.setattr(os, "getuid", lambda: (1 << 31) - 7)  # no list of users has this one
    monkeypatch.setattr(entry, "main", lambda: None)
    monkeypatch.setattr(sys, "argv", ["planctonctl", "status"])
    main()
    monkeypatch.setattr(sys, "argv", ["planctonctl", "--user", "status"])
    with pytest.raises(SystemExit, match="set HOME"):
        main()


@pytest.mark.parametrize("word", ["help", "--help"])
def test_planctonctl_helps(word: str) -> None:
    """It prints its usage for 0.6's `help` and for --help."""
    done = subprocess.run([str(PROGRAMS / "planctonctl"), word], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr.startswith("usage: planctonctl [--user]"), done
