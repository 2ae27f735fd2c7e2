"""This installation's id, by which it knows its workers: a file in the state directory."""

import os
import re
from pathlib import Path

from plancton.files import read_regular, replace_file
from plancton.paths import LARGEST_FILE, RunDirError, not_writable


def instance_id(state: Path) -> str:
    """This installation's random id, created at first use."""
    path = state / "instance"
    try:
        found = read_instance(state)
        if found and re.fullmatch(r"[\w.-]{1,64}", found, re.ASCII) is None:
            raise RunDirError(
                f"{path}: does not hold an instance id: restore it, or delete the file to get a new one"
            )
        if found:
            return found
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunDirError(f"{path}: {error.strerror}; it holds this installation's id") from None
    try:
        state.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path, os.urandom(6).hex().encode(), 0o644)
    except OSError as error:
        raise RunDirError(not_writable(state, error, "PLANCTON_STATE_DIR")) from None
    return read_instance(state)


def peek_instance(state: Path) -> str:
    try:
        return read_instance(state) or "none"
    except OSError:
        return "none"


def read_instance(state: Path) -> str:
    data, _ = read_regular(state / "instance", LARGEST_FILE, follow=False)
    return data.decode(errors="replace").strip()
