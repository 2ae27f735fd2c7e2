"""Real git repositories for tests: a bare one that hosts follow, and a work tree that pushes to
it."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from plancton.config.clone import CONFIG, TREE

GOOD = "image: {name: registry.example.org/worker:1.0}\n"


class Repository:
    """A bare repository, and the administrator's work tree."""

    def __init__(self, directory: Path, text: str = GOOD) -> None:
        self.bare, self.work = directory / "config.git", directory / "work"
        self.home = directory / "home"
        self.home.mkdir()
        self._git(directory, "init", "-q", "--bare", "-b", "main", str(self.bare))
        self._git(directory, "init", "-q", "-b", "main", str(self.work))
        self.first = self.push({CONFIG: text})

    def push(self, files: Mapping[str, str | None], *options: str) -> str:
        """Commit these files (None: without it; `-> path`: a symbolic link); the commit."""
        for name, text in files.items():
            self._write(self.work / name, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "change", *options)
        return self.send()

    def send(self) -> str:
        self.git("push", "-q", "--force", "--tags", str(self.bare), "HEAD")
        return self.git("rev-parse", "HEAD")

    def git(self, *arguments: str, text: str = "") -> str:
        return self._git(self.work, *arguments, text=text)

    def _git(self, directory: Path, *arguments: str, text: str = "") -> str:
        names = {
            f"GIT_{who}_{what}": "x@example.org"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", **names
        }  # fmt: skip
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _write(self, path: Path, text: str | None) -> None:
        path.unlink(missing_ok=True)
        if text is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text.removeprefix("-> "))
        else:
            path.write_text(text)

    def key(self, name: str) -> Path:
        """A new signing key, with its public part next to it."""
        path = self.home / name
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True
        )
        return path

    def sign_with(self, key: Path) -> None:
        for setting in (("gpg.format", "ssh"), ("user.signingKey", str(key)), ("commit.gpgSign", "true")):
            self.git("config", *setting)


def tree(directory: Path) -> dict[str, str]:
    """All files of a directory with what is in them, and links with where they lead; git's own left
    out.

    The links of a clone's own to the repository's files are seen through.
    """
    found = dict[str, str]()
    for top in set(directory.iterdir()) - {directory / ".git"}:
        ours = top.is_symlink() and os.readlink(top) == str(TREE / top.name)
        start = directory / TREE / top.name if ours else top
        for path in _below(start):
            name = str(Path(top.name) / path.relative_to(start))
            found[name] = f"-> {os.readlink(path)}" if path.is_symlink() else path.read_text()
    return found


def _below(path: Path) -> Iterator[Path]:
    if path.is_symlink() or not path.is_dir():
        yield path
    else:
        for each in path.iterdir():
            yield from _below(each)
