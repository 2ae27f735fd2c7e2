"""This host's totals: those of two supervisors in one, and those of an earlier version's work.json."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from plancton.files import Unsuitable, from_json, read_regular
from plancton.history.write import Store
from plancton.model import Kept, Report, Work

N = TypeVar("N", int, float)

LARGEST = 16 << 20
MOST = 1e15
"""Of jobs or CPU seconds, no host has had as many."""


def take_over(store: Store, work_json: Path) -> tuple[Kept | None, str]:
    """What is kept, with an earlier version's work.json in it, and what is wrong with that file.

    The file goes once its sums are kept; one that holds no sums is moved aside. Whatever is in between,
    they are counted once: what was moved is kept, too, and of a file that is still there, or there again
    after a downgrade, only what is new is added.
    """
    kept = store.kept()
    try:
        found = from_json(read_regular(work_json, LARGEST, follow=False)[0], Kept)
        if not (_is_a_sum(found.work) and all(map(_is_a_sum, found.counted.values()))):
            raise ValueError("a number is not one that Plancton writes")
    except FileNotFoundError:
        return kept, ""
    except (Unsuitable, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        aside = work_json.with_name(f"{work_json.name}.damaged")
        with contextlib.suppress(OSError):
            work_json.replace(aside)
        return kept, f"{work_json}: can't be read, its totals are not taken over: {reason}"
    except OSError as error:  # it may be as good as ever
        return kept, f"{work_json}: can't be read, the next start tries it again: {error.strerror}"
    kept = found if kept is None else merged(kept, found, store.moved())
    store.take_over(kept, found)
    with contextlib.suppress(OSError):  # nothing of it is counted again
        work_json.unlink()
    return kept, ""


def merged(kept: Kept, more: Kept, begun: Kept | None = None) -> Kept:
    """Both sums in one. What ``more`` began with is in ``kept`` already, and so are those parts of
    workers' reports that both have counted."""
    begun = begun if begun and begun.work.since == more.work.since else Kept(Work(more.work.since))
    counted, twice = dict(kept.counted), Report()
    for container, report in more.counted.items():
        if container in counted:
            both = _each(min, counted[container], report)
            before = begun.counted.get(container, Report())
            twice = _each(lambda a, b: a + b, twice, _each(_less, both, before))
            report = _each(max, counted[container], report)
        counted[container] = report
    work = Work(
        min(kept.work.since, more.work.since),
        kept.work.jobs_done + _less(more.work.jobs_done, begun.work.jobs_done + twice.done),
        kept.work.jobs_evicted + _less(more.work.jobs_evicted, begun.work.jobs_evicted + twice.evicted),
        kept.work.cpu_donated + _less(more.work.cpu_donated, begun.work.cpu_donated),
        kept.work.cpu_done + _less(more.work.cpu_done, begun.work.cpu_done + twice.cpu_done),
        kept.work.cpu_lost + _less(more.work.cpu_lost, begun.work.cpu_lost + twice.cpu_lost),
    )
    return Kept(work, counted)


def _less(a: N, b: N) -> N:
    return max(a - b, type(a)(0))


def _each(function: Callable[[float, float], float], a: Report, b: Report) -> Report:
    pairs = zip(msgspec.structs.astuple(a), msgspec.structs.astuple(b), strict=True)
    numbers = [function(x, y) for x, y in pairs]
    return Report(*map(int, numbers[:3]), *numbers[3:])


def _is_a_sum(counted: Work | Report) -> bool:
    """Whether these can be added to for ever."""
    return all(0 <= number < MOST for number in msgspec.structs.astuple(counted))
