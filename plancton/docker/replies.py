"""What Docker answers. Only what is used is here: other fields are ignored, null or absent ones get
the default.

Units are Docker's: bytes, microseconds (CpuQuota).
"""

import base64
import io
import tarfile
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import field

from plancton.docker.errors import NotDocker
from plancton.files import from_json

T = TypeVar("T")
Int = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
"""Docker's numbers are no larger: one of 5000 digits can't even be shown."""


class Reply(msgspec.Struct, frozen=True, rename="pascal"):
    """Any answer; by itself, one of which nothing is read."""


class Identity(Reply, frozen=True):
    """What was made, or one of what is there."""

    id: str


class Containerd(Reply, frozen=True):
    address: str = ""


class AddressPool(Reply, frozen=True):
    """Where Docker takes networks of this size (bits of the prefix) from."""

    base: str
    size: Int


class Plugins(Reply, frozen=True):
    """Docker's plugins: those that are asked whether a call is allowed."""

    authorization: list[str] = []


class Info(Reply, frozen=True):
    """Docker and its host: GET /info."""

    server_version: str = ""
    cgroup_driver: str = ""
    docker_root_dir: str = ""
    driver: str = ""
    driver_status: list[list[str]] = []
    containerd: Containerd = Containerd()
    security_options: list[str] = []
    runtimes: dict[str, Any] = {}
    default_address_pools: list[AddressPool] = []
    plugins: Plugins = Plugins()
    buildah_version: str = ""
    kernel_version: str = ""
    cpus: Int = field(name="NCPU", default=0)

    @property
    def has_containerd_store(self) -> bool:
        """Whether containerd keeps the images and what containers write, not Docker (from 29 on
        that is the default)."""
        return ["driver-type", "io.containerd.snapshotter.v1"] in self.driver_status

    @property
    def is_podman(self) -> bool:
        """Podman's service tells of the Buildah in it; Docker has none."""
        return bool(self.buildah_version)


class Platform(Reply, frozen=True):
    """Who built Docker's packages; distributions leave it empty."""

    name: str = ""


class Component(Reply, frozen=True):
    """One of the programs that Docker is made of."""

    name: str = ""
    version: str = ""
    details: dict[str, Any] = {}

    @property
    def package(self) -> str:
        """A distribution's version where it stands in place of the commit; empty elsewhere."""
        commit = self.details.get("GitCommit")
        return commit if isinstance(commit, str) and commit.startswith(self.version + "-") else ""


class Version(Reply, frozen=True):
    """Which programs Docker is made of: GET /version."""

    platform: Platform = Platform()
    components: list[Component] = []


class Summary(Reply, frozen=True):
    """A container as the list has it. ``names`` are without Docker's leading slash; ``state`` is
    "running", "paused" or another; ``size_rw`` is only there if it was asked for."""

    id: str
    names: list[str] = []
    state: str = ""
    labels: dict[str, str] = {}
    image: str = ""
    size_rw: int = 0

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "names", [name.removeprefix("/") for name in self.names])


class ContainerState(Reply, frozen=True):
    """``pid`` is 0 unless the container runs; ``started_at`` is a time as RFC 3339 has it."""

    running: bool = False
    paused: bool = False
    pid: Int = 0
    exit_code: Int = 0
    oom_killed: bool = field(name="OOMKilled", default=False)
    error: str = ""
    started_at: str = ""


class ContainerConfig(Reply, frozen=True):
    labels: dict[str, str] = {}
    user: str = ""


class HostConfig(Reply, frozen=True):
    """Its resources (shares, microseconds, bytes), and whose network it has."""

    cgroup_parent: str = ""
    cpu_shares: Int = 0
    cpu_quota: Int = 0
    memory: Int = 0
    network_mode: str = ""


class Container(Reply, frozen=True):
    """A container in full. ``name`` is without Docker's leading slash; ``image`` is an id."""

    id: str
    name: str = ""
    state: ContainerState = ContainerState()
    config: ContainerConfig = ContainerConfig()
    host_config: HostConfig = HostConfig()
    image: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "name", self.name.removeprefix("/"))


class _PathStat(msgspec.Struct, frozen=True):
    """What is at a path; ``mode`` has Go's bits."""

    mode: Int = 0


SPECIAL = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
"""Directory, link, device, pipe, socket, character device and the rest (https://pkg.go.dev/io/fs)."""


def may_be_file(header: str) -> bool:
    """Whether a plain file may be at a path of which Docker says this; so it may where it says
    nothing that can be read."""
    try:
        found = from_json(base64.b64decode(header, validate=True), _PathStat)
    except ValueError:
        return True
    return not found.mode & SPECIAL


class RootFs(Reply, frozen=True):
    layers: list[str] = []


class Image(Reply, frozen=True):
    """An image and the names it has."""

    id: str
    repo_tags: list[str] = []
    os: str = ""
    architecture: str = ""
    variant: str = ""
    config: dict[str, Any] = {}
    root_fs: RootFs = field(name="RootFS", default=RootFs())

    def is_same(self, other: "Image") -> bool:
        """Whether containers of both are the same. With the containerd store an id stands for all
        of an image's platforms, and changes when another one's does."""
        return self.id == other.id or (self.root_fs.layers != [] and self._content == other._content)

    @property
    def _content(self) -> tuple[object, ...]:
        return self.os, self.architecture, self.variant, self.config, self.root_fs.layers


class Subnet(Reply, frozen=True):
    subnet: str = ""


class Ipam(Reply, frozen=True):
    config: list[Subnet] = []


class Network(Reply, frozen=True):
    """A network. ``containers``: those that run on it, by their ids; only of one that is asked for
    by its name."""

    id: str = ""
    name: str = ""
    ipam: Ipam = field(name="IPAM", default=Ipam())
    driver: str = ""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    enable_ipv6: bool = field(name="EnableIPv6", default=False)
    containers: dict[str, Any] = {}


class Actor(Reply, frozen=True):
    """The container that an event is about; its name and labels are among the attributes."""

    id: str = field(name="ID", default="")
    attributes: dict[str, str] = {}


class Event(Reply, frozen=True):
    """Something that happened to a container."""

    action: str
    actor: Actor = Actor()


class _ErrorDetail(msgspec.Struct, frozen=True):
    code: Int = 0


class PullLine(msgspec.Struct, frozen=True, rename="camel"):
    """One line of how a pull or an import goes; ``error`` ends it."""

    id: str = ""
    status: str = ""
    error: str = ""
    error_detail: _ErrorDetail = _ErrorDetail()


def decode(data: bytes, kind: type[T], what: str) -> T:
    """One JSON document; NotDocker if it is not of this kind."""
    try:
        value: object = from_json(data, Any)
        return msgspec.convert(_without_nulls(value), kind)
    except (ValueError, RecursionError) as error:
        raise NotDocker(f"not a Docker Engine's answer when asked to {what}: {error}") from error


def _without_nulls(value: Any) -> Any:
    """Docker writes null for an empty list or map: let the default hold."""
    if isinstance(value, dict):
        return {key: _without_nulls(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return value


def first_file(tar: bytes) -> bytes:
    """The content of the file that a tar begins with, as far as it is there; of nothing else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as files:
            entry = files.next()
    except tarfile.TarError:
        return b""
    if entry is None or not entry.isfile():
        return b""
    return tar[entry.offset_data : entry.offset_data + entry.size]


def log_text(data: bytes) -> bytes:
    """Join a log's frames (stream, 0, 0, 0, size in 4 bytes, big endian); a terminal has none."""
    text, at = b"", 0
    while at < len(data):
        if data[at] > 2 or data[at + 1 : at + 4].strip(b"\0"):
            return text + data[at:]
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        text += data[at + 8 : end]
        at = end
    return text
