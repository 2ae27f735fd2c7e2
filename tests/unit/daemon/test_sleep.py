"""What ends the loop's sleep."""

import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from plancton.daemon import sleep as module
from plancton.daemon.sleep import Sleep, Woken
from plancton.host.notices import FileNotices
from plancton.inbox import Inbox

PATIENCE = 60.0


def test_time(tmp_path: Path) -> None:
    assert Sleep(Inbox(), [tmp_path / "stop"], tmp_path).until(0.01) is Woken.TIME


def test_a_call(tmp_path: Path) -> None:
    """A call that was put ends it."""
    inbox = Inbox()
    sleep = Sleep(inbox, [tmp_path / "stop"], tmp_path)
    inbox.put(lambda: None)
    assert sleep.until(PATIENCE) is Woken.CALL
    assert inbox.take() and not inbox.take()
    assert sleep.until(0.01) is Woken.TIME


def test_a_file(tmp_path: Path) -> None:
    """A request ends it, even beside a call; what is written beside it does not count."""
    inbox = Inbox()
    sleep = Sleep(inbox, [tmp_path / "stop"], tmp_path)
    (tmp_path / "stop").touch()
    assert sleep.until(PATIENCE) is Woken.FILE
    (tmp_path / "status.json").touch()
    assert not sleep.file_has_changed()
    assert sleep.until(0.01) is Woken.TIME


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """A configuration that does not exist yet is no reason to look each second."""
    assert Sleep(Inbox(), [tmp_path / "stop", tmp_path / "none/config.yaml"], tmp_path).told


def test_no_watch_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the kernel has no watch for us, the loop must look itself, which is said once; it is
    asked again."""

    class NoWatches(FileNotices):
        def __init__(self, files: object) -> None:
            super().__init__([])
            self.complete = False

    caplog.set_level("INFO")
    with monkeypatch.context() as patched:
        patched.setattr(module, "FileNotices", NoWatches)
        sleep = Sleep(Inbox(), [tmp_path / "stop"], tmp_path)
        sleep.watch_files()
        assert not sleep.told and not sleep.file_has_changed()
    assert len(caplog.records) == 1, caplog.records
    sleep.watch_files()
    (tmp_path / "stop").touch()
    assert sleep.told and sleep.until(PATIENCE) is Woken.FILE


def test_a_directory_that_is_made_again(tmp_path: Path) -> None:
    """What is in it is looked at each second until it is watched again; one made later is watched
    as well."""
    run, config = tmp_path / "run", tmp_path / "etc/config.yaml"
    run.mkdir()
    sleep = Sleep(Inbox(), [run / "stop", config], tmp_path)
    run.rmdir()
    assert sleep.until(PATIENCE) is Woken.FILE and not sleep.told
    run.mkdir()
    config.parent.mkdir()
    sleep.watch_files()
    assert sleep.told and sleep.until(0.01) is Woken.TIME
    for file in (run / "stop", config):
        file.touch()
        assert sleep.until(PATIENCE) is Woken.FILE


def test_this_kernel() -> None:
    """What this kernel makes of the trigger does not end the sleep by itself, unless memory is short
    indeed."""
    assert Sleep(Inbox(), [], Path("/proc")).until(0.05) in (Woken.TIME, Woken.MEMORY)


def test_the_slice(tmp_path: Path) -> None:
    """A write to one of the slice's files ends it, whichever were watched before."""
    (tmp_path / "cpu.weight").touch()
    sleep = Sleep(Inbox(), [tmp_path / "stop"], tmp_path)
    assert sleep.watch_slice([tmp_path / "none/cpu.max"]) is False
    assert sleep.watch_slice([tmp_path / "cpu.weight"])
    (tmp_path / "cpu.weight").read_text()
    assert sleep.until(0.01) is Woken.TIME
    (tmp_path / "cpu.weight").write_text("100")
    assert sleep.until(PATIENCE) is Woken.SLICE
    assert sleep.until(0.01) is Woken.TIME
    sleep.close()


def test_a_slice_that_is_made_again(tmp_path: Path) -> None:
    """One that was removed and made again ends it, and is watched from the next request on."""
    knob = tmp_path / "slice/cpu.weight"
    knob.parent.mkdir()
    sleep = Sleep(Inbox(), [tmp_path / "stop"], tmp_path)
    assert sleep.watch_slice([knob]) and sleep.watch_slice([knob])
    knob.parent.rmdir()
    knob.parent.mkdir()
    assert sleep.until(PATIENCE) is Woken.SLICE
    assert sleep.watch_slice([knob])
    knob.write_text("100")
    assert sleep.until(PATIENCE) is Woken.SLICE
    sleep.close()


def test_the_owner(tmp_path: Path) -> None:
    """What the kernel tells of the owner ends it, by the descriptors of the last call."""
    sleep = Sleep(Inbox(), [tmp_path / "stop"], tmp_path)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        closing(socket.create_connection(server.getsockname())) as end,
        closing(server.accept()[0]) as one,
    ):
        sleep.watch_owner([os.dup(server.fileno())])
        sleep.watch_owner([os.dup(one.fileno())])
        assert sleep.until(0.01) is Woken.TIME
        end.send(b"x", socket.MSG_OOB)  # POLLPRI, as of a trigger
        assert sleep.until(PATIENCE) is Woken.OWNER
        sleep.watch_owner([])
        assert sleep.until(0.01) is Woken.TIME
    sleep.close()
