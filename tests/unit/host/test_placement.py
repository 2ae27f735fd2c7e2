"""Which cgroup is a worker's, whatever pid Docker tells."""

from pathlib import Path

import pytest
from unit.trees import pid_stat, tree

from plancton.host.placement import Place, find_worker
from plancton.host.slice import Layout, Slice, worker_group

ID = "c0ffee" * 8


@pytest.mark.parametrize(
    ("group", "found"),
    [
        (f"plancton/{ID}", f"plancton/{ID}"),
        (f"plancton/{ID}/init", f"plancton/{ID}"),
        (f"plancton/{ID}/{ID}", f"plancton/{ID}"),
        (f"plancton/pod/{ID}", f"plancton/pod/{ID}"),
        (f"plancton/docker-{ID}.scope", f"plancton/docker-{ID}.scope"),
        ("plancton/another", ""),
        ("plancton", ""),
        ("", ""),
        (f"docker/{ID}", ""),
        (f"user.slice/plancton/{ID}", ""),
        (f"plancton/../owner/{ID}", ""),
        (f"../plancton/{ID}", ""),
        (f"/plancton/{ID}", ""),
    ],
)
def test_worker_group(group: str, found: str) -> None:
    """Only what is below the slice and named after the container is a worker's group."""
    assert worker_group(group, "plancton", ID) == found


@pytest.mark.parametrize("container", ["", "../x", "*", "?"])
def test_what_is_no_id(tmp_path: Path, container: str) -> None:
    """No group belongs to an id that Docker would never make."""
    v2 = tree(tmp_path / "v2", plancton={"x": {}}, x={})
    assert worker_group("plancton/x", "plancton", container) == ""
    found = find_worker(Slice(Layout(v2), "plancton", "cgroupfs"), container, 7, tree(tmp_path / "proc"))
    assert found.group == ""


def place(tmp_path: Path, cgroup: str, group: str = "") -> Place:
    proc = tree(tmp_path / "proc", {"42": {"stat": pid_stat(42), "cgroup": f"0::/{cgroup}\n"}})
    v2 = tree(tmp_path / "v2", plancton={group: {}} if group else {"other": {}})
    return find_worker(Slice(Layout(v2), "plancton", "cgroupfs"), ID, 42, proc)


def test_found(tmp_path: Path) -> None:
    """A worker's process shows its group, its age and its shim."""
    found = place(tmp_path, f"plancton/{ID}")
    assert (found.group, found.shim) == (f"plancton/{ID}", 1) and found.started is not None


@pytest.mark.parametrize("cgroup", ["user.slice/owner", "", f"../../system.slice/docker-{ID}.scope"])
def test_a_foreign_pid(tmp_path: Path, cgroup: str) -> None:
    """A process of somebody else's gives neither a group nor an age, and is said in words."""
    found = place(tmp_path, cgroup)
    assert (found.group, found.shim, found.started) == ("", 0, None)
    assert "42" in found.elsewhere


def test_a_foreign_pid_next_to_the_worker(tmp_path: Path) -> None:
    """When the pid says nothing, a directory below the slice with the container's id is its
    group."""
    found = place(tmp_path, "user.slice/owner", group=f"docker-{ID}.scope")
    assert found == Place(f"plancton/docker-{ID}.scope")


def test_a_pid_that_is_reused_meanwhile(tmp_path: Path) -> None:
    """A pid with another start time after its group was read proves nothing."""
    proc = tree(tmp_path / "proc", {"42": {"stat": pid_stat(42)}})
    v2 = tree(tmp_path / "v2", plancton={})

    class Reused(type(proc)):  # type: ignore[misc]
        """Somebody else has the pid as soon as its group is read."""

        def __truediv__(self, name: str) -> Path:
            path = Path(self, name)
            if name == "cgroup":
                path.write_text(f"0::/plancton/{ID}\n")
                (path.parent / "stat").write_text(pid_stat(42, started=9_999_999))
            return Reused(path)

    assert find_worker(Slice(Layout(v2), "plancton", "cgroupfs"), ID, 42, Reused(proc)).group == ""
