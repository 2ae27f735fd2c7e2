"""Which worker holds the host's memory in sockets."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.model import Worker
from plancton.workers.roster import Entry
from plancton.workers.sockets import SocketWatch

SOCKSTAT = "sockets: used {}\nTCP: inuse 1 orphan 0 tw 0 alloc 2 mem {}\nUDP: inuse 0 mem {}\nRAW: inuse 0\n"
LIMITS: Tree = {"tcp_mem": "75\t100\t200\n", "udp_mem": "150\t200\t300\n"}


def watch(proc: Path, *numbers: int, tcp: int = 0, udp: int = 0) -> tuple[SocketWatch, list[Entry]]:
    """A host whose workers have so many sockets, and what TCP and UDP hold."""
    entries = []
    tree(proc, {"net": {"sockstat": SOCKSTAT.format(9, tcp, udp)}, "sys": {"net": {"ipv4": LIMITS}}})
    for pid, number in enumerate(numbers, start=10):
        group = f"plancton/w{pid}"
        files: Tree = {"cgroup": f"0::/{group}\n", "net": {"sockstat": SOCKSTAT.format(number, tcp, udp)}}
        tree(proc, {str(pid): files})
        entries.append(Entry(Worker(f"w{pid}"), group=group, pid=pid))
    return SocketWatch(proc), entries


@pytest.mark.parametrize(
    ("sockets", "short", "tcp", "udp", "found"),
    [
        ((30, 5_000, 4_000), False, 99, 199, []),
        ((30, 5_000, 4_000), True, 0, 0, ["w11"]),
        ((30, 1_999), True, 0, 0, []),
        ((30, 440), False, 100, 0, ["w11"]),
        ((30, 440), False, 0, 200, ["w11"]),
        ((30, 99), True, 300, 300, []),
        ((), True, 300, 300, []),
    ],
)
def test_who_has_most(
    tmp_path: Path, sockets: tuple[int, ...], short: bool, tcp: int, udp: int, found: list[str]
) -> None:
    """When the owner's memory is short, or that of TCP or UDP, whoever has most sockets is to blame
    unless they are few; otherwise nobody is."""
    it, entries = watch(tmp_path, *sockets, tcp=tcp, udp=udp)
    assert list(it.look(short, entries)) == found


def test_nobody_is_looked_at_without_need(tmp_path: Path) -> None:
    """While there is enough memory no worker's files are read."""

    class Entries:
        def __iter__(self) -> object:
            raise AssertionError("somebody looks at the workers")

    assert not watch(tmp_path)[0].look(False, Entries())  # type: ignore[arg-type]


def test_what_can_not_be_read(tmp_path: Path) -> None:
    """Files that are missing or odd, and a pid that is another process's by now, are no reason."""
    entry = Entry(Worker("w"), group="plancton/w", pid=10)
    assert not SocketWatch(tmp_path).look(True, [entry])
    it, entries = watch(tmp_path, 5_000, tcp=300)
    (tmp_path / "10/cgroup").write_text("0::/user.slice\n")
    assert not it.look(True, entries)
    (tmp_path / "sys/net/ipv4/tcp_mem").write_text("a lot\n")
    assert not SocketWatch(tmp_path).look(False, entries)
