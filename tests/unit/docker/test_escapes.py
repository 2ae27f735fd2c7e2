"""Which versions have known ways out of a container, by real and by scripted answers to GET
/version."""

import json
from pathlib import Path

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply

from plancton.docker.client import Docker
from plancton.docker.escapes import ESCAPES, Ways, find_ways, read_version
from plancton.docker.replies import Component, Info, Platform, Plugins, Version

DOCKERS = Platform("Docker Engine - Community")
AUTHORIZATION = Info(plugins=Plugins(["opa"]))


def components(**versions: str) -> list[Component]:
    return [Component(name, version) for name, version in versions.items()]


def find(component: str, version: str, info: Info | None = None) -> Ways:
    """Of a package that Docker itself built."""
    (found,) = find_ways(Version(DOCKERS, components(**{component: version})), info or Info())
    assert not found.untold
    return found


def cves(found: Ways) -> list[str]:
    return [each.cve for each in found.open]


HOLES = [
    ("CVE-2019-5736", "runc", "1.0.0-rc6", "1.0.0-rc7"),
    ("CVE-2021-30465", "runc", "1.0.0-rc94 1.0.0-rc9", "1.0.0-rc95 1.0.0 1.1.0"),
    ("CVE-2024-21626", "runc", "1.0.0-rc93 1.0.3 1.1.11", "1.0.0-rc92 1.1.12 1.2.0-rc.1"),
    ("CVE-2025-31133", "runc", "1.1.15 1.2.7 1.3.2 1.4.0-rc.2", "1.2.8 1.3.3 1.4.0-rc.3 1.4.0 1.5.0-rc.1"),
    ("CVE-2025-52565", "runc", "1.2.7 1.3.0", "1.2.9 1.3.3 1.4.0"),
    ("CVE-2025-52881", "runc", "1.2.7 1.3.2", "1.2.8 1.3.10 2.0.0"),
    ("CVE-2020-15257", "containerd", "1.3.8 1.4.0 1.4.2 v1.4.2", "1.3.9 1.4.3 1.5.0 2.1.4"),
    ("CVE-2021-41089", "Engine", "20.10.8 19.03.15", "20.10.9 23.0.0"),
    ("CVE-2021-41091", "Engine", "20.10.8", "20.10.9 29.5.1"),
    ("CVE-2026-41567", "Engine", "20.10.24 28.5.2 29.5.0", "29.5.1 29.9.0 30.0.0"),
    ("CVE-2026-41568", "Engine", "29.5.0", "29.5.1"),
    ("CVE-2026-42306", "Engine", "29.5.0", "29.5.1"),
]
WITH_PLUGINS = [
    ("CVE-2024-41110", "23.0.14 24.0.9 26.0.2 26.1.4 27.1.0", "23.0.15 25.0.6 26.0.3 26.1.5 27.1.1 28.0.0"),
    ("CVE-2026-34040", "27.5.1 29.3.0", "29.3.1"),
]


@pytest.mark.parametrize(("cve", "component", "vulnerable", "fixed"), HOLES)
def test_table(cve: str, component: str, vulnerable: str, fixed: str) -> None:
    """Each hole is found in the releases that have it, and in no release that has the fix, whichever
    branch it is of."""
    for version in vulnerable.split():
        assert cve in cves(find(component, version)), version
    for version in fixed.split():
        assert cve not in cves(find(component, version)), version


@pytest.mark.parametrize(("cve", "vulnerable", "fixed"), WITH_PLUGINS)
def test_authorization(cve: str, vulnerable: str, fixed: str) -> None:
    """A way around authorization plugins is one only where Docker has such a plugin."""
    for version in vulnerable.split():
        assert cve in cves(find("Engine", version, AUTHORIZATION)), version
        assert cve not in cves(find("Engine", version)), version
    for version in fixed.split():
        assert cve not in cves(find("Engine", version, AUTHORIZATION)), version


def test_each_is_tested() -> None:
    """No entry of the table is without a test above."""
    assert {each[0] for each in (*HOLES, *WITH_PLUGINS)} == {each.cve for each in ESCAPES}


def test_message() -> None:
    """A problem names version, holes and the releases without them."""
    problem = find("runc", "1.1.11").problem
    assert problem.startswith("runc 1.1.11 has known holes") and "CVE-2024-21626, CVE-2025-31133" in problem
    assert "update it, to 1.2.8 or 1.3.3 or 1.4.0-rc.3" in problem
    assert find("Engine", "28.5.2").problem.startswith("Docker Engine 28.5.2 has")
    assert find("runc", "1.3.4").problem == "" == find("runc", "1.3.4").doubt


BOOKWORM = {
    "Platform": {"Name": ""},
    "Components": [
        {
            "Name": "Engine",
            "Version": "20.10.24+dfsg1",
            "Details": {"ApiVersion": "1.41", "GitCommit": "5d6db84", "KernelVersion": "6.1.0"},
        },
        {
            "Name": "containerd",
            "Version": "1.6.20~ds1",
            "Details": {"GitCommit": "1.6.20~ds1-1+deb12u3"},
        },
        {"Name": "runc", "Version": "1.1.5+ds1", "Details": {"GitCommit": "1.1.5+ds1-1+deb12u1"}},
        {"Name": "docker-init", "Version": "0.19.0", "Details": {"GitCommit": ""}},
    ],
    "Version": "20.10.24+dfsg1",
}
"""As Debian's Docker answers, patched."""


def ask(directory: Path, answer: object) -> list[Ways]:
    script: Script = {"GET /version": reply(json.dumps(answer).encode())}
    with ScriptedDocker(directory / "d.sock", script) as server, Docker(server.path) as docker:
        return find_ways(read_version(docker), Info())


def test_patched_debian(tmp_path: Path) -> None:
    """Of a Debian with all its updates nothing is claimed: what it has fixed is known, of the rest it
    is said that its versions do not tell."""
    engine, containerd, runc = ask(tmp_path, BOOKWORM)
    assert not any(each.problem for each in (engine, containerd, runc))
    assert containerd.doubt == "" and "CVE-2026-42306" in engine.doubt
    assert "runc 1.1.5+ds1-1+deb12u1" in runc.doubt and "CVE-2025-31133" in runc.doubt
    assert "CVE-2024-21626" not in runc.doubt


@pytest.mark.parametrize(
    ("package", "known"),
    [
        ("1.1.5+ds1-1", True),
        ("1.1.5+ds1-1+b4", True),
        ("1.1.5+ds1-1+deb12u1", False),
        ("1.1.5+ds1-1+deb12u2+b1", False),
        ("1.1.5+ds1-1+deb13u1", False),
        ("1.1.5+ds1-2", False),
    ],
)
def test_security_updates_of_debian(package: str, known: bool) -> None:
    """A package of Debian's without the update that fixes a hole has it for certain."""
    found = Component("runc", "1.1.5+ds1", {"GitCommit": package})
    (ways,) = find_ways(Version(components=[found]), Info())
    assert cves(ways) == (["CVE-2024-21626"] if known else [])


@pytest.mark.parametrize(
    "version", ["1.1.12-0ubuntu2~22.04.1", "1.0.0~rc93+ds1", "1.0.0-rc6+dev", "1.1.12", "v1.1.4"]
)
def test_other_distributions(version: str) -> None:
    """Distributions fix old versions without another number, so nothing is claimed of theirs."""
    (ways,) = find_ways(Version(components=components(runc=version)), Info())
    assert not ways.open and ways.untold and version in ways.doubt


def test_development_version() -> None:
    """A version between two releases, of Docker's packages too, may have the fix or not."""
    (ways,) = find_ways(Version(DOCKERS, components(runc="1.0.0-rc6+dev")), Info())
    assert not ways.open and "CVE-2019-5736" in ways.doubt


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Components": None, "Platform": None},
        {"Components": [{"Name": "runc", "Version": "", "Details": {"GitCommit": 5}}, {"Name": "x"}]},
        {"Components": [{"Name": "runc", "Version": "9" * 5000}]},
        {"Platform": {"Name": "Docker Engine"}, "Components": [{"Name": "runc", "Version": "one"}]},
    ],
)
def test_odd_answers(tmp_path: Path, answer: object) -> None:
    """Of what tells no version nothing is said."""
    assert not any(each.problem or each.doubt for each in ask(tmp_path, answer))


def test_refused(tmp_path: Path) -> None:
    """A proxy in front of Docker may not let the question pass."""
    with ScriptedDocker(tmp_path / "d.sock") as server, Docker(server.path) as docker:
        assert find_ways(read_version(docker), Info()) == []
