"""These tests run on hosts with systemd and pure cgroup v2, and are not collected on others.

`scripts/test-host SUITE` boots such a host for them. There $PLANCTON_TEST_STAGE is "restarting",
and the tests marked `restarted` come after a restart of the host, when it is "restarted".
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from docker.harness import BUSYBOX, IMAGE, Engine, Plancton, WithoutRoot, leaver
from host.harness import (
    DEBS,
    KEPT,
    PATIENCE,
    RESTARTS,
    SOCKET,
    WORKER,
    WORKER_MEMORY,
    SystemEngine,
    is_systemd_on_v2,
)

STAGE = os.environ.get("PLANCTON_TEST_STAGE")
collect_ignore_glob = [] if is_systemd_on_v2() else ["test_*.py"]
collect_ignore = [] if DEBS.is_dir() else ["test_debian_package.py"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of another stage."""
    if STAGE is not None:
        others = [item for item in items if is_of(item) != STAGE]
        items[:] = [item for item in items if is_of(item) == STAGE]
        config.hook.pytest_deselected(items=others)
        config.stash[RESTARTS] = STAGE == "restarting" and bool(others)


def is_of(item: pytest.Item) -> str:
    return "restarted" if item.get_closest_marker("restarted") else "restarting"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The machine's own dockerd, with the image that workers are made of."""
    if not BUSYBOX.exists() or not SOCKET.exists():
        pytest.fail(f"needs a running dockerd (no {SOCKET}?) and {BUSYBOX} (busybox-static)")
    engine = SystemEngine()
    engine.import_image()
    yield engine
    if not KEPT.exists():
        engine.call("DELETE", f"/images/{IMAGE}?force=1")


@pytest.fixture(scope="session")
def work() -> str:
    """What the shared supervisor's workers do."""
    return WORKER


@pytest.fixture(scope="session")
def plancton(engine: Engine, work: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plancton]:
    """A supervisor with a worker. One for all tests, which leave it as they found it: where
    all is emulated a container takes long to start."""
    supervisor = Plancton(tmp_path_factory.mktemp("plancton"), engine)
    # The owner's load is no reason to retire a worker, nor to start another one while it is frozen.
    supervisor.configure(yielding={"grace_kill": "1h", "grace_spawn": "1s"}, pool={"max_workers": 1})
    supervisor.configure(owner={"reserve_memory": "10%"})
    supervisor.configure(worker={"command": work, "memory": f"{WORKER_MEMORY}MiB", "user": "0"})
    try:
        supervisor.start()
        yield supervisor
    finally:
        supervisor.close()


@pytest.fixture(scope="session")
def without_root(engine: Engine) -> Iterator[WithoutRoot]:
    """The same for a user without root, for whom root prepared it; its workers need some CPU to
    leave."""
    directory = Path(tempfile.mkdtemp())  # pytest's are root's alone
    supervisor = WithoutRoot(directory, engine)
    supervisor.configure(yielding={"grace_kill": "1h", "grace_spawn": "1s"}, pool={"max_workers": 1})
    supervisor.configure(owner={"reserve_memory": "10%"}, worker={"command": leaver()})
    try:
        supervisor.prepare()
        supervisor.start()
        supervisor.full(1, PATIENCE)
        yield supervisor
    finally:
        supervisor.close()
        shutil.rmtree(directory)


@pytest.fixture
def workers(plancton: Plancton) -> set[str]:
    """The worker's id, when it runs."""
    return plancton.full(1, PATIENCE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the supervisor's last words."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    supervisor = arguments.get("plancton") or arguments.get("without_root")
    if report.failed and supervisor is not None:
        report.sections.append(("the supervisor's log and status", supervisor.describe()))
    elif report.failed and "host" in arguments:
        journal = subprocess.run(["journalctl", "-u", "plancton", "-n", "50"], capture_output=True, text=True)
        report.sections.append(("the service's journal", journal.stdout))
    return report
