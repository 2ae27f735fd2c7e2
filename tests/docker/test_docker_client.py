"""plancton.docker.client against a real dockerd."""

import io
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.harness import IMAGE, Engine
from helpers.wait import PATIENCE, wait_for

from plancton.docker.client import Docker
from plancton.docker.errors import Conflict, DockerError, NotFound
from plancton.docker.replies import Event
from plancton.docker.transport import EventStream

pytestmark = pytest.mark.docker

TAG = f"h2-{uuid.uuid4().hex[:8]}"
LABEL = f"org.plancton.test={TAG}"

Create = Callable[..., str]


@pytest.fixture
def docker(engine: Engine) -> Iterator[Docker]:
    with Docker(engine.socket) as client:
        yield client


@pytest.fixture
def create(docker: Docker) -> Iterator[Create]:
    """Create containers of one command, which are removed afterwards."""
    names: list[str] = []

    def make(*command: str, **body: Any) -> str:
        names.append(f"{TAG}-{len(names)}-{uuid.uuid4().hex[:4]}")
        key, _, value = LABEL.partition("=")
        docker.create(names[-1], {"Image": IMAGE, "Cmd": command, "Labels": {key: value}, **body})
        return names[-1]

    yield make
    for name in names:
        with suppress(NotFound):
            docker.remove(name, force=True)


def follow(docker: Docker, since: float | None = None) -> EventStream:
    return docker.events({"label": [LABEL], "type": ["container"]}, since, timeout=PATIENCE)


def until(stream: EventStream, name: str, action: str) -> list[Event]:
    """Return the events of one container up to an action; other tests' containers have the label
    too."""
    seen = []
    for event in stream:
        if event.actor.attributes["name"] == name:
            seen.append(event)
            if event.action == action:
                return seen
    raise AssertionError(f"no {action} in {seen}")


def test_engine(docker: Docker, engine: Engine) -> None:
    """Docker tells its version, where its files are, and how it manages cgroups and images."""
    info = docker.info()
    assert docker.ping().startswith("1.")
    assert info.server_version == engine.call("GET", "/version")["Version"]
    assert info.cgroup_driver in ("cgroupfs", "systemd")
    assert Path(info.docker_root_dir) == engine.directory / "data"
    assert info.driver and not info.is_podman


def test_life_of_a_container(docker: Docker, create: Create) -> None:
    """Create, start, inspect, list, signal and remove do what they say."""
    name = create(
        "sh", "-c", "trap 'exit 7' QUIT; while :; do sleep 0.1; done", HostConfig={"CpuShares": 512}
    )
    docker.start(name)
    docker.start(name)  # no error
    running = docker.inspect(name)
    assert (running.name, running.state.running) == (name, True)
    assert running.host_config.cpu_shares == 512
    assert Path(f"/proc/{running.state.pid}").exists()
    (listed,) = docker.containers(LABEL)
    assert (listed.id, listed.names, listed.image) == (running.id, [name], IMAGE)
    # The shell may not have got to its trap yet, and as process 1 it ignores the signal until then.
    wait_for("it handles the signal", lambda: not _running_after_signal(docker, name))
    assert docker.inspect(name).state.exit_code == 7
    docker.remove(name)
    assert docker.containers(LABEL) == []


def _running_after_signal(docker: Docker, name: str) -> bool:
    try:
        docker.signal(name, "SIGQUIT")
    except Conflict:
        return False
    return docker.inspect(name).state.running


def test_shares(docker: Docker, create: Create) -> None:
    """set_shares changes a running container's CpuShares."""
    name = create("sleep", "600")
    docker.start(name)
    docker.set_shares(name, 2)
    assert docker.inspect(name).host_config.cpu_shares == 2


def test_logs(docker: Docker, create: Create) -> None:
    """The last lines of both streams are shown, of a container with and without a terminal."""
    for terminal in (False, True):
        name = create("sh", "-c", "echo one; echo two; echo three >&2", Tty=terminal)
        stream = follow(docker)
        docker.start(name)
        until(stream, name, "die")
        stream.close()
        assert sorted(docker.logs(name).splitlines()) == ["one", "three", "two"]
        assert len(docker.logs(name, lines=2).splitlines()) == 2


def test_events_are_prompt(docker: Docker, create: Create) -> None:
    """An event arrives though nothing comes after it, and closing the stream ends who waits for
    more."""
    name = create("sleep", "600")
    stream = follow(docker)
    arrived: list[Event] = []
    reader = threading.Thread(target=lambda: arrived.extend(stream))
    reader.start()
    docker.start(name)
    wait_for("it is told", lambda: bool(arrived))
    assert (arrived[0].action, arrived[0].actor.attributes["name"]) == ("start", name)
    docker.signal(name, "SIGKILL")
    wait_for("its end is told", lambda: arrived[-1].action == "die")
    assert arrived[-1].actor.attributes["exitCode"] == "137"
    stream.close()
    reader.join(PATIENCE)
    assert not reader.is_alive()


def test_events_since(docker: Docker, create: Create) -> None:
    """A new stream that starts as early as the one before misses nothing."""
    began, name = time.time() - 1, create("true")
    stream = follow(docker, since=began)
    until(stream, name, "create")
    stream.close()
    docker.start(name)
    wait_for("it ends", lambda: not docker.inspect(name).state.running)
    stream = follow(docker, since=began)
    actions = [event.action for event in until(stream, name, "die")]
    stream.close()
    assert actions == ["create", "start", "die"]


def test_refusals(docker: Docker, create: Create) -> None:
    """If something is missing or taken, one line names it."""
    name = create("true")
    with pytest.raises(Conflict, match=name):
        docker.create(name, {"Image": IMAGE, "Cmd": ["true"]})
    with pytest.raises(NotFound, match="h2-nothing"):
        docker.inspect("h2-nothing")
    with pytest.raises(NotFound, match="h2-nothing"):
        docker.create(f"{name}-b", {"Image": "h2-nothing:1"})
    with pytest.raises(NotFound):
        docker.image("h2-nothing:1")
    with pytest.raises(Conflict):
        docker.signal(name, "SIGTERM")


@pytest.mark.parametrize("name", ["localhost:1/h2/nothing:1", "localhost:1/x@sha256:" + "0" * 64, "BAD NAME"])
def test_pull_of_nothing(docker: Docker, name: str) -> None:
    """A pull that can't succeed is an error of one line that names the image."""
    with pytest.raises(DockerError) as caught:
        docker.pull(name, lambda _: None)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_import(docker: Docker) -> None:
    """An image made from a tar can be found by its name, with the id that was returned."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    repo = f"{TAG}-image"
    made = docker.import_image(data.getvalue(), repo, "1")
    try:
        image = docker.image(f"{repo}:1")
        assert (image.id, image.repo_tags) == (made, [f"{repo}:1"])
    finally:
        docker.remove_image(f"{repo}:1")
    with pytest.raises(NotFound):
        docker.image(f"{repo}:1")


def test_network(docker: Docker, engine: Engine) -> None:
    """A network is made once, found by name, and removed."""
    with pytest.raises(NotFound):
        docker.network(TAG)
    options = {"com.docker.network.bridge.enable_icc": "false"}
    made = docker.create_network(TAG, {"Driver": "bridge", "Options": options, "Labels": {"ours": "1"}})
    try:
        with pytest.raises(Conflict):
            docker.create_network(TAG, {"Driver": "bridge"})
        assert docker.network(TAG).labels == {"ours": "1"}
        found = engine.call("GET", f"/networks/{TAG}")
        assert (found["Id"], found["Options"]) == (made, options)
    finally:
        docker.remove_network(TAG)
