"""What a worker is kept from when its container is made: each attack in a real worker."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine, Plancton
from helpers.wait import wait_for

from plancton.host.shared_limits import most_pids
from plancton.workers.addresses import prefix_for

pytestmark = pytest.mark.docker

SOURCE = Path(__file__).with_name("attack.c")
Attack = Callable[..., list[str]]
"""Has a worker try something (attack.c); the lines that it says of it."""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that holds nothing but the program, which needs nothing of a worker's image."""
    directory = tmp_path_factory.mktemp("attack")
    directory.chmod(0o755)
    command = ["cc", "-static", "-o", str(directory / "attack"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture
def attack(plancton: Plancton, program: Path, tmp_path: Path) -> Attack:
    said = tmp_path / "said"
    said.mkdir()
    said.chmod(0o777)

    def lines(what: str, **worker: object) -> list[str]:
        plancton.calm(1)
        plancton.configure(
            worker={
                "command": f"/job/attack {what} >/said/{what}",
                "mounts": [f"{program}:/job", f"{said}:/said:rw"],
                **worker,
            }
        )
        plancton.start()
        plancton.full(1)
        file = said / what
        wait_for("it has tried", lambda: file.exists() and file.read_text().endswith("end\n"))
        return file.read_text().splitlines()[:-1]

    return lines


def test_health_check(plancton: Plancton, engine: Engine) -> None:
    """An image's HEALTHCHECK is not run in a worker: it is dockerd that pays for each."""
    image = "plancton-test-healthy:1"
    engine.import_image(image, changes="HEALTHCHECK --interval=1s CMD true")
    plain = engine.run("healthy", "sleep 600", Image=image)
    wait_for("an ordinary container is checked", lambda: engine.inspect(plain)["State"]["Health"]["Log"])
    plancton.calm(1)
    plancton.configure(image={"name": image})
    plancton.start()
    (worker,) = plancton.full(1)
    assert "Health" not in engine.inspect(worker)["State"]


def test_core_dumps(attack: Attack) -> None:
    """A job can neither have its core dumped nor raise the limit that keeps a core handler of the
    host's from running."""
    assert attack("core") == ["core 1:1", "raise EPERM", "abort nothing"]


def test_sockets(attack: Attack) -> None:
    """A job gets no socket but those of UNIX, TCP, UDP and routes, and can so have no module loaded
    into the kernel by root's modprobe."""
    came_of = dict(line.rsplit(" ", 1) for line in attack("sockets"))
    done = {what for what, result in came_of.items() if result == "done"}
    families = {what.split()[0] for what in done if what.startswith("family:")}
    assert families == {f"family:{number}" for number in (1, 2, 10, 16)}  # UNIX, INET, INET6, NETLINK
    usual = {what for what in came_of if what.startswith("usual:")}
    assert usual and usual <= done, came_of
    odd = {result for what, result in came_of.items() if what.startswith("socket")}
    assert odd <= {"EPERM", "ENOSYS"}, came_of


def test_calls(attack: Attack) -> None:
    """What the host has for all containers together (asynchronous I/O, keys) a job can't use up."""
    came_of = [line.split() for line in attack("calls")]
    assert len(came_of) == 6 and {result for _, result in came_of} <= {"EPERM", "ENOSYS"}, came_of


def test_other_rules(attack: Attack) -> None:
    """`security_options` brings Docker's own seccomp rules back."""
    came_of = dict(line.split() for line in attack("calls", security_options=["seccomp=builtin"]))
    assert came_of["io_setup"] == "done"


def test_name_servers(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """A worker asks the host's name servers itself, so that dockerd has no work with it."""
    (tmp_path / "servers").write_text("search example\nnameserver 198.51.100.53\n")
    plancton.host.resolvers = tmp_path / "servers"
    plancton.calm(1)
    plancton.start()
    (worker,) = plancton.full(1)
    file = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root/etc/resolv.conf")
    assert file.read_text() == "search example\nnameserver 198.51.100.53\nnameserver 127.0.0.11\n"


def test_name_servers_of_a_mount(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """Where a worker's mounts say which name servers it asks, they are the ones."""
    (tmp_path / "servers").write_text("nameserver 198.51.100.1\n")
    plancton.calm(1)
    plancton.configure(worker={"mounts": [f"{tmp_path}/servers:/etc/resolv.conf"]})
    plancton.start()
    (worker,) = plancton.full(1)
    file = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root/etc/resolv.conf")
    assert file.read_text() == "nameserver 198.51.100.1\n"


def test_groups_of_the_image(attack: Attack, plancton: Plancton, engine: Engine) -> None:
    """An image can't put the worker's user into a group of its choice, root's or docker's."""
    image = "plancton-test-groups:1"
    groups = "root:x:0:job\ndocker:x:998:job\n"
    engine.import_image(image, files={"etc/passwd": "job:x:65534:0::/:/bin/sh\n", "etc/group": groups})
    plancton.configure(image={"name": image})
    lines = attack("identity", user="65534")
    assert lines[0] == "ids 65534:65534" and set(lines[1:]) <= {"group 65534"}


def test_below_a_read_only_mount(attack: Attack, program: Path, tmp_path: Path) -> None:
    """What is mounted below a read-only mount is read-only as well, or a worker does not see it."""
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    with ExitStack() as stack:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "mode=777,size=1m", "tmpfs", folder / "inner"], check=True
        )
        stack.callback(lambda: subprocess.run(["umount", folder / "inner"], check=True))
        (folder / "inner" / "there").touch()
        mounts = [f"{program}:/job", f"{tmp_path}/said:/said:rw", f"{folder}:/data"]
        (came_of,) = attack("write", mounts=mounts)
        assert came_of in ("write EROFS", "write EACCES")  # EACCES: the directory below, which is root's
        assert sorted(path.name for path in (folder / "inner").iterdir()) == ["there"]


def test_processes_of_all(plancton: Plancton) -> None:
    """All workers together can have half of the process ids that the host has."""
    plancton.calm(1)
    plancton.start()
    plancton.full(1)
    most = most_pids()
    assert most
    found = [directory / "pids.max" for directory in plancton.directories()]
    assert [file.read_text() for file in found if file.exists()] == [f"{most}\n"]


def test_addresses(plancton: Plancton, engine: Engine) -> None:
    """The workers' network has a few hundred addresses, not 65,536: the host keeps its neighbours in
    one table."""
    plancton.calm(1)
    plancton.start()
    plancton.full(1)
    (config,) = engine.call("GET", f"/networks/{plancton.name}")["IPAM"]["Config"]
    assert IPv4Network(config["Subnet"]).prefixlen == prefix_for(CPUS, 0.1)
