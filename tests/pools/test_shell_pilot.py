"""A pool of shell scripts in a directory: the pilot exactly as printed in docs/pools.md."""

import os
from pathlib import Path
from typing import Any

import pytest
from docker.harness import Plancton, wait_for
from pools.page import example, image_of

TITLE = "A directory of shell scripts"
USER = 65534
HELD = "while [ ! -e /spool/go ]; do sleep 0.1; done; echo done by $(hostname)"
"""A job that takes until the test lets it go."""

pytestmark = [pytest.mark.docker, pytest.mark.slow]


class Spool:
    """The directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("", "new", "run", "done"):
            (root / part).mkdir()
            os.chown(root / part, USER, USER)

    def submit(self, name: str, script: str = HELD) -> None:
        (self.root / "new" / name).write_text(script)

    def jobs(self, part: str) -> set[str]:
        return {file.name for file in (self.root / part).iterdir() if file.suffix != ".out"}

    def output(self, name: str) -> str:
        return (self.root / "done" / name).read_text()

    def release(self) -> None:
        (self.root / "go").touch()

    def describe(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return ", ".join(f"{part}: {sorted(self.jobs(part))}" for part in ("new", "run", "done"))


@pytest.fixture
def spool(plancton: Plancton, work_queue_image: str, tmp_path: Path) -> Spool:
    """An empty spool, and a supervisor that is configured for it but not started."""
    spool = Spool(tmp_path / "spool")
    replaced = {"/srv/spool": str(spool.root), image_of(TITLE): work_queue_image, "IDLE: 300": "IDLE: 2"}
    sections: dict[str, Any] = example(TITLE, replaced)
    plancton.configure(**sections, yielding={"worthwhile": 0.1, "grace_kill": "1h"}, pool={"max_workers": 1})
    return spool


def runs(spool: Spool, plancton: Plancton, name: str) -> str:
    """Wait until one worker runs this job; the worker's name."""
    wait_for(f"job {name} runs ({spool})", lambda: spool.jobs("run") == {name})
    plancton.full(1)
    return str(plancton.workers()[0]["Names"][0]).lstrip("/")


def test_finishing_ends_the_job_in_hand(plancton: Plancton, spool: Spool) -> None:
    """After `plancton drain`, a worker ends its job, takes no other, and exits cleanly."""
    spool.submit("a")
    spool.submit("b")
    plancton.start()
    worker = runs(spool, plancton, "a")
    plancton.cli("drain")
    wait_for("the worker is asked", lambda: plancton.lines(f"asking {worker} to finish"))
    assert plancton.ids(), f"it did not wait for its job: {spool}"
    spool.release()
    plancton.empty()
    wait_for("its end is told", lambda: plancton.lines(f"{worker} is gone", "exit code 0"))
    assert spool.jobs("done") == {"a"}, str(spool)
    assert spool.jobs("new") == {"b"}, str(spool)
    assert spool.output("a") == f"done by {worker}\n", str(spool)


def test_leaving_gives_the_job_back(plancton: Plancton, spool: Spool) -> None:
    """After `plancton stop`, the job is back in the queue at once, and the next worker does it."""
    spool.submit("a")
    plancton.start()
    first = runs(spool, plancton, "a")
    done = plancton.cli("stop", "--wait")
    assert done.returncode == 0, f"{done.stderr}"
    assert spool.jobs("new") == {"a"}, str(spool)
    assert not spool.jobs("run") | spool.jobs("done"), str(spool)
    assert not list((spool.root / "run").iterdir()), str(spool)
    assert plancton.lines(f"{first} is gone", "exit code 0"), str(spool)
    assert plancton.ended() == 0, str(spool)
    spool.release()
    plancton.start()
    wait_for(f"the job is done ({spool})", lambda: spool.jobs("done") == {"a"})
    assert spool.output("a") not in ("", f"done by {first}\n"), str(spool)


def test_without_jobs_it_is_left_alone(plancton: Plancton, spool: Spool) -> None:
    """A worker without work ends by itself and says why; Plancton backs off."""
    spool.submit("a", "echo hello")
    plancton.start()
    wait_for(f"the job is done ({spool})", lambda: spool.jobs("done") == {"a"})
    wait_for("the worker ends", lambda: plancton.lines("ended after", "exit code 75", "no job for 2 s"))
    wait_for("Plancton says so", lambda: "found no work" in plancton.cli("status").stdout)
    status = plancton.cli("status").stdout
    assert "backing off" in status and "no job for 2 s" in status, status
    plancton.empty()
