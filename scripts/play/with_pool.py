"""The play of scripts/quickstart --pool: a personal HTCondor pool, jobs of a user, and an owner's
load.

    cd scripts && ../.venv/bin/python -m play.with_pool [SOCKET]

Needs root, a Docker Engine that answers with its command line, mmdebstrap, and Plancton installed
in the interpreter that runs this.
"""

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from plancton.docker.client import Docker
from plancton.docker.errors import NotFound
from plancton.model import Status, Work
from play.personal_pool import LABEL, Event, Pool, PoolError
from play.stage import Stage, cgroups_left, load_rate, owner_load, plancton

SLICE = "plancton_pool"
SOCKET = sys.argv[1] if len(sys.argv) > 1 else "/var/run/docker.sock"
BUILD = Path(__file__).parents[1] / "worker-image" / "build"
JOBS, MOST_WORKERS = 20, 4
ALONE_SECONDS, BESIDE_SECONDS = 6.0, 5.0
GRACE = 10
MODULUS = 1_000_003
# Adds up numbers for a given number of seconds of its own CPU time; what comes out is easy to
# check. Told to go it saves how far it is, and goes on from there elsewhere.
JOB = f"""\
exec perl -e '
  my ($job, $seconds) = @ARGV;
  my ($n, $sum, $used, $told) = (0, 0, 0, 0);
  if (open my $in, "<", "state") {{ ($n, $sum, $used) = split " ", <$in> }}
  my $begun = $n;
  $SIG{{TERM}} = sub {{ $told = 1 }};
  sub cpu {{ my ($user, $system) = times; return $used + $user + $system }}
  while (!$told && cpu() < $seconds) {{ for (1 .. 100000) {{ $sum = ($sum + ++$n) % {MODULUS} }} }}
  open my $out, ">", "state";
  print $out "$n $sum ", cpu(), "\\n";
  exit 1 if $told;
  print "$job $n $sum $begun\\n";
' "$@"
"""
SAVES = {"when_to_transfer_output": "ON_EXIT_OR_EVICT", "transfer_output_files": "state"}
CONFIG = """\
image: {{name: "{image}", refresh: 0s}}
htcondor: {{central_manager: "{manager}", token_file: "{token}", idle_shutdown: 2m, memory: 400MB}}
pool: {{max_workers: {workers}}}
yield: {{grace_kill: {grace}s, grace_spawn: {grace}s, stake: 0}}
docker: {{slice: {slice}, socket: "{socket}"}}
"""


class Jobs:
    """What the pool's log says about the jobs, as far as it was read."""

    def __init__(self) -> None:
        self.seen = 0
        self.running = dict[str, Event]()
        self.evicted = dict[str, Event]()
        self.done = set[str]()
        self.told = dict[str, float]()
        """When Plancton told a worker to leave."""
        self.requeued = list[float]()
        """Seconds from then until its job was in the queue again."""
        self.again = list[float]()
        """Seconds from a job's eviction until it was executed again."""

    def take(self, events: list[Event]) -> Iterator[str]:
        """Read the rest of the log; sentences about what is new."""
        for event in events[self.seen :]:
            sentence = self._one(event)
            if sentence:
                yield f"job {event.job} {sentence} ({len(self.running)} run, {len(self.done)} of {JOBS} done)"
        self.seen = len(events)

    def _one(self, event: Event) -> str:
        if event.kind == "executing":
            self.running[event.job] = event
            before = self.evicted.pop(event.job, None)
            if before is None:
                return f"runs on {event.worker}"
            self.again.append(event.time - before.time)
            return f"runs again, on {event.worker}, {self.again[-1]:.1f} s after it was evicted"
        began = self.running.pop(event.job, None)
        if event.kind == "terminated":
            self.done.add(event.job)
            return "is done"
        if event.kind == "evicted" and began:
            self.evicted[event.job] = event
            if began.worker in self.told:
                self.requeued.append(event.time - self.told[began.worker])
            return f"evicted after {event.time - began.time:.1f} s, is in the queue again"
        if began:  # neither of them ends it
            self.running[event.job] = began
        return f"is {event.kind}: {event.text}" if event.kind in ("held", "disconnected", "removed") else ""


class PoolPlay(Stage):
    """One performance, with its pool."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.pool, self.jobs = Pool(SOCKET, image()), Jobs()
        self.kept = float("nan")
        self.went_on = 0

    def status(self) -> Status:
        status = super().status()
        for event in status.events:
            if match := re.match(r"asking (\S+) to leave", event.text):
                self.jobs.told[match[1]] = event.time
        for sentence in self.jobs.take(self.pool.events()):
            self.say(sentence)
        return status

    def configuration(self, most: int) -> str:
        token = self.paths.config.with_name("token")
        token.touch(0o600)
        token.write_bytes(self.pool.token())
        return CONFIG.format(
            image=self.pool.image,
            manager=self.pool.address,
            token=token,
            workers=most,
            grace=GRACE,
            slice=SLICE,
            socket=SOCKET,
        )

    def give(self) -> Work:
        """Three acts: jobs begin, the owner's load, the rest of the jobs. Returns Plancton's
        totals."""
        cpus = os.cpu_count() or 1
        self.say(f"measuring {cpus} busy processes of the owner, alone, for {ALONE_SECONDS:.0f} s")
        with owner_load(cpus) as load:
            alone = load_rate(load, ALONE_SECONDS, lambda: None)
        with plancton(self, self.configuration(min(cpus, MOST_WORKERS))):
            seconds = {"Seconds": "4 + $(Process) % 3"}
            cluster = self.pool.submit(JOB, "$(Process) $INT(Seconds)", JOBS, **seconds, **SAVES)
            self.say(f"{JOBS} jobs submitted, of 4 to 6 s of CPU time each")
            count = self.gather(min(cpus, MOST_WORKERS))
            self.until(
                "a quarter of the jobs is done",
                300,
                lambda _: len(self.jobs.done) >= JOBS // 4 and len(self.jobs.running) >= count,
            )
            self.say(f"the owner needs the computer: {cpus} busy processes")
            with owner_load(cpus) as load:
                self.kept = load_rate(load, BESIDE_SECONDS, self.status) / alone
                self.until("all workers leave", 120, lambda s: not s.workers)
            self.say("the owner is done")
            self.until("all jobs are done", 600, lambda _: len(self.jobs.done) == JOBS)
            self.until("Plancton has counted them", 120, lambda s: bool(s.work and s.work.jobs_done >= JOBS))
            work = self.status().work or Work(since=0.0)
            results = [result(job, self.pool.output(cluster, job)) for job in range(JOBS)]
            wrong = [job for job, found in enumerate(results) if found is None]
            if wrong:
                self.fail(f"jobs whose output is wrong: {wrong}")
            self.went_on = sum(bool(found) for found in results)
            self.say("the output of all jobs is right; stopping")
        return work


def result(job: int, output: str) -> int | None:
    """The number from which a job went on when it ran for the last time; None if it has not found
    the sum that it should have."""
    words = [int(word) for word in output.split() if word.isdigit()]
    if len(words) != 4 or words[0] != job:
        return None
    _, n, found, begun = words
    return begun if n > 0 and found == n * (n + 1) // 2 % MODULUS else None


class Line(NamedTuple):
    """One line of the table."""

    what: str
    figure: str


def table(play: PoolPlay, work: Work, seconds: float) -> Iterator[Line]:
    jobs = play.jobs
    yield Line("jobs done", f"{work.jobs_done}")
    yield Line("jobs evicted", f"{work.jobs_evicted}")
    yield Line("jobs that went on where they had been evicted", f"{play.went_on}")
    yield Line("worker told to leave → its job queued again", spread(jobs.requeued))
    yield Line("job evicted → executing again", spread(jobs.again))
    yield Line("CPU time of finished jobs", f"{work.cpu_done:.0f} s")
    total = work.cpu_done + work.cpu_lost
    yield Line(
        "CPU time of evicted runs, lost unless saved", f"{work.cpu_lost:.0f} s ({work.cpu_lost / total:.1%})"
    )
    yield Line("of its CPU time the owner kept", f"{play.kept:.1%}")
    yield Line("time in total", f"{seconds:.0f} s")


def spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s, at most {max(seconds):.1f} s" if seconds else "–"


def left_behind(pool: Pool, token: bytes) -> list[str]:
    """This play's containers, networks, volumes and cgroups that still exist."""
    with Docker(SOCKET) as docker:
        found = [
            name
            for label in ("plancton.instance", LABEL)
            for c in docker.containers(label)
            for name in c.names
            if c.image == pool.image
        ]
        found += [name for name in (SLICE, pool.name) if is_network(docker, name)]
        volumes = Path(docker.info().docker_root_dir, "volumes")
    holders = volumes.glob("*/_data/tokens.d/pool")
    return [*found, *map(str, holding(token, holders)), *cgroups_left(SLICE)]


def is_network(docker: Docker, name: str) -> bool:
    try:
        docker.network(name)
    except NotFound:
        return False
    return True


def holding(token: bytes, files: Iterable[Path]) -> Iterator[Path]:
    """The files that contain this pool's token."""
    return (file for file in files if file.read_bytes().strip() == token.strip())


def image() -> str:
    """The worker image, built if needed and loaded into Docker; its tag."""
    made = subprocess.run([BUILD, "--load", SOCKET], stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        sys.exit(made.returncode)
    return made.stdout.splitlines()[1]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and so remove everything
    with tempfile.TemporaryDirectory(prefix="plancton-quickstart-") as directory:
        play = PoolPlay(Path(directory))
        play.say(f"the worker image {play.pool.image} is here")
        with play.pool as pool:
            play.say(f"a pool of its own is up, central manager {pool.address}")
            work = play.give()
        token = play.paths.config.with_name("token").read_bytes()
    print()
    for line in table(play, work, time.monotonic() - play.started):
        print(f"{line.what:<44} {line.figure}")
    left = left_behind(pool, token)
    if left:
        sys.exit(f"quickstart: left behind: {', '.join(left)}")
    print("\nNo container, process, network, volume or cgroup is left behind; the packages, the image")
    print(f"{pool.image} (and its archive in ~/.cache/plancton) and the virtual environment .venv stay.")
    print("Next: plancton init, then plancton run (see README.md).")


if __name__ == "__main__":
    try:
        main()
    except PoolError as error:
        sys.exit(f"quickstart: {error}")
