"""Finds workers that keep others busy, or hold what the host has once: they are accused."""

from pathlib import Path

from plancton.model import Observation
from plancton.policy.burden import BUSY_ENGINE
from plancton.workers.packets import BurdenWatch
from plancton.workers.roster import Roster
from plancton.workers.sockets import SocketWatch, who_fills_table


class BurdenGuard:
    """Only the loop calls it, every few seconds."""

    def __init__(self, roster: Roster, proc: Path) -> None:
        self._roster, self._proc = roster, proc
        self._burden, self._sockets = BurdenWatch(proc), SocketWatch(proc)

    @property
    def busy(self) -> str:
        """Who is, though nobody is found to be the cause; empty: nobody."""
        return self._burden.busy

    def look(self, now: float, seen: Observation, short: bool) -> None:
        """``short``: the owner's memory is. Not where workers have the host's own network: their
        figures are the host's then."""
        self._roster.accuse(self._burden.look(now, seen, self._roster))
        self._roster.accuse(who_fills_table(self._proc, self._roster))
        self._roster.accuse(self._sockets.look(short, self._roster), hoards=True)

    def suspects_output(self, seen: Observation) -> bool:
        """Whether somebody's output may be what keeps the engine busy."""
        return self._burden.for_long and (seen.engine or 0.0) >= BUSY_ENGINE
