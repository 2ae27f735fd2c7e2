"""What an owner keeps of the CPU on a host with systemd and pure cgroup v2, beside busy workers.

`scripts/test-host SUITE --bench` runs this; pytest alone does not collect it. Each figure is
printed beside its budget. Where all is emulated ratios are true to about 5 %.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from docker.harness import BUSY, CPUS, Engine, Plancton
from host.harness import PATIENCE, Owner, hung, owner_in, used

KEPT, LOST = 0.90, 0.65
"""The part of the CPUs that an owner keeps at least, and without the slice at most."""
SECONDS = 5.0
"""A share is measured for this long."""


@pytest.fixture(scope="session")
def work() -> str:
    return BUSY


@pytest.fixture(autouse=True)
def workers(plancton: Plancton) -> set[str]:
    """A busy worker on each CPU."""
    plancton.configure(pool={"max_workers": CPUS})
    return plancton.full(CPUS, PATIENCE)


@contextmanager
def frozen(plancton: Plancton) -> Iterator[None]:
    """All workers stand still: that is quicker than stopping and starting them."""
    freezer = plancton.slice.directory / "cgroup.freeze"
    freezer.write_text("1")
    try:
        yield
    finally:
        freezer.write_text("0")


def share(owner: Owner) -> float:
    """The CPUs that the owner gets."""
    before, start = used(owner.group), time.monotonic()
    time.sleep(SECONDS)  # what is measured is a time
    return (used(owner.group) - before) / (time.monotonic() - start)


def show(name: str, kept: float, fine: bool, budget: str) -> None:
    """A budget that is missed is said, and fails nothing: the machine may have been busy."""
    print(f"{name}: {kept:.1%}, budget {budget}: {'ok' if fine else 'OVER'}")


@pytest.mark.parametrize("parent", ["user.slice", "system.slice"])
def test_beside_the_slice(plancton: Plancton, parent: str) -> None:
    """What an owner keeps of what they have alone, also while the supervisor hangs."""
    with hung(plancton), owner_in(parent) as owner:
        with frozen(plancton):
            alone = share(owner)
        kept = share(owner) / alone
    show(f"owner in {parent}, beside the workers", kept, kept >= KEPT, f"at least {KEPT:.0%}")


def test_beside_other_containers(plancton: Plancton, engine: Engine) -> None:
    """What the same load leaves where Docker puts it, though it has the least shares."""
    loops = " & ".join(["while :; do :; done"] * CPUS)
    with hung(plancton), frozen(plancton):
        container = engine.run(f"{plancton.name}-elsewhere", loops, HostConfig={"CpuShares": 2})
        try:
            with owner_in("user.slice") as owner:
                kept = share(owner) / CPUS
        finally:
            engine.remove(container)
    name = "owner in user.slice, beside the same load without the slice"
    show(name, kept, kept <= LOST, f"at most {LOST:.0%}")
