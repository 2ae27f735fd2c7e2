"""The configuration: every wrong input has its one line, and what is shown is what is in force."""

# ruff: noqa: E501 (the exact texts are easier to read whole)

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from plancton.config import schema as configuration
from plancton.config.htcondor import HTCondor
from plancton.config.schema import (
    Config,
    ConfigError,
    DockerSection,
    Host,
    Image,
    Owner,
    Pool,
    Worker,
    Yield,
    digest,
    effective,
    example,
    load,
    max_workers_of,
    never_starts,
    parse,
    policy_settings,
    schema,
)
from plancton.units import Duration, Portion, Size

HOST = Host(cpus=4, ram=16_000_000_000, swap=1_000_000_000, disk=100_000_000_000)
SECTIONS = "worker, pool, owner, yield, image, docker, htcondor, config"


def refusal(text: str) -> str:
    """The line that a text is refused with."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "FILE")
    return str(caught.value)


# ---------------------------------------------------------------- bad input

BAD = {
    "worker: {cpus: 1": "line 1, column 17: expected ',' or '}', but got '<stream end>'",
    "worker:\n\tcpus: 1": "line 2, column 1: found character '\\t' that cannot start any token",
    "worker:\n  cpus: 1\n cpus: 2": "line 3, column 2: expected <block end>, but found '<block mapping start>'",
    "worker: {}\n---\nworker: {}": "line 2, column 1: but found another document",
    "worker: *w": "line 1, column 9: found undefined alias 'w'",
    "a\0b": "line 1, column 2: character U+0000 is not allowed in YAML",
    "pool: {}\nworker: !!python/object/apply:os.system [id]": "line 2, column 9: could not determine a constructor"
    " for the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
    "worker:\n  cpus: 1\n  cpus: 2": "line 3, column 3: key 'cpus' is given twice",
    "1: 2": "line 1, column 1: a key must be text (put it in quotes)",
    "yes: 2": "line 1, column 1: a key must be text (put it in quotes)",
    "worker: {environment: {NO: 1}}": "line 1, column 24: a key must be text (put it in quotes)",
    "? [a]\n: 1": "line 1, column 3: a key must be text (put it in quotes)",
    "worker:\n  <<: {cpus: 1}": "line 2, column 3: merge keys (<<) are not supported: write the keys out",
    "worker: {user: 2020-99-01}": "line 1, column 16: '2020-99-01' is not what it looks like (put it in quotes)",
    "worker: {user: !!int x}": "line 1, column 16: 'x' is not what it looks like (put it in quotes)",
    'worker: {user: "a\\0b"}': "line 1, column 16: text must not hold null bytes or halves of characters",
    'worker: {user: "\\ud800"}': "line 1, column 16: text must not hold null bytes or halves of characters",
    "[" * 3000: "is nested too deeply to be a configuration",
    "wroker: {}": "wroker: unknown key; did you mean 'worker'?",
    "zebra: {}": f"zebra: unknown key; known: {SECTIONS}",
    "worker: {cpu: 1}": "worker.cpu: unknown key; did you mean 'cpus'?",
    "yield: {zebra: 1}": "yield.zebra: unknown key; known: grace_kill, grace_spawn, worthwhile, cap",
    'worker: {"cp\\nus": 1}': "worker.cp us: unknown key; did you mean 'cpus'?",
    "- a": "the file: must be a section (key: value lines), not a list",
    "hello": "the file: must be a section (key: value lines), not text",
    "worker: 5": "worker: must be a section (key: value lines), not a number",
    "worker: true": "worker: must be a section (key: value lines), not true or false",
    "worker: [cpus]": "worker: must be a section (key: value lines), not a list",
    "worker: {cpus: one}": "worker.cpus: must be a number, not text",
    "worker: {cpus: }": "worker.cpus: must be a number, not nothing",
    "worker: {cpus: 0}": "worker.cpus: must be > 0.0",
    "worker: {cpus: .nan}": "worker.cpus: must be > 0.0",
    "worker: {cpus: .inf}": "worker.cpus: must be <= 4096.0",
    "owner: {reserve_cpus: .inf}": "owner.reserve_cpus: must be <= 4096.0",
    "owner: {reserve_cpus: -1}": "owner.reserve_cpus: must be >= 0.0",
    "worker: {user: 1000}": "worker.user: must be text, not a whole number (put it in quotes)",
    "worker: {privileged: 1}": "worker.privileged: must be true or false, not a whole number",
    "worker: {mounts: /a}": "worker.mounts: must be a list, not text",
    "worker: {mounts: [1]}": "worker.mounts[0]: must be text, not a whole number (put it in quotes)",
    "worker: {mounts: [a:b]}": "worker.mounts: 'a:b' is not /host/path:/container/path[:ro|rw[,shared|rslave|…][,z|Z]]",
    "worker: {mounts: [/a:/b:x]}": "worker.mounts: '/a:/b:x' is not /host/path:/container/path[:ro|rw[,shared|rslave|…][,z|Z]]",
    "worker: {devices: [sda]}": "worker.devices: 'sda' is not /dev/NAME[:/dev/NAME[:rwm]]",
    "worker: {tmpfs: [tmp]}": "worker.tmpfs: 'tmp' is not /container/path",
    "worker: {tmpfs: [/]}": "worker.tmpfs: '/' is not /container/path",
    "worker: {volumes: ['']}": "worker.volumes: '' is not /container/path",
    "worker: {volumes: [a/b]}": "worker.volumes: 'a/b' is not /container/path",
    "worker: {read_only_root: 1}": "worker.read_only_root: must be true or false, not a whole number",
    "htcondor: {central_manager: a b, token_file: /t}": "htcondor.central_manager: 'a b' is not HOST or HOST:PORT",
    "worker: {environment: {A: [1]}}": "worker.environment: must be a number or text, not a list",
    "worker: {environment: {A: true}}": "worker.environment: must be a number or text,"
    " not true or false (put it in quotes)",
    "worker: {environment: {A=B: 1}}": "worker.environment: 'A=B' is not a variable's name",
    "worker: {memory: much}": "worker.memory: 'much' is not a size: write 2GB, 512MiB or a number of bytes",
    "worker: {memory: 2.5}": "worker.memory: 2.5 is not a size: write 2GB, 512MiB or a number of bytes",
    "worker: {memory: [1]}": "worker.memory: a list is not a size: write 2GB, 512MiB or a number of bytes",
    "worker: {memory: 5MB}": "worker.memory: a container needs at least 6MiB",
    "worker: {memory: -1}": "worker.memory: -1 is out of range",
    "worker: {memory: 10000000TB}": "worker.memory: '10000000TB' is out of range",
    "worker: {lifetime: 12 parsecs}": "worker.lifetime: '12 parsecs' is not a duration: write 90s, 15m, 12h, 2d or 1h30m",
    "worker: {lifetime: 0s}": "worker.lifetime: must be at least 1s",
    "worker: {leave_timeout: -5}": "worker.leave_timeout: -5 is out of range",
    "worker: {leave_timeout: .nan}": "worker.leave_timeout: nan is out of range",
    "worker: {leave_signal: SIGKILL}": "worker.leave_signal: 'SIGKILL' is not one of SIGTERM, SIGINT, SIGQUIT,"
    " SIGHUP, SIGUSR1, SIGUSR2",
    "yield: {grace_kill: 0s}": "yield.grace_kill: must be between 1s and 24h",
    "yield: {grace_spawn: 2d}": "yield.grace_spawn: must be between 1s and 24h",
    "yield: {worthwhile: 1.5}": "yield.worthwhile: must be <= 1.0",
    "owner: {reserve_memory: 120%}": "owner.reserve_memory: '120%' is not a percentage: write 0% to 100%,"
    " or a size like 2GB",
    "image: {name: 'a b'}": "image.name: 'a b' is not an image name such as registry.example.org/worker:1.0",
    "image: {policy: sometimes}": "image.policy: must be always or missing or never, not 'sometimes'",
    "image: {refresh: 5s}": "image.refresh: must be 0s (never) or at least 60s",
    "image: {auth_file: a.json}": "image.auth_file: 'a.json' is not the path of a file (it begins with /)",
    "config: {refresh: 5s}": "config.refresh: must be 0s (never) or at least 60s",
    "config: {signers: [admin]}": "config.signers: 'admin' is not an SSH public key (ssh-ed25519 AAAA… name)",
    "docker: {socket: docker.sock}": "docker.socket: 'docker.sock' is not the path of a unix socket",
    "docker: {slice: ../x}": "docker.slice: '../x' is not a plain name (a to z, 0 to 9 and _)",
    "docker: {slice: system}": "docker.slice: 'system' is a cgroup of the system's, whose priority must not be"
    " lowered: choose another",
    "docker: {slice: docker}": "docker.slice: 'docker' is a cgroup of the system's, whose priority must not be"
    " lowered: choose another",
    "docker: {slice: a-b}": "docker.slice: 'a-b' is not a plain name (a to z, 0 to 9 and _)",
    "pool: {spawn_per_tick: 0}": "pool.spawn_per_tick: must be >= 1",
    "pool: {spawn_per_tick: 1.5}": "pool.spawn_per_tick: must be a whole number, not a number",
    "pool: {max_workers: [1]}": "pool.max_workers: must be a number or text or nothing, not a list",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40].encode("unicode_escape").decode())
def test_bad_input(text: str) -> None:
    """Each wrong text is refused with the file, the key or the line and column, and what to do."""
    assert refusal(text) == f"FILE: {BAD[text]}"


NO_NUMBER = "which is not a number of workers"
KNOWN = "known: ncpus, ram_bytes, swap_bytes, worker_cpus, worker_memory"
GRAMMAR = "an expression has numbers, names, arithmetic, comparisons and min, max, int, round, but no"
BAD_EXPRESSIONS = {
    "ncpus -": "is not an expression: invalid syntax",
    "": "is not an expression: Sorry, cannot evaluate empty string",
    "cpus": f"uses an unknown name 'cpus'; {KNOWN}",
    "nan": f"uses an unknown name 'nan'; {KNOWN}",
    "ncpus / 0": "fails: division by zero",
    "ncpus.real": f"is not allowed: {GRAMMAR} Attribute",
    "().__class__.__bases__": f"is not allowed: {GRAMMAR} Attribute",
    "9**9**9": f"is not allowed: {GRAMMAR} Pow",
    "1 << 999999999": f"is not allowed: {GRAMMAR} LShift",
    "'x' * 3": f"is not allowed: {GRAMMAR} text",
    "'%999999999d' % 1": f"is not allowed: {GRAMMAR} text",
    "f'{1:>999999999}'": f"is not allowed: {GRAMMAR} JoinedStr",
    "[1, 2]": f"is not allowed: {GRAMMAR} List",
    "[x for x in (1,)]": f"is not allowed: {GRAMMAR} ListComp",
    "(lambda: 1)()": f"is not allowed: {GRAMMAR} Lambda",
    "x = 5": f"is not allowed: {GRAMMAR} Assign",
    "import os": f"is not allowed: {GRAMMAR} Import",
    "round(5, -999999999)": "fails: _round() takes 1 positional argument but 2 were given",
    "__import__(1)": "fails: Function '__import__' not defined, for expression '__import__(1)'",
    "9e999": f"gives inf, {NO_NUMBER}",
    "-9e999": f"gives -inf, {NO_NUMBER}",
    "9e999 - 9e999": f"gives nan, {NO_NUMBER}",
    "ncpus > 1": f"gives True, {NO_NUMBER}",
    "True": f"gives True, {NO_NUMBER}",
    "None": f"gives None, {NO_NUMBER}",
    "1j": f"gives 1j, {NO_NUMBER}",
    "min": f"gives <built-in function min>, {NO_NUMBER}",
    "ncpus < 1j": "fails: ",
    "-" * 90_000 + "1": "is not an expression: ",
    "(" * 90_000: "is not an expression: ",
    "1" + "+1" * 90_000: "is not an expression: ",
    "a\nb": "is not an expression: ",
}


@pytest.mark.parametrize(
    "expression", BAD_EXPRESSIONS, ids=lambda text: text[:30].encode("unicode_escape").decode()
)
def test_bad_expression(expression: str) -> None:
    """An expression that fails or is unsafe is refused when it is read, without being computed."""
    began = time.monotonic()
    seen = refusal(f"pool: {{max_workers: {json.dumps(expression)}}}")
    assert seen.startswith("FILE: pool.max_workers: ") and BAD_EXPRESSIONS[expression] in seen, (
        f"seen: {seen[:300]}"
    )
    assert len(seen) < 400 and "\n" not in seen, f"seen: {seen[:500]}"
    assert time.monotonic() - began < 10, "it was computed before it was refused"


GOOD_EXPRESSIONS = {
    "ncpus - 1": 3,
    "min(ncpus, ram_bytes // worker_memory)": 4,
    "max(1, ncpus * 0.6)": 2,
    "round(ncpus * 0.6)": 2,
    "int(swap_bytes / 1e9) + 2": 3,
    "0 if ncpus > 2 and not worker_cpus > 1 else 5": 0,
    "-3": 0,
    "ncpus - 100": 0,
    "1" + "0" * 400: configuration.MOST_WORKERS,
}


@pytest.mark.parametrize("expression", GOOD_EXPRESSIONS, ids=lambda text: text[:40])
def test_expression(expression: str) -> None:
    """An expression is evaluated with the host's figures and rounded down; less than none is none."""
    seen = max_workers_of(parse(f"pool: {{max_workers: {json.dumps(expression)}}}", "FILE"))(HOST)
    assert seen == GOOD_EXPRESSIONS[expression]


@pytest.mark.parametrize(("setting", "limit"), [("7", 7), ("2.9", 2), ("null", None), ("0", 0), ("-1", 0)])
def test_max_workers_as_a_number(setting: str, limit: int | None) -> None:
    """A plain number is an expression too, and null is no limit."""
    assert max_workers_of(parse(f"pool: {{max_workers: {setting}}}", "FILE"))(HOST) == limit


def test_expression_that_fails_only_here() -> None:
    """An expression that is fine elsewhere fails as ValueError on the host where it can't be computed."""
    limit = max_workers_of(parse("pool: {max_workers: 4 / (ncpus - 4)}", "FILE"))
    with pytest.raises(ValueError, match="fails: division by zero"):
        limit(HOST)


# ---------------------------------------------------------------- files


def test_no_file(tmp_path: Path) -> None:
    """A missing file is an error that tells of init where it was named, and all defaults where it was not."""
    path = tmp_path / "none.yaml"
    with pytest.raises(
        ConfigError, match=r"none\.yaml: no such file; `plancton init .*none\.yaml` writes one$"
    ):
        load(path)
    assert load(path, missing_ok=True) == Config()


def test_empty_file(tmp_path: Path) -> None:
    """An empty file, one of comments and one of empty sections are the defaults."""
    path = tmp_path / "config.yaml"
    for text in ("", "# nothing\n", "worker:\npool:\n", "\ufeffpool: {}\r\n"):
        path.write_text(text)
        assert load(path) == Config(), f"seen with {text!r}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00binary", "is not UTF-8 text"),
        ("user: é".encode("latin-1"), "is not UTF-8 text"),
        (b"#" * 300_000, "is longer than 256 KiB"),
    ],
)
def test_file_that_is_no_text(tmp_path: Path, data: bytes, words: str) -> None:
    """Binary and huge files are refused by name, not parsed."""
    path = tmp_path / "my config.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=rf"my config\.yaml: .*{words}"):
        load(path)


def test_no_regular_file(tmp_path: Path) -> None:
    """A directory, a device and a pipe are refused at once: a pipe without a writer must not stop the loop."""
    os.mkfifo(tmp_path / "pipe")
    signal.alarm(20)
    try:
        for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
            with pytest.raises(ConfigError, match="is not a regular file"):
                load(path)
    finally:
        signal.alarm(0)
    with pytest.raises(ConfigError, match="Not a directory"):
        load(tmp_path / "pipe" / "x")


def test_name_with_a_line_break(tmp_path: Path) -> None:
    """A path's line breaks and escape sequences stay out of the message."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "a\nb\x1b[31m.yaml")
    assert str(caught.value).isprintable(), f"seen: {caught.value!r}"


def test_alias_bombs() -> None:
    """Aliases that stand for billions of values are refused without being written out."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    bomb = "\n".join(levels)
    assert refusal(bomb) == f"FILE: a0: unknown key; known: {SECTIONS}"
    for key in ("memory", "command", "environment", "lifetime", "user", "cpus"):
        nested = "&a0 [x, x]"
        for n in range(1, 40):
            nested = f"&a{n} [{nested}, *a{n - 1}]"
        text = f"worker:\n  {key}: {nested}"
        assert len(refusal(text)) < 200, f"seen for {key}: {refusal(text)[:300]}"


# ---------------------------------------------------------------- what is shown

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
sizes = st.integers(configuration.LEAST_MEMORY, 10**14).map(Size.parse)
durations = st.floats(1, 80_000).map(Duration.parse)
portions = st.one_of(sizes.map(Portion.parse), st.integers(0, 100).map(lambda n: Portion.parse(f"{n}%")))
paths = st.from_regex(r"/[a-z/]{1,10}", fullmatch=True)
paths_below = st.from_regex(r"/[a-z]{1,9}", fullmatch=True)
signals = st.sampled_from(configuration.SIGNALS)

configs = st.builds(
    Config,
    worker=st.builds(
        Worker,
        command=st.one_of(st.none(), words, st.lists(words, max_size=3)),
        cpus=st.floats(0.01, 4096),
        memory=sizes,
        swap=sizes,
        user=words,
        environment=st.dictionaries(names, st.just("***"), max_size=3),
        mounts=st.lists(
            st.builds("{}:{}{}".format, paths, paths, st.sampled_from(["", ":ro", ":rw"])), max_size=2
        ),
        devices=st.lists(paths.map("/dev{}".format), max_size=2),
        capabilities=st.lists(words, max_size=2),
        security_options=st.lists(words, max_size=2),
        privileged=st.booleans(),
        read_only_root=st.booleans(),
        tmpfs=st.lists(st.builds("{}{}".format, paths_below, st.sampled_from(["", ":size=1m"])), max_size=2),
        volumes=st.lists(paths_below, max_size=2),
        lifetime=durations,
        leave_signal=signals,
        leave_timeout=durations,
        finish_signal=signals,
        finish_timeout=durations,
    ),
    pool=st.builds(
        Pool,
        max_workers=st.one_of(
            st.none(), st.integers(0, 99), st.floats(0, 99), st.sampled_from(["ncpus - 1", "7"])
        ),
        spawn_per_tick=st.integers(1, 64),
    ),
    owner=st.builds(Owner, reserve_cpus=st.floats(0, 4096), reserve_memory=portions, reserve_disk=portions),
    yielding=st.builds(
        Yield,
        grace_kill=durations,
        grace_spawn=durations,
        worthwhile=st.floats(0.01, 1),
        cap=st.sampled_from(["none", "room"]),
    ),
    image=st.builds(
        Image,
        name=st.one_of(st.none(), st.from_regex(r"[a-z0-9][a-z0-9./:@-]{0,20}", fullmatch=True)),
        refresh=st.one_of(st.just(Duration(0)), st.floats(60, 1e6).map(Duration.parse)),
    ),
    docker=st.builds(DockerSection, socket=paths, slice=st.from_regex(r"[a-z0-9_]{1,32}", fullmatch=True)),
)


@settings(deadline=None)
@given(configs)
def test_effective_round_trip(config: Config) -> None:
    """What `check` prints is a configuration that means the same, whatever the values."""
    shown = effective(config)
    assert parse(shown, "FILE") == config, f"shown:\n{shown}"


def test_effective_masks_the_environment() -> None:
    """The values of a worker's environment are not shown, their names are."""
    shown = effective(parse("worker: {environment: {TOKEN: s3cret, PORT: 9618}}", "FILE"))
    assert yaml.safe_load(shown)["worker"]["environment"] == {"TOKEN": "***", "PORT": "***"}
    assert "s3cret" not in shown and "9618" not in shown


def test_example_is_the_defaults() -> None:
    """The file that `init` writes is the defaults, as it is and with every key uncommented; it has all keys."""
    assert parse(example(), "FILE") == Config()
    full = re.sub(r"^  # (\w+: .*)$", r"  \1", example(), flags=re.MULTILINE)
    keys = yaml.safe_load(full)
    pool = keys.pop("htcondor")
    seen = parse(json.dumps(keys), "FILE")
    assert seen.image.name == "registry.example.org/worker:1.0", "the example of an image's name"
    assert msgspec.structs.replace(seen, image=msgspec.structs.replace(seen.image, name=None)) == Config()
    defaults = yaml.safe_load(effective(Config()))
    assert defaults.pop("htcondor") is None, "without the section there is no pool"
    assert {s: sorted(k) for s, k in keys.items()} == {s: sorted(v) for s, v in defaults.items()}
    required = {key: pool[key] for key in ("central_manager", "token_file")}
    assert sorted(pool) == sorted(HTCondor.__struct_fields__), "a key of htcondor is not in the example"
    assert parse(json.dumps({"htcondor": pool}), "FILE") == parse(json.dumps({"htcondor": required}), "FILE")


# ---------------------------------------------------------------- the schema


def test_schema_has_every_key() -> None:
    """The JSON Schema has each section and key with its default and what it is, and refuses others."""
    whole: dict[str, Any] = json.loads(schema())
    assert whole["$schema"].startswith("https://json-schema.org/")
    parts = whole["$defs"]
    pool = HTCondor(central_manager="cm", token_file="/t")
    defaults = yaml.safe_load(effective(Config(htcondor=pool)))
    defaults["htcondor"] |= {"central_manager": "none", "token_file": "none"}
    assert parts["HTCondor"]["required"] == ["central_manager", "token_file"]
    assert list(parts["Config"]["properties"]) == list(defaults)
    for section, keys in defaults.items():
        part = parts[parts["Config"]["properties"][section]["$ref"].removeprefix("#/$defs/")]
        assert part["additionalProperties"] is False, f"{section} takes unknown keys"
        seen = {key: rule.get("default", "none") for key, rule in part["properties"].items()}
        assert seen == keys, f"defaults of {section}"
        for key, rule in part["properties"].items():
            assert rule.get("description"), f"{section}.{key} is not described"


def pattern(section: str, key: str) -> str:
    parts: dict[str, Any] = json.loads(schema())["$defs"]
    reference = parts["Config"]["properties"][section]["$ref"].removeprefix("#/$defs/")
    kinds = parts[reference]["properties"][key]["anyOf"]
    return str(next(kind["pattern"] for kind in kinds if "pattern" in kind))


WITH_UNITS = [
    ("worker", "memory"),
    ("worker", "lifetime"),
    ("owner", "reserve_memory"),
    ("yield", "grace_kill"),
]
PATTERNS = {place: pattern(*place) for place in WITH_UNITS}


@settings(deadline=None)
@given(configs)
def test_schema_takes_what_is_shown(config: Config) -> None:
    """Every duration, size and portion that `check` prints is one to the schema's patterns, too."""
    shown = yaml.safe_load(effective(config))
    for (section, key), wanted in PATTERNS.items():
        assert re.search(wanted, shown[section][key]), f"{section}.{key}: {shown[section][key]}"


# ---------------------------------------------------------------- what it means on a host


def test_limits() -> None:
    """The limits are the configuration in base units: portions of this host's memory and disk."""
    made = policy_settings(
        parse("owner: {reserve_memory: 25%, reserve_disk: 1GB}\nworker: {cpus: 2}", "FILE"), HOST
    )
    assert (made.reserve_memory, made.reserve_disk, made.worker_cpus) == (4_000_000_000, 1_000_000_000, 2.0)
    assert (made.leave_timeout, made.grace_kill, made.lifetime) == (20.0, 600.0, 43_200.0)
    assert not made.uses_quota and policy_settings(parse("yield: {cap: room}", "FILE"), HOST).uses_quota


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("worker: {cpus: 8}", "worker.cpus is 8, but this host has 4 CPUs: make it smaller"),
        ("owner: {reserve_cpus: 3.5}", "but this host has 4 CPUs and 3.5 are reserved for the owner"),
        (
            "worker: {cpus: 4}\nyield: {worthwhile: 1}",
            "yield.worthwhile asks for a CPU that is never quite idle",
        ),
        (
            "worker: {memory: 15GB}",
            "worker.memory is 15GB, but owner.reserve_memory leaves 14.4 GB of this host's",
        ),
    ],
)
def test_never_starts(text: str, words: str) -> None:
    """A setting that can never start a worker on this host is named, with its remedy."""
    seen = never_starts(parse(text, "FILE"), HOST)
    assert seen is not None and words in seen, f"seen: {seen}"


def test_starts() -> None:
    """The defaults can start a worker on an ordinary host."""
    assert never_starts(Config(), HOST) is None


MADE_OF = {
    "command": ["a"],
    "cpus": 3,
    "memory": "3GB",
    "swap": "1GB",
    "user": "1:1",
    "environment": {"A": "b"},
    "mounts": ["/a:/b"],
    "devices": ["/dev/x"],
    "capabilities": ["CHOWN"],
    "security_options": ["seccomp=x"],
    "privileged": True,
    "read_only_root": True,
    "tmpfs": ["/tmp"],
    "volumes": ["/v"],
}
TREATED = {
    "lifetime": "1h",
    "leave_signal": "SIGQUIT",
    "leave_timeout": "1m",
    "finish_signal": "SIGINT",
    "finish_timeout": "1m",
}


def test_digest() -> None:
    """The digest changes with each key that a container is made of, and with no other."""
    base = digest(Config())
    assert set(MADE_OF) | set(TREATED) == set(Worker.__struct_fields__), "a key of worker is not in this test"
    for key, value in MADE_OF.items():
        assert digest(parse(json.dumps({"worker": {key: value}}), "FILE")) != base, f"unchanged by {key}"
    for key, value in TREATED.items():
        assert digest(parse(json.dumps({"worker": {key: value}}), "FILE")) == base, f"changed by {key}"
    assert digest(parse("pool: {max_workers: 1}\nimage: {name: x}\nowner: {reserve_cpus: 1}", "FILE")) == base
    one, other = ({"worker": {"environment": e}} for e in ({"A": "1", "B": "2"}, {"B": "2", "A": "1"}))
    assert digest(parse(json.dumps(one), "FILE")) == digest(parse(json.dumps(other), "FILE"))
