"""Fixtures: a dockerd of the tests' own, and an image of the packages that docs/pools.md names."""

import importlib.util
import os
import platform
from collections.abc import Generator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from docker.conftest import engine, host, plancton
from docker.harness import Engine
from pools.page import image_of, packages

__all__ = ["engine", "host", "plancton"]

BUILD = Path(__file__).parents[2] / "scripts" / "worker-image" / "build"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton"


@pytest.fixture(scope="session")
def work_queue_image(private_engine: Engine) -> str:
    """Debian with Work Queue: the image that the page's Dockerfile makes, without a registry."""
    name = image_of("Work Queue")
    repo, _, tag = name.rpartition(":")
    path = f"/images/create?fromSrc=-&repo={quote(repo)}&tag={tag}"
    private_engine.call("POST", path, root_file_system().read_bytes(), timeout=120)
    return name


def root_file_system() -> Path:
    """A tar of it; built once per list of packages, which takes half a minute."""
    build = _builder()
    suite, names = packages("Work Queue")
    build.OPTIONS = (*(o for o in build.OPTIONS if "--include=" not in o), f"--include={','.join(names)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    tar = CACHE / f"work-queue-{build.key(suite, build.OPTIONS, build.EPOCH, platform.machine())}.tar.gz"
    if not tar.exists():
        with build.alone(CACHE) as scratch:
            if not tar.exists():
                build.check_host(CACHE)
                build.mmdebstrap(suite, str(scratch / tar.name), build.find_mirror())
                (scratch / tar.name).replace(tar)
    return tar


def _builder() -> Any:
    """scripts/worker-image/build, which knows how to install Debian's packages reproducibly."""
    loader = SourceFileLoader("worker_image_build", str(BUILD))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the pool's and the supervisor's last words."""
    report = yield
    for name in ("spool", "manager", "plancton"):
        subject = getattr(item, "funcargs", {}).get(name)
        if report.failed and subject is not None:
            report.sections.append((f"what {name} says", subject.describe()))
    return report
