"""Configurations of Plancton 0.6: what their flat keys mean here. Pure.

What each key meant is from 0.6.0's plancton/__init__.py (github.com/mconcas/plancton).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from plancton.errors import PlanctonError
from plancton.units import shown

DEFAULTS = {"docker_image": "busybox", "docker_cmd": "/bin/sleep 60", "max_docks": "ncpus - 2"}
"""What 0.6 did without the key, where we would do something else that its users count on."""
DEVICE = ("PathOnHost", "PathInContainer", "CgroupPermissions")
PASSWORD_FILE = "/etc/plancton/influxdb-password"
Notes = list[str]
Convert = Callable[[Any, Notes], Any]


class LegacyError(PlanctonError):
    """A value that 0.6 could not have used either; the text is `key: what is wrong`."""


class Translation(NamedTuple):
    """``sections`` is what our own file would hold; ``notes`` say where the meaning is not the same."""

    sections: dict[str, dict[str, Any]]
    notes: Notes


class OldKey(NamedTuple):
    """Where a key of 0.6 goes (`section.key`) and how it is converted; ``note`` is what differs then.

    Without ``convert`` it goes nowhere.
    """

    place: str = ""
    convert: Convert | None = None
    note: str = ""


def is_legacy(data: object) -> bool:
    """Whether the content of a YAML file is a configuration of Plancton 0.6, or older."""
    return isinstance(data, Mapping) and any(key in KEYS or key in OLDER for key in data)


def _refuse_older(data: Mapping[str, Any]) -> None:
    """A file of before 0.6 does not say here what it said then."""
    for key, (version, remedy) in OLDER.items():
        alone = not any(other in KEYS for other in data)
        if key in data and (alone or SUCCESSORS.get(key, key) not in data):
            raise LegacyError(f"{key}: {_of_older(version, remedy)}")


def _note_on_unknown(name: str) -> str:
    return _of_older(*OLDER[name]) if name in OLDER else UNKNOWN


def _of_older(version: str, remedy: str) -> str:
    return f"is a key of {version}, which 0.6 ignored: {remedy}"


def translate(data: Mapping[str, Any]) -> Translation:
    _refuse_older(data)
    old = {**DEFAULTS, **{key: value for key, value in data.items() if value is not None}}
    if "secopt" in old:  # the name before 0.5
        old.setdefault("security_opts", old.pop("secopt"))
    sections = dict[str, dict[str, Any]]()
    notes = Notes()
    for name, value in old.items():
        key = KEYS.get(name) or OldKey(note=_note_on_unknown(name))
        said = [key.note] if key.note and value not in ("", [], False) else []
        if key.convert is not None:
            section, _, ours = key.place.partition(".")
            try:
                sections.setdefault(section, {})[ours] = key.convert(value, said)
            except (TypeError, ValueError, AttributeError, OverflowError):
                raise LegacyError(f"{name}: {shown(value)} is not what Plancton 0.6 took there") from None
        notes += [f"{name}: {text}" for text in said]
    sections["pool"]["max_workers"] = _max_workers(old, notes)
    return Translation(sections, [*notes, *_missed(old)])


def _max_workers(old: Mapping[str, Any], notes: Notes) -> int | float | str:
    """0.6 evaluated max_docks in Python 2, where `/` of whole numbers is a whole number."""
    if _number(old.get("docks_per_loop", 1)) < 1:
        notes.append("docks_per_loop: 0 started no worker; here pool.max_workers is 0 for that")
        return 0
    text = old["max_docks"]
    if not isinstance(text, str):
        return text  # type: ignore[no-any-return]
    text = re.sub(r"\bmax_dock_mem\b", "worker_memory", text)
    text = re.sub(r"\bmax_dock_swap\b", str(int(_number(old.get("max_dock_swap", 0)))), text)
    return text if re.search(r"\d\.|\.\d|float", text) else re.sub(r"(?<!/)/(?!/)", "//", text)


def _missed(old: Mapping[str, Any]) -> Iterator[str]:
    """What 0.6 did by default, and we don't."""
    if "user_group" not in old:
        yield (
            "user_group: 0.6 ran workers as root; here they are 65534:65534. If the pilot needs another user,"
            ' set worker.user ("0:0" is root)'
        )
    if not old.get("docker_privileged"):
        yield (
            "capabilities: 0.6 left a worker Docker's default capabilities; here it has only those in"
            " worker.capabilities, and no new privileges. A pilot that changes users needs SETUID and SETGID"
        )
    if "grace_kill" not in old:
        yield "grace_kill: was 120 s by default and is 10 min now, which throws away less work"


# ---------------------------------------------------------------- one key each


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return int(number) if number.is_integer() else number


def _require(value: Any, *kinds: type) -> Any:
    """The same value, where it is of one of these types; another is refused by the name of 0.6's key."""
    if not isinstance(value, kinds):
        raise TypeError
    return value


def _items(value: Any, *kinds: type) -> list[Any]:
    return [_require(item, *kinds) for item in _require(value, list)]


def _seconds(least: float, most: float = math.inf) -> Convert:
    """A time within the bounds that it has here."""

    def convert(value: Any, said: Notes) -> str:
        number = _number(value)
        kept = min(max(number, least), most)
        if kept != number:
            said.append(f"{number} s is {kept} s here")
        return f"{kept}s"

    return convert


def _command(value: Any, said: Notes) -> list[str]:
    """Text is split at each space, as 0.6 did; it meant no shell."""
    words = value.split(" ") if isinstance(value, str) else _items(value, str, int, float)
    return [str(word) for word in words if word != ""]


def _device(device: Any) -> str:
    if isinstance(device, str):
        return device
    if unknown := set(device) - set(DEVICE):
        raise ValueError(unknown)
    host, inside, access = (_require(device.get(key) or "", str) for key in DEVICE)
    return ":".join(filter(None, [host, inside or host, access]))


def _capabilities(value: Any, said: Notes) -> list[str]:
    names = [name for name in _items(value, str) if name]
    dropped = [name for name in names if name[0] in "-−"]
    if dropped:
        said.append(f"{', '.join(dropped)}: a worker has none here except those that are added")
    added = [name.lstrip("+") for name in names if name not in dropped]
    if "" in added:
        raise ValueError
    return added


def _security(value: Any, said: Notes) -> list[str]:
    """Docker's older form has a colon for the equals sign."""
    return [re.sub(r"^(apparmor|seccomp|label):", r"\1=", option) for option in _items(value, str)]


def _databases(value: Any, said: Notes) -> list[dict[str, Any]]:
    """Its databases, as URL#DATABASE. What is wrong is said without the address, which may have a
    password in it."""
    urls = [value] if isinstance(value, str) and value else value or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise LegacyError("influxdb_url: is neither URL#DATABASE nor a list of them")
    named = [url for url in dict.fromkeys(urls) if "#" in url]
    if len(named) < len(urls) and isinstance(value, str):
        raise LegacyError("influxdb_url: names no database: write URL#DATABASE")
    if len(named) < len(urls):
        said.append("0.6 ignored an address without #DATABASE, and one that is there twice; so it is here")
    return [_database(url) for url in named]


def _database(url: str) -> dict[str, Any]:
    """0.6 used a certificate that it could not verify where the address began with insecure_."""
    address, _, name = url.partition("#")
    secure = address.removeprefix("insecure_")
    found = {"url": secure.rstrip("/"), "database": name, "compatible": True}
    return found if secure == address else {**found, "insecure": True}


def without_passwords(sections: dict[str, dict[str, Any]], notes: Notes) -> None:
    """Each password is in a file of its own from here on: a note says which and what to do, without
    it. What is printed has no secret of the old file then."""
    for number, database in enumerate(sections.get("monitoring", {}).get("influxdb", []), 1):
        scheme, found, rest = database["url"].partition("://")
        account, at, host = rest.rpartition("@")
        if not found or not at:
            continue
        user, colon, _ = account.partition(":")
        database["url"], database["user"] = f"{scheme}://{host}", unquote(user)
        if colon:
            file = PASSWORD_FILE if number == 1 else f"{PASSWORD_FILE}-{number}"
            database["password_file"] = file
            notes.append(
                f"influxdb_url: write the password of {database['user']} into {file}, which only the user"
                " that runs Plancton may read (chmod 600)"
            )


UNKNOWN = "is not a key of 0.6, which ignored it, and so it is here"
OLDER = {
    "pilot_dock": ("Plancton 0.4", "write docker_image, or image.name in today's form"),
    "pilot_entrypoint": ("Plancton 0.4", "write docker_cmd, or worker.command in today's form"),
    "pilot_privileged": ("Plancton 0.4", "write docker_privileged, or worker.privileged in today's form"),
    "dock_condor_conf": ("Plancton 0.4", "write binds, or worker.mounts in today's form"),
    "parrot_wrapper_path": ("Plancton 0.4", "write binds, or worker.mounts in today's form"),
    "cputhresh": ("Plancton 0.4", "it is not needed: the owner's CPU is always given back"),
    "morbidity": ("Plancton 0.4", "it is not needed: Plancton looks when it has to (docker.tick)"),
    "rigidity": ("Plancton 0.4", "write grace_kill, or yield.grace_kill in today's form"),
    "influxdb_address": ("before 0.6", "write influxdb_url, or monitoring.influxdb in today's form"),
}
"""Keys that 0.6 ignored: of which version they are, and what to do."""
SUCCESSORS = {"pilot_dock": "docker_image", "pilot_entrypoint": "docker_cmd"}
"""Without the second, a file with the first would mean 0.6's default to us."""
KEYS = {
    "cpus_per_dock": OldKey("worker.cpus", lambda value, said: _number(value)),
    "max_dock_mem": OldKey("worker.memory", lambda value, said: int(_number(value))),
    "max_dock_swap": OldKey("worker.swap", lambda value, said: int(_number(value))),
    "max_ttl": OldKey(
        "worker.lifetime",
        _seconds(1),
        "0.6 killed a worker then; here it is asked to finish, and has worker.finish_timeout for it",
    ),
    "docker_cmd": OldKey("worker.command", _command),
    "user_group": OldKey("worker.user", lambda value, said: _require(value, str)),
    "docker_privileged": OldKey("worker.privileged", lambda value, said: _require(value, bool)),
    "binds": OldKey(
        "worker.mounts",
        lambda value, said: _items(value, str),
        "0.6 mounted read-write while it said read-only; here a mount is read-only unless `:rw` is added."
        " 0.6 relabelled each for SELinux: add `:Z` (for one worker alone) or `:z` (for all) where needed",
    ),
    "devices": OldKey(
        "worker.devices", lambda value, said: [_device(item) for item in _items(value, str, dict)]
    ),
    "capabilities": OldKey("worker.capabilities", _capabilities),
    "security_opts": OldKey(
        "worker.security_options",
        _security,
        "0.6 left them out on a host without AppArmor; here they are always used",
    ),
    "secopt": OldKey("worker.security_options", _security),
    "max_docks": OldKey("pool.max_workers", lambda value, said: _require(value, int, float, str)),
    "docks_per_loop": OldKey(
        "pool.spawn_per_tick",
        lambda value, said: min(max(int(_number(value)), 1), 64),
        "is per second here; it was per main_sleep",
    ),
    "grace_kill": OldKey("yield.grace_kill", _seconds(1, 86_400)),
    "grace_spawn": OldKey("yield.grace_spawn", _seconds(1, 86_400)),
    "docker_image": OldKey("image.name", lambda value, said: _require(value, str)),
    "image_expiration": OldKey("image.refresh", _seconds(60)),
    "main_sleep": OldKey(note="is not needed: Plancton looks when it has to (docker.tick)"),
    "updateconfig": OldKey(note="is not needed: the file is read again when it changes"),
    "influxdb_url": OldKey(
        "monitoring.influxdb",
        _databases,
        "0.6's series go on as they were (compatible), once a minute; Plancton's own are sent, too",
    ),
}
"""What each key of 0.6 is here."""
