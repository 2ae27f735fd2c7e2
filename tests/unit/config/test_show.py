"""What is shown of a configuration: what is in force, and what the schema says about each key."""

import json
import re
from typing import Any, get_args

import msgspec
import yaml
from hypothesis import given
from hypothesis import strategies as st

from plancton.config.hours import Hours
from plancton.config.load import parse
from plancton.config.schema import (
    LEAST_MEMORY,
    Config,
    DockerSection,
    HTCondor,
    Image,
    Owner,
    Pool,
    Signal,
    Worker,
    WorkersNetwork,
    Yield,
)
from plancton.config.show import effective, example, json_schema
from plancton.units import Duration, Portion, Rate, Size

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
sizes = st.integers(LEAST_MEMORY, 10**14).map(Size.parse)
durations = st.floats(1, 80_000).map(Duration.parse)
portions = st.one_of(sizes.map(Portion.parse), st.integers(0, 100).map(lambda n: Portion.parse(f"{n}%")))
rates = st.integers(64_000, 10**12).map(Rate)
paths = st.from_regex(r"/[a-z/]{1,10}", fullmatch=True)
paths_below = st.from_regex(r"/[a-z]{1,9}", fullmatch=True)
signals = st.sampled_from(get_args(Signal))

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
        security_options=st.lists(
            st.sampled_from(["seccomp=unconfined", "label:disable", "apparmor=1:30"]), max_size=2
        ),
        disk=st.one_of(st.none(), sizes),
        shm_size=st.one_of(st.none(), sizes),
        ulimits=st.dictionaries(st.sampled_from(["core", "nofile"]), st.sampled_from(["0", "1:30", "-1"])),
        init=st.booleans(),
        runtime=st.one_of(st.none(), st.sampled_from(["runsc", "3.10", "0123"])),
        privileged=st.booleans(),
        read_only_root=st.booleans(),
        tmpfs=st.lists(st.builds("{}{}".format, paths_below, st.sampled_from(["", ":size=1m"])), max_size=2),
        volumes=st.lists(paths_below, max_size=2),
        network=st.builds(
            WorkersNetwork,
            reach=st.sampled_from(["all", "internet"]),
            allow=st.lists(st.sampled_from(["10.0.0.0/8", "192.0.2.1", "fd00::/8"]), max_size=2),
            rate_down=st.one_of(st.none(), rates),
            rate_up=st.one_of(st.none(), rates),
            lower_effort=st.booleans(),
            mtu=st.one_of(st.none(), st.integers(576, 9000)),
            subnet=st.one_of(st.none(), st.just("192.168.77.0/24")),
            ipv6=st.booleans(),
        ),
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
    owner=st.builds(
        Owner,
        reserve_cpus=st.floats(0, 4096),
        reserve_memory=portions,
        reserve_disk=portions,
        hours=st.sampled_from([None, Hours.parse("22:00-07:00, sat"), Hours.parse("mon-fri")]),
        pause_when=st.sampled_from([None, "on_battery", 'running("x") or hour < 7', "not metered"]),
        cpu_cap=st.sampled_from([None, 2, 1.5, "50%", '"25%" if sessions else "100%"', "ncpus - 1"]),
    ),
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
    docker=st.builds(DockerSection, socket=paths, slice=st.from_regex(r"x[a-z0-9_]{0,31}", fullmatch=True)),
)


@given(configs)
def test_effective_round_trip(config: Config) -> None:
    """The output of `check` is an equivalent configuration, whatever the values."""
    shown = effective(config)
    assert parse(shown, "FILE") == config, f"shown:\n{shown}"


def test_effective_masks_passwords() -> None:
    """An address may have an account in it, as 0.6's did: it is not shown."""
    text = "influxdb_url: [https://me:s3cret@h:8086/#db, http://h/#db]"
    first, second = yaml.safe_load(effective(parse(text, "FILE")))["monitoring"]["influxdb"]
    assert (first["url"], second["url"], first["every"]) == ("https://***@h:8086", "http://h", "1m")


def test_effective_masks_the_environment() -> None:
    """The names in a worker's environment are shown, but not the values."""
    shown = effective(parse("worker: {environment: {TOKEN: s3cret, PORT: 9618}}", "FILE"))
    assert yaml.safe_load(shown)["worker"]["environment"] == {"TOKEN": "***", "PORT": "***"}
    assert "s3cret" not in shown and "9618" not in shown


def test_example_is_the_defaults() -> None:
    """The file that `init` writes has all keys, and means the defaults with or without comment
    signs."""
    assert parse(example(), "FILE") == Config()
    full = re.sub(r"^  # (( {2})?\w+: .*)$", r"  \1", example(), flags=re.MULTILINE)
    keys = yaml.safe_load(full)
    pool = keys.pop("htcondor")
    seen = parse(json.dumps(keys), "FILE")
    assert seen.image.name == "registry.example.org/worker:1.0", "the example of an image's name"
    assert msgspec.structs.replace(seen, image=msgspec.structs.replace(seen.image, name=None)) == Config()
    defaults = yaml.safe_load(effective(Config()))
    assert defaults.pop("htcondor") is None, "without the section there is no pool"
    assert {s: sorted(k) for s, k in keys.items()} == {s: sorted(v) for s, v in defaults.items()}
    assert keys["worker"]["network"] == defaults["worker"]["network"]
    network_only = re.sub(r"^  # (network: .*)$", r"  \1", example(), flags=re.MULTILINE)
    assert parse(network_only, "FILE") == Config(), "its lines are all commented out"
    required = {key: pool[key] for key in ("central_manager", "token_file")}
    assert sorted(pool) == sorted(HTCondor.__struct_fields__), "a key of htcondor is not in the example"
    assert parse(json.dumps({"htcondor": pool}), "FILE") == parse(json.dumps({"htcondor": required}), "FILE")


# ---------------------------------------------------------------- the schema


def test_schema_has_every_key() -> None:
    """The JSON Schema has each section and key with default and description, and refuses others."""
    whole: dict[str, Any] = json.loads(json_schema())
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
    network = parts["WorkersNetwork"]
    assert network["additionalProperties"] is False
    assert {key: rule["default"] for key, rule in network["properties"].items()} == defaults["worker"][
        "network"
    ]
    assert re.search(network["properties"]["rate_up"]["anyOf"][0]["pattern"], "20Mbit/s")


def pattern(section: str, key: str) -> str:
    parts: dict[str, Any] = json.loads(json_schema())["$defs"]
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


@given(configs)
def test_schema_takes_what_is_shown(config: Config) -> None:
    """Every duration, size and portion that `check` prints matches the schema's patterns."""
    shown = yaml.safe_load(effective(config))
    for (section, key), wanted in PATTERNS.items():
        assert re.search(wanted, shown[section][key]), f"{section}.{key}: {shown[section][key]}"
