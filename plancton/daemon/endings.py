"""What becomes of a worker whose container has ended: its last words, its jobs, its removal."""

from functools import partial
from time import CLOCK_BOOTTIME, clock_gettime

from plancton.daemon.context import Context
from plancton.daemon.lift import Lift
from plancton.daemon.removals import Removals
from plancton.docker.errors import DockerError
from plancton.model import Phase
from plancton.workers.docker_calls import Remains, examine, read_report
from plancton.workers.job_accounting import reported_jobs
from plancton.workers.roster import Entry

NO_WORK = 75
"""Exit code of a worker that found no work."""


class Endings:
    """Only the loop calls it."""

    def __init__(self, context: Context, lift: Lift, removals: Removals) -> None:
        self._context, self._roster = context, context.roster
        self._lift, self._removals = lift, removals
        self._unread: dict[str, bool] = {}
        """Whose reports are to be read, and whether for the jobs in them."""
        self._fetching = False

    def ended(self, name: str, code: int | None, reason: str, boottime: float, unseen: bool = False) -> None:
        """A worker's container has ended: end its lift, read its last words, say so, remove it.

        ``unseen``: it ended while Docker was away, perhaps because Docker itself ended.
        """
        if not self._roster.ended(name, boottime):
            return
        self._lift.ended(name)
        worker = self._roster[name].worker
        if worker.told is not None and worker.jobs is None:
            self._examined(name, code, reason, unseen, None, None)
            return
        self._roster.change(name, busy=True)
        call = partial(examine, container=worker.id or name, reports=worker.jobs is not None)
        done = partial(self._examined, name, code, reason, unseen)
        self._context.cleanup_queue.submit(call, done, urgent=True)

    def _examined(
        self,
        name: str,
        code: int | None,
        reason: str,
        unseen: bool,
        found: Remains | None,
        error: DockerError | None,
    ) -> None:
        entry = self._roster.get(name)
        if entry is None:
            return
        self._roster.change(name, busy=False)
        if found and found.words:
            reason = f"{reason}: {found.words}"
        report = found.report if found else None
        self.lose(entry, 0 if report is None else self._count(entry, report))
        if code not in (0, NO_WORK):
            self._roster.died(name)
        self._context.say(self._roster.explain(name, reason, idle=code == NO_WORK, unseen=unseen))
        self._context.cleanup_trouble(error)
        self._removals.remove(name)

    def _count(self, entry: Entry, report: bytes) -> int:
        self._context.speed.reported(entry.worker.name, entry.worker.image, report)
        most = entry.most(clock_gettime(CLOCK_BOOTTIME))
        entry.reported = reported_jobs(report)
        return self._context.accounting.reported(entry.worker.id, report, most)

    def lose(self, entry: Entry, told: int = 0) -> None:
        """This worker will report no more jobs: those that ran are lost, except those that it has
        reported, which are ``told`` of them if it does not say which."""
        jobs = entry.worker.jobs or ()
        left = sum(job not in entry.reported for job in jobs) - (0 if entry.reported else told)
        if left > 0:
            lost, cpu = left, entry.job_cpu * left / len(jobs)
            most = entry.most(clock_gettime(CLOCK_BOOTTIME))
            self._context.accounting.lost(lost, cpu, entry.worker.id, most)

    def vanished(self, name: str, reason: str, boottime: float) -> None:
        """A worker's container no longer exists, and nobody can say how it ended."""
        if entry := self._roster.get(name):
            phase = entry.worker.phase
            if phase is Phase.ENDED and entry.worker.busy and not entry.removing:
                return  # it is being examined: the result of that tells the rest
            if phase is Phase.STARTING and not entry.worker.id:
                return  # its start is under way, or has failed and is being undone
            if self._roster.ended(name, boottime):
                self.lose(entry)
                self._roster.died(name)
                self._context.say(self._roster.explain(name, reason))
        self._removals.gone(name)

    # ------------------------------------------------------------ reports of those that run

    def fetch_report(self, name: str) -> None:
        """Soon count the jobs that a running worker reports: a report costs dockerd 55 ms of CPU."""
        self._unread[name] = True

    def fetch_next(self) -> None:
        """Read the report that has waited longest, unless one is being read."""
        if self._context.speed.is_due(self._context.clock()):
            self._unread.setdefault(self._context.speed.measurer, False)
        while self._unread and not self._fetching:
            name, jobs = next(iter(self._unread.items()))
            del self._unread[name]
            entry = self._roster.get(name)
            if entry is not None and entry.worker.id and entry.worker.phase is not Phase.ENDED:
                self._fetching = True
                call = partial(read_report, container=entry.worker.id)
                self._context.cleanup_queue.submit(call, partial(self._fetched, name, jobs))

    def _fetched(self, name: str, jobs: bool, report: bytes | None, error: DockerError | None) -> None:
        self._fetching = False
        if report is not None and (entry := self._roster.get(name)):
            if jobs:
                self._count(entry, report)
            else:  # a job in it that is not known to have ended would count as lost later, too
                self._context.speed.reported(entry.worker.name, entry.worker.image, report)
        self._context.cleanup_trouble(error)
