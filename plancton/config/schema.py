"""The configuration: its schema, how it is read, and what is said when it can't be.

Every key is optional and unknown keys are refused. `load` is the only way in; `ConfigError` the
only way out other than a `Config`, and it always carries one line that names the file, the key and
the remedy.
"""

import ast
import difflib
import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import msgspec
import simpleeval
import yaml
from msgspec import Meta

from plancton.config import v06
from plancton.config.clone import Clone, clone_of
from plancton.config.htcondor import WORKER_IMAGE, HTCondor, worker_settings
from plancton.config.section import Section, default, require
from plancton.errors import PlanctonError
from plancton.files import SHARE, Unsuitable, read_regular
from plancton.host.cgroup_files import Bounds
from plancton.model import Settings
from plancton.units import Duration, Portion, Size, human_bytes, shown

SIGNALS = ("SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2")
LEAST_MEMORY = 6 * 1024 * 1024  # Docker refuses less (daemon/daemon_unix.go, linuxMinMemory)
OTHERS_SLICES = frozenset({"docker", "init", "kubepods", "libpod_parent", "machine", "system", "user"})
"""Top-level cgroups that Docker, systemd, Kubernetes and Podman use for others than us."""
LARGEST = 256 * 1024
"""Bytes of a configuration file: a hundred times what one needs, and still read within a second or two."""

TREATMENT = ("lifetime", "leave_signal", "leave_timeout", "finish_signal", "finish_timeout")
"""Keys of `worker` that say how workers are treated, not what they are made of: any worker will do."""


class ConfigError(PlanctonError):
    """A configuration that can't be used, in one line."""


MOUNT_OPTIONS = (("ro", "rw"), ("shared", "rshared", "slave", "rslave", "private", "rprivate"), ("z", "Z"))
"""What may follow a mount, one of each: access, propagation, SELinux label (Docker's `--volume`)."""


def _is_mount(text: str) -> bool:
    host, inside, options = [*text.split(":", 2), "", ""][:3]
    given = options.split(",") if options else []
    chosen = [[option for option in group if option in given] for group in MOUNT_OPTIONS]
    return (
        host.startswith("/")
        and inside.startswith("/")
        and not text.endswith(":")
        and len(given) == sum(map(len, chosen))
        and all(len(group) <= 1 for group in chosen)
    )


class Worker(Section, frozen=True):
    """What one worker is: the container that is donated."""

    command: list[str] | str | None = None
    cpus: Annotated[float, Meta(gt=0, le=4096)] = 1.0
    memory: Size = default(Size(2_000_000_000))
    swap: Size = default(Size(0))
    user: str = "65534:65534"
    environment: dict[str, str | int | float] = default({})
    mounts: list[str] = default([])
    devices: list[str] = default([])
    capabilities: list[str] = default([])
    security_options: list[str] = default([])
    privileged: bool = False
    read_only_root: bool = False
    tmpfs: list[str] = default([])
    volumes: list[str] = default([])
    lifetime: Duration = default(Duration(43_200))
    leave_signal: str = "SIGTERM"
    leave_timeout: Duration = default(Duration(20))
    finish_signal: str = "SIGTERM"
    finish_timeout: Duration = default(Duration(3_600))

    def __post_init__(self) -> None:
        require(self.memory >= LEAST_MEMORY, "memory: a container needs at least 6MiB")
        require(self.lifetime >= 1, "lifetime: must be at least 1s")
        for key in ("leave_signal", "finish_signal"):
            name = getattr(self, key)
            require(name in SIGNALS, f"{key}: {shown(name)} is not one of {', '.join(SIGNALS)}")
        for mount in self.mounts:
            require(
                _is_mount(mount),
                f"mounts: {shown(mount)} is not /host/path:/container/path[:ro|rw[,shared|rslave|…][,z|Z]]",
            )
        for key in ("tmpfs", "volumes"):
            for path in getattr(self, key):
                require(path.startswith("/") and path != "/", f"{key}: {shown(path)} is not /container/path")
        for device in self.devices:
            require(
                device.startswith("/dev/"), f"devices: {shown(device)} is not /dev/NAME[:/dev/NAME[:rwm]]"
            )
        for name in self.environment:
            require(name != "" and "=" not in name, f"environment: {shown(name)} is not a variable's name")


class Pool(Section, frozen=True):
    """How many workers."""

    max_workers: int | float | str | None = None
    spawn_per_tick: Annotated[int, Meta(ge=1, le=64)] = 4


class Owner(Section, frozen=True):
    """What is always left to the host's owner."""

    reserve_cpus: Annotated[float, Meta(ge=0, le=4096)] = 0.0
    reserve_memory: Portion = default(Portion.parse("10%"))
    reserve_disk: Portion = default(Portion.parse("5%"))


class Yield(Section, frozen=True):
    """How quickly workers give way and come back."""

    grace_kill: Duration = default(Duration(600))
    grace_spawn: Duration = default(Duration(60))
    worthwhile: Annotated[float, Meta(gt=0, le=1)] = 0.5
    cap: Literal["none", "room"] = "none"

    def __post_init__(self) -> None:
        for key in ("grace_kill", "grace_spawn"):
            require(1 <= getattr(self, key) <= 86_400, f"{key}: must be between 1s and 24h")


class Image(Section, frozen=True):
    """The image that workers are made of."""

    name: str | None = None
    policy: Literal["always", "missing", "never"] = "always"
    refresh: Duration = default(Duration(43_200))
    auth_file: str | None = None

    def __post_init__(self) -> None:
        require(
            self.name is None or re.fullmatch(r"[\w][\w./:@-]*", self.name) is not None,
            f"name: {shown(self.name)} is not an image name such as registry.example.org/worker:1.0",
        )
        require(not 0 < self.refresh < 60, "refresh: must be 0s (never) or at least 60s")
        require(
            self.auth_file is None or self.auth_file.startswith("/"),
            f"auth_file: {shown(self.auth_file)} is not the path of a file (it begins with /)",
        )


class DockerSection(Section, frozen=True):
    """Where the Engine is, and the cgroup that all workers live in."""

    socket: str = "/var/run/docker.sock"
    slice: str = "plancton"
    tier: Literal["kernel", "weight", "quota"] = "kernel"

    def __post_init__(self) -> None:
        require(self.socket.startswith("/"), f"socket: {shown(self.socket)} is not the path of a unix socket")
        require(
            re.fullmatch(r"[a-z0-9_]{1,32}", self.slice) is not None,
            f"slice: {shown(self.slice)} is not a plain name (a to z, 0 to 9 and _)",
        )
        require(
            self.slice not in OTHERS_SLICES,
            f"slice: {self.slice!r} is a cgroup of the system's, whose priority must not be lowered:"
            " choose another",
        )


_SIGNER = r"(ssh-(ed25519|rsa)|ecdsa-sha2-nistp\d+|sk-[\w-]+@openssh\.com) [A-Za-z0-9+/]{32,}={0,3}( [^\n]*)?"


class Repository(Section, frozen=True):
    """How a configuration from a repository follows it."""

    refresh: Duration = default(Duration(0))
    signers: list[str] = default([])

    def __post_init__(self) -> None:
        require(not 0 < self.refresh < 60, "refresh: must be 0s (never) or at least 60s")
        for key in self.signers:
            require(
                re.fullmatch(_SIGNER, key) is not None,
                f"signers: {shown(key)} is not an SSH public key (ssh-ed25519 AAAA… name)",
            )


class Config(Section, frozen=True):
    """The whole file."""

    worker: Worker = default(Worker())
    pool: Pool = default(Pool())
    owner: Owner = default(Owner())
    yielding: Yield = msgspec.field(name="yield", default_factory=Yield)
    image: Image = default(Image())
    docker: DockerSection = default(DockerSection())
    htcondor: HTCondor | None = None
    config: Repository = default(Repository())


# ---------------------------------------------------------------- reading


def load(path: Path, missing_ok: bool = False) -> Config:
    """The configuration in a file; without one, when that is allowed, all defaults."""
    root = clone_of(path)
    if root is not None:
        return load_from(Clone(root, root), path)
    try:
        return parse(_read(path, path), str(path))
    except FileNotFoundError:
        if missing_ok:
            return Config()
        raise ConfigError(f"{path}: no such file; `plancton init {path}` writes one") from None


def load_from(clone: Clone, path: Path) -> Config:
    """The configuration of that path in a repository's clone, as far as this host permits it."""
    from plancton.config.permission import require_permitted  # reads allow.yaml by this module

    try:
        config = parse(_read(clone.now(path), path), str(path))
    except FileNotFoundError:
        raise ConfigError(f"{path}: the repository has no such file") from None
    require_permitted(config, clone, path)
    return config


def _read(path: Path, name: Path) -> str:
    try:
        return read_regular(path, LARGEST)[0].decode("utf-8")
    except FileNotFoundError:
        raise
    except Unsuitable as error:
        raise ConfigError(f"{name}: {error.strerror}, so it is no configuration") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError(f"{name}: can't be read: {reason}") from None


def parse(text: str, name: str) -> Config:
    """The configuration in a YAML text; ``name`` is what errors call it."""
    config, data = read_yaml(text, name, Config)
    try:
        config = _for_htcondor(config, set(data.get("worker", {})) if data else set())
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    try:
        max_workers_of(config)
    except ValueError as error:
        raise ConfigError(f"{name}: pool.max_workers: {error}") from None
    return config


S = TypeVar("S", bound=Section)


def read_yaml(text: str, name: str, kind: type[S]) -> tuple[S, Any]:
    """A YAML text as ``kind``, and as it is written; ``name`` is what errors call it."""
    data = _data(text, name)
    if kind is Config and v06.is_legacy(data):
        data = _from_legacy(data, name)
    if isinstance(data, dict):  # a section whose lines are all commented out is an empty one
        data = {key: section for key, section in data.items() if section is not None}
    try:
        return msgspec.convert({} if data is None else data, kind, dec_hook=_decode), data
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_explain(str(error), data, kind)}") from None


def _data(text: str, name: str) -> Any:
    """What is in a YAML text, whatever it means."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        raise ConfigError(f"{name}:{where} {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"{name}: {_unprintable(text, error.position)}") from None
    except RecursionError:
        raise ConfigError(f"{name}: is nested too deeply to be a configuration") from None


def _from_legacy(data: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    own = [key for key in _known_keys("", Config) if key in data]
    if own:
        old = next(key for key in data if key in v06.KEYS)
        raise ConfigError(
            f"{name}: {old}: is a key of Plancton 0.6's, but {own[0]} is none: use one of the two forms"
        )
    try:
        return v06.translate(data).sections
    except v06.LegacyError as error:
        raise ConfigError(f"{name}: {error}") from None


def written(path: Path) -> Any:
    """What is in a file that can be loaded, as it is written there."""
    return _data(_read(path, path), str(path))


def warning(path: Path) -> str | None:
    """What should be said of a file that was loaded; None where there is nothing."""
    try:
        if not v06.is_legacy(written(path)):
            return None
    except (FileNotFoundError, ConfigError):  # it changes at this moment: the next look at it will say
        return None
    return (
        f"{path}: is of Plancton 0.6, and is understood; `plancton migrate {path}` prints it in today's form,"
        " with what is not the same"
    )


def _for_htcondor(config: Config, set_by_hand: set[str]) -> Config:
    """With an `htcondor` section the workers and their image are made of it."""
    if config.htcondor is None:
        return config
    by_hand = {key: getattr(config.worker, key) for key in set_by_hand}
    settings = worker_settings(config.htcondor, by_hand, os.uname().nodename)
    image = config.image if config.image.name else msgspec.structs.replace(config.image, name=WORKER_IMAGE)
    return msgspec.structs.replace(config, worker=Worker(**settings), image=image)


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":  # nested ones would grow without bound
                raise _problem("merge keys (<<) are not supported: write the keys out", key)
            if key.tag != "tag:yaml.org,2002:str":
                raise _problem("a key must be text (put it in quotes)", key)
            if key.value in seen:
                raise _problem(f"key {shown(key.value)} is given twice", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (yaml.YAMLError, RecursionError):
            raise
        except Exception:  # PyYAML makes dates and numbers by Python's own means, and lets them fail
            raise _problem(
                f"{shown(node.value)} is not what it looks like (put it in quotes)", node
            ) from None
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise _problem("text must not hold null bytes or halves of characters", node)
        return value


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _unprintable(text: str, position: int) -> str:
    before = text[:position]
    line, column = before.count("\n") + 1, position - before.rfind("\n")
    return f"line {line}, column {column}: character U+{ord(text[position]):04X} is not allowed in YAML"


def _decode(kind: type, value: object) -> object:
    parse_value: Callable[[object], object] = kind.parse  # type: ignore[attr-defined]
    return parse_value(value)


def _explain(message: str, data: object, whole: type[Section]) -> str:
    """msgspec's message as `key: what is wrong`, with the nearest known key for an unknown one."""
    text, _, place = message.partition(" - at ")
    path = place.strip("`").removeprefix("$").removeprefix(".").replace("[...]", "")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL)
    if unknown:
        known = _known_keys(path, whole)
        near = difflib.get_close_matches(unknown[1][:64], known, 1)
        name = unknown[1] if len(unknown[1]) <= 64 else f"{unknown[1][:63]}…"
        key = f"{path}.{name}" if path else name
        return f"{key}: unknown key; " + (
            f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        )
    if text.startswith("Expected `object`"):
        return f"{path or 'the file'}: must be a section (key: value lines), not {_type_name(data, path)}"
    wrong = re.fullmatch(r"Expected `(.*?)`, got `(.*?)`", text)
    if wrong:
        names = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
                 "array": "a list", "object": "key: value lines", "null": "nothing"}  # fmt: skip
        kinds, got = wrong[1].split(" | "), wrong[2]
        expected = " or ".join(names.get(k, k) for k in kinds if k != "int" or "float" not in kinds)
        quotes = " (put it in quotes)" if "str" in kinds and got in ("int", "float", "bool", "date") else ""
        return f"{path}: must be {expected}, not {names.get(got, f'a {got}')}{quotes}"
    other = text.removeprefix("Invalid enum value ")
    if other != text:
        return f"{path}: must be {' or '.join(_choices(path))}, not {other}"
    text = re.sub(r"^Expected `\w+` ([<>]=?) ([-\d.]+)$", r"must be \1 \2", text)
    key, colon, rest = text.partition(": ")
    if colon and key.isidentifier():
        return f"{path}.{key}: {rest}" if path else text
    return f"{path}: {text}"


def _choices(path: str) -> tuple[str, ...]:
    section, _, key = path.rpartition(".")
    (kind,) = (f.type for f in msgspec.structs.fields(_section_type(section)) if f.encode_name == key)
    return get_args(kind)


def _known_keys(path: str, whole: type[Section]) -> list[str]:
    kind = _section_type(path) if path else whole
    return [f.encode_name for f in msgspec.structs.fields(kind)]


def _section_type(section: str) -> type[Section]:
    kinds = {f.encode_name: f.type for f in msgspec.structs.fields(Config)}
    return HTCondor if section == "htcondor" else cast(type[Section], kinds[section])


def _type_name(data: object, path: str) -> str:
    for part in filter(None, path.split(".")):
        data = data.get(part) if isinstance(data, Mapping) else None
    return {
        str: "text",
        list: "a list",
        bool: "true or false",
        float: "a number",
        int: "a number",
        type(None): "nothing",
    }.get(type(data), "a value")


# ---------------------------------------------------------------- what it means on this host


class Host(msgspec.Struct, frozen=True):
    """The facts that a configuration is made plain with: CPUs, bytes."""

    cpus: int
    ram: int
    swap: int = 0
    disk: int = 0


def policy_settings(config: Config, host: Host) -> Settings:
    """The configuration in base units for this host."""
    return Settings(
        worker_cpus=config.worker.cpus,
        worker_memory=int(config.worker.memory),
        lifetime=float(config.worker.lifetime),
        leave_timeout=float(config.worker.leave_timeout),
        finish_timeout=float(config.worker.finish_timeout),
        spawn_per_tick=config.pool.spawn_per_tick,
        reserve_cpus=config.owner.reserve_cpus,
        reserve_memory=config.owner.reserve_memory.of(host.ram),
        reserve_disk=config.owner.reserve_disk.of(host.disk),
        worthwhile=config.yielding.worthwhile,
        grace_kill=float(config.yielding.grace_kill),
        grace_spawn=float(config.yielding.grace_spawn),
        uses_quota=config.yielding.cap == "room",
    )


def bounds(config: Config, host: Host, cpuset: str = "") -> Bounds:
    """What all workers together may take at the most; swap in the measure that their memory fits.

    ``cpuset`` are the CPUs beside those that the owner keeps (plancton.cores).
    """
    memory = max(LEAST_MEMORY, host.ram - config.owner.reserve_memory.of(host.ram))
    reserve = config.owner.reserve_cpus
    return Bounds(
        memory=memory,
        swap=memory // config.worker.memory * int(config.worker.swap),
        cpus=max(0.0, host.cpus - reserve) if reserve else None,
        cpuset=cpuset,
    )


def digest(config: Config) -> str:
    """Stands for what a worker is made of; changes when new workers differ from running ones."""
    made_of = {
        key: value for key, value in msgspec.structs.asdict(config.worker).items() if key not in TREATMENT
    }
    return hashlib.sha256(msgspec.json.encode(made_of, enc_hook=str, order="deterministic")).hexdigest()[:12]


def never_starts(config: Config, host: Host) -> str | None:
    """Why this configuration can never start a worker on this host; None when it can."""
    worker, reserve = config.worker, config.owner.reserve_cpus
    room = host.cpus - reserve
    memory = host.ram - config.owner.reserve_memory.of(host.ram)
    if worker.cpus > room:
        kept = f" and {reserve:g} are reserved for the owner" if reserve else ""
        return f"worker.cpus is {worker.cpus:g}, but this host has {host.cpus} CPUs{kept}: make it smaller"
    if worker.cpus > room * 0.98 and config.yielding.worthwhile > 0.8:
        return "yield.worthwhile asks for a CPU that is never quite idle: set it to 0.8 or less"
    if worker.memory > memory:
        return (
            f"worker.memory is {worker.memory}, but owner.reserve_memory leaves {human_bytes(memory)}"
            " of this host's: make one of them smaller"
        )
    return None


# ---------------------------------------------------------------- pool.max_workers


def _round(number: float) -> int:
    """Without digits: with them it can be made to compute for ever."""
    return round(number)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "int": int,
    "round": _round,
}
# fmt: off
GRAMMAR = frozenset({
    "Expr", "Constant", "Name", "Load", "Call", "UnaryOp", "UAdd", "USub", "Not", "IfExp", "BoolOp", "And",
    "Or", "BinOp", "Add", "Sub", "Mult", "Div", "FloorDiv", "Mod", "Compare", "Eq", "NotEq", "Lt", "LtE",
    "Gt", "GtE",
})
# fmt: on
"""What an expression may be made of, by the names in Python's ast: nothing that grows out of hand."""
MOST_WORKERS = 1_000_000


def max_workers_of(config: Config) -> Callable[[Host], int | None]:
    """pool.max_workers as a function of the host. It raises ValueError where the expression fails."""
    setting = config.pool.max_workers
    if setting is None:
        return lambda host: None
    evaluator = simpleeval.SimpleEval(functions=FUNCTIONS)
    try:
        parsed = evaluator.parse(str(setting))
        foreign = _foreign(parsed)
    except Exception as error:  # too deep, too long: Python's parser fails in many ways, too
        raise ValueError(f"{shown(setting)} is not an expression: {_first_line(error)}") from None
    if foreign:
        raise ValueError(
            f"{shown(setting)} is not allowed: an expression has numbers, names, arithmetic, comparisons"
            f" and {', '.join(FUNCTIONS)}, but no {foreign}"
        )

    def evaluate(host: Host) -> int | None:
        evaluator.names = {
            "ncpus": host.cpus,
            "ram_bytes": host.ram,
            "swap_bytes": host.swap,
            "worker_cpus": config.worker.cpus,
            "worker_memory": int(config.worker.memory),
        }
        try:
            value = evaluator.eval(str(setting), previously_parsed=parsed)
        except simpleeval.NameNotDefined as error:
            known = ", ".join(evaluator.names)
            raise ValueError(
                f"{shown(setting)} uses an unknown name {error.name!r}; known: {known}"
            ) from None
        except Exception as error:  # an expression can fail in as many ways as Python has operators
            raise ValueError(f"{shown(setting)} fails: {_first_line(error)}") from None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value in (math.inf, -math.inf)
            or value != value
        ):
            raise ValueError(f"{shown(setting)} gives {shown(value)}, which is not a number of workers")
        return math.floor(max(0, min(value, MOST_WORKERS)))

    evaluate(Host(cpus=2, ram=8_000_000_000, swap=1_000_000_000))
    return evaluate


def _foreign(parsed: ast.AST) -> str:
    """What has no place in an expression, in Python's words; empty when there is nothing."""
    for node in ast.walk(parsed):
        if type(node).__name__ not in GRAMMAR:
            return type(node).__name__
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            return "text"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".;")


# ---------------------------------------------------------------- showing it


def effective(config: Config) -> str:
    """The configuration in force as YAML, environment values masked."""
    return as_yaml(in_force(config))


def as_yaml(sections: Mapping[str, object]) -> str:
    """A file with these sections, all but ASCII escaped: PyYAML does not read U+0085 as it would write it."""
    return yaml.safe_dump(sections, sort_keys=False)


def in_force(config: Config) -> dict[str, object]:
    """The same as data."""
    data = msgspec.to_builtins(config, enc_hook=str)
    data["worker"]["environment"] = dict.fromkeys(data["worker"]["environment"], "***")
    return {key: _plain(section) for key, section in data.items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return str(value) if isinstance(value, Duration | Size) else value


def schema() -> bytes:
    """JSON Schema of the file, for editors."""
    (_, parts) = msgspec.json.schema_components([Config], schema_hook=_schema, ref_template="#/$defs/{name}")
    pool = HTCondor(central_manager="required", token_file="/required")
    defaults = _plain(msgspec.to_builtins(Config(htcondor=pool), enc_hook=str))
    comments, properties = _comments(example()), parts["Config"]["properties"]
    for section in properties:
        name = _section_type(section).__name__
        properties[section] = {"$ref": f"#/$defs/{name}"}
        for key, value in cast(dict[str, dict[str, object]], defaults)[section].items():
            optional = {} if key in parts[name].get("required", ()) else {"default": value}
            parts[name]["properties"][key] |= {"description": comments[section, key], **optional}
    for key in ("leave_signal", "finish_signal"):
        parts["Worker"]["properties"][key]["enum"] = SIGNALS
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Config",
        "$defs": parts,
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2)


def example() -> str:
    """The commented file that `plancton init` writes."""
    return (SHARE / "config.example.yaml").read_text(encoding="utf-8")


def _comments(text: str) -> dict[tuple[str, str], str]:
    """What the example says of each key: `  # key: default   # what it is`, below its section."""
    found, section = dict[tuple[str, str], str](), ""
    for line in text.splitlines():
        if heading := re.fullmatch(r"(\w+):", line):
            section = heading[1]
        elif key := re.fullmatch(r"  # (\w+): .*?\s# (.*)", line):
            found[section, key[1]] = key[2]
    return found


def _schema(kind: type) -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0}
    if kind is Duration:
        return {"anyOf": [{"type": "string", "pattern": r"^(\d+(\.\d+)?\s*(s|m|min|h|d|w)\s*)+$"},
                          {"type": "number", "minimum": 0}]}  # fmt: skip
    if kind is Size:
        return {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKmMgGtT]i?)?[bB]$"}, number]}
    return {"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*(%|([kKmMgGtT]i?)?[bB])$"}, number]}
