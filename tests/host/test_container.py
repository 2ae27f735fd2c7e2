"""Plancton in a container of its own, on a host whose cgroups systemd has.

`scripts/test-host SUITE --all` brings the image. The first of all files: its supervisor is not the
one that other tests share.
"""

import subprocess
from pathlib import Path

import pytest
from docker.harness import Engine, wait_for
from docker.in_container import ROOT, InContainer, build
from host.harness import PATIENCE, RUNTIME_PROPERTIES

from plancton.model import Status

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ARCHIVE = ROOT / "plancton-image.tar"
IMAGE = "localhost/plancton"


def test_on_a_host_with_systemd(engine: Engine, tmp_path: Path) -> None:
    """It has the host's systemd make the slice and keep it idle class, adopts its worker after
    `docker restart`, and leaves nothing behind when it is stopped."""
    archive = ARCHIVE if ARCHIVE.exists() else build()[0]
    subprocess.run(["docker", "load", "--quiet", "--input", archive], check=True, timeout=PATIENCE)
    inside = InContainer(tmp_path, engine)
    inside.calm(1)
    try:
        inside.start()
        worker, pid = inside.full(1, PATIENCE), inside.pid
        status = inside.status
        assert isinstance(status, Status) and status.tier == "kernel", status
        assert inside.yields and (RUNTIME_PROPERTIES / f"{inside.slice.unit}.d").is_dir()
        assert "ok                systemd" in inside.cli("doctor").stdout
        inside.do("restart")
        wait_for("the next one runs", lambda: (s := inside.status) is not None and s.pid != pid, PATIENCE)
        assert inside.full(1, PATIENCE) == worker
        assert inside.cli("stop").returncode == 0
        ended = subprocess.run(["docker", "wait", inside.name], capture_output=True, timeout=PATIENCE)
        assert ended.stdout == b"0\n"
        assert not inside.directories() and not (RUNTIME_PROPERTIES / f"{inside.slice.unit}.d").exists()
    finally:
        inside.close()
        subprocess.run(["docker", "image", "rm", "--force", f"{IMAGE}:latest"], check=False, timeout=PATIENCE)
