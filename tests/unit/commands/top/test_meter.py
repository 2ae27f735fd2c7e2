"""plancton.commands.top.meter: figures from two samples."""

from collections.abc import Callable
from contextlib import closing

import msgspec
import pytest
from unit.commands.top.examples import Host, a_status, a_worker, rewrite

from plancton.commands.top import meter
from plancton.commands.top.meter import Figures, Meter
from plancton.host.sampler import Sampler
from plancton.model import Sample, Status


class SteadySampler(Sampler):
    """A second passes from one sample to the next."""

    now = 0.0

    def sample(self) -> Sample:
        self.now += 1.0
        return msgspec.structs.replace(super().sample(), monotonic=self.now)


def measure(host: Host, status: Status | None, change: Callable[[], None]) -> Figures:
    """The figures a second and a change later."""
    with pytest.MonkeyPatch.context() as patch, closing(Meter(host.proc, host.cgroup)) as made:
        patch.setattr(meter, "Sampler", SteadySampler)
        made.read(status)
        change()
        return made.read(status)


def test_owner_is_what_slice_and_engine_leave(host: Host) -> None:
    """owner = busy - slice - engine; donated is the slice's figure; a worker's is its cgroup's."""
    status = a_status(0, engine=0.1, workers=(a_worker(1, cgroup="plancton.slice/docker-1.scope"),))
    host.use("plancton.slice", 10.0)
    host.use("plancton.slice/docker-1.scope", 5.0)

    def a_second() -> None:
        host.set_busy(3.0, 1.0)
        host.use("plancton.slice", 11.5)
        host.use("plancton.slice/docker-1.scope", 5.75)

    figures = measure(host, status, a_second)
    seen = (figures.owner, figures.donated, figures.idle, figures.workers)
    assert figures.owner == pytest.approx(1.4), seen
    assert figures.donated == pytest.approx(1.5), seen
    assert figures.idle == pytest.approx(1.0), seen
    assert figures.workers == {"plancton-worker-001": pytest.approx(0.75)}, seen
    assert figures.cpus == 4 and figures.memory_available == 20_000_000 * 1024, figures


def test_owner_is_never_negative(host: Host) -> None:
    """The kernel's counters differ in resolution; the difference never drops below zero."""
    host.use("plancton.slice", 1.0)

    def a_second() -> None:
        host.set_busy(1.9, 2.1)
        host.use("plancton.slice", 3.0)

    figures = measure(host, a_status(0, engine=0.5), a_second)
    assert figures.owner == 0.0, figures


def test_finds_a_slice_that_was_left_behind(host: Host) -> None:
    """After a crash of the supervisor the workers' CPU isn't taken for the owner's."""
    host.use("plancton.slice", 1.0)

    def a_second() -> None:
        host.set_busy(2.0, 2.0)
        host.use("plancton.slice", 2.5)

    figures = measure(host, None, a_second)
    assert figures.donated == pytest.approx(1.5) and figures.owner == pytest.approx(0.5), figures


def test_donated_is_unknown_without_slice_and_supervisor(host: Host) -> None:
    """Nothing tells what is donated, so nothing is claimed."""
    figures = measure(host, None, lambda: host.set_busy(2.0, 2.0))
    assert figures.donated is None and figures.owner == pytest.approx(2.0), figures


def test_sums_workers_where_there_is_no_slice(host: Host) -> None:
    """In tier none, the workers' own cgroups tell what is donated."""
    status = a_status(0, slice="", workers=(a_worker(1, cgroup="docker/1"), a_worker(2, cgroup="docker/2")))
    host.use("docker/1", 1.0)
    host.use("docker/2", 1.0)

    def a_second() -> None:
        host.set_busy(3.0, 1.0)
        host.use("docker/1", 1.5)
        host.use("docker/2", 1.75)

    figures = measure(host, status, a_second)
    assert figures.donated == pytest.approx(1.25) and figures.owner == pytest.approx(1.75), figures


def test_takes_the_statuses_figures_at_first(host: Host) -> None:
    """Before there are two samples, the status's figures are shown."""
    with closing(Meter(host.proc, host.cgroup)) as made:
        figures = made.read(a_status())
    assert (figures.owner, figures.donated, figures.cpus) == (1.3, 6.0, 4), figures


def test_a_worker_that_ended_has_no_figure(host: Host) -> None:
    """A missing cgroup is unknown, not an error."""
    status = a_status(0, workers=(a_worker(1, cgroup="plancton.slice/gone"),))
    figures = measure(host, status, lambda: host.set_busy(1.0, 3.0))
    assert figures.workers == {}, figures


def test_works_without_a_v2_tree(host: Host) -> None:
    """A host without cgroup v2 still shows its figures."""
    with pytest.MonkeyPatch.context() as patch, closing(Meter(host.proc, None)) as made:
        patch.setattr(meter, "Sampler", SteadySampler)
        made.read(a_status())
        host.set_busy(1.0, 1.0)
        figures = made.read(a_status())
    assert figures.owner is not None and figures.workers == {}, figures


@pytest.mark.parametrize(
    "text", ["", "cpu  1 2", "cpu  9 0 0 99999999999999 0 0 0 0 0 0\ncpu0 1 2\nintr 0\n"]
)
def test_one_bad_read(host: Host, text: str) -> None:
    """One bad read of /proc/stat leaves the rates unknown, and the screen there."""
    with pytest.MonkeyPatch.context() as patch, closing(Meter(host.proc, host.cgroup)) as made:
        patch.setattr(meter, "Sampler", SteadySampler)
        made.read(None)
        rewrite(host.proc / "stat", text)
        figures = made.read(None)
        assert (figures.owner, figures.idle, figures.cpus) == (None, None, 4), figures
        for _ in range(2):
            host.set_busy(1.0, 3.0)
            figures = made.read(None)
        assert figures.owner == 1.0, figures


def test_workers_after_figures_that_can_not_be_true(host: Host) -> None:
    """What workers used before and during these is not taken for what they use now."""
    status = a_status(0, workers=(a_worker(1, cgroup="plancton.slice/docker-1.scope"),))
    host.use("plancton.slice", 10.0)
    with pytest.MonkeyPatch.context() as patch, closing(Meter(host.proc, host.cgroup)) as made:
        patch.setattr(meter, "Sampler", SteadySampler)
        for second, busy in enumerate((1.0, 100.0, 1.0)):
            host.set_busy(busy, 3.0)
            host.use("plancton.slice/docker-1.scope", 1.0 + second)
            figures = made.read(status)
    assert figures.workers == {"plancton-worker-001": pytest.approx(1.0)}, figures
