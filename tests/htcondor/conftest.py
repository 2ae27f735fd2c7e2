"""Fixtures: a real HTCondor pool on a dockerd of the tests' own, and a supervisor whose workers
join it."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from docker.conftest import engine, host, owner
from docker.harness import Engine, Plancton
from helpers.dictated_host import DictatedHost
from htcondor.harness import Pool, build_image, join, load_image

__all__ = ["engine", "host", "owner"]


@pytest.fixture(scope="session")
def own_image(private_engine: Engine) -> str:
    """Our worker image's tag; this dockerd has it."""
    return build_image(private_engine)


@pytest.fixture(scope="session")
def worker_image(private_engine: Engine, own_image: str) -> str:
    """What workers are made of: our image, or the one whose contract is to be tried."""
    other = os.environ.get("PLANCTON_TEST_IMAGE")
    return load_image(private_engine, other) if other else own_image


@pytest.fixture
def pool(engine: Engine, own_image: str) -> Iterator[Pool]:
    """A pool without workers and jobs; it starts in two seconds, so each test has its own."""
    with Pool(engine.socket, own_image) as personal:
        yield personal


@pytest.fixture
def plancton(
    engine: Engine, host: DictatedHost, pool: Pool, worker_image: str, tmp_path: Path
) -> Iterator[Plancton]:
    """A supervisor that is configured for the pool but not started."""
    supervisor = Plancton(tmp_path, engine, host)
    try:
        join(supervisor, pool, worker_image)
        yield supervisor
    finally:
        supervisor.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the pool's and the supervisor's last words."""
    report = yield
    for name in ("pool", "plancton"):
        subject = getattr(item, "funcargs", {}).get(name)
        if report.failed and subject is not None:
            report.sections.append((f"what {name} says", subject.describe()))
    return report
