"""Which cgroup is a worker's, whatever pid Docker tells."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit.trees import pid_stat, tree

from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.host.worker_cgroup import Place, find_worker, to_boottime, worker_group

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


def test_no_descriptor_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose group can't be read just now is not taken for one outside the slice."""

    def lacks(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", lacks)
    with pytest.raises(OSError, match="Too many"):
        place(tmp_path, f"plancton/{ID}")


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


@pytest.mark.parametrize(
    ("timestamp", "age"),
    [
        ("2026-11-26T20:53:17.123456789Z", 60.0),
        ("2026-11-26T21:53:17+01:00", 60.1),
        ("2026-11-26T20:54:17Z", 0.1),
        ("2026-11-26T20:55:00Z", 0.0),
        ("1999-01-01T00:00:00Z", 5_000.0),
    ],
)
def test_docker_tells_the_age(timestamp: str, age: float) -> None:
    """A start by the wall clock becomes one by CLOCK_BOOTTIME, neither in the future nor before the
    boot."""
    now = datetime(2026, 11, 26, 20, 54, 17, 123_456, UTC).timestamp()
    started = to_boottime(timestamp, now, 5_000.0)
    assert started is not None and 5_000.0 - started == pytest.approx(age, abs=0.05)


@pytest.mark.parametrize("timestamp", ["", "0001-01-01T00:00:00Z", "2026-11-26T20:53:17", "soon", "9" * 5000])
def test_docker_tells_no_age(timestamp: str) -> None:
    """What has never started, and what is no time, gives no start."""
    assert to_boottime(timestamp, 1.8e9, 5_000.0) is None
