"""How fast all workers together may receive and send: the kernel's own queues on their bridge.

What leaves the bridge device goes to workers, so a token bucket there bounds what they receive.
What they send comes in there; it is led through a device made for that (ifb), which has the other
bucket. Both hold while Plancton is dead, for as long as the bridge is there. See tc-tbf(8).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from plancton.host import programs
from plancton.host.programs import ProgramError
from plancton.host.route import is_device

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


def through_helper(bridge: str) -> Iterator[list[str]]:
    """The commands that lead all that comes in from the bridge's workers through its helper."""
    yield f"tc qdisc add dev {bridge} handle ffff: ingress".split()
    match = "protocol all prio 1 u32 match u32 0 0"
    to = f"action mirred egress redirect dev {helper_device(bridge)}"
    yield f"tc filter add dev {bridge} parent ffff: {match} {to}".split()


def bound(bridge: str, rates: Rates) -> None:
    """Have these rates hold, and no others of ours. Without that bridge there is nothing to do.
    ProgramError says why they don't."""
    if not is_device(bridge):
        return
    helper, kinds = helper_device(bridge), _queues(bridge)
    if rates.down is not None:
        _run(bucket(bridge, rates.down))
    elif kinds.get(HANDLE) == "tbf":
        _run(f"tc qdisc del dev {bridge} root".split())
    if rates.up is None:
        remove(bridge)
        return
    if not is_device(helper):
        _run(f"ip link add {helper} type ifb".split())
        if "ffff:" in kinds:  # what led to the one that was
            _run(f"tc qdisc del dev {bridge} ingress".split())
            kinds.pop("ffff:")
    _run(f"ip link set {helper} up".split())
    _run(bucket(helper, rates.up))
    if "ffff:" not in kinds:
        for command in through_helper(bridge):
            _run(command)


def remove(bridge: str) -> None:
    """Nothing leads through the helper device any more, and it is gone."""
    if is_device(helper_device(bridge)):
        if is_device(bridge) and "ffff:" in _queues(bridge):
            _run(f"tc qdisc del dev {bridge} ingress".split())
        _run(f"ip link del {helper_device(bridge)}".split())


def read_rates(bridge: str) -> Rates:
    """The rates that hold now. ProgramError where that can't be seen."""
    helper = helper_device(bridge)
    there = [name for name in (bridge, helper) if is_device(name)]
    found = {name: rate for name in there if (rate := _rate(name)) is not None}
    leads = helper in there and "ffff:" in (_queues(bridge) if bridge in there else {})
    return Rates(found.get(bridge), found.get(helper) if leads else None)


def _rate(device: str) -> int | None:
    """Bits per second: tc says bytes."""
    for queue in _shown(device):
        if queue.get("handle") == HANDLE and queue.get("kind") == "tbf":
            rate = queue.get("options", {}).get("rate")
            return round(rate * 8) if isinstance(rate, int | float) else None
    return None


def _queues(device: str) -> dict[str, str]:
    """The kinds of its queues by their handles."""
    return {str(queue.get("handle")): str(queue.get("kind")) for queue in _shown(device)}


def _shown(device: str) -> list[dict[str, Any]]:
    text = _run(f"tc -json qdisc show dev {device}".split())
    try:
        found = msgspec.json.decode(text or "[]")
    except msgspec.DecodeError:
        raise ProgramError(f"tc has no JSON of the queues of {device}: it is too old") from None
    return [each for each in found if isinstance(each, dict)]


def _run(command: list[str]) -> str:
    return programs.call(command, "iproute2")
