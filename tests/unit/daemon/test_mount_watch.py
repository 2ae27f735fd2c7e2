"""What `worker.mounts` names and this host does not have yet."""

import os
import threading
from pathlib import Path, PurePath

import pytest

from plancton.config.load import parse
from plancton.config.schema import Config
from plancton.daemon.mount_watch import INTERVAL, OWN, PATIENCE, RETRY, MountWatch
from plancton.inbox import Inbox

DEADLINE = 20.0


class Watch:
    """One with a log of its own; the root has directories that the sandbox does not hide."""

    def __init__(self, config: Config) -> None:
        self.inbox = Inbox()
        self.said: list[str] = []
        self.it = MountWatch(self.inbox, self.said.append, self.said.append)
        self.it.want(config)

    def look(self, now: float) -> str:
        """The problem after a look at this time."""
        self.it.step(now)
        self.inbox.get(timeout=DEADLINE)()
        return self.it.problem


def mounting(*paths: Path | str) -> Config:
    return parse(f"worker: {{mounts: [{', '.join(f'{path}:/data' for path in paths)}]}}", "FILE")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path that is not there yet, where the supervisor sees what the host has."""
    monkeypatch.setattr("plancton.daemon.mount_watch.OWN", ())
    return tmp_path / "late"


def test_a_mount_that_comes_late(late: Path) -> None:
    """A missing path is a problem until it is there: it is looked for again, and both are said
    once."""
    watch = Watch(mounting(late))
    assert str(late) in watch.look(100.0)
    assert str(late) in watch.look(100.0 + RETRY)
    watch.it.step(100.0 + RETRY + 1.0)
    assert watch.inbox.take() is None, "not at every tick"
    late.mkdir()
    assert watch.look(100.0 + 2 * RETRY) == ""
    first, last = watch.said
    assert str(late) in first and "\n" not in first and "there now" in last
    late.rmdir()
    assert str(late) in watch.look(100.0 + 2 * RETRY + INTERVAL), "one that goes away is noticed, too"


def test_nothing_is_mounted(late: Path) -> None:
    """Without mounts nothing is looked for, and what was missing is no problem any more."""
    watch = Watch(mounting())
    watch.it.step(100.0)
    assert watch.inbox.take() is None
    watch.it.want(mounting(late))
    assert watch.look(200.0)
    watch.it.want(mounting())
    assert watch.it.problem == ""


def test_another_configuration(late: Path) -> None:
    """A changed configuration is looked at at once, and an answer about an older one is not
    believed."""
    watch = Watch(mounting(late))
    watch.it.step(100.0)
    watch.it.want(mounting("/"))
    watch.inbox.get(timeout=DEADLINE)()
    assert watch.it.problem == ""
    assert watch.look(100.0) == ""
    watch.it.want(mounting("/", late))
    assert str(late) in watch.look(101.0)


def test_a_file_server_that_hangs(late: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a look waits for a file server, the loop goes on, no second look is begun, and nothing
    is started."""
    answers, looks, stat = threading.Event(), list[str](), os.stat

    def slow(path: str | Path) -> os.stat_result:
        looks.append(str(path))
        assert answers.wait(DEADLINE)
        return stat("/")

    monkeypatch.setattr("plancton.config.resolve.os.stat", slow)
    watch = Watch(mounting(late))
    for second in range(30):
        watch.it.step(100.0 + second)
        assert bool(watch.it.problem) == (second > PATIENCE)
    answers.set()
    watch.inbox.get(timeout=DEADLINE)()
    assert watch.it.problem == "" and looks == [str(late)]


def test_a_file_server_that_is_given_up(late: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration without the mount that hangs is looked at, though the look before never ends."""
    over, stat = threading.Event(), os.stat

    def slow(path: str | Path, **more: bool) -> os.stat_result:
        if path == PurePath(late):
            assert over.wait(DEADLINE)
        return stat(path, **more)

    monkeypatch.setattr("plancton.config.resolve.os.stat", slow)
    watch = Watch(mounting("/", late))
    watch.it.step(100.0)
    watch.it.step(101.0 + PATIENCE)
    assert watch.it.problem
    watch.it.want(mounting("/"))
    assert watch.look(120.0) == ""
    over.set()
    watch.inbox.get(timeout=DEADLINE)()
    watch.it.step(121.0)
    assert watch.it.problem == "" and watch.inbox.take() is None, "the late answer changes nothing"


def test_what_a_sandbox_hides() -> None:
    """A service has a /tmp and a /dev of its own: what is not there may be on the host."""
    assert Watch(mounting(*(f"{directory}/no/such" for directory in OWN))).look(100.0) == ""
    assert "/no/such" in Watch(mounting("/no/such")).look(100.0)
