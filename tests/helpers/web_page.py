"""A page that is served, with what it shows: a history, and a supervisor's status."""

import contextlib
import fcntl
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plancton.files import replace_file, to_json
from plancton.history.tables import HOUR, MINUTE, NAME, Row
from plancton.history.write import Batch, open_store
from plancton.model import Event, Kept, Phase, Status, Work, WorkerStatus

PLANCTON = Path(sys.executable).with_name("plancton")
WORKER = "plancton-worker-k3vq"


class Answer(NamedTuple):
    code: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Home:
    """The directories of a supervisor that this process pretends to be."""

    def __init__(self, directory: Path) -> None:
        self.run, self.state = directory / "run", directory / "state"
        for each in (self.run, self.state):
            each.mkdir()
        self.environ = {
            **os.environ,
            "PLANCTON_RUN_DIR": str(self.run),
            "PLANCTON_STATE_DIR": str(self.state),
            "TZ": "UTC",
        }

    def write_history(self, hours: int = 24, until: float | None = None) -> None:
        """A worker in every hour but the last one, which drained, and a job in each."""
        end = int(until or time.time()) // MINUTE * MINUTE
        rows = [
            Row(
                end - n * MINUTE,
                60.0,
                480.0,
                owner=60.0 if n > 60 else 240.0,
                donated=240.0 if n > 60 else 0.0,
                idle=180.0 if n > 60 else 240.0,
                without=0.0 if n > 60 else 60.0,
                jobs_done=int(n % 60 == 0),
                jobs_evicted=int(n == 90),
                cpu_lost=100.0 if n == 90 else 0.0,
                held="" if n > 60 else "draining",
                why="" if n > 60 else "draining: nothing new is started",
            )
            for n in range(hours * 60, -1, -1)
        ]
        events = Event(end - 2.0 * HOUR, "starting w1"), Event(end - 3.0, "<b>draining</b> & so on")
        store = open_store(self.state / NAME)
        store.write(Batch(tuple(rows), events, Kept(Work(float(end)))), end)
        store.close()

    @contextlib.contextmanager
    def supervisor(self) -> Iterator[None]:
        """The lock, as a supervisor that publishes here holds it."""
        with (self.state / "0.lock").open("w") as lock:
            lock.write(f"{os.getpid()}\n\n\n{os.path.realpath(self.run)}\n")
            lock.flush()
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.publish()
            yield

    def publish(self, mode: str = "donating", sentence: str = "Donating 4 of 8 CPUs.") -> None:
        worker = WorkerStatus(
            WORKER, "k3vq", Phase.RUNNING, 1.0, 2 * 10**9, 11_523.0, 0.97, 0.97, 512 * 10**6
        )
        status = Status(
            version="1.0",
            pid=os.getpid(),
            instance="test",
            time=time.time(),
            mode=mode,
            sentence=sentence,
            decision="nothing to do: every worker fits",
            tier="kernel",
            tier_reason="",
            slice="",
            capacity=8.0,
            fit=4,
            owner=1.0,
            donated=4.0,
            idle=3.0,
            workers=(worker,),
        )
        replace_file(self.run / "status.json", to_json(status), 0o644)


class Served:
    """`plancton web`, on a port of its own."""

    def __init__(self, environ: Mapping[str, str], *arguments: str) -> None:
        words = arguments if "--listen" in arguments else ("--listen", "127.0.0.1:0", *arguments)
        self.process = subprocess.Popen(
            [PLANCTON, "web", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.said = self.process.stdout.readline()
        found = re.search(r"http://(\S+):(\d+)/", self.said)
        assert found, self.process.communicate()
        self.host, self.port = found[1].strip("[]"), int(found[2])
        self.address = f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, **headers: str) -> Answer:
        """Names of headers have _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def token(self) -> str:
        """The one that the page has."""
        found = re.search(r'name="plancton-token" content="([^"]*)"', self.ask("GET", "/").body.decode())
        assert found
        return found[1]

    def end(self) -> tuple[int, str]:
        """The exit code, and what it said on stderr meanwhile."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=90)
        return self.process.returncode, said


@contextlib.contextmanager
def served(environ: Mapping[str, str], *arguments: str) -> Iterator[Served]:
    """Nothing was said on stderr meanwhile, and it ends as it should."""
    page = Served(environ, *arguments)
    try:
        yield page
    except BaseException:
        page.process.kill()
        print(page.process.communicate()[1])
        raise
    assert page.end() == (0, "")
