"""The page with its data inside, as one file that opens without a network: `plancton report --html`."""

from pathlib import Path

import msgspec

from plancton.files import replace_named_file, to_json
from plancton.history.tables import DAY, HOUR
from plancton.paths import Paths
from plancton.units import printable
from plancton.web.access import WebError
from plancton.web.now import Now, written_now
from plancton.web.page import written_page
from plancton.web.past import LONGEST, Chart, Past, read_past

SPANS = (DAY, 7 * DAY, 30 * DAY, 365 * DAY)
MINUTES, FINER = 7 * DAY, 300
"""Days for which there is a chart with a finer step, to zoom into; of all there is one with hours."""


class Written(msgspec.Struct, frozen=True):
    """``first`` is what is shown first; ``pasts``, the shorter ones first, end now. ``charts`` have
    more points than a screen shows."""

    now: Now
    first: dict[str, float]
    pasts: tuple[Past, ...]
    charts: tuple[Chart, ...]


def write_report(file: Path, paths: Paths, since: float, now: float) -> None:
    """From ``since`` on at first; a year is in it in any case. Raises HistoryError and WebError."""
    span = min(now - since, LONGEST)
    spans = sorted({float(each) for each in (*SPANS, span)})
    pasts = tuple(read_past(paths.state, now - each, now, now) for each in spans)
    finer = (
        read_past(paths.state, now - MINUTES, now, now, FINER),
        read_past(paths.state, now - spans[-1], now, now, HOUR),
    )
    charts = tuple(past.chart for past in finer if past.chart is not None)
    data = Written(written_now(paths), {"span": span}, pasts, charts)
    try:
        replace_named_file(file, written_page(to_json(data)).encode(), 0o644)
    except OSError as error:
        where = printable(str(file))
        raise WebError(f"--html {where}: can't be written: {error.strerror}; name another file") from None
