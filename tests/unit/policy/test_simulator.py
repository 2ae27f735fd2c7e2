"""Simulated workers: decisions are carried out by the next tick."""

import msgspec

from plancton.model import Observation, Phase, Settings
from plancton.policy.simulator import START_TIME, Simulator

SETTINGS = Settings(grace_kill=30.0, grace_spawn=15.0, lifetime=100.0, finish_timeout=1_000.0)


def run(simulator: Simulator, begin: int, end: int, owner: float = 0.0) -> None:
    """One tick per second on a host of two CPUs."""
    for second in range(begin, end):
        now, idle = float(second), 2.0 - owner
        seen = Observation(now, now, 2.0, interval=1.0, owner=owner, idle=idle, image="image", digest="d")
        simulator.tick(msgspec.structs.replace(seen, fleet=simulator.fleet))


def test_a_start() -> None:
    """A new worker runs, as the settings and the tick say."""
    simulator = Simulator(SETTINGS, "host")
    run(simulator, 0, 20)
    assert list(simulator.workers) == ["host-1", "host-2"]
    for worker in simulator.workers.values():
        assert (worker.phase, worker.image, worker.digest) == (Phase.RUNNING, "image", "d")
        assert (worker.cpus, worker.memory) == (SETTINGS.worker_cpus, SETTINGS.worker_memory)
        assert worker.started is not None and (worker.started - START_TIME).is_integer()


def test_an_owner() -> None:
    """Workers that don't fit lose their shares, then leave."""
    simulator = Simulator(SETTINGS)
    run(simulator, 0, 20)
    run(simulator, 20, 35, owner=2.0)
    assert {w.shares for w in simulator.workers.values()} == {2}
    run(simulator, 35, 100, owner=2.0)
    assert not simulator.workers


def test_who_has_a_job_finishes_it() -> None:
    """A worker with a job ends it first; one without is gone, and another takes its place."""
    simulator = Simulator(SETTINGS)
    run(simulator, 0, 20)
    simulator.change("worker-1", jobs=(20.0,), worked=True)
    run(simulator, 20, 200)
    assert simulator.workers["worker-1"].phase is Phase.FINISHING
    assert "worker-2" not in simulator.workers and "worker-3" in simulator.workers
    simulator.remove("worker-1")
    assert [w.name for w in simulator.fleet.workers] == list(simulator.workers)


def test_a_quota() -> None:
    """In tier quota, the limits reach the workers."""
    simulator = Simulator(Settings(uses_quota=True))
    run(simulator, 0, 30)
    run(simulator, 30, 40, owner=1.0)
    quotas = [w.quota for w in simulator.workers.values()]
    assert len(quotas) == 2 and sum(quota or 1.0 for quota in quotas) <= 1.0, quotas
