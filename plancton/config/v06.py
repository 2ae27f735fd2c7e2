"""Configurations of Plancton 0.6: what their flat keys mean here. Pure.

What each key meant is from 0.6.0's plancton/__init__.py (github.com/mconcas/plancton).
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from plancton.errors import PlanctonError
from plancton.units import shown

DEFAULTS = {"docker_image": "busybox", "docker_cmd": "/bin/sleep 60", "max_docks": "ncpus - 2"}
"""What 0.6 did without the key, where we would do something else that its users count on."""
LEAST_REFRESH, LEAST_GRACE, MOST_GRACE, MOST_SPAWNED = 60, 1, 86_400, 64
"""Bounds of `image.refresh`, `yield.grace_kill`, `yield.grace_spawn` (seconds) and `pool.spawn_per_tick`."""
DEVICE = ("PathOnHost", "PathInContainer", "CgroupPermissions")


class LegacyError(PlanctonError):
    """A value that 0.6 could not have used either; the text is `key: what is wrong`."""


class Translation(NamedTuple):
    """``sections`` is what our own file would hold; ``notes`` say where the meaning is not the same."""

    sections: dict[str, dict[str, Any]]
    notes: list[str]


def is_legacy(data: object) -> bool:
    """Whether the content of a YAML file is a configuration of 0.6's."""
    return isinstance(data, Mapping) and any(key in KEYS for key in data)


def translate(data: Mapping[str, Any]) -> Translation:
    """The same configuration in sections."""
    old = {**DEFAULTS, **{key: value for key, value in data.items() if value is not None}}
    if "secopt" in old:  # the name before 0.5
        old.setdefault("security_opts", old.pop("secopt"))
    sections = dict[str, dict[str, Any]]()
    notes = list[str]()
    for key, value in sorted(old.items(), key=lambda item: item[0] == "max_docks"):  # it looks at others
        if key not in KEYS:
            notes.append(f"{key}: is no key of 0.6's, which left it out without a word, and so is it here")
            continue
        place, convert = KEYS[key]
        if convert is not None:
            try:
                found = convert(value, old, notes)
            except (TypeError, ValueError, AttributeError, OverflowError):
                raise LegacyError(f"{key}: {shown(value)} is not what Plancton 0.6 took there") from None
            section, _, name = place.partition(".")
            sections.setdefault(section, {})[name] = found
        else:
            notes.append(f"{key}: {place}")
    return Translation(sections, [*notes, *_missed(old)])


def _missed(old: Mapping[str, Any]) -> list[str]:
    """What 0.6 did by default, and we don't."""
    notes = []
    if "user_group" not in old:
        notes.append(
            "user_group: 0.6 ran workers as root; here they are 65534:65534. If the pilot needs another user,"
            ' set worker.user ("0:0" is root)'
        )
    if not old.get("docker_privileged"):
        notes.append(
            "capabilities: 0.6 left Docker's default capabilities to a worker; here it has none but those in"
            " worker.capabilities, and no new privileges. A pilot that changes users needs SETUID and SETGID"
        )
    if "grace_kill" not in old:
        notes.append("grace_kill: was 120 s by default, and is 10 min, which throws away less work")
    return notes


# ---------------------------------------------------------------- one key each

Convert = Callable[[Any, Mapping[str, Any], list[str]], Any]


def _of(kind: type) -> Convert:
    """The same value; of another type it is refused by the name that it has in 0.6's file."""

    def convert(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return convert


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return int(number) if number.is_integer() else number


def _seconds(least: float, most: float, key: str) -> Convert:
    """A time within the bounds that it has here."""

    def convert(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
        number = _number(value)
        kept = min(max(number, least), most)
        if kept != number:
            notes.append(f"{key}: {number} s is {kept} s here")
        return f"{kept}s"

    return convert


def _lifetime(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    notes.append(
        "max_ttl: 0.6 killed a worker then; here it is asked to finish, and has worker.finish_timeout for it"
    )
    return f"{max(_number(value), 1)}s"


def _refresh(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    number = _number(value)
    if number < LEAST_REFRESH:
        notes.append(f"image_expiration: {number} s is {LEAST_REFRESH} s here")
    return f"{max(number, LEAST_REFRESH)}s"


def _spawned(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    notes.append("docks_per_loop: is for each second here; was for each main_sleep")
    return min(max(int(_number(value)), 1), MOST_SPAWNED)


def _cpus(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    return _number(value)


def _bytes(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    return int(_number(value))


def _workers(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    """0.6 evaluated it in Python 2, where `/` of whole numbers is a whole number."""
    if _number(old.get("docks_per_loop", 1)) < 1:
        notes.append("docks_per_loop: 0 started no worker; pool.max_workers is 0 for that")
        return 0
    text = str(value)
    text = re.sub(r"\bmax_dock_mem\b", "worker_memory", text)
    text = re.sub(r"\bmax_dock_swap\b", str(int(_number(old.get("max_dock_swap", 0)))), text)
    if not re.search(r"\d\.|\.\d|float", text):
        text = re.sub(r"(?<!/)/(?!/)", "//", text)
    return int(text) if text.strip().isdecimal() else text


def _command(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    """Text is split at each space, as 0.6 did; it meant no shell."""
    words = value if isinstance(value, list) else value.split(" ")
    return [str(word) for word in words if word != ""]


def _mounts(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    if value:
        notes.append(
            "binds: 0.6 mounted read-write while it said read-only; here a mount is read-only unless `:rw` is"
            " added. 0.6 relabelled each for SELinux: add `:Z` (for one worker alone) or `:z` (for all) where"
            " that is needed"
        )
    return _list(value)


def _devices(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    devices = []
    for device in _list(value, dict):
        if isinstance(device, dict):
            if unknown := set(device) - set(DEVICE):
                raise ValueError(unknown)
            parts = [str(device.get(key) or "") for key in DEVICE]
            device = ":".join([parts[0], parts[1] or parts[0], *([parts[2]] if parts[2] else [])])
        devices.append(device)
    return devices


def _capabilities(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    names = [name for name in _list(value) if name]
    dropped = [name for name in names if name[0] in "-−"]
    if dropped:
        notes.append(f"capabilities: {', '.join(dropped)}: a worker has none here but those that are added")
    added = [name.lstrip("+") for name in names if name not in dropped]
    if "" in added:
        raise ValueError
    return added


def _security(value: Any, old: Mapping[str, Any], notes: list[str]) -> Any:
    """Docker's older form has a colon for the equals sign."""
    if value:
        notes.append("security_opts: 0.6 left them out on a host without AppArmor; here they are always used")
    return [re.sub(r"^(apparmor|seccomp|label):", r"\1=", option) for option in _list(value)]


def _list(value: Any, *more: type) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, (str, *more)) for item in value):
        raise TypeError
    return value


KEYS: dict[str, tuple[str, Convert | None]] = {
    "cpus_per_dock": ("worker.cpus", _cpus),
    "max_dock_mem": ("worker.memory", _bytes),
    "max_dock_swap": ("worker.swap", _bytes),
    "max_ttl": ("worker.lifetime", _lifetime),
    "docker_cmd": ("worker.command", _command),
    "user_group": ("worker.user", _of(str)),
    "docker_privileged": ("worker.privileged", _of(bool)),
    "binds": ("worker.mounts", _mounts),
    "devices": ("worker.devices", _devices),
    "capabilities": ("worker.capabilities", _capabilities),
    "security_opts": ("worker.security_options", _security),
    "secopt": ("worker.security_options", _security),
    "max_docks": ("pool.max_workers", _workers),
    "docks_per_loop": ("pool.spawn_per_tick", _spawned),
    "grace_kill": ("yield.grace_kill", _seconds(LEAST_GRACE, MOST_GRACE, "grace_kill")),
    "grace_spawn": ("yield.grace_spawn", _seconds(LEAST_GRACE, MOST_GRACE, "grace_spawn")),
    "docker_image": ("image.name", _of(str)),
    "image_expiration": ("image.refresh", _refresh),
    "main_sleep": ("is not needed: Plancton looks once a second", None),
    "updateconfig": ("is not needed: the file is read again when it changes", None),
    "influxdb_url": ("is not supported: let your monitoring read `plancton status --json`", None),
}
"""Of each key of 0.6's: where it goes and how, or what takes its place."""
