"""scripts/bench_yield/figures.py: tables from the measurements of scripts/bench-yield."""

import math

import pytest
from bench_yield.figures import (
    ALONE,
    Measurement,
    back,
    cpu_kept,
    delay,
    harvest,
    later,
    pairs,
    spread,
    tables,
    work_kept,
)
from bench_yield.owner import Result


def measurement(contender: str = "x", number: int = 1, load: str = "steady", **fields: object) -> Measurement:
    values = {"cpu": 4.0, "wall": 8.0, "work": 100.0, "waited": 2.0, **fields}
    donated, idle = values.pop("donated", 3.0), values.pop("idle", 1.0)
    return Measurement(number, contender, load, Result(**values), donated, idle, 0.0)  # type: ignore[arg-type]


def test_one_pair() -> None:
    """Shares are relative to the owner alone, however long each load took."""
    alone, beside = measurement(ALONE), measurement(cpu=3.0, wall=12.0, work=25.0, waited=9.0)
    assert cpu_kept(alone, beside) == 0.5
    assert work_kept(alone, beside) == 0.25
    assert delay(alone, beside) == 0.75
    assert harvest(alone, beside) == 0.75
    assert math.isnan(delay(alone, measurement(waited=None)))


def test_later() -> None:
    """Wake-ups are compared by their own percentiles."""
    alone = measurement(ALONE, late=[0.001] * 9 + [0.002])
    beside = measurement(late=[0.002] * 8 + [0.003, 0.5])
    assert later(50)(alone, beside) == 2.0 and later(90)(alone, beside) == 3.0


@pytest.mark.parametrize(("slow", "expected"), [(0, 0.0), (100, 0.97), (400, math.inf)])
def test_back(slow: int, expected: float) -> None:
    """CPU is back with the first half second at 95 % of solo speed."""
    full = [0.02 * (i + 1) for i in range(400)]
    alone = measurement(ALONE, cpu=8.0, cpu_series=full)
    beside = measurement(
        cpu_series=[0.01 * (i + 1) if i < slow else 0.02 * (i + 1) - 0.01 * slow for i in range(400)]
    )
    found = back(alone, beside)
    assert found == expected or abs(found - expected) < 0.03, found


def test_spread() -> None:
    """The median, and the sign test's interval: the 6th and the 15th of 20 values."""
    found = spread([float(i) for i in range(1, 21)])
    assert found is not None and (found.middle, found.low, found.high) == (10.5, 6.0, 15.0)
    few = spread([1.0, math.nan, 3.0, 2.0])
    assert few is not None and (few.middle, few.low, few.high) == (2.0, 1.0, 3.0)
    assert spread([math.nan]) is None


def test_pairs() -> None:
    """A measurement is paired with the load alone in the same round."""
    alone = [measurement(ALONE, n, load) for n in (1, 2) for load in ("steady", "half")]
    beside = [measurement("x", n) for n in (2, 3)]
    assert pairs([*alone, *beside], "x", "steady") == [(alone[2], beside[0])]


def test_tables() -> None:
    """Each measured contender has a line, the owner alone first; missing figures are a dash."""
    measured = [measurement("Docker", cpu=2.0), measurement(ALONE), measurement("nice", load="half")]
    lines = list(tables([*measured, measurement(ALONE, load="half", waited=None)]))
    assert "| Docker | 50.0 % (50.0–50.0) | – |" in lines, "loads that were not measured have no column"
    contenders = [line.split(" | ")[0] for line in lines if line.startswith(("| D", "| n", "| o"))]
    kept, late = [f"| {ALONE}", "| Docker", "| nice"], [f"| {ALONE}", "| Docker"]
    assert contenders == kept * 3 + [f"| {ALONE}", "| nice"] + late, contenders


def test_never() -> None:
    """An owner whose speed does not come back is shown without number and unit."""
    alone = measurement(ALONE, cpu=8.0, cpu_series=[0.02 * (i + 1) for i in range(400)])
    lines = list(tables([alone, measurement(cpu_series=[0.01 * (i + 1) for i in range(400)])]))
    assert any(line.startswith("| x |") and line.endswith("| never |") for line in lines), lines
