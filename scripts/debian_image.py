"""Images for Docker from Debian's packages, without a registry or `docker build`: what the scripts
that build one share.

A Docker archive has two layers: Debian's packages as `mmdebstrap` installs them, and files of ours.
The same packages give the same bytes and the same image id.
"""

import fcntl
import gzip
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from spdx import Part, document, purl

SUITE = os.environ.get("SUITE") or "trixie"
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH") or 1754697600)  # the day of Debian 13
FREE = 10**9
OLD = 24 * 3600  # seconds; another checkout may still use a younger archive


def fail(message: str) -> NoReturn:
    sys.exit(f"build: {message}")


def key(*inputs: object) -> str:
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- Debian's layer


def find_mirror() -> str:
    """The address from which this system's apt has Debian's main archive."""
    if mirror := os.environ.get("MIRROR"):
        return mirror
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)"]
    command += ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    said = subprocess.run(command, capture_output=True, text=True).stdout if shutil.which("apt-get") else ""
    for codename, site in (line.split(" ", 1) for line in said.splitlines()):
        if "-" not in codename:  # not bookworm-updates, which some mirrors lack
            return site
    fail("apt knows no Debian mirror: run `apt-get update`, or set MIRROR to a mirror's address")


def check_host(folder: Path) -> None:
    """Say early and clearly what would go wrong later."""
    if os.geteuid() != 0:
        fail("only root can install Debian's packages with mmdebstrap: run it as root")
    if not shutil.which("mmdebstrap"):
        fail("mmdebstrap is missing: apt-get install mmdebstrap")
    for place in (folder, Path(tempfile.gettempdir())):
        if shutil.disk_usage(place).free < FREE:
            fail(f"no disk space: {place} has less than {FREE // 10**6} MB free")


def mmdebstrap(*arguments: str) -> None:
    """Run it to its end, or stop it cleanly: it has a root file system to remove."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "LC_ALL": "C.UTF-8"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            ["mmdebstrap", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # its own process group: the signal must reach apt and dpkg, too
        )
        try:
            process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
        log.seek(0)
        said = log.read().decode(errors="replace").splitlines()
    if process.returncode:
        full = [line for line in said if "No space left" in line]
        errors = [line for line in said if line.startswith("E:")]
        fail(f"mmdebstrap: {(full or errors or said or ['no word why'])[0].removeprefix('E: ')}")


def make_debian(layer: Path, scratch: Path, packages: Sequence[str], options: Sequence[str]) -> None:
    """Debian's layer, compressed, and the list of its packages."""
    check_host(layer.parent)
    mirror = find_mirror()
    print(f"Installing {', '.join(packages)} from {mirror}: half a minute or so", file=sys.stderr)
    made, names = scratch / layer.name, scratch / "packages"
    query = "dpkg-query --admindir=\"$1/var/lib/dpkg\" -W -f '${Package} ${Version} ${Architecture}\\n'"
    hook = f"--customize-hook={query} >{shlex.quote(str(names))}"
    mmdebstrap(*options, hook, SUITE, str(made), mirror)
    put(packages_of(layer), "".join(sorted(names.read_text().splitlines(keepends=True))), scratch)
    made.replace(layer)


def packages_of(file: Path) -> Path:
    return file.with_name(file.name.partition(".")[0] + ".packages")


def spdx_of(file: Path) -> Path:
    return file.with_name(file.name.partition(".")[0] + ".spdx.json")


def debian_parts(packages: str) -> Iterator[Part]:
    """Debian's packages as SPDX has them, from the list of them."""
    for name, version, architecture in (line.split() for line in packages.splitlines()):
        place = purl("deb", f"debian/{name}", version, arch=architecture, distro=SUITE)
        yield Part(name, version, place, supplier="Organization: Debian")


def put(file: Path, text: str, scratch: Path) -> None:
    """Write a file at once or not at all."""
    part = scratch / file.name
    part.write_text(text)
    part.replace(file)


# ---------------------------------------------------------------- our layer and the archive


def add(tar: tarfile.TarFile, path: str, data: bytes | None, mode: int = 0o644, owner: int = 0) -> None:
    """Add a file, or a directory where there is no data."""
    info = tarfile.TarInfo(path.lstrip("/"))
    info.type = tarfile.DIRTYPE if data is None else tarfile.REGTYPE
    info.size, info.mode, info.mtime, info.uid, info.gid = len(data or b""), mode, EPOCH, owner, owner
    tar.addfile(info, io.BytesIO(data or b""))


def date() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))


def make_config(
    name: str, config: dict[str, Any], labels: dict[str, str], layers: list[str], architecture: str
) -> bytes:
    """The image's configuration, whose SHA-256 is the image's id."""
    whole = {
        "architecture": architecture,
        "os": "linux",
        "created": date(),
        "config": {**config, "Labels": {"org.opencontainers.image.title": name, **labels}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]},
        "history": [{"created": date(), "created_by": by} for by in (f"Debian {SUITE}", name)],
    }
    return json.dumps(whole, sort_keys=True).encode()


def digest_of(config: bytes) -> str:
    return hashlib.sha256(config).hexdigest()


def digests(debian: Path, ours: bytes) -> list[str]:
    """The SHA-256 of both layers, not compressed."""
    with gzip.open(debian) as file:
        return [hashlib.file_digest(file, "sha256").hexdigest(), hashlib.sha256(ours).hexdigest()]


def write_archive(
    archive: Path, tags: list[str], config: bytes, layers: dict[str, bytes], scratch: Path
) -> None:
    """What `docker load` reads; the manifest comes first, for describe()."""
    image, parts = f"{digest_of(config)}.json", [f"{layer}.tar" for layer in layers]
    manifest = [{"Config": image, "RepoTags": tags, "Layers": parts}]
    made = scratch / archive.name
    with tarfile.open(made, "w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "manifest.json", json.dumps(manifest).encode())
        add(tar, image, config)
        for part, data in zip(parts, layers.values(), strict=True):
            add(tar, part, data)
    made.replace(archive)


def list_contents(name: str, tag: str, digest: str, parts: list[Part], packages: str) -> str:
    """What is inside an image, as SPDX: ``parts`` of ours, and Debian's packages."""
    version = tag.rpartition(":")[2]
    whole = Part(name, version, purl("oci", name, f"sha256:{digest}"), digest)
    return document(whole, [*parts, *debian_parts(packages)], "CONTAINS", EPOCH, f"{name}-image")


def describe(archive: Path) -> tuple[str, str]:
    """The tag and the id of the image in an archive."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        assert file
        manifest = json.load(file)[0]
    return manifest["RepoTags"][0], f"sha256:{Path(manifest['Config']).stem}"


# ---------------------------------------------------------------- the folder, and Docker


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Have the folder alone, while other builds wait; a directory in it for unfinished files."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as scratch:
            yield Path(scratch)
    finally:
        os.close(handle)


def sweep(folder: Path, name: str, debian: Path, archive: Path) -> None:
    """Remove what was made from other inputs than these two, a day ago or earlier."""
    kept = {debian, packages_of(debian), archive, packages_of(archive), spdx_of(archive)}
    for file in (*folder.glob("debian-*"), *folder.glob(f"{name}-*")):
        if file not in kept and file.lstat().st_mtime < time.time() - OLD:
            file.unlink()


def load(archive: Path, socket: str, name: str) -> None:
    """Load the image into Docker unless it is there, and remove older ones that are not in use."""

    def docker(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", "-H", f"unix://{socket}", *words], capture_output=True, text=True)

    tag, image = describe(archive)
    if docker("image", "inspect", "--format", "{{.Id}}", tag).stdout.strip() != image:
        done = docker("load", "--input", str(archive))
        if done.returncode:
            fail(f"docker load: {done.stderr.strip()}")
    label = f"label=org.opencontainers.image.title={name}"
    docker("image", "prune", "--force", "--filter", label)  # those without a name; a container's stays


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plancton"


def run_as_command(build: Any, description: str, name: str, folder: Path) -> None:
    """What the scripts do when they are called; ``build`` makes the archive in a folder."""
    import argparse

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, default=folder, metavar="DIR", help="%(default)s")
    parser.add_argument("--force", action="store_true", help="rebuild all of it, Debian's layer too")
    parser.add_argument(
        "--load", nargs="?", const="/var/run/docker.sock", metavar="SOCKET", help="and load it into Docker"
    )
    options = parser.parse_args()
    os.umask(0o022)  # the root file system's modes are part of the image
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        archive = build(options.output.absolute(), options.force)
        if options.load:
            load(archive, options.load, name)
    except OSError as error:
        fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    print(f"{archive} {archive.stat().st_size / 1e6:.0f} MB", *describe(archive), sep="\n")
