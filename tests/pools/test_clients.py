"""BOINC, Folding@home and the OSPool's pilot, exactly as in docs/pools.md, with stand-ins for the
clients, which need accounts and a network: they keep their state, take signals and end as those do."""

import os
from pathlib import Path
from typing import Any

import pytest
from docker.harness import Plancton, wait_for
from pools.page import example, image_of

USER = 65534
CLIENT = """\
#!/bin/sh
n=$(cat state 2>/dev/null || echo 0)
echo "$n $*" >>begun
trap 'echo $n >state; exit 0' TERM INT
while :; do n=$((n + 1)); sleep 0.1; done
"""
PILOT = """\
[ "$GLIDEIN_Site" ] && [ "$GLIDEIN_ResourceName" ] && [ "$(id -u)" != 0 ] || exit 1
cp /etc/condor/tokens-orig.d/* /pilot || exit 1
trap '[ $SHUTDOWN_STRATEGY = fast ] && echo handed back >/pilot/log && left=1' TERM
while [ ! $left ]; do sleep 0.5; done
exec cat /pilot/log
"""
"""Waits in turns for its HTCondor to end, as the pilot's condor_master_wrapper does."""

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def configure(plancton: Plancton, title: str, replaced: dict[str, str], **worker: Any) -> None:
    """The page's configuration, with these keys of `worker` added."""
    sections: dict[str, Any] = example(title, replaced)
    for key, value in worker.items():
        own = sections["worker"].get(key)
        sections["worker"][key] = (
            value if own is None else own + value if isinstance(own, list) else own | value
        )
    sections["worker"]["memory"] = "64MB"
    plancton.configure(**sections, yielding={"worthwhile": 0.1, "grace_kill": "1h"}, pool={"max_workers": 2})


@pytest.mark.parametrize(
    ("title", "client", "place"),
    [("BOINC", "boinc", "/srv/boinc"), ("Folding@home", "fah-client", "/srv/fah")],
)
def test_a_client_goes_on(
    plancton: Plancton, work_queue_image: str, tmp_path: Path, title: str, client: str, place: str
) -> None:
    """Each worker has a directory of its own; told to leave, its client saves and ends, and the next
    worker goes on from there. One for which there is none says so."""
    clients, program = tmp_path / "clients", tmp_path / "bin" / client
    for directory in (clients, clients / "1", clients / "2", program.parent):
        directory.mkdir()
        os.chown(directory, USER, USER)
    program.write_text(CLIENT)
    program.chmod(0o755)
    replaced = {place: str(clients), image_of(title): work_queue_image}
    path = {"PATH": "/stand-in:/usr/bin:/bin"}
    configure(plancton, title, replaced, mounts=[f"{program.parent}:/stand-in"], environment=path)
    begun = [clients / "1" / "begun", clients / "2" / "begun"]

    def lines() -> list[list[str]]:
        return [file.read_text().splitlines() if file.exists() else [] for file in begun]

    plancton.start()
    wait_for("both clients run", lambda: [len(each) for each in lines()] == [1, 1])
    assert all(each[0].startswith("0 --") for each in lines()), lines()
    assert plancton.cli("stop", "--wait").returncode == 0
    assert len(plancton.lines("is gone", "exit code 0")) == 2, plancton.log
    plancton.ended()
    plancton.configure(pool={"max_workers": 3}, worker={"cpus": 0.2})
    plancton.start()
    wait_for("the third has none", lambda: plancton.lines("exit code 75", "all directories are taken"))
    wait_for("both clients run again", lambda: [len(each) for each in lines()] == [2, 2])
    assert all(int(each[1].split()[0]) > 0 for each in lines()), lines()


def test_the_pilot_of_the_ospool(plancton: Plancton, work_queue_image: str, tmp_path: Path) -> None:
    """It finds its token, settings and volume, and hands its jobs back when it is told to leave."""
    token = tmp_path / "token"
    token.write_text("a token\n")
    title = "The Open Science Pool"
    replaced = {
        "/etc/plancton/ospool_token": str(token),
        image_of(title): work_queue_image,
        "user: osg": f'user: "{USER}"',
        "volumes: [/pilot]": "tmpfs: [/pilot]",  # the image of the test has no such directory
    }
    configure(plancton, title, replaced, command=PILOT)
    plancton.start()
    plancton.full(2)
    plancton.goes_on()
    assert plancton.cli("stop", "--wait").returncode == 0
    assert len(plancton.lines("is gone", "exit code 0")) == 2, plancton.log
