"""The htcondor section: how three lines set up a worker, and what is refused, in one line."""

# ruff: noqa: E501 (the exact texts are easier to read whole)

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plancton.config.condor_environment import AFTER_RETIREMENT, WORKER_IMAGE
from plancton.config.load import parse
from plancton.config.resolve import digest
from plancton.config.safe_yaml import ConfigError
from plancton.config.schema import Config
from plancton.config.show import effective

POOL = {"central_manager": "cm.example.org", "token_file": "/etc/plancton/token"}
HOST = os.uname().nodename


def made(worker: dict[str, Any] | None = None, image: str | None = None, **pool: Any) -> Config:
    sections = {"htcondor": POOL | pool, "worker": worker or {}, "image": {"name": image} if image else {}}
    return parse(json.dumps(sections), "FILE")


def environment(**pool: Any) -> dict[str, str | int | float]:
    """HTCondor's settings in the environment, without their prefix."""
    given = made(**pool).worker.environment
    assert all(name.startswith("_CONDOR_") for name in given), f"not HTCondor's: {given}"
    return {name.removeprefix("_CONDOR_"): value for name, value in given.items()}


def refusal(text: str) -> str:
    """The line with which a text is refused."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "FILE")
    said = str(caught.value)
    assert said.isprintable(), f"not one line: {said!r}"
    return said


def refused(worker: dict[str, Any] | None = None, **pool: Any) -> str:
    text = json.dumps({"htcondor": POOL | pool, "worker": worker or {}})
    return refusal(text.replace("NaN", ".nan").replace("-Infinity", "-.inf"))


# ---------------------------------------------------------------- defaults


def test_three_lines() -> None:
    """The two required keys set up workers that join the pool: image, limits, signals and
    timeouts."""
    text = "htcondor:\n  central_manager: cm.example.org\n  token_file: /etc/plancton/token\n"
    config = parse(text, "FILE")
    worker = config.worker
    assert config.image.name == WORKER_IMAGE == "localhost/plancton-worker:latest"
    assert (worker.cpus, worker.memory, worker.user) == (1.0, 2_000_000_000, None)
    assert (worker.leave_signal, worker.finish_signal) == ("SIGQUIT", "SIGTERM")
    assert float(worker.finish_timeout) == 24 * 3600 + AFTER_RETIREMENT, "a job may end, and send its output"
    assert worker.read_only_root and worker.volumes == ["/var/lib/plancton", "/tmp", "/var/tmp"]
    assert worker.tmpfs == ["/run/condor:size=64m,mode=1777"]
    assert (worker.mounts, worker.devices, worker.capabilities, worker.privileged) == ([], [], [], False)
    assert worker.environment == {
        "_CONDOR_COLLECTOR_HOST": "cm.example.org",
        "_CONDOR_NUM_CPUS": "1",
        "_CONDOR_MEMORY": "1843",
        "_CONDOR_STARTD_NOCLAIM_SHUTDOWN": "1200",
        "_CONDOR_UPDATE_INTERVAL": "$RANDOM_INTEGER(225, 300)",
        "_CONDOR_PLANCTON_RETIREMENT": "86400",
        "_CONDOR_MachineMaxVacateTime": "5",
        "_CONDOR_KILLING_TIMEOUT": "5",
        "_CONDOR_SHUTDOWN_GRACEFUL_TIMEOUT": "87000",
        "_CONDOR_PLANCTON_ATTRS": "PlanctonHost HasSshd",
        "_CONDOR_HasSshd": "False",
        "_CONDOR_STARTD_NAME": f"$(HOSTNAME)@{HOST}",
        "_CONDOR_MASTER_NAME": f"$(HOSTNAME)@{HOST}",
        "_CONDOR_ENABLE_SSH_TO_JOB": "False",
        "_CONDOR_DAEMON_LIST": "MASTER STARTD",
        "_CONDOR_USE_SHARED_PORT": "True",
        "_CONDOR_SEC_DEFAULT_AUTHENTICATION_METHODS": "IDTOKENS",
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS": "IDTOKENS",
        "_CONDOR_SEC_TOKEN_DIRECTORY": "/var/lib/plancton/tokens.d",
        "_CONDOR_LOCAL_DIR": "/run/condor",
        "_CONDOR_RUN": "/run/condor",
        "_CONDOR_LOCK": "/run/condor/lock",
        "_CONDOR_LOG": "/run/condor/log",
        "_CONDOR_SPOOL": "/run/condor/spool",
        "_CONDOR_EXECUTE": "/var/lib/plancton/work/execute",
        "_CONDOR_SYSAPI_GET_LOADAVG": "False",
        "_CONDOR_KeyboardBusy": "False",
        "_CONDOR_ConsoleBusy": "False",
        "_CONDOR_StartIdleTime": "-2",
        "_CONDOR_ContinueIdleTime": "-2",
        "_CONDOR_PlanctonHost": f'"{HOST}"',
    }


def test_by_hand_whatever_its_capitals() -> None:
    """A setting that is given by hand takes our one's place: HTCondor's names know no capitals."""
    text = "htcondor: {central_manager: cm, token_file: /t}\nworker: {environment: {_CONDOR_Num_CPUs: '3'}}"
    given = parse(text, "FILE").worker.environment
    assert {name: value for name, value in given.items() if "CPUS" in name.upper()} == {
        "_CONDOR_Num_CPUs": "3"
    }


def test_without_the_section() -> None:
    """Without the section, a worker is plain and has no image of its own."""
    config = parse("worker: {}", "FILE")
    assert config == Config() and config.htcondor is None and config.image.name is None
    assert config.worker.environment == {} and not config.worker.read_only_root


def test_empty_section() -> None:
    """An empty `htcondor:`, as `init` writes it, means no pool."""
    assert parse("htcondor:\n  # central_manager: x\n", "FILE") == Config()


def test_the_token_is_not_read() -> None:
    """The configuration has only the token's path: a missing file is not a configuration error."""
    assert made(token_file="/nowhere/at/all").htcondor is not None


@pytest.mark.parametrize(
    ("given", "host"),
    [
        ("cm.example.org", "cm.example.org"),
        ("cm:9618", "cm:9618"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:9618", "[2001:db8::1]:9618"),
        ("cm:9618?sock=collector", "cm:9618?sock=collector"),
        ("a,b:9618", "a, b:9618"),
        (" a , b ,", "a, b"),
        (["a", "b:9618"], "a, b:9618"),
        (["a, b", "c"], "a, b, c"),
    ],
)
def test_central_manager(given: object, host: str) -> None:
    """A host, a port, an IPv6 address in brackets, a list or a comma list become HTCondor's
    form."""
    assert environment(central_manager=given)["COLLECTOR_HOST"] == host


@pytest.mark.parametrize(
    ("patience", "seconds", "interval"),
    [
        ("20m", "1200", "225, 300"),
        ("1h", "3600", "225, 300"),
        ("2m", "120", "22, 30"),
        ("20s", "20", "3, 5"),
        ("0s", "0", "225, 300"),
    ],
)
def test_idle_shutdown(patience: str, seconds: str, interval: str) -> None:
    """The startd checks at least four times within the period; 0s means never."""
    seen = environment(idle_shutdown=patience)
    assert seen["STARTD_NOCLAIM_SHUTDOWN"] == seconds
    assert seen["UPDATE_INTERVAL"] == f"$RANDOM_INTEGER({interval})"


def test_retirement() -> None:
    """HTCondor, its master and Plancton all wait for a job, each a little longer than the one
    before."""
    config, seen = made(retirement="2h"), environment(retirement="2h")
    assert (seen["PLANCTON_RETIREMENT"], seen["SHUTDOWN_GRACEFUL_TIMEOUT"]) == ("7200", "7800")
    assert config.worker.finish_timeout == 7800.0


def test_no_retirement_in_the_environment() -> None:
    """What stands there would override a policy that holds a job at once."""
    assert "MAXJOBRETIREMENTTIME" not in {name.upper() for name in environment(retirement="2h")}


@pytest.mark.parametrize("vacate", ["0s", "5s", "1m"])
def test_vacate(vacate: str) -> None:
    """HTCondor has the time to vacate a job and to kill it before Plancton kills the worker."""
    config, seen = made(vacate=vacate), environment(vacate=vacate)
    whole = int(seen["MachineMaxVacateTime"]) + int(seen["KILLING_TIMEOUT"])
    assert whole < config.worker.leave_timeout


@pytest.mark.parametrize(("cpus", "slots"), [(0.5, "1"), (1, "1"), (2.7, "2"), (16, "16")])
def test_cpus(cpus: float, slots: str) -> None:
    """Whole CPUs are advertised, and at least one."""
    assert environment(cpus=cpus)["NUM_CPUS"] == slots and made(cpus=cpus).worker.cpus == cpus


def test_memory() -> None:
    """Jobs get the worker's memory less HTCondor's own."""
    config, seen = made(memory="8GiB"), environment(memory="8GiB")
    assert config.worker.memory == 8 << 30 and seen["MEMORY"] == str(8 * 1024 - 64)


@pytest.mark.parametrize(
    ("cpus", "memory", "size"),
    [
        ("max(1, ncpus // 4)", "2GB", (16.0, 2_000_000_000)),
        ("ncpus / 32", "cpus * 3_000_000_000", (2.0, 6_000_000_000)),
        (3, "ram_bytes // 16", (3.0, 4 << 30)),
        ("4", "4_000_000_000 if ram_bytes > 32e9 else 2_000_000_000", (4.0, 4_000_000_000)),
    ],
)
def test_a_size_that_depends_on_the_host(
    monkeypatch: pytest.MonkeyPatch, cpus: object, memory: object, size: tuple[float, int]
) -> None:
    """A worker's size may follow from the host's: here 64 CPUs and 64 GiB."""
    monkeypatch.setattr("plancton.config.load.host_facts", lambda: {"ncpus": 64, "ram_bytes": 64 << 30})
    config = made(cpus=cpus, memory=memory)
    assert (config.worker.cpus, config.worker.memory) == size
    assert config.worker.environment["_CONDOR_NUM_CPUS"] == str(int(size[0]))
    assert parse(effective(config), "FILE").htcondor == config.htcondor


def test_a_rule_that_fails_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that gives no size on this host is refused, with the key."""
    monkeypatch.setattr("plancton.config.load.host_facts", lambda: {"ncpus": 1, "ram_bytes": 1 << 30})
    assert refused(cpus="ncpus - 1").startswith("FILE: htcondor.cpus: 'ncpus - 1': must be a number > 0")


@pytest.mark.parametrize("where", [{"tmpfs": ["/tmp:size=64m"]}, {"mounts": ["/scratch:/tmp:rw"]}])
def test_another_tmp(where: dict[str, Any]) -> None:
    """What is mounted at /tmp by hand takes our volume's place."""
    assert made(where).worker.volumes == ["/var/lib/plancton", "/var/tmp"]


@pytest.mark.parametrize(
    ("host", "name"), [("lab-3.example.org", "lab-3.example.org"), ("Ada's PC @ home", "Ada_s_PC___home")]
)
def test_names(host: str, name: str) -> None:
    """A worker's name in the pool has its host in it, in letters that HTCondor takes."""
    assert environment(attributes={"PlanctonHost": host})["STARTD_NAME"] == f"$(HOSTNAME)@{name}"


def test_start_expression() -> None:
    """START is passed on as it is; without one, the image's own stays."""
    assert "START" not in environment()
    assert environment(start='TARGET.Owner == "ada"')["START"] == 'TARGET.Owner == "ada"'


def test_config_dir() -> None:
    """The administrator's HTCondor files are mounted read-only."""
    assert made(config_dir="/etc/condor/plancton").worker.mounts == [
        "/etc/condor/plancton:/etc/condor/host.d:ro"
    ]


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (True, "True"),
        (False, "False"),
        (1, "1"),
        (-7, "-7"),
        (2.5, "2.5"),
        ("plain", '"plain"'),
        ('a"b', '"a\\"b"'),
        ("back\\slash", '"back\\\\slash"'),
        ('\\"', '"\\\\\\""'),
        ("1", '"1"'),
        ("true", '"true"'),
        ("Zürich", '"Zürich"'),
    ],
)
def test_attributes(value: object, literal: str) -> None:
    """A value becomes a ClassAd literal of its type; quotes and backslashes in text are kept."""
    seen = environment(attributes={"Site": value})
    assert seen["Site"] == literal and seen["PLANCTON_ATTRS"] == "PlanctonHost Site HasSshd"


@pytest.mark.parametrize(
    ("written", "literal"),
    [
        *((each, each) for each in ("3.10", "1e3", ".5", "-7", "0", "9007199254740993")),
        *((each, f'"{each}"') for each in ("0123", "00042", "12:30", "1_000", "0x1F", "2026-01-01")),
        ("yes", "True"),
        ("false", "False"),
    ],
)
def test_attributes_are_as_written(written: str, literal: str) -> None:
    """A number keeps its digits; what only YAML takes for a number is text."""
    text = f"htcondor: {{central_manager: cm, token_file: /t, attributes: {{Site: {written}}}}}"
    config = parse(text, "FILE")
    assert config.worker.environment["_CONDOR_Site"] == literal
    assert "attributes" in effective(config), "it can be shown"


@pytest.mark.parametrize("name", ["PlanctonHost", "planctonhost"])
def test_attributes_may_replace_the_hosts_name(name: str) -> None:
    """PlanctonHost can be set, for example if host names are private; HTCondor knows no capitals."""
    seen = environment(attributes={name: "somewhere"})
    assert seen[name] == '"somewhere"' and seen["PLANCTON_ATTRS"] == f"{name} HasSshd"
    assert seen["STARTD_NAME"] == "$(HOSTNAME)@somewhere" and HOST not in str(seen)


# ---------------------------------------------------------------- what is set by hand


def test_what_is_set_by_hand_wins() -> None:
    """A key of `worker` wins over the section, and HTCondor learns the resulting size."""
    config = made({"cpus": 3, "memory": "4GiB", "leave_signal": "SIGTERM", "finish_timeout": "1m",
                   "read_only_root": False, "command": "true", "user": "1000:100"}, cpus=1, memory="2GB")  # fmt: skip
    worker = config.worker
    assert (worker.cpus, worker.memory, worker.leave_signal) == (3.0, 4 << 30, "SIGTERM")
    assert (worker.finish_timeout, worker.read_only_root, worker.command) == (60.0, False, "true")
    assert worker.environment["_CONDOR_NUM_CPUS"] == "3" and worker.environment["_CONDOR_MEMORY"] == "4032"
    assert worker.user == "1000:100"


def test_the_defaults_of_worker_do_not_win() -> None:
    """Only keys that are in the file count as set by hand, even if `worker:` is empty."""
    text = json.dumps({"htcondor": POOL | {"memory": "3GB", "cpus": 2}})
    for more in ("", "\nworker:\n", "\nworker: {}\n"):
        worker = parse(f"htcondor: {json.dumps(POOL | {'memory': '3GB', 'cpus': 2})}{more}", "FILE").worker
        assert (worker.cpus, worker.memory) == (2.0, 3_000_000_000), f"with {more!r}"
        assert worker == parse(text, "FILE").worker


def test_what_is_added() -> None:
    """Variables, mounts, tmpfs and volumes are added to ours; a variable of the same name replaces
    ours."""
    worker = made({"environment": {"A": 1, "_CONDOR_START": "False"}, "mounts": ["/cvmfs:/cvmfs"],
                   "tmpfs": ["/scratch"], "volumes": ["/data"]}, config_dir="/c", start="True").worker  # fmt: skip
    assert worker.environment["A"] == "1" and worker.environment["_CONDOR_START"] == "False"
    assert worker.environment["_CONDOR_COLLECTOR_HOST"] == "cm.example.org"
    assert worker.mounts == ["/c:/etc/condor/host.d:ro", "/cvmfs:/cvmfs"]
    assert worker.tmpfs[1:] == ["/scratch"] and len(worker.tmpfs) == 2
    assert worker.volumes == ["/var/lib/plancton", "/tmp", "/var/tmp", "/data"]


def test_added_twice_is_once() -> None:
    """An entry that is already there is not added again."""
    assert made({"volumes": ["/var/lib/plancton"]}).worker.volumes == made().worker.volumes


def test_image_by_hand() -> None:
    """A named image wins over the section's own."""
    assert made(image="registry.example.org/mine:1").image.name == "registry.example.org/mine:1"


@pytest.mark.parametrize("user", ["1000", "1000:100", "0", "0:0"])
def test_user_in_numbers(user: str) -> None:
    """A UID, with a GID or alone, is kept."""
    assert made({"user": user}).worker.user == user


def test_digest_follows_the_section() -> None:
    """A change of what workers are made of changes the digest; how long a job may take does not."""
    base = digest(made())
    for pool in ({"central_manager": "b"}, {"start": "x"}, {"attributes": {"A": 1}}, {"config_dir": "/c"},
                 {"idle_shutdown": "1h"}, {"memory": "4GB"}, {"cpus": 2}):  # fmt: skip
        assert digest(made(**pool)) != base, f"unchanged by {pool}"
    assert digest(made()) == base


# ---------------------------------------------------------------- what is shown


def test_effective_shows_no_values() -> None:
    """`check` prints the whole section and the resulting workers, but no value of their
    environment."""
    shown = effective(made({"environment": {"SECRET": "s3cret"}}, attributes={"Site": "here"}))
    assert "s3cret" not in shown and "SECRET: '***'" in shown and "_CONDOR_COLLECTOR_HOST: '***'" in shown
    assert "central_manager: cm.example.org" in shown and "token_file: /etc/plancton/token" in shown


def test_effective_means_the_same() -> None:
    """Apart from masked values, the output is a configuration of the same workers."""
    config = made({"mounts": ["/a:/b"], "cpus": 2}, config_dir="/c", attributes={"A": True}, start="x")
    again = parse(effective(config), "FILE")
    masked = msgspec.structs.replace(
        config.worker, environment=dict.fromkeys(config.worker.environment, "***")
    )
    assert msgspec.structs.replace(config, worker=masked) == again, effective(config)


# ---------------------------------------------------------------- what is refused

BAD: list[tuple[dict[str, Any], str]] = [
    ({"central_manager": ""}, "central_manager: is empty"),
    ({"central_manager": []}, "central_manager: is empty"),
    ({"central_manager": " , ,"}, "central_manager: is empty"),
    ({"central_manager": "a b"}, "central_manager: 'a b' is not HOST"),
    ({"central_manager": ["a", "b c"]}, "central_manager: 'b c' is not HOST"),
    ({"central_manager": "a,b;c"}, "central_manager: 'b;c' is not HOST"),
    ({"central_manager": "2001:db8::1"}, "central_manager: '2001:db8::1' is not HOST"),
    ({"central_manager": "<192.0.2.7:9618>"}, "central_manager: '<192.0.2.7:9618>' is not HOST"),
    ({"central_manager": "cm:"}, "central_manager: 'cm:' is not HOST"),
    ({"central_manager": "cm:port"}, "central_manager: 'cm:port' is not HOST"),
    ({"central_manager": "$(X)"}, "central_manager: '$(X)' is not HOST"),
    ({"central_manager": {}}, "central_manager: text or a list, not a section"),
    ({"central_manager": [[5]]}, "central_manager: text, not a list"),
    ({"token_file": "token"}, "token_file: is not a path"),
    ({"token_file": ""}, "token_file: is not a path"),
    ({"token_file": None}, "token_file: not nothing"),
    ({"config_dir": "condor.d"}, "config_dir: 'condor.d' is not a path"),
    ({"config_dir": "/a:/b"}, "config_dir: colon"),
    ({"idle_shutdown": "19s"}, "idle_shutdown: at least 20s"),
    ({"idle_shutdown": "soon"}, "idle_shutdown: 'soon' is not a duration"),
    ({"retirement": "31d"}, "retirement: at most 30d"),
    ({"retirement": -1}, "retirement: -1 is out of range"),
    ({"cpus": 0}, "cpus: > 0"),
    ({"cpus": True}, "cpus: > 0"),
    ({"cpus": [1]}, "cpus: > 0"),
    ({"cpus": 5000}, "cpus: ≤ 4096"),
    ({"cpus": "ncpu // 4"}, "cpus: did you mean"),
    ({"cpus": "ncpus - 10000"}, "cpus: > 0"),
    ({"cpus": "__import__('os')"}, "cpus: unknown"),
    ({"memory": "lots"}, "memory: is not a size"),
    ({"memory": "ram_bytes / 0"}, "memory: fails"),
    ({"memory": "-ram_bytes"}, "memory: out of range"),
    ({"memory": "1 < cpus"}, "memory: not a number"),
    ({"memory": "100MB"}, "memory: at least 192MiB"),
    ({"memory": 0}, "memory: at least 192MiB"),
    ({"start": ""}, "start: one line"),
    ({"start": "  "}, "start: one line"),
    ({"start": "a\nb"}, "start: one line"),
    ({"start": [True]}, "start: text, not a list"),
    ({"attributes": {"a b": 1}}, "attributes: 'a b' is not a name"),
    ({"attributes": {"": 1}}, "attributes: '' is not a name"),
    ({"attributes": {"1st": 1}}, "attributes: '1st' is not a name"),
    ({"attributes": {"A\n": 1}}, "attributes: 'A\\n' is not a name"),
    ({"attributes": {"Zürich": 1}}, "attributes: 'Zürich' is not a name"),
    ({"attributes": {"A=B": 1}}, "attributes: 'A=B' is not a name"),
    ({"attributes": {"MEMORY": 1}}, "attributes: MEMORY is one of HTCondor's settings"),
    ({"attributes": {"Start": 1}}, "attributes: Start is one of HTCondor's settings"),
    ({"attributes": {"startd_attrs": "x"}}, "attributes: startd_attrs is one of HTCondor's settings"),
    ({"attributes": {"A": "x\ny"}}, "attributes: A must be one line"),
    ({"attributes": {"A": "\x1b[31m"}}, "attributes: A must be one line"),
    ({"attributes": {"A": ""}}, "attributes: A must be one line"),
    ({"attributes": {"A": float("nan")}}, "attributes: A must be a finite number"),
    ({"attributes": {"A": float("-inf")}}, "attributes: A must be a finite number"),
    ({"attributes": {"Site": 1, "SITE": 2}}, "attributes: differ in capital letters"),
    ({"attributes": {"A": [1]}}, "attributes: not a list"),
    ({"attributes": {"A": None}}, "attributes: not nothing"),
    ({"attributes": ["A"]}, "attributes: not a list"),
    ({"token": "x"}, "token: 'token_file'?"),
    ({"zebra": 1}, "zebra: known: central_manager, token_file"),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "said"), BAD, ids=lambda value: ascii(value)[:40])
def test_bad_values(pool: dict[str, Any], said: str) -> None:
    """Each wrong value is refused in one line with the key and the remedy."""
    key, _, words = said.partition(": ")
    assert refused(**pool).startswith(f"FILE: htcondor.{key}: ") and words in refused(**pool)


def test_attributes_do_not_replace_settings() -> None:
    """An attribute can't replace a setting of the same name in the worker image's own file."""
    file = Path(__file__).parents[3] / "scripts/worker-image/condor.conf"
    settings = re.findall(r"^ *(\w+) *=", file.read_text(), re.MULTILINE)
    assert len(settings) > 10
    for name in settings:
        assert "is one of HTCondor's settings" in refused(attributes={name: 1}), name


@pytest.mark.parametrize("missing", POOL)
def test_both_keys_are_needed(missing: str) -> None:
    """A section without one of the two required keys is refused, and the key is named."""
    said = refusal(json.dumps({"htcondor": {key: value for key, value in POOL.items() if key != missing}}))
    assert said.startswith("FILE: htcondor") and missing in said, said


@pytest.mark.parametrize("section", ["5", "[a]", "true", "text"])
def test_no_section(section: str) -> None:
    """Anything that is not a section is refused as such."""
    said = refusal(f"htcondor: {section}")
    assert said.startswith("FILE: htcondor: must be a section (key: value lines), not "), said


@pytest.mark.parametrize("user", ["nobody", "", "1000:users", ":100", "-1", "1000:100:1"])
def test_user_by_name(user: str) -> None:
    """The token needs a numeric user: a name has a meaning only inside the image."""
    assert refused({"user": user}) == "FILE: worker.user: must be UID:GID in numbers here"


def test_memory_by_hand_that_is_too_small() -> None:
    """Too little memory is refused wherever it is set."""
    assert "a worker needs at least 192MiB" in refused({"memory": "100MB"})
