"""What all that acts on workers works with."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import msgspec

from plancton.config.schema import Config
from plancton.docker.errors import DockerError, DockerRefused, DockerTimeout
from plancton.docker.request_queue import RequestQueue
from plancton.host.slice import Slice
from plancton.workers.cpu_benchmark import HostSpeed
from plancton.workers.job_accounting import Accounting
from plancton.workers.roster import Roster
from plancton.workers.surroundings import ORDINARY, Surroundings


class Context(msgspec.Struct, frozen=True):
    """One instance on one slice. ``say`` takes a sentence for the log and the status.

    Removals, logs and archives go through the ``cleanup_queue``: they may be slow, and a worker that must
    leave can't wait for them. Docker's answers come back as calls that the loop makes.
    """

    roster: Roster
    request_queue: RequestQueue
    cleanup_queue: RequestQueue
    slice: Slice
    instance: str
    say: Callable[[str], None]
    proc: Path
    accounting: Accounting
    on_trouble: Callable[[DockerError], None]
    on_image_lost: Callable[[], None]
    around: Callable[[Config], Surroundings] = lambda _: ORDINARY
    on_network: Callable[[], None] = lambda: None
    speed: HostSpeed = msgspec.field(default_factory=HostSpeed)
    dry_run: bool = False
    clock: Callable[[], float] = monotonic

    def trouble(self, error: DockerError | None) -> None:
        """An answer of Docker's: an error may mean that it is away."""
        if error is not None and not isinstance(error, DockerRefused):
            self.on_trouble(error)

    def cleanup_trouble(self, error: DockerError | None) -> None:
        """A slow removal or log does not mean that Docker is away."""
        if not isinstance(error, DockerTimeout):
            self.trouble(error)
