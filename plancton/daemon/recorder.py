"""Writes a recording: a line for each tick, and one before it whenever the settings are others."""

from collections.abc import Callable
from pathlib import Path

from plancton import __version__
from plancton.files import to_json
from plancton.model import Decision, Header, Observation, Settings, Tick


class Recorder:
    """Appends to ``path``; a disk that is full ends the recording, which ``warn`` says, and nothing else."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path, self._warn = path, warn
        self._file = path.open("ab", buffering=0)
        self._settings: Settings | None = None

    def write(self, seen: Observation, decision: Decision, settings: Settings) -> None:
        if self._file.closed:
            return
        lines: list[Header | Tick] = [Tick(seen, decision)]
        if settings != self._settings:
            lines.insert(0, Header(__version__, settings, continued=self._settings is not None))
            self._settings = settings
        try:
            for line in lines:
                self._file.write(to_json(line) + b"\n")
        except OSError as error:
            self._warn(f"{self._path}: {error.strerror}; recording has ended")
            self.close()

    def close(self) -> None:
        self._file.close()
