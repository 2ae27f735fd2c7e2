"""Lists of what is inside something, as SPDX 2.3 (https://spdx.github.io/spdx-spec/v2.3/)."""

import json
import re
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

UNKNOWN = "NOASSERTION"


class Part(NamedTuple):
    """A package. ``purl`` says where it is from (https://github.com/package-url/purl-spec)."""

    name: str
    version: str
    purl: str = ""
    sha256: str = ""
    license: str = UNKNOWN
    supplier: str = UNKNOWN


def purl(kind: str, name: str, version: str = "", **qualifiers: str) -> str:
    """Where a package is from: `pkg:deb/debian/tzdata@2025b-4?arch=all`."""
    at = f"@{quote(version, safe='.-_~')}" if version else ""
    more = "&".join(f"{key}={quote(value, safe='.-_~')}" for key, value in sorted(qualifiers.items()))
    return f"pkg:{kind}/{quote(name, safe='/.-_~')}{at}" + (f"?{more}" if more else "")


def document(whole: Part, parts: Iterable[Part], relation: str, created: float, tool: str) -> str:
    """One JSON document: ``whole``, which has this relation to each of the parts. The same parts give
    the same text."""
    packages = {f"SPDXRef-{number}": part for number, part in enumerate([whole, *parts])}
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-0")]
    relations += [("SPDXRef-0", relation, name) for name in list(packages)[1:]]
    made = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{whole.name}-{whole.version}",
        "documentNamespace": f"urn:plancton:{re.sub('[^A-Za-z0-9.-]', '-', whole.name)}:{whole.sha256}",
        "creationInfo": {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(created)),
            "creators": [f"Tool: {tool}"],
        },
        "packages": [_package(name, part) for name, part in packages.items()],
        "relationships": [
            {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}
            for one, kind, other in relations
        ],
    }
    return json.dumps(made, indent=1) + "\n"


def _package(name: str, part: Part) -> dict[str, Any]:
    made: dict[str, Any] = {
        "SPDXID": name,
        "name": part.name,
        "versionInfo": part.version,
        "downloadLocation": UNKNOWN,
        "filesAnalyzed": False,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": part.license,
        "copyrightText": UNKNOWN,
        "supplier": part.supplier,
    }
    if part.sha256:
        made["checksums"] = [{"algorithm": "SHA256", "checksumValue": part.sha256}]
    if part.purl:
        made["externalRefs"] = [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": part.purl,
            }
        ]
    return made
