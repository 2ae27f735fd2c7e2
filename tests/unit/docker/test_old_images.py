"""Old versions of the image are removed if they are ours and no container uses them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.scripted_docker import Script, ScriptedDocker, Step, reply

from plancton.docker.old_images import INTERVAL, OldImages
from plancton.docker.replies import Image
from plancton.docker.request_queue import RequestQueue
from plancton.inbox import Inbox

OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LOOK, REMOVE = f"GET /images/{OLD}/json", f"DELETE /images/{OLD}"
GONE = reply(b'{"message":"No such image"}', "404 Not Found")
IN_USE = reply(b'{"message":"conflict: image is being used"}', "409 Conflict")


def found(*tags: str) -> list[Step]:
    return reply(json.dumps({"Id": OLD, "RepoTags": tags}).encode())


class Kept:
    """The images of a scripted Docker."""

    def __init__(self, directory: Path, script: Script) -> None:
        self.server = ScriptedDocker(directory / "d.sock", script).__enter__()
        self.inbox = Inbox()
        self.request_queue = RequestQueue(str(directory / "d.sock"), self.inbox)
        self.request_queue.start()
        self.said: list[str] = []
        self.file = directory / "pulled-images.json"
        self.images = OldImages(self.file, self.request_queue, self.said.append)

    def step(self, now: float, current: str = NEW, used: frozenset[str] = frozenset()) -> list[str]:
        """Make a step; what Docker was asked."""
        self.server.requests.clear()
        self.images.step(now, current, used)
        if self.images.busy:
            self.inbox.get(timeout=20)()
        return [request.replace("/v1.41", "") for request in self.server.requests if "_ping" not in request]

    def close(self) -> None:
        self.server.__exit__(None, None, None)
        self.request_queue.close()
        self.request_queue.join(20)


@pytest.fixture
def script() -> Script:
    return {LOOK: found(), REMOVE: reply(b"[]")}


@pytest.fixture
def kept(tmp_path: Path, script: Script) -> Iterator[Kept]:
    made = Kept(tmp_path, script)
    yield made
    made.close()


def test_a_newer_one_came(kept: Kept) -> None:
    """The previous one is removed, without force, and that is reported once."""
    kept.images.brought(Image(OLD))
    assert kept.step(0.0, OLD) == [], "it is the one in use"
    kept.images.brought(Image(NEW))
    assert kept.step(1.0) == [LOOK, REMOVE]
    assert kept.said == ["removed an old version of the image (111111111111)"]
    assert kept.step(1000.0) == []


def test_in_use(kept: Kept, script: Script) -> None:
    """While a container uses it, it stays, and removal is retried now and then."""
    script[REMOVE] = IN_USE
    kept.images.brought(Image(OLD))
    assert kept.step(0.0) == [LOOK, REMOVE] and kept.said == []
    assert kept.step(INTERVAL - 1) == []
    script[REMOVE] = reply(b"[]")
    assert kept.step(INTERVAL) == [LOOK, REMOVE] and len(kept.said) == 1


def test_not_ours_any_more(kept: Kept, script: Script) -> None:
    """An image that somebody named or removed is left alone from then on."""
    for answer in (found("mine:1"), GONE):
        script[LOOK] = answer
        kept.images.brought(Image(OLD))
        assert kept.step(0.0) == [LOOK] and kept.said == []
        assert kept.step(1000.0) == []


def test_a_name_of_our_own_pull(kept: Kept, script: Script) -> None:
    """Once another name is configured, the name that our pull gave the old image keeps it no longer;
    one that somebody added does."""
    script[LOOK] = found("worker:1")
    script["DELETE /images/worker:1"] = reply(b"[]")
    kept.images.brought(Image(OLD, ["worker:1"]))
    assert kept.step(0.0) == [LOOK, "DELETE /images/worker:1"] and len(kept.said) == 1
    script[LOOK] = found("worker:1", "mine:1")
    kept.images.brought(Image(OLD, ["worker:1"]))
    assert kept.step(1000.0) == [LOOK] and len(kept.said) == 1


def test_strangers(kept: Kept) -> None:
    """Images that no pull of ours brought are ignored, and so is everything while no image is
    known."""
    assert kept.step(0.0) == []
    kept.images.brought(Image(OLD))
    assert kept.step(0.0, "") == []


def test_is_remembered(kept: Kept, tmp_path: Path) -> None:
    """A restart forgets nothing; a damaged file does not prevent running."""
    kept.images.brought(Image(OLD))
    again = OldImages(kept.file, kept.request_queue, kept.said.append)
    again.step(0.0, NEW)
    kept.inbox.get(timeout=20)()
    assert len(kept.said) == 1 and json.loads(kept.file.read_text()) == {}
    kept.file.write_text("{")
    damaged = OldImages(kept.file, kept.request_queue, kept.said.append)
    damaged.step(0.0, NEW)
    assert not damaged.busy


def test_workers_use_it(kept: Kept) -> None:
    """While one of our workers uses it, Docker is not asked; afterwards it is removed at once."""
    kept.images.brought(Image(OLD))
    for now in range(1000):
        assert kept.step(float(now), used=frozenset({OLD})) == []
    assert kept.step(1000.0) == [LOOK, REMOVE] and len(kept.said) == 1
