"""Plancton in a container of its own, as docs/install.md starts it."""

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from docker.harness import CPUS, STUBBORN, Engine, wait_for
from docker.in_container import BUILD, ROOT, STATE, InContainer, build, documented, without
from helpers.dictated_host import DictatedHost
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from plancton.request_files import request

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def inside(engine: Engine, host: DictatedHost, tmp_path: Path) -> Iterator[InContainer]:
    """Plancton's container, configured but not started."""
    build("--load", str(engine.socket))
    supervisor = InContainer(tmp_path, engine, host)
    supervisor.calm(1)
    try:
        yield supervisor
    finally:
        supervisor.close()


def test_its_life(inside: InContainer) -> None:
    """It donates in tier kernel; what Docker does to it leaves the workers, which it adopts, and its
    `stop` ends both for good."""
    inside.start()
    workers = inside.full(1)
    assert inside.yields
    status = inside.status
    assert status and status.tier == "kernel" and status.pid == inside.pid, status
    doctor = inside.cli("doctor")
    assert doctor.returncode in (0, 1) and "broken" not in doctor.stdout, doctor.stdout + doctor.stderr
    assert inside.cli("top", "--once").returncode == 0
    for words in (["restart"], ["kill"], ["rm", "--force"]):
        inside.ends_by(*words)
        assert inside.full(1) == workers, f"after {words}"
    waiting = inside.cli("stop", "--wait")
    assert waiting.returncode == 2 and "docker wait" in waiting.stderr, waiting.stderr
    assert inside.cli("stop").returncode == 0
    wait_for("its container has ended", lambda: not inside.engine.inspect(inside.name)["State"]["Running"])
    assert not inside.workers() and not inside.directories()
    state = inside.engine.inspect(inside.name)["State"]
    assert state["Status"] == "exited" and not state["Restarting"], state


def test_restart_in_a_lift(inside: InContainer) -> None:
    """`docker restart` while a worker is helped to leave: the slice yields again, and the worker is
    adopted."""
    inside.configure(worker={"command": STUBBORN, "leave_timeout": "60s"})
    inside.start()
    workers = inside.full(1)
    (worker,) = workers
    inside.wait_for_trap(worker)
    group = inside.group(worker)
    inside.host.owner = CPUS
    wait_for("it sees the owner", lambda: (s := inside.status) and (s.owner or 0) > CPUS / 2)
    request(inside.paths.run, "stop")  # `docker exec` may take longer than a lift
    wait_for("the lift", lambda: inside.way_out(group) > 0, every=0.01)
    inside.ends_by("restart")
    assert inside.full(1) == workers
    assert inside.yields and not inside.frozen()


def refused(inside: InContainer, words: list[str]) -> str:
    """What it says when it is started with these words in place of the documented ones."""
    words = [word for word in words if word != "--detach" and word != "unless-stopped"]
    words[words.index("--restart")] = "--rm"
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stderr


def test_what_it_lacks(inside: InContainer) -> None:
    """Without one of the namespaces and mounts it refuses in one line, which names the flag."""
    words = inside.run_command()
    mount = words.index("/sys/fs/cgroup:/sys/fs/cgroup")
    assert "--pid host" in refused(inside, without(words, "--pid"))
    assert "--network host" in refused(inside, without(words, "--network"))
    assert f"-v {STATE}:{STATE}" in refused(inside, without(words, "-v", f"{inside.paths.state}:{STATE}"))
    engine = inside.engine.directory
    assert f"-v {engine}:{engine}" in refused(inside, without(words, "-v", f"{engine}:{engine}"))
    said = refused(inside, without(words, "-v", words[mount]))
    assert "-v /sys/fs/cgroup:" in said and len(said.splitlines()) == 1, said
    own = [*words]
    own[own.index("--cgroupns") + 1] = "private"
    assert "--cgroupns host" in refused(inside, own)


def test_two_on_one_host(inside: InContainer) -> None:
    """Next to one in a container, one that is installed is refused, and the other way round."""
    inside.start()
    installed = [str(Path(sys.executable).parent / "plancton"), "run", "--config", str(inside.config)]
    second = subprocess.run(
        installed, env=inside.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode == 75 and f"(pid {inside.pid})" in second.stderr, second.stderr
    inside.do("stop")
    with subprocess.Popen(installed, env=inside.environment, stderr=subprocess.DEVNULL) as first:
        try:
            wait_for("it has a status", lambda: inside.status is not None)
            inside.engine.remove(inside.name)
            assert f"(pid {first.pid})" in refused(inside, inside.run_command())
        finally:
            first.terminate()


def test_the_image(tmp_path: Path) -> None:
    """It is small, lists what is in it, and is made again with the same bytes."""
    archive, tag, image = build()
    assert archive.stat().st_size < 80e6
    for file in archive.parent.glob("debian-*"):
        os.symlink(file, tmp_path / file.name)
    again, *names = build("--output", str(tmp_path))
    assert (names, again.read_bytes() == archive.read_bytes()) == ([tag, image], True)
    names = [line.split()[0] for line in archive.with_suffix(".packages").read_text().splitlines()]
    assert "python3" in names and "gcc" not in names
    assert validate_full_spdx_document(parse_file(str(archive.with_suffix(".spdx.json")))) == []


def test_the_dockerfile_makes_the_same() -> None:
    """It names the script's suite, packages, environment, entry point and signal; the Compose file
    has what the documented `docker run` has."""
    script = runpy.run_path(str(BUILD))
    text = (BUILD.parent / "Dockerfile").read_text().replace("\\\n", " ")
    config = script["CONFIG"]
    assert text.count(f"FROM debian:{script['SUITE']}-slim") == 2
    installed = re.findall(r"--no-install-recommends ([^&\n]*)", text)[-1]
    assert set(installed.split()) == set(script["PACKAGES"])
    given = dict(word.split("=", 1) for word in re.findall(r"^ENV (.*)", text, re.MULTILINE)[0].split())
    wanted = dict(each.split("=", 1) for each in config["Env"])
    assert given == {key: value for key, value in wanted.items() if key != "PATH"}
    for name, key in (("ENTRYPOINT", "Entrypoint"), ("CMD", "Cmd")):
        assert json.loads(re.findall(f"^{name} (.*)", text, re.MULTILINE)[0]) == config[key]
    assert f"STOPSIGNAL {config['StopSignal']}\n" in text
    compose = yaml.safe_load((ROOT / "examples/container/compose.yaml").read_text())["services"]["plancton"]
    words, options = documented(), dict[str, list[str]]()
    for flag, value in pairwise(words):
        options.setdefault(flag, []).append(value)
    assert compose["volumes"] == options["-v"] and compose["cap_add"] == options["--cap-add"]
    assert [compose["pid"]] == options["--pid"] and [compose["cgroup"]] == options["--cgroupns"]
    assert [compose["restart"]] == options["--restart"] and compose["read_only"] == ("--read-only" in words)
