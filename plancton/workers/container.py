"""What a worker is to Docker: the body of POST /containers/create and the labels on it. Pure.

https://docs.docker.com/reference/api/engine/ ("Create a container") describes the fields.
"""

import random
import resource
import string
from collections.abc import Iterable, Mapping
from typing import Any

from plancton.config import security
from plancton.config.schema import Config, Worker
from plancton.docker.replies import Container
from plancton.host.slice_bounds import PERIOD, cpu_quota
from plancton.model import full_shares
from plancton.workers.surroundings import ORDINARY, Surroundings
from plancton.workers.users import user_of

INSTANCE, CPUS, MEMORY, IMAGE, DIGEST, POOL, UNTIL = (
    f"plancton.{key}" for key in ("instance", "cpus", "memory", "image", "configuration", "pool", "until")
)
CHECKPOINT = "plancton.checkpoint"
"""An image's own label: the signal with which its workers have jobs save their state and go on."""
CHECKPOINT_SIGNALS = frozenset({"SIGUSR1", "SIGUSR2"})
HTCONDOR = "htcondor"
"""POOL of workers that report their jobs as HTCondor's do."""
PREFIX = "plancton-worker-"
PIDS_LIMIT = 4096
"""Processes and threads of one worker: enough for any job, too few for a harmful fork bomb."""
LEAST_BLKIO_WEIGHT = 10
LOGS = {"Type": "local", "Config": {"max-size": "10m", "max-file": "1", "compress": "false"}}


def _at_most(limit: int, kind: int, part: int = 1) -> str:
    """Also no more than this part of what this host gives us: a dockerd without CAP_SYS_RESOURCE, as in
    many LXC containers, can't give more either, and refuses to start what asks for it."""
    hard = resource.getrlimit(kind)[1]
    return str(limit if hard == resource.RLIM_INFINITY else min(limit, hard // part))


ULIMITS = {
    "nofile": _at_most(65_536, resource.RLIMIT_NOFILE),
    "core": _at_most(1, resource.RLIMIT_CORE),
    "sigpending": _at_most(4096, resource.RLIMIT_SIGPENDING, part=2),
    "msgqueue": _at_most(409_600, resource.RLIMIT_MSGQUEUE, part=2),
}
"""Unless others are configured. Some daemons give 2³⁰ descriptors, and what makes a table of them
is slow. A limit of 1 on core dumps stops the host's core handler; 0 does not (core(5)). The last two
are on what all processes of a user have, on the host as well: a service that is the same user, with
the host's usual limits, keeps half."""


def new_name() -> str:
    return PREFIX + "".join(random.choices(string.ascii_lowercase + string.digits, k=6))


def create_body(
    name: str,
    config: Config,
    image: str,
    digest: str,
    instance: str,
    parent: str,
    network: str,
    profiles: Mapping[str, str] | None = None,
    around: Surroundings = ORDINARY,
) -> dict[str, Any]:
    """A worker's container, with the least privileges that the configuration allows.

    ``profiles``: the seccomp rules that it names (`security.read_profiles`).
    """
    worker = config.worker
    labels = {INSTANCE: instance, CPUS: repr(worker.cpus), MEMORY: str(int(worker.memory))}
    labels |= {IMAGE: image, DIGEST: digest, **({POOL: HTCONDOR} if config.htcondor else {})}
    body: dict[str, Any] = {
        "Image": image,
        "Hostname": name,  # its name in the pool
        "User": user_of(worker),
        "Env": [f"{key}={value}" for key, value in worker.environment.items()],
        "Labels": labels,
        "Volumes": {path: {} for path in worker.volumes},
        # The engine would pay for the image's own, as often as the image says.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "CgroupParent": parent,
            "NetworkMode": network,
            "RestartPolicy": {"Name": "no"},
            "LogConfig": LOGS,
            **_resources(worker),
            **_privileges(worker, profiles or {}, around),
            **_files(worker, around),
        },
    }
    if worker.command is not None:
        text = isinstance(worker.command, str)
        body["Cmd"] = ["/bin/sh", "-c", worker.command] if text else list(worker.command)
    return body


def _resources(worker: Worker) -> dict[str, Any]:
    """What it may have of the host."""
    body: dict[str, Any] = {
        "CpuShares": full_shares(worker.cpus),
        "CpuPeriod": PERIOD,
        "CpuQuota": cpu_quota(worker.cpus),
        "Memory": int(worker.memory),
        "MemorySwap": int(worker.memory) + int(worker.swap),
        "OomScoreAdj": 1000,
        "BlkioWeight": LEAST_BLKIO_WEIGHT,
        "PidsLimit": PIDS_LIMIT,
        "ShmSize": int(worker.memory) // 4 if worker.shm_size is None else int(worker.shm_size),
        "Ulimits": [_ulimit(*limit) for limit in (ULIMITS | worker.ulimits).items()],
        "Devices": [_device(device) for device in worker.devices],
    }
    if worker.disk is not None:
        body["StorageOpt"] = {"size": str(int(worker.disk))}
    return body


def _privileges(worker: Worker, profiles: Mapping[str, str], around: Surroundings) -> dict[str, Any]:
    """How it is run, and what it may do."""
    rules = "" if worker.privileged else around.seccomp
    options, shows_paths = security.translate(worker.security_options, profiles, rules)
    return {
        "Init": worker.init,
        "CapDrop": [] if worker.privileged else ["ALL"],
        "CapAdd": worker.capabilities,
        "SecurityOpt": options,
        "Privileged": worker.privileged,
        **({"MaskedPaths": [], "ReadonlyPaths": []} if shows_paths else {}),
        **({} if worker.runtime is None else {"Runtime": worker.runtime}),
    }


def _files(worker: Worker, around: Surroundings) -> dict[str, Any]:
    """What it sees and may write to."""
    below = around.read_only_below and worker.runtime is None  # it is runc that can
    resolvers = "" if worker.network.host else around.resolvers
    return {
        "ReadonlyRootfs": worker.read_only_root,
        "Tmpfs": {path: options for path, _, options in (text.partition(":") for text in worker.tmpfs)},
        "Mounts": [
            *(bind_mount(mount, below) for mount in worker.mounts if not has_label(mount)),
            *_resolvers(resolvers, worker.mounts),
        ],
        "Binds": [_read_only(mount) for mount in worker.mounts if has_label(mount)],
    }


def promised(
    disk: int | None,
    ends: float,
    lost: float | None = None,
    median_life: float | None = None,
    speed: Mapping[str, int] = {},
) -> list[str]:
    """What a pool member may promise to its jobs, for its environment: known only once it is made,
    and so no part of its configuration.

    Bytes of ``disk``, when it ``ends`` (Unix time), the part of jobs' CPU time that was ``lost`` on
    this host, how long the workers before it lived (seconds), and the CPUs' ``speed`` (cpu_benchmark.py).
    """
    facts = {"PlanctonEnds": f"{ends:.0f}", "PlanctonTimeLeft": "(PlanctonEnds - time())"}
    if lost is not None:
        facts["PlanctonLost"] = f"{lost:.3f}"
    if median_life is not None:
        facts["PlanctonMedianLife"] = f"{median_life:.0f}"
    facts |= {name: str(figure) for name, figure in speed.items()}
    found = [f"_CONDOR_{name}={value}" for name, value in facts.items()]
    found += [f"_CONDOR_PLANCTON_FACTS={' '.join(facts)}"]
    return found + ([f"PLANCTON_DISK={disk}"] if disk is not None else [])


def without_labels(body: dict[str, Any]) -> dict[str, Any] | None:
    """The same container without SELinux labels on its mounts; None if it has none. For `Binds`
    Docker makes a directory where the host has no such path, for `Mounts` it refuses."""
    host = body["HostConfig"]
    if not host["Binds"]:
        return None
    mounts = [bind_mount(mount) for mount in host["Binds"]]
    return {**body, "HostConfig": {**host, "Binds": [], "Mounts": [*host["Mounts"], *mounts]}}


RESOLVERS = "/etc/resolv.conf"


def _resolvers(file: str, mounts: Iterable[str]) -> list[dict[str, Any]]:
    """Which name servers it asks, unless a mount says that."""
    given = any(mount.split(":")[1] == RESOLVERS for mount in mounts)
    mount = {"Type": "bind", "Source": file, "Target": RESOLVERS, "ReadOnly": True}
    return [mount] if file and not given else []


def without_resolvers(body: dict[str, Any]) -> dict[str, Any]:
    host = body["HostConfig"]
    mounts = [mount for mount in host["Mounts"] if mount["Target"] != RESOLVERS]
    return {**body, "HostConfig": {**host, "Mounts": mounts}}


def bind_mount(mount: str, read_only_below: bool = False) -> dict[str, Any]:
    """As Docker's `--mount type=bind`, which refuses a path that does not exist.

    What is mounted below a read-only one is read-only as well, or is not there. With a propagation
    it is as Docker has it: what comes later can't be made read-only.
    """
    host, inside, options = [*mount.split(":"), ""][:3]
    given = set(options.split(",")) - {"", "z", "Z"}
    read_only = "rw" not in given
    body: dict[str, Any] = {"Type": "bind", "Source": host, "Target": inside, "ReadOnly": read_only}
    if propagation := given - {"ro", "rw"}:  # at most one
        body["BindOptions"] = {"Propagation": propagation.pop()}
    elif read_only and read_only_below:
        body["BindOptions"] = {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}
    elif read_only:
        body["BindOptions"] = {"NonRecursive": True}
    return body


def has_label(mount: str) -> bool:
    """Whether it asks for an SELinux label, which only Docker's `--volume` can give (`Binds`)."""
    return bool({"z", "Z"} & set(mount.split(":")[-1].split(",")))


def _read_only(mount: str) -> str:
    host, inside, options = [*mount.split(":"), ""][:3]
    given = options.split(",") if options else []
    return ":".join([host, inside, ",".join(given if "rw" in given or "ro" in given else ["ro", *given])])


def _ulimit(name: str, limits: str) -> dict[str, str | int]:
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _device(text: str) -> dict[str, str]:
    host, inside, access = [*text.split(":"), "", ""][:3]
    return {"PathOnHost": host, "PathInContainer": inside or host, "CgroupPermissions": access or "rwm"}


def is_ours(container: Container, instance: str, parent: str) -> bool:
    """By our label and our slice: an image committed from a worker has the label, not the slice."""
    labels = container.config.labels
    return labels.get(INSTANCE) == instance and container.host_config.cgroup_parent == parent


def label_number(labels: dict[str, str], key: str, default: float) -> float:
    """A label's number; labels can be set by hand, so anything else is the default."""
    try:
        number = float(labels[key])
    except (KeyError, ValueError):
        return default
    return number if 0 < number < 1e18 else default
