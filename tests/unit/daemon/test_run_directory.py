"""What the supervisor publishes and takes: status.json and requests."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from unit.rundirs import mode, status
from unit.trees import let_others_in

from plancton.daemon.run_directory import RunDir
from plancton.paths import RunDirError
from plancton.request_files import REQUESTS, request, withdraw
from plancton.status_reading import read_left, read_status

NOBODY = 65534


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


# ---------------------------------------------------------------- status.json


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
        "import os, sys; from pathlib import Path; from plancton.daemon.lock import *\n"
        "from plancton.daemon.run_directory import *; from plancton.instance import instance_id\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
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
    for name in (*REQUESTS, "drain"):
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
