"""From Plancton 0.6 to this one: translate its configuration, and end its workers."""

import contextlib
import os
import textwrap
from pathlib import Path
from typing import Any

from plancton.config.load import load_config, written
from plancton.config.show import as_yaml
from plancton.config.v06 import is_legacy, translate, without_passwords
from plancton.docker.client import Docker
from plancton.docker.errors import NotFound
from plancton.docker.replies import Summary
from plancton.errors import PlanctonError
from plancton.workers.container import INSTANCE, PREFIX


class MigrateError(PlanctonError):
    """There is nothing to translate, in one line."""


def translate_file(old: Path) -> tuple[str, dict[str, dict[str, Any]], list[str]]:
    """What `plancton run` makes of a file of 0.6: as a file with comments, the same as data, and notes
    on what has changed."""
    if not os.path.exists(old):
        raise MigrateError(f"{old}: no such file; name the configuration of Plancton 0.6")
    load_config(old)  # says what can't be used
    data = written(old)
    if not is_legacy(data):
        raise MigrateError(f"{old}: is not of Plancton 0.6, so there is nothing to migrate")
    sections, notes = translate(data)
    without_passwords(sections, notes)
    comments = [f"From Plancton 0.6's {old}.", *(f"- {note}" for note in notes)]
    wrapped = [line for comment in comments for line in textwrap.wrap(comment, 108, subsequent_indent="  ")]
    text = "".join(f"# {line}\n" for line in wrapped) + as_yaml(sections)
    return text, sections, notes


def end_old_workers(socket: str) -> list[str]:
    """Remove the workers that 0.6 left behind; their names."""
    with Docker(socket) as docker:
        old = [each for each in docker.containers_named(PREFIX) if is_old(each)]
        for each in old:
            with contextlib.suppress(NotFound):
                docker.remove(each.id, force=True)
    return [each.names[0] for each in old]


def is_old(container: Summary) -> bool:
    """Whether it is a worker of 0.6, which set no label and knew its workers by name."""
    return INSTANCE not in container.labels and any(name.startswith(PREFIX) for name in container.names)
