"""Which commands bound the workers' rates; tests/docker/test_network.py has the kernel do it."""

import json
import os

import pytest

from plancton.host import bandwidth, system_tools
from plancton.host.bandwidth import Rates, bound, bucket, read_rates, remove
from plancton.host.system_tools import ProgramError
from plancton.units import Rate

BRIDGE, HELPER = "br-x", "ifb-x"
TBF = {"kind": "tbf", "handle": "504c:", "root": True}


class Kernel:
    """Network devices with their queues, as far as `bound` needs them."""

    def __init__(self) -> None:
        self.devices: dict[str, list[dict[str, object]]] = {BRIDGE: []}
        self.calls: list[str] = []
        self.led = ""

    def run(self, command: list[str], package: str, text: str | None = None) -> str:
        if command[:2] == ["nft", "list"]:
            if BRIDGE not in self.devices or not self.led:
                raise ProgramError("`nft list`: Error: No such file or directory")
            return self.led
        if "show" in command:
            return json.dumps(self.devices[command[-1]])
        self.calls.append(" ".join(command))
        match command:
            case ["ip", "link", "add", name, *_]:
                self.devices[name] = []
            case ["ip", "link", "del", name]:
                del self.devices[name]
            case ["tc", "qdisc", "replace", "dev", name, *words]:
                rate = int(words[words.index("rate") + 1].removesuffix("bit")) // 8
                self.devices[name] = [each for each in self.devices[name] if each["kind"] != "tbf"]
                self.devices[name].append({**TBF, "options": {"rate": rate}})
            case ["tc", "qdisc", "del", "dev", name, "root"]:
                self.devices[name] = [each for each in self.devices[name] if each["kind"] != "tbf"]
            case ["nft", "-f", "-"]:
                self.led = (text or "").rpartition("delete")[2]
        return ""


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(system_tools, "call", kernel.run)
    monkeypatch.setattr(bandwidth, "is_device", lambda name: name in kernel.devices)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return kernel


@pytest.mark.parametrize(
    "rates", [Rates(), Rates(down=20_000_000), Rates(up=8_000_000), Rates(20_000_000, 8_000_000)]
)
def test_bound(kernel: Kernel, rates: Rates) -> None:
    """What is asked for holds, whatever held before, and once more changes nothing but its rate."""
    for before in (Rates(), Rates(1_000_000, 1_000_000)):
        bound(BRIDGE, before)
        bound(BRIDGE, rates)
        assert read_rates(BRIDGE) == rates
        kernel.calls.clear()
        bound(BRIDGE, rates)
        assert read_rates(BRIDGE) == rates
        assert not any("add" in call.split() or "del" in call.split() for call in kernel.calls), kernel.calls


def test_what_is_not_ours(kernel: Kernel) -> None:
    """A queue that somebody else has put onto the bridge is left there."""
    kernel.devices[BRIDGE] = [{"kind": "fq_codel", "handle": "8001:", "root": True}]
    bound(BRIDGE, Rates())
    remove(BRIDGE)
    assert kernel.devices[BRIDGE] and not kernel.calls


def test_the_bridge_is_made_again(kernel: Kernel) -> None:
    """With the network the bridge's queues are gone: they are put there again; so is a helper device
    that somebody has removed."""
    bound(BRIDGE, Rates(8_000_000, 8_000_000))
    kernel.devices[BRIDGE], kernel.led = [], ""
    bound(BRIDGE, Rates(8_000_000, 8_000_000))
    assert read_rates(BRIDGE) == Rates(8_000_000, 8_000_000)
    del kernel.devices[HELPER]
    assert read_rates(BRIDGE).up is None
    bound(BRIDGE, Rates(8_000_000, 8_000_000))
    assert read_rates(BRIDGE) == Rates(8_000_000, 8_000_000)


def test_no_network_yet(kernel: Kernel) -> None:
    """Without the bridge there is nothing to bound, and nothing is left of a helper device."""
    bound(BRIDGE, Rates(up=8_000_000))
    del kernel.devices[BRIDGE]
    bound(BRIDGE, Rates(up=9_000_000))
    assert read_rates(BRIDGE) == Rates()
    remove(BRIDGE)
    assert kernel.devices == {}


@pytest.mark.parametrize("rate", [64_000, Rate(20_000_000), 10_000_000_000])
def test_bucket(rate: int) -> None:
    """A packet fits into the burst at any rate, and the queue is longer than the burst."""
    words = bucket(BRIDGE, rate)
    assert words[words.index("rate") + 1] == f"{int(rate)}bit"
    burst, limit = (int(words[words.index(name) + 1]) for name in ("burst", "limit"))
    assert 9_000 < burst < limit


def test_no_tc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is none, one line says which package has it."""
    monkeypatch.setattr(bandwidth, "is_device", lambda _: True)
    with pytest.raises(ProgramError, match="install the package iproute2"):
        bound(BRIDGE, Rates(up=1_000_000))
