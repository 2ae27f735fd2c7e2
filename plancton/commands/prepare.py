"""What root does for a supervisor without root: make the slice, and hand over what that one writes.

It lasts until the slice is made again, at the latest at the next boot. It may be done at any time, even while
the supervisor runs, which notices. At boot it may come before Docker, so it does without.
"""

import json
import os
import pwd
from pathlib import Path

from plancton.config.clone import clone_of
from plancton.config.clone import hand_over as hand_over_clone
from plancton.config.load import load_config
from plancton.config.resolve import Host, bounds, read_cpus
from plancton.config.schema import Config
from plancton.docker.client import Docker
from plancton.docker.errors import DockerError, DockerUnreachable
from plancton.errors import PlanctonError
from plancton.host.bandwidth import Rates
from plancton.host.cgroup_mounts import Layout, read_layout
from plancton.host.slice import Slice
from plancton.host.topology import Topology
from plancton.paths import default_paths, hand_over
from plancton.units import quoted, shown
from plancton.workers.network import PREPARED, make_network, require_network, wanted_network
from plancton.workers.reach_and_rates import enforce, wanted_rates

DAEMON_JSON = Path("/etc/docker/daemon.json")
SYSTEMD = Path("/run/systemd/system")
"""Exists where systemd is the init system, see sd_booted(3)."""


class PrepareError(PlanctonError):
    """Why nothing can be handed over, in one line."""


def prepare_host(user: str, config_file: Path | None) -> str:
    """Make the slice as root's supervisor would, and hand it over; one sentence about it."""
    if os.geteuid() != 0:
        raise PrepareError(
            f"only root can hand over what is root's: sudo plancton prepare --user {quoted(user)}"
        )
    entry = _find(user)
    if entry.pw_uid == 0:
        raise PrepareError("root needs no preparation: name the user that will run Plancton")
    own = default_paths({"HOME": entry.pw_dir}, entry.pw_uid).config
    paths = default_paths()
    path = config_file or (own if os.path.exists(own) else paths.config)
    config = load_config(path, missing_ok=config_file is None)
    layout = read_layout()
    driver, supposed = _driver(config.docker.socket, layout)
    workers_slice = Slice(layout, config.docker.slice, driver, config.docker.tier)
    workers_slice.set_up()
    if workers_slice.is_refused:
        raise PrepareError(f"{workers_slice.cpu}: can't be made or set up; `plancton doctor` may say why")
    set_bounds(workers_slice, config)
    files = workers_slice.hand_over(entry.pw_uid)
    hand_over(paths, entry.pw_uid)
    network = prepare_network(config)
    clone = clone_of(path) if config.config.refresh else None
    if clone is not None:
        hand_over_clone(clone.root, entry.pw_uid)
    return (
        f"{workers_slice.parent} is in tier {workers_slice.tier}; {entry.pw_name} may write its"
        f" {', '.join(files)}, and has {paths.run} and {paths.state}"
        + (f" and {clone.root}" if clone else "")
        + supposed
        + "".join(f"; {problem}" for problem in network)
    )


def set_bounds(workers_slice: Slice, config: Config) -> None:
    """What all workers together may use of this host, by the configuration."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cpus = read_cpus(config, Topology(), workers_slice.allowed_cpus())
    workers_slice.bound(bounds(config, Host(cpus.number, memory), cpus.for_workers))


def prepare_network(config: Config) -> tuple[str, ...]:
    """Have the rules of the workers' network hold, and its rates: these are kept by its bridge, so
    it is made for a supervisor that could not bound it. What does not hold, in a line each."""
    try:
        with Docker(config.docker.socket, timeout=5.0) as docker:
            wanted = wanted_network(config, PREPARED)
            if wanted_rates(config) != Rates() and require_network(docker, wanted.name) is None:
                make_network(docker, wanted)
            return enforce(config, docker)
    except DockerUnreachable:
        late = wanted_rates(config) != Rates()
        rates = ("Docker does not answer, so nothing bounds the workers' rate yet",) if late else ()
        return (*enforce(config, None), *rates)
    except DockerError as error:
        return (*enforce(config, None), str(error))


def _driver(socket: str, layout: Layout) -> tuple[str, str]:
    """Docker's cgroup driver, and a remark where Docker could not be asked."""
    try:
        with Docker(socket, timeout=5.0) as docker:
            return docker.info().cgroup_driver, ""
    except DockerUnreachable:
        pass
    try:
        settings = DAEMON_JSON.read_text(errors="replace")
    except OSError:
        settings = ""
    driver = usual_driver(settings, unified=not layout.v1, systemd=SYSTEMD.is_dir())
    return driver, f"; Docker does not answer: this assumes its cgroup driver is {driver}"


def usual_driver(settings: str, unified: bool, systemd: bool) -> str:
    """What Docker chooses by these settings, of daemon.json (UsingSystemd in moby's daemon_unix.go)."""
    try:
        options = dict(str(option).split("=", 1) for option in json.loads(settings)["exec-opts"])
    except (ValueError, KeyError, TypeError, RecursionError):
        options = {}
    default = "systemd" if unified and systemd else "cgroupfs"
    return options.get("native.cgroupdriver", default)


def _find(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError, ValueError):  # the last two: it has too many digits
        raise PrepareError(
            f"there is no user {shown(user)}: make one (useradd --system --groups docker)"
        ) from None
