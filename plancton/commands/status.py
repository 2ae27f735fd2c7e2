"""What `plancton status` says, as lines of text. Pure."""

from collections.abc import Iterator

from plancton.model import Phase, Status, Work, WorkerStatus
from plancton.status_reading import STALE
from plancton.units import human_bytes, human_seconds, local_time


def status_lines(status: Status, now: float) -> Iterator[str]:
    """`plancton status`: the headline, what is wrong, then the workers. ``now`` is Unix time."""
    yield status.sentence
    tier = str(status.tier)
    if status.memory_ceiling is not None:
        tier += f", at most {human_bytes(status.memory_ceiling)} of memory"
    if status.cap is not None:
        tier += f", at most {status.cap.cpus:g} CPUs ({status.cap.reason})"
    yield f"Mode: {status.mode}; tier: {tier}; last decision: {status.decision}."
    if now - status.time > STALE:
        yield f"The supervisor (pid {status.pid}) has said nothing for {human_seconds(now - status.time)}."
    if status.work is not None:
        yield _work_line(status.work)
    for problem in status.problems:
        yield f"! {problem}"
    if status.workers:
        yield ""
        yield f"{'WORKER':<24} {'AGE':>8} {'CPU':>6} {'OF ITS':>7} {'MEMORY':>9}  STATE"
    for worker in status.workers:
        yield _worker_line(worker)


def _worker_line(worker: WorkerStatus) -> str:
    cpu = "–" if worker.cpu is None else f"{worker.cpu:.0%}"
    share = "–" if worker.share is None else f"{worker.share:.0%}"
    state = str(worker.phase)
    if worker.jobs is not None:
        jobs = "job" if worker.jobs == 1 else f"{worker.jobs} jobs"
        state += f", {jobs} for {human_seconds(worker.job_age)}" if worker.jobs else ", no job"
    if worker.phase is Phase.RUNNING and not worker.fits:
        state += ", waits for CPU"
    state += ", paused" if worker.paused else ""
    state += ", stuck: it can't be killed" if worker.stuck else ""
    memory = human_bytes(worker.memory)
    return f"{worker.name:<24} {human_seconds(worker.age):>8} {cpu:>6} {share:>7} {memory:>9}  {state}"


def _work_line(work: Work) -> str:
    since = local_time(work.since, "%Y-%m-%d")
    line = f"Since {since}: {human_seconds(work.cpu_donated)} of CPU time donated"
    if work.jobs_done or work.jobs_evicted:
        line += f"; {work.jobs_done} jobs done, {work.jobs_evicted} evicted"
        line += f" (lost with them: {human_seconds(work.cpu_lost)} of CPU time)"
    return f"{line}."
