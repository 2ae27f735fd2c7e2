"""The rules and rates of the workers' network, in network namespaces of this machine: what holds
through what, and what is left. How fast it is, is for scripts/bench-network."""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import rmtree

import pytest
from docker.harness import Engine, wait_for
from docker.two_networks import (
    EVERYWHERE,
    FAR,
    OWN,
    Inside,
    InsideWithoutRoot,
    Networks,
    inside,
    reaches,
    run,
    two_networks,
)
from helpers.dictated_host import DictatedHost

from plancton.host.bandwidth import helper_device
from plancton.workers.network import bridge_name

pytestmark = pytest.mark.docker

RATES = {"rate_down": "20Mbit", "rate_up": "8Mbit"}
SEND = "import socket; socket.create_connection(('{}', {}), 5).sendall(bytes(50_000))"


@pytest.fixture
def networks(private_engine: Engine) -> Iterator[Networks]:
    with two_networks() as found:
        yield found


@pytest.fixture
def plancton(networks: Networks, host: DictatedHost, tmp_path: Path) -> Iterator[Inside]:
    supervisor = Inside(tmp_path, networks, host)
    supervisor.calm(1)
    try:
        yield supervisor
    finally:
        supervisor.close()


@pytest.fixture
def without_root(networks: Networks, host: DictatedHost) -> Iterator[InsideWithoutRoot]:
    networks.engine.directory.chmod(0o711)
    directory = Path(tempfile.mkdtemp(prefix="plancton-test-"))  # pytest's are root's alone
    supervisor = InsideWithoutRoot(directory, networks, host)
    supervisor.calm(1)
    try:
        yield supervisor
    finally:
        supervisor.close()
        rmtree(directory)


def worker_of(networks: Networks, plancton: Inside | InsideWithoutRoot) -> Path:
    """The network of the one worker, once it runs."""
    (container,) = plancton.full(1)
    return Path(f"/proc/{networks.engine.inspect(container)['State']['Pid']}/ns/net")


def rates(networks: Networks, plancton: Inside | InsideWithoutRoot) -> list[int | None]:
    """Bits per second that the kernel says for what they receive and send."""
    found = list[int | None]()
    for device in (bridge_name(plancton.name), helper_device(bridge_name(plancton.name))):
        queues = []
        with suppress(AssertionError):  # there is no such device
            queues = json.loads(networks.run("tc", "-json", "qdisc", "show", "dev", device))
        limits = [each["options"]["rate"] * 8 for each in queues if each["kind"] == "tbf"]
        found.append(limits[0] if limits else None)
    return found


def test_what_the_rules_survive(networks: Networks, plancton: Inside) -> None:
    """They survive the supervisor's death, another start of Docker, and whatever is done to others'
    tables, as firewalld does; where an administrator has flushed all, they come back."""
    plancton.configure(worker={"network": RATES})
    plancton.start()
    worker = worker_of(networks, plancton)
    assert reaches(worker, FAR, EVERYWHERE) and not reaches(worker, OWN, EVERYWHERE)
    plancton.crash()
    networks.run("iptables", "-F")
    networks.run("iptables", "-P", "FORWARD", "ACCEPT")
    networks.run("nft", "add", "table", "inet", "firewalld")
    networks.run("nft", "delete", "table", "inet", "firewalld")
    assert reaches(worker, FAR, EVERYWHERE) and not reaches(worker, OWN, EVERYWHERE)
    networks.engine.terminate()
    networks.engine.start(*networks.engine.options)
    assert networks.has_table(plancton) and rates(networks, plancton) == [20_000_000, 8_000_000]
    plancton.start()
    worker = worker_of(networks, plancton)
    assert reaches(worker, FAR, EVERYWHERE) and not reaches(worker, OWN, EVERYWHERE)
    networks.run("nft", "flush", "ruleset")
    assert not networks.has_table(plancton)
    networks.engine.terminate()
    networks.engine.start(*networks.engine.options)
    wait_for("they are back", lambda: networks.has_table(plancton))


def test_nothing_is_left(networks: Networks, plancton: Inside) -> None:
    """With the last worker go the table, the queues and the device that they needed; and so does
    what a killed supervisor has left, with `stop --force`."""
    plancton.configure(worker={"network": RATES})
    for stop in ("stop --wait", "stop --force"):
        plancton.start()
        worker_of(networks, plancton)
        wait_for("the rates hold", lambda: rates(networks, plancton) == [20_000_000, 8_000_000])
        assert networks.has_table(plancton)
        if stop == "stop --force":
            plancton.crash()
        done = plancton.cli(*stop.split())
        assert done.returncode == 0, done
        plancton.ended()
        assert not networks.has_table(plancton)
        devices = networks.run("ip", "-brief", "link")
        assert bridge_name(plancton.name) not in devices and "ifb" not in devices


def test_rates_change(networks: Networks, plancton: Inside) -> None:
    """Rates come, change and go with the configuration while workers run; what is sent gets there,
    marked as lower effort."""
    plancton.start()
    worker = worker_of(networks, plancton)
    assert rates(networks, plancton) == [None, None]
    changes: list[tuple[dict[str, str], list[int | None]]] = [
        (RATES, [20_000_000, 8_000_000]),
        ({"rate_up": "9Mbit"}, [None, 9_000_000]),
        ({}, [None, None]),
    ]
    for settings, wanted in changes:
        plancton.configure(worker={"network": settings})
        are_so = partial(lambda wanted: rates(networks, plancton) == wanted, wanted)
        wait_for("they are as configured", are_so)
        count = "add rule inet t c iifname far tcp dport 8000 ip dscp 1 counter"
        for text in ("add table inet t", "add chain inet t c { type filter hook input priority 0; }", count):
            run(*inside(networks.world, "nft", text))
        code = SEND.format(FAR, EVERYWHERE)
        subprocess.run(inside(worker, sys.executable, "-c", code), check=True, timeout=60)
        assert "packets 0 " not in run(*inside(networks.world, "nft", "list", "table", "inet", "t"))
        run(*inside(networks.world, "nft", "delete", "table", "inet", "t"))
    assert len(plancton.workers()) == 1, "it has not been replaced for that"


def test_made_as_configured(networks: Networks, plancton: Inside) -> None:
    """The network has the size of packets, the addresses and the IPv6 that are asked for; when that
    changes, it is made again once nobody uses it."""
    settings: dict[str, object] = {"mtu": 1280, "subnet": "192.168.77.0/24", "ipv6": True}
    plancton.configure(worker={"network": settings})
    plancton.start()
    worker = worker_of(networks, plancton)
    assert "mtu 1280" in run(*inside(worker, "ip", "link"))
    addresses = run(*inside(worker, "ip", "-brief", "addr"))
    assert "192.168.77." in addresses and " fd" in addresses
    assert not reaches(worker, OWN, EVERYWHERE)
    gateway = run(*inside(worker, "ip", "-6", "route", "show", "default")).split()[2]
    assert not reaches(worker, gateway, EVERYWHERE)
    (container,) = plancton.ids()
    plancton.configure(worker={"network": {**settings, "mtu": 1400}})
    networks.engine.remove(container)
    wait_for("another has replaced it", lambda: plancton.ids() - {container})
    assert "mtu 1400" in run(*inside(worker_of(networks, plancton), "ip", "link"))


def test_the_hosts_own(networks: Networks, plancton: Inside) -> None:
    """With `host` a worker is in the host's network, there is no other, and no rule."""
    plancton.configure(worker={"network": {"host": True}})
    plancton.start()
    worker = worker_of(networks, plancton)
    assert worker.stat().st_ino == networks.host.stat().st_ino
    assert not networks.has_table(plancton) and plancton.name not in networks.engine.networks()


def test_without_root(networks: Networks, without_root: InsideWithoutRoot) -> None:
    """Root prepares rules and rates for a user's supervisor, which start before its workers and stay
    when it stops; `stop --force` by root, as uninstalling does, removes them."""
    plancton = without_root
    plancton.configure(worker={"network": RATES})
    prepare = plancton.as_root("prepare", "--user", plancton.USER, "--config", str(plancton.config))
    done = subprocess.run(prepare, capture_output=True, text=True, env=plancton.environment, check=False)
    assert done.returncode == 0 and "nft" not in done.stdout, done
    assert networks.has_table(plancton) and rates(networks, plancton) == [20_000_000, 8_000_000]
    plancton.start()
    worker = worker_of(networks, plancton)
    assert reaches(worker, FAR, EVERYWHERE) and not reaches(worker, OWN, EVERYWHERE)
    assert plancton.cli("stop", "--wait").returncode == 0
    assert networks.has_table(plancton) and rates(networks, plancton) == [20_000_000, 8_000_000]
    done = subprocess.run(
        plancton.as_root("stop", "--force"),
        capture_output=True,
        text=True,
        env=plancton.environment,
        check=False,
    )
    assert done.returncode == 0, done
    assert not networks.has_table(plancton) and plancton.name not in networks.engine.networks()


def test_doctor(networks: Networks, plancton: Inside) -> None:
    """It says whether the rules and rates hold, and what is amiss."""

    def look() -> tuple[str, str]:
        done = plancton.cli("doctor", "--json", "--config", str(plancton.config))
        (found,) = [each for each in json.loads(done.stdout)["findings"] if each["subject"] == "network"]
        return found["level"], found["text"]

    plancton.configure(worker={"network": RATES})
    level, text = look()
    assert level == "ok", text
    plancton.start()
    worker_of(networks, plancton)
    level, text = look()
    assert level == "ok" and "8Mbit" in text, text
    plancton.send(signal.SIGSTOP)  # or it would put them back
    try:
        networks.run("tc", "qdisc", "del", "dev", bridge_name(plancton.name), "root")
        level, text = look()
        assert level == "could be better" and "without limit" in text, text
        networks.run("nft", "flush", "ruleset")
        level, text = look()
        assert level == "could be better" and "not in force" in text, text
    finally:
        plancton.send(signal.SIGCONT)


@pytest.mark.slow
def test_selftest(networks: Networks, plancton: Inside) -> None:
    """It sends a little each way between the host and a worker of its own, where there are rates, and
    sees that the host's services are closed to that."""
    plancton.configure(worker={"network": RATES})
    plancton.start()
    worker_of(networks, plancton)
    done = plancton.cli("selftest", "--json", "--config", str(plancton.config))
    print(done.stdout)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)["network"]
    assert isinstance(found, dict), found
    assert found["received"] > 0 and found["sent"] > 0 and not found["reaches_host"], found
