"""The configuration in force on a running host: read again when its file changes."""

import logging
from pathlib import Path

from plancton.config import ConfigError, load

log = logging.getLogger(__name__)


class ConfigFile:
    """The configuration in force, read again when its file changes; a broken one is refused."""

    def __init__(self, path: Path, missing_ok: bool) -> None:
        self.path, self._missing_ok = path, missing_ok
        self._seen = self._signature()
        self.config = load(path, missing_ok)
        self.problem = ""

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def changed(self) -> bool:
        """Whether there is a new configuration in force; says so, or why the last good one stays."""
        signature = self._signature()
        if signature == self._seen:
            return False
        self._seen = signature
        try:
            config = load(self.path, self._missing_ok)
        except ConfigError as error:
            self.problem = f"{error} (the last good configuration stays in force)"
            log.error("%s", self.problem)
            return False
        self.problem = ""
        if config == self.config:
            return False
        self.config = config
        return True
