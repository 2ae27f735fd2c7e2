"""How long the owner's groups wait for CPU."""

import os
from pathlib import Path

import pytest
from unit.trees import tree

from plancton.host.cpu_pressure import OwnerPressure, owner_pressure, waited

PSI = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"


def pressure(microseconds: int) -> dict[str, str]:
    return {"cpu.pressure": PSI.format(microseconds)}


def test_whose_groups(tmp_path: Path) -> None:
    """The owner's top-level groups, the root and the workers' slice are not; neither is one of idle
    class, whose processes wait by their own wish, nor one that does not tell."""
    tree(
        tmp_path,
        pressure(1),
        **{
            "user.slice": pressure(5),
            "system.slice": pressure(6) | {"cpu.idle": "0\n"},
            "plancton.slice": pressure(7) | {"cpu.idle": "1\n"},
            "other.slice": pressure(8) | {"cpu.idle": "1\n"},
            "odd.slice": {"cpu.stat": ""},
        },
    )
    found = owner_pressure(tmp_path, tmp_path, "plancton.slice")
    assert [file.parent.name for file in found] == ["system.slice", "user.slice"]
    assert owner_pressure(tmp_path / "missing", tmp_path, "plancton") == ()


def test_a_hybrid_host(tmp_path: Path) -> None:
    """There v1 says whether a group is of idle class, and v2 how long it waits."""
    tree(
        tmp_path, v1={"a": {"cpu.idle": "1"}, "b": {"cpu.idle": "0"}}, v2={"a": pressure(1), "b": pressure(2)}
    )
    (file,) = owner_pressure(tmp_path / "v2", tmp_path / "v1", "plancton")
    assert file == tmp_path / "v2/b/cpu.pressure"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (PSI.format(2_500_000), 2.5),
        ("full avg10=0.00 avg60=0.00 avg300=0.00 total=5\n", None),
        ("some avg10=0.00 total=-5\n", None),
        ("", None),
    ],
)
def test_what_it_says(tmp_path: Path, text: str, seconds: float | None) -> None:
    """The time for which somebody waited; a text of another form tells nothing."""
    (tmp_path / "cpu.pressure").write_text(text)
    assert waited(tmp_path / "cpu.pressure") == seconds
    assert waited(tmp_path / "missing") is None


def test_the_part_of_the_time(tmp_path: Path) -> None:
    """The group that waited most counts; one that comes or goes meanwhile does not."""
    tree(tmp_path, a=pressure(1_000_000), b=pressure(1_000_000), c=pressure(1_000_000))
    found = OwnerPressure()
    found.files = owner_pressure(tmp_path, tmp_path, "plancton")
    found.begin(100.0)
    tree(tmp_path, a=pressure(1_100_000), b=pressure(1_400_000))
    (tmp_path / "c/cpu.pressure").unlink()
    assert found.part(102.0) == pytest.approx(0.2)
    assert found.part(104.0) == 0.0
    assert found.part(104.1) is None, "a moment tells nothing"
    for name in "ab":
        (tmp_path / name / "cpu.pressure").unlink()
    assert found.part(106.0) is None


def test_the_kernel_is_asked(tmp_path: Path) -> None:
    """Each group gets a trigger; where it can't be written there is none."""
    tree(tmp_path, a=pressure(1), b=pressure(2))
    found = OwnerPressure()
    found.files = (*owner_pressure(tmp_path, tmp_path, "plancton"), tmp_path / "gone/cpu.pressure")
    descriptors = found.triggers()
    assert len(descriptors) == 2
    for descriptor in descriptors:
        os.close(descriptor)
    assert (tmp_path / "a/cpu.pressure").read_bytes().startswith(b"some 60000 1000000\0")
