"""doctor on a real Docker Engine and the kernel's own cgroups."""

import json
from typing import Any

import pytest
from docker.harness import Engine, Plancton

pytestmark = pytest.mark.docker


def findings(plancton: Plancton, subject: str = "") -> list[dict[str, Any]]:
    """Doctor's findings, on one subject if it is given."""
    done = plancton.cli("doctor", "--config", str(plancton.config), "--json")
    assert done.stderr == "" and done.returncode in (0, 1, 4), done.stderr
    report = json.loads(done.stdout)
    return [each for each in report["findings"] if subject in ("", each["subject"])]


def levels(found: list[dict[str, Any]]) -> set[str]:
    return {each["level"] for each in found}


def test_host_that_is_well(plancton: Plancton) -> None:
    """Before the first start nothing is broken, nothing is created, and the slice is expected."""
    found = findings(plancton)
    assert "broken" not in levels(found), found
    assert plancton.directories() == [] and plancton.name not in plancton.engine.networks()
    assert not plancton.paths.run.exists() and not plancton.paths.state.exists()
    assert "not there yet" in findings(plancton, "slice")[0]["text"]


def test_versions_of_docker(plancton: Plancton) -> None:
    """Of this machine's Docker, which its distribution keeps up to date, no hole is claimed, and its
    version is known."""
    (found,) = findings(plancton, "escapes")
    assert found["level"] == "ok", found
    assert "Docker Engine" in found["text"], found
    checked = plancton.cli("check", str(plancton.config), "--json")
    assert checked.returncode == 0 and "CVE" not in checked.stdout + checked.stderr, checked


def test_supervisor_that_runs(plancton: Plancton, engine: Engine) -> None:
    """While workers run, doctor sees the slice's tier and no leftovers."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    assert "broken" not in levels(findings(plancton))
    (workers_slice,) = findings(plancton, "slice")
    assert workers_slice["level"] == "ok" and "tier" in workers_slice["text"], workers_slice
    assert levels(findings(plancton, "workers")) == {"ok"}
    assert f"(pid {plancton.pid})" in findings(plancton, "supervisors")[0]["text"]


def test_leftover_workers(plancton: Plancton, engine: Engine) -> None:
    """Workers of a supervisor that was killed are found, and what doctor says to do removes
    them."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    plancton.crash()
    engine.run("plancton-worker-of-06", "sleep 1000")
    other = engine.run("my-plancton-worker-1", "sleep 1000")
    orphans, old = findings(plancton, "workers")
    assert orphans["level"] == "could be better" and "plancton stop --force" in orphans["remedy"]
    for worker in plancton.workers():
        assert worker["Names"][0][1:] in orphans["text"], orphans
    assert old["remedy"] == "`plancton migrate --end-old-workers` removes them"
    ended = plancton.cli("migrate", "--end-old-workers", "--config", str(plancton.config)).stdout
    assert ended == "Removed plancton-worker-of-06.\n", "ours, or one with another name"
    assert len(plancton.workers()) == 2 and engine.inspect(other)["State"]["Running"]
    assert plancton.cli("stop", "--force").returncode == 0
    assert levels(findings(plancton, "workers")) == {"ok"}
