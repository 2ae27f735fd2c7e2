"""Fixture trees for /proc and cgroups, each written from one expression.

    tree(tmp_path, proc(cpu=(10, 0, 5, 80, 1, 0, 0, 2)), slice=cgroup(usage=7_000_000, anon=4096))

A nested mapping is a directory, a text is a file; `vanish` makes a file look removed to those who
hold it open, as far as an ordinary file can.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Tree: TypeAlias = Mapping[str, "str | Tree"]

QUIET = (100, 20, 30, 400, 5, 6, 7, 8)
"""user nice system idle iowait irq softirq steal"""


def let_others_in(directory: Path) -> None:
    """Open it, and pytest's directories above it, to a user who is not root."""
    for parent in (directory, *directory.parents):
        if parent == Path(tempfile.gettempdir()):
            return
        parent.chmod(0o755)


def tree(root: Path, *parts: Tree, **named: Tree) -> Path:
    """Write the parts below ``root`` (created if missing), and the named ones into folders of that
    name."""
    root.mkdir(parents=True, exist_ok=True)
    for part in (*parts, named):
        for name, content in part.items():
            if isinstance(content, str):
                (root / name).write_text(content)
            else:
                tree(root / name, content)
    return root


def stat(cpu: Sequence[int] = QUIET, cpus: int = 2, intr: str = "623584 0 0 14") -> str:
    """/proc/stat; the CPUs share the sum evenly."""
    words = " ".join(map(str, cpu))
    each = " ".join(str(n // cpus) for n in cpu)
    lines = [f"cpu  {words} 3 0", *(f"cpu{i} {each} 0 0" for i in range(cpus))]
    return "\n".join([*lines, f"intr {intr}", "ctxt 99", "btime 1700000000", "softirq 1 2 3", ""])


def meminfo(total: int = 8_000_000, available: int | None = 6_000_000, swap: int = 1_000_000) -> str:
    """/proc/meminfo, in its kB; without MemAvailable when that is None."""
    has = [] if available is None else [f"MemAvailable:   {available:>8} kB"]
    lines = [f"MemTotal:       {total:>8} kB", "MemFree:         5000000 kB", *has]
    return "\n".join([*lines, "SwapCached:            0 kB", f"SwapTotal:      {swap:>8} kB", ""])


def proc(cpu: Sequence[int] = QUIET, cpus: int = 2) -> Tree:
    """/proc as the sampler needs it."""
    return {"stat": stat(cpu, cpus), "meminfo": meminfo()}


def cpu_stat(usage: int) -> str:
    """A v2 cpu.stat; microseconds."""
    return f"usage_usec {usage}\nuser_usec {usage}\nsystem_usec 0\n"


def memory_stat(anon: int) -> str:
    """A v2 memory.stat; bytes."""
    return f"anon {anon}\nfile 111\nkernel 222\nshmem 0\ninactive_anon 333\nanon_thp 444\n"


def memory_stat_v1(total_rss: int) -> str:
    """A v1 memory.stat; bytes."""
    own = "cache 9203712\nrss 1\nrss_huge 2\ninactive_anon 3\nhierarchical_memory_limit 4\n"
    return own + f"total_cache 5\ntotal_rss {total_rss}\ntotal_rss_huge 6\ntotal_shmem 0\n"


def cgroup(usage: int = 7_000_000, anon: int | None = 4096) -> Tree:
    """A v2 cgroup: CPU microseconds, anonymous bytes (None: the memory controller is elsewhere)."""
    memory: Tree = {} if anon is None else {"memory.stat": memory_stat(anon)}
    return {"cpu.stat": cpu_stat(usage), **memory}


def pid_stat(
    pid: int, comm: str = "sh", utime: int = 30, stime: int = 12, started: int = 107_742, ppid: int = 1
) -> str:
    """/proc/PID/stat, in ticks."""
    return (
        f"{pid} ({comm}) S {ppid} {pid} {pid} 0 -1 4194304 97 0 0 0 {utime} {stime} 5 6 20 0 1 0 {started}"
        " 3133440 379 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
    )


def cores(*siblings: str) -> Tree:
    """/sys/devices/system/cpu with CPUs that share cores ("0,2", "1,3"), as the kernel lists
    them."""
    each = {cpu: listed for listed in siblings for cpu in listed.split(",")}
    found: dict[str, str | Tree] = {"online": ",".join(each), "isolated": "\n", "nohz_full": "(null)\n"}
    for cpu, listed in each.items():
        found[f"cpu{cpu}"] = {"topology": {"thread_siblings_list": f"{listed}\n"}}
    return found


def vanish(path: Path) -> None:
    """Remove a file; open descriptors find it empty (the kernel would give ENODEV or ESRCH)."""
    path.write_text("")
    path.unlink()
