"""The page with its data inside, as one file that opens without a network: `plancton report --html`."""

import base64
import hashlib
import re
from pathlib import Path

import msgspec

from plancton.files import replace_named_file, to_json
from plancton.history.tables import DAY, HOUR
from plancton.paths import Paths
from plancton.units import printable
from plancton.web.access import WebError
from plancton.web.now import Now, written_now
from plancton.web.page import PARTS, read_static
from plancton.web.past import LONGEST, Chart, Past, read_past

MODULES = ("format", "source", "chart", "now", "past", "main")
"""Each imports only from those before it."""
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class |const |function |async )", re.MULTILINE)
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


def written_page(data: bytes) -> str:
    """For a file: ``data`` is JSON. The browser runs what is in it now, and nothing else."""
    scripts = [read_static("uplot.js"), _one_script()]
    styles = [read_static("uplot.css") + read_static("page.css")]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)};"
        " base-uri 'none'; form-action 'none'"
    )
    head = [f'<meta http-equiv="Content-Security-Policy" content="{policy}">']
    head += [f"<style>{style}</style>" for style in styles]
    text = data.decode().replace("<", "\\u003c")
    body = [f'<script type="application/json" id="data">{text}</script>']
    body += [f'<script type="module">{script}</script>' for script in scripts[1:]]
    page = read_static("index.html").replace(PARTS, "\n".join([*head, f"<script>{scripts[0]}</script>"]))
    return page.replace("</body>", "\n".join([*body, "</body>"]))


def _one_script() -> str:
    """All modules in one: a browser lets no module of a file import another file."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", read_static(f"{name}.js"))) for name in MODULES)


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
