"""Security options: what is refused, and what the Engine gets."""

import json
import socket
from pathlib import Path

import pytest

from plancton.config.load import parse
from plancton.config.safe_yaml import ConfigError
from plancton.config.security import LARGEST, SecurityError, own_rules, read_profiles, translate
from plancton.files import SHARE

REFUSED = [
    ("docker-cvmfs", "no known kind"),
    ("apparmor", "no profile"),
    ("apparmor=", "no profile"),
    ("label=", "no label"),
    ("seccomp=rules.json", "/path"),
    ("seccomp", "/path"),
    ("systempaths=all", "systempaths=unconfined"),
    ("no-new-privileges:maybe", "true nor false"),
    ("writable-cgroups=true", "no known kind"),
]


@pytest.mark.parametrize(("option", "words"), REFUSED)
def test_refused(option: str, words: str) -> None:
    """What Docker would refuse at each start is refused when it is read; known kinds are named."""
    with pytest.raises(ConfigError) as caught:
        parse(f"worker: {{security_options: ['{option}']}}", "FILE")
    assert str(caught.value).startswith(f"FILE: worker.security_options: '{option}' ")
    assert words in str(caught.value)
    assert "known kind" not in words or "apparmor=PROFILE" in str(caught.value)


def test_old_option_without_kind() -> None:
    """So it is in a file of 0.6's time."""
    with pytest.raises(ConfigError, match="'docker-cvmfs' is of no known kind"):
        parse("docker_image: a\nsecopt: [docker-cvmfs]", "FILE")


@pytest.mark.parametrize(
    ("options", "sent", "shows_paths"),
    [
        ([], ["no-new-privileges"], False),
        (["no-new-privileges"], ["no-new-privileges"], False),
        (["no-new-privileges:true"], ["no-new-privileges"], False),
        (["no-new-privileges:false"], ["no-new-privileges=false"], False),
        (["seccomp:unconfined"], ["no-new-privileges", "seccomp=unconfined"], False),
        (["apparmor=a", "label:type:b"], ["no-new-privileges", "apparmor=a", "label=type:b"], False),
        (["systempaths=unconfined"], ["no-new-privileges"], True),
    ],
)
def test_translated(options: list[str], sent: list[str], shows_paths: bool) -> None:
    """Each option is in the form that Docker takes; no new privileges unless they are asked for."""
    assert translate(options, {}) == (sent, shows_paths)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ([], ["no-new-privileges", "seccomp={ours}"]),
        (["label=a"], ["no-new-privileges", "label=a", "seccomp={ours}"]),
        (["seccomp=unconfined"], ["no-new-privileges", "seccomp=unconfined"]),
        (["seccomp:builtin"], ["no-new-privileges"]),
        (["seccomp=/rules"], ["no-new-privileges", "seccomp={theirs}"]),
    ],
)
def test_own_rules(options: list[str], sent: list[str]) -> None:
    """Plancton's own seccomp rules hold unless an option names others, or Docker's."""
    assert translate(options, {"/rules": "{theirs}"}, "{ours}").options == sent


def test_own_rules_are_docker_s_less_some() -> None:
    """They let no socket family through by number but four, and Docker's licence is beside them."""
    rules = json.loads(own_rules())
    allowed = [rule for rule in rules["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    families = {rule["args"][0]["value"] for rule in allowed if "socket" in rule["names"]}
    assert families == {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    names = {name for rule in allowed for name in rule["names"]}
    assert not names & {
        "io_setup",
        "io_uring_setup",
        "userfaultfd",
        "keyctl",
        "add_key",
        "request_key",
        "sync",
    }
    assert "Apache License" in (SHARE / "seccomp.LICENSE").read_text()


def test_rules_are_read(tmp_path: Path) -> None:
    """The content of a file of seccomp rules is sent, as the docker command does."""
    file = tmp_path / "rules.json"
    file.write_text('{\n  "defaultAction": "SCMP_ACT_ALLOW"\n}')
    option = f"seccomp={file}"
    sent = translate([option], read_profiles([option, "label=a"])).options
    assert sent == ["no-new-privileges", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), ("{", "not JSON"), ("[1]", "no set of"), (f'"{"x" * LARGEST}"', "longer than")],
)
def test_rules_that_can_not_be_used(tmp_path: Path, content: str | None, words: str) -> None:
    """A file that is missing, too long or no JSON object is said in one line with its name."""
    file = tmp_path / "rules.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SecurityError) as caught:
        read_profiles([f"seccomp={file}"])
    assert f"seccomp={file}" in str(caught.value) and words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_rules_are_json_to_docker(tmp_path: Path) -> None:
    """Deeply nested rules are refused, and others stay the same data."""
    file = tmp_path / "rules.json"
    rules = {"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}
    file.write_text(json.dumps(rules, indent=2))
    assert json.loads(read_profiles([f"seccomp={file}"])[str(file)]) == rules
    file.write_text("[" * 100_000)
    with pytest.raises(SecurityError):
        read_profiles([f"seccomp={file}"])
