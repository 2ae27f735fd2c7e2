"""Images from a real registry: what is pulled, how often, with which password, and what is left of
it."""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import IDLE, Engine, Plancton, wait_for
from docker.registry import PASSWORD, USER, Cutter, Registry, random_label
from helpers.debian import unpack
from helpers.dictated_host import DictatedHost
from helpers.wait import PATIENCE

from plancton.model import Phase

pytestmark = pytest.mark.docker

HERE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
"""This machine's architecture as registries call it."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(tmp_path_factory.mktemp("docker-registry"), "docker-registry") / "usr/bin/docker-registry"


@pytest.fixture
def registry(program: Path, tmp_path: Path) -> Iterator[Registry]:
    """One that lets everybody pull."""
    yield from started(Registry(program, tmp_path, password=False))


@pytest.fixture
def guarded(program: Path, tmp_path: Path) -> Iterator[Registry]:
    """One that asks for a password."""
    yield from started(Registry(program, tmp_path, password=True))


def started(registry: Registry) -> Iterator[Registry]:
    registry.start()
    yield registry
    registry.stop()


def says(plancton: Plancton, *words: str, timeout: float = 2 * PATIENCE) -> None:
    """Wait until the status says so, in capitals or not: Docker's versions differ."""

    def said() -> bool:
        problems = plancton.problems().lower()
        return all(word.lower() in problems for word in words)

    wait_for(f"status says {words}", said, timeout, every=0.2)


def images(plancton: Plancton) -> list[str]:
    """What each worker is made of."""
    return [worker["ImageID"] for worker in plancton.workers()]


def has(engine: Engine, image: str) -> bool:
    return any(each["Id"] == image for each in engine.call("GET", "/images/json?all=1") or [])


@pytest.mark.slow
def test_new_version(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """A version that is pushed is pulled at the next refresh; workers of the old one are replaced
    one by one, and then the old one goes. An image of somebody else's stays."""
    name = f"{registry.address}/worker:1"
    first = registry.push(engine, "worker:1", "first")
    plancton.calm(2)
    plancton.configure(
        image={"name": name, "refresh": "60s"}, worker={"finish_timeout": "20s", "finish_signal": "SIGTERM"}
    )
    plancton.start()
    plancton.full(2)
    assert images(plancton) == [first, first]
    stranger = engine.import_image("somebody:1", label="theirs")
    second = registry.push(engine, "worker:next", "second")
    registry.tag("worker", "1", of="next")

    def replaced() -> bool:
        status = plancton.status
        going = [w for w in status.workers if w.phase is Phase.FINISHING] if status else []
        assert len(going) <= 1, going
        return images(plancton) == [second, second]

    wait_for("both workers are of the second version", replaced, every=0.1)
    wait_for("the first version is gone", lambda: not has(engine, first), every=0.5)
    assert has(engine, second) and has(engine, stranger)


@pytest.mark.slow
def test_another_architecture_changes(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """A new version in which only another architecture's image differs leaves the workers alone."""
    registry.push(engine, "worker:ours", "ours")
    for tag in ("other-1", "other-2"):
        registry.push(engine, f"worker:{tag}", tag, platform="linux/s390x")
    name = f"{registry.address}/worker:1"
    registry.index("worker", "1", {HERE: "ours", "s390x": "other-1"})
    plancton.calm(1)
    plancton.configure(image={"name": name, "refresh": "60s"})
    plancton.start()
    before = plancton.full(1)
    digest = registry.index("worker", "1", {HERE: "ours", "s390x": "other-2"})
    plancton.configure(image={"refresh": "61s"})  # a changed wish is looked at again
    wait_for(
        "the new version is pulled",
        lambda: digest in str(engine.call("GET", f"/images/{name}/json")["RepoDigests"]),
        2 * PATIENCE,
        every=0.5,
    )
    plancton.goes_on(10)
    assert plancton.ids() == before and not plancton.lines("to finish")


@pytest.mark.slow
def test_another_name(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """Once another image is configured, the one that was pulled before goes, although it has the
    name that the pull gave it."""
    first, second = (registry.push(engine, f"worker:{tag}", tag) for tag in ("1", "2"))
    plancton.calm(1)
    plancton.configure(image={"name": f"{registry.address}/worker:1"}, worker={"finish_timeout": "1s"})
    plancton.start()
    plancton.full(1)
    assert images(plancton) == [first]
    plancton.configure(image={"name": f"{registry.address}/worker:2"})
    wait_for("the second image's worker runs", lambda: images(plancton) == [second], every=0.3)
    wait_for("the first image is gone", lambda: not has(engine, first), every=0.5)


def test_pulled_by_hand(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """When somebody pulls a newer version by hand, starts go on, and none counts as failed."""
    name = f"{registry.address}/worker"
    registry.push(engine, "worker:1", "first")
    plancton.calm(1)
    plancton.configure(image={"name": f"{name}:1"})
    plancton.start()
    plancton.full(1)
    registry.push(engine, "worker:by-hand", "second")
    registry.tag("worker", "1", of="by-hand")
    engine.call("POST", f"/images/create?fromImage={name}&tag=1")
    plancton.calm(2)
    plancton.full(2)
    assert not plancton.problems() and not plancton.lines("can't be started")


def test_digest_and_policy(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """A digest pins one version; `never` pulls nothing, `missing` only what is not here."""
    first = registry.push(engine, "worker:1", "first")
    digest = registry.digest("worker", "1")
    registry.push(engine, "worker:1", "second")
    plancton.calm(1)
    plancton.configure(image={"name": f"{registry.address}/worker@{digest}", "policy": "never"})
    plancton.start()
    says(plancton, "is not on this host, and image.policy is never")
    plancton.configure(image={"policy": "missing"})
    plancton.full(1)
    assert images(plancton) == [first]


def test_password(plancton: Plancton, engine: Engine, guarded: Registry, tmp_path: Path) -> None:
    """Without a password, with a wrong one or one that others can read, status says what is wrong,
    and workers of the previous image keep running; with the right one the image is pulled, from
    auth_file or by a credential helper. The password is shown nowhere."""
    first, second = guarded.push(engine, "worker:1", "first"), guarded.push(engine, "worker:2", "second")
    plancton.calm(1)
    plancton.environment["DOCKER_CONFIG"] = str(tmp_path)
    plancton.environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    plancton.start()
    before = plancton.full(1)
    plancton.configure(image={"name": f"{guarded.address}/worker:1"})
    says(plancton, "can't be pulled", "no basic auth credentials")
    plancton.configure(image={"auth_file": str(write(tmp_path / "wrong", guarded, "wrong"))})
    says(plancton, "can't be pulled", "unauthorized")
    plancton.configure(image={"auth_file": str(write(tmp_path / "open", guarded, PASSWORD, 0o644))})
    says(plancton, "others can read the password in it; chmod 600")
    assert plancton.ids() == before
    plancton.configure(image={"auth_file": str(write(tmp_path / "right", guarded, PASSWORD))})
    wait_for("the first image's worker runs", lambda: images(plancton) == [first], every=0.3)
    helper(tmp_path, guarded)
    plancton.configure(image={"name": f"{guarded.address}/worker:2", "auth_file": None})
    wait_for("the second image's worker runs", lambda: images(plancton) == [second], every=0.3)
    shown = plancton.log + json.dumps(plancton.status_json()) + plancton.cli("check").stdout
    shown += json.dumps(engine.inspect(plancton.ids().pop()))
    for secret in (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert secret not in shown


def write(path: Path, registry: Registry, password: str, mode: int = 0o600) -> Path:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    path.touch(mode)
    path.chmod(mode)
    path.write_text(json.dumps({"auths": {registry.address: {"auth": auth}}}))
    return path


def helper(directory: Path, registry: Registry) -> None:
    """Docker's own config.json, which names a helper that keeps the password."""
    program = directory / "docker-credential-kept"
    kept = json.dumps({"ServerURL": registry.address, "Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\n[ \"$1 $(cat)\" = 'get {registry.address}' ] && echo '{kept}'\n")
    program.chmod(0o755)
    (directory / "config.json").write_text(json.dumps({"credHelpers": {registry.address: "kept"}}))


@pytest.mark.slow
def test_registry_trouble(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """With an unknown name, or a registry that is down, workers keep running and status says why
    nothing newer comes; when the registry is back, pulls resume by themselves."""
    registry.push(engine, "worker:1", "first")
    plancton.calm(1)
    plancton.configure(image={"name": f"{registry.address}/worker:1"})
    plancton.start()
    before = plancton.full(1)
    plancton.configure(image={"name": f"{registry.address}/worker:none"})
    says(plancton, f"image {registry.address}/worker:none can't be pulled")
    assert plancton.ids() == before
    second = registry.push(engine, "worker:2", "second")
    registry.stop()
    plancton.configure(image={"name": f"{registry.address}/worker:2"})
    says(plancton, "can't be pulled", "connection refused")
    assert plancton.ids() == before
    registry.start()
    wait_for("the new image's worker runs", lambda: images(plancton) == [second], 2 * PATIENCE, every=0.3)
    assert not plancton.problems()


@pytest.mark.slow
def test_cut_in_the_middle(plancton: Plancton, engine: Engine, registry: Registry) -> None:
    """A pull that is cut in the middle leaves nothing that counts as the image, and is tried
    again."""
    registry.push(engine, "worker:1", random_label(3_000_000))
    engine.terminate()
    engine.start("--max-download-attempts=1")  # by itself it takes minutes to give up
    cutter = Cutter(registry, 1_000_000)
    try:
        plancton.calm(1)
        plancton.configure(image={"name": f"{cutter.address}/worker:1"})
        plancton.start()
        says(plancton, f"image {cutter.address}/worker:1 can't be pulled")
        assert cutter.cuts and not plancton.workers()
        cutter.most = None
        plancton.full(1)
    finally:
        cutter.close()


@pytest.mark.slow
def test_full_disk(
    program: Path, registry: Registry, engine: Engine, host: DictatedHost, tmp_path: Path
) -> None:
    """While Docker's disk is full, status says so; once there is room, the image is pulled."""
    registry.push(engine, "worker:1", random_label(40_000_000))
    directory = Path(tempfile.mkdtemp(prefix="plancton-test-"))
    data = directory / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "plancton-test", data], check=True)
    small = Engine(directory)
    try:
        small.start()
        plancton = Plancton(tmp_path, small, host)
        try:
            plancton.calm(1)
            plancton.configure(
                image={"name": f"{registry.address}/worker:1"}, worker={"command": ["/bin/sh", "-c", IDLE]}
            )
            plancton.start()
            says(plancton, "can't be pulled", "no space left on device")
            subprocess.run(["mount", "-o", "remount,size=400m", data], check=True)
            plancton.full(1)
        finally:
            plancton.close()
    finally:
        small.close()
