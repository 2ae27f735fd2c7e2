"""The image keeper: found, pulled, refreshed, retried less and less often, and never in the loop's
way."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.wait import wait_for
from unit.scripted_docker import HANG, Script, ScriptedDocker, Step, chunked, reply

from plancton.docker import images
from plancton.docker.images import ImageKeeper, Policy, short
from plancton.docker.replies import Image
from plancton.docker.request_queue import RequestQueue
from plancton.inbox import Inbox

DEADLINE = 20.0
LOOK, PULL, LIST = "GET /images/busybox/json", "POST /images/create", "GET /images/json"
NONE = reply(b'{"message":"No such image: busybox"}', "404 Not Found")
REFUSED = reply(b'{"message":"pull access denied"}', "404 Not Found")
PULLED = chunked(b'{"status":"Pulling"}\n', b'{"status":"Done"}\n')


def image(number: int = 1) -> list[Step]:
    return reply(json.dumps({"Id": f"sha256:{number:064}"}).encode())


class Kept:
    """A keeper on a scripted Docker; `step` makes the calls that a step leads to."""

    def __init__(self, path: Path, script: Script, may_pull: bool = True) -> None:
        self.server = ScriptedDocker(path, {LIST: reply(b"[]")} | script).__enter__()
        self.inbox = Inbox()
        self.request_queue = RequestQueue(str(path), self.inbox)
        self.request_queue.start()
        self.brought = list[Image]()
        self.now, self.takes = 0.0, 0.0
        self.keeper = ImageKeeper(
            str(path), self.inbox, self.request_queue, may_pull, self.brought.append, lambda: self.now
        )

    def step(self, now: float) -> ImageKeeper:
        """``takes``: seconds until Docker has answered."""
        self.now = now
        self.keeper.step(now)
        self.now += self.takes
        while self.keeper.busy:
            self.inbox.get(timeout=DEADLINE)()
        return self.keeper

    def asked(self) -> list[str]:
        """What Docker was asked since this was last called."""
        seen = [request.partition("?")[0].replace("/v1.41", "") for request in self.server.requests]
        self.server.requests.clear()
        return [request for request in seen if "_ping" not in request and request != LIST]

    def close(self) -> None:
        self.server.__exit__(None, None, None)
        self.request_queue.close()
        self.request_queue.join(DEADLINE)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Kept]]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))  # not the developer's own
    made: list[Kept] = []

    def make(script: Script, may_pull: bool = True) -> Kept:
        made.append(Kept(tmp_path / "d.sock", script, may_pull))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_no_image_wanted(kept: Callable[..., Kept]) -> None:
    """Without a name, Docker is not asked, and the problem says what to set."""
    it = kept({})
    it.keeper.want(None, 60.0)
    assert it.step(0.0).problem == "no image is configured: set image.name or htcondor" and it.asked() == []


def test_image_is_here(kept: Callable[..., Kept]) -> None:
    """An image that is here is used at once, and first refreshed within minutes."""
    it = kept({LOOK: image(), PULL: PULLED})
    it.keeper.want("busybox", 43_200.0)
    keeper = it.step(0.0)
    assert (keeper.id, keeper.problem) == (f"sha256:{1:064}", "") and it.asked() == [LOOK]
    it.step(keeper.FIRST_REFRESH - 1)
    assert it.asked() == [], "nothing is due yet"
    it.step(keeper.FIRST_REFRESH)
    assert it.asked() == [PULL, LOOK]
    it.step(keeper.FIRST_REFRESH + 43_199)
    assert it.asked() == [], "the next refresh is a whole period later"


def test_refresh_of_a_new_version(kept: Callable[..., Kept]) -> None:
    """A pull that brings another image makes it the image for new workers."""
    versions = iter([image(1), image(2)])
    it = kept({LOOK: lambda _: next(versions), PULL: PULLED})
    it.keeper.want("busybox", 100.0)
    assert it.step(0.0).id.endswith("1")
    assert it.step(100.0).id.endswith("2")


def with_content(number: int, *layers: str, command: str = "a") -> list[Step]:
    found = {"Id": f"sha256:{number:064}", "Os": "linux", "Config": {"Cmd": [command]}}
    return reply(json.dumps(found | {"RootFS": {"Type": "layers", "Layers": layers}}).encode())


def test_another_id_for_the_same(kept: Callable[..., Kept]) -> None:
    """An index in which only another platform changed has a new id: workers of the old one stay, and
    new ones are made from the new id, also after the image was lost in between."""
    same = [with_content(1, "x", "y"), with_content(2, "x", "y"), with_content(3, "x", "y")]
    others = [with_content(4, "x", "z"), with_content(5, "x", "z", command="b")]
    versions = iter(same + others)
    it = kept({LOOK: lambda _: next(versions), PULL: PULLED})
    it.keeper.want("busybox", 100.0)
    seen = []
    for now in (0.0, 100.0, 200.0, 300.0, 400.0):
        it.step(now)
        seen.append((int(it.keeper.id[-1]), int(it.keeper.newest[-1])))
        if now == 100.0:
            it.keeper.lost()
    assert seen == [(1, 1), (1, 2), (1, 3), (4, 4), (5, 5)]


def test_never_refreshed(kept: Callable[..., Kept]) -> None:
    """refresh 0s: an image that is here is never refreshed."""
    it = kept({LOOK: image(), PULL: PULLED})
    it.keeper.want("busybox", 0.0)
    it.step(0.0)
    it.asked()
    it.step(1e9)
    assert it.asked() == [] and it.keeper.due == math.inf


def test_pulled_when_missing(kept: Callable[..., Kept]) -> None:
    """A missing image is pulled at once."""
    answers = iter([NONE, image()])
    it = kept({LOOK: lambda _: next(answers), PULL: PULLED})
    it.keeper.want("busybox", 100.0)
    keeper = it.step(0.0)
    assert keeper.id and keeper.problem == "" and it.asked() == [LOOK, PULL, LOOK]


def test_policy_missing(kept: Callable[..., Kept]) -> None:
    """`missing`: an image is pulled if it is not here, and again if somebody removed it."""
    answers = iter([NONE, image(), image(), NONE, NONE])
    it = kept({LOOK: lambda _: next(answers), PULL: PULLED})
    it.keeper.want("busybox", 100.0, "missing")
    assert it.step(0.0).id and it.asked() == [LOOK, PULL, LOOK]
    assert it.step(100.0).id and it.asked() == [LOOK]
    keeper = it.step(200.0)
    assert keeper.id == "" and "here" not in keeper.problem and it.asked() == [LOOK, PULL, LOOK]


def test_policy_never(kept: Callable[..., Kept]) -> None:
    """`never`: nothing is pulled, the problem says so, and an image loaded by hand is found."""
    answers = iter([NONE, image()])
    it = kept({LOOK: lambda _: next(answers), PULL: PULLED})
    it.keeper.want("busybox", 100.0, "never")
    keeper = it.step(0.0)
    assert keeper.problem == (
        "image busybox is not on this host, and image.policy is never: load it, or set missing"
    )
    assert it.step(keeper.RETRY).id and keeper.problem == "" and it.asked() == [LOOK, LOOK]


def test_settings_that_change(kept: Callable[..., Kept], tmp_path: Path) -> None:
    """Unusable credentials are a problem without a pull; once fixed, they are tried at once."""
    it = kept({LOOK: image(), PULL: PULLED})
    it.keeper.want("busybox", 43_200.0)
    it.step(0.0)
    it.asked()
    missing = str(tmp_path / "auth.json")
    it.keeper.want("busybox", 43_200.0, auth_file=missing)
    problem = it.step(1.0).problem
    assert missing in problem and problem.endswith("; going on with the one that is here"), problem
    assert it.asked() == []
    it.keeper.want("busybox", 43_200.0)
    assert it.step(2.0).problem == "" and it.asked() == [PULL, LOOK]


def test_what_a_pull_brought(kept: Callable[..., Kept]) -> None:
    """An image counts as brought by a pull only if it was not here before."""
    versions = iter([image(1), image(2), image(3)])
    here = json.dumps([{"Id": f"sha256:{2:064}", "Created": 1_754_697_600}]).encode()  # a number in a list
    it = kept({LOOK: lambda _: next(versions), PULL: PULLED, LIST: reply(here)})
    it.keeper.want("busybox", 100.0)
    for now in (0.0, 100.0, 200.0):
        it.step(now)
    assert it.keeper.id.endswith("3") and [each.id for each in it.brought] == [f"sha256:{3:064}"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (REFUSED, "pull access denied"),
        (
            chunked(b'{"status":"Pulling"}\n', b'{"error":"no space left on device"}\n'),
            "no space left on device",
        ),
        (chunked(b'{"status":"Pulling"}\n', end=False), "Docker"),
        (chunked(b'{"status":"Pul', end=False), "Docker"),
        (chunked(b"<html>\n"), "not a Docker Engine's answer"),
    ],
    ids=["refused", "disk", "cut", "cut in a line", "garbage"],
)
def test_pull_that_fails(kept: Callable[..., Kept], steps: list[Step], words: str) -> None:
    """A pull that is refused, cut or garbled is a problem with its reason, retried less and less
    often."""
    it = kept({LOOK: NONE, PULL: steps})
    it.keeper.want("busybox", 43_200.0)
    now, waits = 0.0, list[float]()
    for _ in range(9):
        keeper = it.step(now)
        assert keeper.id == "" and keeper.problem.startswith("image busybox can't be pulled: "), (
            keeper.problem
        )
        assert words in keeper.problem, keeper.problem
        waits.append(keeper.due - now)
        it.asked()
        it.step(keeper.due - 0.1)
        assert it.asked() == [], "it was retried too early"
        now = keeper.due
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800], waits


def test_pull_that_takes_long(kept: Callable[..., Kept]) -> None:
    """A pull that fails after an hour is repeated later, not at once: its retries count from its
    end, and so does a refresh."""
    it = kept({LOOK: NONE, PULL: REFUSED})
    it.keeper.want("busybox", 43_200.0)
    it.takes = 3_600.0
    assert it.step(0.0).due == 3_630.0
    assert it.step(3_630.0).due == 3_630.0 + 3_600.0 + 60.0
    it.server.script[LOOK], it.server.script[PULL] = image(), PULLED
    it.step(10_000.0)
    assert it.step(it.keeper.due).due == it.now + 43_200.0


LABELS: dict[str, object] = {"Labels": {"a": "x" * 70_000}}
VOLUMES: dict[str, object] = {"Volumes": {f"/{number}": {} for number in range(101)}}


@pytest.mark.parametrize(("config", "word"), [(LABELS, "KiB"), (VOLUMES, "101 volumes")])
def test_too_much_to_say(kept: Callable[..., Kept], config: dict[str, object], word: str) -> None:
    """No worker is made of an image with endless labels or volumes, and the problem says so; as a
    refresh it leaves the one that is here in use. It is looked at again, and used once it is better."""
    bad = reply(json.dumps({"Id": f"sha256:{2:064}", "Config": config}).encode())
    versions = iter([bad, image(1), bad, bad, image(3)])
    it = kept({LOOK: lambda _: next(versions), PULL: PULLED})
    it.keeper.want("busybox", 0.0)
    assert it.step(0.0).id == "" and word in it.keeper.problem and "can't be used" in it.keeper.problem
    assert (it.step(it.keeper.due).id[-1:], it.keeper.problem) == ("1", "")
    it.keeper.want("busybox", 100.0)
    for _ in range(2):
        assert it.step(it.keeper.due).id.endswith("1") and it.keeper.problem.endswith("that is here")
    assert (it.step(it.keeper.due).id[-1:], it.keeper.problem) == ("3", "")


def test_refresh_that_fails(kept: Callable[..., Kept]) -> None:
    """When a refresh fails, the image that is here stays in use, the problem says so, and it is
    retried as soon as a missing one would be."""
    it = kept({LOOK: image(), PULL: REFUSED})
    it.keeper.want("busybox", 43_200.0)
    it.step(0.0)
    keeper = it.step(300.0)
    assert keeper.id and keeper.problem.endswith("; going on with the one that is here"), keeper.problem
    assert keeper.due == 330.0 and it.step(330.0).due == 390.0


def test_lost(kept: Callable[..., Kept]) -> None:
    """When Docker says at a start that the image is missing, it is looked up at once."""
    it = kept({LOOK: image(), PULL: PULLED})
    it.keeper.want("busybox", 43_200.0)
    it.step(0.0)
    it.keeper.lost()
    assert it.keeper.id == ""
    it.asked()
    assert it.step(1.0).id and it.asked() == [LOOK]


def test_docker_that_errs(kept: Callable[..., Kept]) -> None:
    """A lookup that fails for another reason does not cause a pull, and the problem has Docker's
    words."""
    refused = reply(b'{"message":"invalid reference format"}', "400 Bad Request")
    it = kept({LOOK: refused, PULL: PULLED})
    it.keeper.want("busybox", 100.0)
    keeper = it.step(0.0)
    assert keeper.id == "" and keeper.due == keeper.RETRY and it.asked() == [LOOK]
    assert "image busybox" in keeper.problem and "invalid reference format" in keeper.problem


def test_dry_run(kept: Callable[..., Kept]) -> None:
    """A dry run pulls nothing, and says so."""
    it = kept({LOOK: NONE, PULL: PULLED}, may_pull=False)
    it.keeper.want("busybox", 100.0)
    assert it.step(0.0).problem == "image busybox is not here (a dry run does not pull it)"
    assert it.asked() == [LOOK]


def test_another_image_meanwhile(kept: Callable[..., Kept]) -> None:
    """An answer about an image that is no longer wanted is ignored."""
    it = kept({LOOK: image(1), "GET /images/alpine/json": image(2)})
    it.keeper.want("busybox", 100.0)
    it.keeper.step(0.0)
    it.keeper.want("alpine", 100.0)
    it.inbox.get(timeout=DEADLINE)()
    assert it.keeper.id == ""
    assert it.step(0.1).id.endswith("2")


def test_pull_that_hangs(kept: Callable[..., Kept]) -> None:
    """While a pull hangs, the request queue is free and the loop asks for nothing more."""
    it = kept({LOOK: NONE, PULL: [HANG], "GET /info": reply(b"{}")})
    it.keeper.want("busybox", 100.0)
    it.keeper.step(0.0)
    it.inbox.get(timeout=DEADLINE)()
    assert it.server.reached.wait(DEADLINE)
    it.asked()
    for now in range(1, 1000):
        it.keeper.step(float(now))
    answers: list[object] = []
    it.request_queue.submit(lambda docker: docker.info(), lambda info, error: answers.append(info))
    it.inbox.get(timeout=DEADLINE)()
    assert answers and it.keeper.problem == "pulling image busybox"
    assert it.asked() == ["GET /info"]


def test_another_image_while_a_pull_hangs(kept: Callable[..., Kept]) -> None:
    """A pull of an image that is no longer wanted ends, and the one that is wanted is found."""
    it = kept({LOOK: NONE, PULL: [HANG], "GET /images/alpine/json": image(2)})
    it.keeper.want("busybox", 100.0)
    it.keeper.step(0.0)
    it.inbox.get(timeout=DEADLINE)()
    assert it.server.reached.wait(DEADLINE)
    it.keeper.want("alpine", 100.0)
    it.step(1.0)
    assert it.step(2.0).id.endswith("2") and it.keeper.problem == ""


WORKER = "localhost/plancton-worker:latest"
LOCAL = f"GET /images/{WORKER}/json"


def test_local_image_is_missing(kept: Callable[..., Kept]) -> None:
    """A local image is never pulled: the command that builds it is named, and it is looked up
    again."""
    it = kept({LOCAL: NONE, PULL: PULLED})
    it.keeper.want(WORKER, 43_200.0)
    now = 0.0
    for _ in range(5):
        keeper = it.step(now)
        assert keeper.id == "" and f"image {WORKER} is not on this host" in keeper.problem
        assert "scripts/worker-image/build --load" in keeper.problem
        assert it.asked() == [LOCAL] and keeper.due == now + keeper.RETRY
        now = keeper.due


def test_local_image_is_loaded(kept: Callable[..., Kept]) -> None:
    """An image loaded meanwhile is found at the next lookup, and a newer one at a refresh."""
    versions = iter([NONE, image(1), image(1), image(2)])
    it = kept({LOCAL: lambda _: next(versions), PULL: PULLED})
    it.keeper.want(WORKER, 100.0)
    assert it.step(0.0).id == ""
    keeper = it.step(it.keeper.due)
    assert keeper.id.endswith("1") and keeper.problem == ""
    assert it.step(it.keeper.due).id.endswith("1")
    assert it.step(it.keeper.due).id.endswith("2")
    assert it.asked() == [LOCAL] * 4, "it was pulled"


def test_local_image_that_is_removed(kept: Callable[..., Kept]) -> None:
    """A removed image is missing from the next lookup on, and nothing is started from it."""
    versions = iter([image(1), NONE, image(3)])
    it = kept({LOCAL: lambda _: next(versions)})
    it.keeper.want(WORKER, 100.0)
    assert it.step(0.0).id
    keeper = it.step(it.keeper.due)
    assert keeper.id == "" and "is not on this host" in keeper.problem
    assert it.step(it.keeper.due).id.endswith("3") and it.keeper.problem == ""


def test_local_image_that_is_lost(kept: Callable[..., Kept]) -> None:
    """When Docker says at a start that the image is missing, it is looked up at once, not
    pulled."""
    it = kept({LOCAL: image(1), PULL: PULLED})
    it.keeper.want(WORKER, 0.0)
    it.step(0.0)
    it.keeper.lost()
    assert it.step(1.0).id and it.asked() == [LOCAL, LOCAL]


def test_local_image_in_a_dry_run(kept: Callable[..., Kept]) -> None:
    """A dry run says the same about a missing image as a real run."""
    it = kept({LOCAL: NONE}, may_pull=False)
    it.keeper.want(WORKER, 100.0)
    assert "build --load" in it.step(0.0).problem


def test_short() -> None:
    """Ids are shortened as by Docker."""
    assert short("sha256:0123456789abcdef") == "0123456789ab" == short("0123456789abcdef")


def test_another_auth_file_during_a_pull(kept: Callable[..., Kept]) -> None:
    """Credentials set during a pull with other ones are tried at once when it fails."""
    it = kept({LOOK: image(), PULL: REFUSED})
    it.keeper.want("busybox", 43_200.0, auth_file="/nonexistent/a")
    it.step(0.0)
    it.keeper.step(300.0)
    it.keeper.want("busybox", 43_200.0, auth_file="/nonexistent/b")
    it.inbox.get(timeout=DEADLINE)()
    assert it.keeper.problem == ""
    assert "/nonexistent/b" in it.step(301.0).problem


@pytest.mark.parametrize("policy", ["missing", "never"])
def test_another_is_loaded(kept: Callable[..., Kept], policy: Policy) -> None:
    """An image that is not pulled again is looked up at each refresh: another may have been
    loaded."""
    versions = iter([image(1), image(2), image(2)])
    it = kept({LOOK: lambda _: next(versions), PULL: PULLED})
    it.keeper.want("busybox", 60.0, policy)
    assert it.step(0.0).id.endswith("1")
    assert it.step(59.0).id.endswith("1")
    assert it.step(60.0).id.endswith("2")
    assert it.asked() == [LOOK] * 2, "it was pulled"


def test_bug_while_pulling(kept: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the thread that pulls reaches the loop, instead of leaving no image for ever."""

    def buggy(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(images, "pull", buggy)
    it = kept({LOOK: NONE})
    it.keeper.want("busybox", 0.0)
    with pytest.raises(ZeroDivisionError):
        it.step(0.0)


def test_no_pull_onto_a_full_disk(kept: Callable[..., Kept]) -> None:
    """While the disk is short nothing is pulled, and the problem says why; then it is."""
    it = kept({LOOK: NONE, PULL: REFUSED})
    it.keeper.want("busybox", 60.0)
    it.keeper.hold("only 4 GB are free")
    assert "only 4 GB are free" in it.step(0.0).problem and it.asked() == [LOOK]
    it.keeper.hold("")
    it.step(it.keeper.RETRY)
    assert it.asked() == [LOOK, PULL]


def test_a_pull_that_fills_the_disk(kept: Callable[..., Kept]) -> None:
    """A pull under way is stopped when the disk becomes short, and is tried again later."""
    it = kept({LOOK: NONE, PULL: [HANG]})
    it.keeper.want("busybox", 60.0)
    it.keeper.step(0.0)
    it.inbox.get(timeout=DEADLINE)()
    wait_for("it is pulled", lambda: any(PULL.split()[1] in request for request in it.server.requests))
    it.keeper.hold("only 4 GB are free")
    it.inbox.get(timeout=DEADLINE)()
    assert "can't be pulled: only 4 GB are free" in it.keeper.problem and not it.keeper.busy
    assert it.keeper.due >= it.keeper.RETRY
