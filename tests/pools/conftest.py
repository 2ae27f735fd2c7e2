"""Fixtures: a dockerd of the tests' own, and an image of the packages that docs/pools.md names."""

import os
import platform
import runpy
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

import debian_image as image
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
    suite, names = packages("Work Queue")
    ours = runpy.run_path(str(BUILD))["OPTIONS"]
    options = (*(o for o in ours if "--include=" not in o), f"--include={','.join(names)}")
    CACHE.mkdir(parents=True, exist_ok=True)
    tar = CACHE / f"work-queue-{image.key(suite, options, image.EPOCH, platform.machine())}.tar.gz"
    if not tar.exists():
        with image.alone(CACHE) as scratch:
            if not tar.exists():
                image.check_host(CACHE)
                image.mmdebstrap(*options, suite, str(scratch / tar.name), image.find_mirror())
                (scratch / tar.name).replace(tar)
    return tar


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the pool's and the supervisor's last words."""
    report = yield
    for name in ("spool", "manager", "plancton"):
        subject = getattr(item, "funcargs", {}).get(name)
        if report.failed and subject is not None:
            report.sections.append((f"what {name} says", subject.describe()))
    return report
