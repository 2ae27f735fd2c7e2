"""How much work was finished and lost on this host, by the workers' reports; kept on disk.

A report has one line for each job that has ended: how (HTCondor's word: exit, evict, hold or
remove), and the CPU seconds that it had used. Jobs can write anything to it, so no more is believed
than the worker can have done.
"""

import logging
import math
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.files import from_json, read_regular, replace_file, to_json
from plancton.model import Work

log = logging.getLogger(__name__)

LARGEST = 16 << 20
SAVE_INTERVAL = 600.0
"""Seconds between two writes of what was donated; what jobs did is written at once."""
MOST = 1e15
"""Of jobs or CPU seconds, no host has had as many."""
LEAST = 1e-6
"""Less than that is nothing: the kernel counts CPU time in microseconds."""
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?\s*", re.ASCII)


class Report(msgspec.Struct, frozen=True):
    """What became of one worker's jobs so far: how many, and their CPU seconds. ``withdrawn`` jobs
    were held or removed by their user or the pool."""

    done: int = 0
    evicted: int = 0
    withdrawn: int = 0
    cpu_done: float = 0.0
    cpu_lost: float = 0.0

    @property
    def jobs(self) -> int:
        """How many have ended."""
        return self.done + self.evicted + self.withdrawn

    @property
    def cpu(self) -> float:
        return self.cpu_done + self.cpu_lost


class Most(NamedTuple):
    """What a worker can have done so far: how many jobs, and the CPU seconds that it really
    used."""

    jobs: float = math.inf
    cpu: float = math.inf


UNBOUNDED = Most()


class _Kept(msgspec.Struct, frozen=True):
    """The file: the sums, and how much of each worker's report is in them, by its container's id:
    others may rename it."""

    work: Work
    counted: dict[str, Report] = {}


def parse_report(data: bytes) -> Report:
    """Jobs can write to it, so any other line is ignored."""
    found: dict[str, list[float]] = {"exit": [], "evict": [], "hold": [], "remove": []}
    for line in data.decode(errors="replace").splitlines():
        way, _, number = line.partition(" ")
        if way in found and _NUMBER.fullmatch(number):
            found[way].append(float(number))
    done, evicted, held, removed = found.values()
    return Report(len(done), len(evicted), len(held) + len(removed), sum(done), sum(evicted))


class Accounting:
    """This host's sums, kept in a file of the state directory (None: not kept)."""

    def __init__(self, path: Path | None, now: float, wall: float) -> None:
        self._path = path
        kept = _read(path) or _Kept(Work(since=wall))
        self.work, self._counted = kept.work, dict(kept.counted)
        self._next_save = now + SAVE_INTERVAL
        self._failed = False

    def donated(self, cpu: float, now: float) -> None:
        """The slice used this many more CPU seconds."""
        self._add(cpu_donated=cpu)
        if now >= self._next_save:
            self._next_save = now + SAVE_INTERVAL
            self.save()

    def reported(self, container: str, data: bytes, most: Most = UNBOUNDED) -> int:
        """Count what is new in a worker's report, as far as it is possible; how many jobs that
        is."""
        seen, before = parse_report(data), self._counted.get(container, Report())
        # A report that has become shorter was tampered with: nothing is counted twice.
        report = Report(*map(max, msgspec.structs.astuple(seen), msgspec.structs.astuple(before)))
        report = _possible(before, report, most)
        if report != before:
            self._counted[container] = report
            self._add(
                jobs_done=report.done - before.done,
                jobs_evicted=report.evicted - before.evicted,
                cpu_done=report.cpu_done - before.cpu_done,
                cpu_lost=report.cpu_lost - before.cpu_lost,
            )
            self.save()
        return report.jobs - before.jobs

    def lost(self, jobs: int, cpu: float, container: str = "", most: Most = UNBOUNDED) -> None:
        """Jobs ended together with a worker that could not report them."""
        counted = self._counted.get(container, Report())
        jobs = int(min(jobs, max(0.0, most.jobs - counted.jobs)))
        self._add(jobs_evicted=jobs, cpu_lost=min(cpu, max(0.0, most.cpu - counted.cpu)))
        self.save()

    def forget(self, container: str) -> None:
        """The worker is gone, and so is its report."""
        self._counted.pop(container, None)

    def keep(self, containers: set[str]) -> None:
        """Only these workers are left."""
        self._counted = {each: report for each, report in self._counted.items() if each in containers}

    def _add(self, **more: float) -> None:
        self.work = msgspec.structs.replace(
            self.work, **{key: getattr(self.work, key) + value for key, value in more.items()}
        )

    def save(self) -> None:
        if self._path is None:
            return
        try:
            replace_file(self._path, to_json(_Kept(self.work, self._counted)), 0o644)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s: can't be written: %s", self._path, error.strerror)
            self._failed = True


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


def _read(path: Path | None) -> _Kept | None:
    if path is None:
        return None
    try:
        kept = from_json(read_regular(path, LARGEST, follow=False)[0], _Kept)
        if not (_is_a_sum(kept.work) and all(map(_is_a_sum, kept.counted.values()))):
            raise ValueError("a number is not one that Plancton writes")
        return kept
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors
        log.warning("%s: can't be read, counting starts at zero: %s", path, error)
        return None


def _is_a_sum(counted: Work | Report) -> bool:
    """Whether these can be added to for ever."""
    return all(0 <= number < MOST for number in msgspec.structs.astuple(counted))
