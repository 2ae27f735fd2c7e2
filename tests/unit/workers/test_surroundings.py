"""What a host and its Docker add to each worker."""

from pathlib import Path

import pytest

from plancton.docker.replies import Info
from plancton.workers.surroundings import forget, look_around


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").write_text("nameserver 198.51.100.1\n")
    return tmp_path


def test_resolvers(root: Path) -> None:
    """The name servers are in a file that everyone can read, and that follows the host's."""
    file = root / "resolv.conf"
    assert look_around(Info(), root, root=root).resolvers == str(file)
    assert file.stat().st_mode & 0o777 == 0o644
    (root / "etc/resolv.conf").write_text("nameserver 198.51.100.2\n")
    look_around(Info(), root, root=root)
    assert file.read_text().startswith("nameserver 198.51.100.2\n")


def test_forget(root: Path) -> None:
    """Once no worker is left, nothing of it is; and that there was nothing is no error."""
    forget(root)
    made = Path(look_around(Info(), root, root=root).resolvers)
    assert made.parent == root and made.exists()
    forget(root)
    assert not made.exists()


@pytest.mark.parametrize("option", ["name=selinux", "name=userns"])
def test_unreadable(root: Path, option: str) -> None:
    """Where a container may not read a file of ours, it keeps Docker's."""
    assert look_around(Info(security_options=[option]), root, root=root).resolvers == ""


def test_no_place(root: Path) -> None:
    """A run directory that can't be written leaves a worker Docker's; it starts all the same."""
    assert look_around(Info(), root / "missing", root=root).resolvers == ""


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        (["name=apparmor", "name=seccomp,profile=default"], True),
        (["name=seccomp,profile=builtin"], True),
        (["name=seccomp,profile=/etc/docker/rules.json"], False),
        (["name=seccomp,profile=unconfined"], False),
        ([], False),
    ],
)
def test_seccomp_rules(root: Path, options: list[str], ours: bool) -> None:
    """Plancton's seccomp rules take the place of Docker's own, not of what Docker's administrator
    has given it, and not where the kernel has no seccomp."""
    assert bool(look_around(Info(security_options=options), root, root=root).seccomp) == ours


@pytest.mark.parametrize(
    ("docker", "kernel", "can"),
    [
        ("25.0.3", "5.12.0", True),
        ("28.5.2+dfsg3", "6.12.41+deb13-amd64", True),
        ("24.0.9", "6.1.0", False),
        ("20.10.24+dfsg1", "6.1.0", False),
        ("26.1.5", "5.10.0-32-amd64", False),
        ("", "", False),
        ("dev", "x", False),
    ],
)
def test_read_only_below(root: Path, docker: str, kernel: str, can: bool) -> None:
    """Docker 25 on Linux 5.12 makes what is below a mount read-only, too."""
    info = Info(server_version=docker, kernel_version=kernel)
    assert look_around(info, root, root=root).read_only_below == can
