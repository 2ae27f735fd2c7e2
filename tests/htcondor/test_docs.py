"""Each command of docs/htcondor.md, run as it stands there, on a real pool and a real host."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docker.harness import Engine, Plancton, wait_for
from htcondor.harness import Pool
from play.personal_pool import DOMAIN

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.docker

PAGE = (ROOT / "docs" / "htcondor.md").read_text()
FOR_AUTHORS = (ROOT / "docs" / "jobs.md").read_text()
WORKER = "plancton-worker-k3vz9d@lab-3"
"""The page's example of a worker's name."""
PROMPT = re.compile(r"^    (cm#|submit\$|host#) (.+)$", re.MULTILINE)


class Reader:
    """Follows the page line by line, with the pool's own names in place of the examples."""

    def __init__(self, plancton: Plancton, engine: Engine, pool: Pool) -> None:
        self.plancton, self.engine, self.pool = plancton, engine, pool
        self.token = plancton.directory / "reader" / "token"
        self.token.parent.mkdir()
        self.printed = ""

    def type(self, prompt: str, line: str) -> str:
        """Type one line; its output."""
        if WORKER in line:
            line = line.replace(WORKER, self.pool.slots()[0].name.partition("@")[2])
        for example, real in (
            ("example.org", DOMAIN),
            ("/etc/plancton/token", str(self.token)),
            ("--load", f"--load {self.engine.socket}"),
        ):
            line = line.replace(example, real)
        if prompt == "cm#":
            return self.pool.run(*line.split())
        if prompt == "submit$":
            return self.pool.run(*line.split(), user=True)
        return self.on_the_host(line)

    def sees_the_master(self) -> bool:
        return "plancton-worker-" in self.pool.run("condor_status", "-master", "-af", "Name")

    def on_the_host(self, line: str) -> str:
        if line == "plancton run &":
            self.plancton.start()
            self.plancton.full(1)
            return ""
        line = line.replace("chown plancton", "chown root")  # here root runs it
        line = line.replace("plancton check", f"plancton check {self.plancton.config}")
        scripts = Path(sys.executable).parent
        done = subprocess.run(
            ["sh", "-c", line],
            input=self.printed,  # what was copied from the screen before
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**self.plancton.environment, "PATH": f"{scripts}:/usr/sbin:/usr/bin:/sbin:/bin"},
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{line}: exit code {done.returncode}: {done.stderr}{done.stdout}"
        return done.stdout


def configuration() -> dict[str, dict[str, object]]:
    """The page's three lines."""
    block = PAGE.partition("are enough:\n\n")[2].partition("\n\n")[0]
    parsed = yaml.safe_load(block)
    assert list(parsed) == ["htcondor"] and len(parsed["htcondor"]) == 2, f"not three lines: {block}"
    return dict(parsed)


def test_commands(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A reader who follows the page has a worker in the pool, and sees it from both sides."""
    reader = Reader(plancton, engine, pool)
    del plancton.settings["image"]
    plancton.settings["htcondor"] = configuration()["htcondor"]
    plancton.configure(
        htcondor={"central_manager": pool.address, "token_file": str(reader.token)},
        pool={"max_workers": 1},
    )
    said = dict[str, str]()
    for prompt, line in PROMPT.findall(PAGE + FOR_AUTHORS):
        if line.startswith("condor_status"):
            wait_for("the worker is in the pool", pool.slots)
        if WORKER in line:
            wait_for("its master is there", reader.sees_the_master)
        if prompt == "submit$":
            pool.submit("#!/bin/sh\n")
        reader.printed = said[line] = reader.type(prompt, line)
    assert len(said) >= 10, f"the page's commands were not found: {list(said)}"
    (slots,) = [text for line, text in said.items() if line.startswith("condor_status")]
    assert re.match(r"slot1\S*@plancton-worker-\w{6}@(\S+) \1 ", slots), slots
    assert "worker would fit" in said["plancton check"] or "workers would fit" in said["plancton check"], said
    assert "no job" in said["plancton status"], said["plancton status"]
    (leases,) = [text for line, text in said.items() if "JobLeaseDuration" in line]
    assert leases.split()[1] == "2400", leases
    (lost,) = [line for line in said if line.startswith("condor_history")]
    assert len(lost.split(" -af ")[1].split()) == 4, lost


def test_what_a_hosts_key_may_do(pool: Pool) -> None:
    """The command that a host's SSH key is bound to prints a token, with two rights and a week."""
    (command,) = re.findall(r'^    command="(.+)",restrict ssh-', PAGE, re.MULTILINE)
    token = pool.run(*command.replace("example.org", DOMAIN).split())
    middle = token.split(".")[1]
    said = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    assert sorted(said["scope"].split()) == ["condor:/ADVERTISE_MASTER", "condor:/ADVERTISE_STARTD"], said
    assert said["exp"] - said["iat"] == 604_800, said


@pytest.mark.parametrize(("printed", "kept"), [("echo new", "new\n"), ("exit 255", "old\n"), (":", "old\n")])
def test_a_token_that_renews_itself(tmp_path: Path, printed: str, kept: str) -> None:
    """The page's script puts a new token in the old one's place, with its owner and mode; where none
    comes, the old one stays."""
    (script,) = re.findall(r"    (#!/bin/sh\n(?:    .*\n)+)", PAGE)
    for name, text in (("ssh", f"#!/bin/sh\n{printed}\n"), ("script", script)):
        (tmp_path / name).write_text(text.replace("/etc/plancton", str(tmp_path)))
        (tmp_path / name).chmod(0o755)
    token = tmp_path / "token"
    token.write_text("old\n")
    token.chmod(0o600)
    os.chown(token, 1234, 1234)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run([tmp_path / "script"], env={**os.environ, "PATH": path}, check=False)
    found = token.stat()
    assert (token.read_text(), found.st_mode & 0o777, found.st_uid) == (kept, 0o600, 1234)


@pytest.mark.parametrize(
    ("setting", "default"), [("NEGOTIATOR_INTERVAL", "60"), ("JOB_DEFAULT_LEASE_DURATION", "2400")]
)
def test_defaults(pool: Pool, setting: str, default: str) -> None:
    """The page gives HTCondor's actual defaults."""
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{setting}`")]
    assert f"| {default} s" in row, row
    found = pool.run("env", "CONDOR_CONFIG=/dev/null", "condor_config_val", setting).strip()
    assert found == default, f"{setting} is {found} by default"
