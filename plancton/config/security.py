"""Options of `worker.security_options`: checked, and translated as the docker command does.

Docker itself takes no file of seccomp rules and no `systempaths`: the command reads the file and
empties two lists of paths.
"""

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from plancton.errors import PlanctonError
from plancton.files import SHARE, read_regular
from plancton.units import shown

NO_NEW_PRIVILEGES = "no-new-privileges"
KNOWN = (
    "seccomp=FILE, seccomp=unconfined, seccomp=builtin, apparmor=PROFILE, label=…, systempaths=unconfined,"
    " no-new-privileges"
)
BUILTIN = "seccomp=builtin"
LARGEST = 1024 * 1024
"""Bytes of a file of seccomp rules: fifty times Docker's own."""


class SecurityError(PlanctonError):
    """A file of seccomp rules that can't be used, in one line."""


class Options(NamedTuple):
    """What the Engine gets; ``shows_paths``: without Docker's masked and read-only system paths."""

    options: list[str]
    shows_paths: bool


def problem(option: str) -> str:
    """What is wrong with an option; empty if nothing is."""
    kind, value = _split(option)
    wrong = ""
    match kind:
        case "seccomp" if value not in ("unconfined", "builtin") and not value.startswith("/"):
            wrong = "is none of seccomp=unconfined, seccomp=builtin and seccomp=/path/of/rules.json"
        case "apparmor" | "label" if not value.strip():
            wrong = f"names no {'profile' if kind == 'apparmor' else 'label'}"
        case "systempaths" if value != "unconfined":
            wrong = "can only be systempaths=unconfined"
        case "no-new-privileges" if value not in ("", "true", "false"):
            wrong = "is neither true nor false"
        case "seccomp" | "apparmor" | "label" | "systempaths" | "no-new-privileges":
            return ""
        case _:
            wrong = f"is of no known kind ({KNOWN})"
    return f"{shown(option)} {wrong}"


def _split(option: str) -> tuple[str, str]:
    """Its kind and its value, after an equals sign or, as in older Dockers, a colon."""
    kind, sign, value = option.partition("=")
    if not sign:
        kind, sign, value = option.partition(":")
    return kind, value


def canonical(option: str) -> str:
    """The one form of options that mean the same."""
    kind, value = _split(option)
    if kind == NO_NEW_PRIVILEGES and value != "false":
        return kind
    return f"{kind}={value}"


def _profile(option: str) -> str:
    """The path of its seccomp rules; empty if it has none."""
    kind, value = _split(option)
    return value if kind == "seccomp" and value.startswith("/") else ""


def read_profiles(options: Iterable[str]) -> dict[str, str]:
    """The files of seccomp rules that these options name: the content by path."""
    return {path: _read(path) for path in map(_profile, options) if path}


def _read(path: str) -> str:
    name = f"worker.security_options: seccomp={path}"
    try:
        rules = json.loads(read_regular(path, LARGEST)[0])
    except OSError as error:
        raise SecurityError(f"{name}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise SecurityError(f"{name}: is not JSON, which Docker's seccomp rules are") from None
    if not isinstance(rules, dict):
        raise SecurityError(f"{name}: is no set of seccomp rules ({{…}})")
    return json.dumps(rules, separators=(",", ":"))


def own_rules() -> str:
    """Plancton's seccomp rules: Docker's, less what the host has for all containers together, and
    what makes root act for them."""
    return json.dumps(json.loads((SHARE / "seccomp.json").read_bytes()), separators=(",", ":"))


def translate(options: Iterable[str], profiles: Mapping[str, str], rules: str = "") -> Options:
    """For the Engine; ``profiles`` are of `read_profiles`, ``rules`` those where no option names
    any. No new privileges unless they are asked for."""
    made = {canonical(option): _profile(option) for option in options}
    shows_paths = made.pop("systempaths=unconfined", None) is not None
    if f"{NO_NEW_PRIVILEGES}=false" not in made:
        made = {NO_NEW_PRIVILEGES: "", **made}
    if rules and not any(_split(option)[0] == "seccomp" for option in made):
        made[f"seccomp={rules}"] = ""
    made.pop(BUILTIN, None)  # what Docker does without being told; 20.10 does not know the word
    texts = [f"seccomp={profiles[path]}" if path else option for option, path in made.items()]
    return Options(texts, shows_paths)
