"""The page that `plancton web` serves."""

import html
from pathlib import Path

STATIC = Path(__file__).with_name("static")
PARTS = "<!-- parts -->"
OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy: nothing inline, and nothing from elsewhere."""


def served_page(token: str) -> str:
    """``token``: empty if people have to type it."""
    meta = f'<meta name="plancton-token" content="{html.escape(token)}">'
    links = (
        '<link rel="icon" href="static/icon.svg">',
        '<link rel="stylesheet" href="static/uplot.css">',
        '<link rel="stylesheet" href="static/page.css">',
        '<script src="static/uplot.js" defer></script>',
        '<script src="static/main.js" type="module"></script>',
    )
    return read_static("index.html").replace(PARTS, "\n".join((meta, *links)))


def read_static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
