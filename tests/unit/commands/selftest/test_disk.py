"""The selftest's look at the disk, with a shell in the worker's place."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from plancton.commands.selftest import disk
from plancton.commands.selftest.figures import Disk
from plancton.config.schema import Config, Owner
from plancton.units import Portion

DEADLINE = 20.0


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    return disk.make_directory(tmp_path / "made")


@contextmanager
def worker(inside: Path) -> Iterator[subprocess.Popen[bytes]]:
    """What the worker runs, here instead of in a container."""
    script = disk.writer(60).replace(disk.INSIDE, str(inside))
    with subprocess.Popen(["/bin/sh", "-c", script], start_new_session=True) as process:
        try:
            yield process
        finally:
            subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)


def test_both_are_measured(inside: Path) -> None:
    """The owner's pieces are timed alone and beside the worker, which writes a few megabytes in each
    round."""
    frozen = list[int]()

    @contextmanager
    def freeze() -> Iterator[None]:
        frozen.append(1)
        yield

    with worker(inside):
        found = disk.measure(inside, freeze, lambda: None)
    assert isinstance(found, Disk) and found.write_alone > 0 and found.write_donating > 0, found
    assert len(frozen) == disk.ROUNDS
    assert (inside / "written").stat().st_size <= disk.CHUNKS << 20
    assert not (inside / disk.GO).exists()


def test_a_worker_that_may_not_write(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is written nothing is claimed."""
    monkeypatch.setattr(disk, "BESIDE", 0.1)
    found = disk.measure(inside, nullcontext, lambda: None)
    assert isinstance(found, str) and "written nothing" in found


def test_it_stops_when_told(inside: Path) -> None:
    """The worker writes only while the file is there."""
    with worker(inside):
        (inside / disk.GO).touch()
        end = time.monotonic() + DEADLINE
        while (inside / disk.GO).exists():
            assert time.monotonic() < end, "it has not written"
            time.sleep(0.01)
        assert (inside / "written").stat().st_size == disk.CHUNKS << 20
        (inside / "written").unlink()
        time.sleep(0.3)
        assert not (inside / "written").exists()


def test_where(tmp_path: Path) -> None:
    """The owner's files must be on a disk that workers write to, and that is one of this host's."""
    memory = Path("/dev/shm")
    assert disk.find_place([str(tmp_path)], [memory, tmp_path]) == tmp_path
    assert disk.find_place(["/nowhere"], [tmp_path]) is None
    assert "another disk" in disk.why_not(Config(), None)
    assert "no disk of this host's (tmpfs)" in disk.why_not(Config(), memory)


def test_a_full_disk(tmp_path: Path) -> None:
    """Of the owner's reserve nothing is taken, not even for this."""
    config = Config(owner=Owner(reserve_disk=Portion.parse("100%")))
    assert disk.why_not(Config(owner=Owner(reserve_disk=Portion.parse("0%"))), tmp_path) == ""
    assert "too little" in disk.why_not(config, tmp_path)
