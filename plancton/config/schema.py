"""The keys of the configuration: their types, defaults and descriptions, and which values can't be used.

All else is made of this: the file that `init` writes, the reference in the documentation, the JSON
Schema, and what is said of a wrong value. A section's docstring is its description.
"""

import math
import re
from ipaddress import ip_network
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from plancton.config import security
from plancton.config.host_rule import HostCpus, HostMemory
from plancton.config.hours import Hours
from plancton.config.value_checks import (
    is_limit,
    is_line,
    is_mount,
    is_network,
    is_path,
    parse_users,
    require,
    require_each,
    require_secret_file,
)
from plancton.units import Duration, Number, Portion, Rate, Size, shown

LEAST_MEMORY = 6 * 1024 * 1024  # Docker refuses less (daemon/daemon_unix.go, linuxMinMemory)
LEAST_DISK = Size(1024 * 1024)  # HTCondor counts disk that is set aside in MiB
T = TypeVar("T")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keys of one section; unknown ones are refused."""


def default(value: T) -> T:
    """A default that is mutable or of a type of ours, which msgspec takes from a function only."""
    return msgspec.field(default_factory=lambda: value)


def key(description: str, **more: Any) -> Meta:
    """What a key is for; ``more``: its bounds, an example."""
    return Meta(description=description, **more)


# ---------------------------------------------------------------- htcondor

_MANAGER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(:\d{1,5})?(\?[\w=&.-]+)?")
PORT = 9618
"""HTCondor's, of its collector and shared port."""
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class HTCondor(Section, frozen=True):
    """Makes workers that join an HTCondor pool (docs/htcondor.md). Its first two keys will do."""

    central_manager: Annotated[
        str | list[str], key("HOST or HOST:PORT, or a list of them", examples=["cm.example.org"])
    ]
    token_file: Annotated[
        str, key("the host's token, readable by Plancton's user only", examples=["/etc/plancton/token"])
    ]
    idle_shutdown: Annotated[Duration, key("a worker without a job leaves after this time (0s: never)")] = (
        default(Duration(1_200))
    )
    retirement: Annotated[Duration, key("how long a job may take once its worker is asked to finish")] = (
        default(Duration(86_400))
    )
    vacate: Annotated[
        Duration, key("how long a job that must leave may take to save its state and send it")
    ] = default(Duration(5))
    cpus: Annotated[HostCpus, key("CPUs of one worker; an expression may use ncpus and ram_bytes")] = default(
        HostCpus(1.0)
    )
    memory: Annotated[
        HostMemory, key("its memory, of which HTCondor takes 64MiB; an expression may use cpus as well")
    ] = default(HostMemory(Size(2_000_000_000)))
    disk: Annotated[
        Size | None, key("disk that it promises to jobs; null: an equal part of what is free")
    ] = None
    start: Annotated[str | None, key("HTCondor's START expression: which jobs may run here")] = None
    attributes: Annotated[
        dict[str, bool | int | float | str], key("NAME: value that the slot advertises, besides PlanctonHost")
    ] = {}
    config_dir: Annotated[
        str | None, key("a directory of HTCondor's configuration files, mounted read-only")
    ] = None
    ssh: Annotated[bool, key("users may enter their running jobs with `condor_ssh_to_job`")] = False

    def __post_init__(self) -> None:
        require(self.managers != [], "central_manager: is empty: name the pool's central manager")
        for manager in self.managers:
            require(
                _MANAGER.fullmatch(manager) is not None,
                f"central_manager: {shown(manager)} is not HOST or HOST:PORT",
            )
        require_secret_file(self.token_file, "token_file")
        require_each(self, "config_dir", is_path, "a path that begins with /")
        require(":" not in (self.config_dir or ""), "config_dir: a path with a colon can't be mounted")
        require(not 0 < self.idle_shutdown < 20, "idle_shutdown: must be 0s (never) or at least 20s")
        require(self.retirement <= 30 * 86_400, "retirement: must be at most 30d")
        require(self.vacate <= 600, "vacate: must be at most 10m")
        require(self.disk is None or self.disk >= LEAST_DISK, f"disk: a worker needs at least {LEAST_DISK}")
        require(self.start is None or is_line(self.start), "start: must be one line that is not empty")
        require_each(self, "attributes", _ATTRIBUTE.fullmatch, "a name")
        for name, value in self.attributes.items():
            require(not isinstance(value, str) or is_line(value), f"attributes: {name} must be one line")
            finite = not isinstance(value, float | Number) or math.isfinite(float(value))
            require(finite, f"attributes: {name} must be a finite number")
        names = {name.lower() for name in self.attributes}
        require(len(names) == len(self.attributes), "attributes: two names differ in capital letters only")

    @property
    def managers(self) -> list[str]:
        """The central managers one by one."""
        listed = [self.central_manager] if isinstance(self.central_manager, str) else self.central_manager
        return [part.strip() for text in listed for part in text.split(",") if part.strip()]

    @property
    def places(self) -> list[tuple[str, int]]:
        """Their hosts and ports."""
        found = [_MANAGER.fullmatch(manager) for manager in self.managers]
        return [(each[1].strip("[]"), int((each[2] or f":{PORT}")[1:])) for each in found if each]


# ---------------------------------------------------------------- image and worker

_IMAGE = re.compile(r"\w[\w./:@-]*")


class Image(Section, frozen=True):
    """What workers are made of. Without an image none starts; `htcondor` brings one of its own."""

    name: Annotated[
        str | None, key("a name as `docker pull` takes it", examples=["registry.example.org/worker:1.0"])
    ] = None
    policy: Annotated[
        Literal["always", "missing", "never"],
        key("when to pull: at each refresh, only when it isn't here, or never"),
    ] = "always"
    refresh: Annotated[Duration, key("how often to look for a newer version (0s: never)")] = default(
        Duration(43_200)
    )
    auth_file: Annotated[
        str | None,
        key("the registry's credentials, a file like Docker's config.json; null: docker login's; '': none"),
    ] = None

    def __post_init__(self) -> None:
        require_each(self, "name", _IMAGE.fullmatch, "an image name such as registry.example.org/worker:1.0")
        require(not 0 < self.refresh < 60, "refresh: must be 0s (never) or at least 60s")
        require_each(self, "auth_file", lambda path: not path or is_path(path), "a path that begins with /")


Signal = Literal["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"]
_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rttime", "sigpending", "stack"),
)
"""Docker's, except for rtprio."""
LEAST_USER, LARGEST_USER, MOST_USERS = 1 << 16, (1 << 31) - 1, 4096
"""Below are the host's own users, nobody and systemd's dynamic ones; Docker takes no larger numbers."""
LEAST_RATE = Rate(64_000)


class WorkersNetwork(Section, frozen=True):
    """The network that all workers share, what they reach through it, and how fast."""

    reach: Annotated[
        Literal["all", "internet"],
        key("internet: no private networks; never this host's services and metadata"),
    ] = "all"
    allow: Annotated[
        list[str], key("addresses or networks that they reach all the same, also of this host")
    ] = []
    rate_down: Annotated[
        Rate | None, key("what all workers together may receive: 20Mbit; null: no limit")
    ] = None
    rate_up: Annotated[Rate | None, key("what they may send")] = None
    lower_effort: Annotated[bool, key("what they send is marked as lower effort (DSCP LE, RFC 8622)")] = True
    mtu: Annotated[int | None, key("bytes of a packet; null: the default route's")] = None
    subnet: Annotated[str | None, key("its addresses: 192.168.77.0/24; null: some of Docker's")] = None
    ipv6: Annotated[bool, key("true: IPv6, too, where Docker can (ip6tables)")] = False
    host: Annotated[bool, key("true: the host's own network, and nothing of the above holds")] = False

    def __post_init__(self) -> None:
        require_each(self, "allow", is_network, "an address or a network such as 192.168.7.0/24")
        for name in ("rate_down", "rate_up"):
            rate = getattr(self, name)
            require(rate is None or rate >= LEAST_RATE, f"{name}: must be at least {LEAST_RATE}")
        require(self.mtu is None or 576 <= self.mtu <= 9_000, "mtu: must be from 576 to 9000")
        if self.subnet is not None:
            fits = is_network(self.subnet) and ip_network(self.subnet).version == 4
            require(fits, f"subnet: {shown(self.subnet)} is not an IPv4 network such as 192.168.77.0/24")
            require(
                ip_network(self.subnet).prefixlen <= 29, "subnet: must have room for workers, at least a /29"
            )
        if self.host:
            limits = ("rate_down", "rate_up", "mtu", "subnet")
            others = [name for name in limits if getattr(self, name) is not None]
            others += [name for name in ("ipv6", "allow") if getattr(self, name)]
            others += ["reach"] if self.reach == "internet" else []
            require(not others, f"host: the host's own network has no {', '.join(others)}: take that out")


class Worker(Section, frozen=True):
    """What one worker is: the container that is donated."""

    command: Annotated[
        list[str] | str | None, key("a list, or text for /bin/sh -c; null: the image's own")
    ] = None
    cpus: Annotated[float, key("CPUs that one worker may use", gt=0, le=4096)] = 1.0
    cores: Annotated[
        Literal["all", "efficiency"],
        key("efficiency: workers run on the small cores only, where a host has such"),
    ] = "all"
    memory: Annotated[Size, key("its memory: 2GB, 512MiB")] = default(Size(2_000_000_000))
    swap: Annotated[Size, key("its swap")] = default(Size(0))
    user: Annotated[
        str | None, key("uid or uid:gid inside; null: 65534, or one of its own where the image can take any")
    ] = None
    user_range: Annotated[
        str, key("FIRST-LAST: without `user`, each worker is one of these if its image can be")
    ] = "2100000000-2100000255"
    environment: Annotated[dict[str, str], key("NAME: value, the text as it is written")] = {}
    mounts: Annotated[
        list[str], key("/host/path:/container/path, read-only without :rw; also rslave, shared, z, Z …")
    ] = []
    devices: Annotated[list[str], key("/dev/name, /dev/name:/dev/other or /dev/name:/dev/other:r")] = []
    capabilities: Annotated[list[str], key("all are dropped except these")] = []
    security_options: Annotated[
        list[str], key(f"as of `docker run --security-opt`: {security.KNOWN}".replace("…", "TEXT"))
    ] = []
    privileged: Annotated[bool, key("true: no protection from what runs inside")] = False
    read_only_root: Annotated[bool, key("true: it can write only to its tmpfs, volumes, :rw mounts")] = False
    tmpfs: Annotated[list[str], key("/container/path or /container/path:size=64m,mode=1777")] = []
    volumes: Annotated[list[str], key("/container/path: on disk, removed with the worker")] = []
    disk: Annotated[
        Size | None, key("a quota on what it writes to its root, where Docker has quotas; null: none")
    ] = None
    shm_size: Annotated[Size | None, key("the size of its /dev/shm; null: a quarter of the memory")] = None
    ulimits: Annotated[dict[str, str], key("NAME: number or SOFT:HARD (-1: none), added to those below")] = {}
    init: Annotated[bool, key("false: no init of Docker's, for an image whose own must be process 1")] = True
    runtime: Annotated[str | None, key("one of Docker's runtimes; null: Docker's default")] = None
    network: WorkersNetwork = default(WorkersNetwork())
    lifetime: Annotated[
        Duration, key("after this time it is asked to finish, and a new one takes its place")
    ] = default(Duration(43_200))
    leave_signal: Annotated[Signal, key("tells it to drop its work now, cleanly")] = "SIGTERM"
    leave_timeout: Annotated[Duration, key("how long that may take before it is killed")] = default(
        Duration(20)
    )
    finish_signal: Annotated[Signal, key("tells it to end its job and to take no other")] = "SIGTERM"
    finish_timeout: Annotated[Duration, key("how long that may take before it is told to leave")] = default(
        Duration(3_600)
    )

    def __post_init__(self) -> None:
        require(self.memory >= LEAST_MEMORY, "memory: a container needs at least 6MiB")
        require(self.lifetime >= 1, "lifetime: must be at least 1s")
        users = parse_users(self.user_range)
        require(len(users) > 0, f"user_range: {shown(self.user_range)} is not FIRST-LAST, two numbers")
        within = users.start >= LEAST_USER and users.stop - 1 <= LARGEST_USER
        require(within, f"user_range: must be from {LEAST_USER} to {LARGEST_USER}")
        require(len(users) <= MOST_USERS, f"user_range: must be at most {MOST_USERS} users")
        require_each(self, "mounts", is_mount, "/host/path:/container/path[:ro|rw[,shared|rslave|…][,z|Z]]")
        require_each(self, "tmpfs volumes", re.compile("/.+").fullmatch, "/container/path")
        require_each(self, "devices", re.compile("/dev/.*").fullmatch, "/dev/NAME[:/dev/NAME[:rwm]]")
        require_each(self, "environment", re.compile("[^=]+").fullmatch, "a variable's name")
        require_each(self, "runtime", re.compile(r"[A-Za-z0-9][\w.-]*").fullmatch, "a runtime's name")
        for option in self.security_options:
            wrong = security.problem(option)
            require(not wrong, f"security_options: {wrong}")
        for name, value in self.ulimits.items():
            require(name != "rtprio", "ulimits: with rtprio a worker would not yield to the owner")
            require(name in _ULIMITS, f"ulimits: {shown(name)} is none of {', '.join(_ULIMITS)}")
            require(is_limit(value), f"ulimits: {name}: {shown(value)} is neither a number nor SOFT:HARD")
        require(self.disk is None or self.disk > 0, "disk: must be more than 0")
        require(self.shm_size is None or self.shm_size > 0, "shm_size: must be more than 0")

    @property
    def users(self) -> range:
        return parse_users(self.user_range)


# ---------------------------------------------------------------- the other sections


class Pool(Section, frozen=True):
    """How many workers."""

    max_workers: Annotated[
        int | float | str | None,
        key("a number or an expression: ncpus - 1, min(ncpus, ram_bytes // worker_memory)"),
    ] = None
    spawn_per_tick: Annotated[int, key("how many to start per second at most", ge=1, le=64)] = 4


class Owner(Section, frozen=True):
    """What is always left to the host's owner."""

    reserve_cpus: Annotated[
        float, key("CPUs kept free of workers by the kernel; may be a fraction", ge=0, le=4096)
    ] = 0.0
    reserve_memory: Annotated[Portion, key("of RAM, or a size; the kernel keeps the workers to the rest")] = (
        default(Portion.parse("10%"))
    )
    reserve_disk: Annotated[Portion, key("of each disk that workers write to, or a size")] = default(
        Portion.parse("5%")
    )
    hours: Annotated[
        Hours | None, key("when to donate: 22:00-07:00, sat, sun; at other times workers leave")
    ] = None
    pause_when: Annotated[str | None, key("while this is true, workers are frozen (docs/owner.md)")] = None
    pause_hold: Annotated[Duration, key("for how long it must be false before they go on")] = default(
        Duration(30)
    )
    leave_when: Annotated[str | None, key("while this is true, workers leave and none is started")] = None
    cpu_cap: Annotated[
        int | float | str | None,
        key('what all workers together may use: CPUs, 50%, or "25%" if sessions else "100%"'),
    ] = None
    max_temperature: Annotated[
        float | None, key("°C, 30 to 110: workers use less CPU to keep it below this")
    ] = None

    def __post_init__(self) -> None:
        require(self.pause_hold <= 3_600, "pause_hold: must be at most 1h")
        hottest = self.max_temperature
        require(hottest is None or 30 <= hottest <= 110, "max_temperature: must be from 30 to 110")


class Yield(Section, frozen=True):
    """How quickly workers give way and come back."""

    grace_kill: Annotated[
        Duration, key("a worker that has not fitted for two thirds of this time leaves")
    ] = default(Duration(600))
    grace_spawn: Annotated[
        Duration, key("one that would have fitted for two thirds of this time is started")
    ] = default(Duration(60))
    stake: Annotated[
        float, key("one with a job has this many times the CPU time at stake instead", ge=0, le=10)
    ] = 2.0
    longest_wait: Annotated[Duration, key("but no more than this: a pool gives up on a job some time")] = (
        default(Duration(7_200))
    )
    worthwhile: Annotated[
        float, key("the least part of its CPUs that makes a worker worth keeping", gt=0, le=1)
    ] = 0.5
    cap: Annotated[
        Literal["none", "room", "auto"],
        key(
            "room: workers are kept to what the owner leaves, so that some CPU is really idle;"
            " auto: while the owner waits for CPU though workers get some"
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        for name in ("grace_kill", "grace_spawn"):
            require(1 <= getattr(self, name) <= 86_400, f"{name}: must be between 1s and 24h")
        require(self.longest_wait <= 86_400, "longest_wait: must be at most 24h")


OTHERS_SLICES = frozenset({"docker", "init", "kubepods", "libpod_parent", "machine", "system", "user"})
"""Top-level cgroups that Docker, systemd, Kubernetes and Podman use for others than us."""
OTHERS_NETWORKS = frozenset({"bridge", "default", "docker_gwbridge", "host", "ingress", "none"})
"""Networks that Docker has itself: the workers' own has the slice's name."""
_SLICE = re.compile("[a-z0-9][a-z0-9_]{0,31}")


class DockerSection(Section, frozen=True):
    """Where Docker is, and the cgroup that all workers live in."""

    socket: Annotated[str, key("Docker's unix socket")] = "/var/run/docker.sock"
    slice: Annotated[str, key("name of the cgroup that all workers live in")] = "plancton"
    tier: Annotated[
        Literal["kernel", "weight", "quota"], key("yield no more strongly than this, to try it out")
    ] = "kernel"
    tick: Annotated[
        Duration, key("look at the host this often (1s to 15s); a third as often on battery or at rest")
    ] = default(Duration(5))

    def __post_init__(self) -> None:
        require(1 <= self.tick <= 15, "tick: from 1s to 15s")
        require_each(self, "socket", is_path, "the path of a unix socket")
        require_each(
            self, "slice", _SLICE.fullmatch, "a plain name (a to z, 0 to 9 and _, which can't be the first)"
        )
        why = f"slice: {self.slice!r} is the system's, and its priority must not be lowered: choose another"
        require(self.slice not in OTHERS_SLICES, why)
        networks = (
            f"slice: {self.slice!r} is one of Docker's own networks; the workers' is named after the slice"
        )
        require(self.slice not in OTHERS_NETWORKS, f"{networks}: choose another")


_SIGNER = re.compile(
    r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[\w-]+@openssh\.com) [A-Za-z0-9+/]{32,}={0,3}( [^\n]*)?"
)


class Repository(Section, frozen=True):
    """Follows the branch that this file was cloned from (plancton init --repo)."""

    refresh: Annotated[Duration, key("how often to fetch it (0s: never); a tag or commit stays as it is")] = (
        default(Duration(0))
    )
    signers: Annotated[
        list[str], key("ssh-ed25519 AAAA… name: a commit must be signed by one of these keys")
    ] = []

    def __post_init__(self) -> None:
        require(not 0 < self.refresh < 60, "refresh: must be 0s (never) or at least 60s")
        require_each(self, "signers", _SIGNER.fullmatch, "an SSH public key (ssh-ed25519 AAAA… name)")


_INFLUXDB = re.compile(r"https?://([^/@\s]+@)?([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[\w./~-]*)?", re.ASCII)
_OUR_TAGS = frozenset({"host", "hostname"})


class InfluxDB(Section, frozen=True):
    """One InfluxDB: with `database` of version 1, with `org` and `bucket` of version 2."""

    url: Annotated[
        str, key("http or https://HOST[:PORT][/PATH]", examples=["https://influxdb.example.org:8086"])
    ]
    database: Annotated[str | None, key("version 1: its database")] = None
    org: Annotated[str | None, key("version 2: the organization")] = None
    bucket: Annotated[str | None, key("version 2: its bucket")] = None
    user: Annotated[str | None, key("version 1: who may write there; null: anybody")] = None
    password_file: Annotated[
        str | None, key("version 1: the user's password, readable by Plancton's user only")
    ] = None
    token_file: Annotated[str | None, key("version 2: an API token, readable by Plancton's user only")] = None
    every: Annotated[Duration, key("how often to send what is new, at least 1m")] = default(Duration(60))
    tags: Annotated[dict[str, str], key("NAME: value, added to each line, besides `host`")] = {}
    insecure: Annotated[bool, key("true: https without a look at whom it is spoken with")] = False
    compatible: Annotated[
        bool, key("true: also Plancton 0.6's series, and the database is made if it is missing")
    ] = False

    def __post_init__(self) -> None:
        # Nothing that is said has the address in it: it may have a password in it.
        require(_INFLUXDB.fullmatch(self.url) is not None, "url: is not http://HOST[:PORT] or https://…")
        port = re.search(r":(\d+)(/[^@]*)?$", self.url)
        require(port is None or int(port[1]) < 1 << 16, "url: its port is none")
        first, second = self.database, self.org and self.bucket
        require(bool(first) != bool(second), "database: give it, or org and bucket: one of the two")
        require(
            not first or self.token_file is None, "token_file: is for version 2; write user and password_file"
        )
        require(bool(first) or self.token_file is not None, "token_file: is missing: version 2 needs a token")
        require(bool(self.user) or not self.password_file, "user: is missing: whose password is it?")
        require(bool(first) or not self.user, "user: is for version 1, and token_file for version 2")
        require(bool(first) or not self.compatible, "compatible: is for version 1, as 0.6 was")
        require_each(self, "database org bucket user", lambda text: text is None or is_line(text), "one line")
        require_secret_file(self.password_file, "password_file")
        require_secret_file(self.token_file, "token_file")
        require(60 <= self.every <= 86_400, "every: must be between 1m and 24h")
        for name, value in self.tags.items():
            require(is_line(name) and name not in _OUR_TAGS, f"tags: {shown(name)} can't be one")
            require(
                is_line(value) and value[-1] != "\\", f"tags: {name} must be one line, without \\ at its end"
            )


class Monitoring(Section, frozen=True):
    """Where what this host does is sent (docs/monitoring.md)."""

    influxdb: Annotated[list[InfluxDB], key("databases that the history is sent to")] = []

    def __post_init__(self) -> None:
        places = [(each.url, each.database, each.org, each.bucket) for each in self.influxdb]
        require(len(set(places)) == len(places), "influxdb: two of them are the same database")


class Config(Section, frozen=True):
    """The whole file."""

    htcondor: HTCondor | None = None
    image: Image = default(Image())
    worker: Worker = default(Worker())
    pool: Pool = default(Pool())
    owner: Owner = default(Owner())
    yielding: Yield = msgspec.field(name="yield", default_factory=Yield)
    docker: DockerSection = default(DockerSection())
    config: Repository = default(Repository())
    monitoring: Monitoring = default(Monitoring())
