"""The guard of the disks: when it looks, at whom, and when it asks Docker."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.scripted_docker import ScriptedDocker, reply
from unit.trees import tree

from plancton.config.schema import Config
from plancton.daemon.disk_guard import DiskGuard
from plancton.docker.replies import Info
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.inbox import Inbox
from plancton.model import Observation, Settings, Worker, Writer
from plancton.policy.disk import disk_shortage
from plancton.units import Portion
from plancton.workers.disks import SELDOM
from plancton.workers.roster import Entry

ALL, NOTHING = Portion.parse("100%"), Portion.parse("0%")
ENTRY = Entry(Worker("w", "c0ffee"), group="plancton/c0ffee")
LIST = "GET /containers/json"
SIZES = reply(json.dumps([{"Id": "c0ffee", "Names": ["/w"], "SizeRw": 7000}]).encode())
SEEN = Observation(0.0, 0.0, 4.0)


class World:
    def __init__(self, directory: Path) -> None:
        group = {"c0ffee": {"io.stat": "8:0 wbytes=50 \n", "memory.stat": "slab 9\n"}}
        self.server = ScriptedDocker(directory / "d.sock", {LIST: SIZES}).__enter__()
        self.inbox = Inbox()
        self.guard = DiskGuard(str(self.server.path), "i", self.inbox)
        self.guard.watch(Info(docker_root_dir=str(directory)), Config())
        self.guard.watch_slice(Slice(Layout(tree(directory, plancton=group)), "plancton", "cgroupfs"))

    def step(self, now: float, reserve: Portion = ALL) -> Observation:
        self.guard.step(now, reserve, [ENTRY])
        return self.guard.completed(SEEN)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.server.__exit__(None, None, None)


def test_short(world: World) -> None:
    """While the disk is short it looks often, at the workers as well, and asks Docker once how large
    their files are."""
    seen = world.step(100.0)
    assert seen.disk_total and seen.writers == (Writer("w", 50, 9),)
    assert world.guard.look_due <= 101.0
    assert world.step(100.0).writers == (), "what was found is told once"
    world.inbox.get(timeout=20)()
    assert world.step(101.0).writers == (Writer("w", 50, 9, 7000),)
    asked = [request for request in world.server.requests if "/containers/json" in request]
    assert len(asked) == 1 and "size=1" in asked[0] and "plancton.instance" in asked[0]
    assert disk_shortage(seen, Settings(reserve_disk=seen.disk_total))


def test_no_descriptor_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Docker's disks are looked at once it can be found out which they are; to tell of it
    never fails."""

    def lacks(*_: object) -> tuple[str, ...]:
        raise OSError(errno.EMFILE, "too many")

    with monkeypatch.context() as patched:
        patched.setattr("plancton.daemon.disk_guard.written_by_workers", lacks)
        world.guard.watch(Info(docker_root_dir="/proc"), Config())
        with pytest.raises(OSError, match="too many"):
            world.step(100.0)
    assert world.step(101.0).disk_path == "/proc"


def test_nothing_reserved(world: World) -> None:
    """While the disk has room nobody is looked at and nothing is asked, every few seconds."""
    seen = world.step(100.0, NOTHING)
    assert seen.disk_free and not seen.writers and world.guard.look_due == 100.0 + SELDOM
    assert world.inbox.take() is None and not world.server.requests
    assert not disk_shortage(seen, Settings())
