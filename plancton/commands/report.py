"""What `plancton report` says: what this host did, from its history. Pure, except for `summed_up`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from plancton.commands.events import event_line
from plancton.history.read import Said, open_history
from plancton.history.summary import Pause, Summary, minutes_from, summarize
from plancton.units import human_seconds, local_time, printable

EVENTS = 10
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NONE, UNKNOWN = ".", " "
LITTLE = 0.005


def summed_up(state: Path, since: float, until: float) -> tuple[Summary, list[Said]]:
    """The sums between these Unix times, and the last events. Raises HistoryError."""
    with open_history(state) as history:
        border = minutes_from(since, until)
        hours = history.rows("hours", since, border)
        minutes = history.rows("minutes", border, until)
        return summarize(hours, minutes, since, until), history.events(since, last=EVENTS)


def report_lines(found: Summary, events: Sequence[Said]) -> Iterator[str]:
    part = "" if found.part_of_idle is None else f", {found.part_of_idle:.0%} of what was idle"
    since, until = (local_time(when, "%Y-%m-%d %H:%M") for when in (found.since, found.until))
    yield f"From {since} to {until} this computer donated {human_seconds(found.donated)} of CPU time{part}."
    yield f"Known for {human_seconds(found.seconds)} of {human_seconds(found.until - found.since)}."
    yield ""
    names = ("donated", "owner", "idle", "engine", "stolen")
    words = ("donated", "the owner", "nobody", "Docker", "the hypervisor")
    for name, word in zip(names, words, strict=True):
        used = getattr(found, name)
        if found.capacity and (used / found.capacity >= LITTLE or name in names[:3]):
            yield f"  {word:<16}{human_seconds(used):>10} of CPU time  {used / found.capacity:>5.0%}"
    yield f"  {_jobs(found)}"
    yield ""
    yield from _week_lines(found)
    if found.pauses:
        yield ""
        yield "The longest times without donating:"
        yield from map(_pause_line, found.pauses)
    if events:
        yield ""
        yield "The last events (`plancton events` shows more):"
        yield from (f"  {event_line(event)}" for event in events)


def _jobs(found: Summary) -> str:
    jobs = f"{found.jobs_done} job{'' if found.jobs_done == 1 else 's'} done, {found.jobs_evicted} evicted"
    if not found.jobs_evicted:
        return jobs
    of_all = found.cpu_lost / (found.cpu_done + found.cpu_lost) if found.cpu_lost else 0.0
    return f"{jobs} (lost with them: {human_seconds(found.cpu_lost)} of CPU time, {of_all:.1%} of the jobs')"


def _week_lines(found: Summary) -> Iterator[str]:
    yield "Tenths of all CPUs that were donated, by the hour here:"
    yield "     " + "".join(f"{hour:<6}" for hour in range(0, 24, 3)).rstrip()
    for day, parts in zip(DAYS, found.week, strict=True):
        yield f"{day}  {' '.join(map(_tenths, parts))}".rstrip()


def _tenths(part: float | None) -> str:
    """One digit; 9 is nearly all, or all."""
    if part is None:
        return UNKNOWN
    return NONE if part < LITTLE else str(min(9, round(10 * part)))


def _pause_line(pause: Pause) -> str:
    why = printable(pause.why) or "there had not been room for long enough"
    return f"  {local_time(pause.begin, '%Y-%m-%d %H:%M')}  {human_seconds(pause.seconds):>8}  {why}"
