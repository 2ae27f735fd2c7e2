"""A supervisor that follows a repository: pushed commits come into force if they may."""

import signal
from pathlib import Path

import pytest
import yaml
from docker.harness import IMAGE, Plancton, wait_for
from unit.repositories import Repository

from plancton.config.repository import init

pytestmark = pytest.mark.docker


def test_follows_its_branch(plancton: Plancton, tmp_path: Path) -> None:
    """A pushed commit is in force soon after a fetch; a refused one is not, and `status` says
    why."""
    plancton.configure(config={"refresh": "60s"}, pool={"max_workers": 0})
    repository = Repository(tmp_path, yaml.safe_dump(plancton.settings))
    root = tmp_path / "clone"
    root.mkdir()
    own = {"sockets": [str(plancton.engine.socket)], "slices": [plancton.name]}
    own["images"] = ["localhost", "library"]
    (root / "allow.yaml").write_text(yaml.safe_dump(own))
    init(str(repository.bare), None, root)
    plancton.config = root / "config.yaml"
    plancton.start()

    def push(**changed: object) -> str:
        return repository.push({"config.yaml": yaml.safe_dump({**plancton.settings, **changed})})[:12]

    commit = push(image={"name": "localhost/new:1"})
    wait_for("the commit is here", lambda: plancton.lines(f"commit {commit} of branch main now"))
    wait_for("it is in force", lambda: plancton.status_json()["image"] == "localhost/new:1", every=0.5)

    bad = push(image={"name": IMAGE}, worker={"privileged": True})
    plancton.send(signal.SIGHUP)  # it fetches soon after a start
    said = f"commit {bad} of branch main: {root}/config.yaml: worker.privileged: needs `privileged: true`"
    wait_for("status says why", lambda: said in plancton.problems())
    assert said in plancton.cli("status").stdout
    assert plancton.status_json()["image"] == "localhost/new:1"
