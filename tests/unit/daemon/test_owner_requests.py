"""The owner's pause and a drain with a time: they end by themselves, and a pause survives all."""

from pathlib import Path

import pytest

from plancton.daemon.owner_requests import OwnerRequests
from plancton.daemon.run_directory import RunDir
from plancton.model import NO_WISHES
from plancton.request_files import request

NOW = 1_763_845_453.0


class Place:
    """Where the owner asks; `wall` is the clock, `again` another supervisor."""

    def __init__(self, root: Path) -> None:
        self.run, self.state, self.wall = root / "run", root / "state", NOW
        self.state.mkdir()
        self.said: list[str] = []
        self.again()

    def again(self) -> None:
        run_dir = RunDir(self.run)
        self.it = OwnerRequests(run_dir, self.state, self.said.append, lambda: self.wall)

    def ask(self, name: str, content: str = "") -> None:
        request(self.run, name, content)
        self.it.read()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_pause_ends_by_itself(place: Place) -> None:
    """It is said when it begins and ends, leaves no file, and tells how long it will last."""
    place.ask("pause", f"{NOW + 600:.0f}")
    wishes = place.it.wishes()
    assert wishes.pause.startswith("paused by the owner until ") and wishes.left == 600
    assert not (place.run / "pause").exists()
    place.wall += 599
    assert place.it.wishes().pause
    place.wall += 2
    assert place.it.wishes() == NO_WISHES and not list(place.state.iterdir())
    assert len(place.said) == 2 and "is over" in place.said[1]


def test_a_pause_survives(place: Place) -> None:
    """Another supervisor goes on with it, and ends it when its time has come meanwhile."""
    place.ask("pause", f"{NOW + 600:.0f}")
    place.again()
    assert place.it.pause_until == NOW + 600 and "still paused" in place.said[-1]
    place.wall += 601
    place.again()
    assert place.it.wishes() == NO_WISHES and not list(place.state.iterdir())


def test_resume(place: Place) -> None:
    """Resume ends it at once; a second one changes nothing; a later pause replaces one."""
    place.ask("pause", f"{NOW + 600:.0f}")
    place.ask("pause", f"{NOW + 900:.0f}")
    assert place.it.pause_until == NOW + 900
    place.ask("resume")
    assert place.it.wishes() == NO_WISHES and "ended the pause" in place.said[-1]
    said = len(place.said)
    place.ask("resume")
    assert len(place.said) == said


@pytest.mark.parametrize("content", ["", "soon", "\x00\xff", "9" * 5000])
def test_odd_contents(place: Place, content: str) -> None:
    """Whatever else a pause holds, it counts until it is withdrawn; so it does after a restart."""
    place.ask("pause", content)
    assert place.it.wishes().pause == "paused by the owner" and place.it.wishes().left is None
    place.again()
    assert place.it.wishes().pause
    (place.state / "pause").unlink()
    (place.state / "pause").mkdir()
    place.again()
    assert place.it.wishes().pause, "what can't be read counts"


def test_a_disk_that_takes_nothing(place: Place) -> None:
    """A pause that can't be written holds all the same, and that it may not survive is said."""
    (place.state / ".pause.part").mkdir()
    place.ask("pause", f"{NOW + 600:.0f}")
    assert place.it.wishes().pause and "not beyond a restart" in place.said[-1]


def test_a_drain_ends_by_itself(place: Place) -> None:
    """With a time it does, and says until when; without one it stays."""
    place.ask("drain", f"finish {NOW + 600:.0f}")
    assert place.it.drain and place.it.drain.finish and place.it.wishes().left == 600
    assert place.it.wishes().drain.startswith("draining until ")
    place.wall += 601
    assert place.it.wishes() == NO_WISHES and place.it.drain is None
    assert not (place.run / "drain").exists()
    place.ask("drain", "finish")
    assert place.it.wishes().drain == "draining" and place.it.wishes().left is None


def test_a_clock_that_is_set(place: Place) -> None:
    """A pause and a drain end at the time that was said, by the clock as it is now."""
    place.ask("pause", f"{NOW + 600:.0f}")
    place.ask("drain", f"finish {NOW + 900:.0f}")
    place.wall -= 5 * 3600
    assert place.it.wishes().left == 600 + 5 * 3600 and place.it.wishes().drain
    place.wall = NOW + 700
    assert not place.it.wishes().pause and place.it.wishes().left == 200
    place.wall = 4e9
    assert place.it.wishes() == NO_WISHES and not list(place.state.iterdir())


def test_a_dry_run_asks_nobody(tmp_path: Path) -> None:
    """It goes by no request, and takes none."""
    (tmp_path / "pause").write_text(f"{NOW + 600:.0f}")
    it = OwnerRequests(None, tmp_path, print, lambda: NOW)
    it.read()
    assert it.wishes() == NO_WISHES and (tmp_path / "pause").exists()
