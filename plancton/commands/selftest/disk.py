"""The selftest's look at the disk: the owner saves and reads small pieces, alone and beside a worker
that writes.

All of it is in a directory of its own on the disk that workers write to, and is a few megabytes:
worn disks are somebody's, too.
"""

import mmap
import os
import random
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from statistics import median

from plancton.commands.selftest.figures import Disk
from plancton.config.schema import Config
from plancton.files import read_knob
from plancton.host.mounts import LOCAL, kind_of, parse_mounts, reachable
from plancton.workers.disks import PROC, read_disk

ROUNDS = 3
ALONE, BESIDE = 0.4, 2.0
"""Seconds of the owner's part in a round; beside the worker at most, and no longer than it writes."""
PIECE, FILE = 4096, 8 << 20
"""Bytes that the owner writes or reads at a time, and of the file that has them."""
CHUNKS = 8
"""Megabytes that the worker writes in a round, each with fsync."""
NEEDED = 100_000_000
"""Bytes that must be free beyond the owner's reserve: ten times what is used."""
INSIDE, GO = "/selftest", "go"
"""Where the worker has the directory, and the file in it that says that it may write."""


def writer(lifetime: int) -> str:
    """What the worker's shell does: it writes as long as `go` is there, once for each time."""
    write = "dd if=/dev/zero of=written bs=1024k count=1 seek=$c conv=notrunc,fsync 2>/dev/null || exit 1"
    chunks = f"c=0; while [ $c -lt {CHUNKS} ] && [ -e {GO} ]; do {write}; c=$((c + 1)); done; rm -f {GO}"
    rounds = f"while :; do until [ -e {GO} ]; do sleep 0.1 || exit 1; done; {chunks}; done"
    return f"cd {INSIDE} || exit 1; {{ {rounds}; }} & exec sleep {lifetime}"


def find_place(written: Iterable[str], candidates: Iterable[Path]) -> Path | None:
    """The first of the ``candidates`` that is on a disk with one of these directories, which workers
    write to, and where this user may write."""
    devices = {device for path in written if (device := _device(path)) is not None}
    return next((p for p in candidates if _device(p) in devices and os.access(p, os.W_OK | os.X_OK)), None)


def _device(path: str | Path) -> int | None:
    try:
        return os.stat(path).st_dev
    except OSError:
        return None


def why_not(config: Config, place: Path | None) -> str:
    """Why nothing is measured; empty if it can be. ``place``: see find_place."""
    if place is None:
        return "not measured: workers write to another disk than this user"
    mounts = parse_mounts(read_knob(PROC / "self/mountinfo") or "")
    kind = kind_of({mount.point: mount.kind for mount in reachable(mounts)}, place)
    if kind not in LOCAL:
        return f"not measured: {place} is on no disk of this host's ({kind or 'unknown'})"
    disk, reserve = read_disk(str(place)), config.owner.reserve_disk
    if disk is None or disk.free < reserve.of(disk.total) + NEEDED:
        return f"not measured: too little is free on the disk with {place}"
    return ""


def make_directory(made: Path) -> Path:
    """A directory for the worker, in this one, which nobody else may enter."""
    made.mkdir(0o700)
    inside = made / "worker"
    inside.mkdir()
    inside.chmod(0o777)  # whoever the worker is
    return inside


def measure(
    inside: Path, frozen: Callable[[], AbstractContextManager[None]], verify: Callable[[], None]
) -> Disk | str:
    """Both in turn. ``frozen``: meanwhile no worker runs; ``verify`` fails if ours has ended."""
    go = inside / GO
    with closing(Owner(inside.parent / "own")) as owner:
        for _ in range(ROUNDS):
            with frozen():
                owner.works("alone", ALONE, lambda: True)
            go.touch(0o666)
            owner.works("beside", BESIDE, go.exists)
            written = (inside / "written").exists()
            go.unlink(missing_ok=True)
            verify()
            if not written:
                return f"not measured: the worker has written nothing in {BESIDE:g} s"
        return owner.found


class Owner:
    """Saves and reads pieces of a file, and counts how long each takes."""

    def __init__(self, file: Path) -> None:
        file.write_bytes(os.urandom(FILE))
        self._write = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
        self._read: int | None = None
        with suppress(OSError):  # not all file systems read around the page cache
            self._read = os.open(file, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
        self._piece = mmap.mmap(-1, PIECE)  # aligned, as O_DIRECT wants it
        self._times = dict[str, tuple[list[float], list[float]]]()
        os.fsync(self._write)

    def close(self) -> None:
        os.close(self._write)
        if self._read is not None:
            os.close(self._read)

    def works(self, how: str, seconds: float, goes_on: Callable[[], bool]) -> None:
        """For that long, as long as ``goes_on``, and once at least."""
        writes, reads = self._times.setdefault(how, ([], []))
        deadline = time.monotonic() + seconds
        while True:
            writes.append(_time_of(self._save))
            if self._read is not None:
                try:
                    reads.append(_time_of(self._load))
                except OSError:
                    os.close(self._read)
                    self._read = None
            if time.monotonic() >= deadline or not goes_on():
                return

    def _save(self) -> None:
        os.pwrite(self._write, os.urandom(PIECE), self._anywhere())
        os.fsync(self._write)

    def _load(self) -> None:
        assert self._read is not None
        os.preadv(self._read, [self._piece], self._anywhere())

    def _anywhere(self) -> int:
        return random.randrange(FILE // PIECE) * PIECE

    @property
    def found(self) -> Disk:
        """Medians."""
        (writes, reads), (beside, reads_beside) = self._times["alone"], self._times["beside"]
        both = (median(reads), median(reads_beside)) if self._read is not None else (None, None)
        return Disk(median(writes), median(beside), *both)


def _time_of(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
