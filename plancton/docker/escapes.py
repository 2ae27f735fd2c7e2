"""Ways out of a container that are known of the versions of runc, containerd and Docker here.

Distributions fix old versions without changing their number, so only the number that comes from a project
itself is compared with the table. Of a distribution's package it is said what its number does not tell.
"""

import re
from typing import NamedTuple

from plancton.docker.client import Docker
from plancton.docker.errors import DockerRefused
from plancton.docker.replies import Component, Info, Version


class Escape(NamedTuple):
    """A way out. ``fixed`` are the first releases without it, one for each branch that got one;
    ``since``: those before never had it; ``packages``: the first of Debian's packages of an older
    version that have the fix."""

    cve: str
    component: str
    fixed: tuple[str, ...]
    since: str = "0.0.0"
    packages: tuple[str, ...] = ()
    needs_authorization: bool = False
    """Whether it is a way around Docker's authorization plugins, and nothing where there are none."""


RUNC_2025 = ("1.2.8", "1.3.3", "1.4.0-rc.3")
ESCAPES = (
    Escape("CVE-2019-5736", "runc", ("1.0.0-rc7",)),
    Escape("CVE-2021-30465", "runc", ("1.0.0-rc95",)),
    Escape("CVE-2024-21626", "runc", ("1.1.12",), since="1.0.0-rc93", packages=("1.1.5+ds1-1+deb12u1",)),
    Escape("CVE-2025-31133", "runc", RUNC_2025),
    Escape("CVE-2025-52565", "runc", RUNC_2025),
    Escape("CVE-2025-52881", "runc", RUNC_2025),
    Escape("CVE-2020-15257", "containerd", ("1.3.9", "1.4.3")),
    Escape("CVE-2021-41089", "Engine", ("20.10.9",)),
    Escape("CVE-2021-41091", "Engine", ("20.10.9",)),
    Escape(
        "CVE-2024-41110",
        "Engine",
        ("23.0.15", "25.0.6", "26.0.3", "26.1.5", "27.1.1"),
        needs_authorization=True,
    ),
    Escape("CVE-2026-34040", "Engine", ("29.3.1",), needs_authorization=True),
    Escape("CVE-2026-41567", "Engine", ("29.5.1",)),
    Escape("CVE-2026-41568", "Engine", ("29.5.1",)),
    Escape("CVE-2026-42306", "Engine", ("29.5.1",)),
)
"""From the projects' advisories (cve.org has each). Those that need Kubernetes (containerd's CRI, such
as CVE-2022-23648), `docker build` or checkpoints are no worker's way out."""

OWN_BUILD = "Docker Engine"
"""How the platform's name begins where Docker itself built the packages; a distribution's has none."""
_RELEASE = re.compile(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})(?:[-~]rc\.?(\d{1,6}))?", re.ASCII)
_FINAL = 1 << 20
"""Stands for a release candidate's number once it is out."""
_SECURITY_UPDATE = re.compile(r"(.+?)(?:\+deb(\d{1,6})u(\d{1,6}))?(?:\+b\d+)?", re.ASCII)


class Ways(NamedTuple):
    """What is known of one component: ways out that it has, and such as its version, a
    distribution's, does not tell of."""

    component: str
    version: str
    open: tuple[Escape, ...] = ()
    untold: tuple[Escape, ...] = ()

    @property
    def name(self) -> str:
        return f"{'Docker Engine' if self.component == 'Engine' else self.component} {self.version}"

    @property
    def problem(self) -> str:
        """What is certain, with the remedy; empty if nothing is."""
        if not self.open:
            return ""
        latest = max((each.fixed for each in self.open), key=lambda fixed: _number(fixed[-1]))
        return (
            f"{self.name} has known holes through which a job may leave its container ({_cves(self.open)}):"
            f" update it, to {' or '.join(latest)} or to a package of the distribution that closes them"
        )

    @property
    def doubt(self) -> str:
        """What is not told; empty if all is known."""
        if not self.untold:
            return ""
        return f"the version of {self.name}, a distribution's, does not tell of {_cves(self.untold)}"


def _cves(escapes: tuple[Escape, ...]) -> str:
    return ", ".join(each.cve for each in escapes)


def read_version(docker: Docker) -> Version:
    """Empty where something in front of Docker does not let the question pass."""
    try:
        return docker.version()
    except DockerRefused:
        return Version()


def find_ways(version: Version, info: Info) -> list[Ways]:
    known = {each.component for each in ESCAPES}
    is_theirs = version.platform.name.startswith(OWN_BUILD)
    return [
        _ways(each, is_theirs, bool(info.plugins.authorization))
        for each in version.components
        if each.name in known
    ]


def _ways(found: Component, is_theirs: bool, authorization: bool) -> Ways:
    relevant = [
        each
        for each in ESCAPES
        if each.component == found.name and (authorization or not each.needs_authorization)
    ]
    package = found.package or found.version
    is_release = is_theirs and _RELEASE.fullmatch(found.version) is not None
    affected = [each for each in relevant if _is_affected(found.version, each)]
    if is_release:
        return Ways(found.name, found.version, open=tuple(affected))
    states = {each: _has_fix(package, each) for each in affected}
    return Ways(
        found.name,
        package,
        open=tuple(each for each, fixed in states.items() if fixed is False),
        untold=tuple(each for each, fixed in states.items() if fixed is None),
    )


def _is_affected(version: str, escape: Escape) -> bool:
    """By the number that a version begins with; one that has none is not told of."""
    number = _number(version)
    if not number or number < _number(escape.since):
        return False
    fixed = [_number(each) for each in escape.fixed]
    return number < fixed[-1] and not any(number[:2] == each[:2] and number >= each for each in fixed)


def _number(version: str) -> tuple[int, ...]:
    found = _RELEASE.match(version)
    return tuple(_FINAL if part is None else int(part) for part in found.groups()) if found else ()


def _has_fix(package: str, escape: Escape) -> bool | None:
    """Whether a package of Debian's has it; None if that is not known."""
    for fixed in map(_SECURITY_UPDATE.fullmatch, escape.packages):
        ours = _SECURITY_UPDATE.fullmatch(package)
        if fixed and ours and ours[1] == fixed[1] and ours[2] in (None, fixed[2]):
            return ours[3] is not None and int(ours[3]) >= int(fixed[3])
    return None
