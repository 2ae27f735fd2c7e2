"""A first configuration: the commented defaults in a file, or a clone of a repository."""

import os
from pathlib import Path

from plancton.config.clone import CONFIG, MARK
from plancton.config.profiles import settings_of
from plancton.config.repository import init
from plancton.config.show import example
from plancton.paths import RunDirError
from plancton.units import quoted


def write_example(path: Path, force: bool, profile: str | None = None) -> str:
    """Write all defaults, and a profile's settings; ``force`` replaces a file that is there."""
    try:
        settings = settings_of(profile) if profile is not None else None
    except ValueError as error:
        raise RunDirError(f"--profile: {error}") from None
    try:
        if not force and path.exists():
            raise RunDirError(f"{path}: is there already; --force replaces it")
        if path.name == CONFIG and os.path.lexists(path.parent / MARK):
            raise RunDirError(
                f"{path}: comes from the repository that {path.parent} is a clone of; change it there"
            )
        if path.exists() and not path.is_file():
            raise RunDirError(f"{path}: is not a regular file; name another one")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(example(settings))
    except OSError as error:
        raise RunDirError(f"{path}: can't be written: {error.strerror}") from None
    return f"{path}: written; set image.name or htcondor in it, then `plancton check {quoted(path)}`"


def clone_repository(url: str, ref: str | None, path: Path, force: bool) -> str:
    if force:
        raise RunDirError("--repo replaces nothing: leave out --force, and move away what is there")
    if path.name != CONFIG:
        raise RunDirError(f"{path}: a repository's file is called {CONFIG}: name DIRECTORY/{CONFIG}")
    return init(url, ref, path.parent)
