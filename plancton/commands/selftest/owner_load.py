"""The owner's part in the selftest: a load on each CPU, and a sleeper who counts how late they wake.

Only this module imports the C module `_owner_load`, whose calls release Python's lock.
"""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plancton.commands.selftest._owner_load import ffi, lib
from plancton.commands.selftest.figures import Load

PROC = Path("/proc")
NANO = 1_000_000_000
SOON, EACH = 0.02, 0.001
"""Seconds, in all and per thread, until a load starts: by then all threads wait for that moment."""


def spin(threads: int, step: float, steps: int, proc: Path = PROC) -> Load:
    """Keep this many threads busy for ``steps`` seconds; all start at the same moment."""
    start = time.monotonic_ns() + round((SOON + EACH * threads) * NANO)
    with ThreadPoolExecutor(threads) as pool:
        spun = pool.map(lambda _: _spin(start, round(step * NANO), steps, proc), range(threads))
        cpu, work, waited = zip(*spun, strict=True)
    return Load(
        threads=threads,
        step=step,
        cpu=tuple(sum(had) / NANO for had in zip(*cpu, strict=True)),
        work=sum(work),
        waited=None if None in waited else sum(waited) / NANO,
    )


def wake_ups(step: float, count: int) -> tuple[float, ...]:
    """Sleep ``count`` times; by how many seconds each sleep was too long."""
    late = ffi.new("uint64_t[]", count)
    _check(lib.plancton_wake(time.monotonic_ns(), round(step * NANO), late, count))
    return tuple(each / NANO for each in ffi.unpack(late, count))


def _spin(start: int, step: int, steps: int, proc: Path) -> tuple[list[int], int, int | None]:
    """One thread's CPU time by the end of each step, its work, and how long it waited; in nanoseconds."""
    cpu, work = ffi.new("uint64_t[]", steps), ffi.new("uint64_t *")
    before = _waited(proc)
    _check(lib.plancton_spin(start, step, cpu, steps, work))
    after = _waited(proc)
    return ffi.unpack(cpu, steps), work[0], None if before is None or after is None else after - before


def _waited(proc: Path) -> int | None:
    """This thread's nanoseconds on run queues so far (proc_pid_schedstat(5), second field)."""
    try:
        return int((proc / f"self/task/{threading.get_native_id()}/schedstat").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _check(error: int) -> None:
    if error:
        raise ValueError(f"the load can't be measured: {os.strerror(-error)}")
