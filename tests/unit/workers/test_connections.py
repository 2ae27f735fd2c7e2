"""Which worker fills the host's table of connections."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.model import Worker
from plancton.workers.roster import Entry
from plancton.workers.sockets import who_fills_table

HEADING = "entries  clashres found new invalid\n"


def host(proc: Path, count: str, most: str, *numbers: int) -> list[Entry]:
    """A host with such a table, whose workers have so many connections."""
    table: Tree = {"nf_conntrack_count": count, "nf_conntrack_max": most}
    tree(proc, {"sys": {"net": {"netfilter": table}}})
    entries = []
    for pid, number in enumerate(numbers, start=10):
        group = f"plancton/w{pid}"
        lines = HEADING + 2 * f"{number:08x}  00000000 00000000\n"
        files: Tree = {"cgroup": f"0::/{group}\n", "net": {"stat": {"nf_conntrack": lines}}}
        tree(proc, {str(pid): files})
        entries.append(Entry(Worker(f"w{pid}"), group=group, pid=pid))
    return entries


@pytest.mark.parametrize(
    ("count", "connections", "found"),
    [
        ("49999\n", (40_000,), []),
        ("50000\n", (3_000, 40_000), ["w11"]),
        ("99999\n", (999, 20), []),
        ("99999\n", (), []),
        ("many\n", (40_000,), []),
        ("\n", (40_000,), []),
    ],
)
def test_who_has_most(tmp_path: Path, count: str, connections: tuple[int, ...], found: list[str]) -> None:
    """From half of the table on whoever has most of it is to blame, unless that is little."""
    entries = host(tmp_path, count, "100000\n", *connections)
    assert list(who_fills_table(tmp_path, entries)) == found


def test_what_can_not_be_read(tmp_path: Path) -> None:
    """Hosts without such a table, odd files, and a pid that is another process's by now."""
    entry = Entry(Worker("w"), group="plancton/w", pid=10)
    assert not who_fills_table(tmp_path, [entry])
    entries = host(tmp_path, "90000\n", "100000\n", 40_000)
    (tmp_path / "10/net/stat/nf_conntrack").write_text("entries\nxyz\n")
    assert not who_fills_table(tmp_path, entries)
    (tmp_path / "10/net/stat/nf_conntrack").write_text("")
    assert not who_fills_table(tmp_path, entries)
    entries = host(tmp_path / "other", "90000\n", "100000\n", 40_000)
    (tmp_path / "other/10/cgroup").write_text("0::/user.slice\n")
    assert not who_fills_table(tmp_path / "other", entries)
