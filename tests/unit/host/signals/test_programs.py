"""Which programs the owner runs."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.signals.programs import check_names, find_running, output_of

SLICES = ("plancton", "plancton.slice")


def process(name: str, group: str = "user.slice/user-1000.slice/session-2.scope") -> Tree:
    return {"comm": f"{name}\n", "cgroup": f"0::/{group}\n"}


def processes(root: Path) -> Path:
    """/proc with an owner's, a worker's and a container's processes."""
    return tree(
        root,
        {
            "1": process("systemd", "init.scope"),
            "77": process("zoom"),
            "80": process("steam", "plancton/abc"),
            "81": process("obs", "plancton.slice/docker-abc.scope"),
            "90": process("chromium", "docker/def"),
            "91": process("a-very-long-nam"),
            "92": {},
            "self": process("wrong"),
        },
    )


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["zoom"], ["zoom"]),
        (["steam"], []),
        (["obs"], []),
        (["steam", "zoom"], ["zoom"]),
        (["chromium"], ["chromium"]),
        (["a-very-long-name-of-a-program"], ["a-very-long-name-of-a-program"]),
        (["zoo", "Zoom", "wrong"], []),
    ],
)
def test_running(tmp_path: Path, names: list[str], found: list[str]) -> None:
    """A process of that name counts unless a worker has it, whatever workers call theirs."""
    assert find_running(processes(tmp_path), names, SLICES) == found


@pytest.mark.parametrize("name", ["größeres Programm", "Überprüfungsübersicht", "Remote Desktop Viewer"])
def test_name_that_the_kernel_cuts(tmp_path: Path, name: str) -> None:
    """It keeps 15 bytes, which may end within a character or with a space."""
    tree(tmp_path, {"1": process("")})
    (tmp_path / "1/comm").write_bytes(name.encode()[:15] + b"\n")
    assert find_running(tmp_path, [name], SLICES) == [name]


def test_workers_and_owners_of_one_name(tmp_path: Path) -> None:
    """A worker's process of that name does not hide the owner's."""
    tree(processes(tmp_path), {"100": process("steam")})
    assert find_running(tmp_path, ["steam"], SLICES) == ["steam"]


def test_others_that_can_not_be_seen(tmp_path: Path) -> None:
    """Where the kernel hides others' processes, it is not known that none of them runs."""
    tree(tmp_path, {"100": process("steam")})
    assert find_running(tmp_path, ["zoom"], SLICES) is None
    assert find_running(tmp_path, ["zoom", "steam"], SLICES) == ["steam"]


@pytest.mark.parametrize("texts", [(), ("",), ("/usr/bin/steam",), ("a\nb",), ("x" * 100,)])
def test_bad_names(texts: tuple[str, ...]) -> None:
    """A path, nothing or nonsense is no program's name."""
    with pytest.raises(ValueError):
        check_names(texts)


def test_asking_a_program() -> None:
    """What a program prints; nothing of one that is missing or fails."""
    assert output_of(["printf", "u 4\n"]) == "u 4\n"
    assert output_of(["false"]) is None and output_of(["plancton-has-no-such-program"]) is None
