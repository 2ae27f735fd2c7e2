"""One frame of `plancton top`: figures and a status become lines of text. Pure."""

from collections.abc import Iterator

from rich.cells import cell_len
from rich.segment import Segment

from plancton.commands.top.drawing import (
    AIRY_FROM,
    ALARM,
    BADGE,
    DONATED,
    GAP,
    LOUD,
    QUIET,
    TALL_FROM,
    Line,
    Page,
    Screen,
    clean,
    clock,
    columns,
    cut,
    rule,
    sides,
    wrapped,
)
from plancton.commands.top.help_and_footer import footer, help_page
from plancton.commands.top.host_bars_and_curves import bars_and_curves
from plancton.commands.top.pages import events_page, past_page, worker_page
from plancton.commands.top.workers import column_at, first_line, in_order, page_of, table
from plancton.model import Status
from plancton.status_reading import STALE
from plancton.units import human_seconds

ASCII = str.maketrans("▁▂▃▄▅▆▇█━╸┅·─–…▼▲", ".:-=+*%###=.--~v^")


def render(screen: Screen) -> list[Line]:
    """One frame: never wider than the width, never longer than the height."""
    lines = _head(screen)
    foot = [footer(screen)] if screen.live else []
    height = screen.height - len(foot) if screen.height else None
    lines += _page(screen, None if height is None else height - len(lines))
    if height is not None:
        padding: list[Line] = [[]] * height if screen.live else []
        lines = [*lines, *padding][:height]
    return [_bounded(line, screen) for line in [*lines, *foot]]


def picked_by_click(screen: Screen, line: int) -> str | None:
    """The name of the worker that is shown there."""
    status = screen.status
    if status is None or screen.page is not Page.WORKERS:
        return None
    top = len(_head(screen))
    room = _room_for_workers(screen, status, screen.height - 1 - top)
    workers = page_of(screen, in_order(screen), room)
    place = line - top - first_line(screen)
    return workers[place].name if 0 <= place < len(workers) else None


def sorted_by_click(screen: Screen, line: int, column: int) -> str | None:
    """The column of the table whose heading is there."""
    if screen.page is not Page.WORKERS or line != len(_head(screen)) + first_line(screen) - 1:
        return None
    return column_at(screen, column)


def _head(screen: Screen) -> list[Line]:
    blank: list[Line] = [[]] if screen.roomy else []
    lines = [_title(screen)]
    airy: list[Line] = [[]] if screen.has(AIRY_FROM) else []
    if screen.page is Page.WORKERS or not screen.height:
        lines += [*airy, *_headline(screen), *_notices(screen), *blank, *bars_and_curves(screen)]
    elif screen.page is not Page.HELP:  # which needs the room
        lines += [*airy, *_headline(screen), *_notices(screen)]
    return [*lines, *blank]


def _page(screen: Screen, left: int | None) -> list[Line]:
    match screen.page:
        case Page.HELP:
            return list(help_page(screen))
        case Page.PAST:
            return past_page(screen, left)
        case Page.EVENTS:
            return events_page(screen, left)
        case Page.WORKER:
            return worker_page(screen, left)
        case Page.WORKERS:
            return _workers_and_events(screen, left)


def _workers_and_events(screen: Screen, left: int | None) -> list[Line]:
    """Workers and, as room allows, what happened of late."""
    status = screen.status
    if status is None:
        return []
    shown = table(screen, status, _room_for_workers(screen, status, left))
    return [*shown, *_events(screen, status, len(status.events) if left is None else left - len(shown) - 2)]


def _room_for_workers(screen: Screen, status: Status, left: int | None) -> int | None:
    """So many lines: on a high screen some events are shown in any case."""
    if left is None or not status.events or not screen.has(TALL_FROM):
        return left
    rule_and_two = 2 + min(len(status.events), 2)
    return left - rule_and_two


def _bounded(line: Line, screen: Screen) -> Line:
    """Nothing but printable text, a margin, and not beyond the width."""
    while line and not line[-1].text.strip(" "):
        line = line[:-1]
    out, left = [Segment(" " if line and screen.width > 2 else "")], screen.room
    for n, (text, style, _) in enumerate(line, 1):
        text = cut(clean(text.rstrip(" ") if n == len(line) else text), left)
        if screen.ascii and not text.isascii():
            text = text.translate(ASCII).encode("ascii", "replace").decode()
        out.append(Segment(text, style))
        left -= cell_len(text)
    return out


# -- what Plancton does


def _title(screen: Screen) -> Line:
    left = [Segment("plancton", LOUD + DONATED), Segment(" top", LOUD)]
    right = [Segment(clock(screen.now), QUIET)]
    if screen.status is not None:
        mode, tier = screen.status.mode, screen.status.tier
        state = [Segment(f" {mode} ", BADGE) if mode != "donating" else Segment(mode, LOUD + DONATED)]
        right = [*state, Segment("  tier ", QUIET), Segment(tier, LOUD), Segment(GAP), *right]
        if screen.room < columns([*left, *right]) + len(GAP):
            right = state
    space = screen.room - columns([*left, *right]) - 2 * len(GAP)
    if screen.host and space >= 8:
        left.append(Segment(GAP + cut(clean(screen.host), space), QUIET))
    return sides(screen, left, right)


def _headline(screen: Screen) -> Iterator[Line]:
    status = screen.status
    if status is None:
        text = "No supervisor's status is found here: these are the host's own figures."
        yield from wrapped(screen, text, 2, LOUD)
        return
    yield from wrapped(screen, status.sentence, 2 if screen.roomy else 1, LOUD)
    if screen.roomy and status.decision and status.decision != status.sentence:
        most = 2 if screen.has(TALL_FROM) else 1
        yield from wrapped(screen, f"last decision: {status.decision}", most, QUIET)
    if screen.roomy and status.tier_reason and status.tier != "kernel":
        yield [Segment(f"tier {status.tier}: {status.tier_reason}", QUIET)]


def _notices(screen: Screen) -> Iterator[Line]:
    """What is wrong, a line each."""
    if screen.status is None:
        return
    silent = screen.now - screen.status.time
    silence = [f"the supervisor has said nothing for {human_seconds(silent)}"] if silent > STALE else []
    for text in (*silence, *screen.status.problems[: 3 if screen.roomy else 1]):
        yield [Segment(f"! {text}", ALARM)]


# -- what happened of late


def _events(screen: Screen, status: Status, most: int) -> Iterator[Line]:
    if most < 1 or not status.events or not screen.roomy:
        return
    yield []
    yield rule(screen, "recent")
    for event in sorted(status.events, key=lambda event: -event.time)[:most]:
        yield [Segment(clock(event.time) + GAP, QUIET), Segment(event.text)]
