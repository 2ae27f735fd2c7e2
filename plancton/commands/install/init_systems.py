"""How each init system starts Plancton, as files and commands."""

import shutil
from typing import NamedTuple

from plancton.commands.install.machine import Machine


class InitSystem(NamedTuple):
    """``files`` are paths below / and names in plancton/share; ``at_boot`` is what ``enable`` makes."""

    files: dict[str, str]
    start: str
    stop: tuple[str, ...]
    """All workers leave, and it is not started at boot any more."""
    restart: str
    """What a person types."""
    reload: str = "true"
    """After a change of the files."""
    forget: tuple[str, ...] = ()
    """When the files are gone."""
    at_boot: str = ""
    enable: str = ""
    has_failed: str = "false"
    upgraded: str = "true"
    """Restarts what else runs, by the version that is installed now."""
    docker: tuple[str, ...] = ("true", "true")
    """Does Docker run? Else, is it here? Then these start it."""


WEB = "plancton-web.service"
UNITS = ("plancton.slice", "plancton.service", "plancton-metrics.service", "plancton-metrics.timer", WEB)
"""The metrics' timer and the page are not enabled: they are for whoever wants them."""
SYSTEMD = InitSystem(
    {f"etc/systemd/system/{name}": name for name in UNITS},
    start="systemctl start plancton",
    stop=(
        f"systemctl disable --now {WEB}",
        "systemctl disable --now plancton-metrics.timer",
        "systemctl disable --now plancton",
    ),
    restart="systemctl start plancton",
    reload="systemctl daemon-reload",
    forget=(
        "systemctl stop plancton.slice",
        "systemctl daemon-reload",
        f"systemctl reset-failed plancton {WEB}",
    ),
    at_boot="etc/systemd/system/multi-user.target.wants/plancton.service",
    enable="systemctl enable plancton",
    has_failed="systemctl is-failed plancton",
    upgraded=f"systemctl try-restart {WEB}",
    docker=("systemctl is-active docker", "systemctl cat docker.service", "systemctl enable --now docker"),
)
OPENRC = InitSystem(
    {"etc/init.d/plancton": "plancton.openrc"},
    start="rc-service plancton start",
    stop=("rc-service plancton stop", "rc-update del plancton default"),
    restart="rc-service plancton restart",
    at_boot="etc/runlevels/default/plancton",
    enable="rc-update add plancton default",
    docker=(
        "rc-service docker status", "rc-service --exists docker",
        "rc-update add docker default", "rc-service docker start",
    ),
)  # fmt: skip


def init_system(machine: Machine) -> InitSystem:
    if (machine.root / "run/systemd/system").is_dir():
        return SYSTEMD
    if (machine.root / "run/openrc").is_dir() and shutil.which("openrc-run"):
        return OPENRC
    start = f"{machine.prefix}/bin/plancton-start"
    files = {start: "plancton.start"}
    if (machine.root / "etc/cron.d").is_dir() and (shutil.which("cron") or shutil.which("crond")):
        files["etc/cron.d/plancton"] = "plancton.cron"
    return InitSystem(files, start, (f"{machine.plancton} stop --wait",), restart=start)
