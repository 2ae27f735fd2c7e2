"""The schema: every wrong value is refused in one line with its key, what it takes and what it
got."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from plancton.config.key_types import section_of, takes
from plancton.config.load import parse
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config, Section

BAD = [
    ("worker", "{cpus: one}", "a number > 0 and ≤ 4096, not 'one'"),
    ("worker", "{cpus: }", "not nothing"),
    ("worker", "{cpus: 0}", "> 0"),
    ("worker", "{cpus: .nan}", "not nan"),
    ("worker", "{cpus: .inf}", "≤ 4096"),
    ("worker", "{privileged: 1}", "true or false, not 1"),
    ("worker", "{read_only_root: 1}", "true or false, not 1"),
    ("worker", "{mounts: /a}", "a list, not '/a'"),
    ("worker", "{mounts: [/a:/b, 1]}", "'1' is not /host/path:/container/path"),
    ("worker", "{mounts: [a:b]}", "'a:b' is not /host/path:/container/path"),
    ("worker", "{mounts: [/a]}", "'/a' is not /host/path:/container/path"),
    ("worker", "{mounts: [/a:/b:x]}", "'/a:/b:x' is not /host/path:/container/path"),
    ("worker", "{devices: [sda]}", "'sda' is not /dev/NAME"),
    ("worker", "{tmpfs: [tmp]}", "'tmp' is not /container/path"),
    ("worker", "{tmpfs: [/]}", "'/' is not /container/path"),
    ("worker", "{volumes: ['']}", "'' is not /container/path"),
    ("worker", "{volumes: [a/b]}", "'a/b' is not /container/path"),
    ("worker", "{environment: 5}", "NAME: value lines, not 5"),
    ("worker", "{environment: {B: 1, A: [1]}}", "text, not a list"),
    ("worker", "{environment: {A=B: 1}}", "'A=B' is not a variable's name"),
    ("worker", "{environment: {'': 1}}", "'' is not a variable's name"),
    ("worker", "{ulimits: {files: 1}}", "'files' is none of core"),
    ("worker", "{ulimits: {nofile: many}}", "neither a number nor SOFT:HARD"),
    ("worker", "{ulimits: {nofile: '9:1'}}", "neither a number nor SOFT:HARD"),
    ("worker", "{ulimits: {nofile: '-1:1'}}", "neither a number nor SOFT:HARD"),
    ("worker", "{ulimits: {rtprio: 1}}", "would not yield"),
    ("worker", "{runtime: 'a b'}", "'a b' is not a runtime's name"),
    ("worker", "{user_range: '3000000'}", "'3000000' is not FIRST-LAST"),
    ("worker", "{user_range: 3000000-}", "'3000000-' is not FIRST-LAST"),
    ("worker", "{user_range: 3000255-3000000}", "'3000255-3000000' is not FIRST-LAST"),
    ("worker", "{user_range: -1-5}", "'-1-5' is not FIRST-LAST"),
    ("worker", "{user_range: 0-255}", "from 65536 to 2147483647"),
    ("worker", "{user_range: 65535-70000}", "from 65536 to 2147483647"),
    ("worker", "{user_range: 2147483647-2147483648}", "from 65536 to 2147483647"),
    ("worker", "{user_range: 3000000-4000000}", "at most 4096 users"),
    ("worker", "{user_range: null}", "text"),
    ("worker", "{disk: 0}", "more than 0"),
    ("worker", "{shm_size: 0}", "more than 0"),
    ("worker", "{memory: much}", "'much' is not a size"),
    ("worker", "{memory: 2.5}", "2.5 is not a size"),
    ("worker", "{memory: [1]}", "a list is not a size"),
    ("worker", "{memory: 5MB}", "at least 6MiB"),
    ("worker", "{memory: -1}", "-1 is out of range"),
    ("worker", "{memory: 10000000TB}", "'10000000TB' is out of range"),
    ("worker", "{lifetime: 12 parsecs}", "'12 parsecs' is not a duration"),
    ("worker", "{lifetime: 0s}", "at least 1s"),
    ("worker", "{leave_timeout: -5}", "-5 is out of range"),
    ("worker", "{leave_timeout: .nan}", "nan is out of range"),
    ("worker", "{leave_signal: SIGKILL}", "SIGTERM or SIGINT or SIGQUIT or SIGHUP"),
    ("owner", "{reserve_cpus: .inf}", "≤ 4096"),
    ("owner", "{reserve_cpus: -1}", "a number ≥ 0"),
    ("owner", "{reserve_memory: 120%}", "'120%' is not a percentage"),
    ("yield", "{grace_kill: 0s}", "between 1s and 24h"),
    ("yield", "{grace_spawn: 2d}", "between 1s and 24h"),
    ("yield", "{worthwhile: 1.5}", "≤ 1, not 1.5"),
    ("image", "{name: 'a b'}", "'a b' is not an image name"),
    ("image", "{policy: sometimes}", "always or missing or never, not 'sometimes'"),
    ("image", "{refresh: 5s}", "at least 60s"),
    ("image", "{auth_file: a.json}", "'a.json' is not a path that begins with /"),
    ("config", "{refresh: 5s}", "at least 60s"),
    ("config", "{signers: [admin]}", "'admin' is not an SSH public key"),
    ("docker", "{socket: docker.sock}", "'docker.sock' is not the path of a unix socket"),
    ("docker", "{slice: ../x}", "'../x' is not a plain name"),
    ("docker", "{slice: a-b}", "'a-b' is not a plain name"),
    ("docker", "{slice: system}", "'system' is the system's"),
    ("docker", "{slice: docker}", "choose another"),
    *(
        ("docker", f"{{slice: {name}}}", "Docker's own networks")
        for name in ("host", "bridge", "none", "default", "ingress", "docker_gwbridge")
    ),
    ("docker", "{slice: _workers}", "a plain name"),
    ("pool", "{spawn_per_tick: 0}", "a whole number ≥ 1 and ≤ 64, not 0"),
    ("pool", "{spawn_per_tick: 1.5}", "a whole number ≥ 1 and ≤ 64, not 1.5"),
    ("pool", "{max_workers: [1]}", "a number or text, not a list"),
]


@pytest.mark.parametrize(("section", "keys", "words"), BAD)
def test_bad_value(section: str, keys: str, words: str) -> None:
    """Each wrong value is refused with the file, the key and what it takes."""
    with pytest.raises(ConfigError) as caught:
        parse(f"{section}: {keys}", "FILE")
    key = keys[1:].partition(":")[0]
    assert str(caught.value).startswith(f"FILE: {section}.{key}: ") and words in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("{rate_up: 20}", "worker.network.rate_up: 20 has no unit: write"),
        ("{rate_up: '20'}", "'20' has no unit"),
        ("{rate_down: 20MB}", "'20MB' is not a rate"),
        ("{rate_down: 1kbit}", "at least 64kbit"),
        ("{reach: lan}", "all or internet, not 'lan'"),
        ("{allow: [cm.example.org]}", "'cm.example.org' is not an address"),
        ("{allow: [10.0.0.1/8]}", "'10.0.0.1/8' is not an address or a network"),
        ("{subnet: 192.168.7.0}", "at least"),
        ("{subnet: 'fd00::/64'}", "not an IPv4 network"),
        ("{mtu: 100}", "from 576 to 9000"),
        ("{rate: 1Mbit}", "unknown key; did you mean 'rate_up'"),
        ("bridge", "must be a section"),
        ("{host: true, rate_up: 8Mbit}", "has no rate_up: take that out"),
        ("{host: true, reach: internet}", "has no reach"),
    ],
)
def test_bad_network(keys: str, words: str) -> None:
    """What is wrong with the workers' network is said by its key, in one line."""
    with pytest.raises(ConfigError) as caught:
        parse(f"worker: {{network: {keys}}}", "FILE")
    assert str(caught.value).startswith("FILE: worker.network") and words in str(caught.value)
    assert "\n" not in str(caught.value)


V2 = {"org": "o", "bucket": "b", "token_file": "/t"}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"url": "ftp://me:s3cret@h", "database": "d"}, "[0].url: is not http://"),
        ({"url": "http://me:s3cret@h:99999", "database": "d"}, "[0].url: its port"),
        ({"url": "http://h"}, "[0].database: give it, or org and bucket"),
        ({"url": "http://h", "org": "o", "token_file": "/t"}, "[0].database: give it, or org and bucket"),
        ({"url": "http://h", "database": "d", **V2}, "[0].database: give it, or org and bucket"),
        ({"url": "http://h", "org": "o", "bucket": "b"}, "[0].token_file: is missing"),
        ({"url": "http://h", "database": "d", "token_file": "/t"}, "[0].token_file: is for version 2"),
        ({"url": "http://h", "database": "d", "password_file": "/p"}, "[0].user: is missing"),
        ({"url": "http://h", "compatible": True, **V2}, "[0].compatible: is for version 1"),
        ({"url": "http://h", "user": "u", **V2}, "[0].user: is for version 1"),
        (
            {"url": "http://h", "database": "d", "user": "u", "password_file": "s3cret"},
            "[0].password_file: is not a path",
        ),
        ({"url": "http://h", "database": "d", "every": "10s"}, "[0].every: must be between 1m"),
        ({"url": "http://h", "database": "d", "tags": {"host": "x"}}, "[0].tags: 'host' can't be one"),
        ({"url": "http://h", "database": "d", "tags": {"a": ""}}, "[0].tags: a must be one line"),
        ({"url": "http://h", "database": "d", "datbase": "d"}, "[0].datbase: unknown key; did you mean"),
        ({"database": "d"}, "[0].url: is missing"),
        ("http://me:s3cret@h#d", "[0]: must be a section"),
    ],
)
def test_bad_influxdb(keys: object, words: str) -> None:
    """What is wrong with a database is said by its place in the list and its key, without a word of
    its address."""
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"monitoring": {"influxdb": [keys]}}), "FILE")
    assert str(caught.value).startswith(f"FILE: monitoring.influxdb{words}"), caught.value
    assert "s3cret" not in str(caught.value)


def test_one_influxdb_twice() -> None:
    """The same database twice is refused; two of one server are not."""
    one, other = ({"url": "http://h", "database": name} for name in "ab")
    assert len(parse(json.dumps({"monitoring": {"influxdb": [one, other]}}), "FILE").monitoring.influxdb) == 2
    with pytest.raises(ConfigError, match=r"monitoring\.influxdb: two of them"):
        parse(json.dumps({"monitoring": {"influxdb": [one, one]}}), "FILE")


def fields() -> Iterator[msgspec.structs.FieldInfo]:
    for whole in msgspec.structs.fields(Config):
        kind = section_of(whole.type)
        assert kind is not None and kind.__doc__, f"section {whole.name} is not described"
        assert kind.__doc__ != Section.__doc__ and "\n" not in kind.__doc__
        for each in msgspec.structs.fields(kind):
            within = section_of(each.type)
            yield from (each,) if within is None else msgspec.structs.fields(within)


def test_every_key_has_words() -> None:
    """What each key takes can be put in words from its type alone."""
    said = {field.name: takes(field.type) for field in fields()}
    assert len(said) > 40 and all(said.values())
    assert said["worthwhile"] == "a number > 0 and ≤ 1"
    assert said["command"] == "a list or text", "null is always the default, and not said"
