"""Where a user's files are, and who takes root's over."""

import os
from pathlib import Path

import pytest
from unit.rundirs import mode

from plancton.paths import Paths, RunDirError, default_paths, hand_over

NOBODY = 65534


# ---------------------------------------------------------------- places


def test_places_of_root() -> None:
    """Root's files are in the system's directories."""
    assert default_paths({}, uid=0) == Paths(
        Path("/etc/plancton/config.yaml"), Path("/run/plancton"), Path("/var/lib/plancton")
    )


@pytest.mark.parametrize(
    ("environ", "config", "run", "state"),
    [
        (
            {"HOME": "/h"},
            "/h/.config/plancton/config.yaml",
            "/h/.local/state/plancton",
            "/h/.local/state/plancton",
        ),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/r"},
            "/c/plancton/config.yaml",
            "/r/plancton",
            "/s/plancton",
        ),
        (
            {"HOME": "/h", "PLANCTON_RUN_DIR": "/x", "PLANCTON_STATE_DIR": "/y"},
            "/h/.config/plancton/config.yaml",
            "/x",
            "/y",
        ),
        (
            {"HOME": "/h", "XDG_RUNTIME_DIR": "", "PLANCTON_RUN_DIR": ""},
            "/h/.config/plancton/config.yaml",
            "/h/.local/state/plancton",
            "/h/.local/state/plancton",
        ),
    ],
)
def test_places_of_a_user(environ: dict[str, str], config: str, run: str, state: str) -> None:
    """A user's files follow the XDG Base Directory Specification; two directories can be moved."""
    assert default_paths(environ, uid=1000) == Paths(Path(config), Path(run), Path(state))


# ---------------------------------------------------------------- handed over


@pytest.fixture
def roots(tmp_path: Path) -> Paths:
    """Root's paths, none of which exists."""
    return Paths(tmp_path / "etc/config.yaml", tmp_path / "run/plancton", tmp_path / "lib/plancton")


def test_places_that_were_handed_over(roots: Paths) -> None:
    """A user who was given root's directories uses them, so that everybody finds the status there;
    the user's own configuration comes first."""
    environ, uid = {"HOME": str(roots.config.parents[1] / "home")}, os.getuid() or 1000
    own = default_paths(environ, uid, roots)
    assert str(own.run).startswith(environ["HOME"]) and str(own.config).startswith(environ["HOME"])
    hand_over(roots, uid)
    assert default_paths(environ, uid, roots) == roots
    assert default_paths(environ, uid + 1, roots) == own
    own.config.parent.mkdir(parents=True)
    own.config.write_text("")
    assert default_paths(environ, uid, roots) == Paths(own.config, roots.run, roots.state)
    roots.run.rmdir()
    assert default_paths(environ, uid, roots) == Paths(own.config, roots.state, roots.state), "after a boot"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand over what is root's")
def test_handing_over(roots: Paths, tmp_path: Path) -> None:
    """The user owns both directories, readable by all, with what root's supervisor left in them;
    links are not followed."""
    roots.state.mkdir(parents=True)
    (roots.state / "instance").write_text("abc")
    (tmp_path / "other").write_text("")
    (roots.state / "link").symlink_to(tmp_path / "other")
    hand_over(roots, NOBODY)
    for path in (roots.run, roots.state, roots.state / "instance"):
        assert path.stat().st_uid == NOBODY
    assert mode(roots.run) == 0o755 and roots.run.parent.stat().st_uid == 0
    assert (tmp_path / "other").stat().st_uid == 0


def test_handing_over_a_file(roots: Paths) -> None:
    """A file in place of a directory is named."""
    roots.run.parent.mkdir()
    roots.run.write_text("")
    with pytest.raises(RunDirError, match=r"/run/plancton: can't be handed over: File exists$"):
        hand_over(roots, 1000)
