"""Turns the `htcondor` section into the settings of a worker that joins the pool. Pure.

The worker image (scripts/worker-image) holds what is the same for all pools; what differs goes into
the environment as ``_CONDOR_NAME``, which HTCondor puts above all of its files
(https://htcondor.readthedocs.io/en/latest/admin-manual/introduction-to-configuration.html).
"""

import re
from typing import Any

from plancton.config.host_rule import HostRule
from plancton.config.schema import HTCondor
from plancton.config.value_checks import require
from plancton.units import Duration, Number, Size

WORKER_IMAGE = "localhost/plancton-worker:latest"
"""The image unless another is named: `scripts/worker-image/build` makes it, no registry can serve it."""
VOLUME = "/var/lib/plancton"
"""The worker's own volume: the token comes here, and the jobs' files and reports."""
TOKENS, WORK = "tokens.d", "work"
REPORT = f"{VOLUME}/{WORK}/jobs"
"""One line for each job that has ended (scripts/worker-image/job-exit)."""
SCRATCH = ("/tmp", "/var/tmp")
"""Where programs write that don't know of their job's own directory."""
JOB_PROCESS = "condor_starter"
"""There is one such process for each running job."""

OVERHEAD = Size(64 * 1024 * 1024)
"""Memory that HTCondor's own processes and their logs in the tmpfs take of a worker's."""
UNCLAIMED_CHECK = 4
"""The startd looks at its patience once per UPDATE_INTERVAL: this many times in idle_shutdown."""
LONGEST_UPDATE = 300
"""HTCondor's default UPDATE_INTERVAL (seconds). Each worker has its own, of up to a quarter less: else
those of a large pool that were once in step stay so."""
KILLING = 5
"""Seconds that HTCondor gives itself to kill a job that has not gone in `vacate`."""
AFTER_VACATE = 15
"""Seconds after `vacate` in which a worker has ended for certain, `KILLING` included."""
AFTER_RETIREMENT = 600
"""Seconds for a job that has ended to send its output; then HTCondor and we wait no longer."""
JOB_LEASE = 2_400.0
"""Seconds: HTCondor's default JOB_DEFAULT_LEASE_DURATION. A pool may have another; one that is longer
does not help, as a worker gives up its claim after half an hour (6 times ALIVE_INTERVAL)."""

OWNER_IS_OURS = {
    "SYSAPI_GET_LOADAVG": "False",
    "KeyboardBusy": "False",
    "ConsoleBusy": "False",
    "StartIdleTime": "-2",
    "ContinueIdleTime": "-2",
}
"""Without load and keyboard, policies such as `use POLICY : DESKTOP` see a machine that nobody uses.
Otherwise workers would suspend each other: to each the others' jobs are its owner's load. A new
slot's KeyboardIdle is -1."""

NEEDED = {
    "DAEMON_LIST": "MASTER STARTD",
    "USE_SHARED_PORT": "True",
    "SEC_DEFAULT_AUTHENTICATION_METHODS": "IDTOKENS",
    "SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
    "SEC_TOKEN_DIRECTORY": f"{VOLUME}/{TOKENS}",
    "LOCAL_DIR": "/run/condor",
    "RUN": "/run/condor",
    "LOCK": "/run/condor/lock",
    "LOG": "/run/condor/log",
    "SPOOL": "/run/condor/spool",
    "EXECUTE": f"{VOLUME}/{WORK}/execute",
}
"""Without these it is no worker of ours, whatever a site's own files say for its other machines."""
IMAGES_OWN = frozenset({
    "START", "MAXJOBRETIREMENTTIME", "STARTD_ATTRS", "LOCAL_CONFIG_DIR", "CCB_ADDRESS",
    "CCB_RECONNECT_TIME", "CCB_HEARTBEAT_INTERVAL", "MASTER_UPDATE_INTERVAL", "MAX_DEFAULT_LOG",
    "MAX_NUM_DEFAULT_LOG", "NOT_RESPONDING_TIMEOUT", "RUNBENCHMARKS", "STARTER_JOB_HOOK_KEYWORD",
    "PLANCTON_HOOK_JOB_EXIT", "PLANCTON_HOOK_JOB_EXIT_TIMEOUT", "MAPPINGMETHOD", "USER_JOB_WRAPPER",
    "STARTD_CRON_JOBLIST", "STARTD_CRON_HOLD_EXECUTABLE", "STARTD_CRON_HOLD_ARGS", "STARTD_CRON_HOLD_MODE",
    "STARTD_CRON_HOLD_PERIOD", "PLANCTON_HOLD", "PLANCTON_FULL", "PLANCTON_FULL_REASON", "RESERVED_DISK",
    "PLANCTON_FACTS", "PLANCTONHOLD", "PLANCTONWAITS", "PLANCTONHOLDREASON", "PLANCTONENDS",
    "PLANCTONTIMELEFT", "PLANCTONLOST", "PLANCTONMEDIANLIFE", "KFLOPS", "MIPS", "HASSSHD",
})  # fmt: skip
"""What the image sets (scripts/worker-image/condor.conf), or a worker is told once it is made."""
_NO_NAME = re.compile(r"[^\w.-]", re.ASCII)
"""What no name of HTCondor's has."""


def worker_settings(
    section: HTCondor, set_by_hand: dict[str, Any], host_name: str, facts: dict[str, float]
) -> dict[str, Any]:
    """The `worker` section that makes pool members; what is ``set_by_hand`` there wins or is added.

    ``host_name`` is advertised as PlanctonHost; ``facts`` are this host's (host_rule.py).
    """
    cpus = _on("cpus", section.cpus, facts)
    memory = Size(_on("memory", section.memory, facts | {"cpus": cpus}))
    size = {"cpus": cpus, "memory": memory} | set_by_hand
    user = set_by_hand.get("user")
    uid, _, gid = ("65534" if user is None else user).partition(":")
    require(uid.isdecimal() and (not gid or gid.isdecimal()), "worker.user: must be UID:GID in numbers here")
    key = "worker.memory" if "memory" in set_by_hand else "htcondor.memory"
    require(size["memory"] >= 3 * OVERHEAD, f"{key}: a worker needs at least {Size(3 * OVERHEAD)}")
    ours = {
        "cpus": cpus,
        "memory": memory,
        "environment": _environment(section, float(size["cpus"]), int(size["memory"]), host_name),
        "mounts": [f"{section.config_dir}:/etc/condor/host.d:ro"] if section.config_dir else [],
        "tmpfs": ["/run/condor:size=64m,mode=1777"],
        "volumes": [VOLUME, *_scratch(set_by_hand)],
        "read_only_root": True,
        "leave_signal": "SIGQUIT",
        "leave_timeout": Duration(section.vacate + AFTER_VACATE),
        "finish_signal": "SIGTERM",
        "finish_timeout": Duration(section.retirement + AFTER_RETIREMENT),
    }
    return {key: _merged(ours.get(key), set_by_hand.get(key)) for key in ours | set_by_hand}


def _on(key: str, rule: HostRule, facts: dict[str, float]) -> float:
    try:
        return rule.on(facts)
    except ValueError as error:
        raise ValueError(f"htcondor.{key}: {error}") from None


def _scratch(set_by_hand: dict[str, Any]) -> list[str]:
    """Directories on disk for jobs, unless something else is mounted there."""
    tmpfs = {text.partition(":")[0] for text in set_by_hand.get("tmpfs") or []}
    mounts = {text.split(":")[1] for text in set_by_hand.get("mounts") or []}
    return [path for path in SCRATCH if path not in tmpfs | mounts]


# HTCondor's names know no capitals: a setting that is there twice would be one of the two.


def _merged(ours: Any, by_hand: Any) -> Any:
    if by_hand is None:
        return ours
    if ours is not None and isinstance(by_hand, list):
        return [*ours, *(item for item in by_hand if item not in ours)]
    if ours is not None and isinstance(by_hand, dict):
        named = {name.upper() for name in by_hand}
        return {name: value for name, value in ours.items() if name.upper() not in named} | by_hand
    return by_hand


def _environment(section: HTCondor, cpus: float, memory: int, host_name: str) -> dict[str, str]:
    host = next((name for name in section.attributes if name.upper() == "PLANCTONHOST"), "PlanctonHost")
    attributes = {host: host_name} | section.attributes
    if not section.ssh:  # else whether the image has one
        attributes["HasSshd"] = False
    name = f"$(HOSTNAME)@{_NO_NAME.sub('_', str(attributes[host]))}"
    patience = int(section.idle_shutdown)
    update = min(LONGEST_UPDATE, patience // UNCLAIMED_CHECK or LONGEST_UPDATE)
    settings = {
        "COLLECTOR_HOST": ", ".join(section.managers),
        "NUM_CPUS": str(max(1, int(cpus))),
        "MEMORY": str((memory - OVERHEAD) >> 20),
        "STARTD_NOCLAIM_SHUTDOWN": str(patience),
        "UPDATE_INTERVAL": f"$RANDOM_INTEGER({update * 3 // 4}, {update})",
        "PLANCTON_RETIREMENT": str(int(section.retirement)),
        "MachineMaxVacateTime": str(int(section.vacate)),
        "KILLING_TIMEOUT": str(KILLING),
        "SHUTDOWN_GRACEFUL_TIMEOUT": str(int(section.retirement) + AFTER_RETIREMENT),
        "PLANCTON_ATTRS": " ".join(attributes),
        "STARTD_NAME": name,
        "MASTER_NAME": name,
        "ENABLE_SSH_TO_JOB": str(section.ssh),
        **NEEDED,
        **OWNER_IS_OURS,
    }
    taken = IMAGES_OWN.union(map(str.upper, settings))
    for attribute in section.attributes:
        ours = attribute.upper() in taken
        require(not ours, f"htcondor.attributes: {attribute} is one of HTCondor's settings: choose another")
    settings |= {attribute: _literal(value) for attribute, value in attributes.items()}
    if section.start is not None:
        settings["START"] = section.start
    return {f"_CONDOR_{name}": value for name, value in settings.items()}


def _literal(value: bool | int | float | str) -> str:
    """A value as ClassAds write it."""
    if isinstance(value, str) and not isinstance(value, Number):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)
