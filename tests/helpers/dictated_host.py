"""A host whose figures the test dictates: what a supervisor reads in /proc/stat and /proc/meminfo,
and which CPUs are isolated.

The files are mounted over the kernel's own, in a mount namespace that only the supervisor is
in. So the owner uses just what a test says, however busy this machine is, and tests can run beside
each other.
"""

import os
import shlex
import threading
import time
from pathlib import Path
from typing import Self

CPUS = os.cpu_count() or 1
HZ = os.sysconf("SC_CLK_TCK")
GB = 1024**3
HIDE = "mount -t proc -o hidepid=2 proc /proc && "
MOUNT = (
    'mount --bind "$1" /proc/stat && mount --bind "$2" /proc/meminfo &&'
    ' mount --bind "$3" /sys/devices/system/cpu/isolated && shift 3 && exec "$@"'
)


class DictatedHost:
    """Set ``owner`` (CPUs that the owner uses) and ``memory_available`` (bytes) at any time, or
    ``stat``: what /proc/stat holds instead of figures."""

    memory_total = 16 * GB

    def __init__(self, directory: Path) -> None:
        self.owner, self.memory_available = 0.0, 12 * GB
        self.softirq = 0.0
        """CPUs that the kernel uses for packets."""
        self.stat: str | None = None
        self._busy, self._idle, self._soft = 1_000.0, 100_000.0, 0.0
        self._last = time.monotonic()
        self.files = directory / "proc-stat", directory / "proc-meminfo", directory / "isolated"
        self._stat, self._meminfo = (os.open(file, os.O_RDWR | os.O_CREAT, 0o644) for file in self.files[:2])
        self.isolate("")
        self.hides_processes = False
        """From users other than root, as hidepid does (proc(5))."""
        self.mounted: dict[str, Path] = {}
        """Files that are mounted over this machine's, such as /etc/resolv.conf."""
        self._write()
        self._over = threading.Event()
        self._writer = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> Self:
        self._writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._writer.join()
        for file in (self._stat, self._meminfo):
            os.close(file)

    def isolate(self, cpus: str) -> None:
        """As isolcpus does; the kernel's list of them."""
        self.files[2].write_text(f"{cpus}\n")

    def command(self, *words: str) -> list[str]:
        """This command on this host. It keeps its pid: each step executes the next."""
        mount = HIDE + MOUNT if self.hides_processes else MOUNT
        for place, file in self.mounted.items():
            mount = f"mount --bind {shlex.quote(str(file))} {place} && {mount}"
        enter = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", mount, "sh"]
        return [*enter, *map(str, self.files), *words]

    def _go_on(self) -> None:
        """Like a clock, ahead of whatever else wants the CPUs."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -19)
        while not self._over.wait(0.05):
            self._write()

    def _write(self) -> None:
        """All counters until now. Widths are fixed, so that one write replaces all there is."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        owner = min(float(CPUS), self.owner)
        self._busy += owner * passed
        self._soft += self.softirq * passed
        self._idle += (CPUS - owner - self.softirq) * passed
        lines = [_cpu_line("cpu", self._busy, self._idle, self._soft)]
        part = self._busy / CPUS, self._idle / CPUS, self._soft / CPUS
        lines += [_cpu_line(f"cpu{n}", *part) for n in range(CPUS)]
        if self.stat is None:
            os.pwrite(self._stat, "".join([*lines, "ctxt 1\n"]).encode(), 0)
        else:
            os.truncate(self._stat, len(self.stat))
            os.pwrite(self._stat, self.stat.encode(), 0)
        sizes = {"MemTotal": self.memory_total, "MemFree": GB, "MemAvailable": self.memory_available}
        sizes |= {"SwapTotal": 0, "SwapFree": 0}
        text = "".join(f"{name}: {size // 1024:>15} kB\n" for name, size in sizes.items())
        os.pwrite(self._meminfo, text.encode(), 0)


def _cpu_line(name: str, busy: float, idle: float, soft: float) -> str:
    """As proc_stat(5) has it: user, nice, system, idle, iowait, irq, softirq and three more."""
    user, rest = f"{round(busy * HZ):>15} 0 0 {round(idle * HZ):>15}", f"0 0 {round(soft * HZ):>15} 0 0 0"
    return f"{name} {user} {rest}\n"
