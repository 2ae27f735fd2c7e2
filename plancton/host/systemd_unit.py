"""The workers' slice as a unit of systemd's: what systemd is asked to set, and what others have it set."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from plancton.host import system_tools
from plancton.host.slice_bounds import Limits
from plancton.host.systemd_limits import DIRECTORIES, read_limits
from plancton.model import Tier

log = logging.getLogger(__name__)

PROPERTIES = (
    *("CPUWeight", "CPUAccounting", "CPUQuota", "AllowedCPUs"),
    *("MemoryMax", "MemorySwapMax", "IOWeight", "TasksMax"),
)
"""Those that systemd is asked to set: `make`, and the bounds (slice_bounds.py)."""
ANSWERS, AT_THE_END = 60.0, 10.0
"""Seconds: a host that is short of memory or disk may need that long. Nobody waits so long for the
supervisor's end."""


class SystemdUnit:
    """``runtime`` is where systemd writes what it is asked to set until the next boot, ``directories``
    are where the administrator's own files are. ``run_what_waits`` runs what waits for systemd: the loop
    has it run beside itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runtime, self.directories = Path("/run/systemd/system.control"), DIRECTORIES
        self.run_what_waits: Callable[[Callable[[], None]], None] = lambda work: work()
        self._waiting = False
        self._untold: dict[str, str] = {}
        """Properties that systemd must still be told, by their names."""

    @property
    def is_told(self) -> bool:
        return not self._untold

    def wait(self, work: Callable[[], None]) -> None:
        """One at a time: what is left out here is asked for again at a later repair."""
        if self._waiting:
            return
        self._waiting = True

        def whole() -> None:
            try:
                work()
            finally:
                self._waiting = False

        self.run_what_waits(whole)

    def make(self, strongest: Tier) -> Tier:
        """Have it made, with a class as strong as that; the strongest that this systemd knows."""
        weight = {"kernel": "idle", "weight": "1"}.get(strongest, "100")
        known = self._set(f"CPUWeight={weight}", "CPUAccounting=yes")
        # Before systemd 252 there is no idle class; what it does not know it would overwrite. A slow
        # systemd has not said that it knows none.
        if known is False and self._set("CPUWeight=1"):
            strongest = "weight"
        # Not in place of a job that systemd has for it: on a host that is going down, that would cancel it.
        _systemctl("start", "--job-mode=fail", self.name)
        return strongest

    def tell(self, properties: Iterable[str] = ()) -> None:
        """It would put back what it knows. What it could not be told yet is told as well."""
        self._untold.update((each.partition("=")[0], each) for each in properties)
        if self._untold:
            self.wait(self._tell)

    def _tell(self) -> None:
        """May run beside the loop, which adds to the dictionary."""
        properties = list[str]()
        while self._untold:
            properties.append(self._untold.popitem()[1])
        if properties:
            self._set(*properties)

    def _set(self, *properties: str) -> bool | None:
        return _systemctl("set-property", "--runtime", self.name, *properties)

    def limits(self) -> Limits:
        """The administrator's own."""
        return read_limits(self.name, self._drop_ins(), self.directories)

    def _drop_ins(self) -> list[Path]:
        """What systemd writes when we have it set something (systemctl(1), set-property)."""
        return [self.runtime / f"{self.name}.d/50-{name}.conf" for name in PROPERTIES]

    def remove(self) -> None:
        """Stop it, and remove what we have had systemd set, and nothing else: `revert` would take the
        administrator's drop-ins along."""
        _systemctl("stop", self.name, seconds=AT_THE_END)
        removed = False
        for file in self._drop_ins():
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
                removed = True
        with contextlib.suppress(OSError):  # somebody else's are in it
            (self.runtime / f"{self.name}.d").rmdir()
        if removed:
            _systemctl("daemon-reload", seconds=AT_THE_END)


def _systemctl(*arguments: str, seconds: float | None = None) -> bool | None:
    """Whether systemd has done it, None: it has not answered. The log says why not."""
    try:
        system_tools.call(
            ["systemctl", "--no-ask-password", *arguments], "systemd", seconds=seconds or ANSWERS
        )
    except system_tools.ProgramError as error:
        log.warning("%s", error)
        return None if isinstance(error, system_tools.NoAnswer) else False
    return True
