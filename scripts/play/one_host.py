"""The play of scripts/quickstart: runs Plancton on a tiny local image and an owner's load against
it.

    cd scripts && ../.venv/bin/python -m play.one_host [SOCKET]

Needs root, a Docker Engine that answers, and Plancton installed in the interpreter that runs this.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from plancton.docker.client import Docker
from play.busybox_image import import_busybox
from play.stage import BUSY, Row, Stage, cgroups_left, load_rate, owner_load, plancton, row, workers

IMAGE, TAG, SLICE = "plancton-quickstart", "1", "plancton_quickstart"
SOCKET = sys.argv[1] if len(sys.argv) > 1 else "/var/run/docker.sock"
LOAD_SECONDS, QUIET_SECONDS, ALONE_SECONDS = 20.0, 8.0, 6.0
GRACE = 10
# When told to leave it works for a moment, as a pilot that hands its job back does, and ends
# cleanly.
WORKER = f"trap 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 0' TERM; {BUSY}"
CONFIG = f"""\
image: {{name: "{IMAGE}:{TAG}", refresh: 0s}}
worker: {{command: "{WORKER}", memory: 64MB}}
yield: {{grace_kill: {GRACE}s, grace_spawn: {GRACE}s}}
docker: {{slice: {SLICE}, socket: "{SOCKET}"}}
"""


class Play(Stage):
    """One performance, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.first_gone = self.last_gone = self.back = float("nan")


def perform(play: Play) -> tuple[list[Row], float, float]:
    """The three acts; returns the table's rows, and the owner's CPUs alone and with every CPU
    donated."""
    cpus = os.cpu_count() or 1
    play.say(f"measuring {cpus} busy processes of the owner, alone, for {ALONE_SECONDS:.0f} s")
    with owner_load(cpus) as load:
        alone = load_rate(load, ALONE_SECONDS, lambda: None)
    with plancton(play, CONFIG):
        count = play.gather(cpus)
        sampler = play.sampler()
        play.say(f"{count} workers run; looking on for {QUIET_SECONDS:.0f} s")
        rows = [play.measure("before", sampler, QUIET_SECONDS)]
        play.say(f"the owner needs the computer: {cpus} busy processes for {LOAD_SECONDS:.0f} s")
        before, begin = sampler.sample(), time.monotonic()
        with owner_load(cpus) as load:
            shared = load_rate(load, 5.0, play.status)
            rows.append(row("owner busy, all CPUs donated", before, sampler.sample()))
            play.first_gone = 5.0 + play.until("a worker leaves", 120, lambda s: workers(s) < count)
            play.until("all workers leave", 120, lambda s: not s.workers)
            play.last_gone = time.monotonic() - begin
            rows.append(
                play.measure(
                    "owner busy, no workers", sampler, max(5.0, begin + LOAD_SECONDS - time.monotonic())
                )
            )
        play.say("the owner is done")
        play.back = play.until("the workers come back", 180, lambda s: workers(s) >= count)
        rows.append(play.measure("after", sampler, QUIET_SECONDS))
        sampler.close()
        play.say("stopping")
    return rows, alone, shared


def table(play: Play, rows: list[Row], alone: float, shared: float) -> Iterator[str]:
    yield ""
    yield f"{'CPUs':<30} {'owner':>7} {'donated':>8} {'idle':>7}"
    for name, owner, donated, idle in rows:
        yield f"{name:<30} {owner:>7.2f} {donated:>8.2f} {idle:>7.2f}"
    yield ""
    yield f"The owner kept {shared / alone:.1%} of the CPU time it gets alone while every CPU was donated."
    harvest = [r.donated / (r.donated + r.idle) for r in (rows[0], rows[-1])]
    yield f"Of the idle CPU {harvest[0]:.1%} was donated before and {harvest[1]:.1%} after."
    yield (
        f"Workers left {play.first_gone:.0f} to {play.last_gone:.0f} s after the load came"
        f" and were back {play.back:.0f} s after it went (grace_kill and grace_spawn {GRACE} s)."
    )


def left_behind() -> list[str]:
    """This play's containers, networks and cgroups that still exist."""
    with Docker(SOCKET) as docker:
        found = [
            name
            for c in docker.containers("plancton.instance")
            for name in c.names
            if c.image.startswith(IMAGE)
        ]
    return found + cgroups_left(SLICE)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="plancton-quickstart-") as directory:
        play = Play(Path(directory))
        with Docker(SOCKET) as docker:
            import_busybox(docker, IMAGE, TAG)
        rows, alone, shared = perform(play)
    for line in table(play, rows, alone, shared):
        print(line)
    left = left_behind()
    if left:
        sys.exit(f"quickstart: left behind: {', '.join(left)}")
    print(f"\nNo container, process, network or cgroup is left behind; the packages, the image {IMAGE}:{TAG}")
    print("and the virtual environment .venv stay. Next: plancton init, then plancton run (see README.md).")


if __name__ == "__main__":
    main()
