"""A host that donates over a history: all CPU is accounted for, whatever the owner does."""

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.lending import FIRST_JOB, Lending, Totals

from plancton.model import Settings
from plancton.policy.simulator import START_TIME
from plancton.policy.traces import History, read_history

SCRIPTS = Path(__file__).parents[2] / "scripts"
HISTORIES = SCRIPTS / "histories"
HOUR, DAY = 3600.0, 86_400.0
LIMITS = Settings(grace_kill=120.0, stake=0.0, finish_timeout=DAY)


def lend(
    owner: float | list[float],
    settings: Settings = LIMITS,
    job: float = HOUR,
    step: float = 60.0,
    row: float = DAY,
) -> Totals:
    """What a host of 4 CPUs donates next to an owner who uses this much in each row (a day)."""
    used = owner if isinstance(owner, list) else [owner, owner]
    history = History("host", 4.0, tuple(row * n for n in range(len(used))), tuple(used))
    return Lending(history, settings, job, step).run()


def test_an_idle_host() -> None:
    """Four workers start as soon as allowed, get a job once the pool has seen them, and end one an
    hour."""
    totals = lend(0.0, Settings(lifetime=10 * DAY))
    begin = 120.0 + START_TIME + FIRST_JOB
    assert (totals.starts, totals.kills, totals.lost, totals.starved) == (4, 0, 0.0, 0.0)
    assert totals.left == 4 * 2 * DAY
    assert totals.donated == pytest.approx(4 * (2 * DAY - begin)), totals
    assert totals.jobs == 4 * 47 and totals.done == 4 * 47 * HOUR
    assert totals.open == pytest.approx(4 * (HOUR - begin))


def test_a_quota() -> None:
    """Where the workers' CPU is limited one by one, a twentieth of the host's stays idle, and the last
    worker in line has less."""
    totals = lend(1.0, Settings(uses_quota=True), step=5.0, row=HOUR)
    begin = totals.starts * (120.0 + START_TIME + FIRST_JOB)
    assert (totals.starts, totals.kills, totals.starved) == (3, 0, 0.0)
    assert 2.8 * 2 * HOUR - begin <= totals.donated <= 2.8 * 2 * HOUR, totals


def test_a_lifetime_costs_no_job() -> None:
    """A worker past its lifetime ends its job, and another takes its place."""
    totals = lend(0.0, Settings(lifetime=6 * HOUR, finish_timeout=DAY))
    assert totals.kills == 0 and totals.lost == 0.0
    assert 4 * 6 <= totals.starts <= 4 * 9, "48 hours of 5.4 to 6.6, an hour for the last job, and 2 min"


def test_no_patience_costs_a_job() -> None:
    """A worker that must finish before its job does leaves with it."""
    totals = lend(0.0, Settings(lifetime=6 * HOUR, finish_timeout=600.0), job=100 * HOUR)
    assert totals.jobs == 0 and totals.kills == totals.starts - 4, totals
    assert totals.lost > 0.8 * totals.donated


@pytest.mark.slow
@pytest.mark.parametrize("owner", [0.5, 1.2, 2.0, 3.3])
def test_a_steady_owner_kills_nobody(owner: float) -> None:
    """Workers started next to a steady owner have room to stay."""
    totals = lend(owner)
    assert totals.starts > 0 and totals.kills == 0 and totals.lost == 0.0 and totals.starved == 0.0


def test_an_owner_of_all() -> None:
    """If the owner leaves nothing, nothing is started."""
    totals = lend(4.0)
    assert totals == Totals(seconds=2 * DAY)


def test_an_eviction_costs_what_the_job_had() -> None:
    """The owner comes after an hour: jobs of two hours starve until they are evicted and lost."""
    totals = lend([0.0, 4.0], job=2 * HOUR, row=HOUR)
    assert (totals.kills, totals.jobs, totals.open) == (4, 0, 0.0)
    assert totals.lost == totals.donated == pytest.approx(4 * (HOUR - 135.0))
    assert totals.starved == 4 * 120.0, "two steps: after one of them grace_kill is not covered"


def test_short_jobs_end_within_a_step() -> None:
    """Jobs of ten seconds end at six per minute."""
    totals = lend(0.0, job=10.0)
    assert totals.jobs == pytest.approx(totals.donated / 10.0, abs=4)


def test_a_share_is_what_a_worker_gets() -> None:
    """Next to an owner of 3.4 CPUs, a worker of 1 CPU gets 0.6, and its jobs take longer."""
    totals = lend(3.4, Settings(worthwhile=0.4))
    assert totals.donated == pytest.approx(0.6 * totals.job_time)
    assert totals.starved == 0.0


@settings(max_examples=40, derandomize=True, database=None)
@given(
    owner=st.lists(st.floats(0, 4), min_size=2, max_size=40),
    row=st.sampled_from([7.0, 60.0, 300.0, 1_000.0]),
    step=st.sampled_from([1.0, 20.0, 60.0]),
    job=st.sampled_from([1.0, 100.0, 3_600.0]),
    worthwhile=st.sampled_from([0.25, 0.5, 1.0]),
    cpus=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_all_is_accounted_for(
    owner: list[float], row: float, step: float, job: float, worthwhile: float, cpus: float
) -> None:
    """No more is donated than is left, and every second is in a job that ended, was lost or still
    runs."""
    settings = Settings(worthwhile=worthwhile, worker_cpus=cpus, grace_kill=30.0, grace_spawn=20.0)
    totals = lend(owner, settings, job, step, row)
    assert totals.donated <= totals.left * (1 + 1e-9)
    assert totals.done + totals.lost + totals.open == pytest.approx(totals.donated)
    assert totals.done == pytest.approx(totals.jobs * job)
    assert totals.kills <= totals.starts and totals.starved <= totals.job_time + 1e-6
    assert min(totals.left, totals.donated, totals.lost, totals.open, totals.job_time) >= -1e-6


@functools.cache
def synthetic(name: str, step: float) -> Totals:
    return Lending(read_history(HISTORIES / f"{name}.csv"), LIMITS, HOUR, step).run()


def assert_agree(one: Totals, other: Totals, parts: float, kills: float) -> None:
    """Harvest, goodput and badput differ by at most this much, and kills by at most this part."""
    assert one.donated / one.left == pytest.approx(other.donated / other.left, abs=parts)
    assert one.done / one.left == pytest.approx(other.done / other.left, abs=parts)
    assert one.lost / one.donated == pytest.approx(other.lost / other.donated, abs=parts)
    assert one.kills == pytest.approx(other.kills, rel=kills)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts"), [("steady", 0.01), ("night", 0.01), ("office", 0.06), ("bursty", 0.06)]
)
def test_minutes_agree_with_seconds(name: str, parts: float) -> None:
    """Steps of a minute agree with steps of a second, the better the longer the owner's loads
    last."""
    assert_agree(synthetic(name, 60.0), synthetic(name, 1.0), parts, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in sorted(HISTORIES.glob("*.csv"))])
def test_five_seconds_agree_with_one(name: str) -> None:
    """Steps of five seconds agree with steps of one."""
    assert_agree(synthetic(name, 5.0), synthetic(name, 1.0), 0.03, 0.1)


def test_a_minute_hides_what_is_shorter() -> None:
    """The limit of coarse steps: they miss that ninety seconds of load each hour cost all
    workers."""
    assert synthetic("cron", 60.0).kills < 0.7 * synthetic("cron", 1.0).kills
