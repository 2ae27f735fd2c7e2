"""The slice's knobs, whatever their files hold."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.process_cgroup import group_of
from plancton.host.slice_bounds import PERIOD, Bounds, Knob, memory_ceiling, v2_knobs

STRANGE = ["", "x", "-1", "\xff\xfe", "\0", "\u0663", "9" * 5000, "1 2", "1.5"]


@pytest.mark.parametrize("text", STRANGE)
def test_strange_knob(tmp_path: Path, text: str) -> None:
    """What can't be understood does not hold what is wanted."""
    (tmp_path / "cpu.max").write_bytes(text.encode("latin-1", errors="replace"))
    assert not Knob(tmp_path / "cpu.max", "max 100000").holds()


@pytest.mark.parametrize("text", [*STRANGE, None, "max"])
def test_strange_ceiling(text: str | None) -> None:
    """A limit that can't be understood is none."""
    assert memory_ceiling(text) is None


@pytest.mark.parametrize("cpus", [0.0, 0.3, 4 - 0.33333, 3.87655, 7.999996, 255.12345])
def test_systemd_is_told_the_same(tmp_path: Path, cpus: float) -> None:
    """From the percentage systemd computes what the file must hold (cgroup_apply_cpu in its cgroup.c):
    otherwise each of the two would go on putting its own figure back."""
    knob = next(v2_knobs(tmp_path, Bounds(cpus=cpus)))
    per_second = round(float(knob.unit.removeprefix("CPUQuota=").removesuffix("%")) * 100) * 100
    assert knob.wanted == f"{per_second // 10} {PERIOD}"


def test_group_of(tmp_path: Path) -> None:
    """A process's cgroup is the v2 line of its cgroup file, whatever the v1 lines."""
    proc = tree(
        tmp_path,
        {
            "1": {"cgroup": "12:cpu:/x\n1:name=systemd:/y\n0::/plancton/a b\n"},
            "2": {"cgroup": "0::/\n"},
            "3": {"cgroup": "12:cpu:/x\n"},
        },
    )
    tree(proc, {"6": {"cgroup": "1:name=systemd:/a\r0::/plancton/x\n0::/user.slice/b\rc\n"}})
    assert group_of(proc, 6) == "user.slice/b\rc", "only the kernel's own lines count"
    tree(proc, {"5": {"cgroup": "0::/../../system.slice/docker-c0ffee.scope\n"}})
    assert group_of(proc, 5) is None, "it is outside of this cgroup namespace"
    assert [group_of(proc, pid) for pid in (1, 2, 3, 4)] == ["plancton/a b", "", None, None]
