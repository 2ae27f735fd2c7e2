"""The command line as users see it: in a process of its own, with exit codes and one-line
errors."""

# ruff: noqa: E501 (the exact texts are easier to read whole)

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml
from helpers.wait import wait_for
from unit.repositories import Repository
from unit.scripted_docker import HANG, Script, ScriptedDocker, reply
from unit.trees import let_others_in

from plancton.cli.command_options import app
from plancton.config.load import load_config
from plancton.config.schema import Config
from plancton.daemon.logs import LARGEST
from plancton.model import Header, Settings, Status

PLANCTON = Path(sys.executable).with_name("plancton")
DEADLINE = 90.0
NOBODY = 65534
INFO = reply(
    json.dumps({"CgroupDriver": "cgroupfs", "CgroupVersion": "2", "DockerRootDir": "/nowhere"}).encode()
)

Done = subprocess.CompletedProcess[str]


class Host:
    """A user's home: runs the command line with everything below one directory."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.run_dir, self.state = home / "run", home / "state"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PLANCTON_RUN_DIR": str(self.run_dir),
            "PLANCTON_STATE_DIR": str(self.state),
        }

    def __call__(self, *arguments: str | Path | bytes, **options: Any) -> Done:
        environ = {**self.environ, **options.pop("env", {})}
        return subprocess.run(
            [PLANCTON, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE,
            cwd=self.home,
            env=environ,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )

    def start(self, *arguments: str | Path, **streams: Any) -> subprocess.Popen[str]:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        return subprocess.Popen([PLANCTON, *arguments], text=True, cwd=self.home, env=self.environ, **streams)

    def config(self, text: str = "", socket: Path | None = None) -> Path:
        path = self.home / "config.yaml"
        path.write_text(
            f"docker: {{socket: {socket or self.home / 'none.sock'}, slice: plancton_test}}\n{text}"
        )
        return path


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Callable[[Script], Path]]:
    """Starts scripted Dockers and returns their sockets."""
    with contextlib.ExitStack() as stack:
        yield lambda script: stack.enter_context(ScriptedDocker(tmp_path / "d.sock", script)).path


def assert_refused(done: Done, *words: str, code: int = 2) -> None:
    """Assert one line that contains these words, that exit code, and nothing else."""
    assert done.returncode == code, f"exit code {done.returncode}: {done.stderr[-800:]}"
    assert done.stdout == "", f"on stdout: {done.stdout[:300]}"
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("plancton: "), f"on stderr: {done.stderr[-800:]}"
    assert lines[0].isprintable(), f"on stderr: {lines[0]!r}"
    for word in words:
        assert word in lines[0], f"{word!r} is not in: {lines[0]}"


# ---------------------------------------------------------------- bad configurations


@pytest.mark.parametrize(
    "command", [["check"], ["run", "--config"], ["selftest", "--config"]], ids=lambda c: c[0]
)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("worker: {cpus: 1", "config.yaml: line 2, column 17: expected ',' or '}'"),
        ("wroker: {}", "config.yaml: wroker: unknown key; did you mean 'worker'?"),
        ("worker: {memory: much}", "config.yaml: worker.memory: 'much' is not a size"),
        ("pool: {max_workers: ncpus.real}", "config.yaml: pool.max_workers: 'ncpus.real' is not allowed"),
        ("worker:\n  - " + "[" * 3000, "is nested too deeply"),
        ('"wor\\nker\\e[31m": {}', "unknown key"),
    ],
    ids=["yaml", "key", "size", "expression", "deep", "control"],
)
def test_bad_configuration(host: Host, command: list[str], text: str, words: str) -> None:
    """Both check and run refuse a wrong configuration."""
    assert_refused(host(*command, host.config(text)), words)


@pytest.mark.parametrize(
    "command", [["check"], ["run", "--config"], ["selftest", "-c"], ["replay", "x", "-c"]]
)
def test_no_configuration(host: Host, command: list[str]) -> None:
    """A configuration that was named must exist."""
    name = str(host.home / "my none.yaml") if command[0] == "run" else "my none.yaml"
    assert_refused(host(*command, "my none.yaml"), f"{name}: no such file; `plancton init '{name}'`")


@pytest.mark.parametrize(
    "name", [b"a\nb.yaml", b"\xff\xfe.yaml", b"\x1b[31m.yaml", b"x" * 300, b"/etc/passwd/x"]
)
def test_odd_paths(host: Host, name: bytes) -> None:
    """Whatever a path contains, the message is one printable line."""
    assert_refused(host("check", name))


def test_run_with_an_odd_path(host: Host) -> None:
    """A configuration whose name is not UTF-8 is read by the process that `run` becomes, too."""
    (host.home / os.fsdecode(b"\xff.yaml")).write_text("wroker: {}")
    assert_refused(host("run", "--config", b"\xff.yaml"), "did you mean 'worker'?")


def test_odd_files(host: Host) -> None:
    """Binary files, directories, pipes and devices are refused as configurations, without
    waiting."""
    (host.home / "binary").write_bytes(os.urandom(1000) + b"\xff")
    (host.home / "long").write_bytes(b"#" * 1_000_000)
    os.mkfifo(host.home / "pipe")
    assert_refused(host("check", "binary"), "binary: can't be read: is not UTF-8 text")
    assert_refused(host("check", "long"), "long: is longer than 256 KiB")
    for name in ("pipe", ".", "/dev/zero"):
        assert_refused(host("check", name), "is not a regular file")


def ran(host: Host, words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Any program's end, on this host."""
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=host.home,
        env=host.environ,
        check=False,
    )


@pytest.mark.parametrize("command", ["check x.yaml", "run -c x.yaml", "status"])
def test_a_current_directory_that_is_gone(host: Host, command: str) -> None:
    """Where a shell is left when somebody else removes its directory, a command says just that."""
    script = 'mkdir gone && cd gone && rmdir ../gone && PLANCTON_RUN_DIR=run exec "$@"'
    done = ran(host, ["sh", "-c", script, "sh", sys.executable, PLANCTON, *command.split()])
    if command != "status":
        assert_refused(done, "the current directory has been removed: ")
    assert done.returncode in (2, 3) and len(done.stderr.splitlines()) <= 1, done


def test_alias_bomb(host: Host) -> None:
    """Billions of aliased values are refused without using memory."""
    nested = "&a0 [x, x]"
    for n in range(1, 20):
        nested = f"&a{n} [{nested}, *a{n - 1}]"
    import resource

    limit = 1 << 30
    done = host(
        "check",
        host.config(f"worker: {{memory: {nested}}}"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert_refused(done, "aliases (*a0) are not supported: write the value out")


# ---------------------------------------------------------------- check and init


def test_check(host: Host, docker: Callable[[Script], Path]) -> None:
    """check prints the configuration in force as YAML and how many would fit, and warns on
    stderr."""
    path = host.config(
        "worker: {environment: {TOKEN: s3cret}, cpus: 4000}\nowner: {hours: mon-sun, leave_when: hour > 24}",
        docker({"GET /info": INFO}),
    )
    done = host("check", path)
    assert done.returncode == 0, done.stderr
    assert "# hour = " in done.stdout and "# owner.hours is the whole week" in done.stdout
    assert "warning: owner.leave_when: 'hour > 24' can never be true" in done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["worker"]["cpus"] == 4000.0 and shown["worker"]["environment"] == {"TOKEN": "***"}
    assert "s3cret" not in done.stdout + done.stderr
    assert "# This host has " in done.stdout and "0 workers would fit." in done.stdout, done.stdout
    assert "warning: no worker can ever start here: worker.cpus is 4000" in done.stderr
    assert "warning: no image is configured" in done.stderr


def test_check_for_scripts(host: Host, docker: Callable[[Script], Path]) -> None:
    """check --json has everything that check says, and writes nothing else."""
    text = (
        "worker: {environment: {TOKEN: s3cret}, cpus: 4000}\nowner: {pause_when: weekday > 7, hours: sun-sat}"
    )
    path = host.config(text, docker({"GET /info": INFO}))
    done = host("check", path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["configuration"] == yaml.safe_load(host("check", path).stdout)
    assert said["fit"] == 0 and "0 workers would fit. One needs " in said["message"], said
    assert any("worker.cpus is 4000" in warning for warning in said["warnings"]), said
    assert 1 <= said["signals"]["weekday"] <= 7 and "whole week" in said["rules"][0], said


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        (b"eyJ.eyJzdWIiOiJ4In0.c2VjcmV0", 0o644, "token: others can read it; chmod 600 "),
        (b"c2VjcmV0", 0o600, "token: holds no token as condor_token_create prints it"),
        (b"eyJ.eyJleHAiOjF9.c2VjcmV0", 0o600, "ago; ask the pool's administrator for a new one"),
        (None, 0, "token: No such file or directory; the user that runs Plancton must be able to read it"),
    ],
    ids=["open", "no token", "expired", "missing"],
)
def test_check_of_a_bad_token(
    host: Host, docker: Callable[[Script], Path], content: bytes | None, mode: int, words: str
) -> None:
    """check refuses an unusable token in one line that does not show it."""
    path = host.home / "token"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    pool = f"htcondor: {{central_manager: cm, token_file: {path}}}"
    done = host("check", host.config(pool, docker({"GET /info": INFO})))
    assert_refused(done, f"token file {path}", words)
    assert "c2VjcmV0" not in done.stderr and "eyJ" not in done.stderr, done.stderr


def test_check_of_known_holes(host: Host, docker: Callable[[Script], Path]) -> None:
    """check warns of versions that have known holes, and names the ones without."""
    parts = [{"Name": "runc", "Version": "1.1.11"}, {"Name": "Engine", "Version": "29.5.1"}]
    version = {"Platform": {"Name": "Docker Engine - Community"}, "Components": parts}
    script: Script = {"GET /info": INFO, "GET /version": reply(json.dumps(version).encode())}
    done = host("check", host.config(socket=docker(script)))
    assert done.returncode == 0, done.stderr
    assert "runc 1.1.11 has known holes" in done.stderr and "29.5.1" not in done.stderr, done.stderr


def test_check_of_a_pool(host: Host, docker: Callable[[Script], Path]) -> None:
    """check shows the workers that the section sets up, and the command that builds their image."""
    path = host.home / "token"
    path.write_bytes(b"eyJ.eyJzdWIiOiJ4In0.c2VjcmV0")
    path.chmod(0o600)
    pool = f"htcondor: {{central_manager: cm.example.org, token_file: {path}}}"
    done = host("check", host.config(pool, docker({"GET /info": INFO})))
    assert done.returncode == 0, done.stderr
    shown = yaml.safe_load(done.stdout)
    assert shown["htcondor"]["central_manager"] == "cm.example.org" and shown["worker"]["read_only_root"]
    assert set(shown["worker"]["environment"].values()) == {"***"}
    assert "scripts/worker-image/build --load" in done.stderr, done.stderr
    assert "c2VjcmV0" not in done.stdout + done.stderr


def test_check_schema(host: Host) -> None:
    """check --schema prints JSON Schema, without looking for Docker or a file."""
    done = host("check", "--schema", env={"HOME": "/nowhere"})
    assert done.returncode == 0 and "$defs" in json.loads(done.stdout), done.stderr


def test_init(host: Host) -> None:
    """init writes the commented defaults, says what to do next, and never replaces a file
    unasked."""
    path = host.home / "new" / "config.yaml"
    done = host("init", path)
    assert done.returncode == 0 and "set image.name or htcondor in it" in done.stdout, done
    assert load_config(path) == Config()
    path.write_text("mine")
    assert_refused(host("init", path), "is there already; --force replaces it")
    assert path.read_text() == "mine"
    assert host("init", "--force", path).returncode == 0
    assert load_config(path) == Config()


def test_init_with_a_profile(host: Host) -> None:
    """init writes a profile's settings, and refuses an unknown one."""
    path = host.home / "config.yaml"
    assert host("init", path, "--profile", "lab").returncode == 0
    assert str(load_config(path).owner.hours) == "19:00-08:00, sat, sun"
    assert_refused(host("init", "new.yaml", "--profile", "tablet"), "is none of laptop, desktop, server, lab")
    assert_refused(host("init", "new.yaml", "--profile", "lab", "--repo", "/x"), "leave out --profile")


def test_init_from_a_repository(host: Host, tmp_path: Path) -> None:
    """init clones a repository as the configuration directory; check, run and doctor recognise
    it."""
    (tmp_path / "x").mkdir()
    repository = Repository(tmp_path / "x")
    path = host.home / "clone/config.yaml"
    done = host("init", path, "--repo", repository.bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{path.parent}: a clone of {repository.bare}, branch main, commit ")
    assert load_config(path).image.name == "registry.example.org/worker:1.0"
    again = host("init", path, "--repo", repository.bare)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True), again
    assert_refused(host("init", "--force", path), f"{path}: comes from the repository")
    assert load_config(path).image.name == "registry.example.org/worker:1.0"
    path.write_text("worker: {privileged: true, devices: [/dev/fuse]}")
    if os.geteuid() == 0:  # this machine's own file does not count then
        path.with_name("allow.yaml").write_text("{}")
        path.with_name("allow.yaml").chmod(0o644)
    done = host("check", path)
    lines = done.stderr.splitlines()
    assert [line.split(": ")[2] for line in lines] == ["worker.privileged", "worker.devices"]
    assert (done.returncode, done.stdout) == (2, "")
    assert host("run", "--dry-run", "--config", path).stderr.splitlines() == lines
    found = json.loads(host("doctor", "--json", "--config", path).stdout)["findings"][0]
    assert (found["subject"], found["level"]) == ("configuration", "broken")
    assert "worker.privileged: needs `privileged: true`" in found["text"]


def test_init_from_a_repository_where_it_cannot(host: Host) -> None:
    """Nonsensical options are refused before anything is fetched; a missing repository leaves
    nothing."""
    path = host.home / "clone/config.yaml"
    for said, arguments in {
        "--ref names what of a repository is wanted: add --repo URL": ["--ref", "main"],
        "--repo replaces nothing: leave out --force": ["--repo", "/x", "--force"],
        "/none: repository '/none' does not exist": ["--repo", "/none"],
    }.items():
        assert_refused(host("init", path, *arguments), said)
    assert_refused(
        host("init", "my.yaml", "--repo", "/x"), "my.yaml: a repository's file is called config.yaml"
    )
    assert not path.parent.exists()


def test_init_where_it_cannot(host: Host) -> None:
    """If the file can't be written, the message names the path and the reason."""
    (host.home / "file").write_text("")
    assert_refused(host("init", "file/config.yaml"), "file/config.yaml: can't be written: ")
    os.mkfifo(host.home / "pipe")  # waits for a reader, if it is opened
    for name in (".", "pipe"):
        assert_refused(host("init", "--force", name), f"{name}: is not a regular file")
    assert_refused(host("init", "/proc/x/config.yaml"), "can't be written")


# ---------------------------------------------------------------- Docker


def test_check_without_docker(host: Host) -> None:
    """Without a socket, check ends with one line that says how to start Docker."""
    assert_refused(host("check", host.config()), "there is no Docker socket at", "systemctl start docker")


def test_dead_docker(host: Host) -> None:
    """check names a socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(host.home / "dead.sock"))
    assert_refused(
        host("check", host.config(socket=host.home / "dead.sock")), "nobody listens on", "dead.sock"
    )


@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"]
)
def test_not_docker(host: Host, docker: Callable[[Script], Path], command: list[str], answer: bytes) -> None:
    """check and run can tell another program's socket from Docker's."""
    path = host.config(socket=docker({"GET /_ping": [answer, "cut"]}))
    assert_refused(host(*command, path), "set docker.socket to the socket of a Docker Engine")


def test_socket_that_is_a_file(host: Host) -> None:
    """An ordinary file is refused as a socket."""
    (host.home / "file").write_text("")
    assert_refused(host("check", host.config(socket=host.home / "file")), "file")


def test_no_socket_path(host: Host) -> None:
    """A socket without an absolute path is a configuration error."""
    (host.home / "c.yaml").write_text("docker: {socket: tcp://host:2375}")
    assert_refused(
        host("check", "c.yaml"), "docker.socket: 'tcp://host:2375' is not the path of a unix socket"
    )


def calling(command: str) -> str:
    """The code that does it in this process: `run` becomes another, which would not know what was
    done to this one."""
    if command != "run":
        return "from plancton.cli.entry import main; main()"
    options = "json.dumps({'starts': True, 'config': sys.argv[-1]})"
    return f"import json, sys; from plancton.daemon.process import main; sys.exit(main([{options}]))"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
def test_permission(host: Host, docker: Callable[[Script], Path], command: list[str]) -> None:
    """A user who may not open Docker's socket is told about the docker group."""
    path = host.config(socket=docker({"GET /info": INFO}))
    os.chmod(host.home / "d.sock", 0o600)
    let_others_in(host.home)
    # All is imported first: nobody may be unable to read what is installed here.
    code = (
        "import contextlib, io, os, requests.models, plancton.commands.check, plancton.daemon.process\n"
        "from plancton.cli.command_options import app\n"
        "with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())):\n"
        "    app(['check', '--schema'], standalone_mode=False)\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n{calling(command[0])}"
    )
    done = ran(host, [sys.executable, "-P", "-c", code, *command, str(path)])
    assert_refused(done, "permission denied on", "docker group (usermod -aG docker USER)")


@pytest.mark.parametrize("command", [["check"], ["run"], ["selftest"], ["top", "--once"]])
def test_no_cgroup_v2(host: Host, docker: Callable[[Script], Path], command: list[str]) -> None:
    """A host without cgroup v2 is told how to boot."""
    (host.home / "proc/self").mkdir(parents=True)
    (host.home / "proc/self/mountinfo").write_text(
        "32 30 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    )
    config = host.config(socket=docker({"GET /info": INFO}))
    code = (
        "import functools; from pathlib import Path; from plancton.host import cgroup_mounts as module\n"
        f"module.read_layout = functools.partial(module.read_layout, Path({str(host.home / 'proc')!r}))\n"
        f"{calling(command[0])}"
    )
    named = ["--config", str(config)]
    options = {"check": [str(config)], "run": named, "selftest": named, "top": []}[command[0]]
    done = ran(host, [sys.executable, "-P", "-c", code, *command, *options])
    assert_refused(
        done, "no cgroup v2 tree is mounted on this host: boot with systemd.unified_cgroup_hierarchy=1"
    )


# ---------------------------------------------------------------- not running


def test_status_when_not_running(host: Host) -> None:
    """status without a supervisor is an answer, not an error: exit code 3, as text and as JSON."""
    done = host("status")
    assert (done.returncode, done.stderr) == (3, "") and done.stdout.startswith("Plancton is not running"), (
        done
    )
    done = host("status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (3, {"running": False})


@pytest.mark.parametrize(
    "command", [["pause"], ["drain"], ["resume"], ["stop"], ["drain", "--stop", "--wait"], ["stop", "--wait"]]
)
def test_requests_when_not_running(host: Host, command: list[str]) -> None:
    """Without a supervisor, requests are refused, and none is left for the next start."""
    done = host(*command)
    assert (done.returncode, done.stdout) == (3, ""), done
    assert (
        done.stderr == "Plancton is not running; start its service, or `plancton run` where there is none.\n"
    )
    assert not host.run_dir.exists()


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\x00", b"{}", b'{"version": "\xff"}', b"[" * 1_000_000, b"9" * 5_000_000],
    ids=["empty", "binary", "other", "latin", "deep", "huge"],
)
@pytest.mark.parametrize("command", [["status"], ["stop"]], ids=["status", "stop"])
def test_garbage_as_status(host: Host, command: list[str], data: bytes) -> None:
    """An unreadable status.json counts as none."""
    host.run_dir.mkdir()
    (host.run_dir / "status.json").write_bytes(data)
    done = host(*command)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done


def test_status_of_a_dead_one(host: Host) -> None:
    """A killed supervisor's status.json does not count as running, whoever has its pid now."""
    host.run_dir.mkdir()
    host.state.mkdir()
    left = Status("1", os.getpid(), "i", 1.0, "donating", "", "", "kernel", "", "plancton", 2.0, 1)
    (host.run_dir / "status.json").write_bytes(msgspec.json.encode(left))
    (host.state / "0.lock").write_text(f"{os.getpid()}\n")
    assert host("status").returncode == 3


def test_contradiction(host: Host) -> None:
    """stop can't both remove and keep the workers."""
    assert_refused(host("stop", "--force", "--keep-workers"), "give one of the two")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["run", "--bogus"], "--bogus"),
        (["bogus"], "bogus"),
        (["status", "x"], "x"),
        (["replay"], "file"),
        (["run", "--config"], "--config"),
    ],
)
def test_usage(host: Host, command: list[str], words: str) -> None:
    """Wrong usage is named, with exit code 2."""
    done = host(*command)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert words in done.stderr and done.stderr.startswith("plancton: ") and "Traceback" not in done.stderr, (
        done.stderr
    )


@pytest.mark.parametrize("command", [[], ["--help"], ["-h"], *([name, "-h"] for name in (
    "run", "check", "init", "status", "top", "selftest", "pause", "drain", "resume", "stop", "replay"))])  # fmt: skip
def test_help(host: Host, command: list[str]) -> None:
    """Every command has --help."""
    done = host(*command)
    assert "Usage: plancton" in done.stdout + done.stderr and "Traceback" not in done.stderr, done


def test_version(host: Host) -> None:
    """--version is one line."""
    done = host("--version")
    assert done.returncode == 0 and done.stdout.startswith("plancton 1."), done


@pytest.mark.parametrize("interval", ["0s", "0.5", "soon", "-1s", "1e999d", "99999999999d", ""])
def test_top_with_a_bad_interval(host: Host, interval: str) -> None:
    """One line that names the option, and exit code 2."""
    done = host("top", "--batch", "1", "--interval", interval)
    assert done.returncode == 2 and done.stderr.startswith("plancton: --interval: "), done
    assert len(done.stderr.splitlines()) == 1, done


def test_top_one_after_the_other(host: Host) -> None:
    """--batch prints that many screens, with --json that many lines."""
    assert host("top", "--batch", "2", "--interval", "1s").stdout.count("plancton top") == 2
    lines = host("top", "--json", "--batch", "2", "--interval", "1s").stdout.splitlines()
    assert len(lines) == 2 and all("figures" in json.loads(line) for line in lines), lines


# ---------------------------------------------------------------- output that can't be written

SAYING = [["--help"], ["--version"], ["check", "--schema"], ["status"], ["status", "--json"], ["doctor"],
          ["doctor", "--json"], ["top", "--once"], ["top", "--json"]]  # fmt: skip


@pytest.mark.parametrize("command", SAYING, ids=" ".join)
def test_output_to_a_full_disk(host: Host, command: list[str]) -> None:
    """A failed write is one line on stderr and exit code 2, whichever command wrote."""
    with open("/dev/full", "w") as full:
        done = host.start(*command, stdout=full)
        _, said = done.communicate(timeout=DEADLINE)
    assert (done.returncode, said) == (
        2,
        "plancton: standard output: can't be written: No space left on device; make room, or send it elsewhere\n",
    )


@pytest.mark.parametrize("command", SAYING, ids=" ".join)
def test_output_that_nobody_reads(host: Host, command: list[str]) -> None:
    """`plancton … | true` ends in silence, of SIGPIPE like any other program."""
    reader, writer = os.pipe()
    os.close(reader)
    done = host.start(*command, stdout=writer)
    os.close(writer)
    _, said = done.communicate(timeout=DEADLINE)
    assert (done.returncode, said) == (-signal.SIGPIPE, "")


def test_errors_that_nobody_is_told(host: Host, docker: Callable[[Script], Path]) -> None:
    """If stderr is full, too, the exit code still says what is wrong."""
    with open("/dev/full", "w") as full:
        done = host.start("check", "none.yaml", stdout=full, stderr=full)
        assert done.wait(DEADLINE) == 2
        config = host.config(socket=docker({"GET /info": INFO}))
        warned = host.start("check", config, stdout=subprocess.DEVNULL, stderr=full)
        assert warned.wait(DEADLINE) == 0


# ---------------------------------------------------------------- recordings


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x7fELF\x00\xff", "line 1 is not of a recording"),
        (b'{"observation": "\xff\xfe"}\n', "line 1 is not of a recording"),
        (b'{"version": 1}\n', "line 1 is not of a recording"),
        (msgspec.json.encode(Header("1", Settings())) + b"\n{}\n", "line 2 is not of a recording"),
        (b"[" * 100_000, "line 1 is not of a recording"),
    ],
    ids=["binary", "latin", "type", "second", "deep"],
)
def test_replay_of_garbage(host: Host, data: bytes, words: str) -> None:
    """A file that is no recording is refused with its line number, exit code 2."""
    (host.home / "recording").write_bytes(data)
    assert_refused(host("replay", "recording"), "recording: ", words)


def test_replay_of_nothing(host: Host) -> None:
    """An unreadable recording is named; one without ticks can't be replayed with other settings."""
    assert_refused(host("replay", "none"), "none: can't be read: No such file or directory")
    assert_refused(host("replay", "."), "can't be read: Is a directory")
    (host.home / "empty").write_text("")
    assert_refused(host("replay", "empty", "--config", host.config()), "empty: holds no tick")


def test_replay_of_a_history(host: Host) -> None:
    """An owner's use, in CSV, meets simulated workers: with the defaults, or with a
    configuration."""
    (host.home / "desk.csv").write_text("time,owner\n0,0\n300,2\n600,2\n")
    assert_refused(host("replay", "desk.csv"), "desk.csv: line 2: how many CPUs", "Add --cpus N")
    lines = host("replay", "desk.csv", "--cpus", "2").stdout.splitlines()
    assert lines[0] == "      0.0 s  0 workers, 0 fit, the owner uses 0.0 of 2 CPUs", lines
    assert lines[-1].startswith("900 ticks: 2 × leave, 2 × set shares, 2 × start; 578 CPU seconds donated"), (
        lines
    )
    calm = host.config("yield: {grace_kill: 1h}")
    done = host("replay", "desk.csv", "--cpus", "2", "--config", calm, "--json")
    assert json.loads(done.stdout)["actions"] == {"start": 2, "set shares": 2}, done


def test_replay_needs_no_cpus_of_a_recording(host: Host) -> None:
    """A recording knows its host's CPUs."""
    (host.home / "recording").write_bytes(msgspec.json.encode(Header("1", Settings())) + b"\n")
    assert_refused(host("replay", "recording", "--cpus", "2"), "recording: ", "leave out --cpus")


def test_record_where_it_cannot(host: Host) -> None:
    """A recording that can't be written is refused before anything starts."""
    done = host("run", "--config", host.config(), "--record", "/nowhere/x")
    assert_refused(done, "/nowhere/x: can't be written: No such file or directory; name another file")


# ---------------------------------------------------------------- the supervisor's start


@pytest.mark.parametrize("variable", ["PLANCTON_RUN_DIR", "PLANCTON_STATE_DIR"])
def test_directories_that_are_files(host: Host, variable: str) -> None:
    """An unusable run or state directory is named in one line, exit code 2."""
    (host.home / "file").write_text("")
    done = host("run", "--config", host.config(), env={variable: str(host.home / "file")})
    assert done.returncode == 2 and done.stdout == "", done
    (line,) = done.stderr.splitlines()
    assert str(host.home / "file") in line, line


@pytest.fixture
def supervisor(host: Host) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that waits for a Docker which never comes."""
    process = host.start("run", "--config", host.config())
    wait_for("status", lambda: process.poll() is not None or host("status").returncode == 0)
    assert process.poll() is None, process.communicate()
    yield process
    process.kill()
    process.communicate()


def test_waits_for_docker(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """run without a socket waits and says so; a second one exits with 75; all requests work."""
    seen = json.loads(host("status", "--json").stdout)
    assert seen["running"] and seen["pid"] == supervisor.pid, seen
    wait_for("the problem", lambda: "there is no Docker socket" in host("status", "--json").stdout)
    second = host("run", "--config", host.home / "config.yaml")
    assert second.returncode == 75 and second.stdout == "", second
    (line,) = second.stderr.splitlines()
    assert f"already runs here (pid {supervisor.pid})" in line, line
    assert host("drain").returncode == 0
    wait_for("draining", lambda: json.loads(host("status", "--json").stdout)["mode"] == "draining")
    assert host("resume").stdout == "Donating again.\n"
    assert host("resume").stdout == "Plancton was neither paused nor draining.\n"
    done = host("stop", "--wait")
    assert (done.returncode, done.stdout.startswith("Stopped. Docker does not answer")) == (0, True), done
    assert supervisor.wait(DEADLINE) == 0
    assert not (host.run_dir / "status.json").exists(), "it left its status behind"


def test_pause(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """A pause is in the status, with its end; it holds across a restart of the supervisor; resume
    ends it, and so does its time; drains may have a time, too."""

    def mode() -> str:
        return str(json.loads(host("status", "--json").stdout)["mode"])

    done = host("pause", "--for", "2h")
    assert done.returncode == 0 and done.stdout.startswith("Paused until "), done
    wait_for("it is paused", lambda: mode() == "paused")
    seen = json.loads(host("status", "--json").stdout)
    assert seen["pause"]["by"] == "owner" and abs(seen["pause"]["until"] - time.time() - 7200) < 600, seen
    assert host("status").stdout.startswith("Paused by the owner until "), seen
    assert host("stop", "--wait").returncode == 0
    supervisor.wait(DEADLINE)
    again = host.start("run", "--config", host.home / "config.yaml")
    try:
        wait_for("it runs", lambda: host("status").returncode == 0)
        wait_for("it is still paused", lambda: mode() == "paused")
        assert host("resume").stdout == "Donating again.\n"
        wait_for("it donates", lambda: mode() == "donating")
        assert host("pause", "--for", "1s").returncode == 0
        assert host("drain", "--for", "1s").returncode == 0
        wait_for("both are over", lambda: mode() == "donating" and not (host.state / "pause").exists())
        assert not (host.run_dir / "drain").exists()
    finally:
        again.kill()
        again.communicate()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pause --for 2x", "--for: '2x' is not a duration"),
        ("pause --for 0s", "give 1s to 31d"),
        ("pause --for 99d", "give 1s to 31d"),
        ("pause --until 25:00", "'25:00' is not a time of day: write 18:00"),
        ("pause --for 2h --until 18:00", "give one of the two"),
        ("drain --stop --for 2h", "leave out --for"),
    ],
)
def test_times_that_mean_nothing(
    host: Host, supervisor: subprocess.Popen[str], command: str, words: str
) -> None:
    """A bad time is one line that says how to write it."""
    assert_refused(host(*command.split()), words)


def test_status_that_cannot_be_read(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """A supervisor whose status can't be written, or is of another version, runs all the same: that
    is said in one line, and requests work."""
    wait_for("the status", (host.run_dir / "status.json").exists)
    (host.run_dir / ".status.json.part").mkdir()  # nothing is written from now on
    for text, why in (("{}", "is damaged or of another version"), (None, "No such file")):
        (host.run_dir / "status.json").unlink()
        if text is not None:
            (host.run_dir / "status.json").write_text(text)
        done = host("status")
        assert (done.returncode, done.stderr) == (0, "") and why in done.stdout, done
        assert done.stdout.count("\n") == 1 and f"pid {supervisor.pid}" in done.stdout, done.stdout
        seen = json.loads(host("status", "--json").stdout)
        assert (seen["running"], seen["pid"]) == (True, supervisor.pid), seen
    assert host("drain").returncode == 0
    waiting = host("drain", "--wait")
    assert waiting.returncode == 2 and "can't be seen" in waiting.stderr, waiting
    done = host("stop", "--force")
    assert done.returncode == 0 and done.stdout.startswith("Stopped."), done
    assert supervisor.wait(DEADLINE) == 0


MOVES = ["PLANCTON_RUN_DIR", *(["XDG_RUNTIME_DIR"] if os.geteuid() else [])]
"""What moves the run directory: for root, XDG's does not."""


@pytest.mark.parametrize("lost", MOVES)
def test_another_shell(host: Host, lost: str) -> None:
    """A shell without the variable that says where the run directory is, as cron's, finds the
    supervisor by its lock."""
    del host.environ["PLANCTON_RUN_DIR"]
    host.environ[lost] = str(host.home / "elsewhere")
    supervisor = host.start("run", "--config", host.config())
    try:
        wait_for("the status", lambda: host("status").returncode == 0)
        del host.environ[lost]
        assert json.loads(host("status", "--json").stdout)["pid"] == supervisor.pid
        assert json.loads(host("top", "--json").stdout)["status"]["pid"] == supervisor.pid
        assert host("drain").returncode == 0
        done = host("stop", "--wait")
        assert done.returncode == 0 and done.stdout.startswith("Stopped."), done
        assert supervisor.wait(DEADLINE) == 0
    finally:
        supervisor.kill()
        supervisor.communicate()


def test_broken_reload(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """A configuration broken at reload is named in the status until it is fixed; the last good one
    stays."""

    def problems() -> str:
        return " ".join(json.loads(host("status", "--json").stdout).get("problems", []))

    host.config("wroker: {}")
    wait_for("status says so", lambda: "did you mean 'worker'? (the last good" in problems())
    assert supervisor.poll() is None
    host.config("worker: {cpus: 2}")
    wait_for("the fixed one", lambda: "wroker" not in problems())


def test_interrupted(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """Ctrl-C and SIGTERM end it with 0 and no traceback; everybody can read its files."""
    wait_for("its first word", (host.run_dir / "status.json").exists)
    assert stat.S_IMODE((host.run_dir / "status.json").stat().st_mode) == 0o644
    supervisor.send_signal(signal.SIGINT)
    _, said = supervisor.communicate(timeout=DEADLINE)
    assert supervisor.returncode == 0 and "Traceback" not in said, said


def test_docker_that_hangs_at_the_start(host: Host, docker: Callable[[Script], Path]) -> None:
    """run with a Docker that accepts but never answers still starts, and says so."""
    path = host.config(socket=docker({"GET /_ping": [HANG]}))
    process = host.start("run", "--config", path)
    try:
        wait_for("status", lambda: process.poll() is not None or host("status").returncode == 0)
        assert process.poll() is None, process.communicate()
    finally:
        process.kill()
        process.communicate()


# ---------------------------------------------------------------- exit codes and --json, by the table in docs/commands.md

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
SHOWN = {name: command for name, command in COMMANDS.items() if not command.hidden}
PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text()


def table() -> dict[str, dict[str, str]]:
    """The cells of each command's row by the column's heading."""
    section = PAGE.partition("\n## Exit codes and JSON\n")[2].partition("\n## ")[0]
    lines = section.strip().splitlines()
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]
    heading = rows[0]
    return {row[0]: dict(zip(heading[1:], row[1:], strict=True)) for row in rows[1:]}


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_is_documented(name: str) -> None:
    """Each command has a row that says whether it has --json; its options are in the list of
    commands."""
    assert name in table(), f"docs/commands.md has no row for {name} in the table of exit codes"
    shown = [each for each in SHOWN[name].params if not getattr(each, "hidden", False)]
    options = {option for parameter in shown for option in parameter.opts if option[0] == "-"}
    assert ("--json" in options) == (table()[name]["--json"] == "yes")
    usages = re.findall(rf"^\| `plancton {name}\b(.*?)` \|", PAGE, re.MULTILINE)
    assert usages, f"docs/commands.md has no line for {name}"
    for option in options - {"--config", "--verbose"}:  # which are -c and -v there
        assert any(option in usage for usage in usages), f"docs/commands.md lacks {option} of {name}"


def test_no_other_command_is_documented() -> None:
    """The table has no row for anything but a command."""
    assert set(table()) == set(SHOWN)


@pytest.mark.parametrize("name", COMMANDS)
def test_bad_input_is_2(host: Host, name: str) -> None:
    """Every command exits with 2 on bad input, without a traceback."""
    done = host(name, "--no-such-option")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done


DOCTOR = "import plancton.commands.doctor.findings as d, plancton.commands.doctor.facts as h; h.look = lambda *_: None; "
SELFTEST = "import plancton.commands.selftest.run as s, types; s.run_selftest = lambda *_: dataclasses.make_dataclass('R', ['yields'])"
PREPARE = "import plancton.commands.prepare as p; p.prepare_host = lambda *_: 'made'"
STATE = "__import__('pathlib').Path(__import__('os').environ['PLANCTON_STATE_DIR'])"
HISTORY = """
import time
from plancton.history.tables import NAME
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Work
from plancton.paths import default_paths
state = default_paths().state
state.mkdir(parents=True, exist_ok=True)
open_store(state / NAME).write(Batch((), (Event(time.time(), "starting"),), Kept(Work(1.0))), 1)
"""
CODES = [
    ("check config.yaml", 0, ""),
    ("init new.yaml", 0, ""),
    ("migrate old.yaml", 0, ""),
    ("prepare --user me", 0, PREPARE),
    ("doctor", 0, DOCTOR + "d.diagnose = lambda _: d.Report(d.Level.OK, 'All ok', ())"),
    ("doctor", 1, DOCTOR + "d.diagnose = lambda _: d.Report(d.Level.BETTER, 'Better', ())"),
    ("doctor -c gone.yaml", 4, ""),
    ("status", 3, ""),
    ("top", 0, ""),
    ("report", 0, HISTORY),
    ("events", 0, HISTORY),
    ("metrics", 3, ""),
    ("metrics --textfile x.prom", 0, ""),
    ("selftest", 0, f"import dataclasses; {SELFTEST}(True)"),
    ("selftest", 1, f"import dataclasses; {SELFTEST}(False)"),
    ("pause", 3, ""),
    ("drain", 3, ""),
    ("resume", 3, ""),
    ("stop", 3, ""),
    (
        "stop --force",
        4,
        f"{STATE}.mkdir(); ({STATE} / '0.lock').write_text('1\\n/no.sock\\nplancton_test\\n')",
    ),
    ("replay desk.csv --cpus 2", 0, ""),
]
"""What ends with which code here, where no supervisor runs, after these statements."""
RUNNING = [
    ("status", 0),
    ("pause", 0),
    ("drain", 0),
    ("resume", 0),
    ("run -c config.yaml", 75),
    ("stop --wait", 0),
]
"""The same beside a supervisor, in this order."""


@pytest.mark.parametrize(("command", "code", "before"), CODES, ids=[f"{c[0]}-{c[1]}" for c in CODES])
def test_exit_code(
    host: Host, docker: Callable[[Script], Path], command: str, code: int, before: str
) -> None:
    """The exit code is the documented one; --json prints JSON, unless there is an error line on
    stderr."""
    host.config(socket=docker({"GET /info": INFO}))
    (host.home / "desk.csv").write_text("time,owner\n0,0\n300,2\n600,2\n")
    (host.home / "old.yaml").write_text("cpus_per_dock: 1\n")
    as_json = ["--json"] * bool(table()[command.split()[0]]["--json"])
    main = [sys.executable, "-P", "-c", f"{before}\nfrom plancton.cli.entry import main; main()"]
    done = subprocess.run(
        [*main, *command.split(), *as_json], env=host.environ, cwd=host.home, timeout=DEADLINE, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stderr, done
    if as_json:
        assert json.loads(done.stdout) if done.stdout else done.stderr.count("\n") == 1


def test_exit_codes_beside_a_supervisor(host: Host, supervisor: subprocess.Popen[str]) -> None:
    """The same for commands that need a running supervisor."""
    for command, code in RUNNING:
        as_json = ["--json"] * bool(table()[command.split()[0]]["--json"])
        done = host(*command.split(), *as_json)
        assert done.returncode == code, done
        assert not as_json or json.loads(done.stdout)
    assert supervisor.wait(DEADLINE) == 0


def test_all_exit_codes_are_shown() -> None:
    """The table has exactly the exit codes that these tests have seen."""
    runs = [("run", 0), ("web", 0), *RUNNING, *((command, code) for command, code, _ in CODES)]
    seen = {(command.split()[0], str(code)) for command, code in runs}
    documented = {
        (name, code) for name, row in table().items() for code in row if code != "--json" and row[code]
    }
    assert seen == documented, f"unseen {documented - seen}, not documented {seen - documented}"


# ---------------------------------------------------------------- in the background


@pytest.fixture
def detached(host: Host) -> Iterator[Done]:
    """Run `run --detach`; its output. Its supervisor, in a session of its own, ends with the
    test."""
    done = host("run", "--detach", "--config", host.config(), env={"JOURNAL_STREAM": "8:1"})
    try:
        yield done
    finally:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((host.run_dir / "plancton.pid").read_text()), signal.SIGKILL)


def test_detach(host: Host, detached: Done) -> None:
    """It returns when the supervisor is up: one process, with its pid in a file, without a
    terminal, leading a session, and logging to a file with times; a stop removes the pid."""
    assert (detached.returncode, detached.stderr) == (0, ""), detached
    pid = int((host.run_dir / "plancton.pid").read_text())
    assert detached.stdout == f"Plancton runs (pid {pid}) and logs to {host.state / 'plancton.log'}\n"
    assert json.loads(host("status", "--json").stdout)["pid"] == pid
    assert os.getsid(pid) == pid and os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    log = (host.state / "plancton.log").read_text()
    assert re.match(rf"\d{{4}}-\d\d-\d\d .* INFO Plancton .*, pid {pid}, instance ", log), log
    assert host("stop", "--wait").returncode == 0
    assert [path.name for path in host.run_dir.iterdir()] == []


def test_detach_twice(host: Host, detached: Done) -> None:
    """A second one names the running process, exits as in the foreground, and changes no pid."""
    pid = (host.run_dir / "plancton.pid").read_text()
    again = host("run", "--detach", "--config", host.home / "config.yaml")
    assert_refused(again, f"already runs here (pid {pid.strip()})", code=75)
    assert (host.run_dir / "plancton.pid").read_text() == pid


def test_detach_with_a_full_log(host: Host) -> None:
    """A full log is kept next to the new one, where logging continues."""
    host.state.mkdir()
    log = host.state / "plancton.log"
    log.touch()
    os.truncate(log, LARGEST)
    assert host("run", "--detach", "--config", host.config()).returncode == 0
    assert host("stop", "--wait").returncode == 0
    assert (host.state / "plancton.log.1").stat().st_size > LARGEST
    assert 0 < log.stat().st_size < 10_000


def test_detach_that_fails(host: Host) -> None:
    """If it can't start, one line says why."""
    assert_refused(host("run", "--detach", "--config", host.config("wroker: {}")), "did you mean 'worker'?")
    (host.state / "instance").write_text("no id!")
    assert_refused(host("run", "--detach", "--config", host.config()), "instance id")
    assert host("status").returncode == 3


def test_detach_where_it_cannot(host: Host) -> None:
    """A log that is a link is not followed, and a dry run in the background is refused."""
    host.state.mkdir()
    (host.state / "plancton.log").symlink_to(host.home / "elsewhere")
    assert_refused(host("run", "--detach", "--config", host.config()), "plancton.log: can't be written")
    assert not (host.home / "elsewhere").exists()
    assert_refused(host("run", "--detach", "--dry-run", "--config", host.config()), "leave out --detach")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_web_ends_as_asked(host: Host, number: int) -> None:
    """`web` says where the page is, and ends with 0 by SIGTERM and Ctrl-C, saying nothing."""
    web = host.start("web", "--listen", "127.0.0.1:0")
    assert web.stdout and "http://127.0.0.1:" in web.stdout.readline()
    os.kill(web.pid, number)
    _, said = web.communicate(timeout=DEADLINE)
    assert (web.returncode, said) == (0, "")
