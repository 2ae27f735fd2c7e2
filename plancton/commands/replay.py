"""What `plancton replay` does: run a file through the policy, and tell in lines what comes of it."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

from plancton.config.load import load_config
from plancton.config.resolve import Host, policy_settings
from plancton.config.schema import Config
from plancton.model import Tick, action_name
from plancton.policy.replay import RecordingError, Replayed, read_recording, replay, simulate
from plancton.policy.traces import is_history, observations, read_history


def replay_file(file: Path, config: Path | None, cpus: float | None) -> Iterator[Replayed]:
    """The ticks of a file; ``cpus`` are those of a history's host, where it does not say so."""
    if is_history(file):
        return _history(file, config, cpus)
    if cpus is not None:
        raise RecordingError(f"{file}: a recording says how many CPUs there are: leave out --cpus")
    settings = policy_settings(load_config(config), _recorded_host(file)) if config is not None else None
    return replay(read_recording(file), settings)


def _history(file: Path, config: Path | None, cpus: float | None) -> Iterator[Replayed]:
    loaded = load_config(config) if config is not None else Config()
    history = read_history(file, cpus)
    # Memory and disk are not part of a history, so they are never short.
    host = Host(math.floor(history.cpus), ram=0)
    return simulate(observations(history), policy_settings(loaded, host))


def _recorded_host(file: Path) -> Host:
    for line in read_recording(file):
        if isinstance(line, Tick):
            seen = line.observation
            return Host(int(seen.capacity), seen.memory_total, seen.swap_total, seen.disk_total or 0)
    raise RecordingError(f"{file}: holds no tick")


class ReplaySummary:
    def __init__(self) -> None:
        self.ticks = self.different = 0
        self.actions: dict[str, int] = {}
        self.donated_seconds = self.idle_seconds = 0.0

    def add(self, tick: Replayed) -> None:
        self.ticks += 1
        self.different += tick.differs
        for action in tick.decision.actions:
            kind = action_name(action)
            self.actions[kind] = self.actions.get(kind, 0) + 1
        seconds = tick.seen.interval or 0.0
        self.donated_seconds += (tick.seen.donated or 0.0) * seconds
        self.idle_seconds += (tick.seen.idle or 0.0) * seconds

    def sentence(self, compared: bool) -> str:
        did = ", ".join(f"{count} × {kind}" for kind, count in sorted(self.actions.items())) or "no action"
        cpu = f"{self.donated_seconds:.0f} CPU seconds donated, {self.idle_seconds:.0f} idle"
        text = f"{self.ticks} ticks: {did}; {cpu}"
        if compared:
            different = f"{self.different} decided differently"
            text += f"; {different if self.different else 'all decided as recorded'}"
        return text


def replay_lines(ticks: Iterable[Replayed], summary: ReplaySummary) -> Iterator[str]:
    """A line for each tick at which something was done or the fit changed."""
    start, fit = None, None
    for tick in ticks:
        summary.add(tick)
        start = tick.seen.time if start is None else start
        changed = tick.decision.fit != fit
        fit = tick.decision.fit
        at = f"{tick.seen.time - start:9.1f} s"
        for action in tick.decision.actions:
            whom = getattr(action, "name", "a worker")
            yield f"{at}  {action_name(action)} {whom}: {action.reason}"
        if changed and not tick.decision.actions:
            yield f"{at}  {tick.decision.sentence}"
        if tick.recorded is not None and tick.differs:
            yield f"{at}  was: {tick.recorded.sentence}; now: {tick.decision.sentence}"
