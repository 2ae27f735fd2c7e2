"""The examples of docs/jobs.md, as they stand there, on a real pool and a host whose owner comes."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from docker.harness import CPUS, Engine, Load, Plancton, wait_for
from htcondor.harness import Pool, running
from htcondor.test_going import outside, told_to_leave

pytestmark = [pytest.mark.docker, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
SENT, PARTS = "Finished transferring output files", 10
FILE = re.compile(r"^    # ([\w.]+)\n((?:    .*\n)+)", re.MULTILINE)


def submit(pool: Pool, name: str) -> None:
    """Type the page's two files of this name, and submit the job."""
    files = {found[1]: dedent(found[2]) for found in FILE.finditer(PAGE)}
    for file in (f"{name}.sh", f"{name}.sub"):
        pool.run("sh", "-c", f"cat >{file}", data=files[file], user=True)
    pool.run("condor_submit", f"{name}.sub", user=True)


def begin(plancton: Plancton, pool: Pool, name: str) -> None:
    """Have the page's job run on a host that has one worker."""
    plancton.configure(pool={"max_workers": 1}, htcondor={"cpus": 0.5})
    submit(pool, name)
    plancton.start()
    running(pool, 1)


def log(pool: Pool, name: str) -> str:
    return pool.run("cat", f"{name}.log", user=True)


def evict(plancton: Plancton, pool: Pool, owner: Load, name: str) -> None:
    """The owner takes the CPUs until the job has to leave."""
    owner.start()
    plancton.host.owner = CPUS
    told_to_leave(plancton)
    wait_for("it is evicted", lambda: "was evicted" in log(pool, name), every=0.2)
    owner.stop()


def printed(pool: Pool, name: str) -> str:
    """What the job has printed when it is done."""
    wait_for("the job is done", lambda: pool.queue()[:2] == (0, 0), every=0.5)
    return pool.run("cat", f"{name}.out", user=True)


def test_saves_when_told_to_go(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, worker_image: str
) -> None:
    """A job that is told to go saves its state, and goes on from there elsewhere."""
    begin(plancton, pool, "count")
    with outside(plancton, engine, worker_image):
        evict(plancton, pool, owner, "count")
        said = re.fullmatch(r"done, went on at (\d+)\n", printed(pool, "count"))
    assert said and int(said[1]) > 0, log(pool, "count")


def test_is_never_told_to_go(plancton: Plancton, pool: Pool) -> None:
    """The same job ends in order where no owner comes, and isn't held for want of a state."""
    begin(plancton, pool, "count")
    assert printed(pool, "count") == "done, went on at 0\n", log(pool, "count")
    assert "was held" not in log(pool, "count")


def test_saves_now_and_then(
    plancton: Plancton, engine: Engine, pool: Pool, owner: Load, worker_image: str
) -> None:
    """A job that saves after each part of its work does not do all parts once more elsewhere."""
    begin(plancton, pool, "step")
    wait_for("it has saved once", lambda: SENT in log(pool, "step"), every=0.2)
    with outside(plancton, engine, worker_image):
        evict(plancton, pool, owner, "step")
        assert printed(pool, "step") == "done at 100\n"
    afterwards = log(pool, "step").partition("was evicted")[2]
    assert 0 < afterwards.count(SENT) < PARTS, log(pool, "step")
