"""Other projects' rules for yielding, simulated second by second: what a timer means for an owner.
Pure. How much the owner keeps while nothing is suspended is measured (scripts/bench-yield); when
work is suspended follows from what BOINC and HTCondor publish."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

CPUS = 2
Load = Sequence[float]
"""The part of all CPUs that the owner wants, for each second."""
Rule = Callable[[Load], Iterator[bool]]
"""Whether the donated processes run, for each second."""

MINUTES = 60
LOADS: dict[str, Load] = {
    "every CPU for ten minutes": [1.0] * 10 * MINUTES,
    "1 s of every four": [1.0, 0.0, 0.0, 0.0] * 150,
}
QUIET = [0.0] * 20 * MINUTES
"""Quiet time after each load: how much of it is used also characterises a rule."""


class Outcome(NamedTuple):
    """Parts of the CPU time wanted and of that left; seconds until the first suspension."""

    kept: float
    harvest: float
    back: float


def boinc(load: Load) -> Iterator[bool]:
    """Every 10 s (MEMORY_USAGE_PERIOD) others' CPU use is compared with 25 % (suspend_cpu_usage);
    once suspended, for 20 s at the least (client/cs_prefs.cpp, check_suspend_processing)."""
    running, until = True, 0
    for second in range(len(load)):
        if second % 10 == 5 and second >= 5:  # a load begins somewhere between two looks
            past = load[max(0, second - 10) : second]
            if sum(past) / 10 > 0.25:
                running, until = False, second + 20
            elif second >= until:
                running = True
        yield running


def htcondor_desktop(load: Load) -> Iterator[bool]:
    """POLICY:Desktop with nobody at the keyboard. SUSPEND: a load average of others of 0.5 for over
    120 s; CONTINUE: at most 0.3, after 10 s (condor_config_val use policy:desktop); looked at
    every 5 s (POLLING_INTERVAL). The load average is the kernel's, of one minute."""
    average, busy, running, changed = 0.0, 0, True, 0
    for second, wanted in enumerate(load):
        average += (wanted * CPUS - average) * (1 - math.exp(-1 / 60))
        busy = busy + 1 if average >= 0.5 else 0
        if second % 5 == 0:
            if running and busy > 120:
                running, changed = False, second
            elif not running and average <= 0.3 and second - changed > 10:
                running = True
        yield running


def simulate(rule: Rule, load: Load, beside: float) -> Outcome:
    """``beside``: the part of their CPU time that a busy owner keeps while nothing is suspended."""
    runs = list(rule([*load, *QUIET]))
    kept = sum(wanted * (beside if run else 1.0) for wanted, run in zip(load, runs, strict=False))
    left = [1.0 - wanted for wanted in (*load, *QUIET)]
    back = next((float(second) for second, run in enumerate(runs[: len(load)]) if not run), math.inf)
    used = sum(free for free, run in zip(left, runs, strict=True) if run)
    return Outcome(kept / sum(load), used / sum(left), back)


def table(beside: float) -> Iterator[str]:
    """In Markdown; ``beside``: as `simulate` has it."""
    yield "| by simulation | load | CPU time kept | back after | harvest, with 20 quiet minutes after it |"
    yield "|---|---|---|---|---|"
    for name, rule in (("BOINC's rule", boinc), ("HTCondor's POLICY:Desktop", htcondor_desktop)):
        for load, wanted in LOADS.items():
            found = simulate(rule, wanted, beside)
            back = f"{found.back:.0f} s" if math.isfinite(found.back) else "never"
            yield f"| {name} | {load} | {100 * found.kept:.0f} % | {back} | {100 * found.harvest:.0f} % |"
    yield ""
