"""A worker's create request: the least privileges that the configuration allows."""

import resource
from typing import Any

import pytest

from plancton.config.load import parse
from plancton.config.schema import Config
from plancton.docker.replies import Container, ContainerConfig, HostConfig
from plancton.workers import container as containers
from plancton.workers.container import create_body, is_ours, label_number, promised, without_resolvers
from plancton.workers.surroundings import ORDINARY, Surroundings


def body(config: Config | None = None, around: Surroundings = ORDINARY) -> dict[str, Any]:
    place = ("inst", "/plancton", "plancton")
    return create_body("w1", config or Config(), "sha256:i", "d1", *place, around=around)


def worker(text: str) -> Config:
    return parse(f"worker: {text}", "FILE")


def test_least_privilege() -> None:
    """By default a worker has no capability, no new privileges, no device, no mount, an ordinary
    user."""
    made = body()
    host = made["HostConfig"]
    assert made["User"] == "65534:65534"
    assert (host["CapDrop"], host["CapAdd"], host["Privileged"]) == (["ALL"], [], False)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert (host["Binds"], host["Mounts"], host["Devices"]) == ([], [], [])


def test_no_health_check() -> None:
    """An image's HEALTHCHECK is not run: it is the engine that pays for it."""
    assert body()["Healthcheck"] == {"Test": ["NONE"]}


def test_resolvers() -> None:
    """A worker asks the host's name servers, unless a mount says which or the host has none."""
    around = Surroundings(resolvers="/run/p/resolv.conf")
    (mount,) = body(around=around)["HostConfig"]["Mounts"]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == (
        "/run/p/resolv.conf",
        "/etc/resolv.conf",
        True,
    )
    own = worker("{mounts: ['/srv/mine:/etc/resolv.conf']}")
    assert [m["Source"] for m in body(own, around)["HostConfig"]["Mounts"]] == ["/srv/mine"]
    assert body()["HostConfig"]["Mounts"] == []
    assert without_resolvers(body(around=around)) == body()


def test_seccomp_rules() -> None:
    """A worker has Plancton's seccomp rules, unless it is privileged."""
    around = Surroundings(seccomp="{}")
    assert body(around=around)["HostConfig"]["SecurityOpt"] == ["no-new-privileges", "seccomp={}"]
    assert body(worker("{privileged: true}"), around)["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]


def test_yields() -> None:
    """By default a worker lives in the slice, is the first to die for memory and the last to get
    the disk."""
    host = body()["HostConfig"]
    assert host["CgroupParent"] == "/plancton" and host["NetworkMode"] == "plancton"
    assert (host["OomScoreAdj"], host["BlkioWeight"], host["PidsLimit"]) == (1000, 10, 4096)
    assert (host["Memory"], host["MemorySwap"]) == (2_000_000_000, 2_000_000_000), "no swap beyond memory"
    assert (host["CpuShares"], host["CpuQuota"], host["CpuPeriod"]) == (1024, 100_000, 100_000)
    assert host["RestartPolicy"] == {"Name": "no"} and host["Init"] is True
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "1", "compress": "false"}


def test_labels() -> None:
    """A worker's labels have everything that a later supervisor must know about it."""
    assert body(worker("{cpus: 0.5, memory: 1GB}"))["Labels"] == {
        "plancton.instance": "inst",
        "plancton.cpus": "0.5",
        "plancton.memory": "1000000000",
        "plancton.image": "sha256:i",
        "plancton.configuration": "d1",
    }


def test_privileged() -> None:
    """Only `privileged: true` keeps capabilities."""
    host = body(worker("{privileged: true}"))["HostConfig"]
    assert (host["Privileged"], host["CapDrop"]) == (True, [])


def test_what_is_added() -> None:
    """Capabilities and security options are added to dropping all and to no-new-privileges."""
    host = body(worker("{capabilities: [CHOWN], security_options: [seccomp=unconfined]}"))["HostConfig"]
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["CHOWN"])
    assert host["SecurityOpt"] == ["no-new-privileges", "seccomp=unconfined"]


def test_system_paths() -> None:
    """`systempaths=unconfined` hides nothing of /proc and /sys, which Docker's API has other fields
    for."""
    host = body(worker("{security_options: [systempaths=unconfined]}"))["HostConfig"]
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == ([], [])
    assert "MaskedPaths" not in body()["HostConfig"]


def test_limits() -> None:
    """A worker has few descriptors and no core handler, whatever the daemon's defaults; others are
    added."""
    files, core, *_ = body()["HostConfig"]["Ulimits"]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    least = min(65536, most) if most != resource.RLIM_INFINITY else 65536
    assert files == {"Name": "nofile", "Soft": least, "Hard": least}, "no more than this host can give"
    assert (core["Name"], core["Hard"]) == ("core", core["Soft"]) and core["Hard"] in (0, 1)
    made = body(worker("{ulimits: {core: -1, stack: 1024:4096}}"))["HostConfig"]["Ulimits"]
    assert made[1] == {"Name": "core", "Soft": -1, "Hard": -1}
    assert made[-1] == {"Name": "stack", "Soft": 1024, "Hard": 4096}


@pytest.mark.parametrize(
    ("name", "kind"), [("sigpending", resource.RLIMIT_SIGPENDING), ("msgqueue", resource.RLIMIT_MSGQUEUE)]
)
def test_limits_per_user(name: str, kind: int) -> None:
    """Of what a user has in all, a worker takes half at most: the user may be a service's as well."""
    (limit,) = (each for each in body()["HostConfig"]["Ulimits"] if each["Name"] == name)
    most = resource.getrlimit(kind)[1]
    assert limit["Hard"] > 0 and (most == resource.RLIM_INFINITY or limit["Hard"] <= most / 2)


def test_shared_memory() -> None:
    """/dev/shm is a quarter of the memory, or what is configured."""
    assert body(worker("{memory: 400MB}"))["HostConfig"]["ShmSize"] == 100_000_000
    assert body(worker("{shm_size: 1MB}"))["HostConfig"]["ShmSize"] == 1_000_000
    assert body(worker("{memory: 400MB, shm_size: null}"))["HostConfig"]["ShmSize"] == 100_000_000


def test_quota() -> None:
    """A quota on the worker's root, in bytes; none unless asked for."""
    assert body(worker("{disk: 2GB}"))["HostConfig"]["StorageOpt"] == {"size": "2000000000"}
    assert "StorageOpt" not in body(worker("{}"))["HostConfig"]


def test_init_and_runtime() -> None:
    """An image may bring its own init, and another of Docker's runtimes may run it."""
    host = body(worker("{init: false, runtime: runsc}"))["HostConfig"]
    assert (host["Init"], host["Runtime"]) == (False, "runsc")
    assert body()["HostConfig"]["Init"] is True and "Runtime" not in body()["HostConfig"]


def test_mounts() -> None:
    """A mount is read-only unless :rw says otherwise. Docker makes no path for it on the host,
    unless it must give it an SELinux label."""
    mounts = "['/a:/b', '/a:/c:ro', '/a:/d:rw', '/a:/e:rw,rslave', '/a:/f:z', '/a:/g:rw,Z,slave']"
    host = body(worker(f"{{mounts: {mounts}}}"))["HostConfig"]
    assert {m["Source"] for m in host["Mounts"]} == {"/a"} and {m["Type"] for m in host["Mounts"]} == {"bind"}
    assert {m["Target"]: m["ReadOnly"] for m in host["Mounts"]} == {
        "/b": True, "/c": True, "/d": False, "/e": False,
    }  # fmt: skip
    alone = {"NonRecursive": True}
    assert [m.get("BindOptions") for m in host["Mounts"]] == [alone, alone, None, {"Propagation": "rslave"}]
    assert host["Binds"] == ["/a:/f:ro,z", "/a:/g:rw,Z,slave"]


def test_below_read_only_mounts() -> None:
    """What is below a read-only mount is read-only where Docker can do that, else it is left out;
    with a propagation of its own, it is as Docker has it."""
    whole = Surroundings(read_only_below=True)
    config = worker("{mounts: ['/a:/b', '/a:/c:rw', '/a:/d:ro,rslave']}")
    options = [m.get("BindOptions") for m in body(config, whole)["HostConfig"]["Mounts"]]
    recursive = {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}
    assert options == [recursive, None, {"Propagation": "rslave"}]
    other = worker("{mounts: ['/a:/b'], runtime: kata}")
    (mount,) = body(other, whole)["HostConfig"]["Mounts"]
    assert mount["BindOptions"] == {"NonRecursive": True}, "other runtimes need not know it"


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        *(("1000", "1000:1000"), ("0", "0:0"), ("1:2", "1:2"), ("1:", "1:1")),
        *(("job", "job"), ("job:users", "job:users"), ("", "65534:65534"), (":100", "65534:100")),
    ],
)
def test_user(user: str, sent: str) -> None:
    """A number has its group with it, so that the image's files can't add any; no user is not the
    image's, which may be root."""
    assert body(worker(f"{{user: '{user}'}}"))["User"] == sent


def test_without_labels() -> None:
    """What Docker is asked first, so that it makes no path for mounts with a label either."""
    whole = body(worker("{mounts: ['/a:/b', '/c:/d:rw,Z,slave']}"))
    trial = containers.without_labels(whole)
    assert trial is not None and trial["HostConfig"]["Binds"] == []
    assert trial["HostConfig"]["Mounts"] == [
        {"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True,
         "BindOptions": {"NonRecursive": True}},
        {"Type": "bind", "Source": "/c", "Target": "/d", "ReadOnly": False,
         "BindOptions": {"Propagation": "slave"}},
    ]  # fmt: skip
    assert {**trial, "HostConfig": {}} == {**whole, "HostConfig": {}}
    assert containers.without_labels(body(worker("{mounts: ['/a:/b']}"))) is None


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("/dev/x", ("/dev/x", "/dev/x", "rwm")),
        ("/dev/x:/dev/y", ("/dev/x", "/dev/y", "rwm")),
        ("/dev/x:/dev/y:r", ("/dev/x", "/dev/y", "r")),
    ],
)
def test_devices(text: str, device: tuple[str, str, str]) -> None:
    """A device has its own name inside, and all access, unless it says otherwise."""
    (seen,) = body(worker(f"{{devices: ['{text}']}}"))["HostConfig"]["Devices"]
    assert (seen["PathOnHost"], seen["PathInContainer"], seen["CgroupPermissions"]) == device


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("{}", None),
        ("{command: null}", None),
        ("{command: echo a; echo b}", ["/bin/sh", "-c", "echo a; echo b"]),
        ("{command: [a, b c]}", ["a", "b c"]),
        ("{command: []}", []),
    ],
)
def test_command(text: str, command: list[str] | None) -> None:
    """Text goes to a shell, a list is used as it is, and nothing leaves it to the image."""
    assert body(worker(text)).get("Cmd") == command


def test_environment() -> None:
    """Numbers in the environment become text."""
    made = body(worker("{environment: {A: 1, B: 0.5, C: x=y}}"))
    assert made["Env"] == ["A=1", "B=0.5", "C=x=y"]


@pytest.mark.parametrize(
    ("cpus", "shares", "quota"), [(0.001, 2, 1_000), (0.5, 512, 50_000), (8, 8192, 800_000)]
)
def test_cpus(cpus: float, shares: int, quota: int) -> None:
    """Shares and quota follow the CPUs, and stay above the kernel's minimum."""
    host = body(worker(f"{{cpus: {cpus}}}"))["HostConfig"]
    assert (host["CpuShares"], host["CpuQuota"]) == (shares, quota)


def test_swap() -> None:
    """Docker's MemorySwap is memory and swap together."""
    host = body(worker("{memory: 1GB, swap: 500MB}"))["HostConfig"]
    assert (host["Memory"], host["MemorySwap"]) == (1_000_000_000, 1_500_000_000)


def test_hostname() -> None:
    """A worker's host name is its name, so that its pool knows it by the same name."""
    assert body()["Hostname"] == "w1"


def test_writable_places() -> None:
    """A read-only root, with tmpfs, volumes and :rw mounts to write to, is set in Docker."""
    made = body(worker("{read_only_root: true, tmpfs: ['/a', '/b:size=1m,mode=0700'], volumes: [/c, /d]}"))
    host = made["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["Tmpfs"] == {"/a": "", "/b": "size=1m,mode=0700"}
    assert made["Volumes"] == {"/c": {}, "/d": {}}


def test_root_is_writable_by_default() -> None:
    """By default a worker can write to its image's root, and nowhere else."""
    made = body()
    host = made["HostConfig"]
    assert (host["ReadonlyRootfs"], host["Tmpfs"], made["Volumes"]) == (False, {}, {})


def test_tmpfs_by_hand_wins() -> None:
    """Of two tmpfs at one path, the last one counts."""
    host = body(worker("{tmpfs: ['/tmp:size=1m', '/tmp:size=2m']}"))["HostConfig"]
    assert host["Tmpfs"] == {"/tmp": "size=2m"}


def test_pool() -> None:
    """A pool's worker is labelled as such, has its settings, and no more rights than any other."""
    config = parse("htcondor: {central_manager: cm, token_file: /etc/plancton/token, config_dir: /c}", "FILE")
    made = body(config)
    host = made["HostConfig"]
    assert made["Labels"]["plancton.pool"] == "htcondor" and "plancton.pool" not in body()["Labels"]
    assert "_CONDOR_COLLECTOR_HOST=cm" in made["Env"] and set(made["Volumes"]) == {
        "/var/lib/plancton",
        "/tmp",
        "/var/tmp",
    }
    assert host["ReadonlyRootfs"] is True and host["Mounts"][0]["Target"] == "/etc/condor/host.d"
    assert set(host["Tmpfs"]) == {"/run/condor"}
    assert (made["User"], host["CapDrop"], host["CapAdd"]) == ("65534:65534", ["ALL"], [])
    assert host["SecurityOpt"] == ["no-new-privileges"] and host["Privileged"] is False
    assert "/etc/plancton/token" not in str(made), "the token's place is nobody's business inside"


def test_what_a_pool_member_promises() -> None:
    """It tells its pool when it ends, and of its host what is known."""
    assert promised(None, 1000.4) == [
        "_CONDOR_PlanctonEnds=1000",
        "_CONDOR_PlanctonTimeLeft=(PlanctonEnds - time())",
        "_CONDOR_PLANCTON_FACTS=PlanctonEnds PlanctonTimeLeft",
    ]
    more = promised(5, 1000.0, 0.0, 3600.0, {"Mips": 40_000})
    assert {"_CONDOR_PlanctonLost=0.000", "_CONDOR_PlanctonMedianLife=3600", "PLANCTON_DISK=5"} <= set(more)
    assert "_CONDOR_Mips=40000" in more
    facts = "PlanctonEnds PlanctonTimeLeft PlanctonLost PlanctonMedianLife Mips"
    assert f"_CONDOR_PLANCTON_FACTS={facts}" in more


def test_the_hosts_network() -> None:
    """There, Docker's name server is not: the host's own file is the worker's."""
    around = Surroundings(resolvers="/run/resolv.conf")
    inside = create_body("w", Config(), "i", "d", "inst", "/p", "plancton", around=around)
    config = parse("worker: {network: {host: true}}", "FILE")
    beside = create_body("w", config, "i", "d", "inst", "/p", "host", around=around)
    assert inside["HostConfig"]["Mounts"] and not beside["HostConfig"]["Mounts"]
    assert beside["HostConfig"]["NetworkMode"] == "host"


@pytest.mark.parametrize(
    ("instance", "parent", "ours"),
    [
        ("inst", "/plancton", True),
        ("other", "/plancton", False),
        ("inst", "", False),
        ("inst", "/docker", False),
    ],
)
def test_is_ours(instance: str, parent: str, ours: bool) -> None:
    """Ours has both our label and our slice: an image committed from a worker inherits only the
    label."""
    container = Container(
        "id",
        config=ContainerConfig(labels={containers.INSTANCE: instance}),
        host_config=HostConfig(cgroup_parent=parent),
    )
    assert is_ours(container, "inst", "/plancton") is ours


def test_label_number() -> None:
    """A missing or non-numeric label gives the default."""
    labels = {"a": "1.5", "b": "x", "c": "nan", "d": "inf", "e": "-1"}
    assert [label_number(labels, key, 7.0) for key in "abcdef"] == [1.5, 7.0, 7.0, 7.0, 7.0, 7.0]
