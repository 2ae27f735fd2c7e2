"""The sentences about what is decided and how things stand."""

import pytest

from plancton.model import Decision, Fleet, Observation, Phase, Worker
from plancton.policy.sentences import headline

STARTING = Worker("b")
FLEET = Fleet.of(
    [STARTING, Worker("a", "0123456789abcdef", Phase.RUNNING, cpus=2.0, memory=7, started=100.0)]
)


@pytest.mark.parametrize(
    ("donated", "owner", "expected"),
    [
        (1.96, 0.26, "Donating 2 of 4 CPUs; the owner uses 0.3; 1 worker running, 3 fit."),
        (0.5, 4.0, "Donating 0.5 of 4 CPUs; the owner uses 4.0; 1 worker running, 3 fit."),
        (None, 1.0, "Donating an unknown part of 4 CPUs; the owner uses 1.0; 1 worker running, 3 fit."),
        (1.0, None, "Donating 1 of 4 CPUs; the owner uses an unknown part; 1 worker running, 3 fit."),
    ],
)
def test_headline(donated: float | None, owner: float | None, expected: str) -> None:
    """One sentence, in which unknown figures are called unknown."""
    seen = Observation(0.0, 0.0, 4.0, donated=donated, owner=owner, fleet=FLEET)
    assert headline(seen, Decision(3, "said")) == expected


def test_headline_counts_those_that_run() -> None:
    """A starting worker does not count as running."""
    seen = Observation(0.0, 0.0, 4.0, fleet=Fleet.of([STARTING]))
    assert "0 workers running" in headline(seen, Decision(1, "said"))


def test_paused_without_workers() -> None:
    """Nothing is said of workers where there are none."""
    said = headline(
        Observation(0.0, 0.0, 4.0, owner=1.0), Decision(0, "said", paused="not donating: it is day")
    )
    assert said == "Not donating: it is day; the owner uses 1.0 of 4 CPUs."
