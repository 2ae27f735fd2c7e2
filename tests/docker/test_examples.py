"""examples/: those that can be run here are, on a host of their own (see test_install)."""

import json
import sys
from pathlib import Path

import pytest
import yaml
from docker.harness import Engine
from docker.test_install import USER, PipHost, host, wheels
from htcondor.conftest import own_image, worker_image
from unit.programs import call

pytestmark = pytest.mark.docker

__all__ = ["host", "own_image", "wheels", "worker_image"]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.slow
def test_ansible(host: PipHost) -> None:
    """The role makes a host donate; the second time it changes nothing."""
    variables = {
        "ansible_become": False,  # we are root, and need no sudo for it
        "ansible_python_interpreter": "/usr/bin/python3",
        "plancton_config": yaml.safe_load(host.config.read_text()),
        "plancton_token": "",
        "plancton_wheel": str(host.wheel),
        "plancton_prefix": str(host.prefix),
        "plancton_user": USER,
        "plancton_files": str(host.directory / "files"),
    }
    own = [f"HOME={host.directory}", f"ANSIBLE_HOME={host.directory}/.ansible", "LC_ALL=C.UTF-8"]
    playbook = Path(sys.executable).with_name("ansible-playbook")
    where = ["--inventory", "localhost,", "--connection", "local"]
    extra = ["--extra-vars", json.dumps(variables)]
    command = ["env", *own, playbook, *where, *extra, EXAMPLES / "ansible/site.yml"]
    first = host(*command)
    assert first.returncode == 0 and "changed=0" not in first.stdout, first.stdout + first.stderr
    host.worker()
    before = host.listing()
    second = host(*command)
    assert second.returncode == 0 and "changed=0" in second.stdout, second.stdout + second.stderr
    assert host.listing() == before


@pytest.mark.slow
def test_tarball(host: PipHost, engine: Engine, worker_image: str, tmp_path: Path) -> None:
    """One archive makes a host without network donate: it brings Plancton, image and
    configuration."""
    archive = tmp_path / "offline.tar.gz"
    call(EXAMPLES / "tarball/make", host.config, archive)
    call("tar", "-xzf", archive, "-C", host.directory)
    engine.call("DELETE", f"/images/{worker_image}")
    up = host.directory / "plancton-offline/up"
    own = ["PIP_NO_INDEX=1", f"DOCKER_HOST=unix://{engine.socket}"]
    done = host("env", *own, "sh", up, "--user", USER, "--prefix", host.prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    assert engine.call("GET", f"/images/{worker_image}/json")["Id"]
    host.worker()
