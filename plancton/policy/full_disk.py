"""What happens when the disk's reserve is undercut: who fills it is found and ended. Pure."""

from collections.abc import Iterator

from plancton.model import Action, Freeze, Kill, Thaw, Writer
from plancton.policy.disk import disk_shortage, fastest_writer, is_short_of_disk, largest_writer
from plancton.policy.leaving import dies, last_in_line, leave, nothing_is_idle
from plancton.policy.memory_reserve import is_short_of_memory
from plancton.policy.state import Case


def who_fills_the_disk(case: Case) -> Iterator[Action]:
    """Below the disk's reserve nobody writes until the one that wrote most is ended."""
    seen, trouble, found = case.seen, case.state.disk, _fills_the_disk(case)
    short = is_short_of_disk(seen, case.settings)
    if trouble.is_frozen:
        over = found is None and trouble.is_over(seen, any(dies(w, seen) for w in seen.fleet.workers))
        if over or not short or _must_run(case):
            yield Thaw("who wrote most is gone" if trouble.caught else "nothing more is found out meanwhile")
    if found:
        reason = f"it fills the disk: {disk_shortage(seen, case.settings)}"
        yield Kill(found.name, reason, lift=nothing_is_idle(seen), at_once=True)
    if _freezes(case):
        yield Freeze(disk_shortage(seen, case.settings))


def _fills_the_disk(case: Case) -> Writer | None:
    seen, settings = case.seen, case.settings
    looks = is_short_of_disk(seen, settings) and case.state.disk.looks_for_writer(seen, settings)
    return fastest_writer(seen, settings) if looks else None


def _freezes(case: Case) -> bool:
    trouble = case.state.disk
    short = is_short_of_disk(case.seen, case.settings) and case.seen.fleet.line != ()
    looks = not trouble.is_frozen and trouble.looks_for_writer(case.seen, case.settings)
    return short and looks and not _must_run(case)


def _must_run(case: Case) -> bool:
    """Whether workers must be able to leave: the owner's memory comes first."""
    return case.seen.stopping or is_short_of_memory(case.seen, case.settings)


def out_of_disk(case: Case) -> Iterator[Action]:
    """Whose files are largest, or the last in line, when the disk's reserve is undercut and nobody
    has gone for it just now."""
    seen, settings, trouble = case.seen, case.settings, case.state.disk
    if not is_short_of_disk(seen, settings) or trouble.waits(seen) or not trouble.is_over(seen, dying=False):
        return
    if _freezes(case) or _fills_the_disk(case):
        return
    large = largest_writer(seen)
    found = next((w for w in seen.fleet.line if large and w.name == large.name and not w.busy), None)
    if worker := found or last_in_line(seen.fleet):
        yield leave(worker, case, settings.leave_timeout, disk_shortage(seen, settings))
