"""Finished and lost jobs are counted once, whatever jobs write and however often it is read."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plancton.model import Kept, Report, Work
from plancton.workers.job_accounting import Accounting, Most, parse_report

SINCE = 1_763_845_453.0


def accounting() -> Accounting:
    return Accounting(Kept(Work(SINCE)))


# ---------------------------------------------------------------- reports


def test_report() -> None:
    """One line per ended job: those that ended by themselves are done, evicted ones are lost."""
    seen = parse_report(b"exit 10.5\nevict 3.0\nexit 0.0\nevict 1.5\n")
    assert seen == Report(done=2, evicted=2, cpu_done=10.5, cpu_lost=4.5)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"exit",
        b"exit ",
        b"exit x",
        b"exit 1 2",
        b"exit\t5",
        b" exit 5",
        b"Exit 5",
        b"exit nan",
        b"exit inf",
        b"exit -inf",
        b"exit -1",
        b"exit 1e9",
        b"exit 1e999",
        b"exit " + b"9" * 100_000,
        b"5 exit",
        b"\xff\xfe\x00\x00",
        b"exit \xff5",
    ],
    ids=lambda line: ascii(line[:20]),
)
def test_junk(line: bytes) -> None:
    """Jobs can write anything: lines that are not a report's are ignored, and the rest counts."""
    assert parse_report(b"exit 1.0\n" + line + b"\nevict 2.0\n") == Report(1, 1, cpu_done=1.0, cpu_lost=2.0)


def test_withdrawn() -> None:
    """A job that its user holds or removes has ended, but is neither done nor lost."""
    seen = parse_report(b"hold 5\nremove 5\nexit 1.0\n")
    assert seen == Report(1, 0, withdrawn=2, cpu_done=1.0) and seen.jobs == 3


def test_the_part_that_is_lost() -> None:
    """It is known once a job has ended."""
    it = accounting()
    assert it.lost_part is None
    it.reported("w1", b"exit 6\nevict 2\nremove 9\n")
    assert it.lost_part == 0.25


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Whatever the bytes, the figures are finite, not negative, and can be saved."""
    it = accounting()
    it.reported("w1", data)
    assert msgspec.json.decode(msgspec.json.encode(it.work), type=Work) == it.work
    counts = msgspec.structs.astuple(it.work)
    assert all(0 <= count < 1e300 for count in counts), f"counted: {it.work}"


# ---------------------------------------------------------------- counting


def test_reports_are_cumulative() -> None:
    """A report read again adds only what is new in it."""
    it = accounting()
    for _ in range(3):
        it.reported("w1", b"exit 10\n")
    it.reported("w1", b"exit 10\nevict 2\n")
    it.reported("w1", b"exit 10\nevict 2\n")
    assert it.work == Work(SINCE, jobs_done=1, jobs_evicted=1, cpu_done=10.0, cpu_lost=2.0), it.work


def test_each_worker_has_its_own() -> None:
    """The same lines from two workers are two jobs."""
    it = accounting()
    for name in ("w1", "w2"):
        it.reported(name, b"exit 10\n")
    assert (it.work.jobs_done, it.work.cpu_done) == (2, 20.0), it.work


def test_line_that_is_read_half_written() -> None:
    """A number that grows between two reads is one job with the last number."""
    it = accounting()
    for data in (b"exit 1", b"exit 123", b"exit 123.4\n"):
        it.reported("w1", data)
    assert (it.work.jobs_done, it.work.cpu_done) == (1, 123.4), it.work


@pytest.mark.parametrize("meanwhile", [b"", b"exit 1\n", b"\0" * 100])
def test_report_that_becomes_shorter(meanwhile: bytes) -> None:
    """A report that was unreadable once, or was tampered with, is not counted again afterwards."""
    it, whole = accounting(), b"exit 10\nexit 20\nevict 5\n"
    for data in (whole, meanwhile, whole, meanwhile, whole):
        it.reported("w1", data)
    assert it.work == Work(SINCE, jobs_done=2, jobs_evicted=1, cpu_done=30.0, cpu_lost=5.0), it.work


def test_lost() -> None:
    """Jobs that ended with a killed worker count as evicted, with what they had used."""
    it = accounting()
    it.lost(2, 33.0)
    assert (it.work.jobs_evicted, it.work.cpu_lost, it.work.jobs_done) == (2, 33.0, 0), it.work


def test_forgotten() -> None:
    """A worker that is gone leaves its totals; a new one of the same name starts at zero."""
    it = accounting()
    it.reported("w1", b"exit 10\n")
    it.forget("w1")
    it.forget("never there")
    assert it.work.jobs_done == 1
    it.reported("w1", b"exit 10\n")
    assert it.work.jobs_done == 2, it.work


def test_donated() -> None:
    """The slice's use adds up."""
    it = accounting()
    for _ in range(5):
        it.donated(1.5)
    assert it.work.cpu_donated == 7.5, it.work


def test_saved_at_once() -> None:
    """Whoever keeps the totals hears of each job that ended, and of nothing else; what it gets then
    stays as it is."""
    saved: list[Kept] = []
    it = Accounting(Kept(Work(SINCE)), lambda: saved.append(it.kept))
    it.donated(5.0)
    it.reported("w1", b"junk\n")
    assert not saved, "there is no news in it"
    it.reported("w1", b"exit 1\n")
    it.lost(1, 2.0)
    it.reported("w1", b"exit 1\nexit 2\n")
    assert [kept.work.jobs_done for kept in saved] == [1, 1, 2], saved
    assert [kept.counted["w1"].done for kept in saved] == [1, 1, 2], saved


def test_restart() -> None:
    """A running worker's jobs are not counted again by the next supervisor."""
    first = accounting()
    first.reported("w1", b"exit 10\n")
    second = Accounting(first.kept)
    second.reported("w1", b"exit 10\nexit 5\n")
    assert (second.work.jobs_done, second.work.cpu_done) == (2, 15.0), second.work


def test_restart_without_a_worker() -> None:
    """Counts of workers that are gone are not kept forever."""
    it = accounting()
    for name in ("w1", "w2"):
        it.reported(name, b"exit 10\n")
    it.keep({"w2", "w3"})
    assert list(it.kept.counted) == ["w2"] and it.work.jobs_done == 2


# ---------------------------------------------------------------- what is possible

LINES = st.lists(
    st.tuples(
        st.sampled_from(["exit", "evict", "hold", "remove"]),
        st.sampled_from(["1", "0.5", "999999999", "-1", "nan", "inf", "1e300", "٣", "1_0", "", "9" * 5000]),
    ),
    max_size=60,
)


@example([([("exit", "999999999")], 2.225073858507e-311, 0)])  # too small to take a part of
@given(st.lists(st.tuples(LINES, st.floats(0, 100), st.integers(0, 20)), max_size=6))
def test_no_more_than_is_possible(
    reads: list[tuple[list[tuple[str, str]], float, int]],
) -> None:
    """Whatever a report says, no more CPU is counted than the worker has used, and no more jobs than
    it had time for, however often it is read and whatever it has lost; and nothing is taken back."""
    it, cpu, jobs = accounting(), 0.0, 0
    for lines, more_cpu, more_jobs in reads:
        cpu, jobs, before = cpu + more_cpu, jobs + more_jobs, it.work
        it.reported("w1", "".join(f"{way} {n}\n" for way, n in lines).encode(), Most(jobs, cpu))
        assert it.work.jobs_done + it.work.jobs_evicted <= jobs
        assert it.work.cpu_done + it.work.cpu_lost <= cpu * 1.000001
        assert it.work.jobs_done >= before.jobs_done and it.work.cpu_done >= before.cpu_done
    it.lost(1000, 1e9, "w1", Most(jobs, cpu))
    assert it.work.jobs_done + it.work.jobs_evicted <= jobs
    assert it.work.cpu_done + it.work.cpu_lost <= cpu * 1.000001


def test_what_is_possible_counts_as_it_is() -> None:
    """An honest report is counted to the last digit."""
    it = accounting()
    it.reported("w1", b"exit 0.1\nexit 0.2\nevict 0.3\n", Most(3, 0.7))
    assert (it.work.jobs_done, it.work.jobs_evicted) == (2, 1)
    assert (it.work.cpu_done, it.work.cpu_lost) == (0.1 + 0.2, 0.3)


def test_a_report_of_634_196_years() -> None:
    """A report that claims more than all CPU that its worker used counts as that."""
    it = accounting()
    it.reported("w1", b"exit 999999999\n" * 20_000, Most(20, 40.0))
    assert (it.work.jobs_done, it.work.cpu_done) == (20, 40.0)
