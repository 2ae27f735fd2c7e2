"""Simulated workers: what `decide` asks for is done before the next tick. Pure."""

import msgspec

from plancton.model import (
    Action,
    Decision,
    Finish,
    Fleet,
    Kill,
    Leave,
    Observation,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Worker,
    full_shares,
)
from plancton.policy.decide import decide
from plancton.policy.state import State

START_TIME = 1.0
"""From the decision to a worker's first process (seconds)."""


class Simulator:
    """The workers of one host, and the policy that starts and ends them.

    A worker that is told to leave is gone at the next tick, and so is one that is asked to finish and never
    had a job. Whoever gives workers jobs (`change`) also ends those that finish (`remove`).
    """

    def __init__(self, settings: Settings, name: str = "worker") -> None:
        self.settings, self.name = settings, name
        self.state = State()
        self.workers = dict[str, Worker]()
        self.made = 0
        self._fleet: Fleet | None = None

    @property
    def fleet(self) -> Fleet:
        if self._fleet is None:
            self._fleet = Fleet.of(list(self.workers.values()))
        return self._fleet

    def tick(self, seen: Observation) -> Decision:
        decision, self.state = decide(seen, self.state, self.settings)
        for action in decision.actions:
            self._carry_out(action, seen)
        return decision

    def change(self, name: str, **fields: object) -> None:
        self.workers[name] = msgspec.structs.replace(self.workers[name], **fields)
        self._fleet = None

    def remove(self, name: str) -> None:
        del self.workers[name]
        self._fleet = None

    def _carry_out(self, action: Action, seen: Observation) -> None:
        match action:
            case Start():
                self._start(seen)
            case SetShares(name, shares):
                self.change(name, shares=shares, shares_time=seen.time)
            case SetQuota(name, cpus):
                self.change(name, quota=cpus)
            case Finish(name, _, timeout) if self.workers[name].worked:
                self.change(name, phase=Phase.FINISHING, told=seen.time, deadline=seen.time + timeout)
            case Finish() | Leave() | Kill():
                self.remove(action.name)
            case _:
                pass  # it has no disk

    def _start(self, seen: Observation) -> None:
        self.made += 1
        worker = Worker(
            f"{self.name}-{self.made}",
            str(self.made),
            Phase.RUNNING,
            cpus=self.settings.worker_cpus,
            memory=self.settings.worker_memory,
            shares=full_shares(self.settings.worker_cpus),
            started=seen.boottime + START_TIME,
            image=seen.image,
            digest=seen.digest,
        )
        self.workers[worker.name] = worker
        self._fleet = None
