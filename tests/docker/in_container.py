"""A supervisor in a container of its own, as docs/install.md starts it."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from docker.harness import Engine, Plancton, wait_for
from helpers.dictated_host import DictatedHost

ROOT = Path(__file__).resolve().parents[2]
STATE = "/var/lib/plancton"
BUILD = ROOT / "scripts/container-image/build"


def build(*arguments: str) -> tuple[Path, str, str]:
    """Run the script; the archive, the tag, the image's id."""
    done = subprocess.run([BUILD, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"`build {' '.join(arguments)}` failed: {done.stderr}"
    first, tag, image = done.stdout.splitlines()
    return Path(first.rpartition(" ")[0].rpartition(" ")[0]), tag, image


def documented() -> list[str]:
    """The words of the `docker run` in docs/install.md."""
    text = (ROOT / "docs/install.md").read_text()
    found = re.search(r"^    (docker run .*?[^\\])\n\n", text, re.MULTILINE | re.DOTALL)
    assert found, "docs/install.md has no `docker run`"
    return shlex.split(found[1].replace("\\\n", " "))


def without(words: list[str], flag: str, value: str = "") -> list[str]:
    """All but this option and its value."""
    at = next(i for i, word in enumerate(words) if word == flag and value in ("", words[i + 1]))
    return [*words[:at], *words[at + 2 :]]


def may_give_resources() -> bool:
    """Whether this machine's root has CAP_SYS_RESOURCE (capabilities(7)): Docker can't give what it
    has not."""
    found = re.search(r"^CapBnd:\s+(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return bool(found and int(found[1], 16) >> 24 & 1)


class InContainer(Plancton):
    """The supervisor in a container: as documented, but for where its directories and Docker's are."""

    def __init__(self, directory: Path, engine: Engine, host: DictatedHost | None = None) -> None:
        super().__init__(directory, engine, host)
        self.docker = ["docker", "-H", f"unix://{engine.socket}"]
        for path in (self.paths.run, self.paths.state):
            path.mkdir()

    def run_command(self) -> list[str]:
        """`docker run` and its options."""
        engine = os.path.realpath(self.engine.socket.parent)
        data = self.engine.call("GET", "/info")["DockerRootDir"]
        places: dict[str, list[object]] = {
            "/run": [engine, self.paths.run],
            "/etc/plancton": [f"{self.directory}:/etc/plancton"],
            STATE: [f"{self.paths.state}:{STATE}"],
            "/var/lib/docker": [f"{data}:{data}:ro"],
        }
        words = list[str]()
        for word in documented()[1:]:
            source = word.partition(":")[0]
            if source not in places:
                words.append({"plancton": self.name}.get(word, word))
                continue
            here = [str(place) if ":" in str(place) else f"{place}:{place}" for place in places[source]]
            words += " -v ".join(here).split()
        dictated = zip(self._host.files[:2], ("stat", "meminfo"), strict=True) if self._host else ()
        more = [word for file, name in dictated for word in ("-v", f"{file}:/proc/{name}:ro")]
        if not may_give_resources():
            words = without(words, "--cap-add", "SYS_RESOURCE")
        run, *options, image = words
        return [*self.docker, run, *more, "--env", f"PLANCTON_RUN_DIR={self.paths.run}", *options, image]

    def command(self, *arguments: str) -> list[str]:
        return [*self.docker, "exec", self.name, "plancton", *arguments]

    def start(self, *arguments: str) -> None:
        done = subprocess.run([*self.run_command(), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        wait_for("it has a status", lambda: self.status is not None)

    def do(self, *words: str) -> None:
        done = subprocess.run([*self.docker, *words, self.name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def ends_by(self, *words: str) -> None:
        """Have Docker end it so; returns when the next one runs."""
        before = self.pid
        self.do(*words)
        if "rm" in words:
            self.start()
        elif "kill" in words:
            self.do("start")
        wait_for("the next one runs", lambda: (s := self.status) is not None and s.pid != before)

    @property
    def log(self) -> str:
        done = subprocess.run([*self.docker, "logs", self.name], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    @property
    def pid(self) -> int:
        return int(self.engine.inspect(self.name)["State"]["Pid"])

    def close(self) -> None:
        self.engine.remove(self.name)
        super().close()
