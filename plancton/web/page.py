"""The page as text: with addresses of its parts, or with all parts and its data inside."""

import base64
import hashlib
import html
import re
from pathlib import Path

STATIC = Path(__file__).with_name("static")
MODULES = ("format", "source", "chart", "now", "past", "main")
"""Each imports only from those before it."""
PARTS = "<!-- parts -->"
OWN_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy: nothing inline, and nothing from elsewhere."""
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class |const |function |async )", re.MULTILINE)


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
    return _read("index.html").replace(PARTS, "\n".join((meta, *links)))


def written_page(data: bytes) -> str:
    """For a file: ``data`` is JSON. The browser runs what is in it now, and nothing else."""
    scripts = [_read("uplot.js"), _one_script()]
    styles = [_read("uplot.css") + _read("page.css")]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)};"
        " base-uri 'none'; form-action 'none'"
    )
    head = [f'<meta http-equiv="Content-Security-Policy" content="{policy}">']
    head += [f"<style>{style}</style>" for style in styles]
    text = data.decode().replace("<", "\\u003c")
    body = [f'<script type="application/json" id="data">{text}</script>']
    body += [f'<script type="module">{script}</script>' for script in scripts[1:]]
    page = _read("index.html").replace(PARTS, "\n".join([*head, f"<script>{scripts[0]}</script>"]))
    return page.replace("</body>", "\n".join([*body, "</body>"]))


def _one_script() -> str:
    """All modules in one: a browser lets no module of a file import another file."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js"))) for name in MODULES)


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")
