"""The files that are the interface: status.json, requests, the lock, the instance's id."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from unit.trees import let_others_in

from plancton import rundir
from plancton.model import Status
from plancton.rundir import (
    AlreadyRunning,
    Lock,
    Paths,
    RunDir,
    RunDirError,
    default_paths,
    hand_over,
    holder,
    instance_id,
    is_locked,
    last_places,
    paths_in_use,
    peek_instance,
    read_left,
    read_status,
    request,
    running,
    take_lock,
    withdraw,
)

NOBODY = 65534


def status(pid: int = 1, text: str = "") -> Status:
    return Status(
        version="1.0",
        pid=pid,
        instance="i",
        time=1.0,
        mode="donating",
        sentence=text,
        decision="",
        tier="kernel",
        tier_reason="",
        slice="plancton",
        capacity=2.0,
        fit=1,
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o022)
    yield
    os.umask(old)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# ---------------------------------------------------------------- places


def test_places_of_root() -> None:
    """Root's files are in the system's directories."""
    assert default_paths({}, uid=0) == Paths(
        Path("/etc/plancton/config.yaml"), Path("/run/plancton"), Path("/var/lib/plancton")
    )


@pytest.mark.parametrize(
    ("environ", "config", "run", "state"),
    [
        (
            {"HOME": "/h"},
            "/h/.config/plancton/config.yaml",
            "/h/.local/state/plancton",
            "/h/.local/state/plancton",
        ),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"},
            "/c/plancton/config.yaml",
            "/r/plancton",
            "/s/plancton",
        ),
        (
            {"HOME": "/h", "PLANCTON_RUN_DIR": "/x", "PLANCTON_STATE_DIR": "/y"},
            "/h/.config/plancton/config.yaml",
            "/x",
            "/y",
        ),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "", "PLANCTON_RUN_DIR": ""},
            "/h/.config/plancton/config.yaml",
            "/h/.local/state/plancton",
            "/h/.local/state/plancton",
        ),
    ],
)
def test_places_of_a_user(environ: dict[str, str], config: str, run: str, state: str) -> None:
    """A user's files follow the XDG Base Directory Specification; two directories can be moved."""
    assert default_paths(environ, uid=1000) == Paths(Path(config), Path(run), Path(state))


# ---------------------------------------------------------------- status.json


@pytest.mark.usefixtures("umask")
def test_publish(run_dir: RunDir) -> None:
    """status.json is complete, readable by all, and leaves no other file."""
    run_dir.publish(status(text="one"))
    run_dir.publish(status(text="two"))
    seen = read_status(run_dir.path)
    assert seen is not None and seen.sentence == "two", f"seen: {seen}"
    assert (mode(run_dir.path), mode(run_dir.path / "status.json")) == (0o755, 0o644)
    assert [path.name for path in run_dir.path.iterdir()] == ["status.json"]
    run_dir.retract()
    run_dir.retract()
    assert read_status(run_dir.path) is None


def test_readers_never_see_a_part(run_dir: RunDir) -> None:
    """While status.json is replaced repeatedly, every reader sees a complete one."""
    run_dir.publish(status())
    over = threading.Event()

    def write() -> None:
        for number in range(300):
            run_dir.publish(status(number, "x" * 5_000 * (number % 3)))
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not over.is_set() or reads == 0:
        assert read_status(run_dir.path) is not None, f"read {reads} saw a part"
        reads += 1
    writer.join()


def test_publish_that_fails(run_dir: RunDir) -> None:
    """A failed write of the status raises OSError, keeps the old one and leaves no part."""
    run_dir.publish(status(text="old"))
    os.mkdir(run_dir.path / ".status.json.part")
    with pytest.raises(OSError, match="directory"):
        run_dir.publish(status(text="new"))
    seen = read_status(run_dir.path)
    assert seen is not None and seen.sentence == "old"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b'{"version": "\xff"}',
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'{"version": 1}',
        msgspec.json.encode(status())[:-1],
        msgspec.json.encode(status()).replace(b'"kernel"', b'"other"'),
    ],
    ids=["empty", "binary", "latin", "other", "list", "deep", "type", "cut", "tier"],
)
def test_garbage_as_status(tmp_path: Path, data: bytes) -> None:
    """A malformed status.json, or one of another version, counts as none."""
    (tmp_path / "status.json").write_bytes(data)
    assert read_status(tmp_path) is None


def test_status_of_a_newer_version(tmp_path: Path) -> None:
    """An older `plancton status` can read a status with a newer Plancton's fields."""
    newer = {**msgspec.to_builtins(status()), "something": "new"}
    (tmp_path / "status.json").write_text(json.dumps(newer))
    assert read_status(tmp_path) == status()


# ---------------------------------------------------------------- handed over


@pytest.fixture
def roots(tmp_path: Path) -> Paths:
    """Root's paths, none of which exists."""
    return Paths(tmp_path / "etc/config.yaml", tmp_path / "run/plancton", tmp_path / "lib/plancton")


def test_places_that_were_handed_over(roots: Paths) -> None:
    """A user who was given root's directories uses them, so that everybody finds the status there;
    the user's own configuration comes first."""
    environ, uid = {"HOME": str(roots.config.parents[1] / "home")}, os.getuid() or 1000
    own = default_paths(environ, uid, roots)
    assert str(own.run).startswith(environ["HOME"]) and str(own.config).startswith(environ["HOME"])
    hand_over(roots, uid)
    assert default_paths(environ, uid, roots) == roots
    assert default_paths(environ, uid + 1, roots) == own
    own.config.parent.mkdir(parents=True)
    own.config.write_text("")
    assert default_paths(environ, uid, roots) == Paths(own.config, roots.run, roots.state)
    roots.run.rmdir()
    assert default_paths(environ, uid, roots) == Paths(own.config, roots.state, roots.state), "after a boot"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand over what is root's")
def test_handing_over(roots: Paths, tmp_path: Path) -> None:
    """The user owns both directories, readable by all, with what root's supervisor left in them;
    links are not followed."""
    roots.state.mkdir(parents=True)
    (roots.state / "instance").write_text("abc")
    (tmp_path / "other").write_text("")
    (roots.state / "link").symlink_to(tmp_path / "other")
    hand_over(roots, NOBODY)
    for path in (roots.run, roots.state, roots.state / "instance"):
        assert path.stat().st_uid == NOBODY
    assert mode(roots.run) == 0o755 and roots.run.parent.stat().st_uid == 0
    assert (tmp_path / "other").stat().st_uid == 0


def test_handing_over_a_file(roots: Paths) -> None:
    """A file in place of a directory is named."""
    roots.run.parent.mkdir()
    roots.run.write_text("")
    with pytest.raises(RunDirError, match=r"/run/plancton: can't be handed over: File exists$"):
        hand_over(roots, 1000)


# ---------------------------------------------------------------- the directory


def test_run_directory_that_is_a_file(tmp_path: Path) -> None:
    """A file where the run directory should be is named, with the variable that moves it."""
    (tmp_path / "run").write_text("")
    with pytest.raises(RunDirError, match=r"/run: can't be written: .* or set PLANCTON_RUN_DIR$"):
        RunDir(tmp_path / "run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
@pytest.mark.parametrize(
    ("call", "variable"),
    [
        ("RunDir(Path(sys.argv[1]))", "PLANCTON_RUN_DIR"),
        ("RunDir(Path(sys.argv[1]) / 'run')", "PLANCTON_RUN_DIR"),
        ("instance_id(Path(sys.argv[1]))", "PLANCTON_STATE_DIR"),
        ("take_lock(Path(sys.argv[1]), '/s', 'i')", "PLANCTON_STATE_DIR"),
    ],
)
def test_directory_that_is_not_ours(tmp_path: Path, call: str, variable: str) -> None:
    """A directory that this user may not write is named in one line at the start, not at every
    tick."""
    directory = tmp_path / "other"
    directory.mkdir(mode=0o755)
    let_others_in(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from plancton.rundir import *;"
        f" os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        f"try: {call}\nexcept RunDirError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, directory], capture_output=True, text=True, timeout=30, check=False
    )
    wanted = f"{directory}: can't be written: Permission denied; run as root or set {variable}\n"
    assert done.stdout.replace("/run:", ":") == wanted, f"seen: {done}"


# ---------------------------------------------------------------- requests


def test_requests_are_consumed(run_dir: RunDir) -> None:
    """A request is read once, with its content, and then gone."""
    assert run_dir.take_request("stop") is None
    request(run_dir.path, "stop", "keep-workers")
    assert run_dir.take_request("stop") == "keep-workers"
    assert run_dir.take_request("stop") is None
    request(run_dir.path, "finish")
    assert run_dir.take_request("finish") == ""


def test_old_requests_are_cleared(run_dir: RunDir) -> None:
    """Requests to an earlier supervisor are dropped; the drain state stays."""
    for name in (*rundir.REQUESTS, "drain"):
        request(run_dir.path, name, "finish")
    run_dir.leave({"w1": "stuck"})
    run_dir.begin(time.time() + 1)
    assert {path.name for path in run_dir.path.iterdir()} == {"drain", "plancton.pid"}
    assert run_dir.drain() == "finish"


def test_requests_to_a_process_that_runs_again(run_dir: RunDir) -> None:
    """A supervisor that executes itself again still finds what it was asked meanwhile."""
    request(run_dir.path, "stop", "keep-workers")
    run_dir.begin(time.time() - 60)
    assert run_dir.take_request("stop") == "keep-workers"


def test_requests_appear_complete(run_dir: RunDir) -> None:
    """However often it looks, the supervisor never takes `stop --keep-workers` for a plain stop."""
    over = threading.Event()

    def ask() -> None:
        for _ in range(500):
            request(run_dir.path, "stop", "keep-workers")
        over.set()

    asker = threading.Thread(target=ask)
    asker.start()
    taken = set()
    while not over.is_set():
        taken.add(run_dir.take_request("stop"))
    asker.join()
    assert taken <= {None, "keep-workers"}, taken


def test_links_are_not_followed(run_dir: RunDir, tmp_path: Path) -> None:
    """Whoever writes in a directory of somebody else's neither reads nor changes what links there
    point to, and waits for no FIFO."""
    other = tmp_path / "other"
    other.write_text("secret")
    names = ("stop", ".stop.part", "status.json", ".status.json.part", ".plancton.pid.part", "left.json")
    for name in names:
        (run_dir.path / name).symlink_to(other)
    assert run_dir.take_request("stop") is None and read_status(run_dir.path) is None
    request(run_dir.path, "stop", "keep-workers")
    run_dir.publish(status(text="ours"))
    run_dir.leave({"w1": "stuck"})
    assert run_dir.take_request("stop") == "keep-workers" and read_left(run_dir.path) == {"w1": "stuck"}
    assert read_status(run_dir.path) == status(text="ours")
    run_dir.begin(0.0)
    assert other.read_text() == "secret" and read_left(run_dir.path) == {}
    for name in ("drain", "finish"):
        os.mkfifo(run_dir.path / name)
    assert (run_dir.drain(), run_dir.take_request("finish")) == ("", None)


def test_drain_that_cannot_be_read(run_dir: RunDir) -> None:
    """As long as the drain file can't be read, the last state stays; before the first reading,
    nothing is started."""
    drain = run_dir.path / "drain"
    drain.symlink_to(drain)  # ELOOP
    assert run_dir.drain() == ""
    drain.unlink()
    assert run_dir.drain() is None
    drain.symlink_to(drain)
    assert run_dir.drain() is None
    request(run_dir.path, "drain", "finish")
    assert run_dir.drain() == "finish"
    drain.unlink()
    drain.symlink_to(drain)
    assert run_dir.drain() == "finish"


def test_request_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no room for a request, the message does not send the user to sudo."""

    def full(path: Path, data: bytes, mode: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rundir, "replace_file", full)
    with pytest.raises(RunDirError, match=r"/stop: No space left .*; make room there, or .* SIGTERM"):
        request(tmp_path, "stop", "keep-workers")


def test_drain_is_a_state(run_dir: RunDir) -> None:
    """The drain state stays until it is withdrawn, whatever it contains."""
    assert run_dir.drain() is None
    (run_dir.path / "drain").write_bytes(b"\xff\x00")
    assert run_dir.drain() is not None
    (run_dir.path / "drain").write_text("")
    assert run_dir.drain() == ""
    assert withdraw(run_dir.path, "drain") and not withdraw(run_dir.path, "drain")
    assert run_dir.drain() is None


def test_binary_request(run_dir: RunDir) -> None:
    """A request with binary content counts; a directory of that name does not. Neither stops the
    loop."""
    (run_dir.path / "stop").write_bytes(b"\xff\x00")
    (run_dir.path / "finish").mkdir()
    assert run_dir.take_request("stop") is not None
    assert run_dir.take_request("finish") is None


def test_request_without_a_directory(tmp_path: Path) -> None:
    """If a request can't be written, the message says as which user to run."""
    with pytest.raises(RunDirError, match=r"none/stop: No such file .*; run this as the user that runs"):
        request(tmp_path / "none", "stop")


# ---------------------------------------------------------------- the lock

HOLD = (
    "import sys; from pathlib import Path; from plancton.rundir import take_lock\n"
    "path = Path(sys.argv[1])\n"
    "take_lock(path, sys.argv[2], 'i', run=path); print('locked', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder_of_s(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of /s and instance i."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HOLD, tmp_path, "/s"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_second_supervisor(tmp_path: Path, holder_of_s: subprocess.Popen[str]) -> None:
    """A second one on the same socket and instance is told the first one's pid; others may run."""
    with pytest.raises(AlreadyRunning, match=rf"already runs here \(pid {holder_of_s.pid}\); see"):
        take_lock(tmp_path, "/s", "i")
    for socket, instance in (("/other", "i"), ("/s", "other")):
        os.close(take_lock(tmp_path, socket, instance))
    assert is_locked(tmp_path, holder_of_s.pid)
    assert not is_locked(tmp_path, os.getpid())


def test_lock_by_another_name(tmp_path: Path, holder_of_s: subprocess.Popen[str]) -> None:
    """A link to the same socket is the same socket."""
    link = tmp_path / "link"
    link.symlink_to("/s")
    with pytest.raises(AlreadyRunning, match=str(holder_of_s.pid)):
        take_lock(tmp_path, str(link), "i")


def test_lock_of_the_dead(tmp_path: Path, holder_of_s: subprocess.Popen[str]) -> None:
    """A killed supervisor's lock is free at once, and its status does not count as running."""
    RunDir(tmp_path).publish(status(holder_of_s.pid))
    paths = Paths(tmp_path / "c", tmp_path, tmp_path)
    assert running(paths) is not None, "it is not seen while it runs"
    holder_of_s.kill()
    holder_of_s.wait()
    assert running(paths) is None, "it is seen after it was killed"
    os.close(take_lock(tmp_path, "/s", "i"))


def test_places_of_the_dead(tmp_path: Path) -> None:
    """The lock of a supervisor that has ended says where to look for its workers."""
    descriptor = take_lock(tmp_path, "/s", "i", "donors")
    assert last_places(tmp_path) == []
    os.close(descriptor)
    assert last_places(tmp_path) == [Lock(None, "/s", "donors", Path("/"))]


def test_lock_says_where_the_supervisor_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run directory in the lock is found from a shell whose environment names another one, or
    none; one that was named on purpose is not left for it."""
    run, state = tmp_path / "run", tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("PLANCTON_STATE_DIR", str(state))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "session"))
    descriptor = take_lock(state, "/s", "i", "donors", run)
    try:
        assert paths_in_use().run == run
        assert holder(paths_in_use()) == os.getpid()
        monkeypatch.setenv("PLANCTON_RUN_DIR", str(tmp_path / "other"))
        assert paths_in_use().run == tmp_path / "other" and holder(paths_in_use()) is None
    finally:
        os.close(descriptor)


AGAIN = (
    "import os, sys; from pathlib import Path; from plancton.rundir import *; path = Path(sys.argv[1])\n"
    "print(os.getpid(), *holders(path), flush=True); take_lock(path, sys.argv[2], 'i', run=path)\n"
    "print(*holders(path), len(last_places(path)), flush=True)\n"
    "if sys.argv[3:]: os.execv(sys.executable, [sys.executable, '-P', '-c', *sys.argv[3:]])"
)


@pytest.mark.parametrize("socket", ["/s", "/other"])
def test_lock_while_it_executes_itself_again(tmp_path: Path, socket: str) -> None:
    """From before to after, the lock is held; with another socket, only the new one is."""
    command = [sys.executable, "-P", "-c", AGAIN, str(tmp_path), "/s", AGAIN, str(tmp_path), socket]
    said = subprocess.check_output(command, text=True, timeout=60).splitlines()
    pid = said[0]
    assert said == [pid, f"{pid} 0", f"{pid} {pid}", f"{pid} 0"], said


SEEN = (
    "import os, sys; from pathlib import Path; from plancton.rundir import *\n"
    f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); path = Path(sys.argv[1])\n"
    "print(holder(Paths(path, path, path)), os.access(next(path.glob('*.lock')), os.R_OK))"
)
"""What nobody sees of the lock in a directory."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_lock_that_others_see(tmp_path: Path, holder_of_s: subprocess.Popen[str]) -> None:
    """Whoever may not open the lock, so that they can't hold it, sees all the same who does."""
    let_others_in(tmp_path)
    tmp_path.chmod(0o755)

    def seen() -> str:
        command = [sys.executable, "-P", "-c", SEEN, str(tmp_path)]
        return subprocess.check_output(command, text=True, timeout=30)

    assert seen() == f"{holder_of_s.pid} False\n"
    holder_of_s.kill()
    holder_of_s.wait()
    assert seen() == "None False\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_lock_of_a_stranger(tmp_path: Path) -> None:
    """Somebody who opened the lock when it was open to all keeps nobody out, and nobody else takes
    them for a supervisor."""
    os.close(take_lock(tmp_path, "/s", "i"))
    (lock,) = tmp_path.glob("*.lock")
    lock.chmod(0o644)  # an earlier version's
    code = (
        f"import fcntl, os, sys; file = open(sys.argv[1]); os.setuid({NOBODY})\n"
        "fcntl.flock(file, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as stranger:
        assert stranger.stdout and stranger.stdout.readline() == "locked\n"
        os.close(take_lock(tmp_path, "/s", "i"))
        assert mode(lock) == 0o600 and [each.name for each in tmp_path.glob("*.lock")] == [lock.name]


def test_many_locks(
    tmp_path: Path, holder_of_s: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a job holds locks without end, who holds the supervisor's is found in bounded memory."""
    others = "7: POSIX  ADVISORY  WRITE 4711 00:2a:99 0 0\n" * 300_000
    (tmp_path / "locks").write_text(others + rundir.LOCKS.read_text())
    monkeypatch.setattr(rundir, "LOCKS", tmp_path / "locks")
    tracemalloc.start()
    try:
        with pytest.raises(AlreadyRunning, match=str(holder_of_s.pid)):
            take_lock(tmp_path, "/s", "i")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_locks_of_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory that this user may not enter, or that can't be, holds no supervisor."""
    monkeypatch.setenv("PLANCTON_STATE_DIR", str(tmp_path / ("x" * 300)))
    paths = default_paths(uid=NOBODY)
    assert holder(paths) is None and not last_places(paths.state)


def test_lock_that_is_a_link(tmp_path: Path) -> None:
    """A link in place of the lock is replaced; nothing is written to where it points."""
    os.close(take_lock(tmp_path, "/s", "i"))
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    other = tmp_path / "other"
    other.write_text("secret")
    lock.symlink_to(other)
    os.close(take_lock(tmp_path, "/s", "i"))
    assert not lock.is_symlink() and other.read_text() == "secret"


def test_reused_pid(tmp_path: Path) -> None:
    """A lock that nobody holds is stale, even if its pid has been reused."""
    (tmp_path / "0.lock").write_text(f"{os.getpid()}\n")
    (tmp_path / "1.lock").write_text("garbage")
    RunDir(tmp_path).publish(status(os.getpid()))
    assert not is_locked(tmp_path, os.getpid())
    assert running(Paths(tmp_path / "c", tmp_path, tmp_path)) is None


def test_who_only_looks_keeps_nobody_out(tmp_path: Path) -> None:
    """`plancton status` holds the lock for an instant; a supervisor that starts then waits for
    that."""
    os.close(take_lock(tmp_path, "/s", "i"))
    (lock,) = tmp_path.glob("*.lock")
    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        looking = threading.Timer(0.05, fcntl.flock, (file, fcntl.LOCK_UN))
        looking.start()
        os.close(take_lock(tmp_path, "/s", "i"))
        looking.join()


# ---------------------------------------------------------------- the instance


@pytest.mark.usefixtures("umask")
def test_instance_is_stable(tmp_path: Path) -> None:
    """The id is created once, at random, and found again; peeking writes nothing."""
    state = tmp_path / "state"
    assert peek_instance(state) == "none" and not state.exists()
    made = instance_id(state)
    assert made == instance_id(state) == peek_instance(state) and len(made) == 12
    assert (mode(state), mode(state / "instance")) == (0o755, 0o644)
    assert instance_id(tmp_path / "other") != made


@pytest.mark.parametrize("data", [b"\xff\xfe", b"two\nlines", b"../x", b"x" * 100])
def test_instance_that_is_none(tmp_path: Path, data: bytes) -> None:
    """A malformed id is refused: silently making a new one would forget the existing workers."""
    (tmp_path / "instance").write_bytes(data)
    with pytest.raises(RunDirError, match=r"/instance: does not hold an instance id: restore it, or delete"):
        instance_id(tmp_path)
    peek_instance(tmp_path)


def test_empty_instance(tmp_path: Path) -> None:
    """An empty file, as a full disk leaves it, gets an id."""
    (tmp_path / "instance").write_text("\n")
    assert instance_id(tmp_path) == peek_instance(tmp_path) != "none"
