"""What a configuration from a repository may do only where this host permits it.

Who can write to the repository is not root on the hosts that follow it: what makes root of a
container, or reaches what is the host's, is for the host's own allow.yaml to decide. A file counts
as that only when none but root can have written it. `problems` and the rules below it are pure.
"""

import os
import re
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

import msgspec

from plancton.config.clone import ALLOW, Clone, CloneError, Place
from plancton.config.condor_environment import WORKER_IMAGE
from plancton.config.safe_yaml import ConfigError, read_yaml, to_section
from plancton.config.schema import Config, Section, Worker, default
from plancton.config.security import NO_NEW_PRIVILEGES, canonical
from plancton.config.value_checks import is_network, require, require_each
from plancton.docker.auth import HUB, NO_CREDENTIALS, registry_of
from plancton.docker.images import LOCAL
from plancton.files import Unsuitable, read_regular
from plancton.units import shown

HOSTS = Path("/etc/plancton/allow.yaml")
"""The host's, for the clones whose own directory has none."""
ROOT = 0
LARGEST = 64 * 1024
HOST_TOKEN = "/etc/plancton/token"
"""The host's own token for its pool, where the documentation puts it."""
NOBODY = "65534:65534"
SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
SLICE = "plancton"
HARMLESS_LIMITS = frozenset({"cpu", "data", "fsize", "nofile", "nproc", "rss", "stack"})
"""Not those on what a worker takes of the kernel, nor core: on many hosts root handles the dumps."""


class Problem(NamedTuple):
    """What is refused, and the entry of allow.yaml that permits it; without one nothing does."""

    text: str
    permit: str = ""


class NotPermitted(ConfigError):
    """What this host does not let a repository do, a line for each thing."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        super().__init__(lines[0] + more, lines)


class Allow(Section, frozen=True):
    """allow.yaml: what this host lets configurations from a repository do."""

    privileged: bool = False
    root: bool = False
    devices: list[str] = default([])
    capabilities: list[str] = default([])
    security_options: list[str] = default([])
    runtimes: list[str] = default([])
    ulimits: list[str] = default([])
    mounts: list[str] = default([])
    files: list[str] = default([])
    sockets: list[str] = default([])
    slices: list[str] = default([])
    images: list[str] | None = None
    users: list[str] = default([])
    networks: list[str] = default([])
    host_network: bool = False

    def __post_init__(self) -> None:
        require_each(self, "devices mounts files sockets", _is_plain_path, "a path that begins with /")
        image = re.compile(r"[\w.-]+(:\d+)?(/[\w.-]+)*", re.ASCII)
        require_each(self, "images", image.fullmatch, "a registry or REGISTRY/PATH")
        for entry in self.users:
            plain = re.fullmatch(r"\d{1,10}([:-]\d{1,10})?", entry, re.ASCII)
            require(plain is not None, f"users: {shown(entry)} is neither UID:GID nor FIRST-LAST")
        require_each(self, "networks", is_network, "an address or a network")


def _is_plain_path(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/")


def permitted(config: Config, clone: Clone, path: Path) -> Config:
    """What this host makes of the configuration: it gives the registry's credentials to images that
    allow.yaml names, and to no others. ``path`` is its file in the clone. Raises ConfigError where
    it may not be so."""
    place = clone.places()
    allow, of = _read_allow(clone)
    found = [
        f"{path}: {problem.text}" + (f" needs `{problem.permit}` in {of}" if problem.permit else "")
        for problem in problems(config, allow, place)
    ]
    if found:
        raise NotPermitted(tuple(found))
    if _is_named(config.image.name, allow):
        return config
    image = msgspec.structs.replace(config.image, auth_file=NO_CREDENTIALS)
    return msgspec.structs.replace(config, image=image)


def _read_allow(clone: Clone) -> tuple[Allow, str]:
    """What this host permits, and the file's name with why it does not count."""
    own = clone.root / ALLOW
    path = own if os.path.lexists(own) else HOSTS
    if os.path.lexists(clone.tree / ALLOW):
        raise CloneError(f"{own}: comes from the repository: it must be this host's own")
    try:
        data, found = read_regular(path, LARGEST, follow=False)
        if found.st_uid != ROOT or found.st_mode & 0o022:
            raise OSError(0, "only root may be able to write it (chown root:root, chmod 644)")
        text = data.decode("utf-8")
    except FileNotFoundError:
        return Allow(), f"this host's own {path}"
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        why = f"it {why}" if isinstance(error, Unsuitable) else why
        return Allow(), f"{path}, which does not count: {why}"
    return to_section(read_yaml(text, str(path), Allow), Allow, str(path)), f"this host's own {path}"


# ---------------------------------------------------------------- the rules


def problems(
    config: Config, allow: Allow, place: Callable[[str], Place], real: Callable[[str], str] = os.path.realpath
) -> Iterator[Problem]:
    """What the configuration may not do here.

    ``place`` says where a path leads: to a file of the repository's, to none in its directory, or
    elsewhere; ``real`` follows symbolic links.
    """
    worker, docker = config.worker, config.docker
    yield from _worker(worker, allow)
    yield from _image(config, allow)
    for mount in worker.mounts:
        yield from _mount(mount, allow, place, real)
    if config.htcondor and not _is_token(config.htcondor.token_file, allow, place, real):
        path = config.htcondor.token_file
        yield Problem(
            f"htcondor.token_file: {path} is neither below here nor {HOST_TOKEN}:", _entry("files", path)
        )
    for database in config.monitoring.influxdb:
        for file in filter(None, (database.password_file, database.token_file)):
            if file not in allow.files:  # it is sent to wherever they like
                yield Problem(f"monitoring.influxdb: {file}:", _entry("files", file))
    if docker.socket not in (*SOCKETS, *allow.sockets):
        yield Problem(f"docker.socket: {docker.socket}", _entry("sockets", docker.socket))
    if docker.slice not in (SLICE, *allow.slices):
        yield Problem(f"docker.slice: {docker.slice}", _entry("slices", docker.slice))


def _worker(worker: Worker, allow: Allow) -> Iterator[Problem]:
    if worker.privileged and not allow.privileged:
        yield Problem("worker.privileged:", "privileged: true")
    yield from _user(worker.user, allow)
    if worker.user_range not in (Worker().user_range, *allow.users):
        yield Problem(f"worker.user_range: {worker.user_range}", _entry("users", worker.user_range))
    for device in worker.devices:
        if device.partition(":")[0] not in allow.devices:
            yield Problem(f"worker.devices: {shown(device)}", _entry("devices", device.partition(":")[0]))
    permitted = {_capability(name) for name in allow.capabilities}
    for name in worker.capabilities:
        if _capability(name) not in permitted:
            yield Problem(f"worker.capabilities: {shown(name)}", _entry("capabilities", _capability(name)))
    harmless = {NO_NEW_PRIVILEGES, *map(canonical, allow.security_options)}
    for option in map(canonical, worker.security_options):
        if option not in harmless:
            yield Problem(f"worker.security_options: {shown(option)}", _entry("security_options", option))
    if worker.runtime is not None and worker.runtime not in allow.runtimes:
        yield Problem(f"worker.runtime: {worker.runtime}", _entry("runtimes", worker.runtime))
    for limit in worker.ulimits:
        if limit not in HARMLESS_LIMITS and limit not in allow.ulimits:
            yield Problem(f"worker.ulimits: {limit}", _entry("ulimits", limit))
    for network in worker.network.allow:
        if not any(_is_within(network, each) for each in allow.networks):
            yield Problem(f"worker.network.allow: {network}", _entry("networks", network))
    if worker.network.host and not allow.host_network:
        yield Problem("worker.network.host:", "host_network: true")


def _is_within(inner: str, outer: str) -> bool:
    one, other = ip_network(inner), ip_network(outer)
    return one.version == other.version and one.subnet_of(other)  # type: ignore[arg-type]


def _entry(key: str, word: str) -> str:
    """A line of allow.yaml that permits this and nothing else, whatever it consists of."""
    plain = re.fullmatch(r"[A-Za-z/_][\w./-]*", word, re.ASCII)
    return f"{key}: [{word}]" if plain else f"{key}: ['{word.replace(chr(39), chr(39) * 2)}']"


def _user(user: str | None, allow: Allow) -> Iterator[Problem]:
    """Nobody, or whom the host names: another number may be a user or group of the host's, and a
    name is explained by the image."""
    if allow.root or user is None:
        return
    if re.fullmatch(r"0*[1-9]\d{0,9}(:0*[1-9]\d{0,9})?", user, re.ASCII) is None:
        yield Problem(f"worker.user: {shown(user)} is or may be root (0, or a name):", "root: true")
    elif _ids(user) not in [_ids(each) for each in (NOBODY, *allow.users) if "-" not in each]:
        uid, gid = _ids(user)
        yield Problem(f"worker.user: {shown(user)}", _entry("users", f"{uid}:{gid}"))


def _ids(user: str) -> tuple[int, int]:
    """Without a group, it is the one of the same number."""
    uid, _, gid = user.partition(":")
    return int(uid), int(gid or uid)


def _image(config: Config, allow: Allow) -> Iterator[Problem]:
    """Any image of a registry unless the host says which, and of those that were made on the host
    only the one for workers."""
    name, auth_file = config.image.name, config.image.auth_file
    local = name is not None and name.startswith(LOCAL) and name != WORKER_IMAGE
    if name is not None and not _is_named(name, allow) and (local or allow.images is not None):
        yield Problem(f"image.name: {name}", _entry("images", _repository(name)))
    elif auth_file and not _is_named(name, allow):
        entry = registry_of(name) if name else "REGISTRY"
        yield Problem(f"image.auth_file: credentials for {name or 'no image'}", _entry("images", entry))
    if auth_file and auth_file not in allow.files:  # it may name programs
        yield Problem(f"image.auth_file: {auth_file}:", _entry("files", auth_file))


def _is_named(name: str | None, allow: Allow) -> bool:
    """Whether `images` has this image's registry, a part of its path, or all of that."""
    entries = [_with_registry(entry) for entry in allow.images or []]
    return name is not None and any(f"{_repository(name)}/".startswith(f"{each}/") for each in entries)


def _repository(name: str) -> str:
    """An image's full name, without tag and digest: `busybox` is `docker.io/library/busybox`."""
    path, slash, last = name.partition("@")[0].rpartition("/")
    last = last.partition(":")[0]
    full = _with_registry(f"{path}/{last}" if slash else f"{HUB}/{last}")
    return full if full.count("/") > 1 or not full.startswith(f"{HUB}/") else f"{HUB}/library/{last}"


def _with_registry(name: str) -> str:
    """The same with its registry: `site/x` is Docker Hub's."""
    registry, _, path = name.partition("/")
    if registry != "localhost" and re.search(r"[.:]", registry) is None:
        registry, path = HUB, name
    elif registry == f"index.{HUB}":
        registry = HUB
    return f"{registry}/{path}" if path else registry


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _mount(
    mount: str, allow: Allow, place: Callable[[str], Place], real: Callable[[str], str]
) -> Iterator[Problem]:
    source, _, rest = mount.partition(":")
    options = set(rest.partition(":")[2].split(",")) - {"", "ro"}
    where = place(source)
    if (where == "inside" and not options) or _is_permitted(source, options, allow, real):
        return
    if where == "missing":  # Docker would make a directory of that name, as root
        yield Problem(f"worker.mounts: {source}: the repository has no such file")
    elif where == "inside":
        yield Problem(f"worker.mounts: {source}: it can only be mounted read-only")
    else:
        entry = ":".join(filter(None, (source, ",".join(sorted(options)))))
        yield Problem(f"worker.mounts: {source} is outside the repository:", _entry("mounts", entry))


def _is_permitted(source: str, options: set[str], allow: Allow, real: Callable[[str], str]) -> bool:
    """An entry permits its path and all below it. Where it permits writing, just the path itself: a
    worker could put a link there, and the next one mount what it leads to."""
    if ".." in source.split("/"):
        return False
    entries = [
        (real(path), set(given.split(","))) for path, _, given in (e.partition(":") for e in allow.mounts)
    ]
    path = real(source)
    if any("rw" in given and _is_below(path, top) for top, given in entries):
        return False
    return any(options <= given and (path == top or _is_below(path, top)) for top, given in entries)


def _is_below(path: str, top: str) -> bool:
    return path != top and path.startswith(top.rstrip("/") + "/")


def _is_token(path: str, allow: Allow, place: Callable[[str], Place], real: Callable[[str], str]) -> bool:
    """One in the clone's directory, tracked or not, the host's own, or one that the host permits."""
    if path == HOST_TOKEN or place(path) in ("inside", "missing"):
        return True
    return ".." not in path.split("/") and real(path) in {real(permitted) for permitted in allow.files}
