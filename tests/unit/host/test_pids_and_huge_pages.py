"""A slice's part of what the kernel has once."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.pids_and_huge_pages import deny_huge_pages, most_pids, pids_knob


def test_half_of_the_process_ids(tmp_path: Path) -> None:
    """Workers may have half of what the kernel has, by the stricter of its two limits."""
    kernel = tmp_path / "sys/kernel"
    kernel.mkdir(parents=True)
    assert most_pids(tmp_path) is None
    (kernel / "pid_max").write_text("4194304\n")
    (kernel / "threads-max").write_text("30000\n")
    assert most_pids(tmp_path) == 15000
    (kernel / "threads-max").write_text("odd")
    assert most_pids(tmp_path) == 2097152


@pytest.mark.parametrize(
    ("found", "wanted"),
    [("max", ["16384"]), ("20000", ["16384"]), ("16384", []), ("100", []), (None, ["16384"])],
)
def test_processes(tmp_path: Path, found: str | None, wanted: list[str]) -> None:
    """The slice is bounded; a bound that the administrator has made stricter stays."""
    if found is not None:
        (tmp_path / "pids.max").write_text(f"{found}\n")
    assert [knob.wanted for knob in pids_knob(tmp_path, 16384)] == wanted
    assert [knob.unit for knob in pids_knob(tmp_path, 16384)] == [f"TasksMax={each}" for each in wanted]
    assert list(pids_knob(tmp_path, None)) == []


def test_huge_pages(tmp_path: Path) -> None:
    """No huge page of any size may be taken or reserved, on v2 and on v1; no other file is written."""
    ours = ("2MB.max", "1GB.max", "2MB.rsvd.max", "2MB.limit_in_bytes", "2MB.rsvd.limit_in_bytes")
    others = ("2MB.current", "2MB.events", "2MB.max_usage_in_bytes", "2MB.failcnt")
    group = tree(tmp_path, {f"hugetlb.{name}": "max" for name in (*ours, *others)})
    deny_huge_pages(group)
    assert {(group / f"hugetlb.{name}").read_text() for name in ours} == {"0"}
    assert {(group / f"hugetlb.{name}").read_text() for name in others} == {"max"}
    deny_huge_pages(tmp_path / "missing")
