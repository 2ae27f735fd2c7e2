"""What a configuration means on a host: settings, reserves, how many workers at most."""

import json

import msgspec
import pytest

from plancton.config.load import parse
from plancton.config.resolve import MOST_WORKERS, Host, MaxWorkers, digest, never_starts, policy_settings
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config, Worker
from plancton.host.slice_bounds import Limits

HOST = Host(cpus=4, ram=16_000_000_000, swap=1_000_000_000, disk=100_000_000_000)


def test_limits() -> None:
    """The settings are in base units, with portions of this host's memory and disk."""
    made = policy_settings(
        parse("owner: {reserve_memory: 25%, reserve_disk: 1GB}\nworker: {cpus: 2}", "FILE"), HOST
    )
    assert (made.reserve_memory, made.reserve_disk, made.worker_cpus) == (4_000_000_000, 1_000_000_000, 2.0)
    assert (made.leave_timeout, made.grace_kill, made.lifetime) == (20.0, 600.0, 43_200.0)
    assert made.caps_waiting and not policy_settings(parse("yield: {cap: none}", "FILE"), HOST).caps_waiting
    assert not made.uses_quota and policy_settings(parse("yield: {cap: room}", "FILE"), HOST).uses_quota


def test_small_cores() -> None:
    """Workers that keep to the small cores are no more than these hold, and which cores they keep to
    makes them no others."""
    small = msgspec.structs.replace(HOST, small=2)
    assert policy_settings(Config(), small).most_cpus == 2
    assert policy_settings(Config(), small, Limits(cpus=1.5)).most_cpus == 1.5
    assert "small cores" in (never_starts(parse("worker: {cpus: 3}", "FILE"), small) or "")
    assert digest(parse("worker: {cores: efficiency}", "FILE")) == digest(Config())


@pytest.mark.parametrize(("vacate", "lift"), [("1s", 5.0), ("5s", 7.0), ("30s", 32.0)])
def test_lift(vacate: str, lift: float) -> None:
    """A leaving HTCondor worker has CPU until its job has been vacated and killed."""
    pool = {"central_manager": "cm", "token_file": "/token", "vacate": vacate}
    assert policy_settings(parse(json.dumps({"htcondor": pool}), "FILE"), HOST).lift == lift
    assert policy_settings(Config(), HOST).lift == 5.0


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
        (
            "htcondor: {central_manager: cm, token_file: /token, disk: 1TB}\nowner: {reserve_disk: 1GB}",
            "htcondor.disk is 1TB, but owner.reserve_disk leaves",
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


def test_limits_of_the_administrator() -> None:
    """Their own limits of the slice are what the policy goes by, and a worker that does not fit
    into them can never start."""
    limits = Limits(memory=1_000_000_000, cpus=1.5)
    made = policy_settings(Config(), HOST, limits)
    assert (made.most_memory, made.most_cpus) == (1_000_000_000, 1.5)
    assert "your own limit of the slice is 1 GB" in (never_starts(Config(), HOST, limits) or "")


MADE_OF = {
    "network": {"host": True},
    "command": ["a"],
    "cpus": 3,
    "memory": "3GB",
    "swap": "1GB",
    "user_range": "70000-70255",
    "user": "1:1",
    "environment": {"A": "b"},
    "mounts": ["/a:/b"],
    "devices": ["/dev/x"],
    "capabilities": ["CHOWN"],
    "security_options": ["seccomp=/x"],
    "privileged": True,
    "read_only_root": True,
    "tmpfs": ["/tmp"],
    "volumes": ["/v"],
    "disk": "9GB",
    "shm_size": "1GB",
    "ulimits": {"core": "0"},
    "init": False,
    "runtime": "runsc",
}
TREATED = {
    "cores": "efficiency",
    "network": {"reach": "internet", "rate_up": "8Mbit", "mtu": 1280},
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


# ---------------------------------------------------------------- pool.max_workers

EXPRESSIONS = {
    "ncpus - 1": 3,
    "min(ncpus, ram_bytes // worker_memory)": 4,
    "max(1, ncpus * 0.6)": 2,
    "round(ncpus * 0.6)": 2,
    "int(swap_bytes / 1e9) + 2": 3,
    "0 if ncpus > 2 and not worker_cpus > 1 else 5": 0,
    "-3": 0,
    "ncpus - 100": 0,
    "1" + "0" * 400: MOST_WORKERS,
}


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda text: text[:40])
def test_expression(expression: str) -> None:
    """An expression is evaluated with the host's figures and rounded down; a negative result is
    0."""
    seen = MaxWorkers(parse(f"pool: {{max_workers: {json.dumps(expression)}}}", "FILE")).on(HOST)
    assert seen == EXPRESSIONS[expression]


@pytest.mark.parametrize(("setting", "limit"), [("7", 7), ("2.9", 2), ("null", None), ("0", 0), ("-1", 0)])
def test_max_workers_as_a_number(setting: str, limit: int | None) -> None:
    """A plain number is an expression too, and null is no limit."""
    assert MaxWorkers(parse(f"pool: {{max_workers: {setting}}}", "FILE")).on(HOST) == limit


def test_max_workers_by_signals() -> None:
    """The expression may go by the owner's signals; with one that is unknown there is no number."""
    limit = MaxWorkers(parse("pool: {max_workers: 1 if sessions > 0 else ncpus}", "FILE"))
    assert limit.references == (("sessions",),)
    assert limit.on(HOST, lambda _: 2) == 1 and limit.on(HOST, lambda _: 0) == HOST.cpus
    with pytest.raises(ValueError, match="sessions is unknown"):
        limit.on(HOST, lambda _: None)


def test_expression_that_fails_only_here() -> None:
    """An expression that works elsewhere raises ValueError on a host where it can't be computed."""
    limit = MaxWorkers(parse("pool: {max_workers: 4 / (ncpus - 4)}", "FILE"))
    with pytest.raises(ValueError, match="fails: division by zero"):
        limit.on(HOST)


BAD = {
    "9e999": "gives inf, which is not a number of workers",
    "-9e999": "gives -inf",
    "9e999 - 9e999": "gives nan",
    "ncpus > 1": "gives True",
    "cpus": "did you mean 'ncpus'?",
    "x": "known: ncpus, ram_bytes, swap_bytes, worker_cpus, worker_memory",
    "ncpus / 0": "division by zero",
    "round(5, -999999999)": "fails",
    "9**9**9": "is not allowed",
}


@pytest.mark.parametrize("expression", BAD)
def test_bad_expression(expression: str) -> None:
    """An expression that fails or gives no number is refused on reading."""
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps({"pool": {"max_workers": expression}}), "FILE")
    said = str(caught.value)
    assert said.startswith("FILE: pool.max_workers: ") and BAD[expression] in said
