"""Runs git as a tool: it asks nothing, runs no hook, reads our settings only, and ends in time."""

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from plancton.errors import PlanctonError
from plancton.files import SHARE

TIMEOUT = 120.0
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest file that git may write: a configuration has kilobytes."""
LARGEST_OUTPUT = 4 * 1024 * 1024
MOST_MEMORY = 1024 * 1024 * 1024
"""Bytes of address space that git may take: some hundred of a pack stand for any number."""
# sh, because Python can't set a limit in the child of a process with threads. ulimit -f counts 512
# bytes, ulimit -v 1024.
_LIMITED = 'umask 022; ulimit -f "$1" 2>/dev/null; ulimit -v "$2" 2>/dev/null; shift 2; exec "$@"'
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.bigFileThreshold=1m",
    "fetch.unpackLimit=1",
    "pack.threads=1",
    "core.fsmonitor=false",
    "core.askPass=",
    "credential.helper=",
    "gpg.program=false",
    "gpg.x509.program=false",
    "gpg.ssh.program=ssh-keygen",
    "gpg.minTrustLevel=fully",
)
_KEPT = (
    "PATH", "HOME", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "SSL_CERT_FILE",
    "http_proxy", "https_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
)  # fmt: skip
"""Of our environment: what ssh and https need to find keys, certificates and the way."""


class GitError(PlanctonError):
    """What git said when it failed, in one line."""


class Git:
    """git for the clone in ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._child: int | None = None
        self._extra: dict[str, str] = {}

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """What git brings meanwhile is in a directory of its own, which is gone afterwards."""
        objects = self.root / ".git/objects"
        new = self.root / ".git/plancton-objects"
        shutil.rmtree(new, ignore_errors=True)  # what a crash has left
        try:
            new.mkdir()
            self._extra = {"GIT_OBJECT_DIRECTORY": str(new), "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects)}
            yield
        finally:
            self._extra = {}
            shutil.rmtree(new, ignore_errors=True)

    def keep(self) -> None:
        new = self.root / ".git/plancton-objects"
        for path in sorted(new.rglob("*"), key=_after_its_pack):
            kept = self.root / ".git/objects" / path.relative_to(new)
            if path.is_dir():
                kept.mkdir(exist_ok=True)
            else:
                path.rename(kept)

    def text(self, *arguments: str) -> str:
        """The one line that git answers with."""
        return self.run(*arguments).decode(errors="replace").strip()

    def holds(self, *arguments: str) -> bool:
        """Whether git says yes, by its exit code."""
        return self._run(arguments, {})[0] == 0

    def run(self, *arguments: str, index: Path | None = None) -> bytes:
        """What git prints; ``index`` is the file to use as its index."""
        extra = {"GIT_INDEX_FILE": str(index)} if index else {}
        code, output, said = self._run(arguments, extra)
        if code != 0:
            raise GitError(_last_words(said) or f"git {arguments[0]} ended with exit code {code}")
        return output

    def end(self) -> None:
        """End the call that another thread waits for."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child, signal.SIGTERM)

    def _run(self, arguments: tuple[str, ...], extra: dict[str, str]) -> tuple[int, bytes, str]:
        # Files, not pipes: who is left of an ended git can't keep us waiting, and the limit holds
        # for them.
        try:
            with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
                code = self._call(arguments, extra, output, errors)
                output.seek(0)
                errors.seek(0)
                data, said = output.read(LARGEST_OUTPUT + 1), errors.read(LARGEST_OUTPUT)
        except OSError as error:
            raise GitError(
                f"git can't be run: {error.filename or 'a temporary file'}: {error.strerror}"
            ) from None
        if len(data) > LARGEST_OUTPUT:
            raise GitError("the repository is larger than any configuration")
        if code == 127:
            raise GitError("git is not installed: it is what a configuration from a repository needs")
        return code, data, said.decode(errors="replace")

    def _call(
        self, arguments: tuple[str, ...], extra: dict[str, str], output: IO[bytes], errors: IO[bytes]
    ) -> int:
        import subprocess  # seldom needed: not worth its memory in a supervisor that follows no repository

        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        limits = (str(LARGEST // 512), str(MOST_MEMORY // 1024))
        child = subprocess.Popen(
            ["sh", "-c", _LIMITED, "sh", *limits, "git", *settings, *arguments],
            cwd=self.root,
            env=_environment(dict(os.environ), self.root) | self._extra | extra,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        self._child = child.pid
        try:
            return child.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise GitError(f"no answer within {TIMEOUT:g} s") from None
        finally:
            if child.returncode is None:
                self.end()  # it removes its locks
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5.0)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            self._child = None


def _after_its_pack(path: Path) -> tuple[bool, str]:
    """git takes a pack for whole once its index is there."""
    return path.suffix == ".idx", str(path)


def _environment(ours: dict[str, str], root: Path) -> dict[str, str]:
    return {
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        **{name: ours[name] for name in _KEPT if name in ours},
        "LC_ALL": "C.UTF-8",
        "GIT_CEILING_DIRECTORIES": str(root.parent),  # not etckeeper's
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(SHARE / "gitconfig"),
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    }


def _last_words(said: str) -> str:
    """The line that tells most: git's first `fatal:` or `error:`, with what the other side said before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    told = fatal[0] if fatal else lines[-1] if lines else ""
    if "Could not read from remote repository" in told and lines[0] != told:
        told = lines[0]  # ssh's own words
    return masked(re.sub(r"^(fatal|error): ", "", told))[:300].rstrip(".")


def masked(text: str) -> str:
    """A text without the passwords that URLs in it carry."""
    return re.sub(r"(https?://)[^/\s]*@", r"\1", text)
