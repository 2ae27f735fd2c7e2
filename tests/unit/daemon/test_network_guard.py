"""When the rules of the workers' network are looked at, and what is said of them."""

from plancton.config.load import parse
from plancton.config.schema import Config
from plancton.daemon.network_guard import INTERVAL, RETRY, NetworkGuard
from plancton.inbox import Inbox

DEADLINE = 20.0
ASKED = parse("worker: {network: {reach: internet}}", "FILE")


class Guard:
    """One whose looks find what the test says."""

    def __init__(self, may: bool = True) -> None:
        self.inbox, self.said = Inbox(), list[str]()
        self.found: tuple[str, ...] = ()
        self.looked: list[Config] = []
        self.it = NetworkGuard(self.inbox, "/s", self.said.append, may, self._work)

    def _work(self, socket: str, config: Config) -> tuple[str, ...]:
        self.looked.append(config)
        return self.found

    def step(self, now: float) -> int:
        """How often it has looked, after a step at this time."""
        before = len(self.looked)
        self.it.step(now)
        if self.it.is_looking:
            while self.it.is_looking:
                self.inbox.get(timeout=DEADLINE)()
        return len(self.looked) - before


def test_now_and_then() -> None:
    """It looks at the first step, then seldom; sooner while something does not hold, or after a
    change."""
    guard = Guard()
    assert [guard.step(now) for now in (0.0, 1.0, INTERVAL - 1, INTERVAL)] == [1, 0, 0, 1]
    guard.found = ("nft has gone",)
    guard.it.look_again()
    now = INTERVAL + 1
    assert [guard.step(now), guard.step(now + RETRY)] == [1, 1], "it learns of it by the first"
    guard.it.want(ASKED)
    assert guard.step(now + RETRY + 1) == 1 and guard.looked[-1] is ASKED


def test_after_a_suspend() -> None:
    """The network may be another one, and takes a moment to be there: it looks twice."""
    guard = Guard()
    guard.step(0.0)
    guard.it.may_have_moved()
    assert [guard.step(now) for now in (1.0, 2.0, 1.0 + RETRY, 2.0 + 2 * RETRY)] == [1, 0, 1, 0]


def test_what_is_said() -> None:
    """A problem is said once, again after it was gone, and is shown in status if the configuration
    asks for more than the default."""
    guard = Guard()
    guard.found = ("no nft",)
    for now in (0.0, 1_000.0, 2_000.0):
        guard.step(now)
    assert (guard.said, list(guard.it.problems)) == (["no nft"], [])
    guard.it.want(ASKED)
    assert list(guard.it.problems) == ["no nft"]
    guard.found = ()
    guard.step(3_000.0)
    assert list(guard.it.problems) == []
    guard.found = ("no nft",)
    guard.step(4_000.0)
    assert guard.said == ["no nft"] * 2


def test_without_root() -> None:
    """Who is not root, or only tries it out, changes nothing."""
    guard = Guard(may=False)
    guard.it.enforce()
    assert guard.step(0.0) == 0 and guard.looked == []
