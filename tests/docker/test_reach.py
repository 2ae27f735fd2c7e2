"""What a worker reaches by network: the table in docs/security.md, column by column."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from docker.harness import Engine, wait_for
from docker.two_networks import (
    DNS,
    EVERYWHERE,
    FAR,
    LOCALLY,
    METADATA,
    NEIGHBOUR,
    OWN,
    Inside,
    Networks,
    listen,
    reaches,
    two_networks,
)
from helpers.dictated_host import DictatedHost

pytestmark = pytest.mark.docker

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
REACH = PAGE.partition("## What a worker can reach")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip().strip("*") for cell in line[1:-1].split("|")]
    for line in REACH.splitlines()
    if line.startswith("| ")
]
COLUMNS = {name.strip("`"): {row[0]: row[at] for row in ROWS[1:]} for at, name in enumerate(ROWS[0]) if at}


@pytest.fixture
def networks(private_engine: Engine) -> Iterator[Networks]:
    with two_networks() as found:
        yield found


def reach_of(stack: ExitStack, plancton: Inside, networks: Networks) -> Callable[[], dict[str, str]]:
    """Start two workers; what one of them reaches, whenever that is called."""
    plancton.calm()
    plancton.start()
    one, other = (networks.engine.inspect(worker) for worker in sorted(plancton.full(2)))
    worker, beside = (Path(f"/proc/{each['State']['Pid']}/ns/net") for each in (one, other))
    network = other["NetworkSettings"]["Networks"][plancton.name]
    listen(stack, beside, "0.0.0.0", EVERYWHERE)
    assert reaches(beside, network["IPAddress"], EVERYWHERE)

    def reached() -> dict[str, str]:
        found = {
            "another worker": reaches(worker, network["IPAddress"], EVERYWHERE),
            "a host service that listens on 127.0.0.1 only": reaches(worker, network["Gateway"], LOCALLY),
            "Docker's socket": (worker.parents[1] / "root/run/docker.sock").exists(),
            "a host service on all addresses, through the bridge's": reaches(
                worker, network["Gateway"], EVERYWHERE
            ),
            "a host service on all addresses, through the host's own": reaches(worker, OWN, EVERYWHERE),
            "a cloud's metadata service, 169.254.169.254": reaches(worker, METADATA, EVERYWHERE),
            "other machines on the host's private network": reaches(worker, NEIGHBOUR, EVERYWHERE),
            "the host's name servers, on port 53": all(
                reaches(worker, each, DNS) for each in networks.servers
            ),
            "the internet": reaches(worker, FAR, EVERYWHERE),
        }
        return {row: "yes" if each else "no" for row, each in found.items()}

    return reached


def test_what_a_worker_reaches(networks: Networks, host: DictatedHost, tmp_path: Path) -> None:
    """A worker reaches what the page says: by default, with `reach: internet`, and where nothing
    closes anything; what `allow` names is open."""
    plancton = Inside(tmp_path, networks, host)
    with ExitStack() as stack:
        stack.callback(plancton.close)
        reached = reach_of(stack, plancton, networks)
        table = f"plancton-{plancton.name}"
        found = {"default": reached()}
        plancton.configure(worker={"network": {"reach": "internet"}})

        def rules() -> str:
            return networks.run("nft", "list", "table", "inet", table)

        wait_for("private networks are closed", lambda: "192.168.0.0/16" in rules())
        found["reach: internet"] = reached()
        plancton.configure(worker={"network": {"reach": "internet", "allow": [NEIGHBOUR, OWN]}})
        wait_for("two addresses are open", lambda: f"{NEIGHBOUR}" in rules())
        allowed = reached()
        plancton.crash()
        networks.run("nft", "delete", "table", "inet", table)
        found["no rules"] = reached()
    assert found == COLUMNS
    opened = {row for row, each in allowed.items() if each != found["reach: internet"][row]}
    assert opened == {
        "other machines on the host's private network",
        "a host service on all addresses, through the host's own",
    }


def test_the_rule_on_connections(networks: Networks) -> None:
    """The page's rule for one's own firewall is one that iptables takes."""
    rules = re.findall(r"^    (iptables .*?)(?:  +#.*)?$", REACH, re.MULTILINE)
    assert len(rules) == 1
    networks.run(*rules[0].split())
