"""Made-up measurements of the selftest's."""

from plancton.commands.selftest.figures import Load, Pair, Round

STEP, STEPS, THREADS = 0.001, 600, 4
QUICK = (0.000_05,) * 99 + (0.000_2,)


def load(share: float = 1.0, late: int = 0, waited: float | None = 0.0, work: int = 1000) -> Load:
    """Threads that get a share of their CPUs from step ``late`` on; ``waited`` is a part of the
    time."""
    cpu = [THREADS * STEP * share * max(0, i + 1 - late) for i in range(STEPS)]
    wall = THREADS * STEP * STEPS
    return Load(THREADS, STEP, tuple(cpu), work, None if waited is None else waited * wall)


def pair(
    alone: Load | None = None,
    donating: Load | None = None,
    donated: float = 4.0,
    late: float = 0.000_05,
    idle: float = 0.0,
) -> Pair:
    return Pair(
        Round(alone or load(), QUICK, 0.0, 4.0),
        Round(donating or load(), (late,) * 100, donated, idle),
    )
