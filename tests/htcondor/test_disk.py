"""What a pool's jobs get of the disk: what their slot has promised, and no job takes another's."""

import os
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for
from htcondor.harness import HELD, Pool, calm, running, wait_for_event

pytestmark = pytest.mark.docker

KIB, MIB = 1024, 1024 * 1024
WRITES = "head -c 60000000 /dev/zero >big; sleep 600"


def free_for_workers(engine: Engine, plancton: Plancton) -> int:
    """Bytes that are free where workers write, beside the owner's reserve."""
    disk = os.statvfs(engine.directory / "data")
    reserve = disk.f_blocks * disk.f_frsize // 20
    plancton.configure(owner={"reserve_disk": f"{reserve}B"})
    return disk.f_bavail * disk.f_frsize - reserve


@pytest.mark.slow
def test_four_jobs_ask_for_most_of_it(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Of four jobs that each ask for five sixths of the disk one gets it; the others wait, and so
    do the workers that they would need."""
    calm(plancton, 4)
    free = free_for_workers(engine, plancton)
    plancton.configure(htcondor={"cpus": 0.25, "disk": f"{free * 85 // 100 // MIB}MiB"})
    pool.submit(HELD, count=4, request_disk=f"{free * 80 // 100 // KIB}KB")
    plancton.start()
    running(pool, 1)
    wait_for("it is said", lambda: "promised" in plancton.status_json()["decision"], every=0.3)
    assert len(plancton.status_json()["workers"]) == 1
    assert pool.queue()[:2] == (3, 1), pool.describe()


def test_each_has_its_part(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """Without a figure of its own each worker promises a part, and all together no more than is
    free beside the owner's reserve."""
    calm(plancton, 2)
    free = free_for_workers(engine, plancton)
    plancton.start()
    plancton.full(2)
    wait_for("both are in the pool", lambda: len(pool.slots()) == 2, every=0.5)
    parts = [int(part) * KIB for part in pool.run("condor_status", "-af", "Disk").split()]
    least, most = sorted((free, free_for_workers(engine, plancton)))  # others write and free meanwhile
    assert sum(parts) <= most + 256 * MIB, f"{parts} of {most}"
    assert min(parts) >= least // 4, f"{parts} of {least}"


@pytest.mark.slow
def test_more_than_its_part(plancton: Plancton, pool: Pool, tmp_path: Path) -> None:
    """A job that writes more than its slot has of the disk is held, with the remedy."""
    files = tmp_path / "condor"
    files.mkdir(mode=0o755)
    (files / "often").write_text("STARTER_UPDATE_INTERVAL = 5\n")
    calm(plancton)
    plancton.configure(htcondor={"config_dir": str(files)})
    pool.submit(WRITES)
    plancton.start()
    wait_for_event(pool, "held")
    held = pool.jobs("HoldReasonCode", "HoldReasonSubCode", "HoldReason")
    assert held[0].startswith("21 104 ") and "request_disk" in held[0], held
