"""The image of an HTCondor worker node: its contents, reproducibility, and that it runs."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from docker.harness import Engine, wait_for
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

IMAGE = Path(__file__).parents[2] / "scripts" / "worker-image"
SCRIPT = runpy.run_path(str(IMAGE / "build"))

pytestmark = pytest.mark.docker


def build(*arguments: str) -> tuple[Path, str, str]:
    """Run the script; the archive, the tag, the image's id."""
    done = subprocess.run([IMAGE / "build", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`build {' '.join(arguments)}` failed: {done.stderr}"
    first, tag, image = done.stdout.splitlines()
    return Path(first.rpartition(" ")[0].rpartition(" ")[0]), tag, image


def sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def run(engine: Engine, image: str, command: str) -> tuple[int, str]:
    """Run a command confined like a worker; its exit code and output."""
    body: dict[str, Any] = {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", command],
        "Hostname": "worker",
        "Tty": True,  # one stream of plain text
        "HostConfig": {
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "NetworkMode": "none",
            "ExtraHosts": ["worker:127.0.0.1"],  # HTCondor tries for minutes to resolve its own name
            "Tmpfs": {"/tmp": "", "/run": "mode=1777"},
        },
    }
    made = engine.call("POST", "/containers/create", body)["Id"]
    try:
        engine.call("POST", f"/containers/{made}/start")
        wait_for("the command ends", lambda: engine.inspect(made)["State"]["Status"] == "exited")
        code = int(engine.inspect(made)["State"]["ExitCode"])
        done = subprocess.run(
            ["docker", "-H", f"unix://{engine.socket}", "logs", made],
            capture_output=True,
            text=True,
            check=True,
        )
        return code, done.stdout.replace("\r", "")
    finally:
        engine.remove(made)


def test_a_docker_engine_takes_it_as_promised(engine: Engine, worker_image: str) -> None:
    """Docker has the image under the id that the script prints, with user, entry point, volume and
    labels."""
    _, tag, image = build()
    seen = engine.call("GET", f"/images/{tag}/json")
    assert seen["Id"] == image, f"Docker has {seen['Id']}, the script says {image}"
    same = engine.call("GET", f"/images/{worker_image}/json")["Id"]
    assert same == image, f"{worker_image} is {same}, the script says {image}"
    config = {key: seen["Config"][key] for key in SCRIPT["CONFIG"]}
    assert config == SCRIPT["CONFIG"], f"Docker has {config}"
    assert (config["User"], config["Volumes"]) == ("65534:65534", {"/var/lib/plancton": {}}), str(config)
    labels = seen["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "plancton-worker", f"labels: {labels}"
    version = labels["org.opencontainers.image.version"]
    assert tag == f"{SCRIPT['REPOSITORY']}:{version}", f"{tag}, labels: {labels}"
    assert len(seen["RootFS"]["Layers"]) == 2, f"layers: {seen['RootFS']['Layers']}"


def test_the_list_of_packages_names_htcondor(worker_image: str) -> None:
    """Beside the archive is a sorted list of all packages, HTCondor's among them in the tag's
    version."""
    archive, tag, _ = build()
    lines = archive.with_suffix(".packages").read_text().splitlines()
    assert lines == sorted(lines), "the list is not sorted"
    assert all(len(line.split()) == 3 for line in lines), f"not `name version architecture`: {lines[:3]}"
    versions = dict(line.split()[:2] for line in lines)
    assert set(SCRIPT["PACKAGES"]) <= set(versions), f"the list has {sorted(versions)}"
    assert versions["condor"].startswith(tag.rpartition(":")[2]), f"condor {versions['condor']}, tag {tag}"


def test_the_spdx_list(worker_image: str) -> None:
    """Beside it is the same as SPDX, with the image's id, which SPDX's own validator takes."""
    archive, _, image = build()
    file = archive.with_suffix(".spdx.json")
    listed = json.loads(file.read_text())["packages"]
    assert f"sha256:{listed[0]['checksums'][0]['checksumValue']}" == image
    lines = archive.with_suffix(".packages").read_text().splitlines()
    found = {(part["name"], part["versionInfo"]) for part in listed[2:]}
    assert found == {tuple(line.split()[:2]) for line in lines}
    assert validate_full_spdx_document(parse_file(str(file))) == []


def test_a_second_build_does_nothing(worker_image: str) -> None:
    """With an up-to-date archive, the script prints the same and touches nothing."""
    first = build()
    before = {file: file.stat().st_mtime_ns for file in first[0].parent.iterdir()}
    second = build()
    after = {file: file.stat().st_mtime_ns for file in first[0].parent.iterdir()}
    assert second == first, f"first {first}, then {second}"
    assert after == before, f"changed: {sorted(map(str, dict(after.items() ^ before.items())))}"


def test_old_archives_go(worker_image: str, tmp_path: Path) -> None:
    """A new archive replaces those older than a day; younger ones and other files in the folder
    stay."""
    for file in build()[0].parent.glob("debian-*"):
        os.symlink(file, tmp_path / file.name)
    for name in ("plancton-worker-old.tar", "plancton-worker-old.packages", "debian-old.tar.gz"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - 2 * 86_400,) * 2)
    before = {"plancton-worker-young.tar", "other"}
    for name in before:
        (tmp_path / name).touch()
    os.utime(tmp_path / "other", (0, 0))
    build("--output", str(tmp_path))
    left = {file.name for file in tmp_path.iterdir()}
    assert before <= left and not [name for name in left if "-old." in name], f"left: {sorted(left)}"


def test_an_image_that_lost_its_name_goes(engine: Engine, worker_image: str) -> None:
    """Loading removes the script's older images without a name, but none that a container uses, and
    nobody else's."""
    title = f"org.opencontainers.image.title={SCRIPT['NAME']}"
    unused, used, other = (unnamed(engine, *words) for words in ((title, "n=1"), (title, "n=2"), ("n=3",)))
    container = engine.call("POST", "/containers/create", {"Image": used, "Cmd": ["/x"]})["Id"]
    try:
        build("--load", str(engine.socket))
        here = {each["Id"] for each in engine.call("GET", "/images/json?all=1")}
        assert (unused in here, used in here, other in here) == (False, True, True)
    finally:
        engine.remove(container)
        for image in (used, other):
            engine.call("DELETE", f"/images/{image}")


def unnamed(engine: Engine, *labels: str) -> str:
    """An image without a name, with these labels; its id."""
    changes = [word for label in labels for word in ("--change", f"LABEL {label}")]
    docker = ["docker", "-H", f"unix://{engine.socket}", "import", *changes, "-"]
    empty = bytes(10_240)  # a tar with nothing in it
    return subprocess.run(docker, input=empty, capture_output=True, check=True).stdout.decode().strip()


def test_our_layer_is_reproducible(worker_image: str, tmp_path: Path) -> None:
    """In another folder, with other times on the files, our layer is rebuilt with the same bytes
    and id."""
    archive, tag, image = build()
    for file in archive.parent.glob("debian-*"):
        os.symlink(file, tmp_path / file.name)
    again = build("--output", str(tmp_path))
    assert again[1:] == (tag, image), f"first {tag} {image}, then {again}"
    assert sha256(again[0]) == sha256(archive), f"{again[0]} and {archive} differ"
    left = [file.name for file in tmp_path.iterdir() if file.name.startswith(".")]
    assert not left, f"left behind: {left}"


@pytest.mark.slow
def test_debians_layer_is_reproducible(worker_image: str, tmp_path: Path) -> None:
    """The same packages, installed again under another umask and time zone, give the same bytes."""
    archive, _, _ = build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        old = os.umask(0o077)
        try:
            again, _, _ = build("--force", "--output", str(tmp_path))
        finally:
            os.umask(old)
    if again.with_suffix(".packages").read_bytes() != archive.with_suffix(".packages").read_bytes():
        archive, _, _ = build("--force")  # Debian has newer ones since
    (layer,) = tmp_path.glob("debian-*.tar.gz")
    other = archive.parent / layer.name
    assert sha256(layer) == sha256(other), f"{layer} and {other} differ"


def test_the_dockerfile_makes_the_same() -> None:
    """The Dockerfile names the script's suite, packages, files, directories, user, volume and entry
    point."""
    text = (IMAGE / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    words: dict[str, list[str]] = {}
    for name, rest in lines:
        words.setdefault(name, []).append(rest)
    everything = " ".join(words["RUN"])
    installed = re.search(r"--no-install-recommends ([^&]*)", everything)
    config = SCRIPT["CONFIG"]
    assert words["ARG"] == [f"SUITE={SCRIPT['SUITE']}"] and words["FROM"] == ["debian:$SUITE-slim"], text
    assert installed, f"no apt-get install in {everything}"
    assert set(installed[1].split()) == set(SCRIPT["PACKAGES"]), f"it installs {installed[1]}"
    files = {line.split()[0]: line.split()[1] for line in words["COPY"]}
    assert files == {source: target for source, (target, _) in SCRIPT["FILES"].items()}, str(files)
    for path, (mode, owner) in SCRIPT["DIRECTORIES"].items():
        whose = f" -o {owner} -g {owner}" if owner else ""
        assert f"install -d -m {mode:o}{whose} {path}" in everything, f"{path} is not made so: {everything}"
    assert words["USER"] == [config["User"]], str(words["USER"])
    assert json.loads(words["VOLUME"][0]) == list(config["Volumes"]), str(words["VOLUME"])
    assert json.loads(words["ENTRYPOINT"][0]) == config["Entrypoint"], str(words["ENTRYPOINT"])
    assert words["WORKDIR"] == [config["WorkingDir"]], str(words["WORKDIR"])


def test_htcondor_runs_in_a_worker_without_privileges(engine: Engine, worker_image: str) -> None:
    """With a read-only root and no capability, HTCondor's programs run and read our
    configuration."""
    code, said = run(engine, worker_image, "id -u && condor_version && condor_config_val DAEMON_LIST")
    assert code == 0, f"exit code {code}: {said}"
    version = build()[1].rpartition(":")[2]
    lines = said.splitlines()
    assert lines[0] == "65534", said
    assert f"$CondorVersion: {version} " in said, said
    assert lines[-1].replace(",", " ").split() == ["MASTER", "STARTD"], said


def test_the_files_have_their_modes(engine: Engine, worker_image: str) -> None:
    """Our files and directories have their owners and modes, and no parent lost its own."""
    paths = [*SCRIPT["DIRECTORIES"], *(target for target, _ in SCRIPT["FILES"].values())]
    parents = ["/etc", "/etc/condor", "/usr/local/bin", "/var/lib"]
    code, said = run(engine, worker_image, f"stat -c '%n %u:%g %a' {' '.join([*paths, *parents])}")
    wanted = {path: f"{owner}:{owner} {mode:o}" for path, (mode, owner) in SCRIPT["DIRECTORIES"].items()}
    wanted |= {target: f"0:0 {mode:o}" for target, mode in SCRIPT["FILES"].values()}
    wanted |= dict.fromkeys(parents, "0:0 755")
    seen = dict(line.split(" ", 1) for line in said.splitlines())
    assert (code, seen) == (0, wanted), f"exit code {code}: {said}"
