"""The owner's pause on a real Engine: who is frozen, for how long, and that nobody stays so."""

import json

import pytest
from docker.harness import BUSY, Plancton, WithoutRoot, wait_for

pytestmark = pytest.mark.docker


def frozen(plancton: Plancton) -> bool:
    """Whether the kernel says that everything in the slice is."""
    return "frozen 1" in (plancton.slice.directory / "cgroup.events").read_text()


def test_pause(plancton: Plancton) -> None:
    """The kernel says that all are frozen, and use nothing; they are again after a crash of the
    supervisor; resume lets the same workers go on."""
    plancton.calm()
    plancton.configure(worker={"command": BUSY})
    plancton.start()
    workers = plancton.full(2)
    done = plancton.cli("pause", "--for", "1h")
    assert done.returncode == 0 and done.stdout.startswith("Paused until"), done
    wait_for("they are frozen", lambda: frozen(plancton))
    used = plancton.used()
    plancton.goes_on()
    assert plancton.used() == used and plancton.ids() == workers
    assert "2 workers are frozen" in plancton.cli("status").stdout
    assert json.loads(plancton.cli("status", "--json").stdout)["pause"]["frozen"] is True
    plancton.crash()
    plancton.start()
    wait_for("the next one freezes them", lambda: len(plancton.lines("freezing")) > 1)
    wait_for("they are frozen again", lambda: frozen(plancton))
    assert plancton.full(2) == workers
    before = plancton.used()
    plancton.goes_on()
    assert plancton.used() == before
    assert plancton.cli("resume").stdout == "Donating again.\n"
    wait_for("they run again", lambda: not frozen(plancton) and plancton.used() > before)
    assert plancton.full(2) == workers


def test_without_root(without_root: WithoutRoot) -> None:
    """A user's supervisor does the same by the files that root has handed over."""
    without_root.calm()
    without_root.prepare()
    without_root.start()
    workers = without_root.full(2)
    assert without_root.cli("pause").returncode == 0
    wait_for("they are frozen", lambda: frozen(without_root))
    assert without_root.cli("resume").returncode == 0
    wait_for("they run again", lambda: not frozen(without_root))
    assert without_root.full(2) == workers
    assert without_root.cli("pause").returncode == 0
    wait_for("they are frozen once more", lambda: frozen(without_root))
    assert without_root.cli("stop", "--wait").returncode == 0
    assert not without_root.workers() and not without_root.lines("killing"), without_root.log


@pytest.mark.parametrize("how", [["stop", "--wait"], ["stop", "--keep-workers", "--wait"]])
def test_stop_while_paused(plancton: Plancton, how: list[str]) -> None:
    """Whatever becomes of the workers, none stays frozen; those that leave do so in order."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    plancton.cli("pause")
    wait_for("they are frozen", lambda: frozen(plancton))
    assert plancton.cli(*how).returncode == 0
    assert plancton.ended() == 0
    if "--keep-workers" in how:
        assert plancton.ids() == workers and not frozen(plancton)
    else:
        assert not plancton.workers() and plancton.directories() == []
        assert len(plancton.lines(" is gone ")) == 2 and not plancton.lines("killing"), plancton.log


@pytest.mark.slow
def test_a_pause_that_is_too_long(plancton: Plancton) -> None:
    """Workers that have waited for grace_kill are thawed and leave in order; nothing is started
    until the pause is over."""
    plancton.calm()
    plancton.configure(yielding={"grace_kill": "6s"})
    plancton.start()
    plancton.full(2)
    plancton.cli("pause", "--for", "1h")
    wait_for("they are frozen", lambda: frozen(plancton))
    plancton.empty()
    assert not plancton.lines("killing"), plancton.log
    wait_for("all are thawed", lambda: not frozen(plancton))
    starts = len(plancton.lines("starting"))
    plancton.goes_on()
    assert len(plancton.lines("starting")) == starts
    plancton.cli("resume")
    wait_for("others are started", lambda: len(plancton.lines("starting")) > starts)


def test_a_rule(plancton: Plancton) -> None:
    """While the configuration's rule holds all are frozen, and status says which rule; without it
    the same workers go on."""
    plancton.calm()
    plancton.start()
    workers = plancton.full(2)
    plancton.configure(owner={"pause_when": "hour >= 0", "pause_hold": "0s"})
    wait_for("they are frozen", lambda: frozen(plancton))
    wait_for("status says why", lambda: plancton.cli("status").stdout.startswith("Paused: "))
    assert plancton.cli("resume").stdout == "Plancton was neither paused nor draining.\n"
    plancton.configure(owner={"pause_when": None})
    wait_for("they run again", lambda: not frozen(plancton))
    assert plancton.full(2) == workers
    plancton.configure(owner={"leave_when": "hour >= 0"})
    plancton.empty()
    assert not plancton.lines("killing"), plancton.log


def test_a_cap(plancton: Plancton) -> None:
    """The kernel's limit of the slice is the owner's cap, whoever changes it, as long as there is
    one."""
    plancton.calm()
    plancton.start()
    plancton.full(2)
    plancton.configure(owner={"cpu_cap": 0.5, "pause_hold": "0s"})
    slices = plancton.slice.path
    wait_for("it is capped", lambda: plancton.quota(slices).split()[0] == "50000")
    wait_for("status says so", lambda: "at most 0.5 CPUs" in plancton.cli("status").stdout)
    name = "cpu.cfs_quota_us" if plancton.slice.v1 else "cpu.max"
    (plancton.slice.cpu / name).write_text("90000")
    wait_for("it is put back", lambda: plancton.quota(slices).split()[0] == "50000")
    plancton.configure(owner={"cpu_cap": None})
    wait_for("it is not capped", lambda: plancton.quota(slices).split()[0] in ("max", "-1"))


def test_a_cap_below_one_worker(plancton: Plancton) -> None:
    """A worker of one CPU starts under a cap of half a CPU, and is kept to it: by the slice, or on
    v1, where the kernel refuses that, by Docker."""
    plancton.calm(1)
    plancton.configure(worker={"cpus": 1}, owner={"cpu_cap": 0.5})
    plancton.start()
    plancton.full(1)
    if plancton.slice.v1:
        wait_for("Docker keeps it to the cap", lambda: plancton.quotas_in_docker() == [0.5])
    else:
        assert plancton.quota(plancton.slice.path).split()[0] == "50000"
    plancton.configure(owner={"cpu_cap": None, "pause_hold": "0s"})
    wait_for("it has all", lambda: plancton.quotas_in_docker() == [1.0])
