"""What is decided and why, and how things stand, in words. Pure."""

from plancton.model import Action, Decision, Finish, Kill, Leave, Observation
from plancton.policy.fit import needs_to_start, needs_to_stay
from plancton.policy.state import Case
from plancton.units import human_bytes

WORTH_A_WORD = 0.1
"""CPUs that the hypervisor takes from this host: from here on the reason says so."""


def owner_words(seen: Observation) -> str:
    """Who has the CPUs that workers don't get; first whoever has most of them."""
    if seen.owner is None:
        return f"the owner uses an unknown part of {seen.capacity:g} CPUs"
    used, taken = seen.owner, seen.stolen or 0.0
    owner, hypervisor = f"the owner uses {used:.1f}", f"the hypervisor takes {taken:.1f}"
    of_all = f" of {seen.capacity:g} CPUs"
    if taken < WORTH_A_WORD:
        return owner + of_all
    return f"{hypervisor}{of_all}, {owner}" if taken > used else f"{owner}{of_all}, {hypervisor}"


def what_happens(actions: tuple[Action, ...]) -> str:
    """Who goes now and why; empty when nobody does."""
    told = [a for a in actions if isinstance(a, Leave | Finish | Kill)]
    if not told:
        return ""
    verb = {Leave: "retiring", Finish: "finishing", Kill: "killing"}[type(told[0])]
    names = told[0].name if len(told) == 1 else f"{len(told)} workers"
    return f"{verb} {names}: {told[0].reason}"


def why_unfit(case: Case, place: int) -> str:
    """Why the worker at this place in line does not fit, or no other one could start after them."""
    seen, room = case.seen, case.room
    fleet, starts = seen.fleet, place == len(seen.fleet.line)
    needed = needs_to_start(fleet, 1, case.settings) if starts else needs_to_stay(fleet, place, case.settings)
    if room is None or room.cpus < needed.cpus or room.memory >= needed.memory:
        return cap_words(case) or owner_words(seen)
    count = len(fleet.workers) + 1 if starts else place + 1
    takes = needed.memory if starts else fleet.memory_before[count]
    workers = "a worker takes" if count == 1 else f"{count} workers take"
    left = human_bytes(max(0, room.memory))
    return f"the owner leaves {left} of memory, {workers} {human_bytes(takes)}"


def cap_words(case: Case) -> str:
    """That it is the owner's cap that leaves no more room; empty: it is not."""
    cap, room = case.state.cap.in_force, case.room
    if cap is None or room is None or room.cpus < cap.cpus - WORTH_A_WORD:
        return ""
    return f"all workers together may use {cap.cpus:g} CPUs ({cap.reason})"


def how_it_is(case: Case, worth: int) -> str:
    line = len(case.seen.fleet.line)
    why = why_unfit(case, case.fit) if worth <= line and not case.held else owner_words(case.seen)
    fits = f"{line} worker{'' if line == 1 else 's'}, {worth} fit, {why}"
    if case.state.contention.capped and case.quota is not None:
        fits += f" and waits for more, so the workers may use {case.quota:.1f}"
    return f"{fits}; {case.held.sentence}" if case.held else fits


def headline(seen: Observation, decision: Decision) -> str:
    """The sentence that users see first."""
    donated = "an unknown part" if seen.donated is None else f"{seen.donated:.1f}".removesuffix(".0")
    owner = "an unknown part" if seen.owner is None else f"{seen.owner:.1f}"
    if (seen.stolen or 0.0) >= WORTH_A_WORD:
        owner += f", the hypervisor takes {seen.stolen:.1f}"
    running = seen.fleet.begun
    if decision.paused:
        count = f"{running} worker{' is' if running == 1 else 's are'} {'frozen' if seen.frozen else 'there'}"
        pause = decision.paused[:1].upper() + decision.paused[1:]
        there = f"{count}, " if running else ""
        return f"{pause}; {there}the owner uses {owner} of {seen.capacity:g} CPUs."
    workers = f"{running} worker{'' if running == 1 else 's'} running"
    donating = f"Donating {donated} of {seen.capacity:g} CPUs"
    return f"{donating}; the owner uses {owner}; {workers}, {decision.fit} fit."


def mode_of(seen: Observation, decision: Decision) -> str:
    if seen.stopping:
        return "stopping"
    if decision.paused:
        return "paused"
    return "draining" if seen.draining else "donating"
