"""How long a worker may live."""

from unit.policy.ticks import worker

from plancton.model import Settings
from plancton.policy.lifetime import lifetime_of


def test_lifetime_is_spread() -> None:
    """Workers started together end one after the other, between 0.9 and 1.1 of the lifetime."""
    ages = [lifetime_of(worker(f"plancton-worker-{n}"), Settings(lifetime=1_000.0)) for n in range(2_000)]
    assert 900 <= min(ages) < 905 and 1_095 < max(ages) <= 1_100, (min(ages), max(ages))
    assert len({round(a) for a in ages}) > 190
    assert lifetime_of(worker("x"), Settings()) == lifetime_of(worker("x"), Settings()), "the same each time"
