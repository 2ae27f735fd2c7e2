"""Fixtures: a real supervisor on the tests' dockerd, whose host the test dictates."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from docker.harness import Engine, Load, Plancton, WithoutRoot
from helpers.dictated_host import DictatedHost
from helpers.docker_proxy import DockerProxy


@pytest.fixture
def engine(private_engine: Engine) -> Iterator[Engine]:
    """A dockerd that answers and has no containers; a test may do anything to it."""
    yield private_engine
    private_engine.heal()
    for container in private_engine.containers():
        private_engine.remove(container["Id"])


@pytest.fixture
def host(tmp_path: Path) -> Iterator[DictatedHost]:
    """An owner who uses nothing yet."""
    with DictatedHost(tmp_path) as dictated:
        yield dictated


@pytest.fixture
def plancton(engine: Engine, host: DictatedHost, tmp_path: Path) -> Iterator[Plancton]:
    """A supervisor that is configured but not started."""
    supervisor = Plancton(tmp_path, engine, host)
    try:
        yield supervisor
    finally:
        supervisor.close()


@pytest.fixture
def proxy(plancton: Plancton, engine: Engine) -> Iterator[DockerProxy]:
    """In front of the supervisor's dockerd; it does nothing yet."""
    path = engine.directory / "proxy.sock"  # pytest's directories are too long for a socket's name
    with DockerProxy(path, engine.socket) as between:
        plancton.configure(docker={"socket": str(path)})
        yield between


@pytest.fixture
def without_root(engine: Engine, host: DictatedHost) -> Iterator[WithoutRoot]:
    """The same for a user without root, to whom nothing has been handed over yet."""
    engine.directory.chmod(0o711)  # its socket is there
    directory = Path(tempfile.mkdtemp(prefix="plancton-test-"))  # pytest's are root's alone
    supervisor = WithoutRoot(directory, engine, host)
    try:
        yield supervisor
    finally:
        supervisor.close()
        shutil.rmtree(directory)


@pytest.fixture
def owner() -> Iterator[Load]:
    """The owner, who does nothing yet."""
    load = Load()
    try:
        yield load
    finally:
        load.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the supervisor's last words."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    supervisor = arguments.get("plancton") or arguments.get("without_root")
    if report.failed and supervisor is not None:
        report.sections.append(("the supervisor's log and status", supervisor.describe()))
    return report
