"""The configuration in force on a running host: read again when its file changes."""

import logging
import os
from pathlib import Path

from plancton.config.clone import ALLOW
from plancton.config.load import load_config, warning
from plancton.errors import PlanctonError

log = logging.getLogger(__name__)


def _signature(path: str) -> tuple[int, int, int, int] | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns


class ConfigFile:
    """The configuration in force, read again when its file changes; a broken one is refused."""

    def __init__(self, path: Path, missing_ok: bool) -> None:
        self.path, self._missing_ok = path, missing_ok
        # A repository's configuration is looked at by this host's allow.yaml.
        self.watched = path, path.with_name(ALLOW)
        self._names = tuple(map(os.path.abspath, self.watched))
        self.is_linked = self._leads_elsewhere()
        """Whether a change may happen in another directory than those of `watched`."""
        self._seen = self._signature()
        self.config = load_config(path, missing_ok)
        self.problem = ""
        self._unread = False
        """Whether a file could not be read: it may be readable now. One that is wrong stays so."""
        self._warn()

    def _signature(self) -> tuple[tuple[int, int, int, int] | None, ...]:
        return tuple(map(_signature, self._names))

    def _leads_elsewhere(self) -> bool:
        return any(name != os.path.realpath(name) for name in self._names)

    def _warn(self) -> None:
        if said := warning(self.path):
            log.warning("%s", said)

    def changed(self) -> bool:
        """Whether there is a new configuration in force; says so, or why the last good one stays."""
        signature = self._signature()
        if signature == self._seen and not self._unread:
            return False
        self._seen, self.is_linked = signature, self._leads_elsewhere()
        try:
            config = load_config(self.path, self._missing_ok)
        except PlanctonError as error:
            self._unread = isinstance(error.__context__, OSError)
            problem = f"{error} (the last good configuration stays in force)"
            if problem != self.problem:
                log.error("%s", problem)
            self.problem = problem
            return False
        self.problem, self._unread = "", False
        if config == self.config:
            return False
        self.config = config
        self._warn()
        return True
