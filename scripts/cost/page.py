"""The figures of a run as a table, a picture, and the sentence in the README. Pure."""

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from cost.turns import NOBODY, Measurement, Spread

BEGIN, END = "<!-- begin: scripts/bench --peers -->", "<!-- end -->"
BEGIN_SCALE = "<!-- begin: scripts/bench --scale -->"
LEAST, MOST = 0.001, 100.0
"""Percent of a core that the picture shows."""
STYLE = (
    "text{font:13px sans-serif;fill:#444}line{stroke:#8886}.own{fill:#2a8}.engine{fill:#e83}"
    "@media(prefers-color-scheme:dark){text{fill:#ccc}}"
)


def table(measured: Sequence[Measurement], missing: Mapping[str, str]) -> Iterator[str]:
    """A line for each program: medians over the rounds, the least and the most in brackets."""
    yield "| | CPU, % of a core | dockerd's CPU for it, % | PSS, MiB | wake-ups per s | written, B/s |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, turns in by_name(measured).items():
        columns = (
            [each.cpu for each in turns],
            engine(measured, turns),
            [each.pss for each in turns],
            [each.wakeups for each in turns],
            [each.written for each in turns],
        )
        yield f"| {name} | " + " | ".join(cell(Spread.of(values)) for values in columns) + " |"
    for name, why in missing.items():
        yield f"| {name} | not available: {why} | | | | |"


def by_name(measured: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Those of each program, the cheapest first; nobody's are left out."""
    found = dict[str, list[Measurement]]()
    for each in measured:
        if each.name != NOBODY:
            found.setdefault(each.name, []).append(each)
    return dict(sorted(found.items(), key=lambda item: median(each.cpu for each in item[1])))


def engine(measured: Sequence[Measurement], turns: Sequence[Measurement]) -> list[float]:
    """What dockerd uses more than while nobody is awake."""
    alone = median([each.engine for each in measured if each.name == NOBODY] or [0.0])
    return [max(0.0, each.engine - alone) for each in turns]


def cell(found: Spread) -> str:
    return f"{short(found.middle)} ({short(found.low)}–{short(found.high)})"


def short(value: float) -> str:
    """Two digits that mean something."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}" if value >= 0.0005 else "0"


def picture(measured: Sequence[Measurement]) -> str:
    """Each program's CPU and what dockerd uses for it, on a logarithmic scale, as SVG."""
    rows, lines = by_name(measured), list[str]()
    height = 30 * len(rows) + 60
    for power in range(-3, 3):
        x = _x(10.0**power)
        lines.append(f'<line x1="{x:.0f}" y1="24" x2="{x:.0f}" y2="{height - 26}"/>')
        lines.append(f'<text x="{x:.0f}" y="16" text-anchor="middle">{10.0**power:g} %</text>')
    for row, (name, turns) in enumerate(rows.items()):
        y = 44 + 30 * row
        values = ("own", median(each.cpu for each in turns)), ("engine", median(engine(measured, turns)))
        lines.append(
            f'<text x="232" y="{y + 5}" text-anchor="end">{html.escape(name.replace("`", ""))}</text>'
        )
        for kind, value in values:
            if value >= LEAST:
                lines.append(f'<circle class="{kind}" cx="{_x(value):.0f}" cy="{y}" r="6"/>')
    y = height - 8
    lines.append(f'<circle class="own" cx="250" cy="{y - 4}" r="6"/><text x="262" y="{y}">its own CPU</text>')
    lines.append(f'<circle class="engine" cx="400" cy="{y - 4}" r="6"/>')
    lines.append(f'<text x="412" y="{y}">dockerd\'s, that it causes (of one core)</text>')
    size = f'viewBox="0 0 720 {height}" width="720" height="{height}"'
    body = "\n".join(lines)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{STYLE}</style>\n{body}\n</svg>\n'


def _x(value: float) -> float:
    part = (math.log10(value) - math.log10(LEAST)) / (math.log10(MOST) - math.log10(LEAST))
    return 245 + 440 * min(1.0, max(0.0, part))


def curves(ticks: Mapping[str, Mapping[int, float]]) -> str:
    """Microseconds of a tick by the number of each of these, which is on a logarithmic scale, as
    SVG."""
    most = max(max(values.values()) for values in ticks.values())
    top = 100 * math.ceil(most / 100)

    def x(count: int) -> float:
        return 70 + 550 * math.log10(count) / 3

    def y(value: float) -> float:
        return 220 - 190 * value / top

    lines = list[str]()
    for count in (1, 10, 100, 1000):
        lines.append(f'<line x1="{x(count):.0f}" y1="30" x2="{x(count):.0f}" y2="220"/>')
        lines.append(f'<text x="{x(count):.0f}" y="238" text-anchor="middle">{count}</text>')
    for value in (0, top // 2, top):
        lines.append(f'<text x="62" y="{y(value) + 4:.0f}" text-anchor="end">{value} µs</text>')
        lines.append(f'<line x1="70" y1="{y(value):.0f}" x2="620" y2="{y(value):.0f}"/>')
    for (what, values), kind in zip(ticks.items(), ("own", "engine"), strict=True):
        places = [(x(count), y(value)) for count, value in values.items()]
        points = " ".join(f"{across:.0f},{down:.0f}" for across, down in places)
        lines.append(f'<polyline class="{kind}" points="{points}"/>')
        lines += [f'<circle class="{kind}" cx="{a:.0f}" cy="{d:.0f}" r="4"/>' for a, d in places]
        lines.append(
            f'<text x="{places[-1][0] + 8:.0f}" y="{places[-1][1] + 4:.0f}">{html.escape(what)}</text>'
        )
    style = (
        STYLE + "polyline.own,polyline.engine{fill:none;stroke-width:2}"
        "polyline.own{stroke:#2a8}polyline.engine{stroke:#e83}"
    )
    body = "\n".join(lines)
    size = 'viewBox="0 0 720 250" width="720" height="250"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{style}</style>\n{body}\n</svg>\n'


def scale_table(ticks: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """Microseconds of a tick by the number of each of these."""
    for what, values in ticks.items():
        yield f"| {what} | " + " | ".join(map(str, values)) + " |"
        yield "|---|" + "---:|" * len(values)
        yield "| µs | " + " | ".join(f"{value:.0f}" for value in values.values()) + " |"
        yield ""


def filled(page: str, lines: Sequence[str], begin: str = BEGIN) -> str:
    """The page with these lines between its two marks."""
    before, mark, rest = page.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page lacks the line {begin} or {END}")
    return "\n".join([before + begin, "", *lines, "", END + after])


CLAIM = re.compile(r"(?<=\*\*It costs next to nothing\*\*: )\S+ % of one core")


def claimed(readme: str, cpu: float) -> str:
    """The README with this figure. Its memory is that of a supervisor alone on its host: here PSS
    is less, since other programs of Python's share their pages with it."""
    return CLAIM.sub(f"{short(cpu)} % of one core", readme)
