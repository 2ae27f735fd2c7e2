"""What check says about a host: how many workers would fit now, and what is in the way."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply
from unit.trees import tree

from plancton.commands import check as module
from plancton.commands.check import check_host, too_little
from plancton.config.load import parse
from plancton.config.schema import Config
from plancton.docker.errors import DockerUnreachable
from plancton.host.cgroup_mounts import Layout
from plancton.model import Fleet, Observation, Settings
from plancton.policy.fit import Room, room_now, startable
from plancton.workers.token import EXPIRES_SOON, TokenError

INFO = reply(json.dumps({"CgroupDriver": "cgroupfs", "DockerRootDir": "/"}).encode())


def seen(
    owner: float | None = 0.0, available: int | None = 16_000_000_000, capacity: float = 4.0
) -> Observation:
    return Observation(
        time=1.0,
        boottime=1.0,
        capacity=capacity,
        interval=1.0,
        owner=owner,
        donated=0.0,
        engine=0.0,
        stolen=0.0,
        idle=capacity - (owner or 0.0),
        memory_total=16_000_000_000,
        memory_available=available,
        slice_anon=0,
    )


@pytest.mark.parametrize(
    ("observation", "settings", "most", "workers"),
    [
        (seen(), Settings(worker_memory=1), None, 4),
        (seen(), Settings(worker_memory=1), 2, 2),
        (seen(), Settings(worker_memory=1), 0, 0),
        (seen(owner=4.0), Settings(worker_memory=1), None, 0),
        (seen(owner=None), Settings(worker_memory=1), None, 0),
        (seen(), Settings(worker_memory=6_000_000_000), None, 2),
        (seen(available=1_000_000_000), Settings(worker_memory=6_000_000_000), None, 0),
        (seen(), Settings(worker_cpus=8.0, worker_memory=1), None, 0),
        (seen(capacity=64.0), Settings(worker_cpus=0.001, worker_memory=1), None, 4096),
    ],
)  # fmt: skip
def test_how_many(observation: Observation, settings: Settings, most: int | None, workers: int) -> None:
    """As many as CPUs, memory and max_workers allow; none if the owner's load is unknown."""
    room = room_now(observation, settings)
    assert (startable(Fleet(), most, room, settings) if room else 0) == workers


@pytest.mark.parametrize(
    ("room", "said"),
    [
        (Room(0.25, 4e9), " One needs 0.90 idle CPUs, of which 0.25 are left."),
        (Room(-1.0, 4e9), " One needs 0.90 idle CPUs, of which 0.00 are left."),
        (Room(2.0, 1.5e9), " One needs 2 GB of memory, of which 1.5 GB are left."),
        (Room(0.0, -1.0), " One needs 0.90 idle CPUs, of which 0.00 are left, and 2 GB of memory, of which"
                          " 0 kB are left."),
        (Room(2.0, 4e9), ""),
    ],
)  # fmt: skip
def test_too_little(room: Room, said: str) -> None:
    """If none fits, it says what is short, unless the configuration wants none."""
    assert too_little(room, Room(0.9, 2e9)) == said


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Script], Path]]:
    tree(tmp_path, v2={})
    monkeypatch.setattr(module, "read_layout", lambda: Layout(tmp_path / "v2"))
    monkeypatch.setattr(module, "SECONDS", 0.05)
    with ExitStack() as stack:
        yield lambda script: stack.enter_context(ScriptedDocker(tmp_path / "d.sock", script)).path


def config(socket: Path, text: str = "") -> Config:
    return parse(f"docker: {{socket: {socket}}}\n{text}", "FILE")


def test_survey(docker: Callable[[Script], Path]) -> None:
    """One sentence about this host; for a missing image it says what to set."""
    found = check_host(config(docker({"GET /info": INFO})))
    assert found.sentence.startswith("This host has ") and " would fit." in found.sentence
    said = "no image is configured, so nothing will be started: set image.name or htcondor"
    assert found.warnings == (said,)


def test_owner_rules(docker: Callable[[Script], Path]) -> None:
    """The signals that rules use are listed with their values, with what is asked for and what is
    wrong."""
    rules = "owner: {pause_when: hour < 25 and not 1 > 2, leave_when: hour > 24, hours: mon-sun}"
    found = check_host(config(docker({"GET /info": INFO}), rules))
    assert list(found.owner.signals) == ["hour"]
    said = "\n".join(found.owner.lines)
    assert "hour = " in said and "paused: it is " in said and "the whole week" in said
    assert [text for text in found.warnings if "owner.pause_when" in text and "always true" in text]
    assert [text for text in found.warnings if "owner.leave_when" in text and "never be true" in text]


def test_image_is_not_here_yet(docker: Callable[[Script], Path]) -> None:
    """An image that run would pull is mentioned."""
    found = check_host(config(docker({"GET /info": INFO}), "image: {name: busybox}"))
    assert found.warnings == ("image busybox is not on this host yet: `plancton run` pulls it",)


def test_image_that_is_never_pulled(docker: Callable[[Script], Path]) -> None:
    """With image.policy never, nobody is told that run pulls what is missing."""
    found = check_host(config(docker({"GET /info": INFO}), "image: {name: busybox, policy: never}"))
    assert found.warnings == (
        "image busybox is not on this host, and image.policy is never: load it, or set missing",
    )


def test_image_is_here(docker: Callable[[Script], Path]) -> None:
    """What is right is not mentioned."""
    script: Script = {"GET /info": INFO, "GET /images/busybox/json": reply(b'{"Id": "sha256:1"}')}
    assert check_host(config(docker(script), "image: {name: busybox}\nworker: {memory: 6MiB}")).warnings == ()


def test_never(docker: Callable[[Script], Path]) -> None:
    """A setting that can never start a worker here comes first."""
    found = check_host(config(docker({"GET /info": INFO}), "worker: {cpus: 4096}"))
    assert found.warnings[0].startswith("no worker can ever start here: worker.cpus is 4096"), found
    assert " 0 workers would fit" in found.sentence


def test_docker_that_is_cut(docker: Callable[[Script], Path]) -> None:
    """If Docker goes away during the check, that is the error."""
    with pytest.raises(DockerUnreachable):
        check_host(config(docker({"GET /info": ["cut"]})))


# ---------------------------------------------------------------- a pool


def token(path: Path, expires: float | None = None, mode: int = 0o600) -> str:
    """An htcondor section with a token that ends then."""
    claims = json.dumps({"sub": "x"} if expires is None else {"exp": expires}).encode()
    path.write_bytes(b"eyJ." + base64.urlsafe_b64encode(claims).rstrip(b"=") + b".c2VjcmV0")
    path.chmod(mode)
    return f"htcondor: {{central_manager: cm, token_file: {path}, memory: 192MiB}}"


def test_workers_image_is_not_here(docker: Callable[[Script], Path], tmp_path: Path) -> None:
    """Nobody can pull the workers' own image, so the command that builds it is named."""
    found = check_host(config(docker({"GET /info": INFO}), token(tmp_path / "token")))
    (warning,) = found.warnings
    assert "image localhost/plancton-worker:latest is not on this host" in warning
    assert "scripts/worker-image/build --load" in warning


def test_pool_that_is_ready(docker: Callable[[Script], Path], tmp_path: Path) -> None:
    """With the image and a lasting token there is no warning."""
    script: Script = {
        "GET /info": INFO,
        "GET /images/localhost/plancton-worker:latest/json": reply(b'{"Id": "sha256:1"}'),
    }
    socket = docker(script)
    for expires in (None, time.time() + EXPIRES_SOON + 60):
        assert check_host(config(socket, token(tmp_path / "token", expires))).warnings == ()


def test_token_that_ends_soon(docker: Callable[[Script], Path], tmp_path: Path) -> None:
    """A token that expires within days is reported with the time left."""
    expires = int(time.time()) + 7_230
    found = check_host(config(docker({"GET /info": INFO}), token(tmp_path / "token", expires)))
    assert found.warnings[-1] == f"token file {tmp_path}/token: expires in 2h 00m", found


def test_token_that_is_refused(docker: Callable[[Script], Path], tmp_path: Path) -> None:
    """An unusable token is an error before Docker is asked anything."""
    with pytest.raises(TokenError, match="chmod 600"):
        check_host(config(tmp_path / "none.sock", token(tmp_path / "token", mode=0o644)))
