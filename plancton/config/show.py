"""The configuration as it is shown: what is in force, every key, `init`'s file, the JSON Schema."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, get_args

import msgspec
import yaml

from plancton.config.host_rule import HostRule
from plancton.config.hours import Hours
from plancton.config.key_types import section_in_list, section_of, takes
from plancton.config.profiles import Setting
from plancton.config.schema import Config, Section
from plancton.units import Duration, Portion, Rate, Size

HEADING = """\
# Plancton's configuration. Every key is optional; what is commented out shows the default.
# `plancton check` validates this file and says how many workers would fit here now.
# It is read again when it changes.
"""
HOURS = r"^[A-Za-z0-9:, -]+$"


def effective(config: Config) -> str:
    """The configuration in force as YAML, environment values and passwords masked."""
    return as_yaml(in_force(config))


def in_force(config: Config) -> dict[str, Any]:
    """The same as data."""
    data: dict[str, Any] = msgspec.to_builtins(config, enc_hook=_encoded)
    data["worker"]["environment"] = dict.fromkeys(data["worker"]["environment"], "***")
    for database in data["monitoring"]["influxdb"]:
        database["url"] = re.sub("//[^/]*@", "//***@", database["url"])
    return data


def _encoded(value: object) -> object:
    return _as_written(value) if isinstance(value, HostRule) else str(value)


def as_yaml(sections: Mapping[str, object]) -> str:
    """A file with these sections, all but ASCII escaped: PyYAML does not read U+0085 as it would write it."""
    return yaml.safe_dump(sections, sort_keys=False)


def one_line(value: object) -> str:
    return as_yaml({"key": value}).removeprefix("key: ").rstrip()


def _short(number: float) -> float:
    """2 instead of 2.0."""
    return number if number % 1 else int(number)


def _as_written(value: object) -> object:
    if isinstance(value, HostRule):
        return _as_written(value.given) if isinstance(value.given, str | Size) else _short(value.given)
    return str(value) if isinstance(value, Duration | Hours | Size | Portion | Rate) else value


# ---------------------------------------------------------------- of the schema


class Key(NamedTuple):
    """A key, what it takes, and what the schema says of it. ``example`` is for one without a default."""

    name: str
    takes: str
    required: bool
    default: object
    example: object
    description: str


def sections() -> Iterator[tuple[str, type[Section], list[Key]]]:
    for field in msgspec.structs.fields(Config):
        kind = section_of(field.type)
        assert kind is not None
        yield field.encode_name, kind, _keys(kind)


def sections_within(outer: type[Section]) -> Iterator[tuple[str, type[Section], list[Key]]]:
    """Those that keys of a section hold, with their keys."""
    for field in msgspec.structs.fields(outer):
        if (kind := section_of(field.type)) is not None:
            yield field.encode_name, kind, _keys(kind)


def entries() -> Iterator[tuple[str, list[Key]]]:
    """Each key that is a section or a list of sections, with their keys."""
    for name, kind, _ in sections():
        for inner, _kind, keys in sections_within(kind):
            yield f"{name}.{inner}", keys
        for field in msgspec.structs.fields(kind):
            if (item := section_in_list(field.type)) is not None:
                yield f"{name}.{field.encode_name}[]", _keys(item)


def _keys(kind: type[Section]) -> list[Key]:
    """Those that hold a value."""
    return [_key(each) for each in msgspec.structs.fields(kind) if section_of(each.type) is None]


def _key(field: msgspec.structs.FieldInfo) -> Key:
    meta = get_args(field.type)[1]
    default = field.default
    if default is msgspec.NODEFAULT:
        default = None if field.required else field.default_factory()
    if isinstance(default, float) and not isinstance(default, Duration):
        default = _short(float(default))
    example = meta.examples[0] if meta.examples else None
    return Key(
        field.encode_name, takes(field.type), field.required, _as_written(default), example, meta.description
    )


def example(settings: Mapping[str, Setting] | None = None) -> str:
    """The commented file that `plancton init` writes, with these ``settings`` in force."""
    lines = [HEADING]
    for name, kind, keys in sections():
        lines.append(f"{name}:\n  # {kind.__doc__}")
        for key in keys:
            line = f"{key.name}: {one_line(key.example or key.default)}"
            chosen = (settings or {}).get(f"{name}.{key.name}")
            if chosen is None:
                lines.append(f"  # {line:<25} # {key.description}")
            else:
                lines.append(f"  # {chosen.why}\n  {key.name}: {one_line(chosen.value)}")
        for inner, within, its_keys in sections_within(kind):
            lines.append(f"  # {f'{inner}: ':<25} # {within.__doc__}")
            for key in its_keys:
                lines.append(f"  #   {f'{key.name}: {one_line(key.default)}':<23} # {key.description}")
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def json_schema() -> bytes:
    (_, parts) = msgspec.json.schema_components(
        [Config], schema_hook=_with_unit, ref_template="#/$defs/{name}"
    )
    for name, kind, keys in sections():
        parts["Config"]["properties"][name] = {"$ref": f"#/$defs/{kind.__name__}"}
        for part, its_keys in ((kind, keys), *((inner, its) for _, inner, its in sections_within(kind))):
            for key in its_keys:
                if not key.required:
                    parts[part.__name__]["properties"][key.name]["default"] = key.default
        for name, inner, its_keys in sections_within(kind):
            parts[kind.__name__]["properties"][name] = {
                "$ref": f"#/$defs/{inner.__name__}",
                "default": {key.name: key.default for key in its_keys},
                "description": inner.__doc__,
            }
    values = parts["Worker"]["properties"]["environment"]["additionalProperties"]
    values["type"] = ["string", "number", "boolean"]  # each is the text as written
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Config",
        "$defs": parts,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


def _with_unit(kind: type) -> dict[str, Any]:
    """Text with a unit, or a number where that says it all; hours are text alone."""
    if kind is Hours:
        return {"type": "string", "pattern": HOURS}
    if issubclass(kind, HostRule):
        return {"type": ["string", "number"]}
    number = r"\d+(\.\d+)?\s*"
    size = r"([kKmMgGtT]i?)?[bB]"
    if kind is Rate:
        return {"type": "string", "pattern": rf"^{number}[kKmMgG][bB][iI][tT](/s)?$"}
    texts = {
        Duration: rf"^({number}(s|m|min|h|d|w)\s*)+$",
        Size: rf"^{number}{size}$",
        Portion: rf"^{number}(%|{size})$",
    }
    plain = "number" if kind is Duration else "integer"
    return {"anyOf": [{"type": "string", "pattern": texts[kind]}, {"type": plain, "minimum": 0}]}
