"""The lock that keeps out a second supervisor, and what others learn from it."""

import fcntl
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from unit.rundirs import mode, status
from unit.trees import let_others_in

from plancton import running_supervisors
from plancton.daemon.lock import AlreadyRunning, take_lock
from plancton.daemon.run_directory import RunDir
from plancton.paths import Paths, default_paths
from plancton.running_supervisors import Lock, holder, holders, last_places, paths_in_use
from plancton.status_reading import running

NOBODY = 65534


# ---------------------------------------------------------------- the lock

HOLD = (
    "import sys; from pathlib import Path; from plancton.daemon.lock import take_lock\n"
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
    assert holder_of_s.pid in holders(tmp_path)
    assert os.getpid() not in holders(tmp_path)


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


def test_roots_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's supervisor is found from a shell that names no directory, and from no other: `stop` there
    would end it."""
    roots = Paths(tmp_path / "config.yaml", tmp_path / "run", tmp_path / "state")
    roots.state.mkdir()
    monkeypatch.setattr(running_supervisors, "default_paths", partial(default_paths, roots=roots))
    names = ("PLANCTON_RUN_DIR", "PLANCTON_STATE_DIR")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    descriptor = take_lock(roots.state, "/s", "i", "donors", roots.run)
    try:
        assert holder(paths_in_use()) == os.getpid()
        for name in names:
            with monkeypatch.context() as patch:
                patch.setenv(name, str(tmp_path / "mine"))
                assert holder(paths_in_use()) is None, name
                patch.setenv(name, "")
                assert holder(paths_in_use()) == os.getpid(), name
    finally:
        os.close(descriptor)


AGAIN = (
    "import os, sys; from pathlib import Path\n"
    "from plancton.daemon.lock import take_lock; from plancton.running_supervisors import *\n"
    "path = Path(sys.argv[1])\n"
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
    "import os, sys; from pathlib import Path; from plancton.running_supervisors import *\n"
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
    them for a supervisor, whatever name they give themselves."""
    os.close(take_lock(tmp_path, "/s", "i"))
    (lock,) = tmp_path.glob("*.lock")
    lock.chmod(0o644)  # an earlier version's
    code = (
        "import fcntl, os, sys; open('/proc/self/comm', 'wb').write(b'x\\rUid:\\t0\\t')\n"
        f"file = open(sys.argv[1]); os.setuid({NOBODY})\n"
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
    (tmp_path / "locks").write_text(others + running_supervisors.LOCKS.read_text())
    monkeypatch.setattr(running_supervisors, "LOCKS", tmp_path / "locks")
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
    assert os.getpid() not in holders(tmp_path)
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
