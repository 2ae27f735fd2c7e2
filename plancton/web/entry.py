"""Starts the page where its libraries are installed: minimal hosts don't carry them."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from plancton.units import quoted
from plancton.web.access import WebError

LIBRARIES = ("starlette", "uvicorn")


def start_page(listen: str, token_file: Path | None, say: Callable[[str], None]) -> None:
    """Until a signal ends it. Raises WebError."""
    if any(importlib.util.find_spec(library) is None for library in LIBRARIES):
        raise WebError(f"the page needs libraries that are not installed: {_remedy()}")
    from plancton.web.server import serve_page

    serve_page(listen, token_file, say)


def _remedy() -> str:
    if sys.prefix == sys.base_prefix:  # the distribution's Python: Plancton is a package as well
        return "apt install python3-starlette python3-uvicorn, or as your distribution calls them"
    return f"{quoted(Path(sys.executable).with_name('pip'))} install 'plancton[web]'"
