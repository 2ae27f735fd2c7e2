"""Reads the host's allow.yaml and refuses what a configuration from a repository may not do here.

A file counts as the host's own when only root can have written it, and the repository does not track it.
"""

import os
from functools import partial
from pathlib import Path

from plancton.config.clone import ALLOW, MARK, Clone, CloneError, Place
from plancton.config.repository_limits import Allow, Problem, problems
from plancton.config.safe_yaml import ConfigError, read_yaml, to_section
from plancton.config.schema import Config
from plancton.files import Unsuitable, read_regular

HOSTS = Path("/etc/plancton/allow.yaml")
"""The host's, for the clones whose own directory has none."""
ROOT = 0
LARGEST = 64 * 1024


class NotPermitted(ConfigError):
    """What this host does not let a repository do, a line for each thing."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        super().__init__(lines[0] + more, lines)


def require_permitted(config: Config, clone: Clone, path: Path) -> None:
    """``path`` is the configuration's file in the clone. Raises ConfigError where it may not be so."""
    if clone.place(str(path)) == "outside":
        raise ConfigError(
            f"{path}: leads out of the repository: a link may only lead to another of its files"
        )
    allow, of = _read_allow(clone.root)
    found = problems(config, allow, partial(_place, clone))
    if found:
        raise NotPermitted(tuple(f"{path}: {_sentence(problem, of)}" for problem in found))


def _sentence(problem: Problem, of: str) -> str:
    return f"{problem.text} needs `{problem.permit}` in {of}" if problem.permit else problem.text


def _place(clone: Clone, path: str) -> Place:
    """What else lies in the directory is the host's: not for a repository's workers."""
    where = clone.place(path)
    return "missing" if where == "inside" and not _is_tracked(clone, clone.name(path)) else where


def _is_tracked(clone: Clone, name: str) -> bool:
    if clone.tree != clone.root:  # just the repository's files are there
        return os.path.lexists(clone.tree / name)
    from plancton.config.git import Git  # seldom needed

    return Git(clone.root).run("--literal-pathspecs", "ls-files", "-z", "--", name) != b""


def _read_allow(root: Path) -> tuple[Allow, str]:
    """What this host permits, and the file's name with why it does not count."""
    own = root / ALLOW
    path = own if os.path.lexists(own) else HOSTS
    if path == own and os.path.lexists(root / MARK) and _is_tracked(Clone(root, root), ALLOW):
        raise CloneError(f"{own}: comes from the repository: it must be this host's own")
    try:
        text = _read(path)
    except FileNotFoundError:
        return Allow(), f"this host's own {path}"
    except Unsuitable as error:
        return Allow(), f"{path}, which does not count: it {error.strerror}"
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        return Allow(), f"{path}, which does not count: {why}"
    return to_section(read_yaml(text, str(path)), Allow, str(path)), f"this host's own {path}"


def _read(path: Path) -> str:
    data, found = read_regular(path, LARGEST, follow=False)
    if found.st_uid != ROOT or found.st_mode & 0o022:
        raise OSError(0, "only root may be able to write it (chown root:root, chmod 644)")
    return data.decode("utf-8")
