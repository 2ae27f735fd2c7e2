"""A Docker Engine that maps users (userns-remap)."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton
from docker.test_doctor import findings

from plancton.workers.users import ANY, LABEL

pytestmark = pytest.mark.docker

FIRST = 300_000
IN_ITS_ETC = """
mount --bind "$1" /etc/subuid && mount --bind "$1" /etc/subgid && shift && exec "$@"
"""
"""Ids for containers, for this dockerd alone."""


@pytest.fixture
def mapping(engine: Engine, tmp_path: Path) -> Iterator[Engine]:
    """The tests' dockerd, which maps users."""
    ids = tmp_path / "subuid"
    ids.write_text(f"daemon:{FIRST}:65536\n")
    usual, options = engine.prefix, engine.options
    engine.terminate()
    engine.directory.chmod(0o711)
    engine.prefix = ("unshare", "-m", "sh", "-c", IN_ITS_ETC, "sh", str(ids), *usual)
    try:
        engine.start(*options, "--userns-remap=daemon")
        yield engine
    finally:
        for container in engine.containers():
            engine.remove(container["Id"])
        engine.terminate()
        engine.prefix = usual
        engine.start(*options)


def test_worker(mapping: Engine, plancton: Plancton) -> None:
    """A worker runs there as nobody of the mapped ones, although its image takes any user, and doctor
    says that users are mapped."""
    image = "plancton-test-any-user:1"
    mapping.import_image(image, changes=f"LABEL {LABEL}={ANY}")
    plancton.configure(image={"name": image})
    plancton.calm(1)
    plancton.start()
    (worker,) = plancton.full(1)
    found = mapping.inspect(worker)
    assert found["Config"]["User"] == "65534:65534"
    assert os.stat(f"/proc/{found['State']['Pid']}").st_uid in (FIRST, FIRST + 65534)
    (users,) = findings(plancton, "users")
    assert users["level"] == "ok" and users["text"].startswith("userns-remap is on"), users
    assert plancton.yields
