"""Which cores are the owner's alone: whole ones, from the first on, never all of them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.trees import Tree, cores, tree

from plancton.host.topology import (
    Core,
    cpus_for_workers,
    format_cpus,
    parse_cpus,
    read_cores,
    without_reserve,
)

NEIGHBOURS = ((0, 1), (2, 3), (4, 5), (6, 7))
FAR = ((0, 4), (1, 5), (2, 6), (3, 7))
"""As most Intel and AMD machines count: first one thread of each core, then the others."""
MIXED = ((0, 1), (2, 3), (4,), (5,))
"""Two fast cores with two threads each, and two small ones."""
SINGLE = ((0,), (1,), (2,))


@pytest.mark.parametrize(
    ("cores", "reserve", "left"),
    [
        (NEIGHBOURS, 0, ""),
        (NEIGHBOURS, 1.9, ""),
        (NEIGHBOURS, 2, "2-7"),
        (NEIGHBOURS, 5, "4-7"),
        (NEIGHBOURS, 8, "6-7"),
        (FAR, 2, "1-3,5-7"),
        (FAR, 4, "2-3,6-7"),
        (MIXED, 3, "2-5"),
        (MIXED, 5, "5"),
        (SINGLE, 1.5, "1-2"),
        (((0, 1),), 2, ""),
        ((), 2, ""),
    ],
)
def test_without_reserve(cores: tuple[Core, ...], reserve: float, left: str) -> None:
    """As many whole cores are kept as the reserve covers, but never the last one."""
    assert without_reserve(cores, reserve) == left


@given(st.lists(st.integers(1, 8), min_size=1, max_size=40), st.floats(0, 300))
def test_whole_cores(threads: list[int], reserve: float) -> None:
    """On any host, no core is shared, no more is kept than reserved, and something is left."""
    first = [sum(threads[:place]) for place in range(len(threads))]
    cores = {tuple(range(cpu, cpu + count)) for cpu, count in zip(first, threads, strict=True)}
    everything = set(range(sum(threads)))
    left = set(parse_cpus(without_reserve(cores, reserve) or format_cpus(everything)))
    assert left and left <= everything
    assert len(everything - left) <= reserve
    assert all(left.issuperset(core) or left.isdisjoint(core) for core in cores)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_lists(cpus: set[int]) -> None:
    """A list in the kernel's format survives writing and reading."""
    assert parse_cpus(f"{format_cpus(cpus)}\n") == tuple(sorted(cpus))


def test_read_cores(tmp_path: Path) -> None:
    """Cores are found by their threads; an offline CPU has no siblings."""
    offline: Tree = {"cpu9": {"topology": {}}, "cpufreq": {}}
    sys = tree(tmp_path, devices={"system": {"cpu": {**cores("0,2", "1,3", "4"), **offline}}})
    assert read_cores(sys) == {(0, 2), (1, 3), (4,)}
    assert cpus_for_workers(2, sys) == "1,3-4"
    assert cpus_for_workers(0.5, sys) == ""
