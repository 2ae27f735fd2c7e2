"""Where things are: configuration, run directory, state directory; root's, or those of a user's session."""

import os
from pathlib import Path

import msgspec

from plancton.errors import PlanctonError

LARGEST_FILE = 64 << 10
"""Bytes of any file in these directories that is read here, except status.json."""


class RunDirError(PlanctonError):
    """The run directory can't be used, in one line."""


class Paths(msgspec.Struct, frozen=True):
    """Where things are: the host's paths, or those of the user's session (XDG Base Directory)."""

    config: Path
    run: Path
    state: Path


ROOTS = Paths(Path("/etc/plancton/config.yaml"), Path("/run/plancton"), Path("/var/lib/plancton"))


def default_paths(
    environ: dict[str, str] | None = None, uid: int | None = None, roots: Paths = ROOTS
) -> Paths:
    """The standard paths for this user: root's, or those of them that `plancton prepare` handed over to the
    user, or the user's own. PLANCTON_RUN_DIR and PLANCTON_STATE_DIR move two of them."""
    environ = dict(os.environ) if environ is None else environ
    uid = os.geteuid() if uid is None else uid
    paths = roots if uid == 0 else _users_paths(environ, uid, roots)
    return Paths(
        paths.config,
        Path(environ.get("PLANCTON_RUN_DIR") or paths.run),
        Path(environ.get("PLANCTON_STATE_DIR") or paths.state),
    )


def _users_paths(environ: dict[str, str], uid: int, roots: Paths) -> Paths:
    home = Path(environ.get("HOME", "/"))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "plancton/config.yaml"
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local/state") / "plancton"
    if _is_of(uid, roots.state):
        state = roots.state
        config = config if os.path.exists(config) else roots.config
    run = Path(environ["XDG_RUNTIME_DIR"]) / "plancton" if environ.get("XDG_RUNTIME_DIR") else state
    return Paths(config, roots.run if _is_of(uid, roots.run) else run, state)


def _is_of(uid: int, directory: Path) -> bool:
    try:
        return directory.stat().st_uid == uid
    except OSError:
        return False


def hand_over(paths: Paths, uid: int) -> None:
    """Give this user the run and state directories, with what root's supervisor left in them."""
    for directory in (paths.run, paths.state):
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            for path in (directory, *directory.iterdir()):
                # They may be the user's already: no link leads root to a file elsewhere.
                if path == directory or path.lstat().st_nlink == 1:
                    os.chown(path, uid, -1, follow_symlinks=False)
        except OSError as error:
            raise RunDirError(f"{directory}: can't be handed over: {error.strerror}") from None


def not_writable(path: Path, error: OSError, variable: str) -> str:
    remedy = "run as root" if os.geteuid() else "make it writable"
    return f"{path}: can't be written: {error.strerror}; {remedy} or set {variable}"
