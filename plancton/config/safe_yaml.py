"""YAML read safely, and made into a section; what is wrong is said by file and key, or line and column.

Where the schema says that a value is text, it is the text as written: to YAML 1.1, 3.10 is 3.1,
0123 is 83, and 12:30 is 750.
"""

import re
from collections.abc import Set
from datetime import date
from typing import Any, TypeVar, get_args, get_origin

import msgspec
import yaml

from plancton.config.key_types import alternatives, section_in_list, section_of, takes, takes_null
from plancton.config.schema import Section
from plancton.errors import PlanctonError
from plancton.units import Number, did_you_mean, shown

S = TypeVar("S", bound=Section)

MOST_DEEP = 32
"""Levels of sections and lists; a configuration has four."""
MOST_VALUES = 20_000
"""Keys and values of a file; a configuration has some hundreds."""


class ConfigError(PlanctonError):
    """A configuration that can't be used, in one line."""


_NUMBER = re.compile(r"[-+]?(?=\.?\d)(0|[1-9]\d*)?(\.\d+)?([eE][-+]?\d+)?", re.ASCII)
"""What people take for a number, too: without YAML 1.1's octal and sexagesimal ones."""
_TAG = "tag:yaml.org,2002:"
_NUMBER_TAG = "!number"
_RESOLVER = yaml.resolver.Resolver()


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice: the first one would be lost without a word.

    With ``last_counts`` it does as PyYAML: the last one counts. An alias is refused: some hundred
    bytes of them stand for any amount of memory. So is what is too deep or too much to be meant.
    """

    last_counts = False
    depth = values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _problem(f"aliases (*{event.anchor}) are not supported: write the value out", event)
        self.depth, self.values = self.depth + 1, self.values + 1
        if self.depth > MOST_DEEP:
            raise _problem("is nested too deeply to be a configuration", event)
        if self.values > MOST_VALUES:
            raise _problem(f"more than {MOST_VALUES} keys and values are not a configuration", event)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # nested ones would grow without bound
                raise _problem("merge keys (<<) are not supported: write the keys out", key)
            if key.tag != "tag:yaml.org,2002:str":
                raise _problem("a key must be text (put it in quotes)", key)
            if key.value in seen and not self.last_counts:
                raise _problem(f"key {shown(key.value)} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            if node.tag == _NUMBER_TAG:
                return Number(node.value)
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # PyYAML makes dates and numbers by Python's own means, and lets them fail
            raise _problem(
                f"{shown(node.value)} is not what it looks like (put it in quotes)", node
            ) from None
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise _problem("text must not hold null bytes or halves of characters", node)
        return value


def _problem(text: str, place: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = place.start_mark
    return yaml.MarkedYAMLError(problem=text, problem_mark=mark)


def read_yaml(text: str, name: str, kind: type[Section], older: Set[str] = frozenset()) -> Any:
    """What is in a YAML text, whatever it means; ``name`` is what errors call it.

    What is text in a section of this ``kind`` is as written. In a file with one of the
    ``older`` keys the last of several equal keys counts; `doubled` names them.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        loader.last_counts = any(key in older for key in _keys(node))
        return loader.construct_document(_with_text(node, kind))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{name}:{where} {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        sign = f"character U+{ord(text[error.position]):04X}"
        raise ConfigError(f"{name}: line {line}, column {column}: {sign} is not allowed in YAML") from None


def doubled(text: str) -> list[str]:
    """The keys that a YAML text, which can be read, has twice at its top."""
    keys = _keys(yaml.compose(text, Loader=yaml.SafeLoader))
    return sorted({key for key in keys if keys.count(key) > 1})


def _keys(node: yaml.Node | None) -> list[str]:
    scalars = node.value if isinstance(node, yaml.MappingNode) else []
    return [key.value for key, _ in scalars if isinstance(key, yaml.ScalarNode)]


# ---------------------------------------------------------------- text as written


def _with_text(node: yaml.Node, kind: Any) -> yaml.Node:
    """The same node for a value of this kind, where text is as written."""
    section, parts = section_of(kind), alternatives(kind)
    if isinstance(node, yaml.MappingNode):
        if section is not None:
            kinds = {field.encode_name: field.type for field in msgspec.structs.fields(section)}
            pairs = [(k, _with_text(v, kinds[k.value]) if _known(k, kinds) else v) for k, v in node.value]
            return _copy(node, node.tag, pairs)
        for part in parts:
            if get_origin(part) is dict:
                names, values = get_args(part)
                pairs = [(_with_text(k, names), _with_text(v, values)) for k, v in node.value]
                return _copy(node, node.tag, pairs)
    elif isinstance(node, yaml.SequenceNode):
        for part in parts:
            if get_origin(part) is list:
                return _copy(node, node.tag, [_with_text(item, get_args(part)[0]) for item in node.value])
    elif _is_written_plainly(node) and str in parts:
        return _copy(node, _tag_of_text(node, parts), node.value)
    return node


def _known(key: yaml.Node, kinds: dict[str, Any]) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value in kinds


def _is_written_plainly(node: yaml.Node) -> bool:
    """A scalar without quotes and without a tag of its own."""
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    implicit = _RESOLVER.resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
    return plain and bool(node.tag == implicit)


def _tag_of_text(node: yaml.Node, parts: tuple[Any, ...]) -> str:
    """Its tag where text is possible; null is never text, and a number or true may be
    one: a value that may be anything keeps how its number is written."""
    if node.tag == f"{_TAG}null" or (node.tag == f"{_TAG}bool" and bool in parts):
        return str(node.tag)
    if float in parts and _NUMBER.fullmatch(node.value):
        return _NUMBER_TAG if bool in parts else str(node.tag)
    if float in parts and re.fullmatch(r"[-+]?\.(inf|nan)", node.value, re.IGNORECASE):
        return str(node.tag)
    return f"{_TAG}str"


def _copy(node: yaml.Node, tag: str, value: Any) -> yaml.Node:
    style = {"flow_style": node.flow_style} if isinstance(node, yaml.CollectionNode) else {"style": None}
    return type(node)(tag, value, node.start_mark, node.end_mark, **style)


# ---------------------------------------------------------------- into a section


def to_section(data: Any, kind: type[S], name: str) -> S:
    """A whole file as this section; ``name`` is what errors call it."""
    if isinstance(data, dict):  # a section whose lines are all commented out is an empty one
        data = {key: value for key, value in data.items() if value is not None}
    try:
        return _section({} if data is None else data, kind, "")
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None


def _section(data: Any, kind: type[S], place: str) -> S:
    if not isinstance(data, dict):
        # Of a list: it may be 0.6's address of a database, with a password in it.
        given = "text" if isinstance(data, str) and place.endswith("]") else _given(data)
        raise ValueError(f"{place or 'the file'}: must be a section (key: value lines), not {given}")
    prefix = f"{place}." if place else ""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in data.items():
        if key not in fields:
            raise ValueError(f"{prefix}{_unknown(key, list(fields))}")
        values[fields[key].name] = _value(value, fields[key].type, f"{prefix}{key}")
    for key, field in fields.items():
        if field.required and key not in data:
            raise ValueError(f"{prefix}{key}: is missing")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def _unknown(key: str, known: list[str]) -> str:
    short = key if len(key) <= 64 else f"{key[:63]}…"
    return f"{short}: unknown key; {did_you_mean(short, known)}"


def _value(value: Any, kind: Any, place: str) -> Any:
    section, parts = section_of(kind), alternatives(kind)
    if value is None and takes_null(kind):
        return None
    if section is not None:
        # Within another one as well, one whose lines are all commented out is an empty one.
        return _section({} if value is None else value, section, place)
    if isinstance(value, list) and (item := section_in_list(kind)) is not None:
        return [_section(each, item, f"{place}[{number}]") for number, each in enumerate(value)]
    for part in parts:
        if get_origin(part) is type(value):  # what is said is of the first item that is wrong
            for item in value.values() if isinstance(value, dict) else value:
                _value(item, get_args(part)[-1], place)
    parse = getattr(parts[0], "parse", None)
    try:
        return parse(value) if parse else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        quotes = " (put it in quotes)" if str in parts and isinstance(value, int | float | date) else ""
        raise ValueError(f"{place}: must be {takes(kind)}, not {_given(value)}{quotes}") from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _given(value: Any) -> str:
    """A value as YAML has it."""
    if value is None:
        return "nothing"
    return str(value).lower() if isinstance(value, bool | date) else shown(value)
