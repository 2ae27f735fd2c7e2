"""Sees that the rules and rates of the workers' network hold, as far as this process is root."""

from collections.abc import Callable
from functools import partial

from plancton.config.schema import Config, WorkersNetwork
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError
from plancton.inbox import Inbox, beside

INTERVAL, RETRY = 600.0, 60.0
"""Seconds between two looks, which take two short programs: nobody removes the rules but an
administrator (`nft flush ruleset`). The shorter one while something does not hold."""
ANSWER = 10.0
"""Seconds that Docker has to say what the network's bridge is called."""


def enforce_with(socket: str, config: Config) -> tuple[str, ...]:
    """What does not hold, and why. A Docker that does not answer is not needed for it."""
    from plancton.workers.reach_and_rates import enforce  # which only root needs

    try:
        with Docker(socket, timeout=ANSWER) as docker:
            docker.ping()
            return enforce(config, docker)
    except DockerError:
        return enforce(config, None)


class NetworkGuard:
    """Only the loop calls it, except for `enforce`. ``may``: this process is root, and changes things."""

    def __init__(
        self,
        inbox: Inbox,
        socket: str,
        warn: Callable[[str], None],
        may: bool,
        work: Callable[[str, Config], tuple[str, ...]] = enforce_with,
    ) -> None:
        self._inbox, self._socket, self._warn, self._may, self._work = inbox, socket, warn, may, work
        self._config = Config()
        self._due, self.is_looking, self._once_more = 0.0, False, False
        self._found: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What does not hold of what the configuration asks for. Of the default only the log and
        `doctor` tell: hosts without nft are many, and theirs is no trouble."""
        network = self._config.worker.network
        asked = network.reach == "internet" or (network.rate_down, network.rate_up) != (None, None)
        return self._found if asked else ()

    def want(self, config: Config) -> None:
        if _part(config) != _part(self._config):
            self.look_again()
        self._config = config

    def look_again(self) -> None:
        """Something may have changed."""
        self._due = 0.0

    def may_have_moved(self) -> None:
        """The host may be in another network, which may not be there yet."""
        self._due, self._once_more = 0.0, True

    def enforce(self) -> None:
        """Have it hold, now. May wait for programs and name servers."""
        if self._may:
            found = self._work(self._socket, self._config)
            self._inbox.put(partial(self._looked, found))

    def remove(self, workers_slice: str) -> None:
        """Take away what was put in place; waits for programs."""
        if self._may:
            from plancton.workers.reach_and_rates import bridges_of, undo

            undo(workers_slice, bridges_of(None, workers_slice))

    def step(self, now: float) -> None:
        if self._may and not self.is_looking and now >= self._due:
            self.is_looking, self._due = True, now + INTERVAL
            beside(self._inbox, self.enforce, lambda _: self._ended(now))

    def _ended(self, now: float) -> None:
        self.is_looking = False
        if self._found or self._once_more:
            self._due = min(self._due, now + RETRY)
        self._once_more = False

    def _looked(self, found: tuple[str, ...]) -> None:
        for problem in found:
            if problem not in self._found:
                self._warn(problem)
        self._found = found


def _part(config: Config) -> tuple[WorkersNetwork, object]:
    """What of it counts here."""
    return config.worker.network, config.htcondor.places if config.htcondor else None
