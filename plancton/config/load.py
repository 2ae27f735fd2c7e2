"""Reads a configuration: a file of the host's own, one in a repository's clone, or one of Plancton 0.6's."""

import os
from pathlib import Path
from typing import Any

import msgspec

from plancton.config import v06
from plancton.config.clone import Clone, clone_of
from plancton.config.condor_environment import WORKER_IMAGE, worker_settings
from plancton.config.host_rule import host_facts
from plancton.config.owner_rules import Rules
from plancton.config.repository_limits import permitted
from plancton.config.safe_yaml import ConfigError, doubled, read_yaml, to_section
from plancton.config.schema import Config, Worker
from plancton.files import Unsuitable, read_regular
from plancton.units import quoted, shown

LARGEST = 256 * 1024
"""Bytes of a configuration file: a hundred times what one needs, and still read within a second or two."""


def load_config(path: Path, missing_ok: bool = False) -> Config:
    """The configuration in a file; without one, when that is allowed, all defaults."""
    clone = clone_of(path)
    if clone is not None:
        return load_from(clone, path, path)
    try:
        return parse(_read(path, path), str(path))
    except FileNotFoundError:
        if missing_ok:
            return Config()
        raise ConfigError(f"{path}: no such file; `plancton init {quoted(path)}` writes one") from None


def load_from(clone: Clone, path: Path, file: Path) -> Config:
    """A configuration from a repository that is, or will be, at ``path``, if this host permits it."""
    try:
        config = parse(_read(file, path), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: the repository has no such file") from None
    return permitted(config, clone, path)


def _read(path: Path, name: Path) -> str:
    try:
        return read_regular(path, LARGEST)[0].decode("utf-8")
    except FileNotFoundError:
        raise
    except Unsuitable as error:
        raise ConfigError(f"{name}: {error.strerror}, so it is not a configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"{name}: can't be read: {reason}") from None


def parse(text: str, name: str) -> Config:
    """The configuration in a YAML text; ``name`` is what errors call it."""
    data = _data(text, name)
    if v06.is_legacy(data):
        data = _from_legacy(data, name)
    config = to_section(data, Config, name)
    try:
        config = _for_htcondor(config, set((data or {}).get("worker") or {}))
        Rules(config)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    return config


def _for_htcondor(config: Config, keys: set[str]) -> Config:
    """With an `htcondor` section, workers are made of it and of these ``keys`` of `worker`."""
    if config.htcondor is None:
        return config
    by_hand = {key: getattr(config.worker, key) for key in keys}
    settings = worker_settings(config.htcondor, by_hand, os.uname().nodename, host_facts())
    image = config.image if config.image.name else msgspec.structs.replace(config.image, name=WORKER_IMAGE)
    return msgspec.structs.replace(config, worker=Worker(**settings), image=image)


# ---------------------------------------------------------------- 0.6's


def _from_legacy(data: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    ours = [field.encode_name for field in msgspec.structs.fields(Config) if field.encode_name in data]
    if ours:
        old = next(key for key in data if v06.is_legacy({key: None}))
        raise ConfigError(
            f"{name}: {old}: is a key of Plancton 0.6, but {ours[0]} is not: use one of the two forms"
        )
    try:
        return v06.translate(data).sections
    except v06.LegacyError as error:
        raise ConfigError(f"{name}: {error}") from None


def written(path: Path) -> Any:
    """What is in a file that can be loaded, as it is written there."""
    return _data(_read(path, path), str(path))


def _data(text: str, name: str) -> Any:
    return read_yaml(text, name, Config, v06.KEYS.keys())


def warning(path: Path) -> str | None:
    """What should be said of a file that was loaded; None where there is nothing."""
    try:
        text = _read(path, path)
        if not v06.is_legacy(_data(text, str(path))):
            return None
    except (FileNotFoundError, ConfigError):  # it changes at this moment: the next look at it will say
        return None
    twice = "".join(f"; {shown(key)} is given twice, and the last one counts" for key in doubled(text))
    return (
        f"{path}: has the form of Plancton 0.6, which is still understood;"
        f" `plancton migrate {quoted(path)}` prints it in today's form, and what differs{twice}"
    )
