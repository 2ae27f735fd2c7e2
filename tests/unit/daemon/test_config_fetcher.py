"""Following a repository in the background: when it is fetched, and what is reported."""

import logging
import os
import random
from pathlib import Path

import pytest
from helpers.wait import wait_for
from unit.repositories import GOOD, Repository, tree

from plancton.config import repository_limits
from plancton.config.clone import CONFIG
from plancton.config.repository import init
from plancton.config.schema import Repository as Settings
from plancton.daemon import config_fetcher as module
from plancton.daemon.config_fetcher import ConfigFetcher
from plancton.inbox import Inbox
from plancton.units import Duration

DEADLINE = 60.0
NEW = "image: {name: registry.example.org/worker:2.0}\n"


class Host:
    """A clone of a repository, its fetcher, and a clock."""

    def __init__(self, directory: Path) -> None:
        self.repository = Repository(directory)
        self.root = directory / "plancton"
        init(str(self.repository.bare), None, self.root)
        self.now = 1_000.0
        self.inbox = Inbox()
        self.said: list[str] = []
        self.keeper = self.make(self.root / CONFIG)

    def make(self, path: Path, may_fetch: bool = True) -> ConfigFetcher:
        return ConfigFetcher(path, self.inbox, self.said.append, may_fetch, clock=lambda: self.now)

    def want(self, refresh: float = 600, signers: list[str] | None = None) -> None:
        self.keeper.want(Settings(refresh=Duration(refresh), signers=signers or []))

    def pass_time(self, seconds: float) -> bool:
        """Let this much time pass and a due fetch complete; whether there was one."""
        self.now += seconds
        self.keeper.step(self.now)
        if not self.keeper.busy:
            return False
        self.inbox.get(timeout=DEADLINE)()
        return True


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(repository_limits, "ROOT", os.getuid())
    monkeypatch.setattr(random, "uniform", lambda low, high: 1.0)
    return Host(tmp_path)


def test_off(host: Host) -> None:
    """Without an interval nothing is ever fetched."""
    host.want(0)
    host.repository.push({CONFIG: NEW})
    assert not host.pass_time(0)
    assert not host.pass_time(1e6)
    assert tree(host.root) == {CONFIG: GOOD}


def test_when(host: Host) -> None:
    """It is fetched soon after the start and then at the interval; a change of interval counts at
    once."""
    host.want(600)
    assert not host.pass_time(0)
    assert not host.pass_time(4.9)
    assert host.pass_time(0.1)
    assert not host.pass_time(599)
    assert host.pass_time(1)
    host.want(86_400)
    assert host.pass_time(600)
    host.want(60)
    assert not host.pass_time(0)
    assert host.pass_time(66)
    host.want(0)
    assert not host.pass_time(1e6)


def test_what_is_said(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A new commit is reported; a refused one is a problem while it is the newest, logged once."""
    host.want()
    host.pass_time(0)
    first = host.repository.push({CONFIG: NEW})
    assert host.pass_time(5)
    assert (host.said, host.keeper.problem) == (
        [f"the configuration is commit {first[:12]} of branch main now"],
        "",
    )
    bad = host.repository.push({CONFIG: "worker: {privileged: true, user: root}"})
    with caplog.at_level(logging.WARNING):
        assert host.pass_time(600)
        assert host.pass_time(600)
    assert host.keeper.problem == (
        f"config.refresh: {host.repository.bare}: commit {bad[:12]} of branch main: {host.root}/config.yaml:"
        f" worker.privileged: needs `privileged: true` in this host's own {repository_limits.HOSTS}"
        " (and 1 more) (the running configuration stays in force)"
    )
    assert caplog.messages == [host.keeper.problem]
    host.repository.push({CONFIG: GOOD})
    assert host.pass_time(600)
    assert host.keeper.problem == ""
    assert len(host.said) == 2


def test_signers_in_force(host: Host) -> None:
    """The signers are those of the configuration in force when the fetch begins."""
    key = host.repository.key("admin").with_suffix(".pub").read_text().strip()
    host.want(signers=[key])
    host.pass_time(0)
    host.repository.push({CONFIG: NEW})
    assert host.pass_time(5)
    assert "is not signed by one of config.signers" in host.keeper.problem
    host.want()
    assert host.pass_time(600)
    assert host.keeper.problem == ""


def test_not_from_a_repository(host: Host) -> None:
    """A configuration that is not a clone can't be followed, and that is reported."""
    own = host.root.parent / "own.yaml"
    host.keeper = host.make(own)
    host.want()
    assert not host.pass_time(0)
    assert not host.pass_time(5)
    assert host.keeper.problem == f"config.refresh: {own} is not from a repository (`plancton init --repo`)"
    host.want(0)
    assert host.keeper.problem == ""


def test_dry_run(host: Host) -> None:
    """A dry run touches nothing."""
    host.keeper = host.make(host.root / CONFIG, may_fetch=False)
    host.want()
    assert not host.pass_time(0)
    assert not host.pass_time(1e6)


def test_a_bug_is_not_hidden(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected error ends the loop, with its traceback."""

    def broken(*_: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "refresh", broken)
    host.want()
    host.pass_time(0)
    with pytest.raises(ZeroDivisionError):
        host.pass_time(5)


def test_close(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing ends the fetch under way."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexec sleep 1000\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    mark = host.root / ".git/plancton"
    mark.write_text(mark.read_text().replace(str(host.repository.bare), "ssh://example.org/x"))
    host.want()
    host.pass_time(0)
    host.keeper.step(host.now + 5)
    wait_for("ssh is called", (tmp_path / "called").exists)
    host.keeper.close()
    host.inbox.get(timeout=DEADLINE)()
    assert not host.keeper.busy
