"""How much work was finished and lost on this host, by the workers' reports.

A report has one line for each job that has ended: how (HTCondor's word: exit, evict, hold or
remove), the CPU seconds that it had used, and, unless the image is somebody else's, when the process
that HTCondor keeps for it began, which is a worker's job in `workers.jobs`. Jobs can write anything to
it, so no more is believed than the worker can have done.
"""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from plancton.model import Kept, Report

LEAST = 1e-6
"""Less than that is nothing: the kernel counts CPU time in microseconds."""
_FIGURES = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?)(?: [0-9]{1,12}\.[0-9]{2})?\s*", re.ASCII)
_BEGAN = re.compile(rb"^\w+ [0-9.]+ ([0-9]{1,12}\.[0-9]{2})$", re.MULTILINE)
LAST = 256
"""How many jobs are remembered by when they began: more than run in a worker."""


class Most(NamedTuple):
    """What a worker can have done so far: how many jobs, and the CPU seconds that it really used."""

    jobs: float = math.inf
    cpu: float = math.inf


UNBOUNDED = Most()


def parse_report(data: bytes) -> Report:
    """Jobs can write to it, so any other line is ignored."""
    found: dict[str, list[float]] = {"exit": [], "evict": [], "hold": [], "remove": []}
    for line in data.decode(errors="replace").splitlines():
        way, _, figures = line.partition(" ")
        if way in found and (numbers := _FIGURES.fullmatch(figures)):
            found[way].append(float(numbers[1]))
    done, evicted, held, removed = found.values()
    return Report(len(done), len(evicted), len(held) + len(removed), sum(done), sum(evicted))


def reported_jobs(data: bytes) -> set[float]:
    """The last jobs that it tells of, as far as it says which."""
    return {float(began) for began in _BEGAN.findall(data)[-LAST:]}


class Accounting:
    """This host's sums. ``save`` is called when a job has ended, so that it is never forgotten."""

    def __init__(self, kept: Kept, save: Callable[[], None] = lambda: None) -> None:
        self.work, self.counted, self._save = kept.work, kept.counted, save

    @property
    def kept(self) -> Kept:
        """All that is to be kept. What is counted is never changed in place: who has it, has it as it was."""
        return Kept(self.work, self.counted)

    def resume(self, kept: Kept) -> None:
        """Go on from these sums instead."""
        self.work, self.counted = kept.work, kept.counted

    def donated(self, cpu: float) -> None:
        """The slice used this many more CPU seconds."""
        self._add(cpu_donated=cpu)

    def reported(self, container: str, data: bytes, most: Most = UNBOUNDED) -> int:
        """Count what is new in a worker's report, as far as it is possible; how many jobs that is."""
        seen, before = parse_report(data), self.counted.get(container, Report())
        # A report that has become shorter was tampered with: nothing is counted twice.
        report = Report(*map(max, msgspec.structs.astuple(seen), msgspec.structs.astuple(before)))
        report = _possible(before, report, most)
        if report != before:
            self.counted = {**self.counted, container: report}
            self._add(
                jobs_done=report.done - before.done,
                jobs_evicted=report.evicted - before.evicted,
                cpu_done=report.cpu_done - before.cpu_done,
                cpu_lost=report.cpu_lost - before.cpu_lost,
            )
            self._save()
        return report.jobs - before.jobs

    def lost(self, jobs: int, cpu: float, container: str = "", most: Most = UNBOUNDED) -> None:
        """Jobs ended together with a worker that could not report them."""
        counted = self.counted.get(container, Report())
        jobs = int(min(jobs, max(0.0, most.jobs - counted.jobs)))
        self._add(jobs_evicted=jobs, cpu_lost=min(cpu, max(0.0, most.cpu - counted.cpu)))
        self._save()

    @property
    def lost_part(self) -> float | None:
        """The part of jobs' CPU time that was lost; None as long as no job has ended."""
        whole = self.work.cpu_done + self.work.cpu_lost
        return self.work.cpu_lost / whole if whole >= LEAST else None

    def forget(self, container: str) -> None:
        """The worker is gone, and so is its report."""
        self.keep(self.counted.keys() - {container})

    def keep(self, containers: set[str]) -> None:
        """Only these workers are left."""
        if not containers.issuperset(self.counted):
            self.counted = {each: report for each, report in self.counted.items() if each in containers}

    def _add(self, **more: float) -> None:
        self.work = msgspec.structs.replace(
            self.work, **{key: getattr(self.work, key) + value for key, value in more.items()}
        )


def _possible(before: Report, report: Report, most: Most) -> Report:
    """The report with no more in it than is possible: what is new is cut in proportion."""
    jobs = _part(most.jobs - before.jobs, report.jobs - before.jobs)
    cpu = _part(most.cpu - before.cpu, report.cpu - before.cpu)
    if jobs == cpu == 1.0:
        return report
    parts = jobs, jobs, jobs, cpu, cpu
    old, new = msgspec.structs.astuple(before), msgspec.structs.astuple(report)
    cut = [a + (b - a) * part for a, b, part in zip(old, new, parts, strict=True)]
    return Report(*map(int, cut[:3]), *cut[3:])


def _part(possible: float, claimed: float) -> float:
    possible = possible if possible >= LEAST else 0.0
    return min(1.0, possible / claimed) if claimed > 0 else 1.0
