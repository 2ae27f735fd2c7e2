"""A personal HTCondor pool: central manager and schedd in one container, and a user who submits
jobs.

It is made from the worker image, which has all of HTCondor's programs, and needs no registry, no
address of the host's and no firewall rule: it listens on the gateway of a bridge network made for
it, which containers in other networks of the same host reach without any NAT.
"""

import fcntl
import io
import json
import re
import secrets
import socket
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, NotFound

LABEL = "plancton.personal-pool"
DOMAIN = "personal.pool"
"""The pool's name in its tokens: TRUST_DOMAIN."""
WORKER = f"worker@{DOMAIN}"
"""The workers' identity in the pool."""
USER, UID = "alice", 1000
"""The user who submits jobs."""
HOME = f"/home/{USER}"
LOG = f"{HOME}/jobs.log"

CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "SETGID", "SETUID")
"""HTCondor's daemons run as root, drop to `condor`, and become the user to handle the user's
jobs."""
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
"""The environment of commands in the container, without the host's own _CONDOR_ settings."""

# Written in the container's own layer, so that all of it survives a kill and a restart.
ENTRY = f"""\
set -e
grep -q ^{USER}: /etc/passwd || echo {USER}:x:{UID}:{UID}::{HOME}:/bin/sh >>/etc/passwd
mkdir -p {HOME} /etc/condor/passwords.d /etc/condor/tokens.d
mkdir -p /run/condor/lock /run/condor/log /run/condor/spool
chmod 700 /etc/condor/passwords.d /etc/condor/tokens.d
chown {UID}:{UID} {HOME}
chown condor:condor /run/condor /run/condor/*
exec condor_master -f
"""


class Slot(NamedTuple):
    """A slot as the collector knows it; ``host`` is its PlanctonHost."""

    name: str
    state: str
    activity: str
    host: str

    @property
    def worker(self) -> str:
        """The container in which the slot is."""
        return self.name.partition("@")[2].partition("@")[0].partition(".")[0]


class Queue(NamedTuple):
    """How many jobs are where."""

    idle: int
    running: int
    completed: int
    held: int


class Event(NamedTuple):
    """One entry of the jobs' log; ``job`` is CLUSTER.PROCESS, ``time`` Unix time."""

    job: str
    time: float
    kind: str
    text: str

    @property
    def worker(self) -> str:
        """Where a job executes."""
        found = re.search(r"SlotName: [^\s@]+@([\w-]+)", self.text)
        return found[1] if found else ""


KINDS = {
    0: "submitted",
    1: "executing",
    4: "evicted",
    5: "terminated",
    7: "shadow exception",
    9: "removed",
    12: "held",
    13: "released",
    22: "disconnected",
    23: "reconnected",
    24: "not reconnected",
}
"""https://htcondor.readthedocs.io/en/latest/codes-other-values/job-event-log-codes.html"""


class PoolError(Exception):
    """The pool does not do what it was asked to."""


class Pool:
    """A pool on the Engine at this socket."""

    def __init__(self, engine: Path | str, image: str) -> None:
        self.docker, self.image = Docker(engine), image
        self.name = f"plancton-pool-{secrets.token_hex(3)}"
        self._bridge = f"pp{self.name[-6:]}"
        self.address = ""
        """HOST:PORT of the central manager."""
        self._pid = 0
        self._scripts = 0

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # ------------------------------------------------------------ its life

    def start(self) -> None:
        """Create and start it; returns when jobs can be submitted."""
        options = {"com.docker.network.bridge.name": self._bridge}
        labels = {LABEL: self.name}
        self.docker.create_network(self.name, {"Driver": "bridge", "Labels": labels, "Options": options})
        host = address_of(self._bridge)
        self.address = f"{host}:{free_port(host)}"
        self.docker.create(self.name, self._body(labels))
        self.docker.put_archive(self.name, "/etc/condor/host.d", tar("pool.conf", self._configuration()))
        self.restart()

    def _body(self, labels: dict[str, str]) -> dict[str, Any]:
        return {
            "Image": self.image,
            "Entrypoint": ["/bin/sh", "-c", ENTRY],
            "User": "0:0",
            "Labels": labels,
            "HostConfig": {
                "NetworkMode": "host",
                "Init": True,
                "CapDrop": ["ALL"],
                "CapAdd": list(CAPABILITIES),
                "SecurityOpt": ["no-new-privileges"],
                "Tmpfs": {"/var/lib/plancton": ""},  # else the image's volume: there is no use for one
            },
        }

    def _configuration(self) -> str:
        host, _, port = self.address.rpartition(":")
        return f"""\
DAEMON_LIST = MASTER, COLLECTOR, NEGOTIATOR, SCHEDD
CONDOR_HOST = {host}
COLLECTOR_HOST = {self.address}
SHARED_PORT_PORT = {port}
NETWORK_INTERFACE = {host}
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = {DOMAIN}
TRUST_DOMAIN = {DOMAIN}
UID_DOMAIN = {DOMAIN}
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = FS, IDTOKENS
ALLOW_DAEMON = condor@{DOMAIN}, root@{DOMAIN}
ALLOW_ADVERTISE_MASTER = $(ALLOW_DAEMON), {WORKER}
ALLOW_ADVERTISE_STARTD = $(ALLOW_DAEMON), {WORKER}
SEC_TOKEN_DIRECTORY = /etc/condor/tokens.d
EXECUTE = /run/condor/spool
NEGOTIATOR_INTERVAL = 5
NEGOTIATOR_CYCLE_DELAY = 2
SCHEDD_INTERVAL = 5
DEFAULT_USERLOG_FORMAT_OPTIONS = ISO_DATE, UTC, SUB_SECOND
"""

    def end(self) -> None:
        """End its daemons, quickly but cleanly; their files on disk are kept."""
        self.docker.signal(self.name, "SIGQUIT")
        until("the pool has ended", lambda: not self.docker.inspect(self.name).state.running, 120)

    def restart(self) -> None:
        """Start it, again or for the first time; returns when jobs can be submitted."""
        self.docker.start(self.name)
        self._pid = self.docker.inspect(self.name).state.pid
        until("the pool is up", self._is_up, 120)

    def _is_up(self) -> bool:
        self.check()
        return bool(self._ask("condor_status", "-schedd", "-af", "Name").stdout.strip())

    def check(self) -> None:
        """Raise PoolError with its last output if it does not run."""
        if not self.docker.inspect(self.name).state.running:
            raise PoolError(f"the pool has ended: {self.docker.logs(self.name)}")

    def stop(self) -> None:
        """Remove all of it, whatever state it is in."""
        with suppress(NotFound):
            self.docker.remove(self.name, force=True)
        with suppress(NotFound):
            self.docker.remove_network(self.name)
        self.docker.close()

    # ------------------------------------------------------------ its administrator

    def token(
        self,
        lifetime: int | None = None,
        identity: str = WORKER,
        authz: Iterable[str] = ("ADVERTISE_MASTER", "ADVERTISE_STARTD"),
        domain: str = DOMAIN,
    ) -> bytes:
        """A token for the pool, valid for this long; with another ``domain`` for another pool."""
        words = [word for name in authz for word in ("-authz", name)]
        words += [] if lifetime is None else ["-lifetime", str(lifetime)]
        command = ("env", f"_CONDOR_TRUST_DOMAIN={domain}", "condor_token_create", "-identity", identity)
        return self.run(*command, *words).encode()

    def slots(self) -> list[Slot]:
        """All slots that the collector knows of."""
        names = ("Name", "State", "Activity", "PlanctonHost")
        found = self._ads("condor_status", "-json", "-attributes", ",".join(names))
        return sorted(Slot(*(str(ad.get(name, "")) for name in names)) for ad in found)

    # ------------------------------------------------------------ its user

    def submit(self, script: str, arguments: str = "", count: int = 1, **commands: object) -> int:
        """Submit ``count`` jobs that run a shell script as an ordinary user; their cluster.

        ``commands`` are more lines of the submit description; `$(Process)` is the job's number.
        """
        self._scripts += 1
        file = f"script-{self._scripts}"
        self.run("sh", "-c", f"cat >{file}", data=script, user=True)
        description: dict[str, object] = {
            "executable": "/bin/sh",
            "transfer_executable": False,
            "arguments": f"{file} {arguments}",
            "transfer_input_files": file,
            "should_transfer_files": "YES",
            "output": "out.$(Cluster).$(Process)",
            "error": "err.$(Cluster).$(Process)",
            "log": LOG,
            "request_cpus": 1,
            "request_memory": "32MB",
            "request_disk": "16MB",
            **commands,
        }
        lines = [*(f"{key} = {value}" for key, value in description.items()), f"queue {count}", ""]
        said = self.run("condor_submit", "-terse", "-", data="\n".join(lines), user=True)
        return int(said.partition(".")[0])

    def queue(self) -> Queue:
        """The schedd's jobs, and how many are done (of all ever submitted)."""
        ads = self._ads("condor_q", "-allusers", "-json", "-attributes", "JobStatus")
        found = [ad.get("JobStatus") for ad in ads]
        done = {event.job for event in self.events() if event.kind == "terminated"}
        return Queue(found.count(1), found.count(2), len(done), found.count(5))

    def jobs(self, *attributes: str) -> list[str]:
        """Attributes of each job in the queue, as condor_q prints them."""
        return self.run("condor_q", "-allusers", "-af", *attributes).splitlines()

    def history(self, cluster: int, *attributes: str) -> str:
        """Attributes of a job that has left the queue, as condor_history prints them."""
        return self.run("condor_history", str(cluster), "-limit", "1", "-af", *attributes).strip()

    def events(self) -> list[Event]:
        """The jobs' log so far."""
        return parse_log(self._file(LOG))

    def output(self, cluster: int, process: int = 0) -> str:
        """What a job wrote."""
        return self._file(f"{HOME}/out.{cluster}.{process}")

    def describe(self) -> str:
        """Queue, slots and events, for failure messages."""
        try:
            lines = [f"central manager {self.address}", str(self.queue()), *map(str, self.slots())]
        except (PoolError, DockerError) as error:
            lines = [str(error)]
        told = [event for event in self.events() if event.kind != "other"]
        return "\n".join([*lines, *(f"{e.time:.1f} {e.job} {e.kind}: {e.text[:200]}" for e in told[-30:])])

    # ------------------------------------------------------------ commands in it

    def run(self, *command: str, user: bool = False, data: str = "") -> str:
        """Run a command in the container, as root or as the user; its output."""
        done = self._ask(*command, user=user, data=data)
        if done.returncode:
            raise PoolError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _ask(self, *command: str, user: bool = False, data: str = "") -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", f"--target={self._pid}", "--all"]
        enter += [f"--setuid={UID}", f"--setgid={UID}"] if user else []
        home = HOME if user else "/"
        whole = [*enter, "--", "env", f"--chdir={home}", *command]
        return subprocess.run(
            whole,
            input=data,
            env={**ENVIRONMENT, "HOME": home},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _ads(self, *command: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run(*command) or "[]"))

    def _file(self, path: str) -> str:
        """A file in the running container; empty if it does not exist."""
        try:
            return Path(f"/proc/{self._pid}/root{path}").read_text(errors="replace")
        except OSError:
            return ""


_HEAD = re.compile(r"(\d{3}) \((\d+)\.(\d+)\.\d+\) (\S+ \S+Z) (.*)")


def parse_log(text: str) -> list[Event]:
    """A job event log whose times are written as ISO_DATE, UTC."""
    found = []
    for entry in text.split("\n...\n"):
        head, _, rest = entry.strip().partition("\n")
        if match := _HEAD.fullmatch(head):
            number, cluster, process, date, words = match.groups()
            kind = KINDS.get(int(number), "other")
            said = " ".join([words, *rest.split()])
            when = datetime.fromisoformat(date).timestamp()
            found.append(Event(f"{int(cluster)}.{int(process)}", when, kind, said))
    return found


def until(what: str, holds: Callable[[], bool], seconds: float) -> None:
    """Wait until this holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise PoolError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.1)


def address_of(interface: str) -> str:
    """An interface's IPv4 address (SIOCGIFADDR)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, 0x8915, struct.pack("256s", interface.encode()))
    return socket.inet_ntoa(answer[20:24])


def free_port(host: str) -> int:
    """A TCP port that nobody listens on at this address."""
    with socket.socket() as any_socket:
        any_socket.bind((host, 0))
        return int(any_socket.getsockname()[1])


def tar(name: str, text: str) -> bytes:
    """An archive of one file."""
    data, info = io.BytesIO(), tarfile.TarInfo(name)
    info.size = len(text.encode())
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()
