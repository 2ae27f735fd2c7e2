"""A host that scripts/install changes, in a mount namespace, with the tests' own Docker."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from docker.harness import IDLE, IMAGE, Engine, wait_for
from helpers.dictated_host import DictatedHost
from install import SCRIPT

from plancton.host.cgroup_mounts import read_layout
from plancton.host.slice import Slice
from plancton.workers.container import INSTANCE

PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"
Done = subprocess.CompletedProcess[str]


class Host:
    """``setup`` is sh: it has the host's directory and the files with its figures as $1 to $4, and the
    words after them. Whatever it mounts, and what ``enter`` made, ends with the host."""

    script = SCRIPT
    environment: Mapping[str, str] = {}

    def __init__(
        self,
        engine: Engine,
        figures: DictatedHost,
        setup: str,
        *words: object,
        enter: Sequence[object] = ("unshare", "--mount"),
    ) -> None:
        self.engine = engine
        self.directory = Path(tempfile.mkdtemp(prefix="plancton-host-"))
        self.directory.chmod(0o755)
        engine.directory.chmod(0o711)  # its socket is there
        self.prefix = self.directory / "opt/plancton"
        self.name = f"plancton_test_{self.directory.name[-6:].replace('-', '_')}".lower()
        self.slice = Slice(read_layout(), self.name, engine.call("GET", "/info")["CgroupDriver"])
        self.config = self.directory / "config.yaml"
        self.configure()
        command = [*enter, "sh", "-c", setup, "sh", self.directory, *figures.files, *words]
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
        assert self.process.stdout and self.process.stdout.readline() == b"ready\n"
        self.before = self.listing()

    def configure(self, **more: object) -> None:
        settings = {
            "image": {"name": IMAGE},
            "worker": {"command": IDLE, "cpus": 0.1, "memory": "64MiB"},
            "owner": {"reserve_disk": "0%", "reserve_memory": "0%"},
            "yield": {"grace_spawn": "1s", "grace_kill": "1h", "worthwhile": 0.1},
            "pool": {"max_workers": 1},
            "docker": {"socket": str(self.engine.socket), "slice": self.name},
        }
        self.config.write_text(yaml.safe_dump({**settings, **more}))

    def __call__(self, *command: object, path: str = PATH) -> Done:
        return subprocess.run(
            ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", *map(str, command)],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            cwd="/",
            env={"PATH": path, "HOME": "/root", **self.environment},
        )

    def install(self, *arguments: object) -> Done:
        return self("sh", self.script, "--prefix", self.prefix, *arguments)

    def listing(self) -> str:
        """All files of the host, and its users."""
        find = "find /etc /run /usr/local /usr/share/*-completion /usr/share/zsh /usr/share/fish /var/lib"
        find += "; cat /etc/passwd /etc/group"
        return "\n".join(sorted(self("sh", "-c", find).stdout.splitlines()))

    def worker(self) -> str:
        def one() -> str:
            found = self.engine.containers(label=INSTANCE, status="running")
            return str(found[0]["Id"]) if len(found) == 1 else ""

        return wait_for("a worker runs", one)

    def pid(self) -> int:
        return int(self("cat", "/run/plancton/plancton.pid").stdout or 0)

    def close(self) -> None:
        self.install("--uninstall", "--purge")
        self.slice.remove()
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.directory)
