"""Makes status.json of what the loop knows. Pure."""

from collections.abc import Iterable, Mapping

import msgspec

from plancton.model import Decision, Fleet, Observation, Phase, Status, Worker, WorkerStatus


class Reading(msgspec.Struct, frozen=True):
    """One worker's own figures, read every few seconds: CPUs, bytes, CPUs of its shim, the starts of its
    running jobs, and the CPU seconds used since the oldest began."""

    cpu: float | None = None
    memory: float | None = None
    shim: float | None = None
    jobs: tuple[float, ...] | None = None
    job_cpu: float = 0.0


def headline(seen: Observation, fit: int) -> str:
    """The sentence that people see first."""
    donated = "an unknown part" if seen.donated is None else f"{seen.donated:.1f}".removesuffix(".0")
    owner = "an unknown part" if seen.owner is None else f"{seen.owner:.1f}"
    running = sum(w.phase is not Phase.STARTING for w in seen.fleet.workers)
    workers = f"{running} worker{'' if running == 1 else 's'} running"
    return f"Donating {donated} of {seen.capacity:g} CPUs; the owner uses {owner}; {workers}, {fit} fit."


def worker_statuses(
    fleet: Fleet, fit: int, boottime: float, groups: Mapping[str, str], readings: Mapping[str, Reading]
) -> Iterable[WorkerStatus]:
    """The workers, oldest first."""
    fitting = {w.name for w in fleet.line[:fit]}
    for worker in fleet.workers:
        yield _worker_status(
            worker, worker.name in fitting, boottime, groups, readings.get(worker.name, Reading())
        )


def _worker_status(
    worker: Worker, fits: bool, boottime: float, groups: Mapping[str, str], reading: Reading
) -> WorkerStatus:
    cpu = reading.cpu
    return WorkerStatus(
        name=worker.name,
        id=worker.id[:12],
        phase=worker.phase,
        cpus=worker.cpus,
        memory_limit=worker.memory,
        age=None if worker.started is None else round(max(0.0, boottime - worker.started), 1),
        cpu=None if cpu is None else round(cpu, 3),
        share=None if cpu is None else round(min(1.0, cpu / worker.cpus), 3),
        memory=None if reading.memory is None else int(reading.memory),
        fits=fits,
        cgroup=groups.get(worker.name, ""),
        jobs=None if worker.jobs is None else len(worker.jobs),
        job_age=round(max(0.0, boottime - worker.jobs[0]), 1) if worker.jobs else None,
    )


def with_rates(status: Status, seen: Observation, decision: Decision) -> Status:
    """The status with one tick's figures."""
    return msgspec.structs.replace(
        status,
        sentence=headline(seen, decision.fit),
        decision=decision.sentence,
        capacity=seen.capacity,
        fit=decision.fit,
        max_workers=seen.max_workers,
        owner=_rounded(seen.owner),
        donated=_rounded(seen.donated),
        engine=_rounded(seen.engine),
        stolen=_rounded(seen.stolen),
        idle=_rounded(seen.idle),
        room=_rounded(decision.room),
        memory_total=seen.memory_total,
        memory_available=seen.memory_available,
        memory_donated=seen.slice_anon,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
