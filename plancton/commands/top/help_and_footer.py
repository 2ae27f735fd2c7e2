"""The help of `plancton top`, and the last line with the keys that do something here. Pure."""

from collections.abc import Collection, Iterator
from textwrap import wrap

from rich.segment import Segment

from plancton.commands.top.drawing import (
    BADGE,
    DONATED,
    GAP,
    LOUD,
    QUIET,
    Line,
    Page,
    Screen,
    columns,
    fill,
    rule,
    sides,
)
from plancton.commands.top.workers import CPU_NOTE, WAITS
from plancton.model import Status

HELP = (
    ("owner", "everything here but the workers and Docker's own processes"),
    ("donated, idle", "what workers use, of what the owner leaves; what nobody uses"),
    ("tier", "how workers yield: kernel (at once), weight (least share), none"),
    ("CPU %, share", "100 % = one CPU; share: what it gets of what it asked for"),
    (WAITS, "too little is left for this worker: it goes if that lasts"),
    ("job 12m 03s", "has run a job for that long; no job: it waits for one"),
    ("leaving", "drops its job now; the pool runs it elsewhere"),
    ("finishing", "finishes its job, then goes"),
    ("", ""),
    ("q", "quit"),
    ("s, r", "sort by the next column; reverse the order"),
    ("up, down", "pick a worker, or click on it; Enter: what is known of it"),
    ("/", "only workers, or events, with this in them; Esc: all again"),
    ("h", "history: the last 24 hours; again: the last 8 days"),
    ("e", "events: what Plancton did and why"),
    ("p", "pause: freeze the workers for an hour; again: resume"),
    ("d", "drain: start no more workers; again: resume"),
    ("Esc, ?", "back to the workers; this help, and back"),
)

GO_FIRST = ("r", "d", "e", "/", "h", "p")
"""Keys that the last line does without where there is no room: the help has them all."""

HELP_WORD = max(len(word) for word, _ in HELP) + len(GAP)


def help_page(screen: Screen) -> Iterator[Line]:
    if screen.roomy:
        yield rule(screen, "help")
    reason = screen.status.tier_reason if screen.status else ""
    if reason:
        yield [Segment(fill("this host", HELP_WORD), LOUD), Segment(reason)]
    for word, text in HELP:
        for n, part in enumerate(wrap(text, max(screen.room - HELP_WORD, 20)) or [""]):
            yield [Segment(fill("" if n else word, HELP_WORD), LOUD), Segment(part)]


def footer(screen: Screen) -> Line:
    if screen.typing:
        return [Segment(f"show only those with: {screen.filter}", LOUD), Segment(" ", BADGE)]
    if screen.message:
        return [Segment(screen.message, LOUD)]
    note = [] if screen.roomy else [Segment(CPU_NOTE, QUIET)]
    keys = _keys(screen)
    for key in GO_FIRST:
        if _width(keys, " ") + columns(note) > screen.room:
            keys.pop(key, None)
    gap = "   " if _width(keys, "   ") + columns(note) <= screen.room else " "
    shown = [(Segment(key, LOUD + DONATED), Segment(f" {text}{gap}", QUIET)) for key, text in keys.items()]
    return sides(screen, [segment for pair in shown for segment in pair], note)


def going_on(status: Status) -> Collection[str]:
    """Which of `pause` and `drain` the owner has asked for; a pause by a rule is none."""
    paused = status.pause is not None and status.pause.by == "owner"
    return [*(["pause"] if paused else []), *(["drain"] if status.mode == "draining" else [])]


def _width(keys: dict[str, str], gap: str) -> int:
    return sum(len(f"{key} {text}{gap}") for key, text in keys.items())


def _keys(screen: Screen) -> dict[str, str]:
    """Those that do something here."""
    page = screen.page
    if page is Page.HELP or (page is Page.WORKERS and screen.status is None):
        return {"q": "quit", "?": "back" if page is Page.HELP else "help", "h": "history", "e": "events"}
    if page is Page.PAST:
        days = "24 hours" if screen.past and screen.past.days > 1 else "8 days"
        return {"q": "quit", "Esc": "back", "h": days, "e": "events", "?": "help"}
    if page is not Page.WORKERS:
        search = {"/": "search"} if page is Page.EVENTS else {}
        return {"q": "quit", "Esc": "back", **search, "h": "history", "?": "help"}
    sort = "CPU" if screen.sort == "cpu" else screen.sort
    there = going_on(screen.status) if screen.status else ()
    asks = {key: "resume" if what in there else what for key, what in (("p", "pause"), ("d", "drain"))}
    keys = {"q": "quit", "s": f"sort: {sort}", "r": "reverse", "/": "filter", "h": "history", "e": "events"}
    return {**keys, **asks, "?": "help"}
