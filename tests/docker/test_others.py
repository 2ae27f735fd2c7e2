"""What others do to workers: the host's owner by hand, their tools, and an Engine that refuses."""

import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from docker.harness import ApiError, Engine, Plancton, wait_for
from helpers.docker_proxy import DockerProxy, Refusal, Rule, refuse

from plancton.host.process_cgroup import group_of
from plancton.model import Phase, WorkerStatus
from plancton.workers.container import INSTANCE

pytestmark = pytest.mark.docker


def the_worker(plancton: Plancton) -> WorkerStatus | None:
    """The only one, as the status has it; None while there are more or fewer."""
    status = plancton.status
    return status.workers[0] if status is not None and len(status.workers) == 1 else None


def start_one(plancton: Plancton) -> str:
    """The id of the only worker, which leaves soon when none is wanted any more."""
    plancton.calm(1)
    plancton.configure(worker={"leave_timeout": "3s"}, yielding={"grace_kill": "6s"})
    plancton.start()
    (worker,) = plancton.full(1)
    return worker


def pid_of(engine: Engine, container: str) -> int:
    return int(engine.inspect(container)["State"]["Pid"])


def test_restart(plancton: Plancton, engine: Engine) -> None:
    """After `docker restart` there is one worker, known by its new process's age and cgroup, and it
    can be told to leave."""
    worker = start_one(plancton)
    before = pid_of(engine, worker)
    # Docker may find its container removed in the middle: then there is another worker.
    with suppress(ApiError):
        engine.call("POST", f"/containers/{worker}/restart?t=0")
    (now,) = plancton.full(1)
    after = pid_of(engine, now)
    assert after != before
    group = group_of(Path("/proc"), after)

    def known() -> bool:
        shown = the_worker(plancton)
        return shown is not None and shown.id == now[:12] and shown.cgroup == group

    wait_for("its cgroup is known", known)
    plancton.configure(pool={"max_workers": 0})
    plancton.empty()


def test_restart_while_nobody_tells(plancton: Plancton, engine: Engine, proxy: DockerProxy) -> None:
    """A worker that was restarted while its removal was refused lives on with its new process."""
    proxy.rule = refuse("DELETE", r"/containers/\w+")
    worker = start_one(plancton)
    before = pid_of(engine, worker)
    engine.call("POST", f"/containers/{worker}/restart?t=0")
    assert pid_of(engine, worker) != before
    wait_for("it is seen", lambda: plancton.lines("was started again by somebody"))
    proxy.rule = None
    wait_for("it runs", lambda: (w := the_worker(plancton)) is not None and w.phase is Phase.RUNNING)
    assert plancton.ids() == {worker}
    plancton.configure(pool={"max_workers": 0})
    plancton.empty()
    wait_for("it is removed", lambda: not engine.containers(label=f"{INSTANCE}={plancton.instance}"))


@pytest.mark.slow
def test_rename(plancton: Plancton, engine: Engine) -> None:
    """A renamed worker is shown under its new name and remains the same worker until it leaves."""
    worker = start_one(plancton)
    name = f"precious-{plancton.name}"
    engine.call("POST", f"/containers/{worker}/rename?name={quote(name)}")
    wait_for("it is shown", lambda: (w := the_worker(plancton)) is not None and w.name == name)
    plancton.goes_on()
    assert plancton.ids() == {worker}
    plancton.configure(pool={"max_workers": 0})
    plancton.empty()
    wait_for("it is removed", lambda: not engine.containers(label=f"{INSTANCE}={plancton.instance}"))


def test_pause(plancton: Plancton, engine: Engine) -> None:
    """A paused worker is shown as that, and is unpaused so that it can leave in order."""
    worker = start_one(plancton)
    plancton.wait_for_trap(worker)
    engine.call("POST", f"/containers/{worker}/pause")
    wait_for("it is shown", lambda: (w := the_worker(plancton)) is not None and w.paused)
    assert "paused" in plancton.cli("status").stdout
    assert plancton.cli("stop").returncode == 0
    assert plancton.ended() == 0
    assert plancton.lines("is gone", "exit code 0")


def test_unpause(plancton: Plancton, engine: Engine) -> None:
    """A worker that was paused and unpaused is as before."""
    worker = start_one(plancton)
    engine.call("POST", f"/containers/{worker}/pause")
    wait_for("it is shown", lambda: (w := the_worker(plancton)) is not None and w.paused)
    engine.call("POST", f"/containers/{worker}/unpause")
    wait_for("it is shown", lambda: (w := the_worker(plancton)) is not None and not w.paused)
    assert plancton.ids() == {worker}


def test_removed(plancton: Plancton, engine: Engine) -> None:
    """After `docker rm -f` another worker takes the place."""
    worker = start_one(plancton)
    engine.remove(worker)
    assert plancton.full(1) != {worker}


def test_made_again(plancton: Plancton, engine: Engine) -> None:
    """A container that a tool rebuilds from a worker, under the same name, is a worker that
    leaves when it must."""
    worker = start_one(plancton)
    plancton.configure(yielding={"grace_kill": "1h"})  # for a while there are two
    found = engine.inspect(worker)
    body = {**found["Config"], "HostConfig": found["HostConfig"]}
    engine.call("POST", f"/containers/{worker}/rename?name=old-{plancton.name}")
    made = engine.call("POST", f"/containers/create?name={found['Name'].strip('/')}", body)["Id"]
    engine.call("POST", f"/containers/{made}/start")
    engine.remove(worker)

    def known() -> bool:
        shown = the_worker(plancton)
        return shown is not None and shown.id == made[:12] and f"/{shown.name}" == found["Name"]

    wait_for("the new one is the worker", known)
    plancton.configure(pool={"max_workers": 0}, yielding={"grace_kill": "6s"})
    plancton.empty()
    wait_for("it is removed", lambda: not engine.containers(label=f"{INSTANCE}={plancton.instance}"))


def test_kill_is_refused(plancton: Plancton, proxy: DockerProxy) -> None:
    """A worker dies through its cgroup when Docker refuses to kill it, which the log says in
    Docker's words."""
    worker = start_one(plancton)
    proxy.rule = refuse("POST", r"/containers/\w+/kill", Refusal(message="permission denied by AppArmor"))
    plancton.configure(pool={"max_workers": 0})
    wait_for("it has died", lambda: worker not in plancton.ids())
    wait_for("the log says so", lambda: plancton.lines("AppArmor", "was killed through its cgroup"))


def holding_removals(held: list[str]) -> Rule:
    """All removals of containers hang."""

    def rule(method: str, path: str) -> Refusal | None:
        if method == "DELETE" and re.fullmatch(r"/containers/\w+", path):
            held.append(path)
            return Refusal(status=None, seconds=600.0)
        return None

    return rule


@pytest.mark.slow
def test_leave_beside_a_removal_that_hangs(plancton: Plancton, engine: Engine, proxy: DockerProxy) -> None:
    """While the removal of one worker hangs, the others are told to leave and do."""
    held: list[str] = []
    proxy.rule = holding_removals(held)
    plancton.calm(2)
    plancton.configure(yielding={"grace_kill": "6s"})
    plancton.start()
    first, second = sorted(plancton.full(2))
    plancton.wait_for_trap(second)
    engine.call("POST", f"/containers/{first}/kill?signal=SIGKILL")
    wait_for("its removal hangs", lambda: held)
    plancton.configure(pool={"max_workers": 0})
    wait_for("the other has left", lambda: second not in plancton.ids())
    assert engine.inspect(second)["State"]["ExitCode"] == 0
    proxy.rule = None


@pytest.mark.slow
def test_removals_are_refused(plancton: Plancton, engine: Engine, proxy: DockerProxy) -> None:
    """Containers that can't be removed are counted in the status, with Docker's words, until they
    can be."""
    proxy.rule = refuse("DELETE", r"/containers/\w+", Refusal(message="device or resource busy"))
    plancton.calm(2)
    plancton.start()
    for worker in plancton.full(2):
        engine.call("POST", f"/containers/{worker}/kill?signal=SIGKILL")
    wait_for("status says so", lambda: "2 containers can't be removed" in plancton.problems())
    assert "device or resource busy" in plancton.problems()
    proxy.rule = None
    wait_for("they are removed", lambda: "can't be removed" not in plancton.problems())


def test_update(plancton: Plancton, engine: Engine) -> None:
    """The memory limit that somebody gives a worker is the one that is shown."""
    worker = start_one(plancton)
    memory = 96 * 1024**2
    engine.call("POST", f"/containers/{worker}/update", {"Memory": memory, "MemorySwap": memory})
    wait_for("it is shown", lambda: (w := the_worker(plancton)) is not None and w.memory_limit == memory)
