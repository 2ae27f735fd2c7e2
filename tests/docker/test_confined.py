"""What a worker is kept from when its container is made: each attack in a real worker."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine, Plancton
from helpers.wait import wait_for

from plancton.host.pids_and_huge_pages import most_pids
from plancton.workers.addresses import prefix_for
from plancton.workers.container import ULIMITS
from plancton.workers.users import ANY, LABEL

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


@pytest.mark.slow
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
    """What the host has for all containers together (asynchronous I/O, keys) a job can't use up, nor
    have all of the owner's files written out."""
    came_of = [line.split() for line in attack("calls")]
    assert len(came_of) == 8 and {result for _, result in came_of} <= {"EPERM", "ENOSYS"}, came_of


def test_other_rules(attack: Attack) -> None:
    """`security_options` brings Docker's own seccomp rules back."""
    came_of = dict(line.split() for line in attack("calls", security_options=["seccomp=builtin"]))
    assert came_of["io_setup"] == "done"


def test_name_servers(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """A worker asks the host's name servers itself, so that dockerd has no work with it."""
    (tmp_path / "servers").write_text("search example\nnameserver 198.51.100.53\n")
    plancton.host.mounted["/etc/resolv.conf"] = tmp_path / "servers"
    plancton.calm(1)
    plancton.start()
    (worker,) = plancton.full(1)
    file = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root/etc/resolv.conf")
    assert file.read_text() == "search example\nnameserver 198.51.100.53\nnameserver 127.0.0.11\n"


@pytest.mark.slow
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


def nobody_of_the_host(program: Path) -> list[str]:
    """What a process of the host's gets that is user 65534."""
    with subprocess.Popen([program / "attack", "one"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = [process.stdout.readline().strip() for _ in range(3)]
        process.kill()
    return lines


ONE_EACH = ["inotify 1", "pipes 1", "signals 1"]


def what_two_get(plancton: Plancton, engine: Engine, program: Path) -> list[list[str]]:
    """How much of what is counted per user each of two workers gets, both taking all they can."""
    plancton.calm(2)
    plancton.configure(
        worker={
            "command": "/job/attack per-user >/tmp/said",
            "mounts": [f"{program}:/job"],
            "tmpfs": ["/tmp"],
        }
    )
    plancton.start()
    found = []
    for worker in plancton.full(2):
        said = Path(f"/proc/{engine.inspect(worker)['State']['Pid']}/root/tmp/said")
        wait_for("it has tried", lambda said=said: said.exists() and said.read_text().endswith("end\n"))  # type: ignore[misc]
        found.append(said.read_text().splitlines()[:-1])
    return found


def test_a_user_for_each_worker(plancton: Plancton, engine: Engine, program: Path) -> None:
    """Where the image takes any user, a worker that uses up inotify, pipes and signals leaves as much
    to another worker, and a service of the host's that is nobody keeps its own."""
    image = "plancton-test-any-user:1"
    engine.import_image(image, changes=f"LABEL {LABEL}={ANY}")
    plancton.configure(image={"name": image}, worker={"user_range": "70000-70003"})
    first, second = what_two_get(plancton, engine, program)
    assert first == second and all(not line.endswith(" 0") for line in first), (first, second)
    assert nobody_of_the_host(program) == ONE_EACH
    users = {engine.inspect(worker)["Config"]["User"] for worker in plancton.ids()}
    assert len(users) == 2 and users <= {f"{uid}:{uid}" for uid in range(70000, 70004)}


def test_signals_of_nobody(attack: Attack, program: Path) -> None:
    """Where all workers are nobody, one that has as many signals pending as it can leaves some to a
    service of the host's that is nobody as well."""
    signals = attack("signals")[-1]
    assert int(signals.split()[1]) <= int(ULIMITS["sigpending"])
    assert nobody_of_the_host(program)[-1] == "signals 1"


def chosen(plancton: Plancton, program: Path, tmp_path: Path, what: str) -> None:
    """Two workers, of which one tries this."""
    (tmp_path / "chosen").mkdir(mode=0o777)
    (tmp_path / "chosen").chmod(0o777)
    plancton.calm(2)
    plancton.configure(
        worker={
            "command": f"if busybox mkdir /chosen/it; then /job/attack {what}; fi; while :; do sleep 1; done",
            "mounts": [f"{program}:/job", f"{tmp_path}/chosen:/chosen:rw"],
            "leave_timeout": "10m",
        },
        owner={"reserve_memory": "1GB"},
    )


def names(plancton: Plancton, engine: Engine) -> dict[str, int]:
    """The workers, once both run, and their first processes."""
    found = [engine.inspect(worker) for worker in plancton.full(2)]
    return {each["Name"].lstrip("/"): each["State"]["Pid"] for each in found}


def test_memory_in_sockets(plancton: Plancton, engine: Engine, program: Path, tmp_path: Path) -> None:
    """When the owner's memory is short, the worker that holds thousands of sockets, which count as
    nobody's memory, leaves before any other."""
    chosen(plancton, program, tmp_path, "hoard")
    plancton.start()
    pids = names(plancton, engine)

    def hoarders() -> list[str]:
        used = {name: Path(f"/proc/{pid}/net/sockstat").read_text() for name, pid in pids.items()}
        return [name for name, text in used.items() if int(text.split()[2]) > 3000]

    wait_for("it has its sockets", lambda: len(hoarders()) == 1)
    (hoarder,) = hoarders()
    plancton.host.memory_available = 900_000_000
    wait_for("it has to leave", lambda: plancton.lines("asking", "to leave", "sockets"))
    (line,) = plancton.lines("asking", "to leave", "sockets")
    assert hoarder in line
    plancton.host.memory_available = 12_000_000_000
    wait_for("it is gone", lambda: plancton.lines(hoarder, " is gone after "))
    assert len(plancton.lines("asking", "to leave")) == 1, "the other stays"


def test_table_of_connections(plancton: Plancton, engine: Engine, program: Path, tmp_path: Path) -> None:
    """When the host's table of connections is half full, the worker that has thousands of them
    leaves, and no other."""
    count = tmp_path / "count"
    count.write_text("10\n")
    (tmp_path / "max").write_text("10000\n")
    for name in ("count", "max"):
        plancton.host.mounted[f"/proc/sys/net/netfilter/nf_conntrack_{name}"] = tmp_path / name
    chosen(plancton, program, tmp_path, "connect")
    plancton.start()
    pids = names(plancton, engine)

    def hoarders() -> list[str]:
        lines = {
            name: Path(f"/proc/{pid}/net/stat/nf_conntrack").read_text().splitlines()[1]
            for name, pid in pids.items()
        }
        return [name for name, line in lines.items() if int(line.split()[0], 16) > 3000]

    wait_for("it has its connections", lambda: len(hoarders()) == 1)
    (hoarder,) = hoarders()
    plancton.goes_on()
    assert not plancton.lines("asking", "to leave"), "the table has room"
    count.write_text("5000\n")
    wait_for("it has to leave", lambda: plancton.lines(f"asking {hoarder} to leave", "connections"))
    wait_for("it is gone", lambda: plancton.lines(hoarder, " is gone after "))
    assert len(plancton.lines("asking", "to leave")) == 1, "the other stays"


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
