"""What people run to watch their containers or to lend their CPUs, next to Plancton, on the same 32
containers."""

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from cost.debian import NotAvailable, Unpacked, from_pypi
from cost.process import cpu_seconds
from cost.rig import Engine, Plancton, wait_for
from cost.turns import NOBODY, Awake, Contender, Group, Measurement, Started, take_turn
from plancton.host.cgroup_mounts import PROC, read_layout
from plancton.host.process_cgroup import group_of

WORKERS = 32
BUILD = Path(__file__).parents[1] / "worker-image" / "build"
OURSELVES = "Plancton"
Peer = Callable[["Bench"], contextlib.AbstractContextManager[Contender]]

NETDATA = """\
[global]
  run as user = root
[directories]
  config = {here}
  stock config = {root}/usr/lib/netdata/conf.d
  plugins = {root}/usr/lib/netdata/plugins.d
  web = {root}/usr/share/netdata/web
  cache = {here}
  lib = {here}
  log = {here}
[web]
  bind to = 127.0.0.1
  default port = {port}
"""
COLLECTD = """\
BaseDir "{here}"
PIDFile "{here}/pid"
PluginDir "{root}/usr/lib/collectd"
TypesDB "{root}/usr/share/collectd/types.db"
LoadPlugin cpu
LoadPlugin memory
LoadPlugin load
LoadPlugin disk
LoadPlugin interface
LoadPlugin processes
LoadPlugin cgroups
LoadPlugin csv
<Plugin csv>
  DataDir "{here}"
</Plugin>
"""
# All who share the network of the manager's container may do anything in this pool.
CONDOR = {
    "COLLECTOR_HOST": "127.0.0.1:9618",
    "SEC_DEFAULT_AUTHENTICATION": "NEVER",
    "SEC_CLIENT_AUTHENTICATION": "NEVER",
    "ALLOW_READ": "*",
    "ALLOW_WRITE": "*",
    "ALLOW_DAEMON": "*",
    "ALLOW_ADVERTISE_STARTD": "*",
    "USE_SHARED_PORT": "False",
    "NO_DNS": "True",
    "DEFAULT_DOMAIN_NAME": "bench",
    "NETWORK_INTERFACE": "127.0.0.1",
    "CCB_ADDRESS": "",
    "LOCAL_DIR": "/tmp/condor",
    "EXECUTE": "/tmp/condor/execute",
}
BEGIN = (
    "mkdir -p /tmp/condor/log /tmp/condor/lock /tmp/condor/spool /tmp/condor/execute;"
    " chown -R condor:condor /tmp/condor; exec condor_master -f"
)


class Bench:
    """The Engine with its workers, and a place for each peer's files."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine, self.directory = engine, directory
        self._port = 20_000 + os.getpid() % 10_000

    def group(self) -> contextlib.AbstractContextManager[Group]:
        self._port += 1
        return Group.made(f"plancton_bench_{self._port}")

    def place(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.directory))

    def port(self) -> int:
        self._port += 1
        return self._port

    def engine_cpu(self) -> float:
        """Seconds of CPU of dockerd, containerd and shims."""
        used = 0.0
        for pid in self.engine.processes():
            with contextlib.suppress(OSError):  # it has ended
                used += cpu_seconds(pid)
        return used


# ---------------------------------------------------------------- each of them


@contextlib.contextmanager
def ourselves(bench: Bench) -> Iterator[Contender]:
    """The supervisor of the containers."""
    supervisor = Plancton(bench.place(), bench.engine)
    # So small that all fit next to whatever else this machine does meanwhile.
    supervisor.configure(
        worker={"command": ["sleep", "1000000"], "cpus": 0.001, "memory": "16MiB", "leave_timeout": "2s"},
        pool={"max_workers": WORKERS, "spawn_per_tick": WORKERS},
        yielding={"worthwhile": 0.1, "grace_kill": "1d", "grace_spawn": "1s"},
    )
    try:
        supervisor.start()
        supervisor.full(WORKERS, timeout=300)
        supervisor.configure(yielding={"grace_spawn": "1m"})
        with bench.group() as group:
            group.take(supervisor.pid)
            yield Awake(OURSELVES, group)
    finally:
        supervisor.close()


@contextlib.contextmanager
def docker_stats(bench: Bench) -> Iterator[Contender]:
    docker = shutil.which("docker")
    if not docker:
        raise NotAvailable("there is no docker command")
    names = [each["Names"][0].removeprefix("/") for each in bench.engine.containers()]
    with bench.group() as group:
        command = [docker, "--host", f"unix://{bench.engine.socket}", "stats", *names]
        yield Started("`docker stats`", group, lambda: group.start(command))


def node_exporter(every: float) -> Peer:
    @contextlib.contextmanager
    def scraped(bench: Bench) -> Iterator[Contender]:
        found, port = Unpacked("prometheus-node-exporter"), bench.port()
        address = f"127.0.0.1:{port}"
        program = found.path("usr/bin/prometheus-node-exporter")
        with bench.group() as group:
            group.start([program, f"--web.listen-address={address}"], **found.environment)
            ask = scraper(f"http://{address}/metrics")
            wait_for("node_exporter answers", lambda: answers(ask))
            yield Contender(f"node_exporter, scraped each {every:g} s", group, ask, every)

    return scraped


@contextlib.contextmanager
def netdata(bench: Bench) -> Iterator[Contender]:
    found, here, port = Unpacked("netdata-core"), bench.place(), bench.port()
    (here / "netdata.conf").write_text(NETDATA.format(here=here, root=found.root, port=port))
    with bench.group() as group:
        program = found.path("usr/sbin/netdata")
        group.start([program, "-D", "-c", here / "netdata.conf"], **found.environment)
        ask = scraper(f"http://127.0.0.1:{port}/api/v1/info")
        wait_for("netdata answers", lambda: answers(ask))
        yield Contender("netdata", group)


@contextlib.contextmanager
def collectd(bench: Bench) -> Iterator[Contender]:
    found, here = Unpacked("collectd-core"), bench.place()
    (here / "collectd.conf").write_text(COLLECTD.format(here=here, root=found.root))
    with bench.group() as group:
        group.start(
            [found.path("usr/sbin/collectd"), "-f", "-C", here / "collectd.conf"], **found.environment
        )
        wait_for("collectd writes", lambda: list(here.glob("*/cpu-*")))
        yield Contender("collectd, each 10 s", group)


@contextlib.contextmanager
def glances(bench: Bench) -> Iterator[Contender]:
    programs, here = from_pypi("glances[containers]"), bench.place()
    file = here / "figures.csv"
    command: list[str | Path] = [
        programs / "python",
        programs / "glances",
        "--quiet",
        "--disable-check-update",
        "--export",
        "csv",
        "--export-csv-file",
        file,
    ]
    environment = {"DOCKER_HOST": f"unix://{bench.engine.socket}", "HOME": str(here)}
    with bench.group() as group:

        def start() -> None:
            file.unlink(missing_ok=True)
            group.start(command, **environment)
            wait_for("glances writes", lambda: file.exists() and file.stat().st_size > 0)

        yield Started("glances, each 2 s", group, start)


@contextlib.contextmanager
def startd(bench: Bench) -> Iterator[Contender]:
    """The daemons of an HTCondor worker without a job, next to a manager in another container."""
    done = subprocess.run([BUILD, "--load", bench.engine.socket], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotAvailable("the worker image could not be built")
    image, names = done.stdout.splitlines()[1], ("bench-condor-manager", "bench-condor-worker")

    def start(name: str, daemons: str, network: str) -> str:
        environment = {**CONDOR, "DAEMON_LIST": daemons}
        return bench.engine.run(
            name,
            BEGIN,
            Image=image,
            Entrypoint=[],
            User="0",
            **({"Hostname": "localhost"} if network == "none" else {}),
            Env=[f"_CONDOR_{key}={value}" for key, value in environment.items()],
            HostConfig={"NetworkMode": network},
        )

    try:
        manager = start(names[0], "MASTER COLLECTOR NEGOTIATOR", "none")
        worker = start(names[1], "MASTER STARTD", f"container:{manager}")
        group = Group(_group_of(bench.engine, worker))
        wait_for("condor_startd runs", lambda: len(group.pids()) >= 4)
        yield Contender("HTCondor's worker, idle", group)
    finally:
        for name in names:
            bench.engine.remove(name)


def _group_of(engine: Engine, container: str) -> Path:
    tree, group = read_layout().v2, group_of(PROC, engine.inspect(container)["State"]["Pid"])
    assert tree and group, f"{container} does not run"
    return tree / group


@contextlib.contextmanager
def boinc(bench: Bench) -> Iterator[Contender]:
    found, here = Unpacked("boinc-client"), bench.place()
    with bench.group() as group:
        command: list[str | Path] = [found.path("usr/bin/boinc"), "--dir", here, "--skip_cpu_benchmarks"]
        group.start([*command, "--gui_rpc_port", str(bench.port())], **found.environment)
        wait_for("BOINC's client is up", lambda: (here / "client_state.xml").exists())
        yield Contender("BOINC's client, idle", group)


@contextlib.contextmanager
def _of_debian(bench: Bench, package: str) -> Iterator[Contender]:
    Unpacked(package)
    raise NotAvailable(f"Debian has {package} here: nobody has written down how to run it")
    yield


PEERS: dict[str, Peer] = {
    OURSELVES: ourselves,
    "docker stats": docker_stats,
    "node_exporter each 1 s": node_exporter(1.0),
    "node_exporter each 15 s": node_exporter(15.0),
    "cAdvisor": lambda bench: _of_debian(bench, "cadvisor"),
    "netdata": netdata,
    "telegraf": lambda bench: _of_debian(bench, "telegraf"),
    "collectd": collectd,
    "glances": glances,
    "HTCondor's worker": startd,
    "BOINC's client": boinc,
}


# ---------------------------------------------------------------- the turns


def scraper(url: str) -> Callable[[], object]:
    def ask() -> object:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.read()

    return ask


def answers(ask: Callable[[], object]) -> bool:
    with contextlib.suppress(OSError):
        ask()
        return True
    return False


def gather(bench: Bench, stack: contextlib.ExitStack) -> tuple[list[Contender], dict[str, str]]:
    """All that are available, asleep, and why the others are not."""
    found, missing = list[Contender](), dict[str, str]()
    for name, peer in PEERS.items():
        try:
            found.append(stack.enter_context(peer(bench)))
        except NotAvailable as reason:
            missing[name] = str(reason)
    return found, missing


def measure(
    engine: Engine, rounds: int, settle: float, seconds: float
) -> tuple[list[Measurement], dict[str, str]]:
    """Some rounds, in each of which everybody has a turn, in random order."""
    measured, order = list[Measurement](), random.Random(rounds)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plancton-peers-")))
        bench = Bench(engine, directory)
        contenders, missing = gather(bench, stack)
        for number in range(1, rounds + 1):
            turns = [Contender(NOBODY, None), *contenders]
            for contender in order.sample(turns, len(turns)):
                measured.append(take_turn(number, contender, bench.engine_cpu, settle, seconds))
                print(f"round {number}: {measured[-1]}", file=sys.stderr, flush=True)
    return measured, missing
