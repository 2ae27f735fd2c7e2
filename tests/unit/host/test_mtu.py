"""The MTU of the way out."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.mtu import USUAL_MTU, smallest_default_mtu

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"


def mtu(root: Path, routes: str, **interfaces: str) -> int:
    links: Tree = {name: {"mtu": text} for name, text in interfaces.items()}
    proc = tree(root / "proc", {"net": {"route": routes}})
    return smallest_default_mtu(proc, tree(root / "sys", {"class": {"net": links}}))


def route(interface: str, destination: str = "00000000", mask: str = "00000000") -> str:
    return f"{interface}\t{destination}\t010200C0\t0003\t0\t0\t0\t{mask}\t0\t0\t0\n"


def test_behind_a_tunnel(tmp_path: Path) -> None:
    """The way out decides, and the narrowest where there are several; other routes do not."""
    routes = HEAD + route("eth0") + route("tun0", "000010AC", "0000FFFF") + route("wg0")
    assert mtu(tmp_path, routes, eth0="1500\n", tun0="1280\n", wg0="1420\n") == 1420


def test_a_vpn_that_takes_all(tmp_path: Path) -> None:
    """A VPN may take the way out by two halves of all addresses, beside the default route."""
    halves = route("tun0", "00000000", "00000080") + route("tun0", "00000080", "00000080")
    assert mtu(tmp_path, HEAD + route("eth0") + halves, eth0="1500\n", tun0="1390\n") == 1390


def test_large_frames(tmp_path: Path) -> None:
    """Large frames on this host's own link do not go further: workers keep the usual size."""
    assert mtu(tmp_path, HEAD + route("eth0"), eth0="9000\n") == USUAL_MTU


@pytest.mark.parametrize("text", ["", "\0\xff", HEAD, HEAD + "eth0\n", HEAD + "\n\n", HEAD + route("none")])
def test_unknown(tmp_path: Path, text: str) -> None:
    """Where the way out can't be told, it is the usual one."""
    assert mtu(tmp_path, text, eth0="odd") == USUAL_MTU


@pytest.mark.parametrize(("text", "right"), [("0", 576), ("-1", USUAL_MTU), ("9" * 30, USUAL_MTU)])
def test_odd_figures(tmp_path: Path, text: str, right: int) -> None:
    """A figure that no link has is not passed on."""
    assert mtu(tmp_path, HEAD + route("eth0"), eth0=text) == right
