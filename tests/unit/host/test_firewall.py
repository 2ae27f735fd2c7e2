"""The text of the rules on what workers reach; tests/docker/test_reach.py has them in force."""

import re

import pytest

from plancton.host import system_tools
from plancton.host.firewall import Reach, holds, mark_of, put, remove, rules
from plancton.host.system_tools import ProgramError

REACH = Reach(
    ("br-plancton", "br-0123456789ab"),
    internet_only=True,
    allowed=("192.168.7.0/24", "192.168.7.9", "fd00::/64"),
    servers=(("10.1.2.3", 9618),),
    resolvers=("10.0.0.53",),
)


def lines(reach: Reach) -> list[str]:
    """Those of the workers' chain."""
    chain = rules("t", reach).partition("chain worker {")[2].partition("}\n  }")[0]
    return [line.strip() for line in chain.strip().splitlines()]


def first(found: list[str], *words: str) -> int:
    """Where the first rule with all these words is."""
    return next(at for at, line in enumerate(found) if all(word in line for word in words))


def test_order() -> None:
    """What is allowed comes before all that is closed, the pool's servers after the metadata only: a
    pool must not open that."""
    found = lines(REACH)
    metadata, local = first(found, "169.254.0.0/16", "reject"), first(found, "fib daddr type", "reject")
    private = first(found, "192.168.0.0/16", "reject")
    assert first(found, "192.168.7.0/24", "accept") < metadata < local < private
    assert first(found, "10.0.0.53", "dport 53", "accept") < metadata
    assert metadata < first(found, "10.1.2.3", "dport 9618", "accept") < local
    assert first(found, "dscp set 1") == 0


def test_only_their_packets() -> None:
    """The one chain with a hook looks at nothing but the workers' bridges, before Docker translates
    addresses."""
    text = rules("t", REACH)
    assert text.count("hook") == 1 and "hook prerouting priority -155; policy accept" in text
    assert 'iifname { "br-plancton", "br-0123456789ab" } jump worker' in text


def test_all() -> None:
    """By default only the host itself and its cloud's metadata are closed."""
    closed = [line for line in lines(Reach(("br-plancton",))) if "reject" in line]
    assert closed and not any("192.168" in line or "fc00::/7" in line for line in closed)
    assert any("local" in line for line in closed) and any("fd00:ec2::/32" in line for line in closed)


def test_no_overlap() -> None:
    """nft refuses a set in which two networks overlap."""
    (line,) = [line for line in lines(REACH) if "192.168.7.0/24" in line]
    assert line == "ip daddr { 192.168.7.0/24 } accept"


def test_one_transaction() -> None:
    """The table is made, removed and made again: it is replaced whether it was there or not, and at
    no moment it is missing."""
    text = rules("t", REACH)
    assert re.match(r"table inet t \{ \}\ndelete table inet t\ntable inet t \{\n", text)


class Nft:
    """One that keeps the table that it is given; ``knows`` says what it understands."""

    def __init__(self, refused: str = "\0") -> None:
        self.table, self.refused = "", refused

    def run(self, command: list[str], package: str, text: str | None = None) -> str:
        if command[1] == "list":
            if not self.table:
                raise ProgramError("`nft list`: Error: No such file or directory")
            return self.table
        if self.refused in (text or ""):
            raise ProgramError("`nft -f -`: Error: Could not process rule: Not supported")
        self.table = (text or "").rpartition("delete table inet t\n")[2]
        return ""


def test_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules hold once they are put, not before, and not after others or none are."""
    nft = Nft()
    monkeypatch.setattr(system_tools, "call", nft.run)
    assert not holds("t", REACH)
    put("t", REACH)
    assert holds("t", REACH) and not holds("t", REACH._replace(internet_only=False))
    moved = REACH._replace(servers=(("10.1.2.4", 9618),))
    assert not holds("t", moved) and holds("t", moved, any_servers=True)
    assert not holds("t", REACH._replace(allowed=()), any_servers=True)
    remove("t")
    assert not holds("t", REACH)


def test_a_kernel_that_can_not_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.9 a packet can't be rejected there: it is dropped."""
    nft = Nft(refused="reject")
    monkeypatch.setattr(system_tools, "call", nft.run)
    put("t", REACH)
    assert "drop" in nft.table and mark_of(REACH) in nft.table


def test_no_nft() -> None:
    """Where there is none, one line says which package has it."""
    with pytest.raises(ProgramError, match="install the package nftables"):
        put("t", REACH)
