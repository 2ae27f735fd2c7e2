"""examples/: those that can't be run here are read as their tools read them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from unit.programs import call

from plancton.config.load import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
CLOUD_INIT = EXAMPLES / "cloud-init/user-data.yaml"
KICKSTART = EXAMPLES / "kickstart/plancton.ks"
PRESEED = EXAMPLES / "preseed/plancton.cfg"


def takes(arguments: str) -> None:
    """Assert that scripts/install knows these options; --help ends it after parsing."""
    call("sh", ROOT / "scripts/install", *shlex.split(arguments), "--help")


def in_configuration(text: str) -> None:
    """Assert that this configures a pool, with its token where the example puts it."""
    config = parse(text, "the example's")
    assert config.htcondor and str(config.htcondor.token_file) == "/etc/plancton/token"


def test_cloud_init() -> None:
    """It is cloud-config; its file is a configuration, its token private, its commands valid."""
    text = CLOUD_INIT.read_text()
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    assert set(data) == {"write_files", "runcmd"}
    config, token = data["write_files"]
    in_configuration(config["content"])
    assert (token["path"], token["permissions"]) == ("/etc/plancton/token", "0600")
    fetch, install = data["runcmd"]
    assert "--output /root/install-plancton " in fetch
    assert install.startswith("sh /root/install-plancton ")
    takes(install.partition("install-plancton ")[2])


def test_kickstart() -> None:
    """Kickstart's own validator accepts it, its script is valid, and it writes a configuration."""
    call(sys.executable, Path(sys.executable).with_name("ksvalidator"), "--version", "F40", KICKSTART)
    text = KICKSTART.read_text()
    script = re.search(r"^%post.*?\n(.*)^%end", text, re.MULTILINE | re.DOTALL)
    assert script
    subprocess.run(["sh", "-n"], input=script[1], text=True, check=True)
    config = re.search(r"config\.yaml <<'END'\n(.*?)END\n", script[1], re.DOTALL)
    assert config
    in_configuration(config[1])
    takes(script[1].rpartition("install-plancton ")[2])


def test_preseed() -> None:
    """debconf accepts it, and its commands are valid."""
    call("debconf-set-selections", "--checkonly", PRESEED)
    commands = PRESEED.read_text().partition("late_command string")[2].replace("\\\n", "")
    subprocess.run(["sh", "-n"], input=commands, text=True, check=True)
    takes(commands.rpartition("install-plancton ")[2])


@pytest.mark.parametrize("name", ["make", "up"])
def test_tarball_scripts(name: str) -> None:
    """shellcheck accepts them; tests/docker runs them."""
    call("shellcheck", EXAMPLES / "tarball" / name)


def test_all_are_named() -> None:
    """Each example has its line in the folder's README."""
    said = (EXAMPLES / "README.md").read_text()
    for folder in EXAMPLES.iterdir():
        assert not folder.is_dir() or f"`{folder.name}/" in said, f"{folder.name} is not in the README"
