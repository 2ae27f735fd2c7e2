"""An interruption after any prefix of the actions, then a restart, leads to the same end."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property.host import GB, Host

from plancton.model import Decision, Observation, Settings

Change = Callable[[Host], None]


def owner(cpus: float) -> Change:
    def change(host: Host) -> None:
        host.owner = cpus

    return change


def memory(used: int) -> Change:
    def change(host: Host) -> None:
        host.owner_memory = used

    return change


def newer_image(host: Host) -> None:
    host.image = "image-2"


def fewer(host: Host) -> None:
    host.max_workers = 1


def nothing(host: Host) -> None:
    pass


CHANGES = {
    "first start": nothing,
    "the owner comes": owner(2.9),
    "the owner takes all": owner(4.0),
    "memory gets short": memory(11 * GB),
    "an image": newer_image,
    "max_workers": fewer,
}


def settled_host(warm: int) -> Host:
    host = Host(4.0, Settings(grace_kill=120.0, reserve_memory=2 * GB, finish_timeout=60.0), 16 * GB)
    host.use = 1.0
    host.run(warm)
    return host


def restarts_converge(host: Host, decision: Decision) -> int:
    """Every prefix of the decision's actions, every fate of those they were done to; how many were
    tried."""
    tried = 0
    few, many = host.steady_bounds()
    for prefix in range(len(decision.actions) + 1):
        for told_are_gone in (False, True):
            for starting_exist in (False, True):
                other = host.copy()
                other.carry_out(decision.actions[:prefix])
                other.restart(told_are_gone, starting_exist)
                names = set(other.workers)
                other.run(400)
                there = len(other.active)
                said = f"{prefix} of {[type(a).__name__ for a in decision.actions]}, gone {told_are_gone}"
                assert few <= there <= many, f"{there} workers, {few} to {many} fit; after {said}"
                assert len(other.workers) == there, f"leftovers after {said}: {other.workers}"
                old = [w.name for w in other.active if w.image != other.image]
                assert not old, f"of an old image after {said}: {old}"
                kept = names & set(other.workers)
                assert len(kept) >= min(len(names), few) or host.image != "image-1", (
                    f"of {names} only {kept} were kept after {said}"
                )
                tried += 1
    return tried


@pytest.mark.parametrize("name", CHANGES)
def test_every_prefix(name: str) -> None:
    """Whatever part of a decision was carried out when Plancton died, it converges with what Docker
    shows."""
    host = settled_host(0 if name == "first start" else 200)
    CHANGES[name](host)
    tried: list[int] = []

    def look(_: Observation, decision: Decision) -> None:
        if decision.actions:
            tried.append(restarts_converge(host, decision))

    for _ in range(200):
        host.tick(look=look)
    assert tried, f"nothing was decided when {name}"


@settings(max_examples=25, derandomize=True, database=None)
@given(
    loads=st.lists(st.floats(0, 4.4), min_size=1, max_size=4),
    cuts=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=6),
)
def test_interrupted_again_and_again(loads: list[float], cuts: list[tuple[int, bool]]) -> None:
    """Repeated restarts in the middle of things leave no trace once the owner is steady."""
    host = settled_host(100)
    for load in loads:
        host.owner = load
        for prefix, gone in cuts:
            host.interrupt = prefix
            host.run(40)
            host.restart(told_are_gone=gone)
    host.run(3_000)
    few, many = host.steady_bounds()
    assert few <= len(host.active) <= many, f"{len(host.active)} workers, {few} to {many} fit: {host.workers}"
    assert len(host.workers) == len(host.active), host.workers
