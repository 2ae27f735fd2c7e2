"""Shared by the policy's tests: workers of 1 CPU and 2 GB, and ticks on a host of 4 CPUs."""

from typing import Any, TypeVar

from plancton.model import (
    Action,
    Decision,
    Ended,
    Finish,
    Fleet,
    Freeze,
    HeldReason,
    Kill,
    Leave,
    Observation,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Thaw,
    Worker,
)
from plancton.policy.decide import decide
from plancton.policy.state import State

GB = 1_000_000_000
A = TypeVar("A", Start, Leave, Finish, Kill, SetShares, SetQuota, Freeze, Thaw)
BOOT = 1_000_000.0
"""How far CLOCK_BOOTTIME is ahead: the host was suspended for long."""


def worker(name: str, age: float = 10_000.0, at: float = 0.0, **fields: Any) -> Worker:
    """A running worker that is this old at the tick ``at``."""
    given: dict[str, Any] = {"phase": Phase.RUNNING, "memory": 2 * GB, "image": "i", "digest": "d"}
    return Worker(name, f"id-{name}", started=BOOT + at - age, **(given | fields))


def workers(count: int, **fields: Any) -> list[Worker]:
    """w0 is the oldest."""
    return [worker(f"w{n}", age=10_000.0 - n, **fields) for n in range(count)]


class Ticks:
    """Successive ticks, and what stays the same from one to the next."""

    def __init__(
        self, settings: Settings | None = None, there: list[Worker] | None = None, **same: Any
    ) -> None:
        self.settings, self.state, self.now = settings or Settings(grace_kill=120.0), State(), 0.0
        self.there = there or []
        self.same: dict[str, Any] = {
            "capacity": 4.0, "owner": 0.0, "idle": 4.0, "memory_total": 64 * GB, "memory_available": 60 * GB,
            "slice_anon": 0, "image": "i", "digest": "d",
        } | same  # fmt: skip
        self.suspended = 0.0

    def tick(self, seconds: float = 1.0, **now: Any) -> Decision:
        self.now += seconds
        decision, self.state = decide(self.seen(seconds, **now), self.state, self.settings)
        return decision

    def seen(self, seconds: float = 1.0, **now: Any) -> Observation:
        fields: dict[str, Any] = {"interval": seconds, "fleet": Fleet.of(self.there)} | self.same | now
        return Observation(self.now, BOOT + self.now + self.suspended, **fields)

    def run(self, seconds: int, **now: Any) -> list[tuple[float, Action]]:
        """All actions within this many seconds, with their times."""
        return [(self.now, a) for _ in range(seconds) for a in self.tick(**now).actions]

    def until(self, kind: type[Action], most: int = 4_000, **now: Any) -> tuple[float, list[Action]]:
        """The time of the first action of this kind, and all actions of its tick."""
        for _ in range(most):
            decision = self.tick(**now)
            if any(isinstance(a, kind) for a in decision.actions):
                return self.now, list(decision.actions)
        raise AssertionError(f"no {kind.__name__} in {most} s; the last: {decision}")


def of(kind: type[A], actions: list[tuple[float, Action]]) -> list[tuple[float, A]]:
    """The actions of one kind, with their times."""
    return [(time, a) for time, a in actions if isinstance(a, kind)]


def kinds_of(decision: Decision) -> list[type[Action]]:
    return [type(action) for action in decision.actions]


def pilot(name: str, age: float, *jobs: float, **fields: Any) -> Worker:
    """A pool's worker that is this old, with these jobs."""
    began = tuple(BOOT - job for job in jobs)
    return worker(name, age, jobs=began, **({"worked": bool(jobs)} | fields))


def ended(age: float = 5.0, reason: str = "exit code 1") -> tuple[Ended, ...]:
    return (Ended("w", age, reason),)


def no_work(age: float = 1_200.0) -> tuple[Ended, ...]:
    return (Ended("w", age, "exit code 75", idle=True),)


def why(decision: Decision) -> HeldReason | None:
    """The kind of reason that holds starts."""
    return decision.held.reason if decision.held else None


def says(decision: Decision, *words: str) -> bool:
    """Whether the reason contains all these words."""
    return decision.held is not None and all(word in decision.held.sentence for word in words)
