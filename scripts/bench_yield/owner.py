"""The owner's loads for scripts/bench-yield. As a program: for each line of input, run the load of
that name and answer with one line, its `Result` as JSON. It is a separate process, in the owner's
cgroup."""

import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from mmap import PAGESIZE, mmap
from pathlib import Path

import msgspec

from plancton.commands.selftest import owner_load
from plancton.commands.selftest.figures import Load

CPUS = len(os.sched_getaffinity(0))
STEP = 0.01
STEADY, PART, INTERACTIVE, COMPILE, GROWTH = 3.0, 1.5, 2.0, 2.5, 1.5
"""How long each load lasts (seconds)."""
SOON, NOTICED = 2.0, 5.0
BURST, PAUSE = 1.0, 3.0
STINT, REST = 5.0, 15.0
KEYSTROKE, WAKE_STEP = 3, 0.002
"""How long a keystroke takes (milliseconds), and how often a sleeper wakes meanwhile (seconds)."""
GROWN = 512 << 20
"""The size to which each growing process grows before it starts again (bytes)."""
SOURCES = sorted(Path(__file__).parents[2].glob("csrc/[opr]*.c"))
OPTIONS = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-pipe", "-c"]


class Result(msgspec.Struct, frozen=True):
    """What the owner got; times in seconds.

    ``cpu`` is of all threads together, of ``wall`` that they wanted; ``work`` in the load's own
    unit; ``waited`` on run queues (None where nobody counts it); ``late``: of each wake-up;
    ``cpu_series``: CPU time had by the end of each hundredth of a second.
    """

    cpu: float
    wall: float
    work: float
    waited: float | None = None
    late: list[float] = []
    cpu_series: list[float] = []


def steady() -> Result:
    """Every CPU, all the time."""
    spun = owner_load.spin(CPUS, STEP, round(STEADY / STEP))
    return Result(spun.cpu[-1], spun.wall, spun.work, spun.waited, cpu_series=list(spun.cpu))


def part() -> Result:
    """Half of the CPUs, all the time: workers may have the others."""
    return _added([owner_load.spin(max(1, CPUS // 2), STEP, round(PART / STEP))])


def bursty() -> Result:
    """Every CPU for a second, then nothing for three."""
    spun = owner_load.spin(CPUS, STEP, round(BURST / STEP))
    time.sleep(PAUSE)
    return _added([spun])


def interactive() -> Result:
    """A few ms of work now and then, like a keystroke, and a sleeper that measures its delays."""
    bursts, ended = list[Load](), threading.Event()

    def type_on() -> None:
        while not ended.is_set():
            bursts.append(owner_load.spin(1, 0.001, KEYSTROKE))

    typist = threading.Thread(target=type_on)
    typist.start()
    late = owner_load.wake_ups(WAKE_STEP, round(INTERACTIVE / WAKE_STEP))
    ended.set()
    typist.join()
    return msgspec.structs.replace(_added(bursts), late=list(late))


def compile_on(before: float = NOTICED) -> Result:
    """The same, after it has lasted long enough for a supervisor to notice."""
    compile_c(before)
    return compile_c()


def stint() -> Result:
    """Compile for some seconds, and then nothing: how soon the workers are back?"""
    compiled = compile_c(STINT)
    time.sleep(REST)
    return compiled


def compile_c(seconds: float = COMPILE) -> Result:
    """Compile the project's own C repeatedly, on each CPU: short processes that do I/O."""
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(CPUS) as pool:
        before, begin = _children(), time.monotonic()

        def compile_with(number: int) -> int:
            done = 0
            while time.monotonic() - begin < seconds:
                source = SOURCES[(number + done) % len(SOURCES)]
                subprocess.run(["gcc", *OPTIONS, source, "-o", f"{directory}/{number}.o"], check=True)
                done += 1
            return done

        work = sum(pool.map(compile_with, range(CPUS)))
        wall = time.monotonic() - begin
    return Result(_children() - before, CPUS * wall, work / wall)


def growth(pool: ProcessPoolExecutor) -> Result:
    """Memory that grows on each CPU, as fast as the kernel gives it."""
    grown = list(pool.map(grow, [GROWTH] * CPUS))
    return Result(*(sum(each) for each in zip(*grown, strict=True)))


def grow(seconds: float) -> tuple[float, float, float, float]:
    """CPU time, wall time, pages and time on run queues of one process that grows."""
    cpu, waited, begin, pages = time.process_time(), _waited(), time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        with mmap(-1, GROWN) as memory:
            for start in range(0, GROWN, 4 << 20):
                for page in range(start, start + (4 << 20), PAGESIZE):
                    memory[page] = 1
                pages += (4 << 20) // PAGESIZE
                if time.monotonic() - begin >= seconds:
                    break
    wall = time.monotonic() - begin
    return time.process_time() - cpu, wall, pages / wall, _waited() - waited


def _added(loads: list[Load]) -> Result:
    waits = [each.waited for each in loads if each.waited is not None]
    return Result(
        cpu=sum(each.cpu[-1] for each in loads),
        wall=sum(each.wall for each in loads),
        work=sum(each.work for each in loads) / sum(each.wall for each in loads),
        waited=sum(waits) if len(waits) == len(loads) else None,
    )


def _children() -> float:
    """CPU seconds of all processes that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _waited() -> float:
    """This process' time on run queues (proc_pid_schedstat(5), second field)."""
    return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9


def main() -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(CPUS, mp_context=context) as pool:
        list(pool.map(grow, [0.0] * CPUS))  # the processes are there before any thread is
        loads: dict[str, Callable[[], Result]] = {
            "steady": steady,
            "half": part,
            "bursty": bursty,
            "interactive": interactive,
            "compile": compile_c,
            "third second": lambda: compile_on(SOON),
            "compiling on": compile_on,
            "stints": stint,
            "memory": lambda: growth(pool),
        }
        for line in sys.stdin:
            print(msgspec.json.encode(loads[line.strip()]()).decode(), flush=True)


if __name__ == "__main__":
    main()
