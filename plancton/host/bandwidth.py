"""How fast all workers together may receive and send: the kernel's own queues on their bridge.

What leaves the bridge device goes to workers, so a token bucket there bounds what they receive.
What they send comes in there; it is led through a device made for that (ifb), which has the other
bucket. Both hold while Plancton is dead, for as long as the bridge is there. See tc-tbf(8).

It is nftables that leads it there, not tc's mirred, which makes the kernel forget the packet's
connection: where the bridge's packets pass iptables (br_netfilter, which Docker switches on),
connections are looked up before that, and not again, so addresses would not be translated.
"""

import os
from typing import Any, NamedTuple

import msgspec

from plancton.host import system_tools
from plancton.host.route import is_device
from plancton.host.system_tools import ProgramError, nft, nft_table, removal

HANDLE = "504c:"
"""Of our queues: what somebody else has put there is not removed."""
BURST, QUEUE = 0.002, 0.05
"""Seconds of the rate that may pass at once, and that may wait. With a longer queue a worker would
wait for itself, with a shorter one it would not get its rate."""
LEAST_BURST, LEAST_QUEUE = 10_000, 64_000
"""Bytes, at any rate: more than a packet has, and fifty of them."""


class Rates(NamedTuple):
    """Bits per second; None: no limit."""

    down: int | None = None
    up: int | None = None


def helper_device(bridge: str) -> str:
    """Through which goes what workers on this bridge send."""
    return f"ifb{bridge.removeprefix('br')}"


def bucket(device: str, rate: int) -> list[str]:
    """The command that makes the device send at this rate, or changes it. Larger packets than the
    burst are cut into those that go over the wire."""
    burst = max(LEAST_BURST, round(rate / 8 * BURST))
    waiting = max(LEAST_QUEUE, round(rate / 8 * QUEUE)) + burst
    words = (
        f"qdisc replace dev {device} root handle {HANDLE} tbf rate {rate:d}bit burst {burst} limit {waiting}"
    )
    return ["tc", *words.split()]


def through_helper(bridge: str) -> str:
    """The text for nft that leads all that comes in from the bridge's workers through its helper."""
    table = _table(bridge)
    hook = f'type filter hook ingress device "{bridge}" priority 0; policy accept;'
    lead = f'fwd to "{helper_device(bridge)}"'
    rules = f"table netdev {table} {{\n  chain sent {{\n    {hook}\n    {lead}\n  }}\n}}\n"
    return removal("netdev", table) + rules


def _table(bridge: str) -> str:
    return f"plancton-{bridge}"


def bound(bridge: str, rates: Rates) -> None:
    """Have these rates hold, and no others of ours. Without that bridge there is nothing to do.
    ProgramError says why they don't."""
    if not is_device(bridge):
        return
    helper = helper_device(bridge)
    if rates.down is not None:
        _run(bucket(bridge, rates.down))
    elif _rate(bridge) is not None:
        _run(f"tc qdisc del dev {bridge} root".split())
    if rates.up is None:
        remove(bridge)
        return
    if not is_device(helper):
        _run(f"ip link add {helper} type ifb".split())
    _run(f"ip link set {helper} up".split())
    _run(bucket(helper, rates.up))
    if not _is_led(bridge):
        nft("-f", "-", text=through_helper(bridge))


def remove(bridge: str) -> None:
    """Nothing is led through the helper device any more, and it is gone."""
    if is_device(helper_device(bridge)):
        nft("-f", "-", text=removal("netdev", _table(bridge)))
        _run(f"ip link del {helper_device(bridge)}".split())


def read_rates(bridge: str) -> Rates:
    """The rates that hold now. Only root sees what is led through the helper: others take it for
    granted. ProgramError where nothing can be seen."""
    helper = helper_device(bridge)
    found = [_rate(name) if is_device(name) else None for name in (bridge, helper)]
    led = found[1] is not None and (os.geteuid() != 0 or _is_led(bridge))
    return Rates(found[0], found[1] if led else None)


def _is_led(bridge: str) -> bool:
    text = nft_table("netdev", _table(bridge))
    return f'"{bridge}"' in text and helper_device(bridge) in text


def _rate(device: str) -> int | None:
    """Bits per second: tc says bytes."""
    for queue in _shown(device):
        if queue.get("handle") == HANDLE and queue.get("kind") == "tbf":
            rate = queue.get("options", {}).get("rate")
            return round(rate * 8) if isinstance(rate, int | float) else None
    return None


def _shown(device: str) -> list[dict[str, Any]]:
    text = _run(f"tc -json qdisc show dev {device}".split())
    try:
        found = msgspec.json.decode(text or "[]")
    except msgspec.DecodeError:
        raise ProgramError(f"tc has no JSON of the queues of {device}: it is too old") from None
    return [each for each in found if isinstance(each, dict)]


def _run(command: list[str]) -> str:
    return system_tools.call(command, "iproute2")
