"""What a worker makes dockerd and the kernel do at the owner's cost: the attacker leaves, and the
innocent worker beside it stays."""

import subprocess
from pathlib import Path

import pytest
from docker.harness import Plancton, wait_for
from helpers.dictated_host import DictatedHost

pytestmark = pytest.mark.docker

FLOOD = r"""
#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    /* a question for the address of "a" */
    static const char question[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)(argc > 2 ? 53 : 9))};
    inet_pton(AF_INET, argv[1], &to.sin_addr);
    int one = socket(AF_INET, SOCK_DGRAM, 0);
    for (long n = 0;; n++) {
        sendto(one, question, sizeof question - 1, 0, (struct sockaddr *)&to, sizeof to);
        if (argc > 2 && n % 20 == 0)
            usleep(1000); /* it must not outrun who answers */
    }
}
"""
"""Sends packets without end: questions to a name server, or any."""
OUT_OF_MEMORY = "while :; do (busybox tail /dev/zero); done"
"""tail(1) keeps all of a line that never ends."""


@pytest.fixture
def flood(tmp_path: Path) -> Path:
    """A directory with the attacker's program."""
    directory = tmp_path / "flood"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    source = tmp_path / "flood.c"
    source.write_text(FLOOD)
    subprocess.run(["cc", "-static", "-O2", "-o", directory / "flood", source], check=True)
    return directory


@pytest.mark.parametrize(
    ("attack", "softirq", "why"),
    [
        pytest.param("/test/flood 127.0.0.11 dns", 0.0, "name server", marks=pytest.mark.slow),
        ("/test/flood 192.0.2.1", 0.5, "keep the kernel busy"),
        ("yes", 0.0, "its output"),
        (OUT_OF_MEMORY, 0.0, "out of memory"),
    ],
    ids=["questions", "packets", "output", "memory"],
)
def test_the_attacker_leaves(
    plancton: Plancton, host: DictatedHost, flood: Path, attack: str, softirq: float, why: str
) -> None:
    """Of two workers, the one that floods others leaves, for its reason; the other stays."""
    plancton.calm(2)
    command = f"if mkdir /test/first; then {attack}; fi; while :; do sleep 1; done"
    plancton.configure(
        worker={
            "command": command.replace("mkdir", "busybox mkdir").replace("yes", "busybox yes"),
            "mounts": [f"{flood}:/test:rw"],
            "cpus": 1.0,
            "leave_timeout": "1s",
        },
        docker={"tier": "quota"},  # in idle class nobody floods while this machine is busy
    )
    host.softirq = softirq
    plancton.start()
    wait_for("the attacker is found", lambda: plancton.lines("to leave", why), timeout=120)
    wait_for("it is gone", lambda: plancton.lines(" is gone after "))
    told = {line.split("asking ")[1].split(" ")[0] for line in plancton.lines("to leave")}
    gone = {line.split("INFO ")[1].split(" ")[0] for line in plancton.lines(" is gone after ")}
    assert len(told) == 1 and gone == told, "the other stays"
    wait_for("status says so", lambda: why in str(plancton.status_json()["events"]))
