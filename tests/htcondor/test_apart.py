"""What one job leaves for the next in the same worker: nothing, whoever they are."""

from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for
from htcondor.harness import HELD, Pool, calm, running, wait_for_done, wait_for_event
from htcondor.test_going import counted

from plancton.config.condor_environment import REPORT

pytestmark = [pytest.mark.docker, pytest.mark.slow]

DAEMON = "env -i setsid sh -c 'cd /; sleep 7777 & exec sleep 7777' </dev/null >/dev/null 2>&1 &"
LEAVES = f"""\
for place in /tmp /var/tmp /dev/shm; do
  mkdir $place/mine; echo secret >$place/mine/file; chmod 500 $place/mine
done
{DAEMON}
until grep -qs '[7]777' /proc/[0-9]*/cmdline; do sleep 0.1; done
echo "home $HOME, scratch $_CONDOR_SCRATCH_DIR"
"""
"""Leaves files wherever it can, and two processes that nobody waits for."""
LOOKS = """\
find /tmp /var/tmp /dev/shm -mindepth 1
grep -l '[7]777' /proc/[0-9]*/cmdline 2>/dev/null
df -P /tmp | awk 'END {print "disk", $1}'
echo "that is all"
"""
BOB = 1001


def submit_as_bob(pool: Pool, script: str) -> None:
    """Submit a job of another user."""
    home = "/home/bob"
    pool.run("sh", "-c", f"echo bob:x:{BOB}:{BOB}::{home}:/bin/sh >>/etc/passwd; mkdir {home}")
    pool.run("sh", "-c", f"cat >{home}/looks.sh", data=script)
    pool.run("chown", "-R", f"{BOB}:{BOB}", home)
    lines = (
        "executable = /bin/sh",
        "arguments = looks.sh",
        "transfer_executable = false",
        "transfer_input_files = looks.sh",
        "should_transfer_files = YES",
        "request_memory = 32MB",
        "request_disk = 16MB",
        "output = out",
        "log = log",
        "queue",
    )
    run = ("setpriv", f"--reuid={BOB}", f"--regid={BOB}", "--clear-groups", "env", f"--chdir={home}")
    pool.run(*run, "condor_submit", "-", data="\n".join(lines))


def test_jobs_of_two_users(plancton: Plancton, engine: Engine, pool: Pool) -> None:
    """A job finds no file and no process of the one before it, which was another user's; a job that
    its own user holds or removes counts neither as evicted nor as done."""
    calm(plancton)
    first = pool.submit(LEAVES)
    plancton.start()
    wait_for_done(pool, 1)
    home, scratch = pool.output(first).strip().removeprefix("home ").split(", scratch ")
    assert home == scratch, pool.output(first)
    submit_as_bob(pool, LOOKS)
    wait_for("it is done", lambda: "Job terminated" in pool.run("cat", "/home/bob/log"), every=0.3)
    *found, disk, end = pool.run("cat", "/home/bob/out").splitlines()
    assert (found, end) == ([], "that is all"), found
    assert disk != "disk tmpfs", "/tmp is in memory"
    cluster = pool.submit(HELD)
    (worker,) = running(pool, 1).values()
    pid = engine.inspect(worker)["State"]["Pid"]
    pool.run("condor_hold", "-reason", "later", str(cluster))
    wait_for_event(pool, "held")
    assert pool.jobs("JobStatus", "NumJobStarts", "split(HoldReason)[0]") == ["5 1 later"]
    pool.run("condor_release", str(cluster))
    running(pool, 1)
    pool.run("condor_rm", str(cluster))
    wait_for_event(pool, "removed")
    assert pool.history(cluster, "JobStatus", "NumJobStarts") == "3 2"
    report = Path(f"/proc/{pid}/root{REPORT}")
    wait_for("both are reported", lambda: len(report.read_text().splitlines()) == 4, every=0.2)
    ways = [line.split()[0] for line in report.read_text().splitlines()]
    assert ways[:2] == ["exit", "exit"] and set(ways[2:]) <= {"hold", "remove"}, ways
    assert plancton.cli("drain").returncode == 0  # short jobs are counted when their worker ends
    assert counted(plancton, 2, 0)["cpu_lost"] == 0
