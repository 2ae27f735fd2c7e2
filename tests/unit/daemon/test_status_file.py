"""status.json, made from what the loop knows."""

import os
from pathlib import Path

import pytest

from plancton.daemon.run_directory import RunDir
from plancton.daemon.status_file import Facts, StatusFile, worker_statuses
from plancton.model import Decision, Fleet, Observation, Pause, Phase, Wishes, Work, Worker
from plancton.status_reading import read_status
from plancton.workers.roster import Roster
from plancton.workers.usage import Usage

RUNNING = Worker("a", "0123456789abcdef", Phase.RUNNING, cpus=2.0, memory=7, started=100.0)
STARTING = Worker("b")
FLEET = Fleet.of([STARTING, RUNNING])


@pytest.mark.parametrize("frozen", [True, False])
def test_paused(tmp_path: Path, frozen: bool) -> None:
    """A pause is the mode and in the headline; the status says by whom, why, until when, and
    whether the workers are frozen by now."""
    run_dir, asked = RunDir(tmp_path), Wishes(pause="paused by the owner until 18:00")
    for wishes, by, until in ((asked, "owner", 1e9), (Wishes(), "rule", None)):
        seen = Observation(0.0, 0.0, 4.0, owner=1.0, fleet=FLEET, wishes=wishes, frozen=frozen)
        why = wishes.pause or "paused: on battery (62 %)"
        facts = Facts(None, ("image", ""), "answers", (), Work(0.0), pause_until=1e9)
        StatusFile(run_dir, "i", Roster()).publish(seen, Decision(3, "said", paused=why), {}, facts, 1.0)
        status = read_status(tmp_path)
        assert status is not None and status.mode == "paused"
        assert status.sentence.startswith(f"P{why[1:]}; 1 worker is {'frozen' if frozen else 'there'}")
        assert status.pause == Pause(by, why, until, frozen)  # type: ignore[arg-type]


def test_workers() -> None:
    """Oldest first, with what is known of each; ids are shortened as by Docker."""
    usage = {"a": Usage(cpu=1.23456, memory=5)}
    first, second = worker_statuses(FLEET, 1, 160.04, {"a": "/slice/a"}, usage)
    assert (first.name, first.id, first.age, first.fits) == ("a", "0123456789ab", 60.0, True), first
    assert (first.cpu, first.share, first.memory, first.memory_limit) == (1.235, 0.617, 5, 7), first
    assert first.cgroup == "/slice/a", first
    assert (second.name, second.age, second.cpu, second.share) == ("b", None, None, None), second
    assert second.fits is False and second.cgroup == "", second


def test_workers_that_differ() -> None:
    """Which image each has, and how often somebody started it again, is there for each."""
    again = Worker("a", "1", Phase.RUNNING, image="sha256:0123456789abcdef", restarts=2)
    (status,) = worker_statuses(Fleet.of([again]), 1, 0.0, {}, {})
    assert (status.image, status.restarts) == ("0123456789ab", 2), status


def test_only_what_changed_is_made_again(tmp_path: Path) -> None:
    """A thousand workers of whom nothing new is known are not gone through again for a new
    status."""
    fleet = Fleet.of([Worker(f"w{n}", str(n), Phase.RUNNING, started=1.0) for n in range(1000)])
    usage: dict[str, Usage] = {}
    file = StatusFile(RunDir(tmp_path), "i", Roster())
    facts = Facts(None, ("image", "sha256:1"), "answers", (), Work(0.0))

    def ages(boottime: float, fit: int, read: dict[str, Usage]) -> set[float | None]:
        file.say("something new")
        seen = Observation(boottime, boottime, 2000.0, fleet=fleet)
        file.publish(seen, Decision(fit, "said"), read, facts, boottime)
        status = read_status(tmp_path)
        assert status is not None and len(status.workers) == 1000
        return {worker.age for worker in status.workers}

    assert ages(101.0, int("1000"), usage) == {100.0} == ages(201.0, int("1000"), usage)
    assert ages(301.0, int("1000"), {"w1": Usage()}) == {300.0}, "their use was read"


def test_share_is_at_most_all() -> None:
    """A worker that got a little more than its CPUs over an uneven interval has a share of 1."""
    (status,) = worker_statuses(Fleet.of([RUNNING]), 1, 0.0, {}, {"a": Usage(cpu=2.2)})
    assert status.share == 1.0 and status.age == 0.0, status


def test_figures(tmp_path: Path) -> None:
    """A tick's figures are in status.json, rounded; what is unknown stays so."""
    run_dir = RunDir(tmp_path)
    seen = Observation(0.0, 0.0, 4.0, owner=1.23456, idle=None, memory_total=9, slice_anon=4, fleet=FLEET)
    facts = Facts(None, ("image", "sha256:1"), "answers", (), Work(0.0))
    StatusFile(run_dir, "i", Roster()).publish(seen, Decision(3, "said", room=2.76544), {}, facts, 1.0)
    got = read_status(tmp_path)
    assert got is not None
    assert (got.owner, got.idle, got.room, got.fit, got.capacity) == (1.235, None, 2.765, 3, 4.0), got
    assert (got.decision, got.memory_total, got.memory_donated) == ("said", 9, 4), got
    assert (got.pid, got.instance, got.tier) == (os.getpid(), "i", "none"), got


@pytest.mark.parametrize(
    ("jobs", "count", "age"),
    [(None, None, None), ((), 0, None), ((130.0,), 1, 30.0), ((110.0, 150.0), 2, 50.0), ((200.0,), 1, 0.0)],
)
def test_jobs(jobs: tuple[float, ...] | None, count: int | None, age: float | None) -> None:
    """How many jobs, and how long the oldest has run; unknown, none and some are distinct."""
    worker = Worker("a", phase=Phase.RUNNING, started=100.0, jobs=jobs)
    (status,) = worker_statuses(Fleet.of([worker]), 1, 160.0, {}, {})
    assert (status.jobs, status.job_age) == (count, age), status


def test_who_waits_for_cpu() -> None:
    """The list is oldest first; the worker with the most to lose fits, and that may be the
    youngest."""
    idle = Worker("idle", phase=Phase.RUNNING, started=100.0, jobs=())
    working = Worker("working", phase=Phase.RUNNING, started=200.0, jobs=(250.0,))
    seen = [(s.name, s.fits) for s in worker_statuses(Fleet.of([idle, working]), 1, 300.0, {}, {})]
    assert seen == [("idle", False), ("working", True)]


def test_words_of_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What Docker, a label or an image's name brings into a sentence rules no terminal, neither
    from the log nor from the status."""
    file = StatusFile(RunDir(tmp_path), "i", Roster())
    with caplog.at_level("INFO"):
        file.say("image \x1b[2Jevil\n2026 INFO stopped \u202e")
    assert caplog.messages == ["image evil 2026 INFO stopped  "]
