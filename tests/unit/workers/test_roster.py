"""The roster: workers as known from requests and Docker's messages."""

import pytest

from plancton.docker.replies import Container, ContainerConfig, ContainerState, HostConfig
from plancton.model import Phase, Worker
from plancton.workers import container as containers
from plancton.workers.job_accounting import Most
from plancton.workers.roster import Roster, adopted


def container(name: str = "w1", labels: dict[str, str] | None = None, memory: int = 7_000_000) -> Container:
    return Container(
        id=f"id-of-{name}",
        name=name,
        state=ContainerState(running=True, pid=42),
        config=ContainerConfig(labels=labels or {}),
        host_config=HostConfig(memory=memory, cpu_shares=512),
    )


LABELS = {
    containers.CPUS: "1.5",
    containers.MEMORY: "9000000",
    containers.IMAGE: "sha256:i",
    containers.DIGEST: "d",
}


def test_adopted_from_labels() -> None:
    """A worker's labels say what it was created with, so a changed configuration needs no special
    case."""
    seen = adopted(container(labels=LABELS))
    assert seen == Worker("w1", cpus=1.5, memory=9_000_000, shares=512, image="sha256:i", digest="d")


@pytest.mark.parametrize("number", ["", "many", "nan", "inf", "-inf", "-1", "1e999", "0x10", "١" * 400])
def test_adopted_from_nonsense(number: str) -> None:
    """Nonsensical labels give a worker with sane figures."""
    seen = adopted(container(labels={containers.CPUS: number, containers.MEMORY: number}))
    assert 0.01 <= seen.cpus <= 4096, f"cpus {seen.cpus} from {number!r}"
    assert 0 <= seen.memory < 2**63, f"memory {seen.memory} from {number!r}"


def test_adopted_without_labels() -> None:
    """Without labels, the container's own limits and one CPU count."""
    seen = adopted(container())
    assert (seen.cpus, seen.memory, seen.image, seen.digest) == (1.0, 7_000_000, "", "")


def test_a_life() -> None:
    """Requested, arrived, told, ended, removed: each step shows in the fleet."""
    roster = Roster()
    roster.request(Worker("w1"), 100.0)
    assert [w.phase for w in roster.fleet.workers] == [Phase.STARTING] and "w1" in roster
    entry = roster.arrived(container(), started=100.0, group="plancton/id", shim=7)
    assert (entry.group, entry.shim) == ("plancton/id", 7)
    (worker,) = roster.fleet.workers
    assert (worker.phase, worker.id, worker.started) == (Phase.RUNNING, "id-of-w1", 100.0)
    roster.tell("w1", Phase.LEAVING, now=50.0, timeout=20.0)
    (worker,) = roster.fleet.workers
    assert (worker.phase, worker.told, worker.deadline) == (Phase.LEAVING, 50.0, 70.0)
    assert roster.ended("w1", boottime=160.0)
    assert not roster.unexplained, "it was asked to"
    assert roster.explain("w1", "exit code 0") == "w1 is gone after 1m 00s: exit code 0"
    assert roster.fleet.workers == () and len(roster) == 1, "an ended one is no worker, but not yet removed"
    roster.gone("w1")
    assert len(roster) == 0 and roster.get("w1") is None
    assert roster.take_ended() == (), "one that was told to go is no news"


def test_ended_without_being_told() -> None:
    """An unrequested end is reported once, with its age and reason."""
    roster = Roster()
    roster.arrived(container(), started=100.0, group="g", shim=0)
    assert roster.ended("w1", boottime=103.0)
    assert not roster.ended("w1", boottime=104.0), "the second message of one end"
    assert roster.take_ended() == () and roster.unexplained, "nobody knows yet how it ended"
    assert roster.explain("w1", "exit code 1") == "w1 ended after 3s: exit code 1"
    assert not roster.unexplained
    (ended,) = roster.take_ended()
    assert (ended.name, ended.age, ended.reason) == ("w1", 3.0, "exit code 1")
    assert roster.take_ended() == (), "it is told once"


def test_end_before_arrival() -> None:
    """If Docker's event of the end comes before the answer to the start, the worker stays ended."""
    roster = Roster()
    roster.request(Worker("w1"), 100.0)
    assert roster.ended("w1", boottime=103.0)
    entry = roster.arrived(container(), started=100.0, group="", shim=0)
    assert entry.worker.phase is Phase.ENDED and entry.worker.id == "id-of-w1", f"seen: {entry.worker}"
    assert roster.fleet.workers == ()


def test_told_before_arrival() -> None:
    """A worker retired while it is being created arrives as leaving."""
    roster = Roster()
    roster.request(Worker("w1"), 100.0)
    roster.tell("w1", Phase.LEAVING, 1.0, 20.0)
    assert roster.arrived(container(), 1.0, "g", 0).worker.phase is Phase.LEAVING


def test_departures() -> None:
    """Whoever wants to know hears of each worker that is gone, once: its age, whether it was started,
    and whether it was told to go."""
    heard = list[tuple[float, bool, bool]]()
    roster = Roster(lambda *departure: heard.append(departure))
    for name, told in (("w1", False), ("w2", True)):
        roster.arrived(container(name), started=100.0, group="g", shim=0)
        if told:
            roster.tell(name, Phase.LEAVING, 1.0, 20.0)
        roster.ended(name, boottime=103.0)
        roster.explain(name, "exit code 1", unseen=told)
        roster.gone(name)
    roster.request(Worker("w3"), 100.0)
    roster.failed("w3", "no space left", 107.0)
    assert heard == [(3.0, True, False), (3.0, True, True), (0.0, False, False)]


def test_median_life() -> None:
    """How long workers lived until they were told to go is known once some have; the others were not
    the host's choice."""
    roster = Roster()
    for age, told in ((9.0, False), (1.0, True), (2.0, True), (3.0, True), (40.0, True), (50.0, True)):
        assert roster.median_life is None
        roster.arrived(container("w"), started=100.0, group="g", shim=0)
        if told:
            roster.tell("w", Phase.LEAVING, 1.0, 20.0)
        roster.ended("w", boottime=100.0 + age)
        roster.explain("w", "exit code 0")
        roster.gone("w")
    assert roster.median_life == 3.0


def test_start_that_failed() -> None:
    """A failed start is an end as old as the wait; if told to go, it is not reported."""
    roster = Roster()
    for name in ("w1", "w2"):
        roster.request(Worker(name), 100.0)
    roster.tell("w2", Phase.LEAVING, 1.0, 20.0)
    roster.failed("w1", "no space left", 107.0)
    roster.failed("w2", "no space left", 107.0)
    roster.failed("w3", "never heard of", 107.0)
    assert [(e.name, e.age, e.reason) for e in roster.take_ended()] == [("w1", 7.0, "no space left")]
    assert len(roster) == 0


def test_clock_that_jumps() -> None:
    """A start time after the end gives age zero, not a negative one."""
    roster = Roster()
    roster.arrived(container(), started=200.0, group="g", shim=0)
    roster.ended("w1", boottime=100.0)
    roster.explain("w1", "x")
    assert [ended.age for ended in roster.take_ended()] == [0.0]


def test_end_without_an_explanation() -> None:
    """A worker removed before its end was explained is not waited for."""
    roster = Roster()
    roster.arrived(container(), started=100.0, group="g", shim=0)
    roster.ended("w1", boottime=103.0)
    assert roster.unexplained
    roster.gone("w1")
    assert not roster.unexplained


def test_unknown_names() -> None:
    """Messages about unknown containers change nothing."""
    roster = Roster()
    assert not roster.ended("x", 1.0)
    assert not roster.note_jobs("x", (1.0,), 1.0)
    roster.tell("x", Phase.KILLED, 1.0, 1.0)
    roster.change("x", busy=True)
    roster.gone("x")
    assert len(roster) == 0 and roster.take_ended() == ()


def test_fleet_is_made_once() -> None:
    """The fleet and its sums are rebuilt only after a change: a quiet tick costs nothing."""
    roster = Roster()
    roster.request(Worker("w1"), 100.0)
    first = roster.fleet
    assert roster.fleet is first
    roster.change("w1", busy=True)
    assert roster.fleet is not first and roster.fleet.workers[0].busy


def test_changed_while_walked() -> None:
    """Entries may go during iteration."""
    roster = Roster()
    for n in range(3):
        roster.request(Worker(f"w{n}"), 100.0)
    for entry in roster:
        roster.gone(entry.worker.name)
    assert len(roster) == 0


# ---------------------------------------------------------------- jobs


def pilot(roster: Roster, name: str = "w1") -> None:
    """A running pool worker."""
    labels = {containers.POOL: containers.HTCONDOR}
    roster.arrived(container(name, labels), started=100.0, group="g", shim=0)


def test_adopted_pilot() -> None:
    """The label says whether a worker reports jobs; without it, they are unknown."""
    assert adopted(container(labels={containers.POOL: containers.HTCONDOR})).jobs == ()
    assert adopted(container(labels={containers.POOL: "boinc"})).jobs is None
    assert adopted(container()).jobs is None


def test_jobs_are_noted() -> None:
    """A worker's jobs show in the fleet; the end of one is reported, and that it worked stays
    known."""
    roster = Roster()
    pilot(roster)
    assert not roster.note_jobs("w1", (), 0.0) and not roster.fleet.workers[0].worked
    assert not roster.note_jobs("w1", (150.0,), 7.0)
    (worker,) = roster.fleet.workers
    assert (worker.jobs, worker.worked) == ((150.0,), True) and roster["w1"].job_cpu == 7.0
    assert not roster.note_jobs("w1", (150.0, 160.0), 8.0), "one more is no end"
    assert roster.note_jobs("w1", (160.0,), 9.0)
    assert roster.note_jobs("w1", (170.0,), 1.0), "one ended and another began between two looks"
    assert roster.note_jobs("w1", (), 0.0)
    assert roster.fleet.workers[0].jobs == () and roster.fleet.workers[0].worked
    assert not roster.note_jobs("w1", (), 0.0)


def test_same_jobs_change_nothing() -> None:
    """Unchanged jobs leave the fleet as it was: a quiet tick costs nothing."""
    roster = Roster()
    pilot(roster)
    roster.note_jobs("w1", (150.0,), 1.0)
    before = roster.fleet
    assert not roster.note_jobs("w1", (150.0,), 2.0)
    assert roster.fleet is before and roster["w1"].job_cpu == 2.0


def test_stake() -> None:
    """What would be lost with its jobs is the worker's stake, which changes when that is news."""
    roster = Roster()
    pilot(roster)
    roster.note_jobs("w1", (150.0,), 1_000.0)
    assert roster.fleet.workers[0].stake == 1_000.0
    roster.note_jobs("w1", (150.0,), 1_020.0)
    assert roster.fleet.workers[0].stake == 1_000.0
    roster.note_jobs("w1", (150.0,), 1_100.0)
    assert roster.fleet.workers[0].stake == 1_100.0
    roster.note_jobs("w1", (), 0.0)
    assert roster.fleet.workers[0].stake == 0.0


def test_plain_workers_have_no_jobs() -> None:
    """A worker without a pool has no jobs, whatever its processes are called."""
    roster = Roster()
    roster.arrived(container(), started=100.0, group="g", shim=0)
    assert not roster.note_jobs("w1", (150.0,), 7.0) and roster.fleet.workers[0].jobs is None


def test_ended_keeps_its_jobs() -> None:
    """A worker's jobs stay known after its end, so that lost ones can be counted."""
    roster = Roster()
    pilot(roster)
    roster.note_jobs("w1", (150.0,), 7.0)
    roster.ended("w1", 200.0)
    assert not roster.note_jobs("w1", (), 0.0)
    assert roster["w1"].worker.jobs == (150.0,) and roster["w1"].job_cpu == 7.0


def test_age_is_that_of_the_end() -> None:
    """A worker's age is that at its end, however late its end is explained."""
    roster = Roster()
    pilot(roster)
    roster.ended("w1", 130.0)
    said = roster.explain("w1", "exit code 75: no work", idle=True)
    assert said == "w1 ended after 30s: exit code 75: no work"
    (ended,) = roster.take_ended()
    assert (ended.age, ended.idle, ended.reason) == (30.0, True, "exit code 75: no work")


def test_idle_that_was_told() -> None:
    """The end of a worker that was told to go is not reported, whatever its exit code."""
    roster = Roster()
    pilot(roster)
    roster.tell("w1", Phase.LEAVING, 1.0, 20.0)
    roster.ended("w1", 130.0)
    assert roster.explain("w1", "exit code 75", idle=True) == "w1 is gone after 30s: exit code 75"
    assert roster.take_ended() == ()


def test_end_that_nobody_saw() -> None:
    """A worker that ended while Docker was away is not a failure: Docker may have caused it."""
    roster = Roster()
    roster.request(Worker("w1"), 1.0)
    assert roster.ended("w1", 10.0)
    assert "ended after" in roster.explain("w1", "exit code 0", unseen=True)
    assert roster.take_ended() == ()


def test_what_a_worker_can_have_done() -> None:
    """As much CPU as the kernel saw it use, and all that it may use since then; at most a few jobs
    each second."""
    roster = Roster()
    entry = roster.arrived(container(labels=LABELS), 1_000.0, "g", 0)
    assert entry.most(1_010.0) == Most(1 + 10 * 2 * 1.5, 15.0), "1.5 CPUs for 10 s"
    roster.note_used("w1", 2.0, 1_008.0)
    assert entry.most(1_010.0).cpu == 2.0 + 1.5 * 2
    roster.ended("w1", 1_010.0)
    assert entry.most(9_999.0).cpu == 2.0 + 1.5 * 2, "it has ended"
    roster.note_used("strange", 2.0, 1_008.0)
